from dataclasses import replace
from datetime import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.override_text import parse_override
from core.exits.read_levels import LevelSettings
from core.exits.stored_basis import Basis, basis_of
from core.model.exit_levels import Action, ClockLevel, DaysLevel, LevelSource
from core.model.position import Product
from core.model.profile import Profile
from strategies.profiles import CATEGORY_PROFILES, NAMED_PROFILES, category_profile
from tests.unit.exits.builders import ROW, call, leg, position, put, stock
from tests.unit.exits.level_builders import long_call, read, risk, row, short_call, shown, spread

RISK = LevelSource.RISK_COLUMN
DEFAULT = LevelSource.CATEGORY_DEFAULT
OPERATOR = LevelSource.OPERATOR


@pytest.mark.parametrize(
    ("name", "of", "target", "stop", "dte"),
    [
        ("directional", spread(), 262.50, 112.50, 7),
        ("neutral", spread(), 131.25, 112.50, 21),
        ("advanced", spread(), 131.25, 112.50, 21),
        ("directional", long_call(), 3_750, 3_750, 7),
        ("volatility", position(call(1, 75, 100, 5), put(2, 75, 100, 5)), 562.50, 375, 10),
        ("income", short_call(), 375, 1_500, 21),
        ("income", position(stock(1, 75, 100), call(2, -75, 110, 4)), 150, 600, 21),
    ],
)
def test_category_defaults_stand_in_and_are_named(name, of, target, stop, dte):
    category = {str(category): profile for category, profile in CATEGORY_PROFILES.items()}[name]
    levels = read(of, category=category)
    assert shown(levels.target) == (target, DEFAULT)
    assert shown(levels.stop) == (stop, DEFAULT)
    assert (levels.dte.days, levels.dte.source) == (dte, DEFAULT)
    assert (levels.trailing, levels.theta, levels.square_off) == (None, None, None)
    assert [note.split(":")[0] for note in levels.notes] == ["stop loss", "profit target", "DTE exit"]
    assert levels.target_action is Action.CLOSE_POSITION


def test_credit_falls_back_to_the_premium_where_the_options_are_no_credit():
    assert shown(read(long_call(), category=category_profile("Covered Call")).target) == (3_750, DEFAULT)


def test_named_sets_override_the_category_value_by_value():
    aggressive = read(profile=NAMED_PROFILES["aggressive_profits"])
    assert shown(aggressive.target) == (157.50, LevelSource.PROFILE)
    assert shown(aggressive.stop) == (112.50, DEFAULT)
    assert (aggressive.dte.days, aggressive.dte.source) == (10, LevelSource.PROFILE)
    assert (aggressive.trailing.arm, aggressive.trailing.distance) == (7_875, 5_250)
    conservative = read(profile=NAMED_PROFILES["conservative_losses"])
    assert shown(conservative.stop) == (67.50, LevelSource.PROFILE)
    assert conservative.dte.days == 14
    assert [(level.amount, level.action) for level in conservative.scaling] == [
        (13_125, Action.CLOSE_25),
        (26_250, Action.CLOSE_50),
        (39_375, Action.CLOSE_75),
    ]


def test_rows_win_over_columns_and_an_operator_over_both():
    rows = (row("stop_loss", 100), row("profit_target", 200), row("time_exit", 3, "dte"))
    columns = risk(stop_percent=40, profit_target=300_00, time_stop_dte=5)
    levels = read(None, *rows, risk=columns)
    assert (shown(levels.stop), shown(levels.target)) == ((100, ROW), (200, ROW))
    assert (levels.dte.days, levels.dte.source) == (3, ROW)
    levels = read(None, risk=columns)
    assert (shown(levels.stop), shown(levels.target)) == ((90, RISK), (300, RISK))
    assert (levels.dte.days, levels.dte.source) == (5, RISK)
    own = parse_override("stop=1; target=2; trail=4@3; dte=1; theta=2; square_off=09:00")
    levels = read(None, *rows, risk=columns, override=own)
    assert (shown(levels.stop), shown(levels.target)) == ((1, OPERATOR), (2, OPERATOR))
    assert (levels.trailing.arm, levels.trailing.distance, levels.trailing.source) == (300, 400, OPERATOR)
    assert (levels.dte, levels.theta) == (DaysLevel(1, OPERATOR), DaysLevel(2, OPERATOR))
    assert levels.square_off == ClockLevel(time(9), OPERATOR)
    assert (levels.max_profit, levels.max_loss) == (52_500, 22_500)


