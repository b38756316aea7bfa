"""The REST half against the real client: what the monitor asks of PostgREST, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from supabase import AsyncClient

from tests.gateway.rest_alone import Rest, client_of, running_rest

LEG = {
    "strategy_id": 7,
    "order_id": "O-1",
    "security_id": 49081,
    "symbol": "NIFTY",
    "type": "CE",
    "action": "SELL",
    "quantity": 75,
    "price": "120.05",
    "order_status": "open",
    "timestamp": "2026-11-20T09:20:00",
    "product_type": "MARGIN",
}

FILTERS = {
    "symbol=eq.NIFTY": "ab",
    "symbol=neq.NIFTY": "cd",
    "symbol=not.eq.NIFTY": "cd",
    "quantity=gt.75": "cd",
    "quantity=gte.75&quantity=lt.105": "ab",
    "quantity=lte.75": "ab",
    "order_id=in.(a,d)": "ad",
    'order_id=in.("a","b,c",d)': "ad",
    "order_id=in.()": "",
    "order_id=not.in.(a,d)": "bc",
    "exit_time=is.null": "abc",
    "exit_time=not.is.null": "d",
    "exit_time=is.not_null": "d",
    "symbol=like.*NIFTY": "abc",
    "symbol=ilike.*nifty": "abc",
    "symbol=like.BANK%25": "c",
    "or=(order_id.eq.a,quantity.gt.100)": "acd",
    "not.or=(order_id.eq.a,quantity.gt.100)": "b",
    "and=(symbol.eq.NIFTY,or(order_id.eq.b,order_id.eq.c))": "b",
    'or=(and(symbol.eq.NIFTY,order_id.not.eq.a),symbol.in.("it\'s, 5\\"",x))': "bd",
    "or=(exit_time.not.is.null,not.and(quantity.eq.75,symbol.eq.NIFTY))": "cd",
    "symbol=eq.it's, 5\"": "d",
}

ORDERS = {
    "price.asc": [1, 2, None],
    "price.desc": [None, 2, 1],
    "price.desc.nullslast": [2, 1, None],
    "price.nullsfirst": [None, 1, 2],
    "symbol.desc,price.asc": [2, None, 1],
}


@pytest.fixture
async def rest(database: str) -> AsyncIterator[Rest]:
    async with running_rest(database) as running:
        yield running


@pytest.fixture
async def client(rest: Rest) -> AsyncIterator[AsyncClient]:
    async with client_of(rest) as made:
        yield made


async def test_the_client_reads_its_own_insert_with_exact_decimals(client: AsyncClient) -> None:
    made = await client.table("trades").insert(LEG | {"price": "1234567890123456.10"}).execute()
    key = made.data[0]["new_id"]
    found = await client.table("trades").select("new_id,exact:price::text,expiry_date").eq("new_id", key).execute()
    assert found.data == [{"new_id": key, "exact": "1234567890123456.10", "expiry_date": None}]


async def test_types_look_as_postgresql_renders_them(rest: Rest) -> None:
    await rest.sql(
        "INSERT INTO trades (price, expiry_date, strike_price, created_at)"
        " VALUES (0.10000000, '2026-11-26', 24500, '2026-11-20 10:04:29.038751+00')"
    )
    answer = await rest.ask("GET", "trades?select=price,expiry_date,strike_price,created_at")
    assert answer.text == (
        '[{"price":0.10000000,"expiry_date":"2026-11-26","strike_price":24500.00,'
        '"created_at":"2026-11-20T10:04:29.038751+00:00"}]'
    )
    assert answer.headers["Content-Range"] == "0-0/*"


async def test_filters_find_the_rows_that_they_name(rest: Rest) -> None:
    await rest.sql(
        "INSERT INTO trades (order_id, symbol, quantity, exit_time) VALUES ('a', 'NIFTY', 75, NULL),"
        " ('b', 'NIFTY', 75, NULL), ('c', 'BANKNIFTY', 105, NULL), ('d', 'it''s, 5\"', 150, '2026-11-20T15:00:00')"
    )
    found = {}
    for query in FILTERS:
        rows = (await rest.ask("GET", f"trades?select=order_id&order=order_id&{query}")).json()
        found[query] = "".join(row["order_id"] for row in rows)
    assert found == FILTERS


async def test_the_filters_that_the_client_writes(client: AsyncClient) -> None:
    await client.table("trades").insert([LEG | {"order_id": 'a,b"c\\d'}, LEG | {"order_id": "e"}]).execute()
    query = client.table("trades").select("order_id").in_("order_id", ['a,b"c\\d', "x"]).not_.is_("symbol", None)
    assert (await query.execute()).data == [{"order_id": 'a,b"c\\d'}]
    other = client.table("trades").select("order_id").or_("order_id.eq.e,and(symbol.eq.X,quantity.gt.1)")
    assert (await other.execute()).data == [{"order_id": "e"}]


async def test_order(rest: Rest) -> None:
    await rest.sql("INSERT INTO trades (symbol, price) VALUES ('A', 1), ('B', NULL), ('B', 2)")
    found = {}
    for order in ORDERS:
        rows = (await rest.ask("GET", f"trades?select=price&order={order}")).json()
        found[order] = [row["price"] for row in rows]
    assert found == ORDERS


async def test_pages_follow_limit_and_offset_and_count_the_whole(client: AsyncClient) -> None:
    await client.table("trades").insert([LEG | {"order_id": str(i)} for i in range(5)]).execute()
    page = await client.table("trades").select("order_id", count="exact").order("order_id").range(1, 2).execute()
    assert [row["order_id"] for row in page.data] == ["1", "2"]
    assert page.count == 5


async def test_the_row_limit_clips_without_a_word(rest: Rest, client: AsyncClient) -> None:
    rest.api.max_rows = 3
    await rest.sql("INSERT INTO trades (quantity) SELECT g FROM generate_series(1, 5) g")
    assert len((await client.table("trades").select("*").limit(5).execute()).data) == 3
    counted = await rest.ask("GET", "trades?select=quantity", prefer="count=exact")
    assert (counted.status_code, counted.headers["Content-Range"]) == (206, "0-2/5")


async def test_head_answers_with_the_count_alone(client: AsyncClient) -> None:
    await client.table("trades").insert([LEG, LEG]).execute()
    head = await client.table("trades").select("*", count="exact", head=True).execute()
    assert (head.count, head.data) == (2, [])


async def test_json_columns_and_places_in_them(client: AsyncClient) -> None:
    await client.table("strategies").insert({"id": 7, "stock_name": "NIFTY", "strategy_name": "IC"}).execute()
    tree = {"stop": {"value": 1.50, "legs": [1, 2]}}
    await client.table("strategy_risk_management").insert({"strategy_id": 7, "exit_conditions": tree}).execute()
    found = (
        await client.table("strategy_risk_management")
        .select("exit_conditions,exit_conditions->stop->>value,second:exit_conditions->stop->legs->1")
        .eq("exit_conditions->stop->>value", "1.5")
        .execute()
    )
    assert found.data == [{"exit_conditions": tree, "value": "1.5", "second": 2}]


async def test_one_object_or_an_error(rest: Rest, client: AsyncClient) -> None:
    await client.table("trades").insert(LEG).execute()
    one = await client.table("trades").select("symbol").single().execute()
    assert one.data == {"symbol": "NIFTY"}
    assert await client.table("trades").select("symbol").eq("symbol", "X").maybe_single().execute() is None
    none = await rest.ask("GET", "trades?symbol=eq.X", Accept="application/vnd.pgrst.object+json")
    assert (none.status_code, none.json()["code"]) == (406, "PGRST116")


async def test_of_twenty_claims_one_wins(client: AsyncClient) -> None:
    key = (await client.table("trades").insert(LEG).execute()).data[0]["new_id"]

    async def claim(number: int) -> bool:
        change = {"order_status": "closed", "exit_order_id": f"X-{number}"}
        query = client.table("trades").update(change).eq("new_id", key).eq("order_status", "open")
        return bool((await query.execute()).data)

    assert sum(await asyncio.gather(*(claim(number) for number in range(20)))) == 1


async def test_an_update_returns_the_new_row_and_changes_nothing_else(rest: Rest) -> None:
    await rest.sql("INSERT INTO trades (order_id, price) VALUES ('a', 1), ('b', 2)")
    changed = await rest.ask(
        "PATCH",
        "trades?order_id=eq.a&select=order_id,price::text",
        prefer="return=representation",
        body='{"price":1.10}',
    )
    assert (changed.status_code, changed.json()) == (200, [{"order_id": "a", "price": "1.10"}])
    quiet = await rest.ask("PATCH", "trades?order_id=eq.c", prefer="return=minimal", body='{"price":9}')
    assert (quiet.status_code, quiet.text) == (204, "")
    assert [row["price"] for row in await rest.sql("SELECT price::text FROM trades ORDER BY order_id")] == ["1.10", "2"]


async def test_too_many_changed_rows_are_taken_back(rest: Rest) -> None:
    await rest.sql("INSERT INTO trades (quantity) VALUES (1), (1)")
    prefer = "handling=strict,max-affected=1,return=representation"
    answer = await rest.ask("PATCH", "trades?quantity=eq.1", prefer=prefer, body='{"quantity":2}')
    assert (answer.status_code, answer.json()["code"]) == (400, "PGRST124")
    assert len(await rest.sql("SELECT FROM trades WHERE quantity = 1")) == 2


async def test_a_minimal_insert_says_nothing_and_fills_defaults(rest: Rest) -> None:
    answer = await rest.ask("POST", "trades", prefer="return=minimal", body='{"price":0.12345678901234567890}')
    assert (answer.status_code, answer.text) == (201, "")
    row = (await rest.sql("SELECT order_status, exchange_segment, price::text FROM trades"))[0]
    assert tuple(row) == ("open", "NSE_FNO", "0.12345678901234567890")


async def test_columns_that_one_object_lacks_are_null_or_their_default(client: AsyncClient) -> None:
    rows = [{"symbol": "A", "order_type": "LIMIT"}, {"symbol": "B"}]
    nulls = await client.table("trades").insert(rows).execute()
    assert [row["order_type"] for row in nulls.data] == ["LIMIT", None]
    defaults = await client.table("trades").insert(rows, default_to_null=False).execute()
    assert [row["order_type"] for row in defaults.data] == ["LIMIT", "MARKET"]


async def test_upserts_merge_or_ignore(rest: Rest, client: AsyncClient) -> None:
    await rest.sql("ALTER TABLE trades ADD UNIQUE (order_id)")
    table = client.table("trades")
    first = await table.upsert({"order_id": "a", "quantity": 1}, on_conflict="order_id").execute()
    merged = await table.upsert({"order_id": "a", "quantity": 2}, on_conflict="order_id").execute()
    assert merged.data[0]["new_id"] == first.data[0]["new_id"]
    assert merged.data[0]["quantity"] == 2
    ignored = await table.upsert(
        {"order_id": "a", "quantity": 3}, on_conflict="order_id", ignore_duplicates=True
    ).execute()
    assert ignored.data == []
    by_key = await table.upsert({"new_id": first.data[0]["new_id"], "quantity": 4}).execute()
    assert (by_key.data[0]["order_id"], by_key.data[0]["quantity"]) == ("a", 4)
    assert len(await rest.sql("SELECT FROM trades")) == 1


async def test_an_upsert_says_whether_it_made_a_row(rest: Rest) -> None:
    for body, status in (('{"new_id":5}', 201), ('{"new_id":5}', 200), ('[{"new_id":5},{"new_id":6}]', 201)):
        answer = await rest.ask("POST", "trades", prefer="resolution=merge-duplicates,return=minimal", body=body)
        assert answer.status_code == status


async def test_a_delete_returns_what_it_took(client: AsyncClient) -> None:
    await client.table("trades").insert([LEG, LEG | {"symbol": "X"}]).execute()
    gone = await client.table("trades").delete().eq("symbol", "X").execute()
    assert [row["symbol"] for row in gone.data] == ["X"]
    assert [row["symbol"] for row in (await client.table("trades").select("symbol").execute()).data] == ["NIFTY"]


FUNCTIONS = """
CREATE FUNCTION add_up(a numeric, b numeric DEFAULT 1) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT a + b';
CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS 'INSERT INTO trades (symbol) VALUES (''made'')';
CREATE FUNCTION numbers(up_to int) RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT generate_series(1, up_to)';
CREATE FUNCTION lease(p_name text, p_ttl_s int) RETURNS TABLE (holder text, expires_at timestamptz, is_mine boolean)
    LANGUAGE sql AS 'SELECT p_name, to_timestamp(p_ttl_s), true';
