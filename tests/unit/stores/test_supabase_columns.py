"""Which columns are asked for, and what is asked when the server lacks one."""

import pytest

from core.stores.rows import DETAILS, LEVELS, MONITORING, RISKS, STRATEGIES, TRADES
from core.stores.schema import OPTIONAL_TABLES, REQUIRED
from core.stores.supabase_columns import described, wanted, without


def asked(select):
    """Column → cast."""
    return {name: cast for name, _, cast in (part.partition("::") for part in select.split(","))}


@pytest.mark.parametrize("table", [TRADES, STRATEGIES, RISKS, LEVELS, MONITORING, DETAILS])
def test_every_required_column_is_asked_for_once_and_the_key_comes_first(table):
    select = wanted(table).all
    assert (REQUIRED | OPTIONAL_TABLES)[table] <= asked(select).keys()
    assert len(asked(select)) == len(select.split(","))
    assert select.split(",")[0] == ("new_id" if table == TRADES else "id")


@pytest.mark.parametrize(
    ("table", "exact"),
    [
        (TRADES, {"price", "strike_price"}),
        (STRATEGIES, {"spot_price"}),
        (
            RISKS,
            {
                "max_capital_at_risk",
                "strategy_level_stop",
                "trailing_stop",
                "trailing_stop_activation",
                "profit_target_primary",
                "profit_target_pct",
                "exit_conditions",
                "scaling_exits",
                "technical_stops",
                "greek_triggers",
                "adjustment_criteria",
            },
        ),
        (LEVELS, {"trigger_value"}),
        (MONITORING, {"support_level", "resistance_level", "iv_upper_limit", "iv_lower_limit"}),
        (DETAILS, {"strike_price", "gamma", "vega", "implied_volatility"}),
    ],
)
def test_numbers_with_a_fraction_and_json_are_asked_for_as_text(table, exact):
    assert {name for name, cast in asked(wanted(table).all).items() if cast == "text"} == exact


def test_what_is_only_written_is_checked_but_not_read():
    columns = wanted(TRADES)
    assert {"exit_order_id", "exit_price", "exit_time", "exit_reason"} == asked(columns.all).keys() - asked(
        columns.read
    ).keys()


def test_an_optional_column_is_dropped():
    columns = without(wanted(TRADES), "account_id")
    assert columns is not None
    assert asked(wanted(TRADES).all).keys() - asked(columns.all).keys() == {"account_id"}
    assert "account_id" not in columns.optional


def test_a_required_column_cannot_be_dropped():
    assert without(wanted(TRADES), "price") is None
    assert without(wanted(STRATEGIES), "id") is None
    assert without(wanted(LEVELS), "id") is None


def test_a_trades_table_has_new_id_or_id():
    older = without(wanted(TRADES), "new_id")
    assert older is not None
    assert older.all.split(",")[0] == "id"
    assert without(older, "id") is None
    assert described(older, "id") == "new_id (or id)"
    assert described(older, "price") == "price"
    assert described(wanted(LEVELS), "id") == "id"


@pytest.mark.parametrize("table", [RISKS, MONITORING, DETAILS])
def test_these_tables_need_no_key(table):
    keyless = without(wanted(table), "id")
    assert keyless is not None
    assert keyless.key is None
    assert "id" not in asked(keyless.all)
    assert "strategy_id" in asked(keyless.read)


def test_the_optional_columns_are_those_that_may_be_absent():
    assert set(wanted(RISKS).optional) == asked(wanted(RISKS).all).keys() - {"id", "strategy_id"}
