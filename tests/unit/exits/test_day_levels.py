"""Days, holding, the losing time stop and the clock, from every source that can ask for them."""

from datetime import time

import pytest

from core.exits.override_text import parse_override
from core.exits.read_levels import LevelSettings
from core.model.exit_levels import ClockLevel, DaysLevel, LevelSource
from core.model.position import Product
from core.model.profile import Profile
from tests.unit.exits.builders import ROW, call, position
from tests.unit.exits.level_builders import names, read, risk, row, spread

TREE, PROFILE, OPERATOR = LevelSource.CONDITIONS, LevelSource.PROFILE, LevelSource.OPERATOR
DEFAULT, SETTING = LevelSource.CATEGORY_DEFAULT, LevelSource.SETTING
FIELDS = {"dte": "dte", "theta": "theta", "losing": "losing_time", "hold": "holding"}


def of(days, name="primary", **other):
    return row("time_exit", days, "dte", level_name=name, **other)


def said(level):
    return None if level is None else (level.days, level.source)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("primary", "dte"),
        ("", "dte"),
        ("theta", "theta"),
        ("theta_decay", "theta"),
        ("losing", "losing"),
        ("losing_time", "losing"),
        ("time_stop", "losing"),
        ("holding", "hold"),
        ("holding_days", "hold"),
        ("max_holding", "hold"),
    ],
)
def test_the_name_of_a_time_exit_says_which_it_is(name, kind):
    levels = read(None, of(4, name))
    for other, field in FIELDS.items():
        found = getattr(levels, field)
        if other == kind:
            assert found == DaysLevel(4, ROW, "time_exit row 1")
        else:
            assert found is None or found.source is DEFAULT


@pytest.mark.parametrize("action", ["Close 50%", "Adjust"])
@pytest.mark.parametrize(
    ("name", "what"), [("primary", "DTE exit"), ("theta", "theta exit"), ("holding", "longest holding")]
)
def test_an_action_that_asks_for_less_is_named(name, what, action):
    levels = read(None, of(4, name, action=action))
    assert names(levels.notes, f"time_exit row 1: action {action!r} is not read: the {what} closes the whole position")


def test_days_to_expiry_in_order():
    tree = {"time_exits": {"primary_dte": 5}}
    profile = Profile("own", dte_days=6)
    asked = {"risk": risk(time_stop_dte=4, exit_conditions=tree), "profile": profile}
    assert said(read(None, of(3), override=parse_override("dte=2"), **asked).dte) == (2, OPERATOR)
    assert said(read(None, of(3), **asked).dte) == (3, ROW)
    assert said(read(**asked).dte) == (4, LevelSource.RISK_COLUMN)
    assert said(read(risk=risk(exit_conditions=tree), profile=profile).dte) == (5, TREE)
    assert said(read(profile=profile).dte) == (6, PROFILE)
    assert said(read().dte) == (7, DEFAULT)


def test_theta_in_order():
    tree = risk(exit_conditions={"time_exits": {"theta_decay_threshold": {"dte": 5}}})
    profile = Profile("own", theta_days=6)
    assert said(read(None, of(3, "theta"), override=parse_override("theta=2"), risk=tree).theta) == (2, OPERATOR)
    assert said(read(None, of(3, "theta"), risk=tree, profile=profile).theta) == (3, ROW)
    assert said(read(risk=tree, profile=profile).theta) == (5, TREE)
    assert said(read(profile=profile).theta) == (6, PROFILE)
    assert read().theta is None


def test_longest_holding_in_order_and_never_unless_asked_for():
    setting, profile = LevelSettings(holding_days=45), Profile("own", holding_days=30)
    assert said(read(None, of(20, "holding"), override=parse_override("hold=10"), settings=setting).holding) == (
        10,
        OPERATOR,
    )
    assert said(read(None, of(20, "holding"), profile=profile, settings=setting).holding) == (20, ROW)
    assert said(read(profile=profile, settings=setting).holding) == (30, PROFILE)
    assert read(settings=setting).holding == DaysLevel(45, SETTING, "for all positions")
    assert read().holding is None
    assert read(override=parse_override("none=hold"), settings=setting, profile=profile).holding is None


