"""The operator's override in force: it comes first, it can switch off, and a stop only by saying so twice."""

import pytest

from core.exits.override_text import parse_override
from core.exits.read_levels import LevelSettings
from core.model.exit_levels import Action, LevelSource
from core.model.instrument import Right
from core.model.profile import Profile
from core.model.special_levels import AdjustmentLevel, LockStep
from strategies.profiles import NAMED_PROFILES
from tests.unit.exits.builders import ROW, call, leg, position
from tests.unit.exits.level_builders import condor, long_call, names, read, risk, row, short_call, shown, spread

OPERATOR, DEFAULT = LevelSource.OPERATOR, LevelSource.CATEGORY_DEFAULT


@pytest.mark.parametrize(
    ("of", "text", "stop"),
    [
        (spread(3), "stop=100", 100),
        (spread(3), "stop=40%", 270),
        (spread(3), "stop=40%premium", 270),
        (short_call(), "stop=40%", 300),
        (short_call(), "stop=2x", 1_500),
        (condor(), "stop=0.5x", 2_250),
        (condor(), "stop=50%", 1_500),
    ],
)
def test_rupees_are_of_the_position_and_shares_of_what_they_name(of, text, stop):
    levels = read(of, row("stop_loss", 7), override=parse_override(text))
    assert shown(levels.stop) == (stop, OPERATOR)
    assert shown(read(of, row("profit_target", 7), override=parse_override("target=100")).target) == (100, OPERATOR)


def test_an_override_beyond_the_own_max_is_kept_as_it_is_written_and_named():
    rows = (row("stop_loss", 100), row("profit_target", 100))
    levels = read(None, *rows, override=parse_override("stop=226; target=526; lock=9000@100"))
    assert (shown(levels.stop), shown(levels.target)) == ((226, OPERATOR), (526, OPERATOR))
    assert [(step.trigger, step.floor) for step in levels.lock.steps] == [(9_000_00, 100_00)]
    kept = "kept as it is written, it may never be reached"
    assert f"stop ₹226.00 (operator's override) is beyond the max loss ₹225.00: {kept}" in levels.notes
    assert f"target ₹526.00 (operator's override) is beyond the max profit ₹525.00: {kept}" in levels.notes
    assert f"lock: its trigger ₹9,000.00 (operator's override) is beyond the max profit ₹525.00: {kept}" in levels.notes


def test_a_target_of_the_operator_closes_the_position_whatever_the_rows_say():
    levels = read(None, row("profit_target", 100, action="Close 25%"), override=parse_override("target=200"))
    assert (shown(levels.target), levels.target_action) == ((200, OPERATOR), Action.CLOSE_POSITION)


def test_what_is_switched_off_is_not_in_force_and_is_named():
    rows = (row("stop_loss", 100), row("profit_target", 200))
    levels = read(None, *rows, override=parse_override("none=target"))
    assert (levels.target, levels.target_action, shown(levels.stop)) == (None, Action.CLOSE_POSITION, (100, ROW))
    assert names(levels.notes, "profit target: switched off by the operator's override")
    assert not names(levels.notes, "no profit target is in force")


def test_without_a_stop_it_is_said_that_nothing_limits_the_loss():
    levels = read(None, row("stop_loss", 100), override=parse_override("none=stop!"))
    assert levels.stop is None
    assert names(levels.notes, "stop loss: switched off by the operator's override; nothing limits the loss")


