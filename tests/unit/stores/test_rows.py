"""Rows are read strictly, one by one: a bad row is named by table, key and column, and its neighbours stay."""

import json
import math
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.errors import RowError
from core.model.exit_levels import Action
from core.stores.base import LevelRow, MonitoringRow, PlannedLeg, RiskRow, StrategyRow, TradeRow
from core.stores.rows import (
    read_level,
    read_monitoring,
    read_planned,
    read_risk,
    read_strategy,
    read_trade,
    snapshot_of,
)

TRADE = {
    "new_id": 7,
    "strategy_id": 42,
    "order_id": "112",
    "security_id": 49081,
    "exchange_segment": "NSE_FNO",
    "symbol": "NIFTY",
    "type": "CE",
    "strategy": "Iron Condor",
    "action": "SELL",
    "quantity": 65,
    "price": 120.05,
    "strike_price": 24000,
    "expiry_date": "2026-11-24",
    "order_status": "open",
    "timestamp": "2026-11-20T09:20:00",
    "product_type": "MARGIN",
    "account_id": None,
    "colour": "blue",
}
LEVEL = {
    "id": 3,
    "strategy_id": 42,
    "exit_type": "stop_loss",
    "level_name": "primary",
    "trigger_value": "3000.00",
    "trigger_type": "price",
    "action": "Close entire position",
    "reasoning": "",
}


def trade(**changes):
    return read_trade({**TRADE, **changes})


def problem_of(read, row):
    with pytest.raises(RowError) as caught:
        read(row)
    return caught.value


def test_a_trade_is_read():
    assert trade() == TradeRow(
        7, 42, "Iron Condor", "NIFTY", 49081, "NSE_FNO", "CE", False, 65, 120_05, 24_000_00, "2026-11-24", "MARGIN",
        "2026-11-20T09:20:00", None,
    )  # fmt: skip


def test_numbers_may_be_text_and_text_may_be_numbers():
    texts = {key: str(value) for key, value in TRADE.items() if isinstance(value, int | float)}
    assert trade(**texts) == trade()
    assert trade(quantity="65.0", strike_price="24000.00", price=Decimal("120.05")) == trade()
    assert trade(symbol=1234, account_id=99).underlying == "1234"


def test_an_id_column_stands_in_for_new_id():
    row = {**TRADE, "id": 9}
    del row["new_id"]
    assert read_trade(row).row_id == 9


@pytest.mark.parametrize("entry", [0, None, "0", "0.00", "", " ", 0.001])
def test_a_price_not_patched_yet_is_unknown(entry):
    assert trade(price=entry).entry is None


@pytest.mark.parametrize(
    ("given_day", "expected"),
    [
        (None, None),
        ("", None),
        ("2026-11-24", "2026-11-24"),
        ("2026-11-24T15:30:00", "2026-11-24"),
        ("2026-11-24 00:00:00", "2026-11-24"),
        ("2026-11-24T00:00:00+05:30", "2026-11-24"),
        (date(2026, 11, 24), "2026-11-24"),
        (datetime(2026, 11, 24, 15, 30), "2026-11-24"),  # noqa: DTZ001  as some drivers give it
    ],
)
def test_an_expiry_becomes_a_date(given_day, expected):
    assert trade(expiry_date=given_day).expiry == expected


