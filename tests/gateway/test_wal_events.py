"""The content of the events: what the real server sends of a change, and what it keeps back."""

import json

from tests.gateway.raw_client import TRADES, raw_client

EVERYTHING = {"event": "*", "schema": "public"}
# Random text: what compresses well stays in the row, only large text moves to the side table (TOAST).
INSERT_LARGE = """
insert into trades (symbol, price, notes)
values ('NIFTY', 1.25, (select string_agg(md5(random()::text), '') from generate_series(1, 400)))
"""


async def test_an_insert_has_the_recorded_shape(gateway, sql):
    await sql.execute("create table public.things (id bigint primary key, name text, at timestamptz, price numeric)")
    await sql.execute("alter publication supabase_realtime add table public.things")
    async with raw_client(gateway) as client:
        await client.join_live({"event": "*", "schema": "public", "table": "things"})
        await sql.execute("insert into things values (7, null, '2026-11-20 15:34:29.038751+05:30', 0.10000000)")
        message = await client.wait("postgres_changes")
        committed = message["payload"]["data"].pop("commit_timestamp")
        ids = message["payload"].pop("ids")
    assert message == {
        "ref": None,
        "event": "postgres_changes",
        "topic": "realtime:t",
        "payload": {
            "data": {
                "schema": "public",
                "table": "things",
                "type": "INSERT",
                "errors": None,
                "columns": [
                    {"name": "id", "type": "int8"},
                    {"name": "name", "type": "text"},
                    {"name": "at", "type": "timestamptz"},
                    {"name": "price", "type": "numeric"},
                ],
                "record": {"id": 7, "name": None, "at": "2026-11-20T10:04:29.038751+00:00", "price": 0.1},
            }
        },
    }
    assert ids == [client.all[0]["payload"]["response"]["postgres_changes"][0]["id"]]
    assert len(committed) == len("2026-11-20T10:04:29.039Z")
    assert committed.endswith("Z")


async def test_types_become_the_json_of_postgresql(gateway, sql):
    await sql.execute(
        "create table public.kinds (id int primary key, big bigint, exact numeric(30, 12), rough float8, yes bool,"
        " day date, doc jsonb, list int[], raw bytea, at timestamp)"
    )
    await sql.execute("alter publication supabase_realtime add table public.kinds")
    async with raw_client(gateway) as client:
        await client.join_live({"event": "*", "schema": "public", "table": "kinds"})
        await sql.execute(
            "insert into kinds values (1, 9007199254740993, 123456789012345.678901234567, 1.5, true, '2026-11-26',"
            """ '{"a": [1, null]}', '{1,2}', '\\xdead', '2026-11-20 09:15:00')"""
        )
        message = await client.socket.recv()
    record = json.loads(message, parse_float=str)["payload"]["data"]["record"]
    assert record.pop("raw").endswith("dead")
    assert record == {
        "id": 1,
        "big": 9007199254740993,
        "exact": "123456789012345.678901234567",
        "rough": "1.5",
        "yes": True,
        "day": "2026-11-26",
        "doc": {"a": [1, None]},
        "list": [1, 2],
        "at": "2026-11-20T09:15:00",
    }


async def test_an_update_has_the_new_row_and_only_the_old_key(gateway, sql):
    await sql.execute("insert into trades (symbol, price) values ('NIFTY', 0)")
    async with raw_client(gateway) as client:
        await client.join_live()
        await sql.execute("update trades set price = 98.40")
        data = await client.change()
    assert (data["type"], data["old_record"]) == ("UPDATE", {"new_id": 1})
    assert (data["record"]["price"], data["record"]["symbol"]) == (98.4, "NIFTY")


async def test_a_large_column_that_the_update_did_not_touch_is_absent(gateway, sql):
    await sql.execute(INSERT_LARGE)
    async with raw_client(gateway) as client:
        await client.join_live()
        await sql.execute("update trades set price = 1")
        data = await client.change()
        assert "notes" in {column["name"] for column in data["columns"]}
        assert "notes" not in data["record"]
        await sql.execute("update trades set notes = 'short'")
        assert (await client.change())["record"]["notes"] == "short"


async def test_replica_identity_full_gives_the_whole_old_row(gateway, sql):
    await sql.execute("alter table trades replica identity full")
    await sql.execute(INSERT_LARGE)
    async with raw_client(gateway) as client:
        await client.join_live()
        await sql.execute("update trades set price = 2.5")
        data = await client.change()
        assert (data["old_record"]["price"], data["record"]["price"]) == (1.25, 2.5)
        assert len(data["record"]["notes"]) == 400 * 32
        await sql.execute("delete from trades")
        assert (await client.change())["old_record"]["symbol"] == "NIFTY"


async def test_a_delete_has_the_key_and_no_record(gateway, sql):
    await sql.execute("insert into trades (symbol) values ('NIFTY')")
    async with raw_client(gateway) as client:
        await client.join_live()
        await sql.execute("delete from trades")
        data = await client.change()
    assert (data["type"], data["old_record"]) == ("DELETE", {"new_id": 1})
    assert "record" not in data


