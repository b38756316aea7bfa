"""The levels of one position by design/exit_rules.md section 3 alone. Slow and plain; imports nothing of core.

Rows come first, then the columns of strategy_risk_management, then the category's default. A share is of max profit or max
loss where that is finite, of the net premium otherwise. A level that the legs can never reach gives way to the next source.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import gcd

from tests.replay.recorded import Level, Plan, Risk, paise

NEUTRAL = (25, 50, 21)
CATEGORY = {  # target %, stop %, DTE (exit_rules 3)
    "Bull Call Spread": (50, 50, 7),
    "Bear Call Spread": (50, 50, 7),
    "Bull Put Spread": (50, 50, 7),
    "Bear Put Spread": (50, 50, 7),
    "Long Straddle": (75, 50, 10),
    "Long Strangle": (75, 50, 10),
    "Jade Lizard": (50, 200, 21),
}
OF_PREMIUM = {"Long Straddle", "Long Strangle"}
OF_CREDIT = {"Jade Lizard"}


@dataclass(frozen=True, slots=True)
class Amounts:
    """The levels of one position, whole position, paise and days. None: that rule is not in force."""

    stop: int | None
    arm: int | None
    distance: int | None
    target: int | None
    dte: int
    theta: int | None


def net_premium_of(plan: Plan) -> int:
    """Sold less bought: positive is a credit."""
    return sum(-leg.units * leg.entry for leg in plan.legs)


def _at_expiry(plan: Plan, underlying: int) -> int:
    total = 0
    for leg in plan.legs:
        gain = underlying - leg.strike if leg.right == "CE" else leg.strike - underlying
        total += leg.units * (max(gain, 0) - leg.entry)
    return total


def max_profit_of(plan: Plan) -> int | None:
    """The largest payoff over a grid that holds every bend; None when the calls are net bought."""
    if sum(leg.units for leg in plan.legs if leg.right == "CE") > 0:
        return None
    return max(0, *(_at_expiry(plan, price) for price in (0, *(leg.strike for leg in plan.legs))))


def max_loss_of(plan: Plan) -> int | None:
    if sum(leg.units for leg in plan.legs if leg.right == "CE") < 0:
        return None
    return max(0, *(-_at_expiry(plan, price) for price in (0, *(leg.strike for leg in plan.legs))))


def basis_of(plan: Plan) -> Fraction:
    """What a stored rupee amount is multiplied with: by comparing the stored max loss with the legs' own, within 5 %."""
    sets = gcd(*(leg.units for leg in plan.legs))
    per_lot = Fraction(sets, plan.legs[0].lot)
    own, stored = max_loss_of(plan), None if plan.risk is None else plan.risk.max_capital_at_risk
    if own and stored:
        for factor in (per_lot, Fraction(sets), Fraction(1)):
            if abs(paise(stored) * factor - own) * 20 <= own:
                return factor
    return per_lot


def amounts_of(plan: Plan) -> Amounts:
    """Where a level comes from (exit_rules 3, end): rows, then columns, then the category's default."""
    most_profit, most_loss = max_profit_of(plan), max_loss_of(plan)
    risk = plan.risk or Risk()
    target_share, stop_share, days = CATEGORY.get(plan.name, NEUTRAL)
    stops = [_amount_of_row(plan, row, most_loss) for row in _rows_of(plan, "stop_loss", "primary")]
    stops += [_share(plan, percent, most_loss) for percent in (risk.strategy_level_stop,) if percent]
    stops.append(_share(plan, stop_share, _default_base(plan, most_loss)))
    targets = [_amount_of_row(plan, row, most_profit) for row in _rows_of(plan, "profit_target", "primary")]
    targets += [_share(plan, percent, most_profit) for percent in (risk.profit_target_pct,) if percent]
    targets.append(_share(plan, target_share, _default_base(plan, most_profit)))
    arm, distance = _trailing(plan, risk, most_profit)
    return Amounts(
        stop=_first_within(stops, most_loss, else_last=True),
        arm=arm,
        distance=distance,
        target=_first_within(targets, most_profit, else_last=False),
        dte=next((int(row.value) for row in _rows_of(plan, "time_exit", "primary")), days),
        theta=next((int(row.value) for row in _rows_of(plan, "time_exit", "theta_exit")), None),
    )


def _rows_of(plan: Plan, kind: str, name: str) -> list[Level]:
    return [level for level in plan.levels if (level.exit_type, level.level_name) == (kind, name)]


def _amount_of_row(plan: Plan, row: Level, most: int | None) -> int:
    return _stored(plan, row.value) if row.trigger_type == "price" else _share(plan, row.value, most)


def _stored(plan: Plan, rupees: Decimal) -> int:
    return round(paise(rupees) * basis_of(plan))


def _share(plan: Plan, percent: Decimal | int, whole: int | None) -> int:
    """Per cent of max loss or max profit where that is finite, of the net premium otherwise."""
    return round(Fraction(percent) * (whole or abs(net_premium_of(plan))) / 100)


def _default_base(plan: Plan, most: int | None) -> int | None:
    is_credit = net_premium_of(plan) > 0
    if plan.name in OF_PREMIUM or (plan.name in OF_CREDIT and is_credit):
        return abs(net_premium_of(plan))
    return most


def _trailing(plan: Plan, risk: Risk, most_profit: int | None) -> tuple[int | None, int | None]:
    """The row arms; the distance is the column's, or 10 % of max profit."""
    for row in _rows_of(plan, "profit_target", "trailing"):
        distance = _stored(plan, risk.trailing_stop) if risk.trailing_stop else _share(plan, 10, most_profit)
        return _stored(plan, row.value), distance
    return None, None


def _first_within(amounts: list[int], most: int | None, *, else_last: bool) -> int | None:
    """A level that the legs can never reach gives way to the next source."""
    usable = [amount for amount in amounts if amount > 0]
    for amount in usable:
        if most is None or amount <= most:
            return amount
    return usable[-1] if usable and else_last else None
