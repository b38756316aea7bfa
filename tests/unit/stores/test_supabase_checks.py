"""Verdict and remedy of what only numbers decide; the rest is checked against a server in tests/integration."""

from __future__ import annotations

import base64
import json

import pytest

from core.stores import supabase_checks as checks
from core.stores.rows import DETAILS, MONITORING
from core.stores.supabase_access import SupabaseAccess, TableNames
from core.stores.supabase_checks import Finding, Identity, Verdict
from core.stores.supabase_errors import Refusal

NOW_S = 1_800_000_000.0
DAY_S = 86_400


def token(claims: object) -> str:
    parts = ({"alg": "HS256"}, claims)
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".sig"
    )


def access(key: str = "sb_secret_abc", role_token: str | None = None, schema: str = "public") -> SupabaseAccess:
    return SupabaseAccess("https://x.supabase.co", key, role_token, TableNames(schema=schema, trades="my_trades"))


@pytest.mark.parametrize(
    ("bearer", "identity"),
    [
        ("sb_secret_abc", Identity("service_role", None)),
        ("sb_publishable_abc", Identity("anon", None)),
        (token({"role": "exit_monitor", "exp": 12}), Identity("exit_monitor", 12)),
        (token({"role": 5, "exp": "soon"}), Identity(None, None)),
        (token({"role": "anon", "exp": True}), Identity("anon", None)),
        (token([]), Identity(None, None)),
        ("a.é.c", Identity(None, None)),
        ("a.b.c", Identity(None, None)),
        ("plain", Identity(None, None)),
        ("", Identity(None, None)),
    ],
)
def test_whom_a_key_is_of(bearer: str, identity: Identity) -> None:
    assert checks.identity_of(bearer) == identity


@pytest.mark.parametrize(
    ("days", "verdict"), [(30, Verdict.OK), (1.001, Verdict.OK), (0.999, Verdict.WARN), (-1, Verdict.WARN)]
)
def test_a_token_that_ends_within_a_day_is_a_warning(days: float, verdict: Verdict) -> None:
    bearer = token({"role": "exit_monitor", "exp": NOW_S + days * DAY_S})
    assert checks.accepted(access(role_token=bearer), NOW_S).verdict is verdict


@pytest.mark.parametrize(
    ("key", "word"), [("sb_secret_abc", "everything"), ("sb_publishable_abc", "Whoever has seen a web page")]
)
def test_a_key_of_many_rights_is_a_warning(key: str, word: str) -> None:
    finding = checks.accepted(access(key), NOW_S)
    assert finding.verdict is Verdict.WARN
    assert word in finding.remedy
    assert key not in finding.found + finding.remedy


def test_a_refusal_without_code_is_of_the_key_also_where_there_is_a_token() -> None:
    refused = checks.key_refused(
        access(role_token=token({"exp": NOW_S - 1})), Refusal(401, "", "Invalid API key"), NOW_S
    )
    assert refused.found.startswith("SUPABASE_KEY is refused")


@pytest.mark.parametrize(
    ("ahead_s", "unsure_s", "verdict", "words"),
    [
        (0.0, 0.1, Verdict.OK, "0.0 s ahead of"),
        (1.9, 0.0, Verdict.OK, "1.9 s ahead of"),
        (2.1, 0.0, Verdict.WARN, "2.1 s ahead of"),
        (-2.1, 0.0, Verdict.WARN, "2.1 s behind"),
        (2.1, 0.2, Verdict.OK, "± 0.2 s"),
        (19_800.0, 0.1, Verdict.WARN, "19800.0 s ahead of"),
    ],
)
def test_clocks_may_differ_by_two_seconds_and_what_cannot_be_known(
    ahead_s: float, unsure_s: float, verdict: Verdict, words: str
) -> None:
    finding = checks.clock(ahead_s, unsure_s)
    assert finding.verdict is verdict
    assert words in finding.found
    assert bool(finding.remedy) is (verdict is Verdict.WARN)


@pytest.mark.parametrize(("echo_ms", "verdict"), [(80.0, Verdict.OK), (2_001.0, Verdict.WARN), (None, Verdict.WARN)])
def test_the_canary_must_be_back_in_the_time_that_the_monitor_gives_it(echo_ms: float | None, verdict: Verdict) -> None:
    assert checks.canary(echo_ms).verdict is verdict


