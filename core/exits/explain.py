"""How a position stands: the dashboard's line, and why its stop would not fire now (exit_rules 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.explain_levels import list_thresholds
from core.exits.explain_line import Threshold
from core.exits.profit_and_loss import pnl_percent
from core.exits.rules import PRICE_RULES
from core.exits.safe_to_trade import Hindrance, Reason
from core.exits.time_rules import TIME_RULES
from core.model.exit_levels import Action, Rule, Urgency
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.exits.breach import Breach
    from core.exits.rules import RuleFacts, Verdict
    from core.exits.safe_to_trade import SafeToTrade
    from core.model.money import Paise
    from core.position_cache_manager import BookedPosition

__all__ = ["Assessment", "Threshold", "assess", "list_thresholds", "reason_text", "why_unprotected"]

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
        line = None if pnl is None else rule.fires_at(facts, pnl)
        if pnl is not None and line is not None:
            return rule.verdict(facts, pnl, line)
    return next((verdict for rule in TIME_RULES if (verdict := rule.check(facts)) is not None), None)


def why_unprotected(facts: RuleFacts, safe: SafeToTrade, now_ns: int, started_ns: int | None) -> str | None:
    """Why the stop loss would not fire now, for a trader; None when it would."""
    is_closed = safe.reasons[:1] == (_CLOSED,)
    for reason in safe.reasons:
        # Prices stand still while the market is closed: an old one is no fault, and nothing can be done about it.
        if reason.key is not None and not (is_closed and reason.what is Hindrance.STALE):
            return reason_text(reason, now_ns, started_ns)
    if facts.levels.stop is None:
        return "no stop loss is in force"
    return None


def reason_text(reason: Reason, now_ns: int, started_ns: int | None) -> str:
    """The reason for a trader, with how long it has lasted. Times are monotonic."""
    match reason.what:
        case Hindrance.CLOSED | Hindrance.UNKNOWN_SESSION:
            return reason.what.value
        case Hindrance.NO_REALISED:
            return (
                "a share of it was closed at a price that the broker did not tell, so its P&L is not known; "
                "write what is left into its rows, and it counts from its entry prices"
            )
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
