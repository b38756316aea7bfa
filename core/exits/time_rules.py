"""The rules that need no price: calendar and clock (exit_rules 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.exits.price_lines import days_text
from core.exits.rules import Verdict
from core.model.exit_levels import Action, Rule, Urgency

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.exits.rules import RuleFacts

IMMEDIATE_DAYS: Final = 1
"""A day rule that fires with this many days left, or fewer, closes immediately."""


@dataclass(frozen=True, slots=True)
class TimeRule:
    rule: Rule
    check: Callable[[RuleFacts], Verdict | None]


def square_off(facts: RuleFacts) -> Verdict | None:
    """The clock has reached the time, on a day that the calendar calls a trading day. None is not a trading day."""
    level = facts.levels.square_off
    if level is None or facts.ist_time is None or facts.is_trading_day is not True or facts.ist_time < level.at:
        return None
    reason = f"square-off: {facts.ist_time:%H:%M:%S} IST ≥ {level.at:%H:%M:%S}"
    return Verdict(Rule.SQUARE_OFF, Action.CLOSE_POSITION, Urgency.HIGH, None, None, reason)


def dte_exit(facts: RuleFacts) -> Verdict | None:
    """DTE ≤ days: close, MEDIUM; with one day or less left immediately, HIGH."""
    dte = facts.levels.dte
    if dte is None or facts.days is None or facts.days > dte.days:
        return None
    is_last = facts.days <= IMMEDIATE_DAYS
    return Verdict(
        Rule.DTE_EXIT,
        Action.CLOSE_IMMEDIATELY if is_last else Action.CLOSE_POSITION,
        Urgency.HIGH if is_last else Urgency.MEDIUM,
        dte.days,
        facts.days,
        f"DTE exit: {days_text(facts.days)} to expiry ≤ {dte.days}",
    )


def longest_holding(facts: RuleFacts) -> Verdict | None:
    """Held for the days or longer. A position of which nobody knows when it was opened is not held for any."""
    level = facts.levels.holding
    if level is None or facts.held_days is None or facts.held_days < level.days:
        return None
    reason = f"longest holding: held for {days_text(facts.held_days)} ≥ {level.days}"
    return Verdict(Rule.LONGEST_HOLDING, Action.CLOSE_POSITION, Urgency.MEDIUM, level.days, facts.held_days, reason)


TIME_RULES: Final = (
    TimeRule(Rule.SQUARE_OFF, square_off),
    TimeRule(Rule.DTE_EXIT, dte_exit),
    TimeRule(Rule.LONGEST_HOLDING, longest_holding),
)