@pytest.mark.parametrize(
    ("kind", "words"),
    [("dte", "DTE exit"), ("theta", "theta exit"), ("losing", "losing time stop"), ("hold", "longest holding")],
)
def test_each_can_be_switched_off(kind, words):
    rows = (of(3), of(3, "theta", level_id=2), of(3, "losing", level_id=3), of(3, "holding", level_id=4))
    profile = Profile("own", dte_days=5, theta_days=5, losing_time_days=5, holding_days=5)
    levels = read(None, *rows, profile=profile, override=parse_override(f"none={kind}"))
    assert getattr(levels, FIELDS[kind]) is None
    assert names(levels.notes, f"{words}: switched off by the operator's override")
    assert not names(levels.notes, "is in force: no source")


class TestLosingTime:
    def tree(self, loss, days=21):
        return {"stop_losses": {"time_stop": {"trigger": f"Loss > {loss} with < {days} DTE"}}}

    def test_in_order(self):
        tree, profile = risk(exit_conditions=self.tree(56.25)), Profile("own", losing_time_days=6)
        assert said(read(None, of(3, "losing"), override=parse_override("losing=2"), risk=tree).losing_time) == (
            2,
            OPERATOR,
        )
        assert said(read(None, of(3, "losing"), risk=tree, profile=profile).losing_time) == (3, ROW)
        assert said(read(risk=tree, profile=profile).losing_time) == (21, TREE)
        assert said(read(profile=profile).losing_time) == (6, PROFILE)
        assert read().losing_time is None

    @pytest.mark.parametrize(
        ("loss", "is_told"),
        [(56.25, False), (57.30, False), (57.38, True), (55.20, False), (55.10, True), (112.5, True)],
    )
    def test_a_loss_that_is_not_half_of_the_stop_in_force_is_told_with_both_numbers(self, loss, is_told):
        """The stop in force is the category's ₹112.50; 2 % of it are rounding."""
        levels = read(risk=risk(exit_conditions=self.tree(loss)))
        assert levels.losing_time.days == 21
        told = f"losing time stop: exit_conditions name a loss of ₹{loss:.2f} (₹{loss:.2f} per lot), half of the stop in force is"
        assert names(levels.notes, f"{told} ₹56.25: that counts") is is_told

    def test_the_loss_is_rescaled_before_it_is_compared(self):
        columns = {"max_capital_at_risk": 3_00, "exit_conditions": self.tree(0.75)}
        assert not names(read(spread(2), risk=risk(**columns)).notes, "losing time stop")

    def test_another_source_is_not_compared(self):
        levels = read(None, of(3, "losing"), risk=risk(exit_conditions=self.tree(500)))
        assert not names(levels.notes, "losing time stop")

    def test_without_a_stop_there_is_no_half(self):
        levels = read(position(call(1, 75, 100, None)), risk=risk(exit_conditions=self.tree(500)))
        assert (levels.stop, levels.losing_time) == (None, None)
        assert names(levels.notes, "losing time stop (exit_conditions) not in force: there is no stop to take half of")
        levels = read(None, of(3, "losing"), override=parse_override("none=stop!"))
        assert (levels.stop, levels.losing_time) == (None, None)


def test_square_off_in_order():
    setting = LevelSettings(square_off={Product.MARGIN: time(15, 20), Product.CNC: time(9)})
    profile = Profile("own", square_off=time(15, 10))
    levels = read(override=parse_override("square_off=15:00"), profile=profile, settings=setting)
    assert levels.square_off == ClockLevel(time(15), OPERATOR)
    assert read(profile=profile, settings=setting).square_off == ClockLevel(time(15, 10), PROFILE, "own")
    assert read(settings=setting).square_off == ClockLevel(time(15, 20), SETTING, "for MARGIN")
    off = read(profile=profile, settings=setting, override=parse_override("none=square_off"))
    assert off.square_off is None
    assert names(off.notes, "square-off: switched off by the operator's override")