def test_a_target_column_in_per_cent_is_used_without_the_amount():
    assert shown(read(risk=risk(profit_target_percent=40)).target) == (210, RISK)


class TestPercentages:
    def test_are_of_the_payoff_where_it_is_finite(self):
        levels = read(None, row("stop_loss", 40, "percentage"), row("profit_target", 60, "percentage"))
        assert (shown(levels.stop), shown(levels.target)) == ((90, ROW), (315, ROW))
        assert levels.stop.note == "40 % of max loss ₹225.00"

    def test_are_of_the_premium_where_it_is_unlimited(self):
        stop = read(short_call(), row("stop_loss", 50, "percentage")).stop
        assert (shown(stop), stop.note) == ((375, ROW), "50 % of net premium ₹750.00")
        assert shown(read(long_call(), row("profit_target", 50, "percentage")).target) == (3_750, ROW)

    def test_of_an_unknown_amount_are_named_and_nothing_is_invented(self):
        levels = read(position(call(1, 75, 100, None)), row("stop_loss", 50, "percentage"))
        assert (levels.stop, levels.target, levels.max_loss) == (None, None, None)
        assert levels.dte.days == 7
        assert any("no entry price" in note for note in levels.notes)
        assert "stop_loss row 1: 50 % of an amount that is not known; not used" in levels.notes
        assert "no stop loss is in force: no source has a usable level" in levels.notes


