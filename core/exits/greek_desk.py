"""A judge: closes or warns when the Greeks or the volatility of a position reach a level.

About once a second per position that has such levels, a few positions per beat, the longest waiting first:
- Its legs must be safe to trade by and clean, its underlying believed; where the underlying has no believed price or stands
  still, the forward that a call and a put of the position imply stands in, where it has such a pair.
- A level fires when two computations in a row, a second apart, are at or beyond it. A computation that could not be made because a
  quote was suspect is none; prices that are not believed at all, or a closed market, begin the row anew.
- What the first computation finds is the reference of levels that bring none; it is remembered. References are of the position as
  its rows have it: after a share has been closed they count for the share that is left.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from core.exits.breach import suspect_legs
from core.exits.explain import reason_text
from core.exits.greek_moment import pricing_moment
from core.exits.greek_watched import GreekFigures, GreekWatched
from core.exits.partial_close import CLOSING
from core.exits.position_greeks import position_greeks
from core.model.exit_levels import Rule, Urgency
from core.model.session_time import NS_PER_S
from core.model.signals import Signal
from core.model.special_levels import GreekKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.exits.explain_line import Measured
    from core.exits.guard_settings import GuardSettings
    from core.exits.judges import Moment
    from core.exits.position_guard import PositionGuard
    from core.exits.underlying_watch import Spot, UnderlyingWatch
    from core.model.instrument import InstrumentKey
    from core.model.memory import PositionMemory
    from core.model.signals import ExitRecord
    from core.model.special_levels import GreekLevel

POSITIONS_PER_BEAT: Final = 8
EVERY_NS: Final = NS_PER_S
BLIND_NS: Final = 30 * NS_PER_S
"""So long a level that closes may go without its measure before the position counts as unprotected."""


class GreekDesk:
    """`underlyings` must be told of a position before this is."""

    def __init__(
        self, settings: GuardSettings, underlyings: UnderlyingWatch, per_beat: int = POSITIONS_PER_BEAT
    ) -> None:
        self.news: set[int] = set()
        self._settings = settings
        self._underlyings = underlyings
        self._per_beat = per_beat
        self._watched: dict[int, GreekWatched] = {}
        self._queue: deque[GreekWatched] = deque()
        self._is_open = False

    @property
    def next_deadline_ns(self) -> int | None:
        return None

    def opened(self, guard: PositionGuard, memory: PositionMemory) -> None:
        strategy_id = guard.booked.position.strategy_id
        self.gone(strategy_id)
        if not guard.levels.greeks:
            return
        watched = self._watched[strategy_id] = GreekWatched(guard, memory)
        self._queue.appendleft(watched)
        if any(level.action in CLOSING for level in guard.levels.greeks):
            guard.blind_spots.append(partial(_blind_spot, watched))

    def gone(self, strategy_id: int) -> None:
        watched = self._watched.pop(strategy_id, None)
        if watched is not None:
            watched.is_gone = True

    def finished(self, record: ExitRecord) -> None:
        pass

    def doubted(self, keys: Iterable[InstrumentKey], at_ns: int) -> None:
        pass

    def on_time(self, moment: Moment) -> Iterable[Signal]:
        was_open, self._is_open = self._is_open, moment.session_open is True
        if not self._is_open:
            if was_open:
                for watched in self._watched.values():
                    watched.begin_anew()
            return ()
        signals: list[Signal] = []
        left = self._per_beat
        while self._queue and left:
            watched = self._queue[0]
            if watched.is_gone:
                self._queue.popleft()
            elif watched.asked_ns is not None and moment.at_ns - watched.asked_ns < EVERY_NS:
                break
            else:
                left -= 1
                watched.asked_ns = moment.at_ns
                self._queue.rotate(-1)
                signals.extend(self._ask(watched, moment))
        return signals

    def remember(self, strategy_id: int, memory: PositionMemory) -> PositionMemory:
        watched = self._watched.get(strategy_id)
        if watched is None:
            return memory
        return replace(memory, gamma=watched.gamma, volatility=watched.volatility)

    def figures_of(self, strategy_id: int) -> GreekFigures | None:
        """What was computed last; None for a position without such levels, and before the first attempt."""
        watched = self._watched.get(strategy_id)
        return None if watched is None else watched.figures

    def _ask(self, watched: GreekWatched, moment: Moment) -> list[Signal]:
        guard, at_ns = watched.guard, moment.at_ns
        booked = guard.booked
        spot = self._underlyings.spot_of(booked.position.strategy_id, at_ns)
        problem = self._why_not(watched, spot, at_ns)
        if problem:
            watched.fail(problem, at_ns)
            return []
        marks = {slot.key: slot.mark for slot in booked.slots if slot.mark is not None}
        priced = pricing_moment(booked.position, marks, spot.mark, moment.utc_ns)
        if isinstance(priced, str):
            watched.fail(priced, at_ns)
            return []
        greeks = position_greeks(booked.position, marks, priced)
        if greeks.total is None:
            watched.fail("; ".join(filter(None, (greeks.note, spot.why))), at_ns)
            return []
        if watched.learn(greeks.total, greeks.iv):
            self.news.add(booked.position.strategy_id)
        return [
            _signal(guard, level, seen, at_ns) for level, seen in watched.compare(greeks, greeks.total, priced, at_ns)
        ]

    def _why_not(self, watched: GreekWatched, spot: Spot, at_ns: int) -> str:
        """What keeps the position from being computed now; "" when nothing does."""
        guard = watched.guard
        safe = guard.safe_to_trade(at_ns)
        if not safe.is_safe:
            watched.since.clear()
            return reason_text(safe.reasons[0], at_ns, None)
        suspects = suspect_legs(guard.booked, self._settings.quote_limits)
        if suspects:
            return f"the quote of {guard.booked.position.legs[suspects[0]].instrument.symbol} is suspect"
        return spot.why if spot.is_coming else ""


def _blind_spot(watched: GreekWatched, at_ns: int) -> str | None:
    if watched.failing is None:
        return None
    since_ns, problem = watched.failing
    return (
        f"Greeks not known for {(at_ns - since_ns) // NS_PER_S} s: {problem}" if at_ns - since_ns > BLIND_NS else None
    )


def _signal(guard: PositionGuard, level: GreekLevel, seen: Measured, at_ns: int) -> Signal:
    sign = "≤" if level.kind is GreekKind.IV_BELOW else "≥"
    return Signal(
        strategy_id=guard.booked.position.strategy_id,
        rule=Rule.GREEKS,
        action=level.action,
        urgency=Urgency.HIGH if level.action in CLOSING else Urgency.NORMAL,
        threshold=level.in_units,
        observed=seen.value,
        pnl=guard.booked.pnl,
        reason=f"Greeks: {seen.text} {sign} {level.threshold:g}",
        decided_ns=at_ns,
        level=level.kind.value,
    )
