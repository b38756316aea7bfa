"""What the broker holds: where each age and each doubt begins and ends, to the nanosecond."""

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.holdings import Holdings, NetRange
from core.model.orders import OrderReport, OrderStatus, Side
from core.model.position import BrokerPosition, PositionReport
from tests.unit.order_side.rig import MS, S, holding

SETTINGS = DeskSettings()
LAG = 3 * S


def report(net, received, requested=None):
    return PositionReport(
        (BrokerPosition(holding(), net, 0, 0),), received if requested is None else requested, received
    )


def foreign(filled, status, quantity=75, side=Side.BUY):
    return OrderReport("f1", "", holding(), side, quantity, filled, status, None)


@pytest.fixture
def held() -> Holdings:
    """150 short at the broker, as read at 100 s."""
    made = Holdings(lag_ns=LAG)
    made.rebase(holding(), report(-150, 100 * S))
    return made


def test_nothing_is_being_read_before_the_first_question():
    fresh = Holdings(lag_ns=LAG)
    assert not fresh.read_in_flight
    assert not fresh.is_reading(5)


def test_a_question_is_open_until_its_answer_its_failure_or_fifteen_seconds(held):
    held.ask(100 * S)
    assert held.is_reading(115 * S - 1)
    assert not held.is_reading(115 * S)
    held.take_failure(101 * S)
    assert not held.is_reading(101 * S)
    held.ask(102 * S)
    held.take_report(report(-150, 103 * S))
    assert not held.is_reading(103 * S)


def test_failures_are_counted_from_the_first_one_after_the_last_good_report(held):
    held.take_report(report(-150, 100 * S))
    held.take_failure(101 * S)
    held.take_failure(110 * S)
    assert not held.unreadable(111 * S - 1, SETTINGS)
    assert held.unreadable(111 * S, SETTINGS)
    held.take_report(report(-150, 112 * S))
    assert not held.unreadable(200 * S, SETTINGS)
    held.take_failure(113 * S)
    assert not held.unreadable(123 * S - 1, SETTINGS)
    assert held.unreadable(123 * S, SETTINGS)


def test_the_last_good_report_serves_for_a_minute_while_nothing_can_be_read(held):
    held.take_report(report(-150, 100 * S))
    assert not held.usable_when_unreadable(130 * S, SETTINGS), "nothing has failed yet"
    held.take_failure(101 * S)
    assert held.usable_when_unreadable(160 * S, SETTINGS)
    assert not held.usable_when_unreadable(160 * S + 1, SETTINGS)
    assert not Holdings(LAG, failing_since_ns=1).usable_when_unreadable(160 * S, SETTINGS)


def test_a_report_is_young_enough_to_order_by_for_half_a_second(held):
    held.take_report(report(-150, 100 * S, requested=99 * S))
    assert held.is_fresh(99 * S, 100 * S + 500 * MS, SETTINGS)
    assert not held.is_fresh(99 * S, 100 * S + 500 * MS + 1, SETTINGS)
    assert not held.is_fresh(99 * S + 1, 100 * S, SETTINGS), "it was asked for before the fill"


def test_repeated_reports_of_other_peoples_orders_leave_nothing_behind(held):
    for at in range(105, 205):
        held.take_foreign(foreign(25, OrderStatus.PART_TRADED), at * S)
    assert [movement.units for movement in held.movements[holding()]] == [25]


def test_somebody_who_enlarges_his_order_has_more_reserved(held):
    held.take_foreign(foreign(0, OrderStatus.PENDING, quantity=75), 105 * S)
    held.take_foreign(foreign(0, OrderStatus.PENDING, quantity=150), 106 * S)
    assert held.foreign_leaves(holding(), 1) == 150


def test_a_cancelled_order_that_was_filled_after_all_is_known_as_filled(held):
    held.take_foreign(foreign(25, OrderStatus.CANCELLED), 105 * S)
    held.take_foreign(foreign(75, OrderStatus.TRADED), 106 * S)
    assert held.foreign[holding()]["f1"].report == foreign(75, OrderStatus.TRADED)
    assert sum(movement.units for movement in held.movements[holding()]) == 75


def test_a_foreign_fill_is_surely_new_only_if_its_order_was_seen_later_than_the_base_can_lag(held):
    held.take_foreign(foreign(0, OrderStatus.PENDING), 100 * S + LAG)
    held.take_foreign(foreign(75, OrderStatus.TRADED), 110 * S)
    assert held.model(holding()) == NetRange(-150, -75), "the base may hold it already"
    later = Holdings(lag_ns=LAG)
    later.rebase(holding(), report(-150, 100 * S))
    later.take_foreign(foreign(0, OrderStatus.PENDING), 100 * S + LAG + 1)
    later.take_foreign(foreign(75, OrderStatus.TRADED), 110 * S)
    assert later.model(holding()) == NetRange(-75, -75)


def test_a_new_base_has_taken_in_what_was_seen_longer_ago_than_reports_lag(held):
    held.take_foreign(foreign(75, OrderStatus.TRADED), 105 * S)
    held.rebase(holding(), report(-75, 105 * S + LAG - 1))
    assert held.model(holding()) == NetRange(-75, 0)
    held.rebase(holding(), report(-75, 105 * S + LAG))
    assert held.model(holding()) == NetRange(-75, -75)


def test_a_base_is_dated_by_when_its_report_came_not_by_when_it_was_asked_for(held):
    held.rebase(holding(), report(-150, 104 * S, requested=100 * S))
    held.take_foreign(foreign(0, OrderStatus.PENDING), 105 * S)
    held.take_foreign(foreign(75, OrderStatus.TRADED), 110 * S)
    assert held.model(holding()) == NetRange(-150, -75)


def test_one_unit_less_at_the_broker_lowers_the_model(held):
    held.admit_less(holding(), Side.BUY, report(-149, 105 * S))
    assert held.model(holding()) == NetRange(-149, -149)


def test_a_report_that_agrees_puts_nothing_in_doubt(held):
    held.take_foreign(foreign(0, OrderStatus.PENDING), 104 * S)
    held.admit_less(holding(), Side.BUY, report(-150, 110 * S))
    held.take_foreign(foreign(75, OrderStatus.TRADED), 112 * S)
    assert held.model(holding()) == NetRange(-75, -75)


def test_ended_orders_of_others_are_forgotten_when_they_were_last_seen_long_ago(held):
    held.take_foreign(foreign(75, OrderStatus.TRADED), 105 * S)
    held.drop_old(105 * S)
    assert set(held.foreign[holding()]) == {"f1"}
    held.drop_old(105 * S + 1)
    assert held.foreign[holding()] == {}
