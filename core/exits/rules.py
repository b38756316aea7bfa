"""The price rules, one entry each in a table: lines of P&L. `time_rules` has those that look at the calendar and the clock.

A new rule is a new entry: its line is a function of `RuleFacts`, and the band of the position follows from the lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.exits import price_lines as lines
from core.model.exit_levels import Action, Rule, Urgency
from core.model.money import rupees_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import time

    from core.model.exit_levels import ExitLevels
    from core.model.money import Paise


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What a rule may look at besides the P&L.

    `peak` is the highest trusted P&L since a rule began to remember it (paise), None before. `days` is DTE, None when no leg
    expires or the date is not known yet. `held_days` are calendar days since the first leg was opened, None while that is not
    known. `ist_time` is None before the clock was first told.
    """

    levels: ExitLevels
    peak: Paise | None = None
    days: int | None = None
    ist_time: time | None = None
    is_trading_day: bool | None = None
    held_days: int | None = None


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
    profit rule. Beyond `last_line` it does not fire any more; None is "no such line". Beyond `hard_line` (given the hard
    multiple) a loss rule waits for nothing. `meant` is the threshold and the action at a P&L that is beyond the line.
    """

    rule: Rule
    name: str
    is_loss: bool
    urgency: Urgency
    line: Callable[[RuleFacts], Paise | None]
    action: Callable[[ExitLevels], Action]
    hard_line: Callable[[RuleFacts, float], Paise | None] = lines.no_hard_line
    last_line: Callable[[RuleFacts], Paise | None] = lines.no_line
    detail: Callable[[RuleFacts], str] = lines.no_detail
    meant: Callable[[RuleFacts, Paise], tuple[Paise, Action]] | None = None

    def is_breached(self, pnl: Paise, line: Paise) -> bool:
        return pnl <= line if self.is_loss else pnl >= line

    def fires_at(self, facts: RuleFacts, pnl: Paise) -> Paise | None:
        """The line, when the P&L is beyond it and not beyond the last one; else None."""
        line, last = self.line(facts), self.last_line(facts)
        if line is None or not self.is_breached(pnl, line) or (last is not None and pnl < last):
            return None
        return line

    def band(self, facts: RuleFacts, pnl: Paise | None) -> tuple[Paise | None, Paise | None]:
        """Where the P&L has to be looked at for this rule: at or below the first, at or above the second."""
        line, last = self.line(facts), self.last_line(facts)
        if line is None:
            return None, None
        if last is not None and pnl is not None and pnl < last:
            return None, last
        return (line, None) if self.is_loss else (None, line)

    def verdict(self, facts: RuleFacts, pnl: Paise, line: Paise) -> Verdict:
        threshold, action = (line, self.action(facts.levels)) if self.meant is None else self.meant(facts, pnl)
        sign = "≤" if self.is_loss else "≥"
        reason = f"{self.name}: P&L {rupees_text(pnl)} {sign} {rupees_text(threshold)}{self.detail(facts)}"
        return Verdict(self.rule, action, self.urgency, threshold, pnl, reason)


_LEVEL_OF: Final = {
    Rule.STOP_LOSS: "stop",
    Rule.TRAILING_STOP: "trailing",
    Rule.PREMIUM_TRAILING: "premium_trailing",
    Rule.LOCK_PROFIT: "lock",
    Rule.THETA_EXIT: "theta",
    Rule.LOSING_TIME: "losing_time",
    Rule.ADJUSTMENT: "adjustment",
    Rule.PROFIT_TARGET: "target",
    Rule.SCALING_TARGET: "scaling",
}
"""The field of ExitLevels without which a price rule never has a line."""


def is_asked_for(levels: ExitLevels, rule: Rule) -> bool:
    """Whether the position has the level of a price rule at all; the others need not be looked at on its ticks."""
    return bool(getattr(levels, _LEVEL_OF[rule]))


def _close(_levels: ExitLevels) -> Action:
    return Action.CLOSE_POSITION


PRICE_RULES: Final = (
    PriceRule(
        Rule.STOP_LOSS,
        "stop loss",
        is_loss=True,
        urgency=Urgency.HIGH,
        line=lines.stop_line,
        hard_line=lines.stop_hard_line,
        action=lambda _levels: Action.CLOSE_IMMEDIATELY,
    ),
    PriceRule(
        Rule.TRAILING_STOP,
        "trailing stop",
        is_loss=True,
        urgency=Urgency.HIGH,
        line=lines.trailing_line,
        hard_line=lines.trailing_hard_line,
        action=_close,
        detail=lines.trailing_detail,
    ),
    PriceRule(
        Rule.PREMIUM_TRAILING,
        "premium trailing stop",
        is_loss=True,
        urgency=Urgency.HIGH,
        line=lines.premium_line,
        hard_line=lines.premium_hard_line,
        action=_close,
        detail=lines.premium_detail,
    ),
    PriceRule(
        Rule.LOCK_PROFIT,
        "locked profit",
        is_loss=True,
        urgency=Urgency.HIGH,
        line=lines.lock_line,
        hard_line=lines.lock_hard_line,
        action=_close,
        detail=lines.lock_detail,
    ),
    PriceRule(
        Rule.THETA_EXIT,
        "theta exit",
        is_loss=True,
        urgency=Urgency.MEDIUM,
        line=lines.theta_line,
        action=_close,
        detail=lines.theta_detail,
    ),
    PriceRule(
        Rule.LOSING_TIME,
        "losing time stop",
        is_loss=True,
        urgency=Urgency.MEDIUM,
        line=lines.losing_time_line,
        hard_line=lines.losing_time_hard_line,
        action=_close,
        detail=lines.losing_time_detail,
    ),
    PriceRule(
        Rule.ADJUSTMENT,
        "adjustment warning",
        is_loss=True,
        urgency=Urgency.NORMAL,
        line=lines.adjustment_line,
        last_line=lines.adjustment_last_line,
        action=lambda _levels: Action.ADJUST,
    ),
    PriceRule(
        Rule.PROFIT_TARGET,
        "profit target",
        is_loss=False,
        urgency=Urgency.NORMAL,
        line=lines.target_line,
        action=lambda levels: levels.target_action,
    ),
    PriceRule(
        Rule.SCALING_TARGET,
        "scaling target",
        is_loss=False,
        urgency=Urgency.NORMAL,
        line=lines.scaling_line,
        action=lambda levels: levels.scaling[0].action,
        meant=lines.scaling_meant,
    ),
)
