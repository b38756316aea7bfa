"""Where each level of a position fires, and what it is compared with now: the lines of --plan and of --why.

One entry per field of `ExitLevels`. The P&L of a line is what the rule itself says (`PriceRule.line`), so that nothing else is
printed than what fires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits import price_lines
from core.exits.explain_judges import greek_lines, own_rule_lines, underlying_lines
from core.exits.explain_line import NOTHING_AROUND, Around, Threshold
from core.exits.partial_close import PERCENT_OF
from core.exits.price_lines import days_text
from core.exits.rules import PRICE_RULES
from core.exits.time_rules import IMMEDIATE_DAYS
from core.model.exit_levels import Action, Rule
from core.model.money import rupees_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from core.exits.explain_line import Sourced
    from core.exits.rules import RuleFacts
    from core.model.money import Paise
    from core.model.special_levels import ScalingLevel

    Lines = Callable[[RuleFacts, Around], Iterator[Threshold]]

LINE: Final = "{line}"
NO_DAYS: Final = "no leg expires, or the date is not known yet"
_PRICED: Final = {rule.rule: rule for rule in PRICE_RULES}
_PLACES: Final = {rule: place for place, rule in enumerate(Rule)}


def list_thresholds(facts: RuleFacts, around: Around = NOTHING_AROUND) -> tuple[Threshold, ...]:
    """Every level of the position, and the limits that hold for it, in the order of the precedence of its rule."""
    found = [*(line for lines in LINES_OF.values() for line in lines(facts, around)), *around.limits]
    return tuple(sorted(found, key=lambda line: _PLACES[line.rule]))


def _priced(rule: Rule, text: str, level: Sourced, facts: RuleFacts, waits: str = "") -> Threshold:
    """A line of P&L; where it is (also where the text says LINE), and what it closes, are the rule's own."""
    priced = _PRICED[rule]
    pnl = priced.line(facts)
    if pnl is not None:
        text = text.replace(LINE, rupees_text(pnl))
    return Threshold(
        rule,
        text,
        pnl,
        level.source,
        level.note,
        priced.action(facts.levels),
        pnl,
        waits=waits,
        is_above=not priced.is_loss,
    )


