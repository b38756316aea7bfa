"""Edges of what is read of a strategy's levels, and of what the engine, the limits and the dashboard make of it."""

import json
from dataclasses import replace
from datetime import time

import pytest

from core.exits.condition_leaves import whole_of_quarters
from core.exits.condition_tree import Branch, read_object, unread_note
from core.exits.conditions import tree_conditions
from core.exits.desk_settings import DeskSettings
from core.exits.explain_around import around_of
from core.exits.explain_quote import why_suspect
from core.exits.level_sources import LevelSettings
from core.exits.position_greeks import PricingMoment, option_terms, position_greeks, position_shock
from core.exits.underlying_candles import Candle, CandleBoard, Close, LastSeen
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels, LevelSource, Rule
from core.model.memory import PositionMemory, ToldLevel
from core.model.signals import Mode
from core.model.special_levels import AdjustmentLevel, GreekKind, ScalingLevel, Scope, ScopeLimit
from tests.unit.exits.builders import ROW, call, key, position, quote
from tests.unit.exits.judge_rig import JudgeRig, below
from tests.unit.exits.judge_rig import call as index_call
from tests.unit.exits.level_builders import names, read, risk, row
from tests.unit.exits.scope_rig import ENTRY, MS, S, held, rig_with
from tests.unit.exits.test_explain_levels import lines
from tests.unit.exits.test_position_greeks import CLOSE, NOW
from tests.unit.order_side.rig import SHORT, Rig, leg
from tests.unit.order_side.rig import position as rows_of

MINUTE = 60 * S
LIMIT = 1_000


# The tree


@pytest.mark.parametrize("word", ["rationale", "theta_recommendation", "theta_analysis"])
def test_what_explains_a_level_is_not_named_as_unread(word):
    tree = {"profit_targets": {"primary": {"target_pct": 50, word: "because"}}}
    assert tree_conditions(tree).notes == ()


@pytest.mark.parametrize("text", ["Trail the remainder", "Trail stop on the rest."])
def test_the_rest_is_trailed_in_other_words(text):
    found = tree_conditions({"profit_targets": {"scaling": {"rest": text}}})
    assert found.has_rest
    assert found.notes == ()


def test_only_gamma_is_told_that_its_stored_threshold_is_not_used():
    theta = {"condition": "Daily theta > 5% of position value", "threshold": 5}
    gamma = {"condition": "Gamma risk doubles", "threshold": 0.02}
    found = tree_conditions({"greek_triggers": {"theta": theta, "gamma": gamma}}).greeks
    assert [(each.kind, bool(each.note)) for each in found] == [(GreekKind.THETA, False), (GreekKind.GAMMA, True)]


@pytest.mark.parametrize("name", ["iv_down", "iv_up", "iv_below"])
def test_a_volatility_trigger_needs_no_sentence(name):
    found = tree_conditions({"greek_triggers": {name: {"threshold": 20}}}).greeks
    assert [(each.kind, each.threshold) for each in found] == [(GreekKind(name), 20.0)]


def test_the_amount_is_a_share_by_the_per_cent_beside_it():
    tree = {"profit_targets": {"primary": {"target": 1_000, "target_pct": 50}}, "profit_target": "25% of max profit"}
    assert tree_conditions(tree).max_profit == 200_000


def test_a_level_in_per_cent_does_not_hide_three_quarters_in_rupees():
    steps = {f"level_{n}": {"profit": 100 * n, "action": "close"} for n in (1, 2, 3)}
    tree = {"profit_targets": {"scaling": steps | {"half": "50% profit - close half position"}}}
    assert tree_conditions(tree).max_profit == 40_000


@pytest.mark.parametrize(
    ("amounts", "whole"),
    [
        ((400, 804, 1_200), 1_600),
        ((400, 796, 1_200), 1_600),
        ((400, 804.005, 1_200), None),
        ((400, 804.5, 1_200), None),
        ((400, 790, 1_200), None),
    ],
)
def test_quarters_may_be_off_by_half_a_per_cent_and_two_paise(amounts, whole):
    assert whole_of_quarters(amounts) == whole


