"""The REST half of the gateway: what the supabase client needs of PostgREST, on a real database.

One request is one transaction, run as the role of the caller's token. PostgreSQL renders the JSON, so every type looks
as it does in a Supabase project. What is not here (embedded resources, CSV, PUT, full-text search) is refused loudly.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol

import asyncpg
from aiohttp import web

from tests.gateway import rest_sql
from tests.gateway.rest_access import caller_of
from tests.gateway.rest_answers import OBJECT, Ask, answer_page, answer_value, answer_write
from tests.gateway.rest_body import check_columns, common_keys, objects_of
from tests.gateway.rest_catalog import choose, find_functions, find_table
from tests.gateway.rest_errors import RestError, from_connection, from_postgres, unsupported
from tests.gateway.rest_query import Query, parse_query

_KINDS: Final = ("*/*", "application/json", OBJECT)
_ACQUIRE_S: Final = 10.0
_CONNECTION_ERRORS: Final = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, TimeoutError)


class RestFaults(Protocol):
    """The knobs of `faults.GatewayFaults` that this half reads."""

    rest_delay_s: float
    rest_fail: deque[tuple[int, str, str]]
    drop_after_commit: int
    refuse_rest: bool


Work = Callable[[asyncpg.Connection, Ask, str], Awaitable[web.Response]]


class RestApi:
    """The handlers of /rest/v1. `max_rows` clips every answer without a word, as the hosted service does.

    `schemas`: the exposed ones, the default first. `expired_code`: PostgREST 12 and older say PGRST301.
    """

    def __init__(self, pool: asyncpg.Pool, jwt_secret: str, faults: RestFaults) -> None:
        self.max_rows: int | None = 1000
        self.schemas: tuple[str, ...] = ("public",)
        self.expired_code = "PGRST303"
        self._pool = pool
        self._secret = jwt_secret
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """What to give to `Application.add_routes`."""
        return [
            web.route("*", "/rest/v1/rpc/{name}", self._serve_function),
            web.route("*", "/rest/v1/{name}", self._serve_table),
        ]

    async def _serve_table(self, request: web.Request) -> web.StreamResponse:
        works: dict[str, Work] = {
            "GET": self._read,
            "HEAD": self._read,
            "POST": self._insert,
            "PATCH": self._update,
            "DELETE": self._delete,
        }
        return await self._serve(request, works.get(request.method, self._unsupported))

    async def _serve_function(self, request: web.Request) -> web.StreamResponse:
        callable_by = {"GET", "HEAD", "POST"}
        return await self._serve(request, self._call if request.method in callable_by else self._unsupported)

    async def _serve(self, request: web.Request, work: Work) -> web.StreamResponse:
        faults = self._faults
        if faults.refuse_rest:
            return _cut(request)
        if faults.rest_delay_s > 0:
            await asyncio.sleep(faults.rest_delay_s)
        if faults.rest_fail:
            status, text, kind = faults.rest_fail.popleft()
            return web.Response(status=status, text=text, content_type=kind)
        try:
            ask = await self._read_request(request)
            answer = await self._in_transaction(ask, request.match_info["name"], work)
        except RestError as e:
            headers = {"Proxy-Status": f"PostgREST; error={e.code}"} if e.code else {}
            return web.Response(status=e.status, text=e.body, content_type="application/json", headers=headers)
        # Only requests that may change something: a poll in between must not use the fault up.
        if faults.drop_after_commit > 0 and not ask.reads:
            faults.drop_after_commit -= 1
            return _cut(request)
        return answer

    async def _read_request(self, request: web.Request) -> Ask:
        caller = caller_of(request.headers, self._secret, expired_code=self.expired_code)
        reads = request.method in {"GET", "HEAD"}
        schema = request.headers.get("Accept-Profile" if reads else "Content-Profile", self.schemas[0])
        if schema not in self.schemas:
            hint = f"Only the following schemas are exposed: {', '.join(self.schemas)}"
            raise RestError(406, "PGRST106", f"Invalid schema: {schema}", hint=hint)
        accept = request.headers.get("Accept", "*/*")
        if "Range" in request.headers or "nulls=" in accept or not any(kind in accept for kind in _KINDS):
            raise unsupported(f"Range header and no answer of the kind {accept}")
        prefer: dict[str, str] = {}
        for part in ",".join(request.headers.getall("Prefer", [])).split(","):
            name, _, value = part.strip().partition("=")
            prefer.setdefault(name, value)
        return Ask(
            method=request.method,
            schema=schema,
            caller=caller,
            pairs=tuple(request.query.items()),
            prefer=prefer,
            single=OBJECT in accept,
            body=(await request.read()).decode("utf-8", "replace"),
        )

    async def _in_transaction(self, ask: Ask, name: str, work: Work) -> web.Response:
        async with self._connection() as connection:
            try:
                async with connection.transaction(readonly=ask.reads):
                    # As PostgREST does it: a role that was not granted to the authenticator is refused.
                    await connection.execute("SET LOCAL SESSION AUTHORIZATION authenticator")
                    await connection.execute(
                        "SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true),"
                        " set_config('request.method', $3, true), set_config('search_path', $4, true)",
                        ask.caller.role,
                        ask.caller.claims,
                        ask.method,
                        f"{rest_sql.ident(ask.schema)}, public, extensions",
                    )
                    return await work(connection, ask, name)
            except _CONNECTION_ERRORS as e:
                raise from_connection(e) from e
            except asyncpg.PostgresError as e:
                raise from_postgres(e, anonymous=ask.caller.is_anonymous) from e

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            connection = await self._pool.acquire(timeout=_ACQUIRE_S)
        except (*_CONNECTION_ERRORS, asyncpg.PostgresError) as e:
            raise from_connection(e) from e
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    async def _read(self, connection: asyncpg.Connection, ask: Ask, name: str) -> web.Response:
        table = await find_table(connection, ask.schema, name)
        query = parse_query(ask.pairs)
        row = await connection.fetchrow(rest_sql.read(table, query, self._limit(query), counted=ask.counts))
        return answer_page(ask, query, row)

    async def _insert(self, connection: asyncpg.Connection, ask: Ask, name: str) -> web.Response:
        table = await find_table(connection, ask.schema, name)
        query = parse_query(ask.pairs)
        objects, text = objects_of(ask.body)
        columns = query.columns if query.columns is not None else common_keys(objects)
        check_columns(table, columns)
        if not objects:
            return answer_write(ask, 201, "[]", 0)
        write = rest_sql.Write(
            columns,
            returning=ask.wants_rows,
            resolution=ask.prefer.get("resolution"),
            missing_default=ask.prefer.get("missing") == "default",
        )
        row = await connection.fetchrow(rest_sql.insert(table, query, write), *([text] if columns else []))
        updated_only = write.resolution is not None and row["made"] == 0
        return answer_write(ask, 200 if updated_only else 201, row["body"], row["page"])

    async def _update(self, connection: asyncpg.Connection, ask: Ask, name: str) -> web.Response:
        table = await find_table(connection, ask.schema, name)
        query = parse_query(ask.pairs)
        objects, text = objects_of(ask.body)
        keys = tuple(objects[0]) if len(objects) == 1 else ()
        columns = query.columns if query.columns is not None else keys
        check_columns(table, columns)
        if not columns:
            return answer_write(ask, 200 if ask.wants_rows else 204, "[]", 0)
        sql = rest_sql.update(table, query, rest_sql.Write(columns, returning=ask.wants_rows))
        row = await connection.fetchrow(sql, text)
        return answer_write(ask, 200 if ask.wants_rows else 204, row["body"], row["page"])

    async def _delete(self, connection: asyncpg.Connection, ask: Ask, name: str) -> web.Response:
        table = await find_table(connection, ask.schema, name)
        query = parse_query(ask.pairs)
        row = await connection.fetchrow(rest_sql.delete(table, query, returning=ask.wants_rows))
        return answer_write(ask, 200 if ask.wants_rows else 204, row["body"], row["page"])

    async def _call(self, connection: asyncpg.Connection, ask: Ask, name: str) -> web.Response:
        candidates = await find_functions(connection, ask.schema, name)
        pairs, text = ask.pairs, ask.body.strip() or "{}"
        if ask.reads:
            # A name that an overload knows is an argument, any other one filters the answer.
            known = {argument for function in candidates for argument in function.arguments}
            text = json.dumps({key: value for key, value in pairs if key in known})
            pairs = tuple(pair for pair in pairs if pair[0] not in known)
        objects, _ = objects_of(text)
        given = frozenset(objects[0]) if len(objects) == 1 else frozenset()
        function = choose(candidates, ask.schema, name, given)
        query = parse_query(pairs)
        sql = rest_sql.call(function, sorted(given), query, self._limit(query), counted=ask.counts)
        row = await connection.fetchrow(sql, *([text] if given else []))
        if function.returns_void:
            return web.Response(status=204)
        if not (function.returns_rows and function.returns_set):
            return answer_value(row["body"])
        return answer_page(ask, query, row)

    async def _unsupported(self, _connection: asyncpg.Connection, ask: Ask, _name: str) -> web.Response:
        raise RestError(405, "PGRST117", f"Unsupported HTTP method: {ask.method}")

    def _limit(self, query: Query) -> int | None:
        limits = [limit for limit in (query.limit, self.max_rows) if limit is not None]
        return min(limits, default=None)


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
