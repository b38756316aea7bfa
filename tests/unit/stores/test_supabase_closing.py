"""A finished exit in the tables of a Supabase project: each row is claimed by one update, and nothing is written twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal

import pytest

from core.model.errors import StoreError, TransportError
from core.model.exit_levels import Action
from core.stores.base import RowOutcome
from tests.unit.stores.supabase_rig import RISK_EVENTS, Project, connect, record


@pytest.fixture
async def project(gateway, database) -> AsyncIterator[Project]:
    sql = await connect(database)
    yield Project(gateway, sql)
    await sql.close()


async def test_the_rows_of_an_exit_are_closed_with_what_was_confirmed(project):
    one, two, other = await project.trade(1), await project.trade(1), await project.trade(2)
    async with project.store() as store:
        assert await store.close_rows(record(one, two)) == {one: RowOutcome.CLOSED, two: RowOutcome.CLOSED}
        assert [trade.row_id for trade in (await store.read_snapshot()).trades] == [other]
    row = await project.row(one)
    assert (row["order_status"], row["exit_order_id"]) == ("closed", f"X-1-1-{one}a,X-1-1-{one}b")
    assert Decimal(row["exit_price"]) == Decimal("123.05")
    assert row["exit_time"] == "2026-11-20T12:30:00.123+05:30"
    assert row["exit_reason"] == "stop loss of X-1-1"
    assert (await project.row(other))["exit_order_id"] is None


async def test_the_time_may_be_a_timestamp_with_a_zone(project):
    await project.sql.execute("ALTER TABLE trades ALTER COLUMN exit_time TYPE timestamptz USING exit_time::timestamptz")
    key = await project.trade(1)
    async with project.store() as store:
        await store.close_rows(record(key))
        assert await store.close_rows(record(key)) == {key: RowOutcome.OURS}
    assert (await project.row(key))["exit_time"] == datetime.fromisoformat("2026-11-20T12:30:00.123+05:30")


async def test_a_partial_exit_leaves_its_rows_open(project):
    key = await project.trade(1)
    async with project.store() as store:
        assert await store.close_rows(record(key, action=Action.CLOSE_50)) == {}
    assert (await project.row(key))["order_status"] == "open"


async def test_the_first_who_closes_a_row_has_closed_it(project):
    ours, theirs, gone = [await project.trade(1) for _ in range(3)]
    await project.close_row(theirs)
    await project.sql.execute("DELETE FROM trades WHERE new_id = $1", gone)
    async with project.store() as store:
        first = await store.close_rows(record(ours, theirs, gone))
        again = await store.close_rows(record(ours, theirs, gone))
        another = await store.close_rows(record(ours, exit_id="X-1-2"))
    assert first == {ours: RowOutcome.CLOSED, theirs: RowOutcome.OTHERS, gone: RowOutcome.GONE}
    assert again == {ours: RowOutcome.OURS, theirs: RowOutcome.OTHERS, gone: RowOutcome.GONE}
    assert another == {ours: RowOutcome.OTHERS}
    assert (await project.row(theirs))["exit_reason"] == "by hand"
    assert (await project.row(ours))["exit_reason"] == "stop loss of X-1-1"


async def test_a_lost_answer_is_unknown_and_the_row_turns_out_to_be_ours(project):
    key = await project.trade(1)
    async with project.store() as store:
        project.gateway.faults.drop_after_commit = 1
        with pytest.raises(TransportError):
            await store.close_rows(record(key))
        assert len(project.asked("PATCH")) == 1
        assert await store.close_rows(record(key)) == {key: RowOutcome.OURS}


@pytest.mark.parametrize("answer", ['[{"new_id": "rubbish"}]', '[{"new_id": 999999}]', "[{}]"])
async def test_an_answer_about_another_row_closes_nothing(project, answer):
    key = await project.trade(1)
    async with project.store() as store:
        project.gateway.faults.rest_fail.append((200, answer, "application/json"))
        with pytest.raises(TransportError, match=f"Row {key}"):
            await store.close_rows(record(key))
        assert await store.close_rows(record(key)) == {key: RowOutcome.CLOSED}


async def test_a_server_in_trouble_is_unknown(project):
    key = await project.trade(1)
    async with project.store() as store:
        project.gateway.faults.rest_fail.append((502, "<html>Bad Gateway</html>", "text/html"))
        with pytest.raises(TransportError, match="502"):
            await store.close_rows(record(key))
        assert await store.close_rows(record(key)) == {key: RowOutcome.CLOSED}


async def test_an_update_that_is_denied_in_silence_is_told(project):
    key = await project.trade(1)
    await project.sql.execute("ALTER TABLE trades ENABLE ROW LEVEL SECURITY")
    await project.sql.execute("CREATE POLICY readable ON trades FOR SELECT USING (true)")
    async with project.store(key=project.gateway.anon_key) as store:
        with pytest.raises(StoreError, match=f"Row {key} of trades is open.*policy for UPDATE"):
            await store.close_rows(record(key))


async def test_an_update_that_is_denied_aloud_is_told(project):
    key = await project.trade(1)
    await project.sql.execute("REVOKE UPDATE ON trades FROM anon")
    async with project.store(key=project.gateway.anon_key) as store:
        with pytest.raises(StoreError, match=r"SUPABASE_KEY may not update public\.trades"):
            await store.close_rows(record(key))


async def test_a_denied_row_does_not_keep_the_others_from_being_closed(project):
    good, bad = await project.trade(1), await project.trade(1)
    await project.sql.execute(f"ALTER TABLE trades ADD CHECK (new_id <> {bad} OR order_status = 'open')")
    async with project.store() as store:
        with pytest.raises(StoreError, match="23514"):
            await store.close_rows(record(bad, good))
    assert (await project.row(good))["order_status"] == "closed"


async def test_of_twenty_who_race_for_a_row_one_wins(project):
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(project.store()) for _ in range(20)]
        for _ in range(5):
            key = await project.trade(1)
            outcomes = await asyncio.gather(
                *(store.close_rows(record(key, exit_id=f"X-1-{number}")) for number, store in enumerate(stores))
            )
            said = [outcome[key] for outcome in outcomes]
            assert sorted(said) == [RowOutcome.CLOSED] + [RowOutcome.OTHERS] * 19
            winner = said.index(RowOutcome.CLOSED)
            assert (await project.row(key))["exit_reason"] == f"stop loss of X-1-{winner}"


async def test_an_exit_is_one_risk_event(project):
    await project.sql.execute(RISK_EVENTS)
    async with project.store() as store:
        await store.record_risk_event(record(7, 8))
        await store.record_risk_event(record(7, 8))
    (row,) = await project.sql.fetch("SELECT * FROM risk_events")
    assert (row["execution_id"], row["event_type"], row["threshold_value"]) == ("X-1-1", "stop_loss", "-3000.0")
    assert row["exit_order_ids"] == "X-1-1-7a,X-1-1-7b,X-1-1-8a,X-1-1-8b"
    assert row["triggered_at"] == datetime.fromisoformat("2026-11-20T12:30:00.123+05:30")


async def test_without_the_table_nothing_is_written(project):
    async with project.store() as store:
        await store.record_risk_event(record(7))


async def test_a_risk_event_has_the_columns_that_there_are(project):
    await project.sql.execute("CREATE TABLE risk_events (execution_id text UNIQUE, notes text)")
    async with project.store() as store:
        await store.record_risk_event(record(7))
    assert [tuple(row) for row in await project.sql.fetch("SELECT * FROM risk_events")] == [
        ("X-1-1", "stop loss of X-1-1")
    ]


async def test_without_its_key_column_there_is_no_risk_event(project):
    await project.sql.execute("CREATE TABLE risk_events (notes text)")
    async with project.store() as store:
        await store.record_risk_event(record(7))
    assert await project.sql.fetchval("SELECT count(*) FROM risk_events") == 0


async def test_a_table_without_a_unique_key_is_looked_at_first(project):
    await project.sql.execute("CREATE TABLE risk_events (execution_id text, notes text)")
    async with project.store() as store:
        await store.record_risk_event(record(7))
        await store.record_risk_event(record(7))
        await store.record_risk_event(record(7, exit_id="X-1-2"))
    assert await project.sql.fetchval("SELECT count(*) FROM risk_events") == 2


async def test_a_denied_risk_event_is_told(project):
    await project.sql.execute(RISK_EVENTS)
    await project.sql.execute("REVOKE INSERT ON risk_events FROM anon")
    async with project.store(key=project.gateway.anon_key) as store:
        with pytest.raises(StoreError, match="risk_events"):
            await store.record_risk_event(record(7))


async def test_a_function_is_called_and_a_missing_one_is_told_by_its_code(project):
    await project.sql.execute(
        "CREATE FUNCTION add(a int, b int) RETURNS TABLE (total int) LANGUAGE sql AS 'SELECT a + b'"
    )
    async with project.store() as store:
        assert await store.rpc("add", {"a": 1, "b": 2}) == [{"total": 3}]
        with pytest.raises(StoreError) as caught:
            await store.rpc("nope", {})
    assert caught.value.code == "PGRST202"
