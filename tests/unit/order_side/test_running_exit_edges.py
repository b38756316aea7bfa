"""One exit under way: what the broker's words leave of an order, rounds, prices and the newest change."""

import pytest

from core.exits.exit_lifecycle import AttemptState, LegState
from core.exits.order_gate import per_minute
from core.exits.running_exit import Attempt, RunningLeg, start_legs
from core.model.journal_records import AttemptObserved
from core.model.orders import OrderIntent, OrderReport, OrderStatus, Side
from tests.unit.order_side.rig import SHORT, SPREAD, Rig, S, holding, leg, position
from tests.unit.order_side.test_orders_under_way import attempt_of, send

INTENT = OrderIntent("Xone", holding(), Side.BUY, 75, 10_000)


def report(filled, status=OrderStatus.PART_TRADED, average=None, order_id="1", reason=""):
    return OrderReport(order_id, "Xone", holding(), Side.BUY, 75, filled, status, average, reason)


@pytest.fixture
def attempt() -> Attempt:
    return Attempt(INTENT, 1, 100)


@pytest.fixture
def running_leg() -> RunningLeg:
    return RunningLeg(0, leg(11, 501, -75), LegState.OPEN, per_minute(12))


def test_what_may_still_fill_is_what_is_not_filled(attempt):
    assert attempt.leaves == 75
    attempt.fold(report(25, average=10_000), 200)
    assert attempt.leaves == 50
    attempt.fold(report(25, OrderStatus.CANCELLED), 300)
    assert attempt.leaves == 0


def test_the_first_number_of_an_order_stays(attempt):
    attempt.fold(report(0, OrderStatus.PENDING, order_id="1"), 200)
    attempt.fold(report(0, OrderStatus.PENDING, order_id="2"), 300)
    assert attempt.order_id == "1"


def test_a_price_that_comes_after_the_fill_is_taken_and_then_stays(attempt):
    attempt.fold(report(25, average=None), 200)
    assert attempt.average is None
    assert attempt.fold(report(25, average=10_000), 300), "that is news"
    assert attempt.average == 10_000
    attempt.fold(report(25, average=9_000), 400)
    attempt.fold(report(0, OrderStatus.PENDING), 500)
    assert (attempt.filled, attempt.average) == (25, 10_000)
    attempt.fold(report(50, average=9_500), 600)
    assert (attempt.filled, attempt.average) == (50, 9_500)


def test_an_overtaken_report_brings_no_price_for_a_fill_without_one(attempt):
    attempt.fold(report(50, average=None), 200)
    attempt.fold(report(25, average=10_000), 300)
    assert (attempt.filled, attempt.average) == (50, None)


def test_the_brokers_reason_is_written_down_and_kept():
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    first = send(rig)
    rig.report(first, OrderStatus.REJECTED, reason="RMS: margin")
    assert isinstance(rig.journal[-1], AttemptObserved)
    assert rig.journal[-1].reason == "RMS: margin"
    rig.report(first, OrderStatus.REJECTED, 25)
    assert rig.journal[-1].filled == 25
    assert rig.journal[-1].reason == "RMS: margin"


def test_an_order_without_an_end_is_unknown_since_its_outcome_was_lost():
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    send(rig)
    rig.wait(10)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    assert attempt_of(rig).unknown_since_ns == rig.now


def test_slices_side_by_side_are_one_round_and_the_next_is_one_more(running_leg):
    assert running_leg.round_of_next() == 1
    for number, expected in ((1, 1), (2, 1), (3, 1)):
        running_leg.attempts.append(Attempt(INTENT, number, 100, running_leg.round_of_next()))
        assert running_leg.attempts[-1].round == expected
    for attempt in running_leg.attempts:
        attempt.state = AttemptState.DEAD
    for number in (4, 5):
        running_leg.attempts.append(Attempt(INTENT, number, 100, running_leg.round_of_next()))
        assert running_leg.attempts[-1].round == 2
    assert running_leg.rounds == 2


def test_the_newest_change_of_a_leg_is_its_last_order_its_sending_or_its_end(running_leg):
    assert running_leg.last_change_ns == 0
    running_leg.attempts += [Attempt(INTENT, 1, 100), Attempt(INTENT, 2, 150)]
    assert running_leg.last_change_ns == 150
    running_leg.attempts[0].sent_ns = 200
    assert running_leg.last_change_ns == 200
    running_leg.attempts[0].ended_ns = 300
    assert running_leg.last_change_ns == 300
    running_leg.attempts[1].sent_ns = 250
    assert running_leg.last_change_ns == 300


def test_the_average_price_of_a_leg_is_weighted_and_in_whole_paise(running_leg):
    assert running_leg.average_price() is None
    running_leg.attempts.append(Attempt(INTENT, 1, 100, filled=1, average=9_000))
    assert running_leg.average_price() == 9_000
    running_leg.attempts.append(Attempt(INTENT, 2, 100, filled=2, average=9_001))
    assert running_leg.average_price() == 9_001
    assert isinstance(running_leg.average_price(), int)
    running_leg.attempts.append(Attempt(INTENT, 3, 100, filled=0, average=None))
    assert running_leg.average_price() == 9_001
    running_leg.attempts.append(Attempt(INTENT, 4, 100, filled=1, average=None))
    assert running_leg.average_price() is None


def test_longs_wait_for_shorts_and_for_nothing_else():
    budgets = (per_minute(1), per_minute(1))
    assert [one.state for one in start_legs(SPREAD, budgets)] == [LegState.OPEN, LegState.WAITING]
    longs = position(1, leg(11, 501, 75), leg(12, 502, 75))
    assert [one.state for one in start_legs(longs, budgets)] == [LegState.OPEN, LegState.OPEN]


def test_a_short_of_one_unit_holds_its_long_back():
    rig = Rig()
    rig.begin(position(1, leg(11, 501, -1, lot=1), leg(12, 502, 1, lot=1)), nets={501: -1, 502: 1})
    assert not rig.running().shorts_are_flat
    assert [intent.side for intent in rig.submitted()] == [Side.BUY]
    assert rig.running().legs[1].state is LegState.WAITING
    assert rig.now == 1_000 * S