def test_days_are_a_whole_number():
    assert repr(Branch("", {"dte": "21.0"}).days("dte")) == "21"
    found = read(None, row("time_exit", 7.5, "dte")).dte
    assert repr(found.days) == "7"


def test_an_empty_object_is_not_named_as_unread():
    root = Branch("", {"levels": {"a": {}, "b": ""}})
    root.branch("levels")
    assert root.unread() == []


def test_an_empty_text_encoded_as_often_as_is_read_is_an_empty_object():
    assert read_object(json.dumps(json.dumps(json.dumps("")))) == ({}, "")


@pytest.mark.parametrize(("count", "more"), [(11, ""), (12, ""), (13, " and 1 more"), (14, " and 2 more")])
def test_what_is_left_over_after_twelve_is_counted(count, more):
    assert unread_note("tree", ["x"] * count) == "tree: not read: " + ", ".join(["x"] * min(count, 12)) + more


# Levels


@pytest.mark.parametrize(("loss", "is_told"), [(51, False), (49, False), (51.01, True), (48.99, True)])
def test_a_named_loss_within_two_per_cent_of_half_the_stop_is_not_told(loss, is_told):
    tree = {"stop_losses": {"time_stop": {"trigger": f"Loss > {loss} with < 21 DTE"}}}
    levels = read(None, row("stop_loss", 100), risk=risk(exit_conditions=tree))
    assert (levels.stop.amount, levels.losing_time.days) == (10_000, 21)
    assert names(levels.notes, "exit_conditions name a loss") is is_told


def test_the_default_that_stands_in_is_named_for_what_it_is():
    notes = read(None, row("stop_loss", 100)).notes
    assert names(notes, "profit target: no usable row")
    assert not names(notes, "stop loss: no usable row")


def test_the_warning_is_in_whole_paise():
    warned = read(settings=LevelSettings(adjust_first=33.333, adjust_last=66.666)).adjustment
    assert (repr(warned.first), repr(warned.last)) == ("7500", "15000")


def test_the_warning_begins_with_a_paisa():
    assert read(settings=LevelSettings(adjust_first=0.0)).adjustment is None
    assert read(settings=LevelSettings(adjust_first=100 / 22_500)).adjustment.first == 1


# The dashboard


def test_a_scaling_level_that_never_fires_says_where_it_is_from():
    low = ScalingLevel(100_000, Action.CLOSE_50, ROW, "the low one")
    high = ScalingLevel(200_000, Action.CLOSE_50, LevelSource.CONDITIONS, "the high one")
    _, line = lines(Rule.SCALING_TARGET, ExitLevels(scaling=(low, high)))
    assert line.waits
    assert (line.source, line.note, line.action) == (LevelSource.CONDITIONS, "the high one", Action.CLOSE_50)


def test_a_position_without_greeks_has_none_beside_its_other_levels():
    rig = JudgeRig()
    rig.open(index_call(1), underlying=(below(20_000),))
    rig.index(24_000)
    found = around_of(rig.engine.judges, rig.engine.guards[1], rig.now)
    assert found.underlying
    assert found.greeks == {}


def test_a_jump_from_nothing_says_so():
    assert why_suspect(quote(1, 100), 0, 0, 5).startswith("jump from ₹0.00 to ")


# Greeks


def test_a_negative_rate_makes_money_at_expiry_worth_more():
    moment = PricingMoment(NOW, CLOSE, spot=2_400_000, rate=-0.06)
    assert option_terms(call(1, 75, 24_000, 100), moment).discount > 1


def test_a_leg_that_cannot_be_priced_makes_the_shock_unknown():
    unknown = PricingMoment(NOW, time(15, 30))
    greeks = position_greeks(position(call(1, 75, 24_000, 100)), {key(1): 10_000}, unknown)
    assert greeks.legs[0].mark == 10_000
    assert position_shock(greeks, 1, 0) is None


# The engine


