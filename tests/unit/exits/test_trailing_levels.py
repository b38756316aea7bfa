"""Trailing stop, premium trailing, move to cost and lock profit, from every source that can ask for them."""

import pytest

from core.exits.override_text import parse_override
from core.exits.read_levels import LevelSettings
from core.model.exit_levels import AmountLevel, LevelSource
from core.model.profile import Profile
from core.model.special_levels import LockStep
from tests.unit.exits.builders import ROW, call, position
from tests.unit.exits.level_builders import long_call, names, read, risk, row, short_call, spread

RISK, TREE, PROFILE = LevelSource.RISK_COLUMN, LevelSource.CONDITIONS, LevelSource.PROFILE
OPERATOR = LevelSource.OPERATOR
UNKNOWN = position(call(1, 75, 100, None))
TREE_TRAIL = {"profit_targets": {"trailing": {"activate_at": 150, "trail_by": 40}}}


def arm(value, trigger_type="price", **other):
    return row("profit_target", value, trigger_type, level_name="trailing", **other)


def trail(levels):
    found = levels.trailing
    return None if found is None else (found.arm / 100, found.distance / 100, found.source, found.percent_of_peak)


class TestTrailing:
    def test_the_tree_arms_and_trails(self):
        assert trail(read(risk=risk(exit_conditions=TREE_TRAIL))) == (150, 40, TREE, None)
        only_arm = {"profit_targets": {"trailing": {"activate_at": 150}}}
        assert trail(read(risk=risk(exit_conditions=only_arm))) == (150, 52.50, TREE, None)

    def test_the_distance_of_the_tree_serves_a_row_that_names_none(self):
        assert trail(read(None, arm(200), risk=risk(exit_conditions=TREE_TRAIL))) == (200, 40, ROW, None)
        columns = risk(exit_conditions=TREE_TRAIL, trailing_distance=30_00)
        assert trail(read(None, arm(200), risk=columns)) == (200, 30, ROW, None)

    def test_one_that_would_never_arm_gives_way_and_is_named(self):
        levels = read(None, arm(552), risk=risk(exit_conditions=TREE_TRAIL))
        assert trail(levels) == (150, 40, TREE, None)
        beyond = "trailing stop: its arming level ₹552.00 (strategy_exit_levels) is beyond the max profit ₹525.00"
        assert f"{beyond}: not used" in levels.notes
        assert trail(read(None, arm(525))) == (525, 52.50, ROW, None)
        assert read(None, arm(552)).trailing is None

    def test_one_that_arms_a_little_beyond_arms_at_the_whole_and_is_named(self):
        levels = read(None, arm(551.25), risk=risk(exit_conditions=TREE_TRAIL))
        assert trail(levels) == (525, 40, ROW, None)
        assert names(levels.notes, "arming level ₹551.25 (strategy_exit_levels) is beyond the max profit ₹525.00 by no")

    def test_a_distance_of_the_rows_is_taken_as_it_is(self):
        levels = read(None, arm(200), risk=risk(trailing_distance=700_00))
        assert trail(levels) == (200, 700, ROW, None)
        assert not names(levels.notes, "its distance")

    @pytest.mark.parametrize(
        ("text", "beyond"),
        [("trail=50@600", "arming level ₹600.00"), ("trail=700@600", "distance ₹700.00"), ("trail=10%peak@600", None)],
    )
    def test_the_operators_beyond_the_max_are_named(self, text, beyond):
        notes = read(None, override=parse_override(text)).notes
        kept = "(operator's override) is beyond the max profit ₹525.00: kept as it is written"
        assert beyond is None or f"trailing stop: its {beyond} {kept}, it may never be reached" in notes
        assert sum(kept in note for note in notes) == 1 + (beyond == "distance ₹700.00")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("trail=50@200", (200, 50, OPERATOR, None)),
            ("trail=50", (0, 50, OPERATOR, None)),
            ("trail=10%@40%", (210, 52.50, OPERATOR, None)),
            ("trail=20%peak@200", (200, 52.50, OPERATOR, 20)),
            ("trail=50@600", (600, 50, OPERATOR, None)),
            ("trail=700@600", (600, 700, OPERATOR, None)),
        ],
    )
    def test_an_override_comes_first(self, text, expected):
        override = parse_override(text)
        assert trail(read(None, override=override, risk=risk(exit_conditions=TREE_TRAIL))) == expected

    def test_an_override_of_unknown_amounts_is_named(self):
        for text in ("trail=10%", "trail=50@10%"):
            levels = read(UNKNOWN, override=parse_override(text))
            assert levels.trailing is None
            assert names(
                levels.notes, "trailing stop of the operator's override not in force: its amounts are not known"
            )

    def test_it_can_be_switched_off(self):
        levels = read(None, arm(200), override=parse_override("none=trail"))
        assert levels.trailing is None
        assert names(levels.notes, "trailing stop: switched off by the operator's override")

    def test_a_profile_may_trail_by_a_share_of_the_peak(self):
        levels = read(profile=Profile("own", trailing_arm_percent=20, trailing_peak_percent=30))
        assert trail(levels) == (105, 52.50, PROFILE, 30)
        assert levels.trailing.note == "arms at 20 % of max profit ₹525.00, distance 30 % of the peak"
        assert levels.trailing.distance_at(200_00) == 60_00

    def test_the_settings_share_is_the_distance_that_nobody_names(self):
        assert trail(read(None, arm(200), settings=LevelSettings(trailing_percent=20))) == (200, 105, ROW, None)

    def test_an_action_that_asks_for_less_is_named(self):
        levels = read(None, arm(200, action="Close 50%"))
        assert names(levels.notes, "action 'Close 50%' is not read: the trailing stop closes the whole position")
        assert not names(read(None, arm(200, action="Close position")).notes, "is not read")


