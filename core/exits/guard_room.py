"""The guards of all positions: who is asked about the time, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.position_guard import PositionGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.exits.guard_settings import GuardSettings
    from core.exits.judges import Moment
    from core.model.exit_levels import ExitLevels
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.signals import Signal
    from core.position_cache_manager import BookedPosition, InstrumentSlot

_SWEEP_AT_LEAST: Final = 256


class GuardRoom:
    """`guards` by strategy id. `has_new_deadline` is set when somebody may have to be asked earlier than before.

    `escorts` are the guards of positions whose whole exit is under way, and may still become more urgent.
    `peaks` are strategy ids whose peak has risen, for the engine to take out. `on_decision` hears, at a monotonic time, of every
    signal that is acted on, before it is, and (without a signal) of a guard's `changes`. It must be quick.

    `feed_down_ns`: since when no feed is live (monotonic; 0: none was yet), None while one is. Who is guarded anew must know it.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self.guards: dict[int, PositionGuard] = {}
        self.escorts: dict[int, PositionGuard] = {}
        self.deadlines: dict[int, int] = {}
        self.has_new_deadline = False
        self.peaks: set[int] = set()
        self.feed_down_ns: int | None = 0
        self.on_decision: Callable[[PositionGuard, Signal | None, int], None] = _nobody
        self._sweep_from = 0

    def guard(
        self,
        booked: BookedPosition,
        levels: ExitLevels,
        peak: Paise | None,
        at_ns: int,
        before: PositionGuard | None = None,
    ) -> PositionGuard:
        """Guard from now on, in place of `before`.

        A level can be breached already by the marks that are known: the next beat asks this one first.
        """
        guard = PositionGuard(booked, levels, self._settings, peak, self.feed_down_ns)
        for slot in booked.slots:
            if slot.is_doubted:
                # What the guard before had heard: an edited row makes no old price true.
                guard.distrust(slot.key, slot.doubted_ns)
        if before is not None and before.booked.position.legs == booked.position.legs:
            guard.go_on(before)
        strategy_id = booked.position.strategy_id
        self.guards[strategy_id] = guard
        self.deadlines[strategy_id] = at_ns
        self.has_new_deadline = True

        def judge(quote: Quote) -> tuple[Signal, ...]:
            booked.backlog.note_quote(quote.received_ns)
            peak, changes = guard.peak, guard.changes
            signal = guard.on_quote(quote)
            if guard.changes != changes and signal is None:
                self.on_decision(guard, None, quote.received_ns)
            return self._noted(guard, peak, signal)

        booked.judge = judge
        booked.rearm = guard.rearm_band
        return guard

    def note_feed(self, at_ns: int, *, is_live: bool) -> None:
        if is_live:
            self.feed_down_ns = None
        elif self.feed_down_ns is None:
            self.feed_down_ns = at_ns

    def keep_only(self, strategy_id: int, levels: ExitLevels, at_ns: int) -> None:
        """A level has had its say. The position may be beyond another one already: the next beat asks it first."""
        self.guards[strategy_id].keep_only(levels)
        self.deadlines[strategy_id] = at_ns
        self.has_new_deadline = True

    def guard_of(self, strategy_id: int) -> PositionGuard | None:
        """Whoever may fire for the position."""
        return self.guards.get(strategy_id) or self.escorts.get(strategy_id)

    def escort(self, strategy_id: int) -> None:
        """The position is being closed: its guard goes on beside the exit."""
        self.escorts[strategy_id] = self.guards.pop(strategy_id)

    def look_again(self) -> None:
        """Somebody beside the guards may have to be asked earlier than before."""
        self.has_new_deadline = True

    def drop(self, strategy_id: int) -> PositionGuard | None:
        guard = self.guards.pop(strategy_id, None) or self.escorts.pop(strategy_id, None)
        self.deadlines.pop(strategy_id, None)
        if guard is not None:
            guard.booked.rearm = guard.booked.open_band
            guard.booked.open_band()
        return guard

    def on_time(self, moment: Moment) -> Iterator[Signal]:
        """Whoever has a deadline, and a share of the others: ten thousand positions must not stall the ticks of one."""
        for strategy_id, due in list(self.deadlines.items()):
            if due <= moment.at_ns:
                yield from self._ask_time(strategy_id, moment)
        for strategy_id in self._next_sweep():
            yield from self._ask_time(strategy_id, moment)

    def tell(self, signal: Signal, at_ns: int) -> None:
        """The signal is about to be acted on."""
        guard = self.guard_of(signal.strategy_id)
        if guard is not None:
            self.on_decision(guard, signal, at_ns)

    def distrust(self, slot: InstrumentSlot, at_ns: int) -> None:
        slot.doubted_ns = max(slot.doubted_ns, at_ns)
        for booked in slot.positions:
            guard = self.guard_of(booked.position.strategy_id)
            if guard is not None:
                guard.distrust(slot.key, slot.doubted_ns)

    def _next_sweep(self) -> list[int]:
        ids = [*self.guards, *self.escorts]
        size = max(_SWEEP_AT_LEAST, len(ids) // 4 + 1)
        start = self._sweep_from if self._sweep_from < len(ids) else 0
        self._sweep_from = start + size
        return ids[start : start + size]

    def _ask_time(self, strategy_id: int, moment: Moment) -> tuple[Signal, ...]:
        guard = self.guard_of(strategy_id)
        if guard is None:
            self.deadlines.pop(strategy_id, None)
            return ()
        peak, changes = guard.peak, guard.changes
        signal = guard.on_time(
            moment.at_ns,
            moment.ist,
            session_open=moment.session_open,
            is_trading_day=moment.is_trading_day,
            feed_live=moment.feed_live,
        )
        if guard.changes != changes and signal is None:
            self.on_decision(guard, None, moment.at_ns)
        return self._noted(guard, peak, signal)

    def _noted(self, guard: PositionGuard, peak: int | None, signal: Signal | None) -> tuple[Signal, ...]:
        """Keep what the guard waits for, and whether its peak has risen above `peak`."""
        strategy_id = guard.booked.position.strategy_id
        if guard.peak != peak:
            self.peaks.add(strategy_id)
        deadline = guard.next_deadline_ns
        if deadline is not None:
            self.deadlines[strategy_id] = deadline
            self.has_new_deadline = True
        else:
            self.deadlines.pop(strategy_id, None)
        return () if signal is None else (signal,)


def _nobody(_guard: PositionGuard, _signal: Signal | None, _at_ns: int) -> None:
    pass
