"""What a look before the session found → how bad that is, and what to do about it. Pure; one function for each check.

Here: account, clock, calendar, sockets. What concerns the positions is in `preflight_positions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from core.dhan.disconnect_policy import REASONS, remedy_of_code, remedy_of_http
from core.dhan.rest_account import StaticIp
from core.market_calendar import AlwaysOpen, MarketCalendar, SessionCalendar
from core.model.commands import Alert, Severity
from core.model.session_time import IST, ist_datetime

CLOCK_WARN_S: Final = 2.0
"""Times in records and the calendar are wrong by so much (fault P15)."""
CLOCK_FAIL_S: Final = 30.0
_LOOK_AHEAD_DAYS: Final = 14
_NAMED: Final = 5
_FRESH: Final = "Make a new token (web.dhan.co, My Profile, Access DhanHQ APIs) and put it into DHAN_ACCESS_TOKEN."
_MINTS: Final = (
    "The monitor mints one from DHAN_PIN and DHAN_TOTP_SECRET when it starts. "
    "This look never does: it would end the token in use."
)


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105  not a password
    WARN = "warn"
    """The monitor works, with less than it could have."""
    FAIL = "FAIL"
    UNKNOWN = "unknown"
    """Could not be found out, and is not taken for good."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` is "" when there is nothing to do."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def fails(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict is Verdict.FAIL for finding in findings)


def alerts(findings: Iterable[Finding]) -> tuple[Alert, ...]:
    """For a monitor that starts: FAIL pages, WARN warns, what is unknown is looked after while it runs."""
    severities = {Verdict.FAIL: Severity.PAGE, Verdict.WARN: Severity.WARNING}
    return tuple(
        Alert(severities[each.verdict], f"preflight: {each.check}", f"{each.found}. {each.remedy}".strip())
        for each in findings
        if each.verdict in severities
    )


