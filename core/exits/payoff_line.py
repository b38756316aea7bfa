"""A P&L that is piecewise linear in the underlying's price, from 0 to infinity, in exact numbers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from core.model.instrument import Right

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.money import Paise
    from core.model.position import Leg


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
        return PayoffLine(
            tuple((price, self.at(price) + other.at(price)) for price in prices), self.slope + other.slope
        )

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
        values = [value for _, value in self.points]
        # What follows the last point has the sign of the slope.
        for index, ((price, value), following) in enumerate(zip(self.points, [*values[1:], self.slope], strict=True)):
            is_inside = index > 0 and values[index - 1] == 0 and following == 0
            if value == 0 and not is_inside:
                found.add(price)
            elif value * following < 0:
                found.add(round(price + self._to_zero(index)))
        return tuple(sorted(found))

    def _to_zero(self, index: int) -> Fraction:
        """How far after the point the line crosses 0. The caller knows that it does."""
        is_last = index + 1 == len(self.points)
        slope = self.slope if is_last else _slope(self.points[index], self.points[index + 1])
        return -Fraction(self.points[index][1]) / slope


def line_of(legs: Iterable[Leg]) -> PayoffLine:
    """P&L of the legs if all ended at one moment. Their entries, and the options' strikes, must be known."""
    legs = tuple(legs)
    prices = sorted({0, *(leg.instrument.strike for leg in legs if leg.instrument.strike is not None)})
    return PayoffLine(
        tuple((price, sum(value_at_expiry(leg, price) for leg in legs)) for price in prices),
        sum(leg.units for leg in legs if leg.instrument.right is not Right.PUT),
    )


def value_at_expiry(leg: Leg, price: Paise) -> Paise:
    """P&L of the leg in paise when the underlying ends at `price`. Its entry and an option's strike must be known."""
    strike = leg.instrument.strike or 0
    worth = price
    if leg.instrument.right is Right.CALL:
        worth = max(price - strike, 0)
    elif leg.instrument.right is Right.PUT:
        worth = max(strike - price, 0)
    return leg.units * (worth - (leg.entry or 0))


def _slope(start: tuple[Paise, Fraction | int], end: tuple[Paise, Fraction | int]) -> Fraction:
    return Fraction(end[1] - start[1], 1) / (end[0] - start[0])