class TestRupeeBasis:
    @pytest.mark.parametrize(
        ("stored_loss", "name", "factor"),
        [(225_00, "per lot", 3), (3_00, "per unit", 225), (675_00, "whole position", 1), (215_00, "per lot", 3)],
    )
    def test_is_found_by_the_max_loss(self, stored_loss, name, factor):
        levels = read(spread(3), row("stop_loss", 2), risk=risk(max_capital_at_risk=stored_loss))
        assert levels.stop.amount == 200 * factor
        assert levels.stop.note == f"₹2.00 {name}"
        assert any(f"rupee levels read {name}: stored max loss" in note for note in levels.notes)

    def test_is_found_by_the_max_profit_that_a_target_and_its_per_cent_give(self):
        columns = risk(profit_target=3_50, profit_target_percent=50)
        assert shown(read(spread(2), risk=columns).target) == (525, RISK)

    def test_is_assumed_per_lot_and_reported_when_nothing_agrees(self):
        levels = read(spread(2), row("stop_loss", 100), risk=risk(max_capital_at_risk=999_00))
        assert levels.stop.amount == 20_000
        assert any(
            note.startswith("rupee levels assumed per lot: stored max loss ₹999.00 fits") for note in levels.notes
        )
        levels = read(spread(2), row("stop_loss", 100))
        assert "rupee levels assumed per lot: nothing to compare with" in levels.notes

    def test_sets_of_a_ratio_are_counted_by_the_common_divisor(self):
        ratio = position(call(1, 150, 100, 5), call(2, -300, 110, 2))
        assert basis_of(ratio, []).factor == 2
        covered = position(stock(1, 150, 100), call(2, -150, 110, 4))
        assert basis_of(covered, []).factor == 2
        assert basis_of(position(leg(1, 100, 5)), []).factor == Fraction(4, 3)

    @pytest.mark.parametrize(
        ("of", "lots", "units"),
        [
            (position(call(1, -75, 100, 5), call(2, 65, 100, 8, lot=65)), 1, 75),
            (position(call(1, -225, 100, 5), call(2, 195, 100, 8, lot=65)), 3, 225),
            (position(call(1, -75, 100, 5), call(2, 130, 110, 2, lot=65)), 1, 75),
            (position(stock(1, 300, 100), call(2, -250, 110, 4, lot=250)), 1, 250),
            (position(stock(1, 500, 100), call(2, -500, 110, 4, lot=250)), 2, 500),
            # The same contract in two rows.
            (position(call(1, -75, 100, 5), replace(call(1, -150, 100, 6), row_id=9)), 3, 225),
            (position(call(1, -75, 100, 5), replace(call(1, 75, 100, 6), row_id=9)), 1, 75),
        ],
    )
    def test_legs_of_unequal_lots_are_counted_each_by_its_own(self, of, lots, units):
        levels = read(of, row("stop_loss", 2), row("stop_loss", 2, level_id=2))
        assert basis_of(of, []).factor == lots
        assert "rupee levels assumed per lot: nothing to compare with" in levels.notes
        assert basis_of(of, [("max loss", 1, units)]).factor == units

    def test_what_is_no_whole_number_of_lots_is_assumed_and_said(self):
        of = position(call(1, 75, 100, 5), call(2, -40, 110, 2))
        said = "; 40 of NIFTY-2 are no whole lots of 75: 0.06667 lots are assumed"
        assert basis_of(of, []) == Basis(
            "per lot", 1, 15, f"rupee levels assumed per lot: nothing to compare with{said}"
        )
        read_so = "rupee levels read per unit: stored max loss ₹2.00, own ₹10.00"
        found = basis_of(of, [("max loss", 200, 1_000)])
        assert (found.factor, found.note) == (5, f"{read_so}{said}")
        whole = basis_of(of, [("max loss", 1_000, 1_000)])
        assert whole.note == "rupee levels read whole position: stored max loss ₹10.00, own ₹10.00"

    @pytest.mark.parametrize(("stored", "is_found"), [(427_50, True), (427_49, False), (472_50, True), (472_51, False)])
    def test_five_per_cent_of_the_own_amount_agree_and_not_a_paisa_more(self, stored, is_found):
        """Two sets of ₹225: ₹450 for the whole position, which no other reading of these amounts comes near."""
        basis = basis_of(spread(2), [("max loss", stored, 450_00)])
        assert (basis.name == "whole position") is is_found

    @given(st.integers(1, 10**6), st.integers(1, 500), st.one_of(st.integers(0, 10**12), st.floats(0, 1e12)))
    def test_amounts_are_rescaled_to_the_nearest_paisa_half_to_even(self, units, per, stored):
        assert Basis("x", units, per).rescale(stored) == round(Fraction(stored) * Fraction(units, per))

    @pytest.mark.parametrize(("stored", "whole"), [(1, 0), (3, 2), (5, 2), (7, 4), (2.5, 1)])
    def test_a_half_goes_to_the_even_paisa(self, stored, whole):
        assert Basis("x", 1, 2).rescale(stored) == whole

    def test_is_found_by_the_steps_of_the_scaling_column(self):
        steps = {f"level_{n}": {"profit": 1.75 * n, "action": f"Close {25 * n}%"} for n in (1, 2, 3)}
        levels = read(spread(2), row("stop_loss", 1), risk=risk(scaling_exits=steps))
        assert shown(levels.stop) == (150, ROW)
        assert any("rupee levels read per unit: stored max profit ₹7.00" in note for note in levels.notes)

    def test_a_stored_amount_is_a_magnitude(self):
        assert shown(read(None, row("stop_loss", -100)).stop) == (100, ROW)


