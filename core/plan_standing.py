"""How a position and its levels stand at the moment of a plan, in which nothing fires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.explain_comparisons import WOULD_FIRE, State
from core.exits.profit_and_loss import days_to_expiry
from core.exits.rules import RuleFacts
from core.exits.time_rules import TIME_RULES
from core.model.exit_levels import Rule
from core.model.session_time import ist_datetime

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.exits.explain_comparisons import RuleCompared
    from core.exits.position_guard import PositionGuard
    from core.exits.rules import Verdict
    from core.model.events import TimePassed
    from core.monitor_view import Plan

BEYOND: Final = "beyond its line now"
AT_THE_NEXT_TICK: Final = f"{BEYOND}: would fire at the next tick"
DUE_NOW: Final = "due now, would fire at the next tick"
_JUDGED_BESIDE: Final = frozenset({Rule.UNDERLYING_LEVEL, Rule.OWN_RULE})
"""Their levels are out of force only while something is not known, or broken."""
_TIMED: Final = frozenset(each.rule for each in TIME_RULES)


def due_by_time(guard: PositionGuard, now: TimePassed) -> tuple[Verdict, ...]:
    """What calendar and clock ask for at this moment, the most pressing first, whether the market is open or not."""
    ist = ist_datetime(now.utc_ns)
    position, today = guard.booked.position, ist.date()
    opened = None if guard.levels.holding is None else position.opened_on
    facts = RuleFacts(
        guard.levels,
        guard.peak,
        days_to_expiry(position, today),
        ist.time(),
        now.is_trading_day,
        None if opened is None else (today - opened).days,
    )
    return tuple(verdict for rule in TIME_RULES if (verdict := rule.check(facts)) is not None)


def now_text(found: RuleCompared, due: Collection[Rule], now: TimePassed) -> str:
    """`due`: the rules of calendar and clock that are due."""
    rule, is_open = found.threshold.rule, now.session_open is True
    # The clock of a session that is over says nothing of the next one; days only go by.
    if rule in due and (is_open or rule is not Rule.SQUARE_OFF):
        return DUE_NOW if is_open else "due now, would fire at the next session"
    is_beyond = (
        found.distance is not None and found.distance <= 0 and rule is not Rule.ADJUSTMENT and rule not in _TIMED
    )
    if not is_beyond or found.state is State.WAITING:
        return found.why if found.state in {State.NOTHING, State.WAITING} else f"{found.state.value}, {found.why}"
    if not is_open:
        return f"{BEYOND}: would fire at the next session if it is there then"
    if found.state is State.BREACHED:
        return AT_THE_NEXT_TICK if found.why.startswith(WOULD_FIRE) else f"{BEYOND}, {found.why}"
    if found.state is State.NOTHING:
        return f"{BEYOND}: would fire once it is believed"
    return f"{BEYOND}, {found.state.value}: {found.why}"


def why_unprotected(guard: PositionGuard, plan: Plan, now: TimePassed) -> str:
    """Prices, the stop, the underlying, Greeks, limits, own rules: why some level cannot fire now; "" when all can."""
    why = guard.why_unprotected(now.at_ns)
    if why is not None or now.session_open is not True:
        return why or ""
    # The judges beside the guard say that they are blind when it lasts; a plan does not run for so long.
    greeks = plan.shocks.greeks
    if guard.levels.greeks and (greeks is None or greeks.total is None):
        return f"its Greek levels cannot fire: {plan.shocks.problem}"
    for line in plan.rules:
        if line.state == State.WAITING and line.rule in _JUDGED_BESIDE:
            return f"{line.level} cannot fire: {line.now}"
    return ""
