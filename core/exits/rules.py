"""The rules, one entry each in two tables: price rules are lines of P&L, time rules look at the calendar and the clock.

A new rule is a new entry: its line is a function of `RuleFacts`, and the band of the position follows from the lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.model.exit_levels import Action, Rule, Urgency
from core.model.money import rupees_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import time

    from core.model.exit_levels import ExitLevels
    from core.model.money import Paise

IMMEDIATE_DAYS: Final = 1
"""A day rule that fires with this many days left, or fewer, closes immediately."""


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What a rule may look at besides the P&L.

    `peak` is the highest trusted P&L since the trailing stop was armed (paise), None while it is not armed. `days` is
    DTE, None when no leg expires or the date is not known yet. `ist_time` is None before the clock was first told.
    """

    levels: ExitLevels
    peak: Paise | None = None
    days: int | None = None
    ist_time: time | None = None
    is_trading_day: bool | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule wants. `threshold` and `observed` as in `Signal`; `reason` is one line for the trader."""

    rule: Rule
    action: Action
    urgency: Urgency
    threshold: int | None
    observed: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class PriceRule:
    """A rule that compares the position's P&L with a line in paise.

    `line` is where it fires now, None while it is not in force: at or below it for a loss rule, at or above it for a
    profit rule. Beyond `hard_line` (given the hard multiple) a loss rule waits for nothing; None is "no such line".
    """

    rule: Rule
    name: str
    is_loss: bool
    urgency: Urgency
    line: Callable[[RuleFacts], Paise | None]
    hard_line: Callable[[RuleFacts, float], Paise | None]
    action: Callable[[ExitLevels], Action]
    detail: Callable[[RuleFacts], str]

    def is_breached(self, pnl: Paise, line: Paise) -> bool:
        return pnl <= line if self.is_loss else pnl >= line

    def verdict(self, facts: RuleFacts, pnl: Paise, line: Paise) -> Verdict:
        sign = "≤" if self.is_loss else "≥"
        reason = f"{self.name}: P&L {rupees_text(pnl)} {sign} {rupees_text(line)}{self.detail(facts)}"
        return Verdict(self.rule, self.action(facts.levels), self.urgency, line, pnl, reason)


@dataclass(frozen=True, slots=True)
class TimeRule:
    """A rule that needs no price."""

    rule: Rule
    check: Callable[[RuleFacts], Verdict | None]


def stop_line(facts: RuleFacts) -> Paise | None:
    stop = facts.levels.stop
    return None if stop is None else -stop.amount


def stop_hard_line(facts: RuleFacts, multiple: float) -> Paise | None:
    stop = facts.levels.stop
    return None if stop is None else -round(stop.amount * multiple)


def trailing_line(facts: RuleFacts) -> Paise | None:
    """Peak − distance once armed. It only rises, because the peak does."""
    trailing = facts.levels.trailing
    return None if trailing is None or facts.peak is None else facts.peak - trailing.distance


def trailing_hard_line(facts: RuleFacts, multiple: float) -> Paise | None:
    """Peak − multiple × distance: the hard multiple is of what is given back, because the stop itself may be a profit."""
    trailing = facts.levels.trailing
    return None if trailing is None or facts.peak is None else facts.peak - round(trailing.distance * multiple)


def armed_peak(levels: ExitLevels, peak: Paise | None) -> Paise | None:
    """The peak to start with, given the one remembered (paise, None: none). None is "not armed".

    Arming at 0 is armed from entry, where the P&L was 0. A remembered peak below the arming level does not arm.
    """
    trailing = levels.trailing
    if trailing is None:
        return None
    if trailing.arm == 0:
        return max(peak or 0, 0)
    return peak if peak is not None and peak >= trailing.arm else None


def theta_line(facts: RuleFacts) -> Paise | None:
    """0 once the days are reached: a position that is not in profit by then is closed."""
    theta = facts.levels.theta
    return 0 if theta is not None and facts.days is not None and facts.days <= theta.days else None


def target_line(facts: RuleFacts) -> Paise | None:
    target = facts.levels.target
    return None if target is None else target.amount


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


def square_off(facts: RuleFacts) -> Verdict | None:
    """The clock has reached the time, on a day that the calendar calls a trading day. None is not a trading day."""
    level = facts.levels.square_off
    if level is None or facts.ist_time is None or facts.is_trading_day is not True or facts.ist_time < level.at:
        return None
    reason = f"square-off: {facts.ist_time:%H:%M:%S} IST ≥ {level.at:%H:%M:%S}"
    return Verdict(Rule.SQUARE_OFF, Action.CLOSE_POSITION, Urgency.HIGH, None, None, reason)


def days_text(days: int) -> str:
    return f"{days} day" if days == 1 else f"{days} days"


def _no_hard_line(_facts: RuleFacts, _multiple: float) -> None:
    return None


def _no_detail(_facts: RuleFacts) -> str:
    return ""


def _trailing_detail(facts: RuleFacts) -> str:
    trailing = facts.levels.trailing
    if trailing is None or facts.peak is None:
        return ""
    return f" (peak {rupees_text(facts.peak)} − {rupees_text(trailing.distance)})"


def _theta_detail(facts: RuleFacts) -> str:
    theta = facts.levels.theta
    if theta is None or facts.days is None:
        return ""
    return f" with {days_text(facts.days)} to expiry ≤ {theta.days}"


PRICE_RULES: Final = (
    PriceRule(
        Rule.STOP_LOSS,
        "stop loss",
        is_loss=True,
        urgency=Urgency.HIGH,
        line=stop_line,
        hard_line=stop_hard_line,
        action=lambda _levels: Action.CLOSE_IMMEDIATELY,
        detail=_no_detail,
    ),
    PriceRule(
        Rule.TRAILING_STOP,
        "trailing stop",
        is_loss=True,
        urgency=Urgency.HIGH,
        line=trailing_line,
        hard_line=trailing_hard_line,
        action=lambda _levels: Action.CLOSE_POSITION,
        detail=_trailing_detail,
    ),
    PriceRule(
        Rule.THETA_EXIT,
        "theta exit",
        is_loss=True,
        urgency=Urgency.MEDIUM,
        line=theta_line,
        hard_line=_no_hard_line,
        action=lambda _levels: Action.CLOSE_POSITION,
        detail=_theta_detail,
    ),
    PriceRule(
        Rule.PROFIT_TARGET,
        "profit target",
        is_loss=False,
        urgency=Urgency.NORMAL,
        line=target_line,
        hard_line=_no_hard_line,
        action=lambda levels: levels.target_action,
        detail=_no_detail,
    ),
)

TIME_RULES: Final = (TimeRule(Rule.SQUARE_OFF, square_off), TimeRule(Rule.DTE_EXIT, dte_exit))
