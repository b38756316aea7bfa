"""The six traps of design/database.md, in rows as the strategy builder writes them."""

import math
from itertools import pairwise

import pytest

from core.exits.action_text import parse_action
from core.exits.read_levels import LevelInputs, read_levels
from core.model.exit_levels import Action, LevelSource
from core.model.position import Position
from core.stores.rows import read_level
from strategies.profiles import category_profile
from tests.unit.exits.builders import ROW, call, position, put
from tests.unit.exits.level_builders import condor, long_call, names, read, risk, row, short_call, shown, spread
from tests.unit.exits.writer_rows import written

RISK = LevelSource.RISK_COLUMN
TREE = LevelSource.CONDITIONS
DEFAULT = LevelSource.CATEGORY_DEFAULT
LOT = 75


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("Close position", Action.CLOSE_POSITION),
        ("Close entire position", Action.CLOSE_POSITION),
        ("Close position immediately", Action.CLOSE_IMMEDIATELY),
        ("Close 25%", Action.CLOSE_25),
        ("Close 50%", Action.CLOSE_50),
        ("Close 75%", Action.CLOSE_75),
        ("50% profit - close half position", Action.CLOSE_50),
        ("100% profit - close 75% position", Action.CLOSE_75),
    ],
)
def test_trap_1_every_action_text_of_the_builder_is_read(text, action):
    assert parse_action(text) is action
    assert read(None, row("profit_target", 200, action=text)).target_action is action


@pytest.mark.parametrize("text", ["Trail stop on remainder", "Close level_2", "Close 40%", "Roll or close"])
def test_trap_1_what_is_not_certain_is_not_guessed_in_silence(text):
    levels = read(None, row("profit_target", 200, action=text))
    assert names(levels.notes, f"action {text!r} is not clear")
    assert read(None, row("profit_target", 200, level_name="scaling_level_1", action=text)).scaling == ()


@pytest.mark.parametrize(("value", "trigger_type"), [(50, "percentage"), (112.5, "price")])
def test_trap_2_a_stop_may_be_a_percentage_or_rupees(value, trigger_type):
    assert shown(read(None, row("stop_loss", value, trigger_type)).stop) == (112.50, ROW)


def test_trap_2_a_credit_multiple_that_was_stored_as_50_per_cent_is_what_was_meant():
    """Income with unlimited loss: max loss is stored as 0, "2.0x credit received" is dropped, and 50 % stands there."""
    rows = written("income", 750, math.inf, is_credit=True)
    assert (rows.risk.max_capital_at_risk, rows.risk.stop_percent) == (None, 50)
    levels = read(short_call(), *rows.levels, risk=rows.risk)
    assert shown(levels.stop) == (1_500, TREE)
    assert levels.stop.note == "200 % of credit ₹750.00"
    assert names(
        levels.notes,
        "stop ₹1,500.00, 200 % of credit ₹750.00 as exit_conditions say it, not ₹375.00, 50 % of net premium",
    )


def test_trap_2_a_half_credit_that_was_stored_as_50_per_cent_is_the_same_and_no_news():
    rows = written("neutral", 750, math.inf, is_credit=True)
    levels = read(short_call(), *rows.levels, risk=rows.risk)
    assert shown(levels.stop) == (375, TREE)
    assert not names(levels.notes, "as exit_conditions say it")


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": (row("stop_loss", 40, "percentage"),)},
        {"rows": (row("stop_loss", 300),)},
        {"stop_percent": 60},
        {"max_capital_at_risk": 500_00},
        {"exit_conditions": {"stop_losses": {"primary": {"trigger": "2x debit paid"}}}},
    ],
)
def test_trap_2_a_number_that_somebody_else_wrote_comes_first_as_usual(changes):
    columns = {"stop_percent": 50, "exit_conditions": {"stop_losses": {"primary": {"trigger": "2.0x credit received"}}}}
    rows = changes.pop("rows", (row("stop_loss", 50, "percentage"),))
    assert read(short_call(), *rows, risk=risk(**(columns | changes))).stop.source is ROW


def test_trap_2_a_finite_loss_or_no_credit_leaves_the_row_as_it_is():
    columns = risk(stop_percent=50, exit_conditions={"stop_losses": {"primary": {"trigger": "2.0x credit received"}}})
    for of in (condor(), position(call(1, -75, 100, None)), position(call(1, -150, 100, 10), call(2, 75, 90, 25))):
        levels = read(of, row("stop_loss", 50, "percentage"), risk=columns)
        assert levels.stop is None or levels.stop.source is not TREE


