"""Scaling targets: from rows, columns, tree, profile and override, whole lists, with what is nonsense named and dropped."""

import pytest

from core.exits.override_text import parse_override
from core.model.exit_levels import Action, LevelSource
from core.model.profile import Profile
from strategies.profiles import NAMED_PROFILES
from tests.unit.exits.builders import ROW, call, position
from tests.unit.exits.level_builders import long_call, names, read, risk, row, spread

RISK, TREE, PROFILE = LevelSource.RISK_COLUMN, LevelSource.CONDITIONS, LevelSource.PROFILE
QUARTER, HALF, MOST = Action.CLOSE_25, Action.CLOSE_50, Action.CLOSE_75


def step(value, name, action="", *, level_id=1, trigger_type="price"):
    return row("profit_target", value, trigger_type, level_name=name, level_id=level_id, action=action)


def scaled(levels):
    return [(level.amount / 100, level.action, level.source) for level in levels.scaling]


def steps(**by_name):
    return {name: {"profit": profit, "action": action} for name, (profit, action) in by_name.items()}


def test_rows_with_the_share_in_their_text_or_in_their_name():
    levels = read(
        None,
        step(400, "scaling_75", level_id=3),
        step(100, "scaling_level_1", "Close 25%", level_id=1),
        step(200, "level_2", "50% profit - close half position", level_id=2),
    )
    assert scaled(levels) == [(100, QUARTER, ROW), (200, HALF, ROW), (400, MOST, ROW)]
    assert not names(levels.notes, "scaling")


@pytest.mark.parametrize(
    ("name", "action", "share"),
    [
        ("scaling_25", "", QUARTER),
        ("level_50", "", HALF),
        ("scaling_75", "Trail the rest", MOST),
        ("scaling_25", "Close 50%", HALF),
        ("scaling_25", "Adjust", None),
        ("scaling_30", "", None),
        ("scaling_level_1", "Close level_1", None),
    ],
)
def test_the_text_says_the_share_and_the_name_only_where_the_text_does_not(name, action, share):
    levels = read(None, step(100, name, action))
    assert [level.action for level in levels.scaling] == ([share] if share else [])
    assert names(levels.notes, "expected a share of 25, 50 or 75 %") is (share is None)


def test_a_step_that_closes_everything_is_a_target():
    levels = read(
        None, step(300, "scaling_level_3", "Close entire position", level_id=1), step(500, "primary", level_id=2)
    )
    assert (levels.scaling, levels.target.amount) == ((), 500_00)
    assert read(None, step(300, "scaling_level_3", "Close entire position")).target.amount == 300_00


def test_a_percentage_is_of_max_profit_and_rupees_are_rescaled():
    assert scaled(read(None, step(20, "scaling_25", trigger_type="percentage"))) == [(105, QUARTER, ROW)]
    levels = read(spread(3), step(100, "scaling_25"), risk=risk(max_capital_at_risk=225_00))
    assert scaled(levels) == [(300, QUARTER, ROW)]
    assert levels.scaling[0].note == "₹100.00 per lot"


def test_a_trigger_type_that_is_no_profit_is_named():
    levels = read(None, step(3, "scaling_25", trigger_type="dte"))
    assert names(levels.notes, "profit_target row 1: trigger type 'dte' is no P&L level; not used")


def test_a_level_beyond_the_max_profit_is_dropped_and_named_and_the_others_stay():
    levels = read(
        None, step(100, "scaling_25"), step(552, "scaling_50", level_id=2), step(525, "scaling_75", level_id=3)
    )
    assert scaled(levels) == [(100, QUARTER, ROW), (525, MOST, ROW)]
    assert names(
        levels.notes, "(scaling_50) at ₹552.00 (strategy_exit_levels) is beyond the max profit ₹525.00: not used"
    )


def test_a_level_a_little_beyond_the_max_profit_is_the_whole_of_it_and_named():
    levels = read(None, step(551, "scaling_25"), step(530, "scaling_50", level_id=2))
    assert scaled(levels) == [(525, QUARTER, ROW), (525, HALF, ROW)]
    for at, name in ((551, "scaling_25"), (530, "scaling_50")):
        assert names(
            levels.notes, f"({name}) at ₹{at}.00 (strategy_exit_levels) is beyond the max profit ₹525.00 by no"
        )


def test_a_level_of_the_operator_stays_where_he_put_it():
    levels = read(None, step(100, "scaling_25"), override=parse_override("scale=25%:200,50%:9000"))
    assert scaled(levels) == [(200, QUARTER, LevelSource.OPERATOR), (9_000, HALF, LevelSource.OPERATOR)]
    assert names(
        levels.notes, "at ₹9,000.00 (operator's override) is beyond the max profit ₹525.00: kept as it is written"
    )


