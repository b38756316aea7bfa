"""What a snapshot holds, and how exactly."""

from __future__ import annotations

import json

import pytest

from core.stores.base import MonitoringRow, PlannedLeg
from tests.contract.builders import level, monitoring, planned, risk, strategy, trade
from tests.contract.world import StoreWorld

TREE = {"op": "any", "rules": [{"field": "pnl", "below": -3000.5}, {"field": "note", "is": 'a "quote", ünï ₹'}]}


async def read(world: StoreWorld):
    async with world.store(is_quiet=True) as store:
        return world.ours(await store.read_snapshot())


async def test_it_holds_exactly_what_is_open_and_belongs_to_it(world):
    one, two, three = world.key(1), world.key(2), world.key(3)
    await world.insert("strategies", strategy(one), strategy(two, strategy_type="Income"))
    await world.insert("strategy_risk_management", risk(one), risk(two, trailing_stop="1"))
    await world.insert("strategy_exit_levels", level(one, one), level(two, two, trigger_value="1"))
    await world.insert(
        "trades",
        trade(world.key(11), one),
        trade(world.key(12), two, order_status="closed"),
        trade(world.key(13), three),
        trade(world.key(14), two, order_status="pending"),
    )
    found = await read(world)
    assert {(row.row_id, row.strategy_id) for row in found.trades} == {(world.key(11), one), (world.key(13), three)}
    assert [(row.strategy_id, row.strategy_type) for row in found.strategies] == [(one, "Neutral")]
    assert [(row.strategy_id, row.trailing_distance) for row in found.risks] == [(one, 500_00)]
    assert [(row.level_id, row.strategy_id, row.value) for row in found.levels] == [(one, one, 3_000_00)]
    assert (found.problems, found.damaged, found.stale) == ((), frozenset(), "")


async def test_nothing_open_is_an_empty_snapshot(world):
    found = await read(world)
    assert (found.trades, found.strategies, found.risks, found.levels, found.problems) == ((), (), (), (), ())
    assert (found.monitoring, found.details) == ((), ())


async def test_every_column_arrives(world):
    one = world.key(1)
    await world.insert("strategies", strategy(one))
    await world.insert("trades", trade(world.key(11), one, account_id="A-7"))
    found = await read(world)
    (row,) = found.trades
    assert (row.strategy_name, row.underlying, row.security_id, row.segment) == (
        "Short Call", "NIFTY", 49081, "NSE_FNO",
    )  # fmt: skip
    assert (row.option_type, row.is_buy, row.quantity, row.entry, row.strike) == ("CE", False, 65, 120_05, 24_000_00)
    assert (row.expiry, row.product, row.opened_at, row.account_id) == (
        "2026-11-24", "MARGIN", "2026-11-20T09:20:00", "A-7",
    )  # fmt: skip
    (its_strategy,) = found.strategies
    assert (its_strategy.strategy_name, its_strategy.underlying, its_strategy.spread_type) == (
        "Short Call", "NIFTY", "NET_CREDIT",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "paise"),
    [("120.05", 120_05), ("0.1", 10), ("0.05", 5), ("999999.99", 999_999_99), ("1e3", 1_000_00), ("24.10", 24_10)],
)
async def test_prices_are_exact_to_the_paisa(world, written, paise):
    await world.insert("trades", trade(world.key(11), world.key(1), price=written, strike_price=written))
    (row,) = (await read(world)).trades
    assert (row.entry, row.strike) == (paise, paise)


async def test_great_amounts_are_exact_to_the_paisa(world):
    one = world.key(1)
    await world.insert("strategies", strategy(one))
    await world.insert("trades", trade(world.key(11), one))
    await world.insert("strategy_exit_levels", level(one, one, trigger_value="99999999.99"))
    await world.insert("strategy_risk_management", risk(one, max_capital_at_risk="999999999999.99"))
    found = await read(world)
    assert [row.value for row in found.levels] == [99_999_999_99]
    assert [row.max_capital_at_risk for row in found.risks] == [999_999_999_999_99]


@pytest.mark.needs("exact")
async def test_digits_that_a_float_cannot_hold_are_not_lost(world):
    # As a float this is 100000.015, which is the next even paisa.
    assert float("100000.014999999999") == 100000.015
    await world.insert("trades", trade(world.key(11), world.key(1), price="100000.014999999999"))
    assert [row.entry for row in (await read(world)).trades] == [100_000_01]


