"""How the REST half refuses: the status and body of each error, who may ask, and the faults that a test switches on."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from postgrest.exceptions import APIError
from supabase import AsyncClient

from tests.gateway.postgres import Cluster
from tests.gateway.rest_alone import ANON, SECRET, SERVICE, Rest, client_of, running_rest
from tests.gateway.tokens import issue

ROW = "return=representation"


@pytest.fixture
async def rest(database: str) -> AsyncIterator[Rest]:
    async with running_rest(database) as running:
        yield running


@pytest.fixture
async def client(rest: Rest) -> AsyncIterator[AsyncClient]:
    async with client_of(rest) as made:
        yield made


MISTAKES = [
    ("GET", "trades?select=nope", "", 400, "42703", "column trades.nope does not exist"),
    ("GET", "trades?nope=eq.1", "", 400, "42703", "column trades.nope does not exist"),
    ("GET", "trades?order=nope", "", 400, "42703", "column trades.nope does not exist"),
    ("GET", "trades?quantity=eq.abc", "", 400, "22P02", 'invalid input syntax for type integer: "abc"'),
    ("GET", "trades?quantity=75", "", 400, "PGRST100", '"failed to parse filter (75)" (line 1, column 1)'),
    ("GET", "trades?quantity=is.75", "", 400, "PGRST100", '"failed to parse filter (is.75)" (line 1, column 1)'),
    ("GET", "trades?or=(a.eq.1", "", 400, "PGRST100", '"failed to parse logic tree ((a.eq.1)" (line 1, column 1)'),
    ("GET", "trades?or=(a.eq.1)x", "", 400, "PGRST100", '"failed to parse logic tree ((a.eq.1)x)" (line 1, column 1)'),
    ("GET", "trades?select=strategies(id)", "", 400, "PGRST127", "Feature not implemented"),
    ("GET", "trades?limit=-1", "", 416, "PGRST103", "Requested range not satisfiable"),
    ("GET", "nope", "", 404, "PGRST205", "Could not find the table 'public.nope' in the schema cache"),
    ("GET", "broken_view", "", 404, "42P01", 'relation "lost" does not exist'),
    ("PUT", "trades", "{}", 405, "PGRST117", "Unsupported HTTP method: PUT"),
    ("POST", "trades", "{", 400, "PGRST102", "Empty or invalid json"),
    ("POST", "trades", '[{"symbol":"A"},{}]', 400, "PGRST102", "All object keys must match"),
    (
        "POST",
        "trades",
        '{"nope":1}',
        400,
        "PGRST204",
        "Could not find the 'nope' column of 'trades' in the schema cache",
    ),
    (
        "PATCH",
        "trades",
        '{"nope":1}',
        400,
        "PGRST204",
        "Could not find the 'nope' column of 'trades' in the schema cache",
    ),
    ("PATCH", "trades?nope=eq.1", '{"price":1}', 400, "42703", "column trades.nope does not exist"),
    ("POST", "trades", '{"quantity":"x"}', 400, "22P02", 'invalid input syntax for type integer: "x"'),
    ("POST", "strategy_details", '{"strategy_id":1}', 409, "23503", "violates foreign key constraint"),
    ("POST", "strategy_details", '{"strategy_id":7,"setup_type":"X"}', 400, "23514", "violates check constraint"),
    ("POST", "strategies", '{"stock_name":"A"}', 400, "23502", "violates not-null constraint"),
    ("POST", "strategies", '{"id":7,"stock_name":"A","strategy_name":"B"}', 409, "23505", "duplicate key value"),
    (
        "POST",
        "rpc/nope",
        "{}",
        404,
        "PGRST202",
        "Could not find the function public.nope without parameters in the schema cache",
    ),
    (
        "POST",
        "rpc/two",
        '{"b":1}',
        404,
        "PGRST202",
        "Could not find the function public.two(b) in the schema cache",
    ),
    (
        "POST",
        "rpc/two",
        '{"a":1,"c":1}',
        404,
        "PGRST202",
        "Could not find the function public.two(a, c) in the schema cache",
    ),
    ("POST", "rpc/calls_nothing", "{}", 404, "42883", "function no_such() does not exist"),
]

OBJECTS = """
INSERT INTO strategies (id, stock_name, strategy_name) VALUES (7, 'NIFTY', 'IC');
CREATE FUNCTION two(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION calls_nothing() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN no_such(); END';
CREATE FUNCTION lost_rows() RETURNS SETOF int LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT 1 FROM lost; END';
CREATE VIEW broken_view AS SELECT * FROM lost_rows();
"""


async def test_each_mistake_has_the_status_and_body_of_postgrest(rest: Rest) -> None:
    await rest.script(OBJECTS)
    for method, path, body, status, code, words in MISTAKES:
        answer = await rest.ask(method, path, prefer=ROW, body=body)
        found = answer.json()
        assert (path, answer.status_code, found["code"]) == (path, status, code)
        assert words in found["message"]
        assert set(found) == {"code", "details", "hint", "message"}
        assert answer.headers["Proxy-Status"] == f"PostgREST; error={code}"


async def test_the_client_raises_what_the_server_said(client: AsyncClient) -> None:
    with pytest.raises(APIError) as raised:
        await client.table("trades").select("nope").execute()
    assert (raised.value.code, raised.value.message) == ("42703", "column trades.nope does not exist")


async def test_an_unexposed_schema_is_refused_and_an_exposed_one_is_used(rest: Rest) -> None:
    await rest.sql("CREATE SCHEMA desk")
    await rest.sql("CREATE TABLE desk.trades (id int PRIMARY KEY)")
    await rest.sql("GRANT ALL ON SCHEMA desk TO service_role")
    await rest.sql("GRANT ALL ON desk.trades TO service_role")
    refused = await rest.ask("GET", "trades", Accept_Profile="desk")
    assert (refused.status_code, refused.json()["code"]) == (406, "PGRST106")
    rest.api.schemas = ("public", "desk")
    await rest.ask("POST", "trades", body='{"id":5}', Content_Profile="desk")
    assert (await rest.ask("GET", "trades", Accept_Profile="desk")).json() == [{"id": 5}]
    assert (await rest.ask("GET", "trades")).json() == []


BAD_TOKENS = [
    (issue(SECRET, "service_role", -5), "PGRST303", "JWT expired"),
    (issue("another-secret", "service_role"), "PGRST301", "No suitable key or wrong key type"),
    ("garbage", "PGRST301", "Expected 3 parts in JWT; got 1"),
    ("", "PGRST301", "Empty JWT is sent in Authorization header"),
]


async def test_what_the_gateway_cannot_do_is_not_answered_with_something_else(rest: Rest, client: AsyncClient) -> None:
    assert (await rest.ask("GET", "trades", Range="0-9")).json()["code"] == "PGRST127"
    assert (await rest.ask("GET", "trades?strategies.id=eq.1")).json()["code"] == "PGRST127"
    for query in (client.table("trades").select("*").csv(), client.table("trades").select("*").strip_nulls()):
        with pytest.raises(APIError, match="Feature not implemented"):
            await query.execute()


async def test_a_bad_token_is_not_let_in(rest: Rest) -> None:
    for token, code, message in BAD_TOKENS:
        answer = await rest.ask("GET", "trades", Authorization=f"Bearer {token}".strip())
        assert answer.status_code == 401
        assert answer.json() == {"code": code, "details": None, "hint": None, "message": message}


async def test_a_token_that_expires_while_in_use_is_refused_from_then_on(rest: Rest) -> None:
    token = issue(SECRET, "authenticated", 0.3)
    assert (await rest.ask("GET", "trades", Authorization=f"Bearer {token}")).status_code == 200
    await asyncio.sleep(0.35)
    assert (await rest.ask("GET", "trades", Authorization=f"Bearer {token}")).status_code == 401
    rest.api.expired_code = "PGRST301"
    assert (await rest.ask("GET", "trades", Authorization=f"Bearer {token}")).json()["code"] == "PGRST301"


async def test_the_gateway_wants_a_key_of_its_own(rest: Rest) -> None:
    nothing = await rest.ask("GET", "trades", apikey="")
    assert (nothing.status_code, nothing.json()["message"]) == (401, "No API key found in request")
    wrong = await rest.ask("GET", "trades", apikey="garbage")
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Invalid API key")
    alone = await rest.ask("GET", "trades", Authorization="")
    assert alone.status_code == 200


async def test_without_the_right_403_and_for_nobody_in_particular_401(rest: Rest) -> None:
    await rest.sql("REVOKE UPDATE ON trades FROM anon, authenticated")
    for role, status in (("authenticated", 403), ("anon", 401)):
        answer = await rest.ask("PATCH", "trades?new_id=eq.1", token=issue(SECRET, role), body='{"price":1}')
        assert (answer.status_code, answer.json()["code"]) == (status, "42501")
        assert answer.json()["message"] == "permission denied for table trades"


async def test_who_may_write_but_not_read_writes_without_getting_rows_back(rest: Rest) -> None:
    await rest.sql("REVOKE SELECT ON trades FROM authenticated")
    writer = issue(SECRET, "authenticated")
    quiet = await rest.ask("POST", "trades", token=writer, prefer="return=minimal", body='{"symbol":"A"}')
    assert quiet.status_code == 201
    shown = await rest.ask("POST", "trades", token=writer, prefer=ROW, body='{"symbol":"B"}')
    assert (shown.status_code, shown.json()["code"]) == (403, "42501")
    assert [row["symbol"] for row in await rest.sql("SELECT symbol FROM trades")] == ["A"]


async def test_a_role_must_exist_and_be_granted_to_the_authenticator(rest: Rest) -> None:
    unknown = await rest.ask("GET", "trades", Authorization=f"Bearer {issue(SECRET, 'nobody_knows')}")
    assert (unknown.status_code, unknown.json()["message"]) == (401, 'role "nobody_knows" does not exist')
    ungranted = await rest.ask("GET", "trades", Authorization=f"Bearer {issue(SECRET, 'pg_read_all_data')}")
    assert (ungranted.status_code, ungranted.json()["code"]) == (403, "42501")


async def test_row_level_security_hides_rows_and_an_update_without_a_policy_changes_none(rest: Rest) -> None:
    await rest.sql("INSERT INTO trades (symbol, account_id) VALUES ('A', 'mine'), ('B', 'theirs')")
    await rest.sql("ALTER TABLE trades ENABLE ROW LEVEL SECURITY")
    assert (await rest.ask("GET", "trades", token=ANON)).json() == []
    assert len((await rest.ask("GET", "trades", token=SERVICE)).json()) == 2
    await rest.sql(
        "CREATE POLICY p ON trades FOR SELECT TO authenticated"
        " USING (account_id = 'mine' AND (auth.jwt() ->> 'iss') = 'test-gateway')"
    )
    mine = issue(SECRET, "authenticated")
    assert [row["symbol"] for row in (await rest.ask("GET", "trades", token=mine)).json()] == ["A"]
    change = await rest.ask("PATCH", "trades?symbol=eq.A", token=mine, prefer=ROW, body='{"price":1}')
    assert (change.status_code, change.json()) == (200, [])
    insert = await rest.ask("POST", "trades", token=mine, body='{"symbol":"C"}')
    assert (insert.status_code, insert.json()["code"]) == (403, "42501")


async def test_planned_answers_are_used_up_one_by_one(rest: Rest, client: AsyncClient) -> None:
    rest.faults.rest_fail.append((502, "<html>Bad gateway</html>", "text/html"))
    rest.faults.rest_fail.append(
        (503, '{"code":"PGRST002","message":"m","details":null,"hint":null}', "application/json")
    )
    for code in ("502", "PGRST002"):
        with pytest.raises(APIError) as raised:
            await client.table("trades").select("*").execute()
        assert raised.value.code == code
    assert (await client.table("trades").select("*").execute()).data == []


async def test_the_delay_holds_every_answer_back(rest: Rest) -> None:
    rest.faults.rest_delay_s = 0.3
    began = time.monotonic()
    assert (await rest.ask("GET", "trades")).status_code == 200
    assert time.monotonic() - began >= 0.3


async def test_a_write_can_be_committed_and_its_answer_lost(rest: Rest) -> None:
    rest.faults.drop_after_commit = 1
    assert (await rest.ask("GET", "trades")).status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        await rest.ask("POST", "trades", body='{"symbol":"NIFTY"}')
    assert len(await rest.sql("SELECT FROM trades")) == 1
    assert (await rest.ask("POST", "trades", body='{"symbol":"NIFTY"}')).status_code == 201


async def test_a_refused_connection_does_not_reach_the_database(rest: Rest) -> None:
    rest.faults.refuse_rest = True
    with pytest.raises(httpx.RemoteProtocolError):
        await rest.ask("POST", "trades", body='{"symbol":"NIFTY"}')
    rest.faults.refuse_rest = False
    assert (await rest.ask("GET", "trades")).json() == []


async def test_while_the_database_is_away_503_and_after_it_the_same_pool_works(rest: Rest, cluster: Cluster) -> None:
    await rest.sql("CREATE FUNCTION nap() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(20)'")
    await rest.sql("INSERT INTO trades (symbol) VALUES ('NIFTY')")
    napping = asyncio.create_task(rest.ask("POST", "rpc/nap", body="{}"))
    while not await rest.sql("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await cluster.stop()
    try:
        cut = await napping
        assert (cut.status_code, cut.json()["code"]) == (503, "57P01")
        away = await rest.ask("GET", "trades")
        assert (away.status_code, away.json()["code"]) == (503, "PGRST000")
    finally:
        await cluster.start()
    assert [row["symbol"] for row in (await rest.ask("GET", "trades")).json()] == ["NIFTY"]
