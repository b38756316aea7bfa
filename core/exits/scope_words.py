"""What limits over positions say: why one fired, why one cannot be judged, what an operator has reset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.scope_lines import RULE_OF
from core.model.commands import Alert, Severity
from core.model.exit_levels import Action, Urgency
from core.model.money import rupees_text
from core.model.session_time import ist_datetime
from core.model.signals import Signal
from core.model.special_levels import LimitKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.exits.scope_belief import Hindered, Member
    from core.exits.scope_pool import Trip
    from core.model.journal_records import LimitTripped
    from core.model.money import Paise
    from core.model.special_levels import ScopeKey

NAMED: Final = 10
"""Members that a reason tells one by one."""
KIND_WORDS: Final = {
    LimitKind.MAX_LOSS: "loss limit",
    LimitKind.DAILY_LOSS: "daily loss limit",
    LimitKind.MAX_PROFIT: "profit limit",
}
RESET_TOOL: Final = "data_scripts/reset_limits.py"


def trip_reason(trip: Trip, members: Iterable[Member]) -> str:
    """One line for the trader: the scope, both numbers, and what the positions have brought, the most telling first."""
    line = trip.line
    is_daily = line.kind is LimitKind.DAILY_LOSS
    what = "P&L of the day" if is_daily else "P&L"
    numbers = f"{what} {rupees_text(trip.observed)} {'≤' if line.is_loss else '≥'} {rupees_text(line.threshold)}"
    shares = [(share, member.name) for member in members if (share := _share(member, is_daily=is_daily)) is not None]
    shares.sort(reverse=not line.is_loss)
    told = [f"{name} {rupees_text(share)}" for share, name in shares[:NAMED]]
    if len(shares) > NAMED:
        told.append(f"{len(shares) - NAMED} more")
    return f"{line.key} {KIND_WORDS[line.kind]}: {numbers} ({', '.join(told) or 'no open position'})"


def _share(member: Member, *, is_daily: bool) -> Paise | None:
    return member.change if is_daily else member.booked.pnl


def latched_reason(latch: LimitTripped) -> str:
    when = f"{ist_datetime(latch.utc_ns):%d %b %H:%M:%S} IST"
    return (
        f"{latch.key} {KIND_WORDS[latch.kind]} fired at {when}, at {rupees_text(latch.observed)} with a limit of "
        f"{rupees_text(latch.limit)}; what is open in its scope is closed until the next session or a reset"
    )


def limit_signal(member: Member, latch: LimitTripped, reason: str, at_ns: int, tick_ns: int | None) -> Signal:
    return Signal(
        strategy_id=member.strategy_id,
        rule=RULE_OF[latch.scope],
        action=Action.CLOSE_POSITION,
        urgency=Urgency.HIGH,
        threshold=latch.limit,
        observed=latch.observed,
        pnl=member.booked.pnl,
        reason=reason,
        decided_ns=at_ns,
        tick_received_ns=tick_ns,
        level=latch.kind.value,
    )


def tripped_alert(latch: LimitTripped, reason: str) -> Alert:
    text = f"{reason}; everything in its scope is closed, until the next session or {RESET_TOOL}"
    return Alert(Severity.PAGE, f"{latch.key} {KIND_WORDS[latch.kind]} fired", text)


def in_force_alert(latches: Sequence[LimitTripped]) -> Alert:
    names = ", ".join(f"{latch.key} {KIND_WORDS[latch.kind]}" for latch in latches)
    return Alert(Severity.INFO, "limits in force again", f"a new session has begun: {names}")


def reset_alert(texts: Sequence[str]) -> Alert:
    return Alert(Severity.WARNING, "limits reset by an operator", "; ".join(texts))


def reset_text(key: ScopeKey, latch: LimitTripped | None, forgiven: Paise) -> str:
    was = "nothing was latched"
    if latch is not None:
        was = f"{KIND_WORDS[latch.kind]} had fired at {ist_datetime(latch.utc_ns):%d %b %H:%M:%S} IST"
    return f"{key}: {was}; the daily loss counts from {rupees_text(forgiven)} on"


def hindered_text(hindered: Hindered) -> str:
    """Which price is missing, of which position."""
    member, reason = hindered
    symbol = next(
        (leg.instrument.symbol for leg in member.booked.position.legs if leg.instrument.key == reason.key), None
    )
    return f"{reason.what.value}{'' if symbol is None else f' for {symbol}'} of {member.name}"


def limits_text(keys: Sequence[ScopeKey]) -> str:
    return " and ".join(f"the {key} limit" for key in keys)


def blind_text(keys: Sequence[ScopeKey], why: str) -> str:
    return f"{limits_text(keys)} cannot be judged: {why}"


def unseen_text(name: str) -> str:
    return f"the exit of {name} that an earlier run began is not over"


def unknown_text(key: ScopeKey, names: Sequence[str]) -> str:
    told = ", ".join(names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"the daily loss limit of {key} cannot be judged today: what {told}{more} brought is not known; "
        f"count anew with {RESET_TOOL}"
    )