async def test_null_and_zero_are_not_known_yet(world):
    one = world.key(1)
    await world.insert("strategies", strategy(one, strategy_type=None, spread_type=None))
    await world.insert(
        "trades",
        trade(world.key(11), one, price="0", strike_price=None, expiry_date=None, account_id=None),
        trade(world.key(12), one, price=None, strike_price="0.00", expiry_date=None, account_id=None),
    )
    await world.insert("strategy_risk_management", risk(one, trailing_stop="0", profit_target_primary=None))
    await world.insert(
        "strategy_exit_levels", level(one, one, trigger_value="0.00"), level(world.key(2), one, trigger_value=None)
    )
    found = await read(world)
    assert [(row.entry, row.strike, row.expiry, row.account_id) for row in found.trades] == [(None,) * 4] * 2
    assert [(row.strategy_type, row.spread_type) for row in found.strategies] == [("", "")]
    assert [(row.trailing_distance, row.profit_target) for row in found.risks] == [(None, None)]
    assert [row.value for row in found.levels] == [None, None]
    assert found.problems == ()


async def test_a_stock_leg_has_no_type_and_no_segment(world):
    values = {"type": None, "exchange_segment": None, "strike_price": None, "expiry_date": None, "product_type": "CNC"}
    await world.insert("trades", trade(world.key(11), world.key(1), **values))
    (row,) = (await read(world)).trades
    assert (row.option_type, row.segment, row.product) == ("", "NSE_EQ", "CNC")


@pytest.mark.parametrize("tree", [TREE, {"note": "x" * 200_000}], ids=["small", "great"])
async def test_the_tree_of_conditions_is_json_text(world, tree):
    one = world.key(1)
    await world.insert("strategies", strategy(one))
    await world.insert("trades", trade(world.key(11), one))
    await world.insert("strategy_risk_management", risk(one, exit_conditions=tree))
    found = await read(world)
    assert found.problems == ()
    assert [json.loads(row.exit_conditions) for row in found.risks] == [tree]


@pytest.mark.parametrize(
    "column", ["exit_conditions", "scaling_exits", "technical_stops", "greek_triggers", "adjustment_criteria"]
)
async def test_each_column_of_conditions_arrives(world, column):
    one = world.key(1)
    await world.insert("strategies", strategy(one))
    await world.insert("trades", trade(world.key(11), one))
    await world.insert("strategy_risk_management", risk(one, **{column: TREE}))
    (row,) = (await read(world)).risks
    assert json.loads(getattr(row, column)) == TREE


@pytest.mark.needs("alters")  # A real project may lack these tables.
async def test_the_optional_tables_come_with_their_strategies(world):
    one, two = world.key(1), world.key(2)
    await world.insert("strategies", strategy(one, spot_price="24050.55"), strategy(two, spot_price=None))
    await world.insert("trades", trade(world.key(11), one), trade(world.key(12), two, order_status="closed"))
    await world.insert("strategy_monitoring", monitoring(one), monitoring(two))
    await world.insert("strategy_details", planned(one), planned(one, option_type="PE", gamma=None), planned(two))
    found = await read(world)
    assert [row.spot_price for row in found.strategies] == [24_050_55]
    assert found.monitoring == (MonitoringRow(one, support=23_900_05, iv_upper=40.0),)
    call = PlannedLeg(one, "CE", 24_000_05, "2026-11-24", 0.00024, 17.5, 13.25)
    put = PlannedLeg(one, "PE", 24_000_05, "2026-11-24", None, 17.5, 13.25)
    assert sorted(found.details, key=lambda leg: leg.option_type) == [call, put]
    assert found.problems == ()


@pytest.mark.parametrize(
    "name",
    [
        "डेल्टा न्यूट्रल ₹ 🦋",
        """O'Brien "the fly" \\ back`tick""",
        "a,b.c:(d){e}[f]&g=h%20+#?/;*",
        "two\nlines\tand a tab",
        "null",
        "x" * 60_000,
    ],
    ids=["unicode", "quotes", "punctuation", "lines", "null", "long"],
)
async def test_any_text_arrives_as_it_was_written(world, name):
    one = world.key(1)
    await world.insert("strategies", strategy(one, strategy_name=name))
    await world.insert("trades", trade(world.key(11), one, strategy=name, account_id=name))
    await world.insert("strategy_exit_levels", level(one, one, level_name=name))
    found = await read(world)
    assert [(row.strategy_name, row.account_id) for row in found.trades] == [(name, name)]
    assert [row.strategy_name for row in found.strategies] == [name]
    assert [row.level_name for row in found.levels] == [name]