@pytest.mark.parametrize(
    ("option_type", "segment", "expected"),
    [
        ("CE", None, "NSE_FNO"),
        ("FUT", "", "NSE_FNO"),
        (None, None, "NSE_EQ"),
        ("EQ", None, "NSE_EQ"),
        ("EQ", "bse_eq", "BSE_EQ"),
    ],
)
def test_a_missing_segment_follows_from_the_type(option_type, segment, expected):
    assert trade(type=option_type, exchange_segment=segment).segment == expected


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *[("quantity", bad) for bad in (None, 0, -65, 65.5, True, "many", 10_000_001, math.nan, "1_000", "6５", b"65")],
        *[("price", bad) for bad in (-1, math.nan, math.inf, "abc", False, 1_000_001, "1e99", "1e400", [], "1,000")],
        *[("strike_price", bad) for bad in (-1, "x", math.inf)],
        *[("security_id", bad) for bad in (None, 0, -1, "x", 2**63)],
        *[("strategy_id", bad) for bad in (None, "x", 1.5)],
        *[("new_id", bad) for bad in (None, "x", True)],
        *[("action", bad) for bad in (None, "", "HOLD", 1, b"BUY")],
        *[("product_type", bad) for bad in (None, "", "MIS", 0)],
        *[("type", bad) for bad in ("CALL", 1)],
        *[("exchange_segment", bad) for bad in ("NFO", 2)],
        *[("expiry_date", bad) for bad in ("24 Nov", "2026-13-01", 1.5, True)],
        *[("symbol", bad) for bad in (b"NIFTY", [], True)],
    ],
)
def test_a_bad_value_names_table_key_column_and_kind(column, value):
    problem = problem_of(read_trade, {**TRADE, column: value})
    assert problem.table == "trades"
    assert problem.problem.startswith(f"{column}: expected ")
    assert type(value).__name__ in problem.problem or repr(value) in problem.problem
    assert column == "new_id" or problem.row == 7


def test_a_message_is_short_whatever_the_value():
    assert len(str(problem_of(read_trade, {**TRADE, "price": "9" * 100_000}))) < 200


def test_a_strategy_is_read_and_its_words_may_be_null():
    row = {"id": 42, "strategy_name": "Iron Condor", "strategy_type": "Neutral", "stock_name": "NIFTY"}
    assert read_strategy(row) == StrategyRow(42, "Iron Condor", "Neutral", "NIFTY", "")
    assert problem_of(read_strategy, {"id": None}).table == "strategies"


def test_risk_columns_are_magnitudes_and_zero_is_no_level():
    row = {
        "strategy_id": "42",
        "max_capital_at_risk": 0,
        "strategy_level_stop": "-50",
        "trailing_stop": 500.5,
        "trailing_stop_activation": None,
        "profit_target_primary": "75",
        "profit_target_pct": 0.0,
        "time_stop_dte": "7",
        "exit_conditions": '{"a":1}',
    }
    expected = RiskRow(42, stop_percent=50.0, trailing_distance=500_50, profit_target=75_00, time_stop_dte=7)
    assert read_risk({**row, "exit_conditions": None}) == expected
    assert read_risk(row).exit_conditions == '{"a":1}'
    assert read_risk({"strategy_id": 42}) == RiskRow(42)


@pytest.mark.parametrize("column", ["max_capital_at_risk", "strategy_level_stop", "time_stop_dte"])
def test_a_bad_risk_column_is_named(column):
    for bad in (math.nan, True, b"", "x", "1e20"):
        assert column in problem_of(read_risk, {"strategy_id": 42, column: bad}).problem


@pytest.mark.parametrize(
    "column", ["exit_conditions", "scaling_exits", "technical_stops", "greek_triggers", "adjustment_criteria"]
)
@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, None),
        ("  ", None),
        (' {"a": 1} ', '{"a": 1}'),
        ({"a": [1, {"b": Decimal("2.5")}]}, '{"a": [1, {"b": "2.5"}]}'),
        ([], "[]"),
        (1.5, "1.5"),
        (True, "True"),
        (b"{}", "b'{}'"),
    ],
)
def test_json_costs_its_row_nothing_whatever_it_is(column, stored, expected):
    row = read_risk({"strategy_id": 42, "strategy_level_stop": 40, column: stored})
    assert (getattr(row, column), row.stop_percent) == (expected, 40)


