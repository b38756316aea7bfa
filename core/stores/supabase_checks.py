"""What a check of a Supabase project found → how bad that is, and what to do about it. Pure; one function for each check.

Names of dashboard pages are those of the hosted dashboard in 2026.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

from core.stores.rows import DETAILS, LEVELS, MONITORING, RISKS, STRATEGIES, TRADES
from core.stores.supabase_access import SupabaseAccess
from core.stores.supabase_errors import Meaning, Refusal

MIGRATIONS: Final = "data_scripts/supabase_migrations"
TABLES_SQL: Final = "001_monitor_tables.sql"
REALTIME_SQL: Final = "002_realtime.sql"
PRIVILEGE_SQL: Final = "003_least_privilege.sql"
OWN_TABLES: Final = (
    "risk_events",
    "monitor_state",
    "monitor_lease",
    "trading_hours_templates",
    "trading_sessions",
    "market_holidays",
    "special_trading_sessions",
)
CLOCK_LIMIT_S: Final = 2.0
"""Above this the clock of this machine is worth a warning: expiry times of tokens and times in rows are wrong by so much."""
CANARY_LIMIT_MS: Final = 2_000
"""An echo later than this makes the monitor throw a session away (core/realtime_watch.py)."""
SLOW_S: Final = 1.5
"""Answers that take longer make the time that a new trade is not guarded worth a warning."""
NO_ROW: Final = "-1"
"""A key that no row of trades has."""

_DAY_S: Final = 86_400
_SETTINGS: Final = {
    TRADES: "SUPABASE_TRADES_TABLE",
    STRATEGIES: "SUPABASE_STRATEGIES_TABLE",
    RISKS: "SUPABASE_RISKS_TABLE",
    LEVELS: "SUPABASE_LEVELS_TABLE",
    MONITORING: "SUPABASE_MONITORING_TABLE",
    DETAILS: "SUPABASE_DETAILS_TABLE",
}


_TOO_OPEN: Final = {
    "service_role": "It may do everything.",
    "anon": "Whoever has seen a web page of the project has this key, and may do what it may.",
}
_OF_THE_PUBLIC: Final = frozenset({"anon", "authenticated"})
"""Roles that row-level security is made to keep away from rows."""
_DATABASE_CODE: Final = re.compile(r"PGRST\w+|SUP|[0-9A-Z]{5}")
_UNREADABLE_VALUE: Final = frozenset({"22P02", "22007"})
_NO_IDENTITY: Final = "replica identity"
"""Of the words with which an update of a table without a primary key is refused (55000; the gateway makes a 500 of it)."""
_NO_KEY_IN_CHANGE: Final = "Error 400"


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    """The monitor works, with less than it could have."""
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` is "" exactly when there is nothing to do."""

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


def fails(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict is Verdict.FAIL for finding in findings)


class Stage(StrEnum):
    """How far a connection came before it broke."""

    NAME = "the host name"
    CONNECT = "the connection"
    PLAIN = "the encryption"
    TLS = "the certificate"
    ANSWER = "the answer"
    PROJECT = "no Supabase project"


_CONTACT: Final[Mapping[Stage, str]] = {
    Stage.NAME: "Check SUPABASE_URL (dashboard: Project Settings, Data API) and the network. A deleted project has no name.",
    Stage.CONNECT: "Check the network and the port. Is the project paused or the local stack stopped? (dashboard: Restore project)",
    Stage.PLAIN: "The port speaks no TLS: check the port in SUPABASE_URL, or use http:// (for a stack on this machine only).",
    Stage.TLS: "Something between here and the project shows a certificate of its own, or the clock of this machine is wrong.",
    Stage.ANSWER: "Is the project paused, restarting, or SUPABASE_URL of something else? Look at the dashboard, then try again.",
    Stage.PROJECT: "SUPABASE_URL is the project's address without a path (dashboard: Project Settings, Data API).",
}


def not_reached(stage: Stage, words: str) -> Finding:
    return Finding("address", Verdict.FAIL, f"{stage.value}: {words}", _CONTACT[stage])


def reached(host: str, took_ms: float, *, is_private: bool) -> Finding:
    how = "certificate verified" if is_private else "without encryption"
    return Finding("address", Verdict.OK, f"{host} answers in {took_ms:.0f} ms, {how}")


def is_of_a_project(refusal: Refusal) -> bool:
    """Whether a Supabase project said this, and not whatever else answers at the address."""
    return refusal.meaning is Meaning.KEY_REFUSED or _DATABASE_CODE.fullmatch(refusal.code) is not None