CREATE FUNCTION only_one() RETURNS TABLE (epoch bigint) LANGUAGE sql STABLE AS 'SELECT 9007199254740993';
CREATE FUNCTION open_trades() RETURNS SETOF trades LANGUAGE sql STABLE AS 'SELECT * FROM trades';
CREATE FUNCTION one_trade() RETURNS trades LANGUAGE sql STABLE AS 'SELECT * FROM trades LIMIT 1';
CREATE FUNCTION who() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user || '' '' || auth.role()';
CREATE FUNCTION refuse(state text) RETURNS void LANGUAGE plpgsql AS
    'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = state, DETAIL = ''why'', HINT = ''do''; END';
"""


CALLS = [
    ("add_up", {"a": "0.10", "b": 0.2}, 0.30),
    ("add_up", {"a": 1}, 2),
    ("nothing", {}, []),
    ("numbers", {"up_to": 3}, [1, 2, 3]),
    (
        "lease",
        {"p_name": "m", "p_ttl_s": 5},
        [{"holder": "m", "expires_at": "1970-01-01T00:00:05+00:00", "is_mine": True}],
    ),
    ("only_one", {}, [{"epoch": 9007199254740993}]),
    ("who", {}, "service_role service_role"),
]


async def test_functions_answer_with_their_kind_of_value(rest: Rest, client: AsyncClient) -> None:
    await rest.script(FUNCTIONS)
    for name, arguments, value in CALLS:
        assert (await client.rpc(name, arguments).execute()).data == value, name


async def test_rows_of_a_function_can_be_filtered_and_a_row_is_an_object(rest: Rest, client: AsyncClient) -> None:
    await rest.script(FUNCTIONS)
    await client.table("trades").insert([LEG, LEG | {"symbol": "X"}]).execute()
    found = await client.rpc("open_trades", {}).eq("symbol", "X").execute()
    assert [row["symbol"] for row in found.data] == ["X"]
    assert (await client.rpc("one_trade", {}).execute()).data["symbol"] == "NIFTY"
    assert (await client.rpc("numbers", {"up_to": 2}, get=True).execute()).data == [1, 2]
    forbidden = await rest.ask("GET", "rpc/nothing")
    assert (forbidden.status_code, forbidden.json()["code"]) == (405, "25006")


async def test_a_refusing_function_decides_code_and_status(rest: Rest) -> None:
    await rest.script(FUNCTIONS)
    for state, status in (("P0001", 400), ("PT418", 418), ("40001", 500), ("53300", 503)):
        answer = await rest.ask("POST", "rpc/refuse", body=f'{{"state":"{state}"}}')
        assert answer.status_code == status
        assert answer.json() == {"code": state, "details": "why", "hint": "do", "message": "no"}
