"""When each position of a plan has to be closed, as the oracle has it. Imports nothing of core.

The oracle's clock is told at the start, when something falls due, and at the square-off; a quote of that second comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time

from tests.oracle.day import IST, Day
from tests.oracle.market import Shown
from tests.oracle.timeline import Decision, Happening, Told
from tests.replay.oracle_levels import position_of
from tests.replay.recorded import Plan, Row

__all__ = ["IST", "Exit", "expected_exits"]


@dataclass(frozen=True, slots=True)
class Exit:
    """`threshold` and `observed`: paise for P&L rules, days for DTE, None for the clock. `at_ms` UTC of the decision."""

    rule: str
    threshold: int | None
    observed: int | None
    at_ms: int


def expected_exits(
    plans: list[Plan], rows: list[Row], square_off: time | None, start_ms: int
) -> dict[int, Exit | None]:
    """`rows` are all of the day's; `start_ms` is when the clock is first told, before the first of them.

    `square_off` (IST) is of intraday positions, None: they are left open.
    """
    held = {leg.security_id for plan in plans for leg in plan.legs}
    happenings: list[Happening] = [Told(start_ms)]
    happenings += [_shown(row) for row in rows if row.security_id in held]
    decisions = Day([position_of(plan, square_off) for plan in plans]).run(happenings)
    found: dict[int, Exit | None] = {plan.strategy_id: None for plan in plans}
    found.update((each.strategy_id, _exit(each)) for each in decisions if each.closes)
    return found


def _shown(row: Row) -> Shown:
    key = f"NSE_FNO:{row.security_id}"
    return Shown(row.at_ms, key, row.last, row.bid, row.ask, row.bid_size, row.ask_size)


def _exit(decision: Decision) -> Exit:
    return Exit(decision.rule, decision.threshold, decision.observed, decision.at_ms)
