"""The embedded store on a real file that another process writes."""

import asyncio
import contextlib
import sqlite3
import statistics
import subprocess
import sys
import time

import pytest

from core.model.errors import StoreError, TransportError
from core.model.exit_levels import Action, Rule
from core.model.orders import Side
from core.model.signals import ExitRecord, Latency, LegExecution, Mode
from core.stores.schema import REQUIRED, create_tables
from core.stores.sqlite_store import SqliteStore

INSERT = (
    "INSERT INTO trades (new_id, strategy_id, security_id, exchange_segment, symbol, type, strategy, action, quantity,"
    " price, strike_price, expiry_date, order_status, timestamp, product_type) VALUES"
    " (?, ?, 49081, 'NSE_FNO', 'NIFTY', 'CE', 'Short Call', 'SELL', ?, 120.05, 24000, '2026-11-24', 'open', ?, 'MARGIN')"
)

LEVELS_OF_TWO = (
    "INSERT INTO strategy_exit_levels (strategy_id, exit_type, trigger_type, trigger_value, action) "
    "VALUES (42, 'stop_loss', 'price', 3000, 'Close entire position'), (43, 'stop_loss', 'price', 1, '')"
)
SPARSE_TRADE = (
    "INSERT INTO trades (id, strategy_id, security_id, symbol, type, action, quantity, order_status, product_type)"
    " VALUES (7, 42, 1, 'NIFTY', 'CE', 'BUY', 65, 'open', 'MARGIN')"
)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "trades.db"
    create_tables(file)
    return file


def run(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement, *values in statements:
            connection.execute(statement, values)


def insert(path, row_id, strategy_id=42, quantity=65, at="2026-11-20T09:20:00"):
    run(path, (INSERT, row_id, strategy_id, quantity, at))


@contextlib.asynccontextmanager
async def opened(path, **options):
    store = SqliteStore(path, **options)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def leg(row_id=7, ordered=65, filled=65, price=163_05, order_ids=("112", "113")):
    return LegExecution(row_id, 49081, "NIFTY-CE", Side.BUY, ordered, filled, price, order_ids)


def exit_of(*legs, action=Action.CLOSE_POSITION, rule=Rule.STOP_LOSS):
    at = 1_795_158_000_123_000_000
    return ExitRecord(
        "e1", 42, "NIFTY", "Short Call", action, "stop hit", rule, -3_000_00, -3_052_50, legs, -3_052_50, Latency(),
        Mode.LIVE, at,
    )  # fmt: skip


def closed_columns(path, row_id=7, key="new_id"):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        (row,) = (row for row in connection.execute("SELECT * FROM trades") if row[key] == row_id)
    return tuple(row[name] for name in ("order_status", "exit_order_id", "exit_price", "exit_time", "exit_reason"))


async def test_the_snapshot_holds_what_is_open_and_belongs_to_it(path):
    insert(path, 8, at="2026-11-20T09:21:00")
    insert(path, 7)
    insert(path, 9, strategy_id=43)
    run(
        path,
        ("UPDATE trades SET order_status='closed' WHERE new_id=9",),
        ("INSERT INTO strategies (id, strategy_type) VALUES (42, 'Neutral'), (43, 'Income')",),
        ("INSERT INTO strategy_risk_management (strategy_id, trailing_stop) VALUES (42, 500), (43, 1)",),
        (LEVELS_OF_TWO,),
    )
    async with opened(path) as store:
        found = await store.read_snapshot()
    assert [row.row_id for row in found.trades] == [7, 8]
    assert [row.strategy_type for row in found.strategies] == ["Neutral"]
    assert [row.trailing_distance for row in found.risks] == [500_00]
    assert [row.value for row in found.levels] == [3_000_00]
    assert (found.problems, found.damaged) == ((), frozenset())


async def test_levels_are_found_when_the_tables_disagree_on_the_type_of_the_id(tmp_path):
    file = tmp_path / "t.db"
    create_tables(file)
    run(file, ("DROP TABLE strategy_exit_levels",))
    run(
        file,
        ("CREATE TABLE strategy_exit_levels (id, strategy_id TEXT, exit_type, trigger_type, trigger_value, action)",),
    )
    run(file, ("INSERT INTO strategy_exit_levels VALUES (1, '42', 'stop_loss', 'price', '3000', 'Close all')",))
    insert(file, 7)
    async with opened(file) as store:
        assert [row.value for row in (await store.read_snapshot()).levels] == [3_000_00]


async def test_a_row_with_broken_text_does_not_hide_the_others(path):
    insert(path, 7)
    insert(path, 8)
    run(path, ("UPDATE trades SET quantity = CAST(x'ff36' AS TEXT), symbol = CAST(x'fe' AS TEXT) WHERE new_id = 8",))
    async with opened(path) as store:
        found = await store.read_snapshot()
    assert [row.row_id for row in found.trades] == [7]
    assert [(problem.row, problem.problem.split(":")[0]) for problem in found.problems] == [(8, "quantity")]
    assert found.damaged == {42}


async def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(StoreError, match="is a folder"):
        await SqliteStore(tmp_path).open()


async def test_a_missing_file_is_named_and_not_created(tmp_path):
    with pytest.raises(StoreError, match=r"absent\.db does not exist.*TRADES_DB"):
        async with opened(tmp_path / "absent.db"):
            pass
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.parametrize("table", sorted(REQUIRED))
async def test_a_missing_table_is_named(path, table):
    run(path, (f"DROP TABLE {table}",))
    with pytest.raises(StoreError, match=rf"no table {table}\. Point TRADES_DB"):
        async with opened(path):
            pass


@pytest.mark.parametrize(
    ("table", "column"), [(t, c) for t, columns in sorted(REQUIRED.items()) for c in sorted(columns)]
)
async def test_a_missing_required_column_is_named(path, table, column):
    columns = sorted(REQUIRED[table] | {"new_id"})
    run(path, (f"DROP TABLE {table}",), (f"CREATE TABLE {table} ({', '.join(c for c in columns if c != column)})",))
    with pytest.raises(StoreError, match=f"lacks column {column} of table {table}"):
        async with opened(path):
            pass


async def test_missing_optional_columns_are_null_and_extra_ones_ignored(path):
    columns = sorted(REQUIRED["trades"] | {"id", "colour"})
    run(path, ("DROP TABLE trades",), (f"CREATE TABLE trades ({', '.join(columns)})",))
    run(
        path,
        (SPARSE_TRADE,),
    )
    async with opened(path) as store:
        (row,) = (await store.read_snapshot()).trades
        assert (row.row_id, row.segment, row.strike, row.expiry, row.entry) == (7, "NSE_FNO", None, None, None)
        await store.close_rows(exit_of(leg()))
    assert closed_columns(path, key="id")[0] == "closed"


async def test_a_trades_table_without_any_key_is_named(path):
    run(path, ("DROP TABLE trades",), (f"CREATE TABLE trades ({', '.join(sorted(REQUIRED['trades']))})",))
    with pytest.raises(StoreError, match=r"new_id \(or id\)"):
        async with opened(path):
            pass


async def test_a_column_that_disappears_while_running_is_named(path):
    async with opened(path) as store:
        run(path, ("ALTER TABLE trades DROP COLUMN exit_reason",))
        with pytest.raises(StoreError, match="lacks column exit_reason"):
            await store.read_snapshot()
        run(path, ("ALTER TABLE trades ADD COLUMN exit_reason",))
        await store.read_snapshot()


async def test_the_monitors_own_tables_are_made(path):
    run(path, ("DROP TABLE risk_events",), ("DROP TABLE monitor_state",))
    async with opened(path) as store:
        await store.record_risk_event(exit_of(leg()))
        await store.record_risk_event(exit_of(leg()))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT strategy_id, execution_id, event_type, threshold_value, current_value, action_taken, exit_order_ids"
            " FROM risk_events"
        ).fetchall()
    assert rows == [(42, "e1", "stop_loss", -3000, -3052.5, "CLOSE_POSITION", "112,113")]


