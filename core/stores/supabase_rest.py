"""The official `supabase` client over our own HTTP client: requests, and errors that say what the caller may do.

Importing this costs some 0.4 s: only where Supabase is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import httpx
from postgrest.exceptions import APIError
from postgrest.types import ReturnMethod
from supabase import AsyncClient, AsyncClientOptions, create_async_client

from core.clock import SystemClock
from core.model.errors import StoreError, TransportError
from core.name_gate import NameGate, NameNotFoundError
from core.stores.row_mirror import TABLES
from core.stores.supabase_errors import CUT, Refusal, error_of, error_of_failure, unsendable
from core.tls import verified_tls

if TYPE_CHECKING:
    from core.stores.columns import Row
    from core.stores.supabase_access import SupabaseAccess

PAGE: Final = 500
_SURELY_GIVEN: Final = 50
"""Rows that every server gives in one page when it has them; a hosted one gives 1,000."""

IDS: Final = 200
"""Ids in one list: a longer address is refused on the way."""

_CONNECT_S: Final = 2.0
_KEEP_ALIVE_S: Final = 20.0
_CONNECTIONS: Final = 20
_HIDDEN: Final = "***"

Filter = tuple[str, str, str]
"""Column, operator, value as they are written in the address: ("new_id", "eq", "7")."""

_status: ContextVar[int] = ContextVar("supabase_status", default=0)
"""Of the newest answer in this task: the client's exception does not tell it."""


class _Query(Protocol):
    async def execute(self) -> Any: ...


async def _note_status(response: httpx.Response) -> None:
    _status.set(response.status_code)
    # The client takes an empty body for no rows, and no rows would empty the book. PostgREST never sends one for a read.
    if response.request.method == "GET" and response.is_success and not (await response.aread()).strip():
        raise httpx.RemoteProtocolError("expected rows, received an answer without a body")