class TestAdjustment:
    def test_it_is_on_by_default_and_no_news(self):
        levels = read(condor(), row("stop_loss", 100), row("profit_target", 100), row("time_exit", 3, "dte"))
        assert levels.adjustment == AdjustmentLevel(1_125_00, 2_250_00, DEFAULT, "25 to 50 % of net premium")
        assert levels.notes == ("rupee levels assumed per lot: nothing to compare with",)

    def test_its_shares_are_settings(self):
        settings = LevelSettings(adjust_first=10, adjust_last=20.5)
        assert read(condor(), settings=settings).adjustment.last == 922_50
        assert read(condor(), settings=LevelSettings(adjust_first=None)).adjustment is None
        assert read(condor(), settings=LevelSettings(adjust_first=20, adjust_last=20)).adjustment is None

    def test_without_a_premium_there_is_none(self):
        free = position(call(1, 150, 100, 5), call(2, -75, 110, 10))
        assert free.net_premium == 0
        assert read(free).adjustment is None
        assert read(position(call(1, 75, 100, None))).adjustment is None
        assert read(position(call(1, 1, 100, 0.01))).adjustment is None

    def test_it_can_be_switched_off(self):
        levels = read(condor(), override=parse_override("none=adjust"))
        assert levels.adjustment is None
        assert names(levels.notes, "adjustment warning: switched off")


class TestOwnRules:
    def test_those_of_profile_and_category_add_up(self):
        category, profile = Profile("c", own_rules=("a", "b")), Profile("p", own_rules=("b", "x"))
        assert read(category=category, profile=profile).own_rules == ("b", "x", "a")
        assert read().own_rules == ()

    def test_they_can_be_switched_off(self):
        levels = read(profile=Profile("p", own_rules=("x",)), override=parse_override("none=own_rules"))
        assert levels.own_rules == ()
        assert names(levels.notes, "own rules: switched off")


def test_the_columns_action_is_the_trees_where_both_say_the_same_amount():
    tree = {"profit_targets": {"primary": {"target": 262.49, "target_pct": 50, "action": "Close 50%"}}}
    same = read(risk=risk(profit_target=262_50, exit_conditions=tree))
    assert (shown(same.target), same.target_action) == ((262.50, LevelSource.RISK_COLUMN), Action.CLOSE_50)
    other = read(risk=risk(profit_target=200_00, exit_conditions=tree))
    assert (shown(other.target), other.target_action) == ((200, LevelSource.RISK_COLUMN), Action.CLOSE_POSITION)
    alone = read(risk=risk(exit_conditions=tree))
    assert (shown(alone.target), alone.target_action) == ((262.49, LevelSource.CONDITIONS), Action.CLOSE_50)


def test_an_unclear_action_of_the_tree_closes_and_says_so():
    tree = {"profit_targets": {"primary": {"target": 200, "action": "Roll or close"}}}
    levels = read(risk=risk(exit_conditions=tree))
    assert (levels.target.amount, levels.target_action) == (200_00, Action.CLOSE_POSITION)
    assert names(levels.notes, "exit_conditions: action 'Roll or close' is not clear; closes the position")


@pytest.mark.parametrize("action", ["Close 50%", "Adjust"])
def test_a_stop_row_that_asks_for_less_closes_everything_and_says_so(action):
    levels = read(None, row("stop_loss", 100, action=action))
    assert shown(levels.stop) == (100, ROW)
    assert names(levels.notes, f"stop_loss row 1: action {action!r} is not read: a stop closes the whole position")


def test_the_tree_comes_after_the_columns_and_before_the_profile():
    tree = {"stop_losses": {"primary": {"loss_amount": 90}}, "profit_targets": {"primary": {"target": 150}}}
    profile = Profile("own", stop_percent=30, target_percent=30)
    levels = read(risk=risk(exit_conditions=tree), profile=profile)
    assert (shown(levels.stop), shown(levels.target)) == ((90, LevelSource.CONDITIONS), (150, LevelSource.CONDITIONS))
    levels = read(risk=risk(exit_conditions=tree, stop_percent=50, profit_target_percent=40), profile=profile)
    assert (shown(levels.stop), shown(levels.target)) == (
        (112.50, LevelSource.RISK_COLUMN),
        (210, LevelSource.RISK_COLUMN),
    )
    assert shown(read(profile=profile).stop) == (67.50, LevelSource.PROFILE)


def test_a_nonsense_amount_in_the_column_gives_way_on_unlimited_profit():
    levels = read(long_call(), risk=risk(profit_target=75_00))
    assert shown(levels.target) == (3_750, DEFAULT)
    assert names(levels.notes, "target ₹75.00 (strategy_risk_management) not used: ₹75 stands for")


