"""The exit of a share that was halted, or that sold too much: when it may still become one of the whole."""

from dataclasses import replace

import pytest

from core.model import events as ev
from core.model.exit_levels import (
    Urgency,
)
from core.model.orders import OrderStatus
from tests.unit.order_side.rig import Rig
from tests.unit.order_side.test_orders_under_way import only
from tests.unit.order_side.test_partial_exits import HALF, LONG
from tests.unit.order_side.test_widened_exits import STOP_AT, half_under_way, hit_stop


@pytest.fixture
def rig() -> Rig:
    return Rig()


def spent(rig):
    """A share whose two attempts a day have come to nothing."""
    half = half_under_way(rig)
    rig.report(half, OrderStatus.CANCELLED)
    for _ in range(4):
        rig.wait(0.4)
        rig.positions({501: 300})
        rig.quote(501, 10_100)
        for intent in rig.submitted():
            rig.accept(intent)
            rig.report(intent, OrderStatus.CANCELLED)
    assert "attempts" in rig.running().halted_reason


def test_a_share_that_is_out_of_attempts_becomes_the_whole_with_attempts_of_its_own():
    rig = Rig(settings=replace(Rig().settings, attempts_per_leg_per_day=2))
    spent(rig)
    hit_stop(rig)
    rig.positions({501: 300})
    assert only(rig.submitted()).quantity == 300
    assert rig.running().halted_reason == ""
    after = rig.reborn()
    assert (after.running().halted_reason, after.running().legs[0].attempts_that_count) == ("", 1)


def test_the_minute_of_the_share_does_not_hold_the_whole_exit_back(rig):
    rig = Rig(settings=replace(rig.settings, attempts_per_leg_per_minute=1))
    half_under_way(rig)
    hit_stop(rig)
    rig.positions({501: 300})
    assert only(rig.submitted()).quantity == 150


def test_a_share_that_sold_too_much_becomes_the_whole(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.TRADED, 225)
    assert "filled 225 of 150" in rig.running().halted_reason
    hit_stop(rig)
    rig.wait(4)
    rig.positions({501: 75})
    assert only(rig.submitted()).quantity == 75


def test_after_a_reversal_nothing_is_sent_and_a_person_is_paged_once(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.CANCELLED, 75)
    rig.wait(4)
    rig.positions({501: -75})
    assert "the broker's net is -75" in rig.running().halted_reason
    rig.take()
    hit_stop(rig)
    hit_stop(rig, STOP_AT - 100)
    assert rig.submitted() == []
    assert rig.running().is_share
    assert rig.running().signal.urgency is Urgency.HIGH
    assert rig.subjects().count("stop_loss fired, but the exit is halted") == 1


def test_it_becomes_the_whole_also_after_a_restart():
    rig = Rig(settings=replace(Rig().settings, attempts_per_leg_per_day=2))
    spent(rig)
    after = rig.reborn(5)
    after.tell(ev.PositionOpened(LONG, HALF, after.now))
    after.wait()
    after.quote(501, 9_000)
    hit_stop(after)
    after.wait(4)
    after.positions({501: 300})
    assert only(after.submitted()).quantity == 300


def test_a_reversal_after_the_last_attempt_is_the_graver_reason():
    rig = Rig(settings=replace(Rig().settings, attempts_per_leg_per_day=2))
    spent(rig)
    rig.running().legs[0].attempts[-1].filled = 1
    rig.wait(4)
    rig.positions({501: -75})
    assert "the broker's net is -75" in rig.running().halted_reason
    assert rig.subjects().count("exit halted") == 2
    assert not rig.reborn().running().may_widen
    hit_stop(rig)
    rig.positions({501: -75})
    assert rig.submitted() == []


def test_the_rest_of_a_share_that_sold_too_much_is_not_blind(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.TRADED, 225)
    rig.wait(4)
    rig.positions({501: 75})
    booked = rig.engine.guards[1].booked
    assert (booked.position.legs[0].units, booked.realised) == (75, 225 * (half.price - 9_000))
    assert booked.pnl == booked.realised + 75 * (10_100 - 9_000)
