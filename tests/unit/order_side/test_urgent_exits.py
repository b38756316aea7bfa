"""A whole exit that is not urgent has the position's own guard beside it, which can make it so."""

from dataclasses import replace
from datetime import time

import pytest

from core.exits.running_exits import press
from core.model import events as ev
from core.model.exit_levels import Action, ClockLevel, DaysLevel, ExitLevels, Rule, Urgency
from core.model.journal_records import ExitStarted
from tests.unit.order_side.rig import Rig, position
from tests.unit.order_side.test_orders_under_way import only
from tests.unit.order_side.test_partial_exits import HALF, LONG, guarded
from tests.unit.order_side.test_widened_exits import ROW, finish, half_under_way, hit_stop, records


@pytest.fixture
def rig() -> Rig:
    return Rig()


WHOLE = ExitLevels(stop=HALF.stop, target=HALF.target)


def unreadable(rig):
    """The target's exit has begun, and the broker's positions cannot be read: no order leaves."""
    guarded(rig, levels=WHOLE)
    rig.wait(2)
    rig.quote(501, 10_100)
    for _ in range(12):
        rig.failed("ReadPositions")
        rig.wait(1)
        rig.quote(501, 10_100)
    assert rig.submitted() == []
    assert rig.running().signal.urgency is Urgency.NORMAL


def test_a_stop_makes_the_exit_of_a_target_urgent(rig):
    unreadable(rig)
    hit_stop(rig)
    assert only(rig.submitted()).quantity == 300
    signal = rig.running().signal
    assert (signal.rule, signal.urgency) == (Rule.PROFIT_TARGET, Urgency.HIGH)
    assert rig.engine.guards == rig.engine.room.escorts == {}
    assert len(records(rig, ExitStarted)) == 1


def test_a_square_off_makes_it_urgent(rig):
    guarded(rig, levels=replace(WHOLE, square_off=ClockLevel(time(12, 0, 30), ROW)))
    rig.quote(501, 10_100)
    assert rig.running().signal.urgency is Urgency.NORMAL
    rig.wait(1)
    rig.wait(40)
    assert rig.running().signal.urgency is Urgency.HIGH


def test_an_operator_makes_it_urgent(rig):
    unreadable(rig)
    rig.exit()
    assert only(rig.submitted()).quantity == 300


def test_what_is_not_more_urgent_changes_nothing(rig):
    guarded(rig, levels=replace(WHOLE, theta=DaysLevel(7, ROW)))
    rig.quote(501, 10_100)
    before = rig.running().signal
    for last in (12_000, 10_200, 8_900):
        rig.wait(1)
        rig.quote(501, last)
    assert (rig.running().signal, rig.engine.counts.signals) == (before, 1)
    assert rig.engine.room.escorts.keys() == {1}


def test_after_a_restart_the_guard_finds_it_again(rig):
    unreadable(rig)
    after = rig.reborn()
    after.tell(ev.PositionOpened(LONG, WHOLE, after.now))
    assert after.engine.guards == {}
    after.wait()
    after.quote(501, 9_000)
    after.positions({501: 300})
    hit_stop(after)
    assert after.running().signal.urgency is Urgency.HIGH


def test_a_guard_beside_a_whole_exit_believes_no_doubted_price(rig):
    guarded(rig, levels=WHOLE)
    rig.quote(501, 10_100)
    key = LONG.legs[0].instrument.key
    rig.tell(ev.PricesDoubted((key,), "silence", rig.now))
    assert rig.engine.room.escorts[1].stale_keys(rig.now) == (key,)


def test_rows_that_are_not_those_of_a_whole_exit_get_no_guard_beside_it(rig):
    guarded(rig, levels=WHOLE)
    rig.quote(501, 10_100)
    after = rig.reborn()
    after.tell(ev.PositionOpened(position(1, replace(LONG.legs[0], units=600)), WHOLE, after.now))
    assert after.engine.guards == after.engine.room.escorts == {}


def test_a_position_that_is_gone_is_new_when_it_comes_back(rig):
    """Else it could be called closed outside before its entry has filled."""
    guarded(rig, levels=ExitLevels())
    rig.wait(1.1)
    rig.positions({501: 300})
    assert rig.engine._watch.outside.seen_held == {1}
    rig.exit()
    rig.tell(ev.PositionGone(1, rig.now))
    finish(rig)
    assert rig.running() is None
    assert rig.engine._watch.outside.seen_held == set()


def test_a_second_share_is_not_begun_while_one_runs(rig):
    half_under_way(rig)
    running = rig.running()
    signal = replace(running.signal, action=Action.CLOSE_75, urgency=Urgency.HIGH)
    assert not press(rig.desk, running, signal, LONG)
    assert running.signal.action is Action.CLOSE_50
