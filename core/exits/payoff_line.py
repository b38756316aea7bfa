"""A P&L that is piecewise linear in the underlying's price, from 0 to infinity, in exact numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from core.model.instrument import Right

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from core.model.instrument import InstrumentKey
    from core.model.money import Paise
    from core.model.position import Leg


class KnownLeg(NamedTuple):
    """A leg of which all is known that its payoff needs. `sign`: +1 call, −1 put, 0 stock or future (strike 0).

    `units` are signed; `entry` and `strike` are paise per unit. `expiry` is None for stock.
    """

    key: InstrumentKey
    units: int
    entry: Paise
    sign: int
    strike: Paise
    expiry: date | None

    @property
    def option_expiry(self) -> date | None:
        """None for stock and futures: they are worth the underlying on every day."""
        return self.expiry if self.sign else None

    def pnl(self, price: Paise) -> Paise:
        """P&L in paise when the underlying ends at `price`."""
        worth = max(self.sign * (price - self.strike), 0) if self.sign else price
        return self.units * (worth - self.entry)


@dataclass(frozen=True, slots=True)
class PayoffLine:
    """Straight between `points` (price, P&L), of which the first is at price 0, and rising by `slope` after the last.

    Prices in paise ascend; P&L is in paise of the position, `slope` in paise per paisa: signed units.
    """

    points: tuple[tuple[Paise, Fraction | int], ...]
    slope: int

    def at(self, price: Paise) -> Fraction | int:
        start, value = self.points[0]
        for end, following in self.points[1:]:
            if price <= end:
                return value + Fraction((following - value) * (price - start), end - start)
            start, value = end, following
        return value + self.slope * (price - start)

    def plus(self, other: PayoffLine) -> PayoffLine:
        prices = sorted({price for price, _ in (*self.points, *other.points)})
        values = tuple((price, self.at(price) + other.at(price)) for price in prices)
        return PayoffLine(values, self.slope + other.slope)

    def lowest(self) -> Fraction | int | None:
        """None: it falls without limit."""
        return None if self.slope < 0 else min(value for _, value in self.points)

    def lower_envelope(self) -> PayoffLine:
        """The highest convex line that is nowhere above this one."""
        hull: list[tuple[Paise, Fraction | int]] = []
        for point in self.points:
            while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
                hull.pop()
            hull.append(point)
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= self.slope:
            hull.pop()
        return PayoffLine(tuple(hull), self.slope)

    def zeros(self) -> tuple[Paise, ...]:
        """Where the P&L is 0, ascending: the exact crossings rounded to the paisa, and the ends of stretches at 0."""
        found = set()
        # A point beyond the last, far enough to see whether and where the line crosses 0 after it.
        last, value = self.points[-1]
        far = last + 1 + abs(int(value))
        points = [*self.points, (far, self.at(far))]
        was_zero = False
        for here, following in pairwise(points):
            if here[1] == 0 and not (was_zero and following[1] == 0):
                found.add(here[0])
            elif here[1] * following[1] < 0:
                found.add(round(here[0] - here[1] / _slope(here, following)))
            was_zero = here[1] == 0
        return tuple(sorted(found))


def known_legs(legs: Iterable[Leg]) -> tuple[KnownLeg, ...] | str:
    """The legs with what their payoff needs; or in words what is missing for the first that has not all."""
    known = []
    for leg in legs:
        terms = leg.instrument
        if leg.entry is None:
            return f"no entry price for {terms.key}"
        if terms.right is None:
            known.append(KnownLeg(terms.key, leg.units, leg.entry, 0, 0, terms.expiry))
        elif terms.strike is None:
            return f"no strike for {terms.key}"
        else:
            sign = 1 if terms.right is Right.CALL else -1
            known.append(KnownLeg(terms.key, leg.units, leg.entry, sign, terms.strike, terms.expiry))
    return tuple(known)


def line_of(legs: Iterable[KnownLeg]) -> PayoffLine:
    """P&L of the legs if all ended at one moment."""
    legs = tuple(legs)
    prices = sorted({0, *(leg.strike for leg in legs)})
    points = tuple((price, sum(leg.pnl(price) for leg in legs)) for price in prices)
    return PayoffLine(points, sum(leg.units for leg in legs if leg.sign >= 0))


def _slope(start: tuple[Paise, Fraction | int], end: tuple[Paise, Fraction | int]) -> Fraction:
    return Fraction(end[1] - start[1], end[0] - start[0])