@pytest.mark.parametrize(
    ("took_s", "verdict", "words"),
    [
        ([9.0, 0.02, 0.03], Verdict.OK, "30 ms (median of 3)"),
        ([1.5], Verdict.OK, "1500 ms"),
        ([1.51], Verdict.WARN, "answers take 1.5 s"),
        ([0.1, 4.0, 4.0], Verdict.WARN, "answers take 4.0 s: a new trade is guarded only after two of them, 8.0 s"),
    ],
)
def test_slow_answers_are_a_warning_by_the_median(took_s: list[float], verdict: Verdict, words: str) -> None:
    finding = checks.answers(took_s)
    assert finding.verdict is verdict
    assert words in finding.found


@pytest.mark.parametrize(
    ("status", "code", "is_one"),
    [
        (404, "", False),
        (404, "NOT_FOUND", False),
        (400, "", False),
        (403, "", False),
        (401, "", True),
        (404, "PGRST205", True),
        (404, "42P01", True),
        (406, "PGRST106", True),
    ],
)
def test_a_project_is_known_by_the_code_of_its_refusal(status: int, code: str, is_one: bool) -> None:
    assert checks.is_of_a_project(Refusal(status, code, "no")) is is_one


@pytest.mark.parametrize(
    ("bearer", "verdict"),
    [
        ("sb_publishable_abc", Verdict.FAIL),
        (token({"role": "anon"}), Verdict.FAIL),
        (token({"role": "authenticated"}), Verdict.FAIL),
        (token({"role": "exit_monitor"}), Verdict.WARN),
        ("sb_secret_abc", Verdict.WARN),
        ("plain", Verdict.WARN),
    ],
)
def test_no_row_at_all_is_a_failure_for_a_role_that_policies_keep_away(bearer: str, verdict: Verdict) -> None:
    assert checks.rows_seen(access(bearer), 0, any_row=False, largest_answer=None).verdict is verdict
    assert checks.rows_seen(access(bearer), 0, any_row=True, largest_answer=None).verdict is Verdict.OK


def test_only_a_value_that_is_our_key_blames_the_key() -> None:
    ours = checks.may_not_update(Refusal(400, "22P02", 'invalid input syntax for type uuid: "-1"'))
    other = checks.may_not_update(Refusal(400, "22P02", 'invalid input value for enum status: "closed"'))
    assert "must be an integer" in ours.remedy
    assert "must be an integer" not in other.remedy


@pytest.mark.parametrize(
    "finding",
    [
        checks.may_not_update(Refusal(400, "55000", "it does not have a replica identity and publishes updates")),
        checks.failed("closing a row", "for now (55000: it does not have a replica identity and publishes updates)"),
        checks.published(access(), "trades", "Error 400: Bad Request, no primary key", 3),
    ],
)
def test_no_primary_key(finding: Finding) -> None:
    assert finding.verdict is Verdict.FAIL
    assert "primary key: add one" in finding.remedy


def test_a_refused_subscription_says_what_it_costs_in_the_pace_of_the_settings() -> None:
    finding = checks.published(access(), "trades", "please check Realtime is enabled", 4.5)
    assert finding.verdict is Verdict.WARN
    assert "in all tables changes are noticed by polling every 4.5 s" in finding.remedy


def test_a_limit_of_the_server_is_told() -> None:
    finding = checks.rows_seen(access(), 1_200, any_row=True, largest_answer=1_000)
    assert finding == Finding(
        "open trades", Verdict.OK, "1200 visible; at most 1000 rows an answer (the monitor reads in pages)"
    )


def test_a_risk_events_that_takes_anything_is_odd() -> None:
    assert checks.risk_events(None).verdict is Verdict.WARN


def test_tables_have_the_names_of_the_project() -> None:
    assert checks.columns_found(access(), "trades", []).check == "table my_trades"
    assert checks.published(access(schema="desk"), "trades", "", 3).check == "realtime desk.my_trades"
    assert checks.published(access(schema="desk"), "monitor_lease", "", 3).check == "realtime desk.monitor_lease"


def test_one_failure_is_enough() -> None:
    fine, bad = Finding("a", Verdict.WARN, "x", "y"), Finding("b", Verdict.FAIL, "x", "y")
    assert not checks.fails([fine, fine])
    assert checks.fails([fine, bad])


def test_an_optional_table_is_missed_only_where_it_is_closed_to_us():
    absent = checks.optional_table(access(), MONITORING, Refusal(404, "PGRST205", "no such table"))
    assert (absent.verdict, absent.found, absent.remedy) == (Verdict.OK, "is not there, and is optional", "")
    closed = checks.optional_table(access(), DETAILS, Refusal(403, "42501", "permission denied"))
    assert closed.verdict is Verdict.WARN
    assert "Greek levels" in closed.remedy
    assert "003_least_privilege.sql" in closed.remedy
