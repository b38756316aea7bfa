"""When one position has to be closed by its P&L, the calendar or the clock (exit_rules 1-3). Imports nothing of the monitor.

No bands, no differences: each quote of a leg has everything computed anew. How the design is read where it leaves a choice:
- A breach begins with the event that finds the P&L at or beyond the line, and ends as soon as it is off the line again.
- "Every leg has been updated since": the quote that began the breach counts; a breach found by the clock counts none.
- "Second distinct update": each suspect leg has shown another trade (price or second) while the breach stood.
- The peak is the highest P&L that was evaluated with every leg clean. It begins at 0 where a trail is armed from entry.
- What needs a price needs every leg's, believed, and the session known to be open; otherwise breaches are forgotten.
- The hard multiple of a trail is of its distance, of a lock of the way from trigger to floor; theta and warning have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from typing import NamedTuple

from tests.oracle.book import SHARES, WHOLE, Leg, Position
from tests.oracle.market import Market, Seen

SETTLE_MS = 100
CONFIRM_MS = 1_000
HARD = Fraction(3, 2)


class Line(NamedTuple):
    """A loss rule fires at or below `at` (and at or above `last`), a profit rule at or above. Beyond `hard` nothing waits."""

    rule: str
    at: int
    is_loss: bool
    action: str
    hard: Fraction | None = None
    last: int | None = None

    def is_beyond(self, pnl: int) -> bool:
        if self.last is not None and pnl < self.last:
            return False
        return pnl <= self.at if self.is_loss else pnl >= self.at


class Signal(NamedTuple):
    """`threshold` and `observed`: paise, days, or None for the clock. `level` tells levels of one rule apart."""

    rule: str
    action: str
    threshold: int | None
    observed: int | None
    level: object = None


@dataclass(slots=True)
class _Breach:
    since_ms: int
    updated: set[str]
    trades: tuple[tuple[int, int | None], ...]
    other: set[int] = field(default_factory=set)


class Judge:
    """One position. `done`: levels that have had their say, as (rule, level). `peak` is remembered across restarts.

    While a share of it is sold it is judged whole, by what closes the whole; what the peak rises by meanwhile does not last.
    """

    def __init__(self, position: Position, market: Market, *, peak: int | None = None, realised: int = 0) -> None:
        self.position = position
        self.legs: tuple[Leg, ...] = position.legs
        self.market = market
        self.realised = realised
        self.done: set[tuple[str, object]] = set()
        self.pnl: int | None = None
        self.closed: dict[int, int] = {}
        self.gone = 0
        self.days: int | None = None
        self._today: date | None = None
        self.held_days: int | None = None
        levels = position.levels
        starts_at_0 = levels.arm == 0 or levels.premium_trailing is not None
        self.peak = max(peak or 0, 0) if starts_at_0 else peak
        self._breaches: dict[str, _Breach] = {}
        self._lines: list[Line] | None = None
        self.is_selling = False
        self._peak_before: int | None = None

    # Facts

    def has_a_say(self, action: str) -> bool:
        """Whether a level that asks for it may fire now."""
        return not self.is_selling or action in WHOLE

    def begin_share(self) -> None:
        self.is_selling, self._peak_before, self._lines = True, self.peak, None

    def tell_day(self, now: datetime) -> None:
        if now.date() == self._today:
            return
        self._today, expiry = now.date(), self.position.expiry
        self.days = None if expiry is None else (expiry - now.date()).days
        opened = [leg.opened_on for leg in self.position.legs if leg.opened_on is not None]
        self.held_days = (now.date() - min(opened)).days if opened else None
        self._lines = None

    def mark_done(self, signal: Signal, pnl: int | None) -> None:
        """The level has had its say. With a share go the smaller ones that the P&L had reached."""
        self.done.add((signal.rule, signal.level))
        if signal.rule == "scaling_target" and pnl is not None:
            self.done.update((signal.rule, level) for level in self.position.levels.scaling if level[0] <= pnl)
        self._lines = None

    def close_share(self, percent: int, units: tuple[int, ...], realised: int) -> None:
        """`percent` of the original is gone: `units` (unsigned) of each leg. The rest is a position anew, with its peak."""
        for leg, gone in zip(self.legs, units, strict=True):
            self.closed[leg.row_id] = self.closed.get(leg.row_id, 0) + gone
        self.realised = realised
        self.is_selling, self.peak = False, self._peak_before
        self.legs = self.position.without(self.closed)
        self.gone, self._lines = max(self.gone, percent), None
        self.weigh()
        self._breaches.clear()

    def forget_breaches(self) -> None:
        self._breaches.clear()

    def begin_again(self) -> None:
        """After a restart: what waited is forgotten, what was reached and closed is not."""
        self._breaches.clear()
        if self.is_selling:
            self.peak = self._peak_before
        self.weigh()
        self._lines = None

    @property
    def waits(self) -> bool:
        return bool(self._breaches)

    def dues(self) -> Iterator[int]:
        for breach in self._breaches.values():
            yield breach.since_ms + SETTLE_MS
            yield breach.since_ms + CONFIRM_MS

    def holds(self, key: str) -> bool:
        return any(leg.contract.key == key for leg in self.legs)

    def quotes(self) -> list[Seen] | None:
        """The newest quote of each leg; None while one is missing."""
        seen = self.market.seen
        found = [seen.get(leg.contract.key) for leg in self.legs]
        return None if None in found else found  # type: ignore[return-value]

    def weigh(self) -> None:
        """Compute the P&L from the newest quotes: after each of them, and when legs have gone."""
        self.pnl = self._pnl()

    def _pnl(self) -> int | None:
        quotes = self.quotes()
        if quotes is None:
            return None
        total = self.realised
        for leg, seen in zip(self.legs, quotes, strict=True):
            if leg.entry is None:
                return None
            total += leg.units * (seen.mark - leg.entry)
        return total

    def is_safe(self, now_ms: int) -> bool:
        """Whether anything may be done because of its price: every one known and believed, in a session known to be open."""
        market, quotes = self.market, self.quotes()
        if market.session_open is not True or quotes is None or self.pnl is None:
            return False
        return not any(market.is_stale(seen, now_ms) for seen in quotes)

    def suspects(self) -> list[int]:
        """Legs whose newest quote is not clean, or may have waited."""
        quotes = self.quotes() or []
        return [i for i, seen in enumerate(quotes) if not seen.is_clean or self.market.is_held(seen)]

    def best_side(self, which: Iterable[int]) -> int | None:
        """P&L with these legs at the side of their book that flatters them; None unless those have two, and have not waited."""
        total = self.pnl
        for leg, seen in [(self.legs[i], (self.quotes() or [])[i]) for i in which]:
            if total is None or not seen.has_book or self.market.is_held(seen):
                return None
            price = seen.shown.ask if leg.units > 0 else seen.shown.bid
            total += leg.units * (price - seen.mark)  # type: ignore[operator]
        return total

    # Judgement

    def by_price(self, now_ms: int, ticked: str | None) -> list[Signal]:
        quotes, pnl = self.quotes(), self.pnl
        if quotes is None or pnl is None or not self.is_safe(now_ms):
            self._breaches.clear()
            return []
        suspects = self.suspects()
        if not suspects and (self.peak is None or pnl > self.peak):
            self.peak, self._lines = pnl, None
        if self._lines is None:
            self._lines = list(self._find_lines())
        if ticked is not None:
            for breach in self._breaches.values():
                breach.updated.add(ticked)
        for gone in self._breaches.keys() - {line.rule for line in self._lines}:
            del self._breaches[gone]
        found = []
        for line in self._lines:
            if not line.is_beyond(pnl):
                self._breaches.pop(line.rule, None)
            elif self._is_believed(line, pnl, quotes, suspects, now_ms, ticked):
                found.append(self._signal(line, pnl))
        return found

    def _find_lines(self) -> Iterator[Line]:
        levels, peak = self.position.levels, self.peak
        if levels.stop is not None:
            yield Line("stop_loss", -levels.stop, True, "CLOSE_IMMEDIATELY", -HARD * levels.stop)
        if levels.arm is not None and peak is not None and peak >= levels.arm:
            distance = levels.distance
            if levels.distance_share is not None:
                distance = round(Fraction(peak * levels.distance_share, 100)) if peak > 0 else None
            if distance is not None:
                yield Line("trailing_stop", peak - distance, True, "CLOSE_POSITION", peak - HARD * distance)
        if levels.premium_trailing is not None:
            best, distance = max(peak or 0, 0), levels.premium_trailing
            yield Line("premium_trailing", best - distance, True, "CLOSE_POSITION", best - HARD * distance)
        reached = [(floor, trigger) for trigger, floor in levels.lock if peak is not None and trigger <= peak]
        if reached:
            floor, trigger = max(reached)
            yield Line("lock_profit", floor, True, "CLOSE_POSITION", floor - (HARD - 1) * (trigger - floor))
        yield from self._find_time_stops()
        yield from self._find_targets()
        if levels.adjustment is not None and ("adjustment", None) not in self.done and self.has_a_say("ADJUST"):
            first, last = levels.adjustment
            yield Line("adjustment", -first, True, "ADJUST", last=-last)

    def _find_time_stops(self) -> Iterator[Line]:
        levels = self.position.levels
        if levels.theta is not None and self.days is not None and self.days <= levels.theta:
            yield Line("theta_exit", 0, True, "CLOSE_POSITION")
        is_near = levels.losing_time is not None and self.days is not None and self.days < levels.losing_time
        if is_near and levels.stop is not None:
            half = -levels.stop // 2
            yield Line("losing_time_stop", half, True, "CLOSE_POSITION", HARD * half)

    def _find_targets(self) -> Iterator[Line]:
        levels = self.position.levels
        is_target_left = ("profit_target", None) not in self.done and self.has_a_say(levels.target_action)
        if levels.target is not None and is_target_left:
            yield Line("profit_target", levels.target, False, levels.target_action)
        left = self._scaling_left()
        if left:
            yield Line("scaling_target", min(left)[0], False, "")

    def _scaling_left(self) -> list[tuple[int, str]]:
        """Without those that have had their say, or whose share is gone already: shares are cumulative."""
        return [
            level
            for level in self.position.levels.scaling
            if ("scaling_target", level) not in self.done and SHARES[level[1]] > self.gone and self.has_a_say(level[1])
        ]

    def _signal(self, line: Line, pnl: int) -> Signal:
        if line.rule != "scaling_target":
            return Signal(line.rule, line.action, line.at, pnl)
        reached = [level for level in self._scaling_left() if level[0] <= pnl]
        level = max(reached, key=lambda level: (SHARES[level[1]], -level[0]))
        return Signal(line.rule, level[1], level[0], pnl, level)

    def _is_believed(
        self, line: Line, pnl: int, quotes: list[Seen], suspects: list[int], now_ms: int, ticked: str | None
    ) -> bool:
        trades = tuple(seen.trade for seen in quotes)
        breach = self._breaches.get(line.rule)
        if breach is None:
            breach = self._breaches[line.rule] = _Breach(now_ms, set() if ticked is None else {ticked}, trades)
        breach.other |= {i for i, trade in enumerate(trades) if trade != breach.trades[i]}
        waited_ms = now_ms - breach.since_ms
        is_settled = (
            len(self.legs) == 1
            or all(leg.contract.key in breach.updated for leg in self.legs)
            or waited_ms >= SETTLE_MS
        )
        if not line.is_loss:
            return is_settled and not suspects
        best = self.best_side(range(len(self.legs)))
        is_best_beyond = best is not None and best <= line.at
        if line.hard is not None and pnl <= line.hard and is_best_beyond:
            return True
        is_second = all(i in breach.other and not self.market.is_held(quotes[i]) for i in suspects)
        return is_settled and (not suspects or is_second or is_best_beyond or waited_ms >= CONFIRM_MS)

    def by_clock(self, now: datetime, *, is_trading_day: bool | None) -> list[Signal]:
        """Calendar and clock need the session, and no price."""
        if self.market.session_open is not True:
            return []
        levels, found = self.position.levels, []
        if levels.square_off is not None and is_trading_day is True and now.time() >= levels.square_off:
            found.append(Signal("square_off", "CLOSE_POSITION", None, None))
        if levels.dte is not None and self.days is not None and self.days <= levels.dte:
            action = "CLOSE_IMMEDIATELY" if self.days <= 1 else "CLOSE_POSITION"
            found.append(Signal("dte_exit", action, levels.dte, self.days))
        if levels.holding is not None and self.held_days is not None and self.held_days >= levels.holding:
            found.append(Signal("longest_holding", "CLOSE_POSITION", levels.holding, self.held_days))
        return found
