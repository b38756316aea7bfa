"""Rows of a Supabase project, over REST from a real PostgreSQL: exact, where a change says, and never fewer by error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from core.model.errors import StoreError, TransportError
from core.stores.base import StoreState
from core.stores.change_sink import RowChange
from core.stores.rows import LEVELS, TRADES
from core.stores.supabase_access import TableNames
from tests.unit.stores.supabase_rig import Project, connect


@pytest.fixture
async def project(gateway, database) -> AsyncIterator[Project]:
    sql = await connect(database)
    yield Project(gateway, sql)
    await sql.close()


def keys(snapshot):
    return {trade.row_id for trade in snapshot.trades}


async def test_everything_open_is_read_exactly(project):
    await project.strategy(1)
    await project.strategy(2)
    first = await project.trade(1, price="120.0500000000")
    await project.trade(1, status="closed")
    await project.trade(2, status="closed")
    async with project.store() as store:
        snapshot = await store.read_snapshot()
    assert keys(snapshot) == {first}
    assert snapshot.trades[0].entry == 12_005
    assert [row.strategy_id for row in snapshot.strategies] == [1]
    assert [(row.trailing_distance, row.exit_conditions) for row in snapshot.risks] == [(10, '{"a": 2.50}')]
    assert [(row.strategy_id, row.value) for row in snapshot.levels] == [(1, 300_010)]
    assert (snapshot.problems, snapshot.damaged, snapshot.stale) == ((), frozenset(), "")


async def test_nothing_is_left_out_where_the_server_clips_its_answers(project):
    project.gateway.rest.max_rows = 7
    for strategy_id in range(1, 30):
        await project.strategy(strategy_id)
    expected = {await project.trade(strategy_id) for strategy_id in range(1, 30)}
    async with project.store() as store:
        snapshot = await store.read_snapshot()
        assert keys(snapshot) == expected
        assert {row.strategy_id for row in snapshot.levels} == set(range(1, 30))
        for strategy_id in range(1, 30):
            store.changed(RowChange(TRADES, None, strategy_id))
        snapshot = await store.read_snapshot()
    assert keys(snapshot) == expected
    assert {row.strategy_id for row in snapshot.levels} == set(range(1, 30))


async def test_more_strategies_than_one_list_holds(project):
    await project.sql.execute(
        "INSERT INTO strategies (id, stock_name, strategy_name) SELECT n, 'NIFTY', 'x' FROM generate_series(1, 450) n"
    )
    await project.sql.execute(
        "INSERT INTO trades (strategy_id, security_id, symbol, type, action, quantity, price, timestamp, product_type)"
        " SELECT n, 1, 'NIFTY', 'CE', 'SELL', 65, 1, '2026-11-20T09:20:00', 'MARGIN' FROM generate_series(1, 450) n"
    )
    async with project.store() as store:
        snapshot = await store.read_snapshot()
    assert len(snapshot.trades) == len(snapshot.strategies) == 450


async def test_a_change_reads_the_strategy_that_it_names_and_no_other(project):
    for strategy_id in (1, 2):
        await project.strategy(strategy_id)
    one, two = await project.trade(1), await project.trade(2)
    async with project.store() as store:
        await store.read_snapshot()
        project.asked()
        new = await project.trade(2)
        await project.trade(1)
        store.changed(RowChange(TRADES, new, 2))
        snapshot = await store.read_snapshot()
        assert keys(snapshot) == {one, two, new}
        asked = project.asked()
        assert asked[0] == "trades order_status=eq.open strategy_id=in.(2)"
        assert set(asked[1:]) == {
            "strategies id=in.(2)", "strategy_risk_management strategy_id=in.(2)", "strategy_exit_levels strategy_id=in.(2)",
            "strategy_monitoring strategy_id=in.(2)", "strategy_details strategy_id=in.(2)",
        } | {one for one in asked[1:] if "gt." in one}  # fmt: skip


async def test_trades_are_asked_for_before_their_levels(project):
    await project.strategy(1)
    await project.trade(1)
    async with project.store() as store:
        project.asked()
        await store.read_snapshot()
        tables = [asked.split()[0] for asked in project.asked()]
    assert tables == sorted(tables, key=lambda table: table != "trades")
    assert len(set(tables)) == 6


async def test_a_deleted_row_is_known_by_its_key_alone(project):
    await project.strategy(1)
    await project.strategy(2)
    one, two = await project.trade(1), await project.trade(2)
    async with project.store() as store:
        await store.read_snapshot()
        await project.sql.execute("DELETE FROM trades WHERE new_id = $1", two)
        project.asked()
        store.changed(RowChange(TRADES, two, None))
        snapshot = await store.read_snapshot()
        assert keys(snapshot) == {one}
        assert [row.strategy_id for row in snapshot.levels] == [1]
        assert "trades order_status=eq.open" not in project.asked()


async def test_a_row_that_moved_to_another_strategy_is_in_one_of_them(project):
    await project.trade(1)
    moved = await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        await project.sql.execute("UPDATE trades SET strategy_id = 2 WHERE new_id = $1", moved)
        store.changed(RowChange(TRADES, moved, 2))
        snapshot = await store.read_snapshot()
    assert sorted(trade.strategy_id for trade in snapshot.trades) == [1, 2]


async def test_without_a_hint_and_when_it_is_time_everything_is_read(project):
    await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        second = await project.trade(2)
        assert second in keys(await store.read_snapshot())
        third = await project.trade(3)
        store.changed(RowChange(TRADES, None, 1))
        assert third not in keys(await store.read_snapshot())
        project.clock.pass_seconds(3)
        store.changed(RowChange(TRADES, None, 1))
        assert third in keys(await store.read_snapshot())


async def test_a_bad_row_is_named_and_the_others_stay(project):
    good, bad, orphan = await project.trade(1), await project.trade(1), await project.trade(None)
    await project.sql.execute("UPDATE trades SET quantity = -1 WHERE new_id = $1", bad)
    async with project.store() as store:
        snapshot = await store.read_snapshot()
    assert keys(snapshot) == {good}
    assert {problem.row for problem in snapshot.problems} == {bad, orphan}
    assert snapshot.damaged == {1}


async def test_strategy_ids_may_be_text(project):
    await project.strategy(1)
    await project.sql.execute("ALTER TABLE trades ALTER COLUMN strategy_id TYPE text")
    key = await project.sql.fetchval(
        "INSERT INTO trades (strategy_id, security_id, symbol, type, action, quantity, price, timestamp, product_type)"
        " VALUES ('1', 1, 'NIFTY', 'CE', 'SELL', 65, 1, '2026-11-20T09:20:00', 'MARGIN') RETURNING new_id"
    )
    async with project.store() as store:
        snapshot = await store.read_snapshot()
        store.changed(RowChange(TRADES, key, 1))
        again = await store.read_snapshot()
    assert keys(snapshot) == keys(again) == {key}
    assert len(snapshot.levels) == len(again.levels) == 1


async def test_an_older_table_has_id_and_fewer_columns(project):
    await project.sql.execute("ALTER TABLE trades RENAME COLUMN new_id TO id")
    for table, column in (
        ("trades", "account_id"),
        ("trades", "strike_price"),
        ("strategy_risk_management", "id"),
        ("strategy_risk_management", "exit_conditions"),
        ("strategy_exit_levels", "level_name"),
        ("strategies", "stock_name"),
    ):
        await project.sql.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    await project.sql.execute("INSERT INTO strategies (id, strategy_name) VALUES (1, 'x')")
    await project.sql.execute("INSERT INTO strategy_risk_management (strategy_id, trailing_stop) VALUES (1, 5), (1, 6)")
    await project.sql.execute(
        "INSERT INTO trades (strategy_id, security_id, symbol, type, action, quantity, price, timestamp, product_type)"
        " VALUES (1, 1, 'NIFTY', 'CE', 'SELL', 65, 1, '2026-11-20T09:20:00', 'MARGIN')"
    )
    async with project.store() as store:
        snapshot = await store.read_snapshot()
    assert keys(snapshot) == {1}
    assert len(snapshot.risks) == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("DROP TABLE strategy_monitoring", "PGRST205"),
        ("REVOKE ALL ON strategy_monitoring FROM service_role", "42501"),
        ("ALTER TABLE strategy_monitoring RENAME COLUMN strategy_id TO strategy", "lacks column strategy_id"),
    ],
)
async def test_an_optional_table_that_cannot_be_read_is_told_of_once(project, caplog, change, why):
    caplog.set_level("INFO")
    await project.strategy(1)
    key = await project.trade(1)
    await project.sql.execute("INSERT INTO strategy_details (strategy_id, option_type) VALUES (1, 'CE')")
    await project.sql.execute(change)
    async with project.store() as store:
        for _ in range(3):
            snapshot = await store.read_snapshot()
            project.clock.pass_seconds(3)
    assert (keys(snapshot), snapshot.monitoring, len(snapshot.details), snapshot.problems) == ({key}, (), 1, ())
    [told] = [message for message in caplog.messages if "is not read" in message]
    assert why in told


@pytest.mark.parametrize(
    "change", ["DROP TABLE strategy_monitoring", "REVOKE ALL ON strategy_monitoring FROM service_role"]
)
async def test_an_optional_table_that_goes_while_it_is_read_costs_nothing_else(project, caplog, change):
    caplog.set_level("INFO")
    await project.strategy(1)
    key = await project.trade(1)
    await project.sql.execute("INSERT INTO strategy_monitoring (strategy_id, support_level) VALUES (1, 23900)")
    async with project.store() as store:
        assert len((await store.read_snapshot()).monitoring) == 1
        await project.sql.execute(change)
        for _ in range(2):
            project.clock.pass_seconds(3)
            snapshot = await store.read_snapshot()
    assert (keys(snapshot), snapshot.monitoring, len(snapshot.levels)) == ({key}, (), 1)
    assert sum("strategy_monitoring is not read" in message for message in caplog.messages) == 1


async def test_an_optional_table_that_cannot_be_looked_at_is_an_error_like_any_other(project):
    await project.sql.execute("ALTER TABLE strategy_monitoring RENAME TO hidden")
    await project.sql.execute(
        "CREATE VIEW strategy_monitoring AS SELECT strategy_id, 1 / (id - id) AS support_level FROM hidden"
    )
    await project.sql.execute("GRANT SELECT ON strategy_monitoring TO service_role")
    await project.sql.execute("INSERT INTO strategies (id, stock_name, strategy_name) VALUES (1, 'NIFTY', 'x')")
    await project.sql.execute("INSERT INTO hidden (strategy_id) VALUES (1)")
    with pytest.raises((StoreError, TransportError), match="strategy_monitoring"):
        await project.closed_store().open()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE trades DROP COLUMN price", "public.trades lacks column price"),
        ("ALTER TABLE trades DROP COLUMN new_id", r"lacks column new_id \(or id\)"),
        ("ALTER TABLE trades DROP COLUMN exit_reason", "lacks column exit_reason"),
        ("DROP TABLE strategy_exit_levels", "no table public.strategy_exit_levels.*SUPABASE_LEVELS_TABLE"),
        ("REVOKE ALL ON strategies FROM service_role", "SUPABASE_KEY may not read public.strategies.*Grant"),
    ],
)
async def test_what_is_missing_is_named_when_the_store_opens(project, change, words):
    await project.sql.execute(change)
    with pytest.raises(StoreError, match=words):
        await project.closed_store().open()


async def test_a_column_that_may_not_be_read_is_done_without(project):
    key = await project.trade(1)
    await project.sql.execute("REVOKE ALL ON trades FROM anon")
    columns = (
        "new_id, strategy_id, security_id, symbol, type, action, quantity, price, order_status, timestamp, product_type,"
        " exit_order_id, exit_price, exit_time, exit_reason, strategy"
    )
    await project.sql.execute(f"GRANT SELECT ({columns}) ON trades TO anon")
    async with project.store(key=project.gateway.anon_key) as store:
        assert keys(await store.read_snapshot()) == {key}


async def test_other_names_and_another_schema(project):
    await project.sql.execute("CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO service_role")
    await project.sql.execute("ALTER TABLE trades SET SCHEMA app; ALTER TABLE app.trades RENAME TO positions")
    for table in ("strategies", "strategy_risk_management", "strategy_exit_levels"):
        await project.sql.execute(f"ALTER TABLE {table} SET SCHEMA app")
    names = TableNames("app", trades="positions")
    with pytest.raises(StoreError, match="SUPABASE_SCHEMA"):
        await project.closed_store(tables=names).open()
    project.gateway.rest.schemas = ("public", "app")
    async with project.store(tables=names) as store:
        assert (await store.read_snapshot()).trades == ()


async def test_a_refused_key_is_named(project):
    with pytest.raises(StoreError, match="SUPABASE_KEY"):
        await project.closed_store(key="eyJhbGciOiJIUzI1NiJ9.e30.x").open()


@pytest.mark.parametrize("column", ["account_id", "price"])
async def test_a_column_that_goes_while_we_watch_is_not_done_without_in_silence(project, column):
    """A stop or an account may have stood there: without it another level would hold, or another account's row."""
    key = await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        await project.sql.execute(f"ALTER TABLE trades RENAME COLUMN {column} TO gone")
        for _ in range(2):
            with pytest.raises(StoreError, match=f"lacks column {column}"):
                await store.read_snapshot()
        await project.sql.execute(f"ALTER TABLE trades RENAME COLUMN gone TO {column}")
        assert keys(await store.read_snapshot()) == {key}


