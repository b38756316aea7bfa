"""What the broker reports against the rows: gone, smaller, or held both ways."""

from dataclasses import replace

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.reconcile import OutsideWatch, Shortfall, netted_holdings, shortfalls
from core.model.position import BrokerPosition, PositionReport
from tests.unit.order_side.rig import NOON, SHORT, SPREAD, S, holding, leg, position

YOUNG = position(1, *(replace(one, opened_at="2026-11-20T11:59:30") for one in SPREAD.legs))
"""Its rows were written half a minute before noon, the time of all reports here."""


def report(nets, at_s):
    rows = tuple(BrokerPosition(holding(security_id), net, 0, 0) for security_id, net in nets.items())
    return PositionReport(rows, at_s * S, at_s * S)


@pytest.fixture
def outside() -> OutsideWatch:
    return OutsideWatch(DeskSettings())


def is_gone(outside, held, nets, at_s):
    return outside.is_closed_outside(held, report(nets, at_s), NOON)


def test_a_position_of_which_one_leg_is_there_is_not_closed(outside):
    assert not is_gone(outside, SPREAD, {501: 0, 502: 75}, 0)
    assert not is_gone(outside, SPREAD, {501: 0, 502: 75}, 20)
    assert not is_gone(outside, SPREAD, {}, 21)
    assert not is_gone(outside, SPREAD, {}, 30)
    assert is_gone(outside, SPREAD, {}, 31)


def test_a_young_row_is_closed_outside_only_if_it_was_seen_held(outside):
    assert not is_gone(outside, YOUNG, {}, 0)
    assert not is_gone(outside, YOUNG, {}, 10), "its entry may not have filled yet"
    assert not is_gone(outside, YOUNG, {501: -75, 502: 75}, 11)
    assert not is_gone(outside, YOUNG, {}, 12)
    assert is_gone(outside, YOUNG, {}, 22)


def test_what_is_forgotten_must_be_seen_held_again(outside):
    is_gone(outside, YOUNG, {501: -75, 502: 75}, 0)
    outside.forget(1)
    is_gone(outside, YOUNG, {}, 1)
    assert not is_gone(outside, YOUNG, {}, 20)


def test_one_young_leg_makes_the_position_young(outside):
    held = position(1, SPREAD.legs[0], YOUNG.legs[1])
    is_gone(outside, held, {}, 0)
    assert not is_gone(outside, held, {}, 20)


def test_a_row_whose_time_cannot_be_read_is_as_new_as_can_be():
    outside = OutsideWatch(DeskSettings(new_row_grace_s=1))
    held = position(1, replace(SHORT.legs[0], opened_at="yesterday"))
    is_gone(outside, held, {}, 0)
    assert not is_gone(outside, held, {}, 20)


def test_one_unit_held_both_ways_says_nothing_when_the_net_is_zero():
    assert netted_holdings([position(1, leg(1, 501, 1)), position(2, leg(2, 501, -1))]) == {holding()}
    assert netted_holdings([position(1, leg(1, 501, 1)), position(2, leg(2, 501, 1))]) == frozenset()
    assert netted_holdings([position(1, leg(1, 501, -1)), position(2, leg(2, 501, -1))]) == frozenset()


def test_one_unit_too_few_is_a_shortfall_and_nothing_at_all_is_not():
    assert shortfalls([SHORT], report({501: -74}, 0)) == (Shortfall(holding(), -75, -74),)
    assert shortfalls([SHORT], report({501: -75}, 0)) == ()
    assert shortfalls([SHORT], report({501: 0}, 0)) == ()
    assert shortfalls([SHORT], report({501: 1}, 0)) == (Shortfall(holding(), -75, 1),)
