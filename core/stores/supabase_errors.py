"""What a refusal of the REST server, or a failure on the way to it, means for the caller. Pure.

Servers differ in the words and sometimes in the codes: PostgREST, the gateway in front of it (whose answers have no code), and
`@supabase/lite` (code SUP with 500 for whatever the database could not do). Statuses and codes: PostgREST's error reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx

from core.model.errors import StoreError, TransportError
from core.stores.rows import DETAILS, LEVELS, MONITORING, RISKS, STRATEGIES, TRADES

if TYPE_CHECKING:
    from core.stores.supabase_access import SupabaseAccess

_SHOWN: Final = 200
_SETTINGS: Final = {
    TRADES: "SUPABASE_TRADES_TABLE",
    STRATEGIES: "SUPABASE_STRATEGIES_TABLE",
    RISKS: "SUPABASE_RISKS_TABLE",
    LEVELS: "SUPABASE_LEVELS_TABLE",
    MONITORING: "SUPABASE_MONITORING_TABLE",
    DETAILS: "SUPABASE_DETAILS_TABLE",
}
_ABSENT_COLUMN: Final = (
    # PostgreSQL: column trades.nope does not exist; column "nope" of relation "trades" does not exist.
    re.compile(r'column (?:[\w$"]+\.)*"?(?P<name>[\w$]+)"?(?: of relation \S+)? does not exist'),
    # PostgREST: Could not find the 'nope' column of 'trades' in the schema cache.
    re.compile(r"the '(?P<name>[^']+)' column"),
)


class Meaning(StrEnum):
    NO_COLUMN = "no column"
    NO_TABLE = "no table"
    NO_FUNCTION = "no function"
    NO_SCHEMA = "no schema"
    NO_CONSTRAINT = "no unique constraint"
    KEY_REFUSED = "key refused"
    DENIED = "denied"
    PASSING = "passing"
    """The server or its database is busy, starting or away. Whether a write took effect is unknown."""
    OTHER = "other"


_BY_CODE: Final = {
    "42703": Meaning.NO_COLUMN,
    "PGRST204": Meaning.NO_COLUMN,
    "42P01": Meaning.NO_TABLE,
    "PGRST205": Meaning.NO_TABLE,
    "42883": Meaning.NO_FUNCTION,
    "PGRST202": Meaning.NO_FUNCTION,
    "PGRST106": Meaning.NO_SCHEMA,
    "3F000": Meaning.NO_SCHEMA,
    "42P10": Meaning.NO_CONSTRAINT,
    "42501": Meaning.DENIED,
    # No primary key in a published table: no update is possible, however often it is tried.
    "55000": Meaning.OTHER,
    "PGRST301": Meaning.KEY_REFUSED,
    "PGRST302": Meaning.KEY_REFUSED,
    "PGRST303": Meaning.KEY_REFUSED,
}
_PASSING_CODES: Final = re.compile(r"(?:08|40|53|57)\w{3}|55P03|PGRST00[0-3]")
_PASSING_STATUSES: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer that is not a success. `code` is PostgREST's or PostgreSQL's, "" when the answer has none."""

    status: int
    code: str
    message: str

    @property
    def meaning(self) -> Meaning:
        if self.code in _BY_CODE:
            return _BY_CODE[self.code]
        if self.code == "22023" and self.message.startswith("role "):
            # The token is good, but the role that it names does not exist.
            return Meaning.KEY_REFUSED
        if _PASSING_CODES.fullmatch(self.code):
            return Meaning.PASSING
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status in _PASSING_STATUSES:
            return Meaning.PASSING
        if self.status == HTTPStatus.UNAUTHORIZED:
            return Meaning.KEY_REFUSED
        return Meaning.DENIED if self.status == HTTPStatus.FORBIDDEN else Meaning.OTHER

    @property
    def column(self) -> str | None:
        """The column that the server does not know; None when it does not say."""
        for pattern in _ABSENT_COLUMN:
            if found := pattern.search(self.message):
                return found["name"]
        return None

    @property
    def words(self) -> str:
        """What the server said, on one line."""
        said = " ".join(self.message.split())[:_SHOWN] or "no reason given"
        return f"{self.code or self.status}: {said}"


class RefusedRequest(StoreError):  # noqa: N818  named after what it is; a StoreError
    """The server refused for certain and did nothing."""

    def __init__(self, message: str, refusal: Refusal) -> None:
        super().__init__(message)
        self.refusal = refusal

    @property
    def meaning(self) -> Meaning:
        return self.refusal.meaning

    @property
    def code(self) -> str:
        """PostgREST's or PostgreSQL's, "" when the answer had none."""
        return self.refusal.code