class TestPremiumTrailing:
    @pytest.mark.parametrize(("value", "trigger_type", "amount"), [(20, "percentage", 1_500), (400, "price", 400)])
    def test_a_row(self, value, trigger_type, amount):
        levels = read(long_call(), row("stop_loss", value, trigger_type, level_name="premium_trailing"))
        assert (levels.premium_trailing.amount, levels.premium_trailing.source) == (amount * 100, ROW)
        assert levels.stop.source is LevelSource.CATEGORY_DEFAULT
        assert levels.trailing is None

    def test_of_a_spread_it_is_of_the_premium_and_not_of_the_payoff(self):
        levels = read(spread(2), row("profit_target", 20, "percentage", level_name="Premium_Trailing"))
        assert levels.premium_trailing == AmountLevel(90_00, ROW, "20 % of net premium ₹450.00")

    def test_sources_in_order(self):
        profile = Profile("own", premium_trailing_percent=30)
        asked = row("stop_loss", 20, "percentage", level_name="premium_trailing")
        assert read(long_call(), profile=profile).premium_trailing.amount == 2_250_00
        assert read(long_call(), asked, profile=profile).premium_trailing.amount == 1_500_00
        override = parse_override("premium_trail=10%")
        assert read(long_call(), asked, profile=profile, override=override).premium_trailing.amount == 750_00
        off = read(long_call(), asked, override=parse_override("none=premium_trail"))
        assert off.premium_trailing is None
        assert names(off.notes, "premium trailing: switched off")
        assert read(long_call()).premium_trailing is None

    def test_what_cannot_be_used_is_named(self):
        odd = row("stop_loss", 2, "dte", level_name="premium_trailing")
        assert names(read(None, odd).notes, "stop_loss row 1: trigger type 'dte' is no P&L level; not used")
        unknown = read(UNKNOWN, row("stop_loss", 20, "percentage", level_name="premium_trailing"))
        assert names(
            unknown.notes, "premium trailing (strategy_exit_levels) not in force: the net premium is not known"
        )
        part = read(long_call(), row("stop_loss", 20, "percentage", level_name="premium_trailing", action="Close 25%"))
        assert names(part.notes, "premium trailing closes the whole position")


def lock(value, name, trigger_type="price", **other):
    return row("stop_loss", value, trigger_type, level_name=name, **other)


def steps(levels):
    return None if levels.lock is None else [(x.trigger / 100, x.floor / 100) for x in levels.lock.steps]