def test_an_unknown_level_name_is_read_as_a_plain_one_and_named_and_an_emergency_stop_comes_last():
    rows = (
        row("stop_loss", 100, "percentage", level_name="emergency", level_id=1),
        row("stop_loss", 100, level_name="my own", level_id=2),
    )
    levels = read(None, *rows)
    assert shown(levels.stop) == (100, ROW)
    assert names(levels.notes, "stop_loss row 2 (my own) read as a plain stop_loss: the level name is not known")
    assert not names(levels.notes, "row 1")
    assert shown(read(None, row("profit_target", 200, level_name="goal")).target) == (200, ROW)


class TestOfTwoUnderlyings:
    """₹1,500 of debit, and no payoff that anybody knows."""

    PAIR = position(
        call(1, 75, 100, 30),
        leg(2, -75, 10, strike=200, right=Right.CALL, underlying="BANKNIFTY"),
    )

    def test_shares_of_stops_and_targets_are_of_the_premium_and_it_is_said(self):
        levels = read(self.PAIR, row("stop_loss", 40, "percentage"), row("profit_target", 20, "percentage", level_id=2))
        assert (shown(levels.stop), shown(levels.target)) == ((600, ROW), (300, ROW))
        assert levels.stop.note == "40 % of net premium ₹1,500.00"
        unknown = "max profit and loss unknown: its legs have different underlyings: BANKNIFTY, NIFTY"
        assert unknown in levels.notes
        assert (levels.max_profit, levels.max_loss) == (None, None)

    def test_so_are_those_of_the_operator_of_scaling_and_of_the_category(self):
        levels = read(self.PAIR, override=parse_override("target=30%; scale=50%:20%"))
        assert (shown(levels.stop), shown(levels.target)) == ((750, DEFAULT), (450, OPERATOR))
        assert [step.amount for step in levels.scaling] == [300_00]

    def test_rupees_are_taken_as_they_are(self):
        levels = read(self.PAIR, row("stop_loss", 90_000), row("profit_target", 75, level_id=2))
        assert (shown(levels.stop), shown(levels.target)) == ((90_000, ROW), (75, ROW))

    @pytest.mark.parametrize(
        ("said", "note"),
        [
            ({"override": parse_override("trail=50@10%")}, "override not in force: its amounts are not known"),
            ({"override": parse_override("trail=10%@50")}, "override not in force: its amounts are not known"),
            (
                {"override": parse_override("lock=10%@5%")},
                "lock (operator's override) not used: it is 0, or a share of",
            ),
            (
                {"profile": NAMED_PROFILES["aggressive_profits"]},
                "trailing stop (profile) not in force: its amounts are not",
            ),
            ({"risk": risk(trailing_activation=100_00)}, "trailing stop not in force: its distance is not known"),
        ],
    )
    def test_shares_of_what_follows_the_profit_are_not_in_force_and_it_is_said(self, said, note):
        levels = read(self.PAIR, **said)
        assert (levels.trailing, levels.lock) == (None, None)
        assert names(levels.notes, note)

    def test_a_row_that_arms_by_a_share_is_not_in_force(self):
        levels = read(self.PAIR, row("profit_target", 20, "percentage", level_name="trailing"))
        assert levels.trailing is None
        assert names(levels.notes, "profit_target row 1: 20 % of an amount that is not known; not used")

    def test_a_share_of_the_premium_that_is_asked_for_follows_it(self):
        levels = read(self.PAIR, override=parse_override("trail=10%premium@50"))
        assert (levels.trailing.arm, levels.trailing.distance) == (50_00, 150_00)

    def test_rupees_and_shares_of_the_peak_follow_it_all_the_same(self):
        levels = read(self.PAIR, override=parse_override("trail=20%peak@50; lock=100@50"))
        assert (levels.trailing.arm, levels.trailing.percent_of_peak) == (50_00, 20)
        assert levels.lock.steps == (LockStep(100_00, 50_00),)