def error_of(refusal: Refusal, access: SupabaseAccess, target: str, doing: str) -> StoreError | TransportError:
    """The error to raise. `target`: the table, as in design/database.md where it is one of the trade tables; `doing`: "read", …"""
    if refusal.meaning is Meaning.PASSING:
        return TransportError(f"Supabase could not {doing} {target} for now ({refusal.words}).")
    return RefusedRequest(_sentence(refusal, access, target, doing), refusal)


def _sentence(refusal: Refusal, access: SupabaseAccess, target: str, doing: str) -> str:
    schema = access.tables.schema
    named = _name(access, target)
    setting = _SETTINGS.get(target)
    rename = f"Set {setting} (and SUPABASE_SCHEMA) to its name in the project." if setting else "Apply the migrations."
    match refusal.meaning:
        case Meaning.NO_TABLE:
            return f"The Supabase project has no table {schema}.{named} ({refusal.words}). {rename}"
        case Meaning.NO_COLUMN:
            return f"Table {schema}.{named} lacks column {refusal.column or '?'} ({refusal.words}). {rename}"
        case Meaning.NO_SCHEMA:
            return (
                f"Supabase does not offer schema {schema} ({refusal.words}). Set SUPABASE_SCHEMA to the schema of the trade "
                "tables, and add it to the exposed schemas in the project's API settings."
            )
        case Meaning.KEY_REFUSED:
            return _key_refused(refusal, access)
        case Meaning.DENIED:
            who = "SUPABASE_ROLE_TOKEN" if access.role_token else "SUPABASE_KEY"
            return (
                f"{who} may not {doing} {schema}.{named} ({refusal.words}). Grant it to the role of the key, with a policy where "
                "row-level security is on, as the files in data_scripts/supabase_migrations do; or use a key of more rights."
            )
        case _:
            return (
                f"Supabase refused to {doing} {schema}.{named} ({refusal.words}). "
                "Check SUPABASE_URL, and the types of the table's columns."
            )


def _key_refused(refusal: Refusal, access: SupabaseAccess) -> str:
    # The gateway knows keys only and its answers have no code; a code comes from behind it, where the token is read.
    if access.role_token is not None and refusal.code:
        return (
            f"Supabase refused SUPABASE_ROLE_TOKEN ({refusal.words}). "
            "Sign a new one with the project's JWT secret, for a role that exists."
        )
    return f"Supabase refused SUPABASE_KEY ({refusal.words}). Copy the key again from the project's API settings."


def lacks(access: SupabaseAccess, table: str, column: str) -> StoreError:
    """A required column is not there."""
    return StoreError(
        f"Table {access.tables.schema}.{_name(access, table)} lacks column {column}. "
        f"Set {_SETTINGS[table]} to the name of a table with the columns of {table}, or add the column."
    )


def emptied(access: SupabaseAccess, table: str) -> StoreError:
    """Rows that were there are gone, and the key sees no row at all: that is not believed."""
    return StoreError(
        f"Supabase shows no row at all of {access.tables.schema}.{_name(access, table)} any more, where there were rows before. "
        "Row-level security or another key hides them, or the table was emptied. Give the key a policy for SELECT; if the "
        "table really was emptied, stop the monitor, delete last_rows.json in STATE_DIR, and start it again."
    )


def _name(access: SupabaseAccess, target: str) -> str:
    return access.tables.of(target) if target in _SETTINGS else target


_NOT_REACHED: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NEVER_SENDABLE: Final = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
CUT: Final = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)
"""The connection ended under the request. A kept one may simply have been old: a read may be repeated at once."""


def error_of_failure(error: httpx.HTTPError, doing: str) -> StoreError | TransportError:
    """No answer came. Of a request that cannot even be sent nothing is quoted: it may hold the key."""
    if isinstance(error, _NEVER_SENDABLE):
        return unsendable(doing)
    if isinstance(error, _NOT_REACHED):
        said = " ".join(str(error).split())[:_SHOWN] or "no connection in time"
        return TransportError(f"Supabase cannot be reached to {doing}: {said}")
    if isinstance(error, httpx.TimeoutException):
        return TransportError(f"Supabase did not answer in time to {doing}.")
    return TransportError(f"The connection to Supabase ended before the answer to {doing} ({type(error).__name__}).")


def unsendable(doing: str) -> StoreError:
    return StoreError(
        f"The request to {doing} cannot be sent to Supabase. "
        "Check SUPABASE_URL, SUPABASE_KEY and SUPABASE_ROLE_TOKEN for stray characters."
    )


def worst_of(errors: Iterable[BaseException]) -> BaseException | None:
    """The one to raise of several: what is nobody's expectation first, then what needs a person, then what may pass."""

    def rank(error: BaseException) -> int:
        if isinstance(error, TransportError):
            return 2
        return 1 if isinstance(error, StoreError) else 0

    return min(errors, key=rank, default=None)