def test_what_only_helps_costs_its_row_nothing():
    strategy = read_strategy({"id": 42, "spot_price": "24000.50", "exit_profile": " conservative_losses "})
    assert (strategy.spot_price, strategy.exit_profile) == (24_000_50, "conservative_losses")
    strategy = read_strategy({"id": 42, "strategy_type": "Income", "spot_price": "x", "exit_profile": []})
    assert (strategy.spot_price, strategy.exit_profile, strategy.strategy_type) == (None, "", "Income")
    assert read_risk({"strategy_id": 42, "exit_profile": 1.5, "trailing_stop": 5}).trailing_distance == 5_00


def test_monitoring_has_prices_and_volatilities_and_zero_is_none():
    row = {
        "strategy_id": "42",
        "support_level": "23900.05",
        "resistance_level": 0,
        "iv_upper_limit": "40",
        "iv_lower_limit": None,
    }
    assert read_monitoring(row) == MonitoringRow(42, support=23_900_05, iv_upper=40.0)
    assert read_monitoring({"strategy_id": 42}) == MonitoringRow(42)
    assert "support_level" in problem_of(read_monitoring, {"strategy_id": 42, "support_level": -1}).problem


def test_a_planned_leg_is_read_as_far_as_it_goes():
    row = {
        "strategy_id": 42, "option_type": "ce", "strike_price": "24000.00", "expiry_date": "2026-12-29", "gamma": "0.000240",
        "vega": 17.5, "implied_volatility": "36.85",
    }  # fmt: skip
    assert read_planned(row) == PlannedLeg(42, "CE", 24_000_00, "2026-12-29", 0.00024, 17.5, 36.85)
    bad = dict.fromkeys(row, "?") | {"strategy_id": 42}
    assert read_planned(bad) == PlannedLeg(42, "?")
    assert read_planned({"strategy_id": 42, "option_type": True}) == PlannedLeg(42, "")
    assert problem_of(read_planned, {"strategy_id": "x"}).table == "strategy_details"


def test_negative_days_are_refused():
    assert "time_stop_dte" in problem_of(read_risk, {"strategy_id": 42, "time_stop_dte": -1}).problem


def test_a_rupee_level_is_paise_and_a_percentage_is_as_stored():
    level = LevelRow(3, 42, "stop_loss", "primary", 3_000_00, "price", Action.CLOSE_POSITION, "Close entire position")
    assert read_level(LEVEL) == (level, None)
    assert read_level({**LEVEL, "trigger_value": -3000})[0].value == 3_000_00
    assert read_level({**LEVEL, "trigger_type": "Percentage", "trigger_value": "50"})[0].value == 50.0


@pytest.mark.parametrize("value", [0, None, "0.00"])
@pytest.mark.parametrize("trigger_type", ["price", "percentage", "dte"])
def test_a_level_of_zero_or_null_is_no_level(value, trigger_type):
    assert read_level({**LEVEL, "trigger_value": value, "trigger_type": trigger_type})[0].value is None


def test_an_action_that_cannot_be_read_keeps_the_level_and_is_named():
    level, problem = read_level({**LEVEL, "action": "Do something clever"})
    assert level.action is None
    assert problem.table == "strategy_exit_levels"
    assert "Do something clever" in problem.problem
    assert read_level({**LEVEL, "action": None})[1] is None


def test_a_doubtful_action_is_no_mistake_where_there_is_no_level_or_where_it_is_an_alert():
    assert read_level({**LEVEL, "action": "Trail stop on remainder", "trigger_value": 0})[1] is None
    greek = {"exit_type": "greek_trigger", "level_name": "delta", "trigger_type": "greek_value", "trigger_value": "0.5"}
    level, problem = read_level({**LEVEL, **greek, "action": "Adjust or exit to maintain neutrality"})
    assert (level.action, level.value, problem) == (None, 0.5, None)


@pytest.mark.parametrize("column", ["id", "strategy_id", "exit_type", "trigger_type", "trigger_value"])
def test_a_bad_level_column_is_named(column):
    problem = problem_of(read_level, {**LEVEL, column: "?"})
    assert column in problem.problem