async def test_an_answer_without_a_body_is_not_an_empty_table(project):
    key = await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        project.gateway.faults.rest_fail.extend([(200, "", "application/json")] * 2)
        with pytest.raises(TransportError):
            await store.read_snapshot()
        project.gateway.faults.rest_fail.clear()
        assert keys(await store.read_snapshot()) == {key}


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 100_000, b"[{}]", b"[null]"], ids=["bytes", "deep", "no key", "null"]
)
async def test_an_answer_that_makes_no_sense_is_no_bug_of_ours(project, body):
    await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        project.gateway.faults.rest_fail.extend([(200, body.decode("latin-1"), "application/json")] * 4)
        with pytest.raises(TransportError):
            await store.read_snapshot()


async def test_rows_that_a_policy_hides_are_not_believed_to_be_gone(project):
    await project.strategy(1)
    key = await project.trade(1)
    async with project.store(key=project.gateway.anon_key) as store:
        await store.read_snapshot()
        await project.sql.execute("ALTER TABLE trades ENABLE ROW LEVEL SECURITY")
        with pytest.raises(StoreError, match="Row-level security or another key hides them"):
            await store.read_snapshot()
        store.changed(RowChange(TRADES, key, 1))
        with pytest.raises(StoreError, match="hides them"):
            await store.read_snapshot()
        assert store.health().state is StoreState.AWAY
        await project.sql.execute("CREATE POLICY readable ON trades FOR SELECT USING (true)")
        assert keys(await store.read_snapshot()) == {key}