class TestTraps:
    def test_a_target_beyond_the_max_profit_gives_way_to_the_default(self):
        levels = read(None, row("profit_target", 551.26))
        assert shown(levels.target) == (262.50, DEFAULT)
        beyond = "target ₹551.26 (strategy_exit_levels) is beyond the max profit ₹525.00: not used"
        assert beyond in levels.notes
        levels = read(None, row("profit_target", 525))
        assert shown(levels.target) == (525, ROW)
        assert not any("beyond" in note for note in levels.notes)

    @pytest.mark.parametrize("planned", [525.01, 540, 551.25])
    def test_fills_worse_than_the_plan_make_a_target_of_the_whole_the_own_whole_and_say_so(self, planned):
        levels = read(None, row("profit_target", planned))
        assert shown(levels.target) == (525, ROW)
        note = "is beyond the max profit ₹525.00 by no more than 5 %: read as the whole of it, which is reached at expiry only"
        assert f"target ₹{planned:.2f} (strategy_exit_levels) {note}" in levels.notes

    @pytest.mark.parametrize("planned", [225.01, 236.25])
    def test_fills_worse_than_the_plan_make_a_stop_of_the_whole_the_own_whole_and_say_so(self, planned):
        levels = read(None, row("stop_loss", planned))
        assert shown(levels.stop) == (225, ROW)
        note = f"stop ₹{planned:.2f} (strategy_exit_levels) is beyond the max loss ₹225.00 by no more than 5 %"
        assert f"{note}: read as the whole of it" in levels.notes

    @pytest.mark.parametrize("value", [75, 50, 374])
    def test_a_nonsense_target_on_unlimited_profit_gives_way_to_the_default(self, value):
        levels = read(long_call(), row("profit_target", value))
        assert shown(levels.target) == (3_750, DEFAULT)
        assert any("not used" in note for note in levels.notes)

    def test_75_rupees_are_no_target_on_unlimited_profit_however_small_the_premium(self):
        assert shown(read(position(call(1, 75, 100, 1)), row("profit_target", 75)).target) == (37.50, DEFAULT)

    def test_a_sensible_target_on_unlimited_profit_is_used(self):
        assert shown(read(long_call(), row("profit_target", 375)).target) == (375, ROW)
        assert shown(read(long_call(), row("profit_target", 1, "percentage")).target) == (75, ROW)

    def test_a_target_is_used_as_it_is_while_the_payoff_or_premium_is_unknown(self):
        unknown = position(call(1, 75, 100, None))
        assert shown(read(unknown, row("profit_target", 75)).target) == (75, ROW)
        free = position(call(1, 75, 100, 5), call(2, -37, 110, 375 / 37))
        assert free.net_premium == 0 or read(free, row("profit_target", 80)).target is not None

    def test_a_target_that_no_premium_can_judge_is_used(self):
        free = position(call(1, 150, 100, 5), call(2, -75, 110, 10))
        assert free.net_premium == 0
        assert shown(read(free, row("profit_target", 80)).target) == (80, ROW)

    def test_a_stop_beyond_the_max_loss_gives_way_and_if_none_is_better_says_so(self):
        levels = read(None, row("stop_loss", 236.26))
        assert shown(levels.stop) == (112.50, DEFAULT)
        assert "stop ₹236.26 (strategy_exit_levels) is beyond the max loss ₹225.00: not used" in levels.notes
        levels = read(None, category=Profile("x", stop_percent=200))
        assert shown(levels.stop) == (450, DEFAULT)
        assert "no source has a stop within the max loss: ₹450.00 stays, and cannot fire" in levels.notes

    def test_zero_and_null_are_no_level(self):
        rows = (row("stop_loss", 0), row("profit_target", None), row("time_exit", 0, "dte", level_name="theta"))
        levels = read(None, *rows)
        assert (levels.stop.source, levels.target.source, levels.theta) == (DEFAULT, DEFAULT, None)
        assert shown(read(None, row("stop_loss", 0.001)).stop)[1] is DEFAULT

    def test_the_primary_stop_comes_before_the_emergency_stop(self):
        rows = (
            row("stop_loss", 100, "percentage", level_name="emergency", level_id=1),
            row("stop_loss", 40, "percentage", level_id=2),
        )
        assert shown(read(None, *rows).stop) == (90, ROW)
        assert shown(read(None, rows[0]).stop) == (225, ROW)

    def test_the_target_takes_its_rows_action_and_names_one_that_is_not_clear(self):
        assert read(None, row("profit_target", 200, action="Close 50%")).target_action is Action.CLOSE_50
        levels = read(None, row("profit_target", 200, action="Close 40%"))
        assert levels.target_action is Action.CLOSE_POSITION
        assert any("'Close 40%' is not clear" in note for note in levels.notes)

    def test_a_target_that_closes_nothing_says_so(self):
        levels = read(None, row("profit_target", 200, action="Adjust"))
        assert levels.target_action is Action.ADJUST
        assert any("ADJUST closes nothing" in note for note in levels.notes)

    @pytest.mark.parametrize(
        ("odd", "why"),
        [
            (row("hedge", 100), "no rule for this kind of row"),
            (row("profit_target", 100, level_name="level_1"), "expected a share of 25, 50 or 75 %"),
            (row("greek_trigger", 0.5, "greek_value"), "expected a level name of delta, gamma"),
            (row("time_exit", 50, "percentage"), "not a number of days"),
            (row("time_exit", 0.5, "dte"), "not a number of days"),
            (row("stop_loss", 0.5, "greek_value"), "trigger type 'greek_value' is no P&L level"),
        ],
    )
    def test_a_row_that_is_not_used_is_named(self, odd, why):
        levels = read(None, odd)
        assert (levels.stop.source, levels.target.source, levels.dte.source) == (DEFAULT, DEFAULT, DEFAULT)
        assert any(why in note for note in levels.notes)

    def test_what_of_the_condition_tree_is_not_read_is_named_in_one_note(self):
        tree = '{"specific_conditions": {"wing_test": "Adjust if price tests either wing"}, "time_exits": {"primary_dte": 7}}'
        assert "exit_conditions: not read: specific_conditions" in read(risk=risk(exit_conditions=tree)).notes