def answers(took_s: Sequence[float]) -> Finding:
    """`took_s`: how long single answers took, at least one."""
    typical_s = median(took_s)
    if typical_s <= SLOW_S:
        return Finding("answers", Verdict.OK, f"answers take {typical_s * 1000:.0f} ms (median of {len(took_s)})")
    found = f"answers take {typical_s:.1f} s: a new trade is guarded only after two of them, {2 * typical_s:.1f} s"
    return Finding("answers", Verdict.WARN, found, "Is the project overloaded or far away? (dashboard: Reports)")


def file_unused() -> Finding:
    """TRADES_DB is set beside SUPABASE_URL."""
    remedy = "Take TRADES_DB out of the settings; or SUPABASE_URL, if your trades are in that file."
    return Finding(
        "TRADES_DB", Verdict.WARN, "is not used: with SUPABASE_URL the trades are those of the project", remedy
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the database will take us for, read from the key without proof. None = it does not say."""

    role: str | None
    expires_at_s: float | None


def identity_of(bearer: str) -> Identity:
    """From a JSON Web Token or from the beginning of a newer key."""
    if bearer.startswith("sb_secret_"):
        return Identity("service_role", None)
    if bearer.startswith("sb_publishable_"):
        return Identity("anon", None)
    parts = bearer.split(".")
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (IndexError, ValueError):
        return Identity(None, None)
    if not isinstance(claims, dict):
        return Identity(None, None)
    role, expires = claims.get("role"), claims.get("exp")
    is_time = isinstance(expires, int | float) and not isinstance(expires, bool)
    return Identity(role if isinstance(role, str) else None, expires if is_time else None)


def accepted(access: SupabaseAccess, now_s: float) -> Finding:
    """The server took the key: what it is good for. `now_s`: seconds since 1970."""
    identity = identity_of(access.bearer)
    name = "SUPABASE_KEY" if access.role_token is None else "SUPABASE_ROLE_TOKEN"
    found = f"{name} is accepted, role {identity.role or 'not told'}"
    left_s = None if identity.expires_at_s is None else identity.expires_at_s - now_s
    if left_s is not None:
        found += f", valid for {left_s / _DAY_S:.1f} days"
    if left_s is not None and left_s < _DAY_S:
        remedy = "Sign a new one before it ends (make_role_token.py); the monitor reads it at start."
        return Finding("key", Verdict.WARN, found, remedy)
    if identity.role in _TOO_OPEN:
        remedy = f"{_TOO_OPEN[identity.role]} Better: the role of {PRIVILEGE_SQL}, by SUPABASE_ROLE_TOKEN."
        return Finding("key", Verdict.WARN, found, remedy)
    return Finding("key", Verdict.OK, found)


def key_refused(access: SupabaseAccess, refusal: Refusal, now_s: float) -> Finding:
    # What opens the gateway is the key, and its refusals have no code; behind it the token is read.
    if access.role_token is None or not refusal.code:
        remedy = "Copy the key again (dashboard: Project Settings, API Keys). It must be of the same project as SUPABASE_URL."
        return Finding("key", Verdict.FAIL, f"SUPABASE_KEY is refused ({refusal.words})", remedy)
    identity = identity_of(access.role_token)
    expired = identity.expires_at_s is not None and identity.expires_at_s <= now_s
    remedy = (
        "It has expired: sign a new one (make_role_token.py)."
        if expired
        else f"Sign it with this project's signing key (make_role_token.py), and run {PRIVILEGE_SQL} for its role."
    )
    return Finding("key", Verdict.FAIL, f"SUPABASE_ROLE_TOKEN is refused ({refusal.words})", remedy)


def columns_found(access: SupabaseAccess, table: str, absent: Sequence[str]) -> Finding:
    """`absent`: optional columns that the table does not have."""
    without = f"; without {', '.join(absent)}, which are optional" if absent else ""
    return Finding(f"table {_named(access, table)}", Verdict.OK, f"readable, has the columns it needs{without}")


def column_missing(access: SupabaseAccess, table: str, column: str) -> Finding:
    remedy = f"Add the column, or set {_SETTINGS[table]} to the table that has it."
    return Finding(f"table {_named(access, table)}", Verdict.FAIL, f"has no column {column}", remedy)


def table_refused(access: SupabaseAccess, table: str, refusal: Refusal) -> Finding:
    match refusal.meaning:
        case Meaning.NO_TABLE:
            remedy = f"Set {_SETTINGS[table]} and SUPABASE_SCHEMA to its name in the project (dashboard: Table Editor)."
        case Meaning.NO_SCHEMA:
            remedy = (
                "Set SUPABASE_SCHEMA, and expose that schema (dashboard: Project Settings, Data API, Exposed schemas)."
            )
        case Meaning.DENIED:
            remedy = f"Run {PRIVILEGE_SQL} when the role is exit_monitor; else grant it select on the table, or use another key."
        case _:
            remedy = "Check the names of the tables in .env and the types of the columns."
    return Finding(f"table {_named(access, table)}", Verdict.FAIL, refusal.words, remedy)


def optional_table(access: SupabaseAccess, table: str, refusal: Refusal) -> Finding:
    """A table that the monitor can do without cannot be read."""
    check = f"table {_named(access, table)}"
    if refusal.meaning is Meaning.NO_TABLE:
        return Finding(check, Verdict.OK, "is not there, and is optional")
    remedy = f"{_USED_FOR[table]} Run {PRIVILEGE_SQL} again when the role is exit_monitor; else grant it select on the table."
    return Finding(check, Verdict.WARN, refusal.words, remedy)


_USED_FOR: Final = {
    MONITORING: "Without it there are no warnings at support, resistance and limits of the volatility.",
    DETAILS: "Without it Greek levels compare with the first value computed, not with the entry's.",
}


def failed(check: str, words: str) -> Finding:
    """No answer to be judged: the way to the server broke in the middle."""
    if _NO_IDENTITY in words:
        return _no_primary_key(check, words)
    return Finding(check, Verdict.FAIL, words, _CONTACT[Stage.ANSWER])


def rows_seen(access: SupabaseAccess, count: int, *, any_row: bool, largest_answer: int | None) -> Finding:
    """`count` open rows. `largest_answer`: the most rows that the server gives at once, None when it showed no such limit."""
    check = "open trades"
    if count == 0 and not any_row:
        found, role = "no row at all, open or closed, is visible", identity_of(access.bearer).role
        hidden = f"row-level security hides {_named(access, TRADES)} from this key"
        remedy = f"give its role a policy for select ({PRIVILEGE_SQL} does), or use the secret key."
        if role in _OF_THE_PUBLIC:
            found += f" to role {role}: the monitor would guard nothing"
            return Finding(check, Verdict.FAIL, found, f"Most likely {hidden}: {remedy}")
        return Finding(check, Verdict.WARN, found, f"No trade yet? Then all is well. Else {hidden}: {remedy}")
    found = f"{count} visible" if count else "none open; closed ones are visible"
    if largest_answer is not None:
        found += f"; at most {largest_answer} rows an answer (the monitor reads in pages)"
    return Finding(check, Verdict.OK, found)


def may_update() -> Finding:
    found = (
        "the role may change the five columns; whether row-level security lets a row through shows only at a real exit"
    )
    return Finding("closing a row", Verdict.OK, found)


def may_not_update(refusal: Refusal) -> Finding:
    check = "closing a row"
    if refusal.code in _UNREADABLE_VALUE and f'"{NO_ROW}"' in refusal.message:
        remedy = (
            "The key column of the trades (new_id, or id where there is no new_id) must be an integer: the monitor would set "
            "every row aside. Add a column new_id bigint generated by default as identity."
        )
        return Finding(check, Verdict.FAIL, refusal.words, remedy)
    if _NO_IDENTITY in refusal.message:
        return _no_primary_key(check, refusal.words)
    remedy = (
        f"Run {PRIVILEGE_SQL} when the role is exit_monitor; else grant it update on order_status, exit_order_id, exit_price, "
        "exit_time and exit_reason. A monitor that only watches works without."
    )
    return Finding(check, Verdict.FAIL, refusal.words, remedy)


def _no_primary_key(check: str, words: str) -> Finding:
    remedy = "The table has no primary key: add one. Without it the database refuses to change rows whose changes it publishes."
    return Finding(check, Verdict.FAIL, words, remedy)


def risk_events(refusal: Refusal | None) -> Finding:
    """`refusal`: of a row that cannot be stored because its values make no sense; None when there was none, which is odd."""
    check = "risk_events"
    if refusal is None:
        remedy = f"Its columns take anything. Run {TABLES_SQL} after renaming the old table, or delete the row 'check_supabase'."
        return Finding(check, Verdict.WARN, "a row without sense was accepted", remedy)
    match refusal.meaning:
        case Meaning.OTHER:
            return Finding(check, Verdict.OK, "the role may add rows (row-level security shows only at a real one)")
        case Meaning.NO_TABLE:
            remedy = f"Run {TABLES_SQL}. Without it exits are recorded in the journal and exit_executions.json only."
        case Meaning.NO_COLUMN | Meaning.NO_CONSTRAINT:
            remedy = f"Run {TABLES_SQL} again: it adds what an older table lacks."
        case _:
            remedy = (
                f"Run {PRIVILEGE_SQL} when the role is exit_monitor; else grant it insert and select on risk_events."
            )
    return Finding(check, Verdict.WARN, refusal.words, remedy)


def own_tables(missing: Sequence[str]) -> Finding:
    if missing:
        remedy = f"Run {TABLES_SQL}. The monitor works without: it then reads all rows every few seconds."
        return Finding("own tables", Verdict.WARN, f"missing: {', '.join(missing)}", remedy)
    return Finding("own tables", Verdict.OK, "all are there")


def lease_refused(refusal: Refusal) -> Finding:
    remedy = (
        f"Run {TABLES_SQL}."
        if refusal.meaning in {Meaning.NO_FUNCTION, Meaning.NO_TABLE}
        else f"Run {TABLES_SQL}, then {PRIVILEGE_SQL}: a role needs execute on the function and insert, update on monitor_lease."
    )
    words = f"no canary and no sight of a second monitor: {refusal.words}"
    return Finding("lease", Verdict.WARN, words, remedy)


def lease_taken(took_ms: float) -> Finding:
    return Finding("lease", Verdict.OK, f"beat_monitor_lease answers in {took_ms:.0f} ms")


def clock(ahead_s: float | None, unsure_s: float = 0.0) -> Finding:
    """`ahead_s`: this machine minus the database, give or take `unsure_s`; None when it could not be measured."""
    if ahead_s is None:
        return Finding("clock", Verdict.WARN, "not compared: that needs the lease", f"Run {TABLES_SQL}.")
    found = f"this machine is {abs(ahead_s):.1f} s {'ahead of' if ahead_s >= 0 else 'behind'} the database (± {unsure_s:.1f} s)"
    if abs(ahead_s) - unsure_s > CLOCK_LIMIT_S:
        return Finding(
            "clock", Verdict.WARN, found, "Set this machine's clock by network time (timedatectl set-ntp true)."
        )
    return Finding("clock", Verdict.OK, found)


def no_realtime(reason: str) -> Finding:
    remedy = (
        "Every few seconds all rows are read instead. Does the network let wss:// through? "
        "Is Realtime switched on (dashboard: Project Settings, Realtime), and the key of this project?"
    )
    return Finding("realtime", Verdict.FAIL, reason, remedy)


def published(access: SupabaseAccess, table: str, reason: str, poll_s: float) -> Finding:
    """`reason`: why the change subscription was not confirmed, "" when it was. `table` may be one of ours.

    The subscription is one for all tables, and one that is refused ends it (core/realtime_session.py): all are polled then.
    """
    check = f"realtime {_named(access, table)}"
    if not reason:
        return Finding(check, Verdict.OK, "changes are told")
    if _NO_KEY_IN_CHANGE in reason:
        return _no_primary_key(check, reason)
    remedy = f"Run {REALTIME_SQL} (or dashboard: Database, Publications, supabase_realtime: switch the table on)."
    if "enabled" not in reason:
        remedy = f"Try again; when it stays: {remedy}"
    is_theirs = table in _SETTINGS
    lost = (
        "in all tables changes are noticed"
        if is_theirs
        else "nothing proves that changes come, so all are also noticed"
    )
    return Finding(check, Verdict.WARN, reason, f"{remedy} Until then {lost} by polling every {poll_s:g} s.")


def canary(echo_ms: float | None) -> Finding:
    """`echo_ms`: from the answer of a beat to its echo through the change stream; None when none came."""
    check = "canary"
    if echo_ms is None:
        remedy = f"Run {TABLES_SQL}, {REALTIME_SQL}, and {PRIVILEGE_SQL} for the role: it must be able to read monitor_lease."
        return Finding(check, Verdict.WARN, "a beat was written and its echo did not come", remedy)
    found = f"a change is told {echo_ms:.0f} ms after it was written"
    if echo_ms > CANARY_LIMIT_MS:
        remedy = "The monitor would not believe this stream and read all rows instead. Is the project overloaded or far away?"
        return Finding(check, Verdict.WARN, found, remedy)
    return Finding(check, Verdict.OK, found)


def _named(access: SupabaseAccess, table: str) -> str:
    """The table's name in the project, with the schema where that is not the usual one."""
    name = access.tables.of(table) if table in _SETTINGS else table
    return name if access.tables.schema == "public" else f"{access.tables.schema}.{name}"
