"""A small file becomes levels, whatever kinds of levels there are; what makes none is named."""

import dataclasses
import json
from datetime import time

import pytest

from core.model import exit_levels as lv
from core.model import special_levels as special
from core.model.errors import ConfigurationError
from core.model.exit_levels import ExitLevels, LevelSource
from core.recording.other_levels import NOTE, check_strategies, read_other_levels
from tests.unit.recording.scene import position

OPERATOR = LevelSource.OPERATOR
ROW = LevelSource.LEVEL_ROW
IN_FORCE = ExitLevels(
    stop=lv.AmountLevel(5_000_00, ROW),
    trailing=lv.TrailingLevel(2_000_00, 1_500_00, ROW),
    target=lv.AmountLevel(8_000_00, ROW),
    dte=lv.DaysLevel(7, ROW),
    notes=("as read",),
)


def levels_of(folder, text, in_force=IN_FORCE, strategy_id=7):
    path = folder / "levels.toml"
    path.write_text(text)
    return read_other_levels(path).levels_of(position(strategy_id, (501, 75, 100_00)), in_force)


def made(kind, *values, **named):
    return kind(*values, source=OPERATOR, note=NOTE, **named)


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("stop = 2500", "stop", lv.AmountLevel(2_500_00, OPERATOR, NOTE)),
        ("stop = 2500.55", "stop", lv.AmountLevel(2_500_55, OPERATOR, NOTE)),
        ("stop = { amount = 1 }", "stop", lv.AmountLevel(1_00, OPERATOR, NOTE)),
        ('stop = "60%"', "stop", lv.AmountLevel(3_000_00, OPERATOR, NOTE)),
        ('stop = "off"', "stop", None),
        ("stop = false", "stop", None),
        ("trailing = { distance = 750 }", "trailing", made(lv.TrailingLevel, 2_000_00, 750_00)),
        ('trailing = { distance = "50%", arm = 0 }', "trailing", made(lv.TrailingLevel, 0, 750_00)),
        (
            "trailing = { percent_of_peak = 20 }",
            "trailing",
            made(lv.TrailingLevel, 2_000_00, 1_500_00, percent_of_peak=20.0),
        ),
        ("target = 900", "target", lv.AmountLevel(900_00, OPERATOR, NOTE)),
        ('target_action = "CLOSE_50%"', "target_action", lv.Action.CLOSE_50),
        ('target_action = "CLOSE_50"', "target_action", lv.Action.CLOSE_50),
        ("dte = 3", "dte", lv.DaysLevel(3, OPERATOR, NOTE)),
        ('square_off = "15:10"', "square_off", lv.ClockLevel(time(15, 10), OPERATOR, NOTE)),
        ("square_off = 15:10:30", "square_off", lv.ClockLevel(time(15, 10, 30), OPERATOR, NOTE)),
        (
            "lock = { steps = [{ trigger = 1000, floor = 0 }, { trigger = 2000, floor = 800 }] }",
            "lock",
            made(special.LockLevel, (special.LockStep(1_000_00, 0), special.LockStep(2_000_00, 800_00))),
        ),
        (
            'scaling = [{ amount = 500, action = "CLOSE_25%" }]',
            "scaling",
            (made(special.ScalingLevel, 500_00, lv.Action.CLOSE_25),),
        ),
        ('scaling = "off"', "scaling", ()),
        (
            'underlying = [{ price = 24000, is_above = true, action = "CLOSE_POSITION", candle_minutes = 5 }]',
            "underlying",
            (
                made(
                    special.UnderlyingLevel, 24_000_00, is_above=True, action=lv.Action.CLOSE_POSITION, candle_minutes=5
                ),
            ),
        ),
        (
            'greeks = [{ kind = "delta", threshold = 0.8, action = "ADJUST" }]',
            "greeks",
            (made(special.GreekLevel, special.GreekKind.DELTA, 0.8, lv.Action.ADJUST),),
        ),
        ("adjustment = { first = 100, last = 200 }", "adjustment", made(special.AdjustmentLevel, 100_00, 200_00)),
        ('own_rules = ["mine"]', "own_rules", ("mine",)),
    ],
)
def test_a_field_is_set_and_the_others_stay(tmp_path, text, field, expected):
    found = levels_of(tmp_path, f"[all]\n{text}\n")
    assert getattr(found, field) == expected
    assert dataclasses.replace(found, **{field: getattr(IN_FORCE, field)}) == IN_FORCE


