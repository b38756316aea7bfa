"""When a Supabase store reads again, what it says of itself, and what it does while the project does not answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from core.model.errors import BugError, StoreError, TransportError
from core.stores.base import StoreHealth, StoreState
from core.stores.change_sink import RowChange
from core.stores.rows import TRADES
from core.stores.supabase_access import TableNames
from tests.fakes.waiting import eventually
from tests.unit.stores.supabase_rig import Project, connect, record

QUIET_S = 0.1
"""Long enough for ten turns of the store's wait."""
DAY_S = 24 * 3_600


@pytest.fixture
async def project(gateway, database, monkeypatch) -> AsyncIterator[Project]:
    monkeypatch.setattr("core.stores.supabase_store._SLICE_S", 0.01)
    sql = await connect(database)
    yield Project(gateway, sql)
    await sql.close()


class Reader:
    """Reads after each change, as the book keeper does. `turns`: how often it did."""

    def __init__(self, store):
        self._store = store
        self.turns = 0
        self.errors = []

    async def run(self):
        async for _ in self._store.changes():
            with contextlib.suppress(TransportError, StoreError):
                await self._store.read_snapshot()
            self.turns += 1

    async def until(self, turns):
        await eventually(lambda: self.turns >= turns)
        await asyncio.sleep(QUIET_S)
        assert self.turns == turns


@asynccontextmanager
async def reading(store):
    reader = Reader(store)
    task = asyncio.create_task(reader.run())
    try:
        yield reader
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_was_never_read_is_due(project):
    async with project.store() as store, reading(store) as reader:
        await reader.until(1)


async def test_while_changes_may_go_unseen_it_is_polled(project):
    async with project.store() as store:
        await store.read_snapshot()
        async with reading(store) as reader:
            await reader.until(0)
            project.clock.pass_seconds(2.9)
            await reader.until(0)
            for turn in (1, 2):
                project.clock.pass_seconds(3)
                await reader.until(turn)


async def test_while_changes_are_confirmed_it_is_read_again_now_and_then(project):
    async with project.store() as store:
        await store.read_snapshot()
        async with reading(store) as reader:
            store.confirmed()
            await reader.until(1)
            project.clock.pass_seconds(29)
            await reader.until(1)
            project.clock.pass_seconds(1)
            await reader.until(2)
            # Every confirmation follows a gap.
            store.confirmed()
            await reader.until(3)
            store.doubted("the socket closed")
            await reader.until(4)
            # A listener that fails over and over is no news.
            store.doubted("no connection")
            await reader.until(4)
            project.clock.pass_seconds(3)
            await reader.until(5)


async def test_a_change_is_told_at_once_and_many_are_one(project):
    async with project.store() as store:
        await store.read_snapshot()
        store.confirmed()
        async with reading(store) as reader:
            await reader.until(1)
            for _ in range(50):
                store.changed(RowChange(TRADES, None, 1))
            await reader.until(2)


async def test_a_change_during_a_read_is_for_the_next_one(project):
    key = await project.trade(1)
    async with project.store() as store:
        await store.read_snapshot()
        project.asked()
        project.gateway.faults.rest_delay_s = 0.2
        read = asyncio.create_task(store.read_snapshot())
        await eventually(lambda: any("order_status=eq.open" in seen for seen in project.asked()))
        store.changed(RowChange(TRADES, key, 1))
        await read
        project.gateway.faults.rest_delay_s = 0.0
        project.asked()
        await store.read_snapshot()
        assert project.asked()[0] == "trades order_status=eq.open strategy_id=in.(1)"


async def test_one_failure_is_not_asked_about_over_and_over(project):
    async with project.store() as store:
        await store.read_snapshot()
        project.gateway.faults.refuse_rest = True
        project.clock.pass_seconds(3)
        async with reading(store) as reader:
            await reader.until(1)
            turns = 1
            for pause_s in (1, 2, 3, 3, 3):
                for _ in range(20):
                    store.changed(RowChange(TRADES, None, 1))
                project.clock.pass_seconds(pause_s - 0.1)
                await reader.until(turns)
                project.clock.pass_seconds(0.1)
                turns += 1
                await reader.until(turns)
            # Whoever listens has heard from the project: it is worth a try.
            store.confirmed()
            await reader.until(turns + 1)
            project.gateway.faults.refuse_rest = False
            project.clock.pass_seconds(3)
            await reader.until(turns + 2)
            assert store.health().state is StoreState.LIVE


async def test_a_try_that_took_its_time_has_waited(project):
    async with project.store() as store:
        project.gateway.faults.rest_delay_s = 0.1
        project.gateway.faults.rest_fail.append((503, "", "text/plain"))
        read = asyncio.create_task(store.read_snapshot())
        await asyncio.sleep(0.05)
        project.clock.pass_seconds(5)
        with pytest.raises(TransportError):
            await read
        project.gateway.faults.rest_delay_s = 0.0
        async with reading(store) as reader:
            await reader.until(1)