def _name_first(gate: NameGate) -> Callable[[httpx.Request], Awaitable[None]]:
    """A new connection waits for the gate. A request on a kept one does not ask: it needs no name."""

    async def trace(event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            try:
                await gate.known(info["host"])
            except NameNotFoundError as error:
                raise httpx.ConnectError(str(error)) from None

    async def on_request(request: httpx.Request) -> None:
        request.extensions["trace"] = trace

    return on_request


def _fits_header(secret: str) -> bool:
    return bool(secret) and secret.isascii() and secret.isprintable() and " " not in secret


def one_of(column: str, ids: Sequence[int]) -> Filter:
    return column, "in", f"({','.join(map(str, ids))})"


class SupabaseRest:
    """Reads may be repeated, and once are when the connection was cut. Writes are sent once.

    Every method raises StoreError when the server refuses for certain, and TransportError when it is not known.
    """

    def __init__(self, access: SupabaseAccess, client: AsyncClient, http: httpx.AsyncClient, timeout_s: float) -> None:
        self.largest_page = 0
        """Rows in the largest page of the newest full read: a server gives at least so many, so a smaller page is the last."""
        self._access = access
        self._client = client
        self._http = http
        # The HTTP client's own limit is for each piece of an answer, so that slow drops could go on for ever.
        self._limit_s = timeout_s + _CONNECT_S

    @classmethod
    async def connect(cls, access: SupabaseAccess, timeout_s: float) -> Self:
        """Make the clients. Nothing is sent yet. Raises StoreError for an address or a key that no request can hold."""
        if not access.url.startswith(("https://", "http://")) or not all(
            map(_fits_header, (access.key, access.bearer))
        ):
            raise unsendable("connect")
        http = httpx.AsyncClient(
            http2=False,
            verify=verified_tls(),
            trust_env=False,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            limits=httpx.Limits(max_connections=_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S),
            event_hooks={"request": [_name_first(NameGate(SystemClock()))], "response": [_note_status]},
        )
        options = AsyncClientOptions(
            schema=access.tables.schema,
            headers={"Authorization": f"Bearer {access.bearer}"},
            auto_refresh_token=False,
            persist_session=False,
            postgrest_client_retry=False,
            httpx_client=http,
        )
        try:
            client = await create_async_client(access.url, access.key, options=options)
        except ValueError:
            await http.aclose()
            raise unsendable("connect") from None
        return cls(access, client, http, timeout_s)

    async def close(self) -> None:
        await self._http.aclose()

    async def select(
        self,
        table: str,
        columns: str,
        filters: Sequence[Filter] = (),
        *,
        order: str | None = None,
        limit: int,
        offset: int = 0,
    ) -> list[Row]:
        """At most `limit` rows; `order` names a column, ascending. The server may give fewer than there are."""

        def query() -> _Query:
            builder = self._client.table(self._name(table)).select(columns)
            for column, operator, value in filters:
                builder = builder.filter(column, operator, value)
            if order is not None:
                builder = builder.order(order)
            if offset:
                builder = builder.offset(offset)
            return builder.limit(limit)

        try:
            return _rows(await self._ask(query(), table, "read"))
        except _CutError:
            return _rows(await self._ask(query(), table, "read"))

    async def select_all(
        self, table: str, columns: str, filters: Sequence[Filter] = (), *, key: str | None, until_empty: bool = True
    ) -> list[Row]:
        """Every row, in pages. `key`: a unique column, or None for a table without one.

        A short page is not the last one: the server may give fewer rows than it was asked for. `until_empty=False` trusts
        `largest_page`, or after an empty full read _SURELY_GIVEN, and saves the last request.
        """
        rows: list[Row] = []
        while True:
            after = [(key, "gt", str(rows[-1][key]))] if key is not None and rows else []
            page = await self.select(
                table, columns, [*filters, *after], order=key, limit=PAGE, offset=0 if key is not None else len(rows)
            )
            if key is not None and page and not _grows(rows, page, key):
                raise TransportError(f"{table}: expected rows in the order of {key}, each with one, received others.")
            rows += page
            if not page or (not until_empty and len(page) < (self.largest_page or _SURELY_GIVEN)):
                return rows
            if until_empty:
                self.largest_page = max(self.largest_page, len(page))

    async def update(
        self, table: str, values: Mapping[str, object], filters: Sequence[Filter], returning: str
    ) -> list[Row]:
        """The rows that were changed, with the columns `returning`; [] when no row fitted, or none may be changed."""
        builder = self._client.table(self._name(table)).update(dict(values))
        for column, operator, value in filters:
            builder = builder.filter(column, operator, value)
        return _rows(await self._ask(builder.select(returning), table, "update"))

    async def insert_once(self, table: str, values: Mapping[str, object], unique: str | None) -> None:
        """Insert a row, or do nothing when one with the same value of the column `unique` is there."""
        into = self._client.table(self._name(table))
        row = dict(values)
        await self._ask(
            into.insert(row, returning=ReturnMethod.minimal)
            if unique is None
            else into.upsert(row, returning=ReturnMethod.minimal, on_conflict=unique, ignore_duplicates=True),
            table,
            "insert into",
        )

    async def call(self, function: str, arguments: Mapping[str, object]) -> list[Row]:
        """The rows that a database function returns; [] from one that returns none."""
        data = await self._ask(self._client.rpc(function, dict(arguments)), function, "call")
        return _rows(data) if isinstance(data, list) else [data] if isinstance(data, dict) else []

    def _name(self, table: str) -> str:
        return self._access.tables.of(table) if table in TABLES else table

    async def _ask(self, query: _Query, target: str, doing: str) -> object:
        try:
            async with asyncio.timeout(self._limit_s):
                return (await query.execute()).data
        except APIError as error:
            raise self._refused(error, target, doing) from None
        except CUT as error:
            raise _CutError(str(error_of_failure(error, f"{doing} {target}"))) from None
        except httpx.HTTPError as error:
            raise error_of_failure(error, f"{doing} {target}") from None
        except httpx.InvalidURL:
            raise unsendable(f"{doing} {target}") from None
        except (ValueError, RecursionError):
            raise TransportError(f"Supabase gave an answer that is no JSON to {doing} {target}.") from None
        except TimeoutError:
            raise TransportError(f"Supabase did not answer in {self._limit_s:g} s to {doing} {target}.") from None

    def _refused(self, error: APIError, target: str, doing: str) -> StoreError | TransportError:
        status = _status.get()
        # Where the answer has no code, the client puts the status in its place.
        code = "" if error.code in {None, str(status)} else str(error.code)
        refusal = Refusal(status, code, self._without_secrets(error.message or ""))
        return error_of(refusal, self._access, target, doing)

    def _without_secrets(self, text: str) -> str:
        for secret in (self._access.key, self._access.role_token):
            text = text.replace(secret, _HIDDEN) if secret else text
        return text


class _CutError(TransportError):
    """The connection ended before the answer."""


def _grows(rows: Sequence[Row], page: Sequence[Row], key: str) -> bool:
    """Whether a page goes on behind the rows before it: a server that ignores the filter would be read for ever."""
    last = page[-1].get(key)
    return last is not None and (not rows or last != rows[-1].get(key))


def _rows(data: object) -> list[Row]:
    """Raises TransportError for an answer of another kind, such as the page of a login portal."""
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        return data
    raise TransportError(
        "The answer holds no rows: is SUPABASE_URL the address of the project, and the network your own?"
    )
