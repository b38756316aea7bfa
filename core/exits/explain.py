"""Why nothing fires now, and what would: the dashboard's line and the --plan list (exit_rules 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.profit_and_loss import pnl_percent
from core.exits.rules import PRICE_RULES, TIME_RULES
from core.exits.safe_to_trade import Hindrance, Reason
from core.model.exit_levels import Action, LevelSource, Rule, Urgency
from core.model.money import rupees_text
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from core.exits.breach import Breach
    from core.exits.rules import RuleFacts, Verdict
    from core.exits.safe_to_trade import SafeToTrade
    from core.model.money import Paise
    from core.position_cache_manager import BookedPosition

_CLOSED: Final = Reason(Hindrance.CLOSED)
NOTHING_FIRES: Final = "No exit conditions triggered"
HIGH_SHARE: Final = 0.8
MEDIUM_SHARE: Final = 0.6


class Assessment(NamedTuple):
    """The state of a position for the dashboard. `action` is MONITOR, or what waits to be done (`reason` says for what).

    `stop_used` is the share of the stop loss that is used, 0 in profit, None while unknown. `urgency` follows it;
    what waits has its rule's, and an unprotected position is HIGH.
    """

    action: Action
    urgency: Urgency
    reason: str
    pnl: Paise | None
    pnl_percent: float | None
    stop_used: float | None


class Threshold(NamedTuple):
    """Where one rule fires: `pnl` in paise at this moment, None for rules that look at the calendar or the clock."""

    rule: Rule
    level: str
    pnl: Paise | None
    source: LevelSource


def assess(
    booked: BookedPosition,
    facts: RuleFacts,
    breaches: Mapping[Rule, Breach],
    *,
    safe: SafeToTrade,
    suspects: tuple[int, ...],
    now_ns: int,
    started_ns: int | None,
) -> Assessment:
    pnl = booked.pnl
    used = _stop_used(facts, pnl)
    action, urgency, reason = Action.MONITOR, _urgency_of(used), NOTHING_FIRES
    unprotected = why_unprotected(facts, safe, now_ns, started_ns)
    waiting = None if safe.is_session_open else _due(facts, pnl)
    breached = next((rule for rule in PRICE_RULES if rule.rule in breaches), None)
    if unprotected is not None:
        urgency, reason = Urgency.HIGH, f"unprotected: {unprotected}"
    elif waiting is not None:
        action, urgency = waiting.action, waiting.urgency
        reason = f"{waiting.reason}; waiting, {safe.reasons[0].what.value}"
    elif breached is not None:
        is_settled = breaches[breached.rule].is_settled()
        what = "the spread to settle" if not is_settled or not suspects else "a second quote"
        if suspects and not breached.is_loss:
            what = "a clean quote"
        action, urgency = breached.action(facts.levels), breached.urgency
        reason = f"{breached.name} breached, waiting for {what}"
    return Assessment(action, urgency, reason, pnl, pnl_percent(pnl, booked.position.net_premium), used)


def list_thresholds(facts: RuleFacts) -> tuple[Threshold, ...]:
    """Every rule in force, in the order of `Rule`'s precedence for price rules, then clock and calendar."""
    return tuple(_thresholds(facts))


def _thresholds(facts: RuleFacts) -> Iterator[Threshold]:
    levels = facts.levels
    if levels.stop is not None:
        amount = levels.stop.amount
        yield Threshold(Rule.STOP_LOSS, f"P&L ≤ {rupees_text(-amount)}", -amount, levels.stop.source)
    trailing = levels.trailing
    if trailing is not None:
        distance = rupees_text(trailing.distance)
        if facts.peak is None:
            text = f"arms at P&L ≥ {rupees_text(trailing.arm)}, then the peak − {distance}"
            yield Threshold(Rule.TRAILING_STOP, text, None, trailing.source)
        else:
            stop = facts.peak - trailing.distance
            text = f"P&L ≤ {rupees_text(stop)} (peak {rupees_text(facts.peak)} − {distance})"
            yield Threshold(Rule.TRAILING_STOP, text, stop, trailing.source)
    if levels.target is not None:
        amount = levels.target.amount
        yield Threshold(Rule.PROFIT_TARGET, f"P&L ≥ {rupees_text(amount)}", amount, levels.target.source)
    if levels.theta is not None:
        text = f"P&L ≤ {rupees_text(0)} while DTE ≤ {levels.theta.days}"
        yield Threshold(Rule.THETA_EXIT, text, 0, levels.theta.source)
    if levels.dte is not None:
        yield Threshold(Rule.DTE_EXIT, f"DTE ≤ {levels.dte.days}", None, levels.dte.source)
    if levels.square_off is not None:
        yield Threshold(Rule.SQUARE_OFF, f"{levels.square_off.at:%H:%M:%S} IST", None, levels.square_off.source)


def _stop_used(facts: RuleFacts, pnl: Paise | None) -> float | None:
    stop = facts.levels.stop
    return None if stop is None or pnl is None else max(-pnl, 0) / stop.amount


def _urgency_of(used: float | None) -> Urgency:
    if used is None or used < MEDIUM_SHARE:
        return Urgency.NORMAL
    return Urgency.HIGH if used >= HIGH_SHARE else Urgency.MEDIUM


def _due(facts: RuleFacts, pnl: Paise | None) -> Verdict | None:
    """The first rule that would fire if the market were open."""
    for rule in PRICE_RULES:
        line = rule.line(facts)
        if line is not None and pnl is not None and rule.is_breached(pnl, line):
            return rule.verdict(facts, pnl, line)
    return next((verdict for rule in TIME_RULES if (verdict := rule.check(facts)) is not None), None)


def why_unprotected(facts: RuleFacts, safe: SafeToTrade, now_ns: int, started_ns: int | None) -> str | None:
    """Why the stop loss would not fire now, for a trader; None when it would."""
    is_closed = safe.reasons[:1] == (_CLOSED,)
    for reason in safe.reasons:
        # Prices stand still while the market is closed: an old one is no fault, and nothing can be done about it.
        if reason.key is not None and not (is_closed and reason.what is Hindrance.STALE):
            return _reason_text(reason, now_ns, started_ns)
    if facts.levels.stop is None:
        return "no stop loss is in force"
    return None


def _reason_text(reason: Reason, now_ns: int, started_ns: int | None) -> str:
    match reason.what:
        case Hindrance.NO_ENTRY:
            return f"the entry price of {reason.key} is not known yet"
        case Hindrance.NO_PRICE:
            return f"no price for {reason.key}{_for_so_long(started_ns, now_ns)}"
        case Hindrance.SAVED_PRICE:
            return f"only a saved price for {reason.key}, none of the market yet"
        case _:
            return f"no fresh price for {reason.key}{_for_so_long(reason.since_ns, now_ns)}"


def _for_so_long(since_ns: int | None, now_ns: int) -> str:
    return "" if since_ns is None else f" for {(now_ns - since_ns) // NS_PER_S} s"