class TestLocks:
    def test_rows_in_rupees_and_per_cent(self):
        levels = read(
            spread(2),
            lock(100, "move_to_cost", level_id=1),
            lock(200, "lock_profit_120.50", level_id=2),
            risk=risk(max_capital_at_risk=225_00),
        )
        assert steps(levels) == [(200, 0), (400, 241)]
        assert (levels.lock.source, levels.lock.note) == (ROW, "₹200.00 → ₹0.00; ₹400.00 → ₹241.00")
        levels = read(None, lock(40, "lock_profit_20", "percentage"))
        assert steps(levels) == [(210, 105)]

    def test_a_name_of_this_kind_that_is_spelled_otherwise_is_no_stop(self):
        for name in ("lock_profit", "lock_profit_x", "move_to_costs", "premium_trail", "underlying_below_close_m"):
            levels = read(None, lock(100, name))
            assert (levels.lock, levels.stop.source) == (None, LevelSource.CATEGORY_DEFAULT)
            assert names(
                levels.notes, f"stop_loss row 1 ({name}) not used: a level name of this kind is spelled otherwise"
            )

    @pytest.mark.parametrize(
        ("rows", "kept", "why"),
        [
            ([lock(552, "move_to_cost")], None, "lock: its trigger ₹552.00 (strategy_exit_levels) is beyond the max"),
            (
                [lock(551, "lock_profit_100")],
                [(525, 100)],
                "its trigger ₹551.00 (strategy_exit_levels) is beyond the max",
            ),
            ([lock(551, "lock_profit_530")], None, "lock ₹525.00 → ₹530.00 (strategy_exit_levels) not used"),
            ([lock(100, "lock_profit_100")], None, "expected a floor below the trigger"),
            ([lock(100, "lock_profit_150")], None, "expected a floor below the trigger"),
            (
                [lock(100, "move_to_cost"), lock(200, "move_to_cost", level_id=2)],
                [(100, 0)],
                "a higher floor than the step before",
            ),
            (
                [lock(100, "lock_profit_50"), lock(200, "lock_profit_20", level_id=2)],
                [(100, 50)],
                "a higher floor than the step before",
            ),
            (
                [lock(100, "lock_profit_50"), lock(100, "lock_profit_60", level_id=2)],
                [(100, 50)],
                "a higher floor than the step before",
            ),
            ([lock(5, "move_to_cost", "dte")], None, "trigger type 'dte' is no P&L level"),
        ],
    )
    def test_a_step_that_cannot_be_meant_is_named_and_the_others_stay(self, rows, kept, why):
        levels = read(None, *rows)
        assert steps(levels) == kept
        assert names(levels.notes, why)

    def test_a_trigger_at_the_max_profit_is_one(self):
        assert steps(read(None, lock(525, "move_to_cost"))) == [(525, 0)]

    def test_a_share_of_what_is_not_known_is_named(self):
        levels = read(UNKNOWN, lock(40, "lock_profit_20", "percentage"))
        assert names(
            levels.notes, "lock (strategy_exit_levels) not used: it is 0, or a share of an amount that is not known"
        )

    def test_sources_in_order(self):
        profile = Profile("own", lock=((20, 0), (40, 20)))
        assert steps(read(profile=profile)) == [(105, 0), (210, 105)]
        assert steps(read(None, lock(100, "move_to_cost"), profile=profile)) == [(100, 0)]
        override = parse_override("cost_at=50; lock=300@200")
        levels = read(None, lock(100, "move_to_cost"), profile=profile, override=override)
        assert (steps(levels), levels.lock.source) == ([(50, 0), (300, 200)], OPERATOR)
        off = read(None, lock(100, "move_to_cost"), override=parse_override("none=lock"))
        assert off.lock is None
        assert names(off.notes, "move to cost and lock profit: switched off")
        assert read().lock is None

    def test_steps_of_two_units_are_judged_as_amounts(self):
        override = parse_override("cost_at=300; lock=40%@10%")
        levels = read(override=override)
        assert levels.lock.steps == (LockStep(210_00, 52_50),)
        assert names(levels.notes, "lock ₹300.00 → ₹0.00 (operator's override) not used")

    def test_an_action_that_asks_for_less_is_named(self):
        levels = read(short_call(), lock(100, "move_to_cost", action="Close 50%"))
        assert names(levels.notes, "a lock closes the whole position")