async def test_risk_events_of_another_shape_are_left_alone(path):
    run(path, ("DROP TABLE risk_events",), ("CREATE TABLE risk_events (id, remark)",))
    async with opened(path) as store:
        await store.record_risk_event(exit_of(leg()))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM risk_events").fetchone() == (0,)


async def test_rows_are_closed_with_the_fill(path):
    insert(path, 7)
    insert(path, 8)
    async with opened(path) as store:
        await store.close_rows(exit_of(leg(7), leg(8, price=None, order_ids=())))
        assert (await store.read_snapshot()).trades == ()
    assert closed_columns(path) == ("closed", "112,113", 163.05, "2026-11-20T12:30:00.123+05:30", "stop hit")
    assert closed_columns(path, 8) == ("closed", None, None, "2026-11-20T12:30:00.123+05:30", "stop hit")


async def test_closing_twice_changes_nothing(path):
    insert(path, 7)
    async with opened(path) as store:
        await store.close_rows(exit_of(leg()))
        before = closed_columns(path)
        await store.close_rows(exit_of(leg(price=1)))
    assert closed_columns(path) == before


async def test_a_row_closed_by_somebody_else_is_left_as_it_is(path):
    insert(path, 7)
    run(path, ("UPDATE trades SET order_status='closed', exit_reason='by hand' WHERE new_id=7",))
    async with opened(path) as store:
        await store.close_rows(exit_of(leg()))
    assert closed_columns(path) == ("closed", None, None, None, "by hand")