async def test_health_says_how_soon_a_change_is_noticed_and_why_not(project):
    async with project.store() as store:
        assert store.health() == StoreHealth(StoreState.AWAY, "not read yet")
        await store.read_snapshot()
        assert store.health() == StoreHealth(StoreState.POLLING, "changes are not listened to yet")
        store.confirmed()
        assert store.health() == StoreHealth(StoreState.LIVE)
        store.doubted("no canary: why")
        assert store.health() == StoreHealth(StoreState.POLLING, "no canary: why")
        store.confirmed()
        project.clock.pass_seconds(41)
        assert store.health().state is StoreState.POLLING
        assert "not read again since" in store.health().detail
        project.gateway.faults.refuse_rest = True
        with pytest.raises(TransportError):
            await store.read_snapshot()
        assert store.health().state is StoreState.AWAY
        # The clock of the tests began at 2026-11-18 16:36:40 in India.
        assert store.health().detail.startswith("last read 16:36:40: ")
        project.gateway.faults.refuse_rest = False
        await store.read_snapshot()
        assert store.health() == StoreHealth(StoreState.LIVE)


async def test_a_project_that_does_not_answer_cannot_be_opened(project):
    await project.gateway.stop()
    store = project.closed_store()
    with pytest.raises(TransportError, match="cannot be reached"):
        await store.open()
    await store.close()


async def test_the_last_good_rows_are_used_until_the_project_answers(project, tmp_path):
    path = tmp_path / "last_rows"
    await project.strategy(1)
    key = await project.trade(1)
    async with project.store(saved=path) as store:
        before = await store.read_snapshot()
    await project.gateway.stop()
    project.clock.pass_seconds(3_600)
    async with project.store(saved=path) as store:
        snapshot = await store.read_snapshot()
        assert snapshot.stale == "Supabase does not answer; rows as read at 16:36:40"
        assert (snapshot.trades, snapshot.levels, snapshot.risks) == (before.trades, before.levels, before.risks)
        assert store.health().state is StoreState.AWAY
        assert store.health().detail.startswith("last read 16:36:40: ")
        with pytest.raises(TransportError):
            await store.close_rows(record(key))
        async with reading(store) as reader:
            project.clock.pass_seconds(1)
            await reader.until(1)
            assert (await store.read_snapshot()).stale
            await project.gateway.start()
            await project.close_row(key)
            new = await project.trade(1)
            project.clock.pass_seconds(3)
            await reader.until(2)
        snapshot = await store.read_snapshot()
    assert [trade.row_id for trade in snapshot.trades] == [new]
    assert snapshot.stale == ""


@pytest.mark.parametrize(
    "other", [{"tables": TableNames(trades="strategies")}, {"later_s": DAY_S + 1}, {"never": True}]
)
async def test_rows_of_another_project_or_day_are_not_used(project, tmp_path, other):
    path = tmp_path / "last_rows"
    if not other.get("never"):
        async with project.store(saved=path) as store:
            await store.read_snapshot()
    await project.gateway.stop()
    project.clock.pass_seconds(other.get("later_s", 0))
    with pytest.raises(TransportError):
        await project.closed_store(saved=path, tables=other.get("tables")).open()


async def test_rows_are_kept_at_once_when_trades_come_or_go_and_else_now_and_then(project, tmp_path):
    path = tmp_path / "last_rows"
    key = await project.trade(1)
    async with project.store(saved=path) as store:
        await store.read_snapshot()
        first = path.read_text()
        await project.sql.execute("UPDATE trades SET price = 7 WHERE new_id = $1", key)
        await store.read_snapshot()
        assert path.read_text() == first
        await project.trade(2)
        await store.read_snapshot()
        second = path.read_text()
        assert second != first
        project.clock.pass_seconds(10)
        await store.read_snapshot()
        assert path.read_text() != second


async def test_a_store_that_keeps_nothing_writes_no_file(project, tmp_path):
    path = tmp_path / "last_rows"
    async with project.store(saved=path, keeps=False) as store:
        await store.read_snapshot()
    assert not path.exists()


async def test_a_copy_that_cannot_be_written_stops_nothing(project, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    await project.trade(1)
    async with project.store(saved=tmp_path / "file" / "last_rows") as store:
        assert len((await store.read_snapshot()).trades) == 1
    assert "could not be kept" in caplog.text


async def test_no_key_is_told(project, caplog):
    caplog.set_level("DEBUG")
    async with project.store() as store:
        await store.read_snapshot()
        project.gateway.faults.refuse_rest = True
        with pytest.raises(TransportError) as caught:
            await store.read_snapshot()
    key = project.gateway.service_key
    assert key not in caplog.text
    assert key not in str(caught.value)
    assert key not in store.health().detail


async def test_a_store_that_is_not_open_is_a_bug(project):
    store = project.closed_store()
    await store.close()
    with pytest.raises(BugError):
        await store.read_snapshot()
    with pytest.raises(BugError):
        await store.record_risk_event(record(1))


async def test_a_table_that_looks_empty_at_start_is_not_believed_where_rows_were_open(project, tmp_path):
    """Row-level security was switched on over night: guarding nothing, and forgetting what was open, would be the worst."""
    path = tmp_path / "last_rows"
    await project.trade(1)
    async with project.store(saved=path, key=project.gateway.anon_key) as store:
        await store.read_snapshot()
    kept = path.read_bytes()
    await project.sql.execute("ALTER TABLE trades ENABLE ROW LEVEL SECURITY")
    store = project.closed_store(saved=path, key=project.gateway.anon_key)
    with pytest.raises(StoreError, match=r"last_rows\.json"):
        await store.open()
    await store.close()
    assert path.read_bytes() == kept
    await project.sql.execute("ALTER TABLE trades DISABLE ROW LEVEL SECURITY")
    async with project.store(saved=path, key=project.gateway.anon_key) as store:
        assert len((await store.read_snapshot()).trades) == 1
