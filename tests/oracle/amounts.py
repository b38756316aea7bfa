"""What the levels of one position are shares of, and how stored rupees are scaled to it. Imports nothing of the monitor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import reduce
from math import gcd, lcm

from tests.oracle.book import Leg
from tests.oracle.payoff import Bounds, bounds_of

Row = Mapping[str, object]
OF_ONE_UNIT = (
    "Short Call", "Short Put", "Short Strangle", "Long Strangle", "Short Straddle", "Iron Butterfly", "Jade Lizard",
    "Broken Wing Butterfly", "Put Ratio",
)  # fmt: skip
"""Strategies whose rupee levels are stored for one unit, all others for one lot."""


def number(value: object) -> Fraction:
    """A magnitude; 0 for null."""
    return Fraction(0) if value in {None, ""} else abs(Fraction(str(value)))


def stored_paise(value: object) -> int:
    return int((Decimal(str(value or 0)) * 100).copy_abs().to_integral_value(rounding=ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True)
class Amounts:
    """What the levels of one position are shares of. `factor`: what a stored rupee amount is multiplied with."""

    bounds: Bounds
    premium: int
    credit: int
    factor: Fraction

    def stored(self, value: object) -> int:
        return round(stored_paise(value) * self.factor)

    def of_profit(self, percent: Fraction | int) -> int:
        return round((self.bounds.profit or self.premium) * Fraction(percent) / 100)

    def of_peak(self, percent: Fraction | int) -> int | None:
        """As `of_profit` for what follows the profit: None where nothing is known of it."""
        return self.of_profit(percent) if self.bounds.is_known else None

    def of_loss(self, percent: Fraction | int) -> int:
        return round((self.bounds.loss or self.premium) * Fraction(percent) / 100)

    def of_row(self, row: Row, *, is_loss: bool = False) -> int:
        if row["trigger_type"] == "price":
            return self.stored(row["trigger_value"])
        share = number(row["trigger_value"])
        return self.of_loss(share) if is_loss else self.of_profit(share)


def reachable(amount: int, most: int | None) -> int | None:
    """What a row's amount means: up to 5 % beyond what the legs can bring is all that they can, for the plan's fills were better.

    None: farther beyond, no level.
    """
    if most is None or amount <= most:
        return amount
    return most if 100 * amount <= 105 * most else None


def amounts_of(legs: Sequence[Leg], name: str, rows: Sequence[Row], risk: Row) -> Amounts:
    bounds = bounds_of(legs)
    premium = -sum(leg.units * (leg.entry or 0) for leg in legs)
    options = -sum(leg.units * (leg.entry or 0) for leg in legs if leg.contract.right in {"CE", "PE"})
    return Amounts(bounds, abs(premium), max(options, 0), _factor(legs, name, bounds, rows, risk))


def lots_of(legs: Sequence[Leg]) -> Fraction:
    """Into how many equal parts the position can be taken so that every leg of a part is of whole lots, its own lots.

    Where some leg is of no whole lots, parts of a lot take its place: the largest that every leg is a whole number of.
    """
    if any(leg.units % leg.contract.lot for leg in legs):
        parts = lcm(*(leg.contract.lot for leg in legs))
        return Fraction(reduce(gcd, (abs(units) * parts // lot for units, lot in _by_contract(legs))), parts)
    lots = [abs(units) // lot for units, lot in _by_contract(legs)]
    return Fraction(next(parts for parts in range(min(lots), 0, -1) if all(each % parts == 0 for each in lots)))


def _by_contract(legs: Sequence[Leg]) -> list[tuple[int, int]]:
    """Units and lot of each contract, whatever number of rows it was bought in."""
    keys = {leg.key for leg in legs}
    found = [
        (sum(leg.units for leg in legs if leg.key == key), max(leg.contract.lot for leg in legs if leg.key == key))
        for key in keys
    ]
    return [each for each in found if each[0]] or [(1, 1)]


def usual_factor(legs: Sequence[Leg], name: str) -> Fraction:
    """Of rows that nothing can be compared with: per lot, per unit in the nine strategies."""
    return lots_of(legs) * (max(leg.contract.lot for leg in legs) if name in OF_ONE_UNIT else 1)


def _factor(legs: Sequence[Leg], name: str, bounds: Bounds, rows: Sequence[Row], risk: Row) -> Fraction:
    """Per lot, per unit or the whole position: the first that fits the legs' own within 5 %; what is usual when nothing tells."""
    lots = lots_of(legs)
    per_unit = lots * max(leg.contract.lot for leg in legs)
    for stored, own in ((_max_loss(risk), bounds.loss), (_max_profit(rows, risk), bounds.profit)):
        if stored and own:
            for factor in (lots, per_unit, Fraction(1)):
                if 20 * abs(stored * factor - own) <= own:
                    return factor
    return usual_factor(legs, name)


def _max_loss(risk: Row) -> Fraction:
    """The writer's own max loss in paise, 0 when not told."""
    if number(risk.get("max_capital_at_risk")):
        return Fraction(stored_paise(risk["max_capital_at_risk"]))
    stop = tree_of(risk, "stop_losses", "primary")
    amount, percent = number(stop.get("loss_amount")), number(stop.get("loss_pct"))
    return amount * 100 * 100 / percent if amount and percent else Fraction(0)


def _max_profit(rows: Sequence[Row], risk: Row) -> Fraction:
    amount, percent = stored_paise(risk.get("profit_target_primary")), number(risk.get("profit_target_pct"))
    if amount and percent:
        return Fraction(amount) * 100 / percent
    target = tree_of(risk, "profit_targets", "primary")
    amount_said, percent = number(target.get("target")), number(target.get("target_pct"))
    if amount_said and percent:
        return amount_said * 100 * 100 / percent
    steps = sorted(
        stored_paise(row["trigger_value"])
        for row in of_kind(rows, "profit_target", "scaling")
        if row["trigger_type"] == "price"
    )
    is_even = len(steps) == 3 and all(200 * abs(step - n * steps[0]) <= steps[0] for n, step in enumerate(steps, 1))
    return Fraction(4 * steps[0]) if is_even else Fraction(0)


def tree_of(risk: Row, *path: str) -> Mapping[str, object]:
    content = json.loads(str(risk.get("exit_conditions") or "{}"))
    for name in path:
        content = content.get(name, {})
    return content


def of_kind(rows: Sequence[Row], kind: str, name: str) -> list[Row]:
    """The rows of this exit type whose name begins so, and that have a value."""
    return [
        row
        for row in rows
        if row["exit_type"] == kind and str(row["level_name"]).startswith(name) and number(row["trigger_value"])
    ]