def test_shares_rise_with_the_profit():
    levels = read(
        None, step(100, "scaling_50"), step(200, "scaling_25", level_id=2), step(300, "scaling_50", level_id=3)
    )
    assert scaled(levels) == [(100, HALF, ROW)]
    assert names(
        levels.notes,
        "(scaling_25) at ₹200.00 (strategy_exit_levels) not used: 25 % gone, and 50 % already are at ₹100.00",
    )
    assert names(levels.notes, "(scaling_50) at ₹300.00")


@pytest.mark.parametrize("value", [50, 75, 87.5])
def test_averages_of_the_builder_are_no_levels_on_unlimited_profit(value):
    levels = read(position(call(1, 75, 100, 1)), step(value, "scaling_50"))
    assert levels.scaling == ()
    assert names(levels.notes, "stands for a sentence that the builder could not read")
    assert len(read(None, step(value, "scaling_50")).scaling) == 1


def test_an_amount_far_below_the_premium_is_none_on_unlimited_profit():
    assert read(long_call(), step(374, "scaling_25")).scaling == ()
    assert len(read(long_call(), step(375, "scaling_25")).scaling) == 1


def test_the_first_source_with_a_usable_level_wins_as_a_whole():
    scaling = steps(level_1=(110, "Close 25%"), level_2=(220, "Close 50%"))
    tree = {"profit_targets": {"scaling": steps(level_1=(120, "Close 25%"))}}
    both = {"risk": risk(scaling_exits=scaling, exit_conditions=tree), "profile": NAMED_PROFILES["conservative_losses"]}
    assert scaled(read(None, step(100, "scaling_25"), **both)) == [(100, QUARTER, ROW)]
    assert scaled(read(None, step(900, "scaling_25"), **both)) == [(110, QUARTER, RISK), (220, HALF, RISK)]
    only_tree = both | {"risk": risk(exit_conditions=tree)}
    assert scaled(read(None, **only_tree)) == [(120, QUARTER, TREE)]
    assert scaled(read(None, profile=both["profile"])) == [
        (131.25, QUARTER, PROFILE), (262.50, HALF, PROFILE), (393.75, MOST, PROFILE),
    ]  # fmt: skip
    override = parse_override("scale=50%:150")
    assert scaled(read(None, step(100, "scaling_25"), override=override, **both)) == [(150, HALF, LevelSource.OPERATOR)]
    levels = read(None, step(100, "scaling_25"), override=parse_override("none=scale"), **both)
    assert levels.scaling == ()
    assert names(levels.notes, "scaling targets: switched off by the operator's override")


def test_nothing_is_scaled_unless_something_asks():
    assert read().scaling == ()
    assert read(long_call()).scaling == ()


def test_a_profile_on_unlimited_profit_closes_half_at_half_the_premium_and_most_at_all_of_it():
    levels = read(long_call(), profile=NAMED_PROFILES["conservative_losses"])
    assert scaled(levels) == [(3_750, HALF, PROFILE), (7_500, MOST, PROFILE)]


def test_a_profile_with_its_own_steps():
    levels = read(profile=Profile("own", scaling=((40, HALF), (80, MOST))))
    assert scaled(levels) == [(210, HALF, PROFILE), (420, MOST, PROFILE)]


def test_a_share_of_what_is_not_known_is_named():
    levels = read(position(call(1, 75, 100, None)), profile=Profile("own", is_scaling=True))
    assert levels.scaling == ()
    assert names(levels.notes, "scaling own (profile) not used: an amount that is 0 or not known")


@pytest.mark.parametrize(
    "asks",
    [
        {"risk": risk(exit_conditions={"profit_targets": {"scaling": {"level_3": "Trail stop on remainder"}}})},
        {"risk": risk(scaling_exits={"level_3": "Trail stop on remainder"})},
        {"rows": [step(None, "scaling_level_3", "Trail stop on remainder")]},
    ],
)
def test_trailing_the_rest_is_in_force_where_a_trailing_stop_is(asks):
    rows = asks.pop("rows", [])
    said = "the rest is to be trailed, and no source says how far: no trailing stop is in force"
    assert said in read(None, *rows, **asks).notes
    assert said not in read(None, *rows, **asks, override=parse_override("none=trail")).notes
    assert said not in read(None, *rows, **asks, profile=NAMED_PROFILES["aggressive_profits"]).notes
    assert said not in read().notes