def test_every_field_of_the_levels_can_be_set_or_is_told_why_not(tmp_path):
    for field in dataclasses.fields(ExitLevels):
        if field.name == "notes":
            continue
        with pytest.raises(ConfigurationError, match=rf"levels\.toml, all\.{field.name}: "):
            levels_of(tmp_path, f"[all]\n{field.name} = {{ nonsense = 1 }}\n")


def test_a_distance_takes_the_place_of_the_share_of_the_peak_that_is_in_force(tmp_path):
    in_force = ExitLevels(trailing=lv.TrailingLevel(0, 100, ROW, percent_of_peak=30.0))
    found = levels_of(tmp_path, "[all]\ntrailing = { distance = 5 }\n", in_force)
    assert found.trailing == made(lv.TrailingLevel, 0, 5_00)


def test_a_strategys_own_table_goes_before_that_of_all(tmp_path):
    text = "[all]\nstop = 100\ndte = 1\n[7]\nstop = 200\n"
    assert levels_of(tmp_path, text).stop.amount == 200_00
    assert levels_of(tmp_path, text).dte.days == 1
    assert levels_of(tmp_path, text, strategy_id=8).stop.amount == 100_00


def test_json_says_the_same(tmp_path):
    path = tmp_path / "levels.json"
    path.write_text(json.dumps({"all": {"stop": None}, "7": {"dte": 2}}))
    found = read_other_levels(path)
    assert found.strategies == {7}
    levels = found.levels_of(position(7, (501, 75, 100_00)), IN_FORCE)
    assert (levels.stop, levels.dte.days) == (None, 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[all]\nstop = true\n", "rupees"),
        ('[all]\nstop = "much"\n', "rupees"),
        ("[all]\nstop = 0\n", "above 0"),
        ("[all]\nstop = -5\n", "above 0"),
        ("[all]\ntrailing = { arm = -1 }\n", "above 0"),
        ('[all]\npremium_trailing = "50%"\n', "in force"),
        ("[all]\ntrailing = 5\n", "table"),
        ("[all]\nlock = { }\n", "steps is missing"),
        ("[all]\ndte = 1.5\n", "whole number"),
        ("[all]\ndte = true\n", "whole number"),
        ('[all]\nsquare_off = "25:00"\n', "clock time"),
        ('[all]\ntarget_action = "SELL"\n', "one of"),
        ('[all]\ngreeks = [{ kind = "delta", threshold = "x", action = "ADJUST" }]\n', "a number"),
        ('[all]\nunderlying = [{ price = 1, is_above = 1, action = "ADJUST" }]\n', "true or false"),
        ("[all]\nown_rules = [1]\n", "a text"),
        ("[all]\nstop = { amount = 5, source = 1 }\n", "none of"),
    ],
)
def test_a_value_that_makes_no_level_is_named(tmp_path, text, problem):
    with pytest.raises(ConfigurationError, match=problem):
        levels_of(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("x.toml", "stop = 5", "is no strategy id"),
        ("x.toml", "[some]\nstop = 5", "is no strategy id"),
        ("x.toml", "[all]\nstopp = 5", "no level 'stopp'"),
        ("x.toml", "[all]\nnotes = []", "no level 'notes'"),
        ("x.toml", "7 = 5", "is no table"),
        ("x.toml", "", "holds no table"),
        ("x.toml", "[all", "Expected"),
        ("x.json", "[1]", "holds no table"),
        ("x.json", "{", "Expecting"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, name, text, problem):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=problem):
        read_other_levels(path)


def test_a_missing_file_and_a_missing_strategy_are_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_other_levels(tmp_path / "absent.toml")
    path = tmp_path / "levels.toml"
    path.write_text("[7]\nstop = 1\n")
    check_strategies(read_other_levels(path), [7, 8])
    with pytest.raises(ConfigurationError, match="strategy 7, which is not in the book"):
        check_strategies(read_other_levels(path), [8])
