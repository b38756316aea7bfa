"""The decisions of the monitor: facts in, commands out. No I/O, no clock, no task; replaying the events gives the same commands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.exits import broker_words, exit_desk
from core.exits.broker_watch import BrokerWatch
from core.exits.closed_parts import ClosedParts, said_by, take_finished
from core.exits.desk_state import DeskState
from core.exits.engine_words import EngineCounts, nothing_closed, with_prices, would_exit
from core.exits.guard_room import GuardRoom
from core.exits.judge_bench import bench, take_news
from core.exits.judges import Moment, RuleSetup
from core.exits.own_signals import operator_signal, outside_signal
from core.exits.partial_close import PERCENT_OF, to_close
from core.exits.precedence import most_pressing
from core.exits.restore import Restored, adopt
from core.exits.running_exits import RunningExits, is_of
from core.model import events as ev
from core.model.commands import Alert, Command, Remember, Severity
from core.model.exit_levels import Rule
from core.model.journal_records import RowsWritten
from core.model.memory import PositionMemory
from core.model.session_time import ist_datetime
from core.model.signals import Mode, Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from core.exits.desk_settings import DeskSettings
    from core.exits.judges import Judge
    from core.exits.position_guard import GuardSettings, PositionGuard
    from core.exits.running_exit import RunningExit
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord
    from core.position_cache_manager import Holder, PositionCacheManager

_NO_COMMANDS: tuple[Command, ...] = ()


class Engine:
    """One owner calls `handle` and `on_quote`, carries the commands out in order, and calls again at `next_wake_ns`."""

    def __init__(
        self,
        cache: PositionCacheManager,
        guard_settings: GuardSettings,
        desk_settings: DeskSettings,
        mode: Mode,
        rules: RuleSetup | None = None,
    ) -> None:
        self.cache = cache
        self.mode = mode
        self.counts = EngineCounts()
        self.finished: list[ExitRecord] = []
        self.desk = DeskState(desk_settings, mode, cache.market_quote_of, cache.is_doubted, self._held)
        self._watch = BrokerWatch(desk_settings)
        self._opened: dict[int, ev.PositionOpened] = {}
        self._generations: dict[int, int] = {}
        self._closed = ClosedParts()
        self._alerted: set[int] = set()
        self.room = GuardRoom(guard_settings)
        setup = rules or RuleSetup()
        self.judges: tuple[Judge, ...] = bench(
            self.room, cache, guard_settings, setup, self.desk, self.memory_of, self._realised_of
        )
        self._exiting = RunningExits(self.desk, self.room, self.judges)

    @property
    def guards(self) -> Mapping[int, PositionGuard]:
        """Of the positions that no whole exit has taken over, by strategy id."""
        return self.room.guards

    @property
    def has_new_deadline(self) -> bool:
        """Whether `next_wake_ns` may be earlier than when it was last read."""
        return self.room.has_new_deadline

    @property
    def next_wake_ns(self) -> int | None:
        """Monotonic time at which `TimePassed` is due at the latest; None when the quarter-second beat is enough."""
        self.room.has_new_deadline = False
        asked = (self.desk.wake_ns, *(judge.next_deadline_ns for judge in self.judges))
        return min((*self.room.deadlines.values(), *(at for at in asked if at is not None)), default=None)

    @property
    def is_idle(self) -> bool:
        """No exit is under way and every closed row is written."""
        return not self.desk.exits and not self.desk.unwritten

    @property
    def unresolved(self) -> tuple[RunningExit, ...]:
        return tuple(self.desk.exits.values())

    def begin_at(self, utc_ns: int) -> None:
        """What time it is before the first TimePassed: an exit that a restart finds finished is stamped with it."""
        self.desk.utc_ns = utc_ns

    def restore(self, restored: Restored, at_ns: int) -> tuple[Command, ...]:
        """Go on with what the journal describes. Called once, before the first event."""
        adopt(self.desk, restored, at_ns)
        self._generations.update(restored.generations)
        self._closed = restored.closed
        for running in restored.running.values():
            self._exiting.of[running.strategy_id] = running
            self.cache.put(running.position)
        for record in restored.finished:
            for judge in self.judges:
                judge.finished(record)
        return exit_desk.resume(self.desk)

    def on_quote(self, quote: Quote) -> tuple[Command, ...]:
        """The tick path."""
        touched = self.cache.apply(quote)
        if touched:
            self._judge(touched, quote)
        if quote.key in self.desk.awaited_keys:
            self._advance(quote.received_ns)
        return self._drain() if self.desk.out else _NO_COMMANDS

    def handle(self, event: ev.Event) -> tuple[Command, ...]:  # noqa: C901, PLR0912  one line per fact of the closed union
        match event:
            case ev.QuoteArrived(quote):
                return self.on_quote(quote)
            case ev.TimePassed():
                self._on_time(event)
            case ev.PositionOpened():
                self._on_opened(event)
            case ev.PositionGone():
                self._on_gone(event)
            case ev.FeedStateChanged():
                self.desk.feed_live = event.is_live
                self.room.note_feed(event.at_ns, is_live=event.is_live)
            case ev.PricesDoubted():
                self._on_doubted(event)
            case ev.LoopStalled():
                self.cache.backlog.begin(event.at_ns, event.lasted_ns)
            case ev.PositionsRead():
                self._on_positions(event)
            case ev.RowsClosed():
                self._on_rows_closed(event)
            case ev.OperatorExitRequested():
                self._on_operator(event)
            case ev.StopRequested():
                self.desk.stopping = True
            case _:
                broker_words.take(self.desk, event)
        if self.desk.is_busy:
            self._advance(event.at_ns)
        return self._drain()

    def memory_of(self, strategy_id: int) -> PositionMemory | None:
        """What is to be remembered of a position; None when it is not known any more."""
        opened = self._opened.get(strategy_id)
        if opened is None:
            return None
        guard = self.guards.get(strategy_id)
        told = tuple(sorted(self._closed.told_of(opened.position), key=str))
        memory = replace(opened.memory, told=told)
        if guard is not None and strategy_id not in self._exiting.of:
            # Beside the exit of a share the peak is one of more units than will be left.
            memory = replace(memory, peak=guard.peak)
        for judge in self.judges:
            memory = judge.remember(strategy_id, memory)
        return memory

    def _realised_of(self, strategy_id: int) -> Paise | None:
        """What closed shares have brought that the rows of a position still count, paise."""
        opened = self._opened.get(strategy_id)
        return 0 if opened is None else self._closed.realised_of(opened.position)

    def note_decided(self, exit_id: str, at_ns: int) -> None:
        """When the commands of a new exit were in the caller's hands (monotonic): the engine itself has no clock."""
        running = self.desk.exits.get(exit_id)
        if running is not None and running.decided_ns is None:
            running.decided_ns = at_ns

    def _held(self) -> Iterable[Position]:
        return filter(None, (self._closed.left_of(opened.position) for opened in self._opened.values()))

    def _drain(self) -> tuple[Command, ...]:
        commands = tuple(self.desk.out)
        self.desk.out.clear()
        self.counts.alerts += sum(isinstance(command, Alert) for command in commands)
        return commands

    def _on_time(self, event: ev.TimePassed) -> None:
        ist = ist_datetime(event.utc_ns)
        self.cache.backlog.note_time(event.at_ns)
        desk = self.desk
        desk.session_open, desk.cash_open = event.session_open, event.cash_open
        desk.utc_ns, desk.ist_time = event.utc_ns, ist.time()
        moment = Moment(event.at_ns, event.utc_ns, ist, event.session_open, event.is_trading_day, desk.feed_live)
        signals = list(self.room.on_time(moment))
        for judge in self.judges:
            signals.extend(judge.on_time(moment))
        self._fire_all(signals, event.at_ns)
        for position in self._watch.compare(self.desk, self.cache, self._exiting.untouched(), event.at_ns):
            self._close_outside(position, event.at_ns)
        if self.mode is not Mode.SIMULATION and self._watch.is_due(desk, self.cache, event.at_ns):
            desk.holdings.ask(event.at_ns)
            desk.say(self._watch.command)

    def _judge(self, touched: Sequence[Holder], quote: Quote) -> None:
        signals = [signal for holder in touched for signal in holder.judge(quote)]
        carried_out = self.counts.signals
        self._fire_all(signals, quote.received_ns)
        if self.counts.signals > carried_out:
            # Once for all of them: a limit may begin hundreds of exits at once.
            self._advance(quote.received_ns)

    def _fire_all(self, signals: Iterable[Signal], at_ns: int) -> None:
        """Of all signals of one event, the most pressing one of each position."""
        for signal in most_pressing(signals):
            guard = self.room.guard_of(signal.strategy_id)
            if guard is not None and not self.desk.stopping:
                booked = guard.booked
                self._fire(with_prices(signal, booked, self.desk.utc_ns), booked.position, at_ns)
        for strategy_id in take_news(self.room, self.judges):
            self.desk.say(Remember(strategy_id))

    def _fire(self, signal: Signal, position: Position, at_ns: int) -> None:
        """One exit per position and generation. In alert mode the decision is reported and the position let be."""
        if self.desk.stopping:
            return
        strategy_id = position.strategy_id
        running = self._exiting.of.get(strategy_id)
        if running is not None:
            self.counts.signals += self._exiting.press(running, signal, position, at_ns)
            return
        self.room.tell(signal, at_ns)
        part, row_units = to_close(signal.action, position, self._opened[strategy_id].position, self._closed.whole_of)
        if part is None:
            self._tell_only(signal, position, at_ns)
            return
        self.counts.signals += 1
        generation = self._generations.get(strategy_id, 0) + 1
        if self.mode is Mode.ALERT:
            self._alert_only(signal, part, generation, at_ns)
            return
        self._keep_memory(strategy_id)
        self._generations[strategy_id] = generation
        self._exiting.start(signal, part, generation, at_ns, row_units)

    def _alert_only(self, signal: Signal, position: Position, generation: int, at_ns: int) -> None:
        """Say what would be closed. After a whole exit the position is let be; after a share its other levels go on."""
        strategy_id = position.strategy_id
        if strategy_id in self._alerted:
            return
        self._generations[strategy_id] = generation
        self.desk.out.extend(would_exit(signal, position, generation, self.desk.utc_ns))
        if signal.action in PERCENT_OF:
            self._mark_told(signal, position, at_ns)
            return
        self._drop_guard(strategy_id)
        self._alerted.add(strategy_id)

    def _tell_only(self, signal: Signal, position: Position, at_ns: int) -> None:
        """A level that closes nothing, or a share of what cannot be split, is an alert; the other levels go on."""
        self.desk.say(nothing_closed(signal, position))
        if signal.rule is not Rule.OWN_RULE:
            self._mark_told(signal, position, at_ns)

    def _mark_told(self, signal: Signal, position: Position, at_ns: int) -> None:
        """The level has had its say; the other levels of the position go on."""
        opened = self._opened[position.strategy_id]
        for level in said_by(signal, opened.levels):
            self._closed.mark_fired((leg.row_id for leg in position.legs), level)
        self.room.keep_only(position.strategy_id, self._closed.levels_left(opened.position, opened.levels), at_ns)
        self.desk.say(Remember(position.strategy_id))

    def _keep_memory(self, strategy_id: int) -> None:
        """It is guarded again, with its peak, when the position turns out not to be closed after all."""
        memory = self.memory_of(strategy_id)
        if memory is not None:
            self._opened[strategy_id] = replace(self._opened[strategy_id], memory=memory)

    def _drop_guard(self, strategy_id: int) -> None:
        if strategy_id in self.guards:
            self._keep_memory(strategy_id)
        self._exiting.unguard(strategy_id)

    def _on_opened(self, event: ev.PositionOpened) -> None:
        strategy_id = event.position.strategy_id
        for level in event.memory.told:
            self._closed.mark_fired((leg.row_id for leg in event.position.legs), level)
        running = self._exiting.of.get(strategy_id)
        event = self._exiting.hold_back(event, self._opened.get(strategy_id))
        if running is None:
            self._guard(event)
        elif self._exiting.wants_guard(running) and is_of(running, self._closed.left_of(event.position)):
            # After a restart, or with other levels.
            self._guard(event)
            self._exiting.stand_by(running, event.at_ns)
        else:
            self._opened[strategy_id] = event

    def _guard(self, event: ev.PositionOpened) -> None:
        """Guard what no exit has closed yet. Peaks survive an edit of the levels, not a change of the rows."""
        strategy_id = event.position.strategy_id
        position = self._closed.left_of(event.position)
        if position is None or (self.mode is Mode.ALERT and strategy_id in self._alerted):
            self._opened[strategy_id] = event
            if position is None:
                self._forget_position(strategy_id)
            return
        memory, realised = event.memory, self._closed.realised_of(event.position)
        known, running = self.guards.get(strategy_id), self._exiting.of.get(strategy_id)
        peak = memory.peak
        if known is not None and known.booked.position.legs == position.legs:
            memory = (self.memory_of(strategy_id) or memory).rescaled(known.booked.realised, realised)
            peak = memory.peak if running is None else known.peak
            self.desk.say(Remember(strategy_id))
        self._drop_guard(strategy_id)
        self._opened[strategy_id] = replace(event, memory=memory)
        booked = self.cache.put(position, realised)
        levels = self._closed.levels_left(event.position, event.levels)
        guard = self.room.guard(booked, levels, peak, event.at_ns, known)
        guard.original = event.position
        for judge in self.judges if running is None or running.is_share else ():
            judge.opened(guard, memory)

    def _on_doubted(self, event: ev.PricesDoubted) -> None:
        for slot in filter(None, map(self.cache.slot_of, event.keys)):
            self.room.distrust(slot, event.at_ns)
        for judge in self.judges:
            judge.doubted(event.keys, event.at_ns)

    def _on_gone(self, event: ev.PositionGone) -> None:
        self._opened.pop(event.strategy_id, None)
        self._exiting.edited.pop(event.strategy_id, None)
        if event.strategy_id not in self._exiting.of:
            self._forget_position(event.strategy_id)
        elif event.strategy_id in self.guards:
            # Its rows are gone: the share is closed to its end, but no level closes the rest any more.
            self._drop_guard(event.strategy_id)

    def _forget_position(self, strategy_id: int) -> None:
        self._drop_guard(strategy_id)
        self._watch.forget(strategy_id)
        self._alerted.discard(strategy_id)
        self.cache.remove(strategy_id)

    def _on_positions(self, event: ev.PositionsRead) -> None:
        broker_words.on_positions(self.desk, event)
        if self.mode is not Mode.SIMULATION:
            # Exits under way use the report now. Holding the whole book against it takes milliseconds and can wait a beat.
            self._watch.uncompared = event.report

    def _close_outside(self, position: Position, at_ns: int) -> None:
        signal = outside_signal(position.strategy_id, at_ns)
        self._watch.forget(position.strategy_id)
        self.desk.say(Alert(Severity.WARNING, f"{position.strategy_name} closed outside the monitor", signal.reason))
        if self.mode is Mode.LIVE:
            self._fire(signal, position, at_ns)
        else:
            self._drop_guard(position.strategy_id)

    def _on_rows_closed(self, event: ev.RowsClosed) -> None:
        if self.desk.unwritten.pop(event.exit_id, None) is not None:
            self.desk.record(RowsWritten(event.exit_id))

    def _on_operator(self, event: ev.OperatorExitRequested) -> None:
        guard = self.room.guard_of(event.strategy_id)
        if guard is not None:
            signal = operator_signal(event.strategy_id, guard.booked.pnl, event.at_ns)
            self._fire(signal, guard.booked.position, event.at_ns)

    def _advance(self, at_ns: int) -> None:
        exit_desk.advance(self.desk, at_ns)
        self.room.has_new_deadline = True
        for running in self._exiting.over():
            self._finish(running, at_ns)

    def _finish(self, running: RunningExit, at_ns: int) -> None:
        """An exit left the desk: closed, or given up because the position is still there after all."""
        strategy_id = running.strategy_id
        self._keep_memory(strategy_id)
        del self._exiting.of[strategy_id]
        record = self.desk.unwritten.get(running.exit_id)
        if record is not None:
            take_finished(self._closed, record, running)
            self.finished.append(record)
            for judge in self.judges:
                judge.finished(record)
            self.counts.exits_finished += 1
        waiting, edited = self._opened.get(strategy_id), self._exiting.edited.pop(strategy_id, None)
        if waiting is None:
            self._forget_position(strategy_id)
        else:
            # Of what is left the marks that are known are kept: it is not blind until every leg ticks again.
            self._guard(replace(waiting, at_ns=at_ns))
        if edited is not None:
            self._on_opened(replace(edited, at_ns=at_ns))