def test_the_same_key_twice_is_named_and_the_strategy_is_damaged():
    found = snapshot_of([TRADE, {**TRADE, "quantity": 130}], [], [], [])
    assert [row.quantity for row in found.trades] == [65]
    assert found.damaged == {42}
    assert "twice" in found.problems[0].problem


def test_damage_is_only_by_trade_rows_whose_strategy_is_known():
    found = snapshot_of(
        [{**TRADE, "price": "x"}, {**TRADE, "strategy_id": "x"}, TRADE],
        [{"id": "x"}],
        [{"strategy_id": 42, "trailing_stop": "x"}],
        [{**LEVEL, "exit_type": "?"}, LEVEL, {**LEVEL, "action": "?"}],
        [{"strategy_id": 42, "support_level": "x"}, {"strategy_id": 42}],
        [{"strategy_id": None}, {"strategy_id": 42}],
    )
    assert found.damaged == {42}
    assert (len(found.trades), len(found.strategies), len(found.risks), len(found.levels)) == (1, 0, 0, 2)
    assert (len(found.monitoring), len(found.details)) == (1, 1)
    tables = [problem.table for problem in found.problems]
    assert sorted(tables) == [
        "strategies", "strategy_details", "strategy_exit_levels", "strategy_exit_levels", "strategy_monitoring",
        "strategy_risk_management", "trades", "trades",
    ]  # fmt: skip


garbage = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.binary(max_size=9)
    | st.decimals()
    | st.dates()
    | st.sampled_from(["1e999999", "-0", "NaN", "Infinity", "65,000", "٣", "0x10", "\x00", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@given(st.lists(st.dictionaries(st.sampled_from(sorted({**TRADE, **LEVEL})), garbage), max_size=6), st.data())
def test_good_rows_survive_any_bad_neighbour(neighbours, data):
    good = [{**TRADE, "new_id": 900_000_000_000_000_000 + i} for i in range(3)]
    rows = [*good, *({**TRADE, **bad} for bad in neighbours), *neighbours]
    rows = data.draw(st.permutations(rows))
    found = snapshot_of(rows, [*neighbours, {"id": 42}], [*neighbours, {"strategy_id": 42}], [*neighbours, LEVEL])
    assert {row["new_id"] for row in good} <= {row.row_id for row in found.trades}
    assert StrategyRow(42, "", "", "", "") in found.strategies
    assert RiskRow(42) in found.risks
    assert read_level(LEVEL)[0] in found.levels
    for row in found.trades:
        assert 1 <= row.quantity <= 10_000_000
        assert row.entry is None or row.entry > 0
    assert all(problem.table and len(str(problem)) < 300 for problem in found.problems)


@given(st.decimals(min_value="0.01", max_value="1000000", places=2))
def test_every_price_is_read_to_the_paisa_in_every_form(amount):
    expected = int(amount.scaleb(2))
    forms = (amount, float(amount), str(amount), json.loads(json.dumps(float(amount))))
    assert [trade(price=form).entry for form in forms] == [expected] * 4


def test_a_bad_row_of_any_table_says_whose_it_is():
    """So that a trader sees it under the position it belongs to."""
    found = snapshot_of(
        [TRADE | {"quantity": "many"}],
        [{"id": 1, "strategy_name": 5}],
        [{"strategy_id": 2, "max_capital_at_risk": "much"}, {"strategy_id": "x"}],
        [{"id": 9, "strategy_id": 3, "exit_type": "STOP_LOSS", "trigger_type": "PRICE", "trigger_value": "low"}],
        [{"strategy_id": 4, "support_level": "deep"}],
    )
    owners = {(each.table, each.strategy_id) for each in found.problems}
    assert owners >= {
        ("trades", 42), ("strategy_risk_management", 2), ("strategy_risk_management", None),
        ("strategy_exit_levels", 3), ("strategy_monitoring", 4),
    }  # fmt: skip
    assert found.damaged == {42}