def test_trap_2_without_a_row_the_tree_is_what_there_is():
    columns = risk(exit_conditions={"stop_losses": {"primary": {"trigger": "2.0x credit received"}}})
    assert shown(read(short_call(), risk=columns).stop) == (1_500, TREE)
    only_column = risk(
        stop_percent=50, exit_conditions={"stop_losses": {"primary": {"trigger": "2.0x credit received"}}}
    )
    assert shown(read(short_call(), risk=only_column).stop) == (1_500, TREE)


# What the nine strategies are made of: right, side, strike and premium of each leg. Their rows are of one unit.
PER_UNIT = {
    "Short Call": ("neutral", [("CE", -1, 24_200, 60)]),
    "Short Put": ("neutral", [("PE", -1, 23_800, 60)]),
    "Short Strangle": ("neutral", [("CE", -1, 24_200, 60), ("PE", -1, 23_800, 55)]),
    "Long Strangle": ("volatility", [("CE", 1, 24_200, 60), ("PE", 1, 23_800, 55)]),
    "Short Straddle": ("neutral", [("CE", -1, 24_000, 160), ("PE", -1, 24_000, 155)]),
    "Iron Butterfly": (
        "neutral", [("CE", -1, 24_000, 160), ("PE", -1, 24_000, 155), ("CE", 1, 24_300, 40), ("PE", 1, 23_700, 38)],
    ),
    "Jade Lizard": ("income", [("PE", -1, 23_800, 60), ("CE", -1, 24_200, 60), ("CE", 1, 24_250, 45)]),
    "Broken Wing Butterfly": ("neutral", [("CE", 1, 24_000, 160), ("CE", -2, 24_200, 80), ("CE", 1, 24_500, 20)]),
    "Put Ratio Spread": ("neutral", [("PE", 1, 24_000, 155), ("PE", -2, 23_700, 60)]),
}  # fmt: skip


def of_units(legs, units, name="Iron Condor"):
    makers = {"CE": call, "PE": put}
    made = [
        makers[right](number, side * units, strike, premium, lot=LOT)
        for number, (right, side, strike, premium) in enumerate(legs, start=1)
    ]
    return Position(1, name, "NIFTY", tuple(made))


def payoff_of_one(legs):
    """The largest gain and loss of one unit, over a grid of prices that holds every bend. Unlimited is inf."""

    def at(price):
        worth = {"CE": lambda strike: max(price - strike, 0), "PE": lambda strike: max(strike - price, 0)}
        return sum(side * (worth[right](strike) - premium) for right, side, strike, premium in legs)

    values = [at(price) for price in range(0, 60_000, 50)]
    slope = at(60_050) - at(60_000)
    return (math.inf if slope > 0 else max(values)), (math.inf if slope < 0 else -min(values))


@pytest.mark.parametrize("name", PER_UNIT)
@pytest.mark.parametrize("lots", [1, 4])
@pytest.mark.parametrize("stored_for", ["per unit", "per lot", "whole position"])
def test_trap_3_rupee_levels_are_rescaled_from_unit_lot_or_whole(name, lots, stored_for):
    category, legs = PER_UNIT[name]
    units = LOT * lots
    profit, loss = payoff_of_one(legs)
    factor = {"per unit": 1, "per lot": LOT, "whole position": units}[stored_for]
    is_credit = sum(side * premium for _, side, _, premium in legs) < 0
    rows = written(category, profit * factor, loss * factor, is_credit=is_credit)
    levels = read_levels(LevelInputs(of_units(legs, units, name), category_profile(name), rows.risk, rows.levels))
    share, stop_share, _ = {"neutral": (0.25, 0.5, 21), "volatility": (0.75, 0.5, 10), "income": (0.5, 2.0, 21)}[
        category
    ]
    if not math.isinf(profit):
        assert levels.target.amount == pytest.approx(profit * share * units * 100, rel=1e-3)
        assert levels.target.source is ROW
        assert [level.amount for level in levels.scaling] == pytest.approx(
            [profit * quarter * units * 25 for quarter in (1, 2, 3)], rel=1e-3
        )
        assert levels.trailing.distance == pytest.approx(profit * 0.1 * units * 100, rel=2e-2)
    if not math.isinf(loss) and stop_share < 1:
        assert levels.stop.amount == pytest.approx(loss * stop_share * units * 100, rel=1e-3)
        assert levels.stop.source is ROW
    if lots > 1:
        assert names(levels.notes, f"rupee levels read {stored_for}: stored max ")


