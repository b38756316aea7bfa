"""How bad each fact is before a session: tables of facts and verdicts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from core import preflight_checks as checks
from core.dhan.rest_account import StaticIp
from core.market_calendar import TABLE, AlwaysOpen, MarketCalendar, load_calendar
from core.model.commands import Severity
from core.model.session_time import IST
from core.preflight_checks import FeedTry, Finding, Verdict

PASS, WARN, FAIL, UNKNOWN = Verdict.PASS, Verdict.WARN, Verdict.FAIL, Verdict.UNKNOWN
NOW_S = 1_795_000_000
HOUR_S = 3_600


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()) * 10**9


def is_told(finding: Finding, verdict: Verdict, *words: str) -> bool:
    """The verdict, the words, and a remedy exactly where there is something to do."""
    assert finding.verdict is verdict, finding
    assert bool(finding.remedy) is (verdict is not PASS), finding
    text = f"{finding.found} {finding.remedy}"
    assert all(word in text for word in words), text
    return True


@pytest.mark.parametrize(
    ("expires_in_h", "needed_in_h", "can_mint", "verdict", "word"),
    [
        (10, 8, False, PASS, "valid until"),
        (8, 8, False, PASS, "(8.0 h)"),
        (7, 8, False, WARN, "DHAN_ACCESS_TOKEN"),
        (7, 8, True, PASS, "mints"),
        (1, None, False, PASS, "1.0 h"),
        (0, 8, False, WARN, "over since"),
        (-1, None, True, WARN, "over since"),
        (None, 8, True, UNKNOWN, "does not show"),
    ],
)
def test_a_token_lasts_until_the_end_of_the_session_or_can_be_minted(
    expires_in_h: float | None, needed_in_h: float | None, can_mint: bool, verdict: Verdict, word: str
) -> None:
    expires_at = None if expires_in_h is None else int(NOW_S + expires_in_h * HOUR_S)
    needed_s = None if needed_in_h is None else NOW_S + needed_in_h * HOUR_S
    assert is_told(checks.token(expires_at, NOW_S, needed_s, can_mint=can_mint), verdict, word)


def test_a_token_that_is_refused_or_missing_is_no_go_or_not_known() -> None:
    assert is_told(checks.token_refused("DH-906 Invalid Token", can_mint=False), FAIL, "DH-906", "web.dhan.co")
    assert is_told(checks.token_refused("DH-906 Invalid Token", can_mint=True), FAIL, "DHAN_TOTP_SECRET")
    assert is_told(checks.no_token(), UNKNOWN, "DHAN_PIN")
    assert is_told(checks.unreachable("refused"), FAIL, "DHAN_API_URL")


def test_the_account_must_be_the_one_of_the_settings() -> None:
    assert is_told(checks.account("11", "11"), PASS, "11")
    assert is_told(checks.account("11", "12"), FAIL, "of 12", "DHAN_CLIENT_ID is 11")


@pytest.mark.parametrize(("is_active", "verdict"), [(True, PASS), (False, FAIL), (None, UNKNOWN)])
def test_the_data_plan(is_active: bool | None, verdict: Verdict) -> None:
    assert is_told(checks.data_plan(is_active), verdict)


@pytest.mark.parametrize(
    ("allowed", "is_live", "verdict"),
    [(True, True, PASS), (False, True, FAIL), (False, False, WARN), (None, True, UNKNOWN), (None, False, UNKNOWN)],
)
def test_the_static_ip_is_a_no_go_for_real_orders_only(allowed: bool | None, is_live: bool, verdict: Verdict) -> None:
    assert is_told(checks.static_ip(StaticIp(allowed, "NO_MATCH"), is_live=is_live), verdict, "NO_MATCH")


@pytest.mark.parametrize(
    ("ahead_s", "unsure_s", "verdict", "word"),
    [
        (0.4, 0.5, PASS, "ahead of"),
        (-2.5, 0.5, PASS, "behind"),
        (2.6, 0.5, WARN, "timedatectl"),
        (-2.6, 0.5, WARN, "behind"),
        (30.5, 0.5, WARN, "30.5 s ahead"),
        (30.6, 0.5, FAIL, "sessions"),
        (-3_600.0, 1.0, FAIL, "3600.0 s behind"),
        (3_600.0, 3_599.0, PASS, "3599.0"),
        (None, 0.0, UNKNOWN, "no answer"),
    ],
)
def test_p15_the_clock_is_held_against_dhans_dates(
    ahead_s: float | None, unsure_s: float, verdict: Verdict, word: str
) -> None:
    assert is_told(checks.clock(ahead_s, unsure_s), verdict, word)


CALENDAR = load_calendar(TABLE)


@pytest.mark.parametrize(
    ("moment", "verdict", "words"),
    [
        ("2026-11-20T10:00", PASS, ("today 09:15 to 15:40", "open now", "Mon 23 Nov")),
        ("2026-11-20T08:00", PASS, ("today 09:15 to 15:40", "closed now", "Mon 23 Nov")),
        ("2026-11-21T10:00", PASS, ("closed today", "Mon 23 Nov")),
        ("2024-03-02T10:30", PASS, ("09:15 to 10:00 and 11:30 to 12:30", "closed now", "Mon 04 Mar")),
        ("2024-01-20T10:00", FAIL, ("not known", "MARKET_CALENDAR")),
        ("2027-02-01T10:00", FAIL, ("not known", "core/nse_calendar.csv")),
        ("2026-12-31T10:00", WARN, ("next session is not known",)),
    ],
)
def test_the_calendar_knows_today_and_the_next_session(moment: str, verdict: Verdict, words: tuple[str, ...]) -> None:
    facts = checks.session_facts(CALENDAR, at(moment))
    assert is_told(checks.calendar(facts, is_live=True), verdict, *words)


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-11-20T08:00", "2026-11-20T15:40"),
        ("2026-11-20T15:39", "2026-11-20T15:40"),
        ("2026-11-20T15:40", "2026-11-23T15:40"),
        ("2026-11-21T12:00", "2026-11-23T15:40"),
        ("2024-03-02T10:30", "2024-03-02T12:30"),
    ],
)
def test_a_token_is_needed_until_the_end_of_the_session_that_comes(moment: str, until: str) -> None:
    assert checks.session_facts(CALENDAR, at(moment)).needed_until_s == at(until) / 10**9


def test_a_table_without_a_coming_trading_day_needs_the_token_for_nobody_knows_how_long() -> None:
    closed = MarketCalendar(CALENDAR.first, CALENDAR.last, frozenset(), {}, frozenset())
    facts = checks.session_facts(closed, at("2026-12-31T18:00"))
    assert (facts.next_day, facts.needed_until_s) == (None, None)


def test_market_hours_always_is_no_way_to_send_real_orders() -> None:
    facts = checks.session_facts(AlwaysOpen(), at("2026-11-21T03:00"))
    assert facts.is_open is True
    assert is_told(checks.calendar(facts, is_live=True), WARN, "MARKET_HOURS=calendar")
    assert is_told(checks.calendar(facts, is_live=False), PASS, "always")


@pytest.mark.parametrize(
    ("word", "verdict"), [("DEACTIVATE", PASS), ("ACTIVATE", FAIL), ("activate", FAIL), ("", UNKNOWN), ("x", UNKNOWN)]
)
def test_the_kill_switch(word: str, verdict: Verdict) -> None:
    assert is_told(checks.kill_switch(word), verdict)


@pytest.mark.parametrize(
    ("tried", "is_open", "verdict", "words"),
    [
        (FeedTry(first_ms=12.4), True, PASS, ("12 ms",)),
        (FeedTry(first_ms=12.4), False, PASS, ("12 ms",)),
        (FeedTry(), True, FAIL, ("no price in 5 s",)),
        (FeedTry(), False, PASS, ("closed",)),
        (FeedTry(), None, PASS, ("closed",)),
        (FeedTry(code=805), True, FAIL, ("805 too many connections", "stop it")),
        (FeedTry(code=806), False, FAIL, ("806", "data plan")),
        (FeedTry(code=999), True, FAIL, ("999",)),
        (FeedTry(http_status=429), True, FAIL, ("429",)),
        (FeedTry(http_status=503), True, FAIL, ("503",)),
        (FeedTry(words="dropped"), True, FAIL, ("dropped", "token")),
    ],
)
def test_the_feed(tried: FeedTry, is_open: bool | None, verdict: Verdict, words: tuple[str, ...]) -> None:
    assert is_told(checks.feed(tried, is_open=is_open, waited_s=5.0), verdict, *words)


def test_a_feed_that_was_not_tried_is_not_known() -> None:
    assert is_told(checks.feed_left_out(is_asked_not_to=True), UNKNOWN, "--no-feed")
    assert is_told(checks.feed_left_out(is_asked_not_to=False), UNKNOWN, "--feed")


def test_order_updates_and_redis() -> None:
    assert is_told(checks.order_updates("", is_live=True), PASS)
    assert is_told(checks.order_updates("reset", is_live=True), FAIL, "token")
    assert is_told(checks.order_updates("reset", is_live=False), WARN)
    assert is_told(checks.redis(""), PASS)
    assert is_told(checks.redis("refused"), WARN, "works without")


def test_a_check_that_breaks_is_a_finding_of_its_own() -> None:
    assert is_told(checks.broken("redis", "TypeError"), FAIL, "TypeError", "bug")
    assert is_told(checks.not_made("redis", "no"), UNKNOWN)


def test_at_start_what_fails_pages_what_warns_warns_and_the_rest_is_quiet() -> None:
    findings = [
        Finding("a", FAIL, "found", "Mend it."),
        Finding("b", WARN, "found", "Look."),
        Finding("c", PASS, "found"),
        Finding("d", UNKNOWN, "found", "Look."),
    ]
    told = checks.alerts(findings)
    assert [(x.severity, x.subject, x.text) for x in told] == [
        (Severity.PAGE, "preflight: a", "found. Mend it."),
        (Severity.WARNING, "preflight: b", "found. Look."),
    ]
    assert checks.fails(findings)
    assert not checks.fails(findings[1:])


def test_long_lists_are_cut() -> None:
    assert checks.listed(["a", "b"]) == "a; b"
    assert checks.listed([str(number) for number in range(8)]) == "0; 1; 2; 3; 4; and 3 more"


def test_expiry_is_told_in_indian_time() -> None:
    noon = int(datetime(2026, 11, 20, 6, 30, tzinfo=UTC).timestamp())
    assert "Fri 20 Nov 12:00 IST" in checks.token(noon, noon - 60, None, can_mint=False).found
