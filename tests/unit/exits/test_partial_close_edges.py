"""Shares of a position where one unit or one lot decides."""

import pytest

from core.exits.partial_close import part_to_close, rest_of
from core.model.exit_levels import Action
from tests.unit.exits.builders import call, position, put, stock

LOT = 75


def units(found):
    return None if found is None else [leg.units for leg in found.legs]


@pytest.mark.parametrize(("action", "lots"), [(Action.CLOSE_25, 25), (Action.CLOSE_50, 50), (Action.CLOSE_75, 75)])
def test_of_a_hundred_lots_the_share_is_exact(action, lots):
    assert units(part_to_close(position(call(1, 100 * LOT, 26_000, 100)), action, {})) == [lots * LOT]


@pytest.mark.parametrize(("lots", "expected"), [(99, 49), (101, 50), (3, 1)])
def test_half_of_an_odd_number_of_lots_is_rounded_down(lots, expected):
    assert units(part_to_close(position(put(1, -lots * LOT, 25_000, 80)), Action.CLOSE_50, {})) == [-expected * LOT]


def test_one_leg_with_an_odd_lot_keeps_the_whole_position_together():
    assert part_to_close(position(call(1, 2 * LOT, 26_000, 100), put(2, -100, 25_000, 80)), Action.CLOSE_50, {}) is None
    assert part_to_close(position(call(1, 100, 26_000, 100), put(2, -2 * LOT, 25_000, 80)), Action.CLOSE_50, {}) is None
    assert part_to_close(position(call(1, 300, 26_000, 100), put(2, -175, 25_000, 80)), Action.CLOSE_50, {}) is None


def test_a_share_of_one_unit_is_closed():
    assert units(part_to_close(position(stock(1, 4, 100)), Action.CLOSE_25, {})) == [1]
    assert part_to_close(position(stock(1, 4, 100)), Action.CLOSE_25, {1: 1}) is None
    assert units(part_to_close(position(stock(1, 4, 100)), Action.CLOSE_75, {1: 2})) == [1]


def test_one_unit_that_is_left_stays_on_its_side():
    assert units(rest_of(position(stock(1, 4, 100)), {1: 3})) == [1]
    assert units(rest_of(position(stock(1, -4, 100)), {1: 3})) == [-1]
    assert units(rest_of(position(stock(1, 1, 100), stock(2, -1, 100)), {})) == [1, -1]
    assert rest_of(position(stock(1, 4, 100)), {1: 4}) is None