async def test_a_change_over_the_limit_loses_its_large_and_its_null_fields(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        await sql.execute(
            "insert into trades (symbol, order_id, strategy, notes) values ('NIFTY', $1, $2, repeat('x', 1100000))",
            "o" * 62,  # 64 bytes as JSON
            "s" * 63,
        )
        data = await client.change()
    assert data["errors"] == ["Error 413: Payload Too Large"]
    assert data["record"]["order_id"] == "o" * 62
    assert not {"notes", "strategy", "account_id"} & data["record"].keys()
    assert data["record"]["symbol"] == "NIFTY"


async def test_the_limit_is_a_knob(gateway, sql):
    gateway.faults.max_record_bytes = 100
    async with raw_client(gateway) as client:
        await client.join_live()
        await sql.execute("insert into trades (symbol) values ('NIFTY')")
        assert (await client.change())["errors"] == ["Error 413: Payload Too Large"]


async def test_truncate_rollback_and_unpublished_tables_are_not_delivered(gateway, sql):
    await sql.execute("insert into trades (symbol) values ('OLD')")
    async with raw_client(gateway) as client:
        await client.join_live(EVERYTHING)
        await sql.execute("truncate trades")
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("insert into trades (symbol) values ('UNDONE')")
        await transaction.rollback()
        await sql.execute("insert into strategies (stock_name, strategy_name) values ('NIFTY', 'Iron Condor')")
        await sql.execute("insert into strategy_details (strategy_id) values (1)")
        await sql.execute("insert into trades (symbol) values ('NEW')")
        seen = [await client.change(), await client.change()]
        assert [data["table"] for data in seen] == ["strategies", "trades"]
        assert seen[1]["record"]["symbol"] == "NEW"


async def test_changes_of_one_transaction_come_in_order(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        async with sql.transaction():
            for number in range(20):
                await sql.execute("insert into trades (quantity) values ($1)", number)
            await sql.execute("delete from trades where quantity = 3")
        seen = [await client.change() for _ in range(21)]
    assert [data["record"]["quantity"] for data in seen[:20]] == list(range(20))
    assert seen[20]["old_record"] == {"new_id": 4}


async def test_a_table_without_a_primary_key_gives_error_400(gateway, sql):
    await sql.execute("create table public.loose (name text)")
    await sql.execute("alter publication supabase_realtime add table public.loose")
    async with raw_client(gateway) as client:
        await client.join_live({"event": "*", "schema": "public", "table": "loose"})
        await sql.execute("insert into loose values ('x')")
        data = await client.change()
    assert data["errors"] == ["Error 400: Bad Request, no primary key"]
    assert data["record"] == {}


async def test_a_role_that_may_not_read_the_key_gets_error_401(gateway, sql):
    await sql.execute("revoke all on trades from anon")
    async with raw_client(gateway, gateway.anon_key) as client:
        await client.join_live()
        await sql.execute("insert into trades (symbol) values ('NIFTY')")
        data = await client.change()
    assert (data["errors"], data["record"]) == (["Error 401: Unauthorized"], {})


async def test_columns_that_a_role_may_not_read_are_left_out(gateway, sql):
    await sql.execute("revoke all on trades from anon")
    await sql.execute("grant select (new_id, symbol) on trades to anon")
    async with raw_client(gateway, gateway.anon_key) as client:
        await client.join_live()
        await sql.execute("insert into trades (symbol, account_id) values ('NIFTY', 'A1')")
        data = await client.change()
    assert data["record"] == {"new_id": 1, "symbol": "NIFTY"}
    assert [column["name"] for column in data["columns"]] == ["new_id", "symbol"]


async def test_row_level_security_hides_rows_but_not_their_deletes(gateway, sql):
    await sql.execute("alter table trades enable row level security, replica identity full")
    await sql.execute("create policy own on trades for select to anon using (account_id = auth.jwt() ->> 'role')")
    async with raw_client(gateway, gateway.anon_key) as anon, raw_client(gateway) as service:
        await anon.join_live()
        await service.join_live()
        await sql.execute("insert into trades (symbol, account_id) values ('HIDDEN', 'A1'), ('SHOWN', 'anon')")
        assert [(await service.change())["record"]["symbol"] for _ in range(2)] == ["HIDDEN", "SHOWN"]
        assert (await anon.change())["record"]["symbol"] == "SHOWN"
        await sql.execute("delete from trades where symbol = 'HIDDEN'")
        # Not even REPLICA IDENTITY FULL shows more than the key of a guarded row.
        assert (await service.change())["old_record"] == (await anon.change())["old_record"] == {"new_id": 1}


async def test_a_guarded_row_that_is_gone_when_the_log_is_read_is_not_delivered(gateway, sql):
    await sql.execute("alter table trades enable row level security")
    async with raw_client(gateway) as service:
        await service.join_live()
        async with sql.transaction():
            await sql.execute("insert into trades (symbol) values ('GONE')")
            await sql.execute("delete from trades")
        assert (await service.change())["type"] == "DELETE"


async def test_only_bindings_that_match_are_named_in_the_ids(gateway, sql):
    bindings = [
        {"event": "INSERT", "schema": "public", "table": "trades"},
        {"event": "DELETE", "schema": "public", "table": "trades"},
        {"event": "*", "schema": "public", "table": "trades", "filter": "order_status=eq.open"},
        TRADES,
    ]
    async with raw_client(gateway) as client:
        await client.join_live(*bindings)
        ids = [binding["id"] for binding in client.all[0]["payload"]["response"]["postgres_changes"]]
        assert len(set(ids)) == 4
        await sql.execute("insert into trades (order_status) values ('open')")
        await sql.execute("update trades set order_status = 'closed'")
        await sql.execute("delete from trades")
        named = [(await client.wait("postgres_changes"))["payload"]["ids"] for _ in range(3)]
    # The close of a row passes no filter on open rows, and of a deleted row only the key is known.
    assert named == [[ids[0], ids[2], ids[3]], [ids[3]], [ids[1], ids[3]]]
