"""Tables of another shape: what is optional may be missing, what is required is named."""

from __future__ import annotations

import pytest

from core.model.errors import StoreError
from core.stores.base import MonitoringRow, RowOutcome
from core.stores.schema import OPTIONAL_TABLES, REQUIRED
from core.stores.supabase_store import SupabaseStore
from tests.contract.builders import exit_of, leg, level, risk, strategy, trade

pytestmark = pytest.mark.needs("alters")

WHOLE = {"id", "new_id", "strategy_id", "security_id", "quantity"}
NUMBERS = {"price", "exit_price", "trigger_value"}


def shape(table, *more, without=()):
    """The required columns of a table with their kinds, and more text columns."""
    kinds = {name: "whole" if name in WHOLE else "number" if name in NUMBERS else "text" for name in REQUIRED[table]}
    kinds |= {name: "key" if name in {"id", "new_id"} else "text" for name in more}
    return {name: kind for name, kind in sorted(kinds.items()) if name not in without}


def only(columns, row):
    return {name: value for name, value in row.items() if name in columns}


async def test_optional_columns_may_be_missing_and_others_are_ignored(world):
    one = world.key(1)
    tables = {
        "trades": (shape("trades", "id", "colour"), trade(0, one) | {"id": world.key(11), "colour": "red"}),
        "strategies": (shape("strategies"), strategy(one)),
        "strategy_risk_management": (shape("strategy_risk_management"), risk(one)),
        "strategy_exit_levels": (shape("strategy_exit_levels"), level(one, one)),
    }
    for table, (columns, row) in tables.items():
        await world.reshape(table, columns)
        await world.insert(table, only(columns, row))
    async with world.store() as store:
        found = await store.read_snapshot()
        (row,) = found.trades
        assert (row.row_id, row.segment, row.strike, row.expiry, row.entry, row.account_id) == (
            world.key(11), "NSE_FNO", None, None, 120_05, None,
        )  # fmt: skip
        assert [len(rows) for rows in (found.strategies, found.risks, found.levels, found.problems)] == [1, 1, 1, 0]
        outcome = await store.close_rows(exit_of(one, leg(world.key(11))))
        assert outcome == {world.key(11): RowOutcome.CLOSED}
        assert (await store.read_snapshot()).trades == ()
    assert (await world.row("trades", "id", world.key(11)))["order_status"] == "closed"


@pytest.mark.parametrize("table", sorted(OPTIONAL_TABLES))
async def test_an_optional_table_may_be_missing(world, table):
    await world.drop(table)
    await world.insert("trades", trade(world.key(11), world.key(1)))
    async with world.store(is_quiet=True) as store:
        found = await store.read_snapshot()
    assert len(found.trades) == 1
    assert (found.monitoring, found.details, found.problems) == ((), (), ())


@pytest.mark.parametrize("table", sorted(OPTIONAL_TABLES))
async def test_an_optional_table_of_another_shape_has_no_rows(world, table):
    await world.reshape(table, {"id": "key", "strategy": "whole", "support_level": "number"})
    await world.insert(table, {"strategy": world.key(1), "support_level": "23900"})
    await world.insert("trades", trade(world.key(11), world.key(1)))
    async with world.store(is_quiet=True) as store:
        found = await store.read_snapshot()
    assert (len(found.trades), found.monitoring, found.details) == (1, (), ())


async def test_an_optional_table_needs_no_key_and_few_columns(world):
    one = world.key(1)
    await world.reshape("strategy_monitoring", {"strategy_id": "whole", "resistance_level": "text"})
    await world.insert("strategy_monitoring", {"strategy_id": one, "resistance_level": "24500.05"})
    await world.insert("trades", trade(world.key(11), one))
    async with world.store(is_quiet=True) as store:
        assert (await store.read_snapshot()).monitoring == (MonitoringRow(one, resistance=24_500_05),)


async def test_a_profile_is_chosen_in_a_column_of_its_own(world):
    one = world.key(1)
    for table in ("strategies", "strategy_risk_management"):
        await world.reshape(table, shape(table, "id", "exit_profile", without=("id",)) | {"id": "key"})
    await world.insert("strategies", {"id": one, "strategy_type": "Income", "exit_profile": "aggressive_profits"})
    await world.insert("strategy_risk_management", {"strategy_id": one, "exit_profile": "conservative_losses"})
    await world.insert("trades", trade(world.key(11), one))
    async with world.store(is_quiet=True) as store:
        found = await store.read_snapshot()
    assert [row.exit_profile for row in found.strategies] == ["aggressive_profits"]
    assert [row.exit_profile for row in found.risks] == ["conservative_losses"]