@pytest.mark.parametrize("name", [*PER_UNIT, *(name.lower().replace(" ", "_") for name in PER_UNIT)])
def test_trap_3_where_nothing_can_be_compared_the_nine_are_assumed_per_unit_and_it_is_said(name):
    legs = PER_UNIT[name.replace("_", " ").title()][1]
    levels = read(of_units(legs, 2 * LOT, name), row("stop_loss", 10), row("profit_target", 9))
    assert (shown(levels.stop), shown(levels.target)) == ((10 * 2 * LOT, ROW), (9 * 2 * LOT, ROW))
    assert "rupee levels assumed per unit: nothing to compare with" in levels.notes
    other = read(of_units(legs, 2 * LOT, "Iron Condor"), row("stop_loss", 1_000))
    assert "rupee levels assumed per lot: nothing to compare with" in other.notes
    odd = read(of_units(legs, 2 * LOT, name), row("stop_loss", 10), risk=risk(max_capital_at_risk=77_77))
    assert shown(odd.stop) == (10 * 2 * LOT, ROW)


def test_trap_3_rows_without_a_risk_row_tell_their_basis_by_the_scaling_steps():
    """Trap 6 of the origin: a Short Call's risk row says nothing, its levels are of one unit."""
    rows = written("neutral", 60, math.inf, is_credit=True)
    bare = risk(stop_percent=50)
    levels = read_levels(
        LevelInputs(of_units(PER_UNIT["Short Call"][1], 150), category_profile("Short Call"), bare, rows.levels)
    )
    assert shown(levels.target) == (15 * 150, ROW)
    assert names(levels.notes, "rupee levels read per unit: stored max profit ₹60.00, own ₹9,000.00")


def test_trap_3_a_mismatch_is_reported_with_both_numbers():
    levels = read(spread(2), row("stop_loss", 100), risk=risk(max_capital_at_risk=999_00))
    assert names(
        levels.notes, "rupee levels assumed per lot: stored max loss ₹999.00 fits no reading of the own ₹450.00"
    )
    columns = risk(max_capital_at_risk=225_00, profit_target=3_50, profit_target_percent=50)
    levels = read(spread(2), row("stop_loss", 100), risk=columns)
    assert names(
        levels.notes,
        "rupee levels read per lot: stored max loss ₹225.00, own ₹450.00; but stored max profit ₹7.00 reads per unit against "
        "the own ₹1,050.00",
    )
    columns = risk(max_capital_at_risk=225_00, profit_target=400_00, profit_target_percent=50)
    levels = read(spread(2), row("stop_loss", 100), risk=columns)
    assert names(levels.notes, "; but stored max profit ₹800.00 fits no reading of the own ₹1,050.00")


@pytest.mark.parametrize("name", ["Long Call", "Long Straddle"])
def test_trap_4_unlimited_profit_makes_no_target_of_75_rupees(name):
    """The rows say ₹75, ₹50, ₹87.50 and 0; the column says ₹75 as well. The sentence says half of the debit."""
    category = {"Long Call": "directional", "Long Straddle": "volatility"}[name]
    rows = written(category, math.inf, 7_500)
    assert [each.value for each in rows.levels[:4]] == [75_00, 50_00, 87_50, None]
    levels = read_levels(LevelInputs(long_call(), category_profile(name), rows.risk, rows.levels))
    assert shown(levels.target) == (3_750, RISK)
    assert sum("not used: ₹75 stands for" in note for note in levels.notes) == 2
    assert [(x.amount, x.action, x.source) for x in levels.scaling] == [
        (3_750_00, Action.CLOSE_50, RISK),
        (7_500_00, Action.CLOSE_75, RISK),
    ]
    assert names(
        levels.notes, "scaling profit_target row 2 (scaling_level_1) at ₹50.00 (strategy_exit_levels) not used: ₹50.00"
    )
    assert names(levels.notes, "the rest is to be trailed, and no source says how far")