def listed(texts: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f"; and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return "; ".join(texts[:_NAMED]) + more


def not_made(check: str, words: str) -> Finding:
    """The check came to no answer."""
    return Finding(check, Verdict.UNKNOWN, words, "Mend what says FAIL above, or try again.")


def broken(check: str, kind: str) -> Finding:
    """The check itself failed in a way that nobody foresaw."""
    found = f"the check itself ended with {kind}"
    return Finding(check, Verdict.FAIL, found, "This is a bug: report it. The other checks stand.")


def settings_read(*, is_live: bool) -> Finding:
    return Finding(
        "settings", Verdict.PASS, f"readable; judged for {'live orders' if is_live else 'a run without orders'}"
    )


def unreachable(words: str) -> Finding:
    remedy = "Check the network, DHAN_API_URL and the clock of this machine."
    return Finding("token", Verdict.FAIL, f"Dhan does not answer: {words}", remedy)


def no_token() -> Finding:
    return Finding("token", Verdict.UNKNOWN, "none is set, so nothing that needs one was tried", _MINTS)


def token_refused(words: str, *, can_mint: bool) -> Finding:
    return Finding("token", Verdict.FAIL, f"refused: {words}", _MINTS if can_mint else _FRESH)


def token(expires_at: int | None, now_s: float, needed_until_s: float | None, *, can_mint: bool) -> Finding:
    """Of a token that Dhan accepts. `expires_at`: UTC seconds, None when nobody says; `needed_until_s`: the end of the session."""
    if expires_at is None:
        return Finding("token", Verdict.UNKNOWN, "accepted; until when does not show", "Make a fresh one each morning.")
    left_h = (expires_at - now_s) / 3_600
    found = f"accepted, valid until {_indian(expires_at)} ({left_h:.1f} h)"
    if expires_at <= now_s:
        # Accepted all the same: its claim and Dhan's mind differ, or this machine's clock is wrong.
        return Finding(
            "token", Verdict.WARN, f"accepted, but by its own words over since {_indian(expires_at)}", _FRESH
        )
    if needed_until_s is None or expires_at >= needed_until_s:
        return Finding("token", Verdict.PASS, found)
    found += f", the session ends {_indian(needed_until_s)}"
    if can_mint:
        return Finding("token", Verdict.PASS, f"{found}; the monitor mints a new one before that")
    remedy = f"The monitor tries to renew it, which works for tokens of the web site only. Safer: {_FRESH}"
    return Finding("token", Verdict.WARN, found, remedy)


def account(expected: str, told: str) -> Finding:
    if expected == told:
        return Finding("account", Verdict.PASS, f"the token is of {told}")
    remedy = "Put the token of that account into DHAN_ACCESS_TOKEN, or correct DHAN_CLIENT_ID."
    return Finding("account", Verdict.FAIL, f"the token is of {told}, DHAN_CLIENT_ID is {expected}", remedy)


def data_plan(is_active: bool | None) -> Finding:  # noqa: FBT001  the one fact it judges
    check = "data plan"
    if is_active is None:
        return Finding(
            check, Verdict.UNKNOWN, "Dhan does not say", "Look at web.dhan.co, My Profile, Access DhanHQ APIs."
        )
    if is_active:
        return Finding(check, Verdict.PASS, "active")
    remedy = "Subscribe to the Data APIs (web.dhan.co, My Profile, Access DhanHQ APIs)."
    return Finding(check, Verdict.FAIL, "not active: no price feed and no quotes, so no price rule can fire", remedy)


def static_ip(ip: StaticIp, *, is_live: bool) -> Finding:
    check = "static IP"
    if ip.orders_allowed is None:
        remedy = "Register this machine's address (web.dhan.co, Access DhanHQ APIs, or POST /ip/setIP)."
        return Finding(check, Verdict.UNKNOWN, f"Dhan does not say: {ip.reason or 'no answer'}", remedy)
    if ip.orders_allowed:
        return Finding(check, Verdict.PASS, f"orders are taken from here ({ip.reason})")
    remedy = "Register the detected address with Dhan, or run from the one that is registered."
    verdict = Verdict.FAIL if is_live else Verdict.WARN
    return Finding(check, verdict, f"no order is taken from here: {ip.reason}", remedy)


def clock(ahead_s: float | None, unsure_s: float = 0.0) -> Finding:
    """`ahead_s`: this machine minus Dhan's Date header, give or take `unsure_s`; None when no answer carried one."""
    if ahead_s is None:
        return Finding("clock", Verdict.UNKNOWN, "no answer of Dhan with a date", "Check it with: timedatectl status")
    side = "ahead of" if ahead_s >= 0 else "behind"
    found = f"this machine is {abs(ahead_s):.1f} s {side} Dhan (± {unsure_s:.1f} s)"
    remedy = "Set the clock by network time (timedatectl set-ntp true)."
    off_s = abs(ahead_s) - unsure_s
    if off_s > CLOCK_FAIL_S:
        return Finding("clock", Verdict.FAIL, f"{found}: sessions and time exits would be wrong", remedy)
    if off_s > CLOCK_WARN_S:
        return Finding("clock", Verdict.WARN, found, remedy)
    return Finding("clock", Verdict.PASS, found)


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """`is_open` now, None unknown. `today` and `next_day`: the hours, None where the table does not know.

    `next_day` is the next trading day after today. `needed_until_s`: the end of the session that is on or comes next,
    UTC seconds; None when unknown or without end.
    """

    is_always: bool
    is_open: bool | None
    today: tuple[tuple[time, time], ...] | None
    next_day: date | None
    needed_until_s: float | None


def session_facts(calendar: SessionCalendar, utc_ns: int) -> SessionFacts:
    if not isinstance(calendar, MarketCalendar):
        return SessionFacts(isinstance(calendar, AlwaysOpen), calendar.session_open(utc_ns), (), None, None)
    now = ist_datetime(utc_ns)
    today = calendar.windows(now.date())
    next_day = _next_day(calendar, now.date())
    needed: float | None = None
    if today and now.time() < today[-1][1]:
        needed = _utc_s(now.date(), today[-1][1])
    elif next_day is not None and (hours := calendar.windows(next_day)):
        needed = _utc_s(next_day, hours[-1][1])
    return SessionFacts(False, calendar.session_open(utc_ns), today, next_day, needed)  # noqa: FBT003  the order of the fields


def calendar(facts: SessionFacts, *, is_live: bool) -> Finding:
    check = "calendar"
    if facts.is_always:
        verdict = Verdict.WARN if is_live else Verdict.PASS
        remedy = "Set MARKET_HOURS=calendar for real orders." if is_live else ""
        return Finding(check, verdict, "MARKET_HOURS=always: every moment counts as open", remedy)
    if facts.today is None:
        remedy = (
            "Add today with its hours (NSE circular) to core/nse_calendar.csv, or to your own file: MARKET_CALENDAR."
        )
        return Finding(check, Verdict.FAIL, "today's hours are not known: no rule fires while they are not", remedy)
    hours = " and ".join(f"{opening:%H:%M} to {closing:%H:%M}" for opening, closing in facts.today)
    found = f"today {hours}" if hours else "closed today"
    if facts.next_day is None:
        remedy = "Add the coming days to core/nse_calendar.csv, or name your own file with MARKET_CALENDAR."
        return Finding(check, Verdict.WARN, f"{found}; the next session is not known", remedy)
    state = {True: "open now", False: "closed now", None: "not known whether open now"}[facts.is_open]
    return Finding(check, Verdict.PASS, f"{found}, {state}; next session {facts.next_day:%a %d %b}")


def kill_switch(word: str) -> Finding:
    """`word`: ACTIVATE or DEACTIVATE as Dhan writes it; anything else is unknown."""
    check = "kill switch"
    match word.upper():
        case "DEACTIVATE" | "DEACTIVATED" | "INACTIVE":
            return Finding(check, Verdict.PASS, "not active")
        case "ACTIVATE" | "ACTIVATED" | "ACTIVE":
            return Finding(
                check,
                Verdict.FAIL,
                "active: Dhan takes no order today",
                "Take it back at web.dhan.co, Traders Control.",
            )
        case _:
            return Finding(
                check, Verdict.UNKNOWN, "Dhan does not say in words known here", "Look at web.dhan.co, Traders Control."
            )


@dataclass(frozen=True, slots=True)
class FeedTry:
    """One connection of the market feed. `first_ms`: until the first price, None when none came.

    `code` of a disconnect packet or `http_status` of a refused upgrade, 0 when there was none; `words` for anything else.
    """

    first_ms: float | None = None
    code: int = 0
    http_status: int = 0
    words: str = ""


def feed(tried: FeedTry, *, is_open: bool | None, waited_s: float) -> Finding:
    check = "feed"
    if tried.first_ms is not None:
        return Finding(check, Verdict.PASS, f"connected, first price after {tried.first_ms:.0f} ms")
    if tried.code:
        words = REASONS.get(tried.code, "not in any document")
        return Finding(
            check, Verdict.FAIL, f"refused: {tried.code} {words}", remedy_of_code(tried.code).advice or "Try again."
        )
    if tried.http_status:
        advice = remedy_of_http(tried.http_status).advice or "Try again in a minute."
        return Finding(check, Verdict.FAIL, f"refused with HTTP {tried.http_status}", advice)
    if tried.words:
        remedy = "A feed that drops a connection at once mostly means the token: see above. Else the network or DHAN_FEED_URL."
        return Finding(check, Verdict.FAIL, tried.words, remedy)
    if is_open is True:
        found = f"connected, and no price in {waited_s:g} s although the market is open"
        return Finding(
            check, Verdict.FAIL, found, "The monitor would take prices over REST. Try again; is the data plan active?"
        )
    return Finding(check, Verdict.PASS, "connected; no price came, and none is due while the market is closed")


def feed_left_out(*, is_asked_not_to: bool) -> Finding:
    found = "left out (--no-feed)" if is_asked_not_to else "not tried while the market is closed"
    return Finding("feed", Verdict.UNKNOWN, found, "Run it in market hours, or with --feed.")


def order_updates(problem: str, *, is_live: bool) -> Finding:
    """`problem`: "" when the connection still stood a second after the login."""
    check = "order updates"
    if not problem:
        return Finding(check, Verdict.PASS, "login accepted")
    remedy = (
        "A login that is reset mostly means the token. Without this stream fills are read over REST, a little later."
    )
    return Finding(check, Verdict.FAIL if is_live else Verdict.WARN, problem, remedy)


def redis(problem: str) -> Finding:
    if not problem:
        return Finding("redis", Verdict.PASS, "answers")
    remedy = "Start it or correct REDIS_URL. The monitor works without: Redis only shows prices to others."
    return Finding("redis", Verdict.WARN, problem, remedy)


def _next_day(calendar: SessionCalendar, today: date) -> date | None:
    """None where the table ends, or does not know a day, before a trading day comes."""
    for ahead in range(1, _LOOK_AHEAD_DAYS + 1):
        day = today + timedelta(days=ahead)
        if (is_trading := calendar.is_trading_day(day)) is not False:
            return day if is_trading else None
    return None


def _utc_s(day: date, at: time) -> float:
    return datetime.combine(day, at, tzinfo=IST).timestamp()


def _indian(utc_s: float) -> str:
    return f"{ist_datetime(int(utc_s) * 1_000_000_000):%a %d %b %H:%M} IST"