async def test_numbers_may_be_text(world):
    one = world.key(1)
    columns = {"new_id": "text"} | shape("trades", "strike_price") | {"price": "text", "quantity": "text"}
    await world.reshape("trades", columns | {"strategy_id": "text", "exit_price": "text"})
    await world.reshape("strategy_exit_levels", shape("strategy_exit_levels") | {"trigger_value": "text"})
    await world.insert("strategies", strategy(one))
    await world.insert("strategy_exit_levels", only(REQUIRED["strategy_exit_levels"], level(one, one)))
    row = only(columns, trade(world.key(11), one)) | {"price": " 120.05 ", "quantity": "65.0"}
    await world.insert("trades", row | {"new_id": str(world.key(11)), "strategy_id": str(one)})
    async with world.store(is_quiet=True) as store:
        found = await store.read_snapshot()
    assert [(row.row_id, row.strategy_id, row.quantity, row.entry) for row in found.trades] == [
        (world.key(11), one, 65, 120_05)
    ]
    assert [row.value for row in found.levels] == [3_000_00]
    assert len(found.strategies) == 1


async def test_trades_come_in_the_order_of_their_entry_without_an_index(world):
    await world.reshape("trades", shape("trades", "new_id"))
    times = {11: "2026-11-20T09:22:00", 12: "2026-11-20T09:20:00", 13: "2026-11-20T09:21:00"}
    rows = [trade(world.key(n), world.key(1), timestamp=at) for n, at in times.items()]
    await world.insert("trades", *(only({"new_id", *REQUIRED["trades"]}, row) for row in rows))
    async with world.store(is_quiet=True) as store:
        found = await store.read_snapshot()
    assert [row.row_id for row in found.trades] == [world.key(n) for n in (12, 13, 11)]


async def test_levels_are_found_when_the_tables_disagree_on_the_type_of_the_id(world):
    one = world.key(1)
    await world.reshape("strategy_exit_levels", shape("strategy_exit_levels") | {"strategy_id": "text"})
    row = only(REQUIRED["strategy_exit_levels"], level(one, one))
    await world.insert("strategy_exit_levels", row | {"strategy_id": str(one)})
    await world.insert("trades", trade(world.key(11), one))
    async with world.store(is_quiet=True) as store:
        assert [row.value for row in (await store.read_snapshot()).levels] == [3_000_00]


@pytest.mark.parametrize("table", sorted(REQUIRED))
async def test_a_missing_table_is_named(world, table):
    await world.drop(table)
    with pytest.raises(StoreError, match=rf"\b{table}\b"):
        async with world.store():
            pass


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("trades", "exit_reason"),
        ("trades", "order_status"),
        ("trades", "strategy_id"),
        ("strategies", "strategy_type"),
        ("strategy_risk_management", "strategy_id"),
        ("strategy_exit_levels", "trigger_value"),
    ],
)
async def test_a_missing_required_column_is_named(world, table, column):
    more = ("new_id",) if table == "trades" else ("id",)
    await world.reshape(table, shape(table, *more, without=(column,)))
    with pytest.raises(StoreError, match=rf"\b{column}\b.*\b{table}\b|\b{table}\b.*\b{column}\b"):
        async with world.store():
            pass


@pytest.mark.needs("sees_columns")
async def test_a_column_that_goes_while_the_store_is_open_is_named_and_found_again(world):
    await world.insert("trades", trade(world.key(11), world.key(1)))
    async with world.store() as store:
        await store.read_snapshot()
        await world.drop_column("trades", "price")
        with pytest.raises(StoreError, match=r"\bprice\b.*\btrades\b|\btrades\b.*\bprice\b"):
            await _read_everything(world, store)
        await world.add_column("trades", "price", "number")
        await world.update("trades", "new_id", world.key(11), price="121.55")
        assert [row.entry for row in (await _read_everything(world, store)).trades] == [121_55]


async def _read_everything(world, store):
    """A store that is told of changes may keep what it has read: let it hear that it may have missed one."""
    if isinstance(store, SupabaseStore):
        store.doubted("the columns changed")
        store.confirmed()
    return await store.read_snapshot()


async def test_a_trades_table_without_a_key_is_named(world):
    await world.reshape("trades", shape("trades"))
    with pytest.raises(StoreError, match=r"new_id \(or id\)"):
        async with world.store():
            pass


async def test_without_a_table_for_risk_events_nothing_is_written(world):
    await world.drop("risk_events")
    async with world.store(is_quiet=True) as store:
        await store.record_risk_event(exit_of(world.key(1), leg(world.key(11))))


async def test_risk_events_of_another_shape_are_left_alone(world):
    await world.reshape("risk_events", {"id": "key", "remark": "text", "strategy_id": "whole"})
    async with world.store(is_quiet=True) as store:
        await store.record_risk_event(exit_of(world.key(1), leg(world.key(11))))
    assert await world.count("risk_events", "strategy_id", world.key(1)) == 0