def test_trap_4_the_sentence_alone_is_read_by_the_lower_end_of_its_range():
    tree = {"profit_targets": {"primary": {"target": "50-100% of debit paid", "action": "Close position"}}}
    levels = read(long_call(), risk=risk(exit_conditions=tree))
    assert shown(levels.target) == (3_750, TREE)
    assert levels.target.note.endswith("(50 % of '50-100% of debit paid', where the range begins)")


def test_trap_5_without_rows_the_category_protects_and_says_so():
    levels = read(condor(), category=category_profile("Iron Condor"))
    assert (shown(levels.stop), shown(levels.target)) == ((1_500, DEFAULT), (1_125, DEFAULT))
    assert levels.dte.source is DEFAULT
    assert [note.split(":")[0] for note in levels.notes] == ["stop loss", "profit target", "DTE exit"]
    assert all("no usable row, the neutral default stands in" in note for note in levels.notes)


def test_trap_5_a_minimal_risk_row_is_hardly_more_than_none():
    columns = ("exit_conditions", "scaling_exits", "technical_stops", "greek_triggers", "adjustment_criteria")
    bare = dict.fromkeys(columns, "{}")
    levels = read(short_call(), risk=risk(stop_percent=50, profit_target_percent=50, time_stop_dte=7, **bare))
    assert (shown(levels.stop), shown(levels.target), levels.dte.days) == ((375, RISK), (375, RISK), 7)


@pytest.mark.parametrize("value", ["0", "0.00", None, "", 0.0])
@pytest.mark.parametrize(
    ("exit_type", "name", "trigger_type"),
    [
        ("stop_loss", "primary", "price"),
        ("stop_loss", "premium_trailing", "percentage"),
        ("stop_loss", "move_to_cost", "price"),
        ("stop_loss", "underlying_below", "price"),
        ("profit_target", "scaling_25", "price"),
        ("profit_target", "trailing", "percentage"),
        ("time_exit", "max_holding", "dte"),
        ("greek_trigger", "delta", "greek_value"),
    ],
)
def test_trap_6_zero_and_null_are_no_level(value, exit_type, name, trigger_type):
    stored = {"id": 1, "strategy_id": 1, "exit_type": exit_type, "level_name": name, "trigger_value": value}
    level, problem = read_level(stored | {"trigger_type": trigger_type, "action": "Whatever"})
    assert problem is None
    nothing, levels = read(), read(None, level)
    assert levels == nothing


@pytest.mark.parametrize(("category", "name"), [("directional", "Bull Call Spread"), ("neutral", "Iron Condor")])
def test_everything_the_builder_writes_for_a_plain_spread_is_read(category, name):
    """Four of the five kinds of notes are about its advice in words, which closes nothing."""
    of = condor(2) if category == "neutral" else spread(2)
    profit, loss = (4_500, 3_000) if category == "neutral" else (525, 225)
    rows = written(category, profit, loss)
    levels = read_levels(LevelInputs(of, category_profile(name), rows.risk, rows.levels))
    share, stop_share, days = (0.25, 0.5, 21) if category == "neutral" else (0.5, 0.5, 7)
    assert (shown(levels.stop), shown(levels.target)) == ((loss * stop_share * 2, ROW), (profit * share * 2, ROW))
    assert levels.target_action is (Action.CLOSE_POSITION if category == "neutral" else Action.CLOSE_50)
    assert (levels.dte.days, levels.theta.days, levels.losing_time.days) == (days, days, days)
    assert (levels.losing_time.source, levels.theta.source) == (TREE, TREE)
    assert [level.action for level in levels.scaling] == [Action.CLOSE_25, Action.CLOSE_50, Action.CLOSE_75]
    assert all(low.amount < high.amount for low, high in pairwise(levels.scaling))
    assert (levels.trailing.arm, levels.trailing.distance) == (levels.target.amount, round(profit * 2 * 10))
    assert [(greek.kind, greek.threshold, greek.action) for greek in levels.greeks] == [
        ("gamma", 2, Action.ADJUST), ("iv_up", 50, Action.ADJUST),
    ]  # fmt: skip
    unread = (
        "adjustment_triggers, stop_losses.technical.trend_reversal, time_exits.time_decay_levels, greek_triggers.theta"
    )
    assert levels.notes == (
        f"exit_conditions: not read: {unread}",
        f"rupee levels read per lot: stored max loss ₹{loss:,.2f}, own ₹{loss * 2:,.2f}",
    )