class TestTrailing:
    @pytest.mark.parametrize(
        ("of", "rows", "columns", "expected"),
        [
            (None, [row("profit_target", 200, level_name="trailing")], {}, (200, 52.50, ROW)),
            (None, [row("stop_loss", 20, "percentage", level_name="trailing")], {}, (105, 52.50, ROW)),
            (None, [row("profit_target", 200, level_name="trailing")], {"trailing_distance": 30_00}, (200, 30, ROW)),
            (spread(2), [], {"trailing_activation": 100_00, "trailing_distance": 30_00}, (200, 60, RISK)),
            (long_call(), [], {"trailing_activation": 900_00}, (900, 750, RISK)),
            (
                None,
                [row("profit_target", 5, "dte", level_name="trailing")],
                {"trailing_activation": 9_00},
                (9, 52.5, RISK),
            ),
        ],
    )
    def test_arm_and_distance(self, of, rows, columns, expected):
        found = read(of, *rows, risk=risk(**columns)).trailing
        assert (found.arm / 100, found.distance / 100, found.source) == expected

    def test_a_distance_without_an_activation_trails_from_entry(self):
        found = read(risk=risk(trailing_distance=30_00)).trailing
        assert found is not None
        assert (found.arm, found.source) == (0, RISK)
        assert found.note.startswith("arms at entry: no activation is stored")

    def test_an_unknown_distance_is_named(self):
        levels = read(position(call(1, 75, 100, None)), row("profit_target", 200, level_name="trailing"))
        assert levels.trailing is None
        assert "trailing stop not in force: its distance is not known" in levels.notes

    def test_a_profile_whose_amounts_are_unknown_gives_none(self):
        unknown = position(call(1, 75, 100, None))
        assert read(unknown, profile=NAMED_PROFILES["aggressive_profits"]).trailing is None


def test_theta_comes_from_a_row_named_so_or_a_profile():
    levels = read(None, row("time_exit", 4, "dte", level_name="theta_exit"), row("time_exit", 9, "dte", level_id=2))
    assert (levels.theta.days, levels.dte.days) == (4, 9)
    assert read(category=Profile("own", theta_days=6)).theta.days == 6


def test_square_off_comes_from_a_profile_or_the_earliest_setting_of_the_products_held():
    settings = {Product.INTRADAY: time(15, 10), Product.MARGIN: time(15, 20), Product.CNC: time(9, 20)}
    both = position(call(1, 75, 100, 5), call(2, 75, 110, 5, product=Product.INTRADAY))
    found = read(both, settings=LevelSettings(square_off=settings)).square_off
    assert found == ClockLevel(time(15, 10), LevelSource.SETTING, "for INTRADAY")
    assert read(both, settings=LevelSettings(square_off={Product.CNC: time(9, 20)})).square_off is None
    own = read(both, settings=LevelSettings(square_off=settings), profile=Profile("own", square_off=time(14)))
    assert own.square_off.at == time(14)


def test_a_profile_without_days_leaves_none_and_says_so():
    levels = read(category=Profile("bare"))
    assert (levels.dte, levels.stop, levels.target) == (None, None, None)
    assert len(levels.notes) == 3


def test_target_columns_beyond_the_max_profit_give_way_one_after_the_other():
    levels = read(risk=risk(profit_target=600_00, profit_target_percent=110))
    assert shown(levels.target) == (262.50, DEFAULT)
    assert sum("beyond the max profit" in note for note in levels.notes) == 2