def test_what_was_told_is_remembered_in_one_order():
    told = tuple(ToldLevel(Rule.SCALING_TARGET, "", amount) for amount in (500, 100, 700, 300, 200, 900, 600, 400))
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, ExitLevels(), rig.now, PositionMemory(told=told)))
    assert rig.engine.memory_of(1).told == tuple(sorted(told, key=str))


def test_a_level_that_was_told_is_remembered():
    rig = Rig()
    rig.open(SHORT, levels=ExitLevels(adjustment=AdjustmentLevel(100_000, 200_000, LevelSource.CATEGORY_DEFAULT)))
    rig.wait()
    rig.take()
    rig.quote(501, 10_500)
    rig.wait(0.3)
    assert cmd.Remember(1) in rig.take()
    assert [level.rule for level in rig.engine.memory_of(1).told] == [Rule.ADJUSTMENT]


def flat_reports(rig, count=1):
    """The broker holds nothing, read `count` times over more than the time that it takes to be believed."""
    for _ in range(count):
        rig.positions({})
        rig.wait(rig.settings.outside_confirm_s + 1)


def closed_outside(rig):
    return rig.subjects().count("S1 closed outside the monitor")


def test_a_strategy_that_comes_back_is_seen_at_the_broker_anew():
    young = rows_of(1, replace(leg(11, 501, -75), opened_at="2026-11-20T12:00:00"))
    rig = Rig(DeskSettings(new_row_grace_s=3_600))
    rig.open(young)
    rig.wait()
    rig.positions({501: -75})
    rig.wait(2)
    rig.tell(ev.PositionGone(1, rig.now))
    rig.open(young)
    flat_reports(rig, 3)
    assert closed_outside(rig) == 0


def test_a_report_is_held_against_the_book_once():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.positions({501: -75})
    rig.wait(2)
    rig.open(rows_of(2, leg(21, 501, -75)))
    rig.wait(2)
    assert not names(rig.subjects(), "smaller at the broker")


def test_what_comes_back_after_it_was_closed_outside_is_confirmed_anew():
    rig = Rig(mode=Mode.ALERT)
    rig.open(SHORT)
    rig.wait()
    flat_reports(rig, 2)
    assert closed_outside(rig) == 1
    rig.open(SHORT)
    flat_reports(rig)
    assert closed_outside(rig) == 1
    flat_reports(rig)
    assert closed_outside(rig) == 2


# Limits over positions


def test_a_profit_exactly_at_the_limit_is_found_without_a_tick():
    rig = rig_with(ScopeLimit(Scope.PORTFOLIO, max_profit=LIMIT))
    rig.put(held(1, (501, 1)))
    rig.tell(ev.PositionOpened(held(4, (501, 1), entry=ENTRY - LIMIT), ExitLevels(), rig.now))
    assert rig.limits._outside
    rig.wait(0.1)
    rig.wait(0.1)
    assert set(rig.fired()) == {1, 4}


def test_a_wait_that_is_over_is_no_deadline():
    rig = rig_with(ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT))
    rig.put(held(1, (501, 1)), held(2, (502, 1)))
    rig.tick(501, ENTRY - LIMIT, bid=ENTRY - LIMIT, ask=ENTRY + LIMIT)
    began = rig.now
    settings = rig.limits._roster._settings
    assert rig.limits.next_deadline_ns == began + settings.leg_settle_ms * MS
    rig.wait(settings.leg_settle_ms / 1_000)
    assert rig.fired() == {}
    assert rig.limits.next_deadline_ns == began + settings.stop_confirm_max_ms * MS


# Candles


@pytest.mark.parametrize(("late_ns", "is_news"), [(-1, True), (0, False)])
def test_a_close_that_is_a_candle_old_is_no_news(late_ns, is_news):
    board = CandleBoard()
    board.closes[5] = Close(Candle(0, 5 * MINUTE), 5 * MINUTE, LastSeen(100, 1))
    found = list(board.fresh(1, 10 * MINUTE + late_ns))
    assert bool(found) is is_news
