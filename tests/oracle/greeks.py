"""When the Greeks or the volatility of a position reach a level. Imports nothing of the monitor.

How the readings are carried out:
- Once a second, when the clock is told: every leg believed and clean, and the underlying too. Where it cannot be seen at all the
  forward that a call and a put of one strike imply stands in, of the pair that costs most nearly the same.
- A level fires when two computations in a row reach it. Legs that are not believed begin the row anew; a suspect one is no
  computation.
- The reference of gamma and of the change of volatility is what was planned, else the first computation; what is left after a
  share has its share of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time

from tests.oracle.book import SHARES, Greek, Leg
from tests.oracle.eye import Eye
from tests.oracle.judge import Judge, Signal
from tests.oracle.pricing import Value, value_of, volatility_of

EVERY_MS = 1_000
LATE_CLOSE_SINCE = date(2026, 8, 3)
UNITS = 10_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over the position by signed units; `volatility` is weighted by the size of each leg's vega."""

    delta: float
    gamma: float
    theta: float
    vega: float
    volatility: float | None


@dataclass(slots=True)
class Watched:
    """One position with such levels. `gamma` is the reference of the whole original position."""

    judge: Judge
    eye: Eye
    gamma: float | None = None
    volatility: float | None = None
    asked_ms: int | None = None
    since_ms: dict[Greek, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for level in self.judge.position.levels.greeks:
            if level.kind == "gamma" and level.reference is not None:
                self.gamma = level.reference
            elif level.reference is not None:
                self.volatility = level.reference

    def begin_anew(self) -> None:
        """Another part of the position is guarded, or another run of the program guards it."""
        self.asked_ms = None
        self.since_ms.clear()

    def by_clock(self, now: datetime, now_ms: int) -> Iterator[tuple[Judge, Signal]]:
        judge = self.judge
        if judge.market.session_open is not True:
            self.since_ms.clear()
            return
        if self.asked_ms is not None and now_ms - self.asked_ms < EVERY_MS:
            return
        self.asked_ms = now_ms
        if not judge.is_safe(now_ms):
            self.since_ms.clear()
            return
        figures = None if judge.suspects() else self._compute(now, now_ms)
        if figures is not None:
            self._learn(figures)
            yield from self._compare(figures, now_ms)

    def _learn(self, figures: Figures) -> None:
        if self.gamma is None and figures.gamma:
            self.gamma = abs(figures.gamma) / self._share_left()
        if self.volatility is None:
            self.volatility = figures.volatility

    def _share_left(self) -> float:
        original = sum(abs(leg.units) for leg in self.judge.position.legs)
        return sum(abs(leg.units) for leg in self.judge.legs) / original

    def _compare(self, figures: Figures, now_ms: int) -> Iterator[tuple[Judge, Signal]]:
        judge = self.judge
        for level in judge.position.levels.greeks:
            is_done = ("greeks", level) in judge.done or SHARES.get(level.action, 100) <= judge.gone
            if is_done or not judge.has_a_say(level.action):
                continue
            measure, threshold = self._measure(level, figures), round(level.threshold * UNITS)
            is_reached = measure is not None and (
                measure <= threshold if level.kind == "iv_below" else measure >= threshold
            )
            if not is_reached:
                self.since_ms.pop(level, None)
            elif self.since_ms.setdefault(level, now_ms) != now_ms:
                yield judge, Signal("greeks", level.action, threshold, measure, level)

    def _measure(self, level: Greek, figures: Figures) -> int | None:
        """In ten-thousandths of the kind's unit; None where there is nothing to compare with."""
        found = _MEASURES[level.kind](self, figures)
        return None if found is None else round(found * UNITS)

    def delta(self, figures: Figures) -> float:
        return abs(figures.delta) / max(abs(leg.units) for leg in self.judge.legs)

    def gamma_multiple(self, figures: Figures) -> float | None:
        return abs(figures.gamma) / (self.gamma * self._share_left()) if self.gamma else None

    def decay(self, figures: Figures) -> float | None:
        worth = abs(sum(leg.units * self.judge.market.seen[leg.key].mark for leg in self.judge.legs))
        if figures.theta >= 0:
            return 0.0
        return -figures.theta / worth * 100 if worth else None

    def vega_share(self, figures: Figures) -> float | None:
        premium = abs(sum(leg.units * (leg.entry or 0) for leg in self.judge.legs))
        return abs(figures.vega) / premium * 100 if premium else None

    def change(self, figures: Figures, sign: int) -> float | None:
        if figures.volatility is None or not self.volatility:
            return None
        return sign * (figures.volatility - self.volatility) / self.volatility * 100

    # Computation

    def _compute(self, now: datetime, now_ms: int) -> Figures | None:
        """None while a leg's volatility is not determined, or its underlying has no price."""
        spot = self.eye.mark(now_ms)
        if spot is None and self.eye.sees(now_ms):
            return None
        values: list[tuple[Leg, float, Value]] = []
        for leg in self.judge.legs:
            forward = spot if spot is not None else self._implied_forward(leg)
            found = None if forward is None else self._value(leg, forward, now)
            if found is None:
                return None
            values.append((leg, *found))
        weight = sum(abs(leg.units * value.vega) for leg, _, value in values)
        return Figures(
            delta=sum(leg.units * value.delta for leg, _, value in values),
            gamma=sum(leg.units * value.gamma for leg, _, value in values),
            theta=sum(leg.units * value.theta for leg, _, value in values),
            vega=sum(leg.units * value.vega for leg, _, value in values),
            volatility=sum(abs(leg.units * value.vega) * iv for leg, iv, value in values) / weight if weight else None,
        )

    def _value(self, leg: Leg, forward: float, now: datetime) -> tuple[float, Value] | None:
        contract = leg.contract
        years = _years(now, self._closing(), contract.expiry)
        price = self.judge.market.seen[leg.key].mark
        iv = volatility_of(contract.right, price, forward, contract.strike, years)
        return None if iv is None else (iv, value_of(contract.right, forward, contract.strike, years, iv))

    def _closing(self) -> time:
        expiries = [leg.contract.expiry for leg in self.judge.legs if leg.contract.expiry is not None]
        return min(time(15, 40) if expiry >= LATE_CLOSE_SINCE else time(15, 30) for expiry in expiries)

    def _implied_forward(self, leg: Leg) -> float | None:
        marks = {
            (each.contract.right, each.contract.strike): self.judge.market.seen[each.key].mark
            for each in self.judge.legs
            if each.contract.expiry == leg.contract.expiry
        }
        pairs = [
            (abs(call - put), strike, strike + call - put)
            for (right, strike), call in marks.items()
            if right == "CE" and (put := marks.get(("PE", strike))) is not None
        ]
        return min(pairs)[2] if pairs else None


def _years(now: datetime, closing: time, expiry: date | None) -> float:
    if expiry is None:
        return 0.0
    return max((datetime.combine(expiry, closing, now.tzinfo) - now).total_seconds(), 0) / (365 * 86_400)


_MEASURES = {
    "delta": Watched.delta,
    "gamma": Watched.gamma_multiple,
    "theta": Watched.decay,
    "vega": Watched.vega_share,
    "iv_down": lambda watched, figures: watched.change(figures, -1),
    "iv_up": lambda watched, figures: watched.change(figures, 1),
    "iv_below": lambda _, figures: None if figures.volatility is None else figures.volatility * 100,
    "iv_above": lambda _, figures: None if figures.volatility is None else figures.volatility * 100,
}