async def test_levels_that_a_policy_hides_stay_and_new_trades_are_seen(project):
    await project.strategy(1)
    await project.trade(1)
    async with project.store(key=project.gateway.anon_key) as store:
        await store.read_snapshot()
        await project.sql.execute("ALTER TABLE strategy_exit_levels ENABLE ROW LEVEL SECURITY")
        new = await project.trade(2)
        for _ in range(2):
            snapshot = await store.read_snapshot()
            assert new in keys(snapshot)
            assert [row.strategy_id for row in snapshot.levels] == [1]
            assert [problem.table for problem in snapshot.problems] == [LEVELS]
        store.changed(RowChange(TRADES, new, 2))
        assert [problem.table for problem in (await store.read_snapshot()).problems] == [LEVELS]
        await project.sql.execute("CREATE POLICY readable ON strategy_exit_levels FOR SELECT USING (true)")
        assert (await store.read_snapshot()).problems == ()


async def test_when_every_trade_is_closed_there_are_none(project):
    key = await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        await project.close_row(key)
        assert (await store.read_snapshot()).trades == ()


async def test_a_failed_read_leaves_its_doubts(project):
    await project.strategy(1)
    key = await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        await project.sql.execute("UPDATE trades SET price = 7 WHERE new_id = $1", key)
        store.changed(RowChange(TRADES, key, 1))
        # Twice: a read whose connection was cut is repeated once.
        project.gateway.faults.rest_fail.append((503, '{"code":"PGRST001","message":"away"}', "application/json"))
        with pytest.raises(TransportError, match="PGRST001"):
            await store.read_snapshot()
        project.asked()
        assert (await store.read_snapshot()).trades[0].entry == 700
        assert project.asked()[0] == "trades order_status=eq.open strategy_id=in.(1)"


async def test_a_read_that_half_succeeds_changes_nothing(project):
    await project.strategy(1)
    await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        await project.trade(1)
        project.gateway.faults.refuse_rest = True
        with pytest.raises(TransportError):
            await store.read_snapshot()
        assert len(store._mirror.rows()[TRADES]) == 1
        project.gateway.faults.refuse_rest = False
        assert len((await store.read_snapshot()).trades) == 2


async def test_a_project_without_visible_trades_is_told_of(project):
    async with project.store() as store:
        assert "row-level security hides them" in store.doubts()
    await project.trade(1, status="closed")
    async with project.store() as store:
        assert store.doubts() == ""