async def test_an_unreadable_trade_is_named_and_removes_no_other_one(world):
    one, two, three = world.key(1), world.key(2), world.key(3)
    await world.insert(
        "trades",
        trade(world.key(11), one),
        trade(world.key(12), two, quantity=-65),
        trade(world.key(13), two),
        trade(world.key(14), three, action="HOLD"),
        trade(world.key(15), three, type="XX"),
    )
    found = await read(world)
    assert {row.row_id for row in found.trades} == {world.key(11), world.key(13)}
    assert sorted((problem.table, problem.row, problem.problem.split(":")[0]) for problem in found.problems) == [
        ("trades", world.key(12), "quantity"),
        ("trades", world.key(14), "action"),
        ("trades", world.key(15), "type"),
    ]
    assert found.damaged == {two, three}


@pytest.mark.needs("alters")  # A real project may forbid such a row.
async def test_a_trade_of_no_strategy_is_named(world):
    await world.insert("trades", trade(world.key(11), world.key(1)), trade(world.key(12), None))
    found = await read(world)
    assert [row.row_id for row in found.trades] == [world.key(11)]
    assert [(problem.row, problem.problem.split(":")[0]) for problem in found.problems] == [
        (world.key(12), "strategy_id")
    ]
    assert found.damaged == frozenset()


async def test_an_unreadable_level_or_risk_is_named_and_removes_no_other_one(world):
    one, two = world.key(1), world.key(2)
    await world.insert("strategies", strategy(one), strategy(two))
    await world.insert("trades", trade(world.key(11), one), trade(world.key(12), two))
    await world.insert("strategy_risk_management", risk(one, time_stop_dte=-3), risk(two, time_stop_dte=5))
    await world.insert(
        "strategy_exit_levels",
        level(world.key(21), one, trigger_type="moon"),
        level(world.key(22), one),
        level(world.key(23), one, action="Do something clever"),
    )
    found = await read(world)
    assert [row.strategy_id for row in found.risks] == [two]
    assert {(row.level_id, row.action is None) for row in found.levels} == {
        (world.key(22), False),
        (world.key(23), True),
    }
    assert sorted((problem.table, problem.row) for problem in found.problems) == [
        ("strategy_exit_levels", world.key(21)),
        ("strategy_exit_levels", world.key(23)),
        # A risk row is named by its strategy.
        ("strategy_risk_management", one),
    ]
    assert found.damaged == frozenset()


async def test_trades_come_in_the_order_of_their_entry(world):
    times = {11: "2026-11-20T09:22:00", 12: "2026-11-20T09:20:00", 13: "2026-11-19T15:00:00", 14: "2026-11-20T09:21:00"}
    # Legs that were entered at the same time come by their keys; a leg without a time comes first.
    times |= {16: "2026-11-20T09:30:00", 15: "2026-11-20T09:30:00", 17: None}
    await world.insert("trades", *(trade(world.key(n), world.key(1), timestamp=at) for n, at in times.items()))
    assert [row.row_id for row in (await read(world)).trades] == [world.key(n) for n in (17, 13, 12, 14, 11, 15, 16)]


async def test_more_open_rows_than_one_answer_holds_are_all_there(world):
    count = world.features.many
    strategies = [world.key(1_000 + n) for n in range(count // 2)]
    trades = [trade(world.key(10_000 + n), strategies[n % len(strategies)], quantity=1 + n) for n in range(count)]
    levels = [level(world.key(10_000 + n), strategies[n % len(strategies)]) for n in range(count)]
    await world.insert("strategies", *(strategy(key) for key in strategies))
    await world.insert("strategy_risk_management", *(risk(key) for key in strategies))
    await world.insert("strategy_exit_levels", *levels)
    await world.insert("trades", *trades)
    found = await read(world)
    assert sorted((row.row_id, row.strategy_id, row.quantity) for row in found.trades) == [
        (row["new_id"], row["strategy_id"], row["quantity"]) for row in trades
    ]
    assert sorted(row.strategy_id for row in found.strategies) == strategies
    assert sorted(row.strategy_id for row in found.risks) == strategies
    assert sorted((row.level_id, row.strategy_id) for row in found.levels) == [
        (row["id"], row["strategy_id"]) for row in levels
    ]
    assert found.problems == ()