async def test_a_full_exit_closes_its_row_although_the_broker_held_less_than_it_said(path):
    insert(path, 7)
    async with opened(path) as store:
        await store.close_rows(exit_of(leg(filled=64)))
    assert closed_columns(path)[0] == "closed"


@pytest.mark.parametrize("record", [exit_of(leg(), action=Action.CLOSE_50), exit_of()])
async def test_a_partial_exit_keeps_the_row_open(path, record):
    insert(path, 7)
    async with opened(path) as store:
        await store.close_rows(record)
    assert closed_columns(path)[0] == "open"


async def test_a_locked_file_may_be_tried_again(path):
    insert(path, 7)
    async with opened(path) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(TransportError, match="locked"):
            await store.close_rows(exit_of(leg()))
        assert len((await store.read_snapshot()).trades) == 1
        holder.execute("ROLLBACK")
        holder.close()
        await store.close_rows(exit_of(leg()))
    assert closed_columns(path)[0] == "closed"


async def test_the_loop_goes_on_while_the_file_is_locked(path):
    insert(path, 7)
    async with opened(path) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        closing = asyncio.create_task(store.close_rows(exit_of(leg())))
        for _ in range(200):
            await asyncio.sleep(0)
        assert not closing.done()
        holder.execute("ROLLBACK")
        holder.close()
        await closing


async def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "t.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"t\.db cannot be used"):
        async with opened(tmp_path / "t.db"):
            pass


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
async def test_changes_by_another_connection_are_noticed(path, journal):
    run(path, (f"PRAGMA journal_mode={journal}",))
    async with opened(path, poll_ms=10) as store:
        changes = store.changes()
        for change in (
            lambda: insert(path, 7),
            lambda: run(path, ("UPDATE trades SET price = 121",)),
            lambda: run(path, ("UPDATE trades SET order_status = 'closed'",)),
            lambda: run(path, ("DELETE FROM trades",)),
        ):
            change()
            await asyncio.wait_for(anext(changes), 20)
        assert (await store.read_snapshot()).trades == ()


async def test_nothing_is_noticed_when_nothing_changes(path):
    async with opened(path, poll_ms=5) as store:
        waiting = asyncio.create_task(anext(store.changes()))
        for _ in range(5):
            await store.read_snapshot()
        await asyncio.to_thread(store._watch._stop.wait, 0.1)
        assert not waiting.done()
        waiting.cancel()


async def test_a_replaced_file_is_noticed_and_read(path, tmp_path):
    insert(path, 7)
    other = tmp_path / "other.db"
    create_tables(other)
    insert(other, 8)
    async with opened(path, poll_ms=5) as store:
        changes = store.changes()
        other.replace(path)
        await asyncio.wait_for(anext(changes), 20)
        assert [row.row_id for row in (await store.read_snapshot()).trades] == [8]


async def test_a_file_that_vanishes_is_named_and_found_again(path, tmp_path):
    insert(path, 7)
    run(path, ("PRAGMA wal_checkpoint(TRUNCATE)",))
    async with opened(path, poll_ms=5) as store:
        changes = store.changes()
        path.rename(tmp_path / "away.db")
        await asyncio.wait_for(anext(changes), 20)
        with pytest.raises(StoreError, match="does not exist"):
            await store.read_snapshot()
        (tmp_path / "away.db").rename(path)
        found = ()
        while not found:
            await asyncio.wait_for(anext(changes), 20)
            with contextlib.suppress(StoreError):
                found = (await store.read_snapshot()).trades
        assert [row.row_id for row in found] == [7]


OTHER_PROCESS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    begun = time.time()
    connection.execute(sys.argv[2], (int(line), 42, 65, "2026-11-20"))
    print(begun, flush=True)
"""


async def test_a_row_of_another_process_is_noticed_in_a_tenth_of_a_second(path, capsys):
    """The figure is printed; the bound is generous, because a busy machine may stop either process for a while."""
    taken = []
    command = [sys.executable, "-c", OTHER_PROCESS, str(path), INSERT]
    async with opened(path) as store:
        changes = store.changes()
        with subprocess.Popen(  # noqa: ASYNC220  it starts once, before anything is measured
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            for row_id in range(1, 21):
                other.stdin.write(f"{row_id}\n")
                other.stdin.flush()
                begun = float(await asyncio.to_thread(other.stdout.readline))
                ids = set()
                while row_id not in ids:
                    await asyncio.wait_for(anext(changes), 20)
                    ids = {row.row_id for row in (await store.read_snapshot()).trades}
                taken.append((time.time() - begun) * 1e3)
            other.stdin.close()
    with capsys.disabled():
        text = (
            f"insert by another process until read: median {statistics.median(taken):.0f} ms, max {max(taken):.0f} ms"
        )
        sys.stdout.write(f"\n[store] {text}\n")
    assert statistics.median(taken) < 1_000
