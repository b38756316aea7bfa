"""The levels of a plan, read by the oracle from the rows that the plan would have. Imports nothing of core."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from functools import cache

from tests.oracle import book
from tests.oracle.levels import read_levels
from tests.oracle.payoff import bounds_of
from tests.replay.recorded import Plan


@dataclass(frozen=True, slots=True)
class Amounts:
    """The levels of one position, whole position, paise and days. None: that rule is not in force."""

    stop: int | None
    arm: int | None
    distance: int | None
    target: int | None
    dte: int
    theta: int | None


def legs_of(plan: Plan) -> tuple[book.Leg, ...]:
    return tuple(
        book.Leg(
            leg.row_id,
            book.Contract(f"NSE_FNO:{leg.security_id}", "INDEX", leg.right, leg.strike, plan.expiry, leg.lot),
            leg.units,
            leg.entry,
        )
        for leg in plan.legs
    )


@cache
def levels_of(plan: Plan, square_off: time | None = None) -> book.Levels:
    """`square_off` is of intraday positions."""
    rows = [
        {
            "id": number,
            "exit_type": level.exit_type,
            "level_name": level.level_name,
            "trigger_type": level.trigger_type,
            "trigger_value": level.value,
            "action": level.action,
        }
        for number, level in enumerate(sorted(plan.levels, key=lambda level: level.level_name != "primary"))
    ]
    risk = plan.risk
    columns = (
        {}
        if risk is None
        else {
            "max_capital_at_risk": risk.max_capital_at_risk,
            "strategy_level_stop": risk.strategy_level_stop,
            "trailing_stop": risk.trailing_stop,
            "profit_target_pct": risk.profit_target_pct,
        }
    )
    at = square_off if plan.product == "INTRADAY" else None
    return read_levels(legs_of(plan), plan.name, rows, columns, at)


def position_of(plan: Plan, square_off: time | None = None) -> book.Position:
    return book.Position(plan.strategy_id, legs_of(plan), levels_of(plan, square_off))


def amounts_of(plan: Plan) -> Amounts:
    levels = levels_of(plan)
    assert levels.dte is not None
    return Amounts(levels.stop, levels.arm, levels.distance, levels.target, levels.dte, levels.theta)


def net_premium_of(plan: Plan) -> int:
    """Sold less bought: positive is a credit."""
    return sum(-leg.units * leg.entry for leg in plan.legs)


def max_loss_of(plan: Plan) -> int | None:
    return bounds_of(legs_of(plan)).loss
