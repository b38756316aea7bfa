"""A request as it was read, and the answers to it: status, Content-Range, rows or one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import asyncpg
from aiohttp import web

from tests.gateway.rest_access import Caller
from tests.gateway.rest_errors import RestError
from tests.gateway.rest_query import Query

OBJECT: Final = "application/vnd.pgrst.object+json"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, read. `prefer`: the preferences by name; `single`: exactly one row is wanted, as an object."""

    method: str
    schema: str
    caller: Caller
    pairs: tuple[tuple[str, str], ...]
    prefer: dict[str, str]
    single: bool
    body: str

    @property
    def reads(self) -> bool:
        return self.method in {"GET", "HEAD"}

    @property
    def wants_rows(self) -> bool:
        return self.prefer.get("return") == "representation"

    @property
    def counts(self) -> bool:
        return "count" in self.prefer


def answer_page(ask: Ask, query: Query, row: asyncpg.Record) -> web.Response:
    """A page of rows: 206 when the total is known and larger."""
    shown, total = row["page"], row["total"]
    if ask.single:
        return _single(row["body"], shown)
    if total is not None and query.offset > 0 and query.offset >= total:
        details = f"An offset of {query.offset} was requested, but there are only {total} rows."
        raise RestError(416, "PGRST103", "Requested range not satisfiable", details=details)
    span = f"{query.offset}-{query.offset + shown - 1}" if shown else "*"
    headers = {"Content-Range": f"{span}/{'*' if total is None else total}"}
    return _json(206 if total is not None and shown < total else 200, row["body"], headers)


def answer_write(ask: Ask, status: int, body: str, count: int) -> web.Response:
    """What a write answers: the rows when they were asked for, else nothing."""
    limit = ask.prefer.get("max-affected")
    if limit is not None and ask.prefer.get("handling") == "strict" and ask.method != "POST" and count > int(limit):
        message = "Query result exceeds max-affected preference constraint"
        raise RestError(400, "PGRST124", message, details=f"The query affects {count} rows")
    if not ask.wants_rows:
        return web.Response(status=status, headers={"Content-Range": f"*/{count if ask.counts else '*'}"})
    if ask.single:
        return _single(body, count, status)
    span = f"0-{count - 1}" if count else "*"
    return _json(status, body, {"Content-Range": f"{span}/{count if ask.counts else '*'}"})


def _single(body: str, count: int, status: int = 200) -> web.Response:
    if count != 1:
        message = "Cannot coerce the result to a single JSON object"
        raise RestError(406, "PGRST116", message, details=f"The result contains {count} rows")
    return web.Response(status=status, text=body.strip()[1:-1], content_type=OBJECT)


def _json(status: int, body: str, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, text=body, content_type="application/json", headers=headers)


def answer_value(body: str) -> web.Response:
    """One value, or one object that is no row of a table."""
    return _json(200, body, {"Content-Range": "0-0/*"})
