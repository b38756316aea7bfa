"""The official client over our own HTTP client: what is sent, what is repeated, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web

from core.model.errors import StoreError, TransportError
from core.stores.rows import LEVELS, TRADES
from core.stores.supabase_access import SupabaseAccess, TableNames
from core.stores.supabase_errors import Meaning, RefusedRequest
from core.stores.supabase_rest import SupabaseRest, one_of

KEY, TOKEN = "the-secret-key", "the-secret-token"
CUT = "cut the connection"


class Server:
    """Answers what it is told to, in order, then `[]`. `seen`: the requests."""

    def __init__(self) -> None:
        self.answers: deque[object] = deque()
        self.seen: list[SimpleNamespace] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.seen.append(
            SimpleNamespace(
                method=request.method, path=request.path, query=dict(request.query), headers=request.headers, body=body
            )
        )
        answer = self.answers.popleft() if self.answers else []
        if answer is CUT:
            request.transport.abort()
            return web.Response()
        if isinstance(answer, tuple):
            status, text, kind = answer
            return web.Response(status=status, text=text, content_type=kind)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return web.json_response([])
        return web.json_response(answer)

    @asynccontextmanager
    async def running(self):
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


@pytest.fixture
async def server():
    async with Server().running() as running:
        yield running


@asynccontextmanager
async def connected(server, *, token=None, tables=None, timeout_s=5.0):
    access = SupabaseAccess(server.url, KEY, token, tables or TableNames())
    rest = await SupabaseRest.connect(access, timeout_s)
    try:
        yield rest
    finally:
        await rest.close()


async def test_a_read_says_key_schema_columns_filters_order_and_limit(server):
    async with connected(server, tables=TableNames("app", trades="positions")) as rest:
        await rest.select(TRADES, "new_id,price::text", [("order_status", "eq", "open")], order="new_id", limit=7)
    (seen,) = server.seen
    assert (seen.method, seen.path) == ("GET", "/rest/v1/positions")
    assert seen.query == {
        "select": "new_id,price::text",
        "order_status": "eq.open",
        "order": "new_id.asc",
        "limit": "7",
    }
    assert seen.headers["apikey"] == KEY
    assert seen.headers.getall("Authorization") == [f"Bearer {KEY}"]
    assert seen.headers["Accept-Profile"] == "app"


async def test_a_role_token_says_who_asks_and_the_key_still_opens_the_gateway(server):
    async with connected(server, token=TOKEN) as rest:
        await rest.select(TRADES, "new_id", limit=1)
        await rest.update(TRADES, {"order_status": "closed"}, [], "new_id")
    for seen in server.seen:
        assert seen.headers["apikey"] == KEY
        assert seen.headers.getall("Authorization") == [f"Bearer {TOKEN}"]


async def test_an_update_asks_for_the_changed_rows(server):
    server.answers.append([{"new_id": 7}])
    async with connected(server) as rest:
        assert await rest.update(TRADES, {"x": "1.20"}, [("new_id", "eq", "7")], "new_id") == [{"new_id": 7}]
    (seen,) = server.seen
    assert (seen.method, seen.query) == ("PATCH", {"new_id": "eq.7", "select": "new_id"})
    assert seen.headers["Prefer"] == "return=representation"
    assert json.loads(seen.body) == {"x": "1.20"}


async def test_an_insert_ignores_a_row_that_is_there(server):
    server.answers += [(201, "", "application/json"), (201, "", "application/json")]
    async with connected(server) as rest:
        await rest.insert_once("risk_events", {"execution_id": "a"}, "execution_id")
        await rest.insert_once("risk_events", {"execution_id": "a"}, None)
    first, second = server.seen
    assert (first.method, first.query) == ("POST", {"on_conflict": "execution_id"})
    assert set(first.headers["Prefer"].split(",")) == {"return=minimal", "resolution=ignore-duplicates"}
    assert (second.query, second.headers["Prefer"]) == ({}, "return=minimal")


@pytest.mark.parametrize(
    ("answer", "rows"),
    [([{"a": 1}], [{"a": 1}]), ({"a": 1}, [{"a": 1}]), (None, []), (True, []), ((204, "", "application/json"), [])],
)
async def test_a_function_gives_rows_or_nothing(server, answer, rows):
    server.answers.append(answer)
    async with connected(server) as rest:
        assert await rest.call("beat", {"p_beat": 1}) == rows
    assert server.seen[0].path == "/rest/v1/rpc/beat"
    assert json.loads(server.seen[0].body) == {"p_beat": 1}


async def test_pages_go_on_until_an_empty_one_whatever_their_size(server):
    server.answers += [[{"id": 3}, {"id": 5}], [{"id": 9}], []]
    async with connected(server) as rest:
        assert await rest.select_all(LEVELS, "id", [one_of("strategy_id", [1, 2])], key="id") == [
            {"id": 3},
            {"id": 5},
            {"id": 9},
        ]
        assert rest.largest_page == 2
    assert [seen.query.get("id") for seen in server.seen] == [None, "gt.5", "gt.9"]
    assert {seen.query["strategy_id"] for seen in server.seen} == {"in.(1,2)"}


async def test_a_page_smaller_than_one_seen_before_may_be_the_last(server):
    server.answers += [[{"id": 1}, {"id": 2}], [{"id": 3}]]
    async with connected(server) as rest:
        rest.largest_page = 2
        assert len(await rest.select_all(LEVELS, "id", key="id", until_empty=False)) == 3
    assert len(server.seen) == 2


async def test_a_table_without_a_key_is_read_by_offset(server):
    server.answers += [[{"x": 1}, {"x": 1}], [{"x": 1}], []]
    async with connected(server) as rest:
        assert len(await rest.select_all(LEVELS, "x", key=None)) == 3
    assert [seen.query.get("offset") for seen in server.seen] == [None, "2", "3"]


async def test_a_read_is_repeated_once_when_the_connection_is_cut(server):
    server.answers += [[], CUT, [{"id": 1}]]
    async with connected(server) as rest:
        await rest.select(LEVELS, "id", limit=1)
        assert await rest.select(LEVELS, "id", limit=1) == [{"id": 1}]
        server.answers += [CUT, CUT]
        with pytest.raises(TransportError, match="ended before the answer"):
            await rest.select(LEVELS, "id", limit=1)
    assert len(server.seen) == 5


async def test_a_write_is_never_repeated(server):
    async with connected(server) as rest:
        for write in (
            lambda: rest.update(TRADES, {"a": 1}, [], "new_id"),
            lambda: rest.insert_once("risk_events", {"a": 1}, "a"),
            lambda: rest.call("f", {}),
        ):
            server.seen.clear()
            server.answers.append(CUT)
            with pytest.raises(TransportError):
                await write()
            assert len(server.seen) == 1


async def test_a_late_answer_is_unknown(server):
    server.answers.append(30.0)
    async with connected(server, timeout_s=0.1) as rest:
        with pytest.raises(TransportError, match="in time"):
            await rest.update(TRADES, {"a": 1}, [], "new_id")


async def test_an_answer_in_drops_is_not_waited_for_for_ever(monkeypatch):
    async def drip(self, request):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    monkeypatch.setattr("core.stores.supabase_rest._CONNECT_S", 0.2)
    monkeypatch.setattr(Server, "handle", drip)
    async with Server().running() as dripping, connected(dripping, timeout_s=0.2) as rest:
        with pytest.raises(TransportError, match=r"did not answer in 0\.4 s"):
            await rest.select(TRADES, "new_id", limit=1)


async def test_where_nobody_listens_it_is_not_reached():
    rest = await SupabaseRest.connect(SupabaseAccess("http://127.0.0.1:9", KEY), 5.0)
    with pytest.raises(TransportError, match="cannot be reached"):
        await rest.select(TRADES, "new_id", limit=1)
    await rest.close()


@pytest.mark.parametrize(
    ("answer", "meaning", "words"),
    [
        (
            (401, '{"message":"Invalid API key","hint":"Double check it"}', "application/json"),
            Meaning.KEY_REFUSED,
            "Invalid API",
        ),
        ((404, "<html>nothing</html>", "text/html"), Meaning.OTHER, "404: Not Found"),
        (
            (400, '{"code":"42703","message":"column t.a does not exist"}', "application/json"),
            Meaning.NO_COLUMN,
            "42703",
        ),
        (
            (400, f'{{"code":"X","message":"you sent {KEY} and {TOKEN}"}}', "application/json"),
            Meaning.OTHER,
            "sent *** and ***",
        ),
        ((301, "", "text/html"), Meaning.OTHER, "301"),
    ],
)
async def test_a_refusal_is_understood_with_its_status(server, answer, meaning, words):
    server.answers.append(answer)
    async with connected(server, token=TOKEN) as rest:
        with pytest.raises(RefusedRequest) as caught:
            await rest.select(TRADES, "new_id", limit=1)
    assert caught.value.meaning is meaning
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        (502, "<html>Bad Gateway</html>", "text/html"),
        (503, '{"code":"PGRST002","message":"no schema cache"}', "application/json"),
        (500, '{"code":"SUP","message":"ECONNREFUSED"}', "application/json"),
        (520, "", "text/html"),
        (200, "<html>log in to this network</html>", "text/html"),
        (200, '{"a":1}', "application/json"),
        (200, "[1]", "application/json"),
        (200, '[{"a":1', "application/json"),
    ],
)
async def test_what_is_no_answer_of_the_database_may_pass(server, answer):
    server.answers.append(answer)
    async with connected(server) as rest:
        with pytest.raises(TransportError):
            await rest.update(TRADES, {"a": 1}, [], "new_id")
    assert len(server.seen) == 1


@pytest.mark.parametrize("key", ["two words", "line\nfeed", "schlüssel", ""])
async def test_a_key_that_no_header_can_hold_is_refused_without_being_quoted(server, key):
    access = SupabaseAccess(server.url, key or "good", None if key else "bad\r\ntoken")
    with pytest.raises(StoreError, match="stray characters") as caught:
        await SupabaseRest.connect(access, 5.0)
    assert "words" not in str(caught.value)
    assert "token\r" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://x", "x.supabase.co", "http://127.0.0.1:99999"])
async def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(StoreError, match="SUPABASE_URL"):
        await SupabaseRest.connect(SupabaseAccess(url, KEY), 5.0)


async def test_no_task_is_started_and_every_connection_is_closed(server, caplog):
    caplog.set_level(logging.DEBUG)
    before = asyncio.all_tasks()
    async with connected(server, token=TOKEN) as rest:
        assert asyncio.all_tasks() == before
        await asyncio.gather(*(rest.select(TRADES, "new_id", limit=1) for _ in range(5)))
        assert (
            asyncio.all_tasks() - before <= {task for task in asyncio.all_tasks() if "aiohttp" in repr(task)} | before
        )
    assert rest._http.is_closed
    assert "secret" not in caplog.text
    assert {seen.path for seen in server.seen} == {"/rest/v1/trades"}


async def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with connected(server) as rest:
        assert await rest.select(TRADES, "new_id", limit=1) == []