def _stop(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    stop = facts.levels.stop
    if stop is not None:
        yield _priced(Rule.STOP_LOSS, f"P&L ≤ {LINE}", stop, facts)


def _trailing(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    trailing, line = facts.levels.trailing, price_lines.trailing_line(facts)
    if trailing is None:
        return
    percent = trailing.percent_of_peak
    if line is not None:
        text = f"P&L ≤ {LINE}{price_lines.trailing_detail(facts)}"
        yield _priced(Rule.TRAILING_STOP, text, trailing, facts)
        return
    distance = rupees_text(trailing.distance) if percent is None else f"{percent:g} % of it"
    text = f"arms at P&L ≥ {rupees_text(trailing.arm)}, then the peak − {distance}"
    is_armed = facts.peak is not None and facts.peak >= trailing.arm
    waits = "armed, and the peak is no profit yet" if is_armed else f"not armed: {_peak_text(facts.peak)}"
    yield _priced(Rule.TRAILING_STOP, text, trailing, facts, waits)


def _premium(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    level = facts.levels.premium_trailing
    if level is not None:
        yield _priced(Rule.PREMIUM_TRAILING, f"P&L ≤ {LINE}{price_lines.premium_detail(facts)}", level, facts)


def _lock(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    """The floor that is locked, then the steps that are still to come."""
    lock, line = facts.levels.lock, price_lines.lock_line(facts)
    if lock is None:
        return
    if line is not None:
        text = f"P&L ≤ {LINE}{price_lines.lock_detail(facts)}"
        yield _priced(Rule.LOCK_PROFIT, text, lock, facts)
    for step in lock.steps:
        if facts.peak is None or facts.peak < step.trigger:
            text = f"P&L ≤ {rupees_text(step.floor)} once it was ≥ {rupees_text(step.trigger)}"
            waits = f"not locked: {_peak_text(facts.peak)}"
            yield Threshold(Rule.LOCK_PROFIT, text, None, lock.source, lock.note, waits=waits)


def _peak_text(peak: Paise | None) -> str:
    return "no peak is remembered yet" if peak is None else f"the peak is {rupees_text(peak)}"


def _theta(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    level = facts.levels.theta
    if level is not None:
        text = f"P&L ≤ {rupees_text(0)} while DTE ≤ {level.days}"
        yield _priced(Rule.THETA_EXIT, text, level, facts, _days_wait(facts, level.days))


def _losing_time(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    level, stop = facts.levels.losing_time, facts.levels.stop
    if level is None:
        return
    if stop is None:
        text, waits = f"half the stop while DTE < {level.days}", "no stop loss is in force"
    else:
        text = f"P&L ≤ {rupees_text(-stop.amount // 2)} while DTE < {level.days}"
        waits = _days_wait(facts, level.days - 1)
    yield _priced(Rule.LOSING_TIME, text, level, facts, waits)


def _days_wait(facts: RuleFacts, most: int) -> str:
    if facts.days is None:
        return NO_DAYS
    return "" if facts.days <= most else f"DTE is {facts.days}"


def _adjustment(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    level = facts.levels.adjustment
    if level is not None:
        text = f"{rupees_text(-level.last)} ≤ P&L ≤ {rupees_text(-level.first)}, told once"
        yield _priced(Rule.ADJUSTMENT, text, level, facts)


def _target(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    target = facts.levels.target
    if target is not None:
        yield _priced(Rule.PROFIT_TARGET, f"P&L ≥ {LINE}", target, facts)


def _scaling(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    for level in sorted(facts.levels.scaling, key=lambda each: each.amount):
        yield _scaling_line(facts, level)


def _scaling_line(facts: RuleFacts, level: ScalingLevel) -> Threshold:
    """A level below which another one closes as much already never fires by itself."""
    share = f"{PERCENT_OF[level.action]} % of it gone in total" if level.action in PERCENT_OF else level.action.value
    text = f"P&L ≥ {rupees_text(level.amount)}: {share}"
    amount, _ = price_lines.scaling_meant(facts, level.amount)
    if amount != level.amount:
        waits = f"the level at {rupees_text(amount)} closes as much"
        return Threshold(Rule.SCALING_TARGET, text, None, level.source, level.note, level.action, waits=waits)
    amount = level.amount
    return Threshold(Rule.SCALING_TARGET, text, amount, level.source, level.note, level.action, amount, is_above=True)


def _square_off(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    level = facts.levels.square_off
    if level is None:
        return
    now = "" if facts.ist_time is None else f"it is {facts.ist_time:%H:%M:%S}"
    waits = {True: "", False: "today is no trading day", None: "whether today is a trading day is not known"}
    text = f"{level.at:%H:%M:%S} IST"
    yield Threshold(Rule.SQUARE_OFF, text, None, level.source, level.note, now=now, waits=waits[facts.is_trading_day])


def _dte(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    level, days = facts.levels.dte, facts.days
    if level is None:
        return
    now, waits = ("", NO_DAYS) if days is None else (f"DTE is {days}", "")
    action = Action.CLOSE_IMMEDIATELY if days is not None and days <= IMMEDIATE_DAYS else Action.CLOSE_POSITION
    yield Threshold(
        Rule.DTE_EXIT, f"DTE ≤ {level.days}", None, level.source, level.note, action, level.days, days, now, waits
    )


def _holding(facts: RuleFacts, _: Around) -> Iterator[Threshold]:
    level, held = facts.levels.holding, facts.held_days
    if level is None:
        return
    now, waits = ("", "when it was opened is not known") if held is None else (f"held for {days_text(held)}", "")
    yield Threshold(
        Rule.LONGEST_HOLDING,
        f"held for ≥ {days_text(level.days)}",
        None,
        level.source,
        level.note,
        threshold=level.days,
        observed=held,
        now=now,
        waits=waits,
        is_above=True,
    )


LINES_OF: Final[Mapping[str, Lines]] = {
    "stop": _stop,
    "trailing": _trailing,
    "premium_trailing": _premium,
    "lock": _lock,
    "theta": _theta,
    "losing_time": _losing_time,
    "adjustment": _adjustment,
    "target": _target,
    "scaling": _scaling,
    "square_off": _square_off,
    "dte": _dte,
    "holding": _holding,
    "underlying": underlying_lines,
    "greeks": greek_lines,
    "own_rules": own_rule_lines,
}
"""By field of ExitLevels. A test holds that no field is missing."""
