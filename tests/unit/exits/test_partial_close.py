"""Shares of a position: whole lots, kept ratio, fractions of the original."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.partial_close import PERCENT_OF, part_to_close, rest_of
from core.model.exit_levels import Action
from tests.unit.exits.builders import call, position, put

LOT = 75


def units(found):
    return None if found is None else [leg.units for leg in found.legs]


def spread(long_lots, short_lots):
    return position(call(1, long_lots * LOT, 26_000, 100), put(2, -short_lots * LOT, 25_000, 80))


@pytest.mark.parametrize(
    ("lots", "action", "closed", "expected"),
    [
        ((4, 4), Action.CLOSE_50, {}, [150, -150]),
        ((4, 4), Action.CLOSE_75, {}, [225, -225]),
        ((4, 4), Action.CLOSE_25, {}, [75, -75]),
        ((4, 4), Action.CLOSE_50, {1: 75, 2: 75}, [75, -75]),  # cumulative: a quarter is gone, a quarter more goes
        ((4, 4), Action.CLOSE_25, {1: 150, 2: 150}, None),  # half is gone already
        ((3, 3), Action.CLOSE_50, {}, [75, -75]),  # rounded down to whole lots
        ((2, 4), Action.CLOSE_50, {}, [75, -150]),  # the ratio 1 : 2 is kept
        ((1, 1), Action.CLOSE_50, {}, None),  # one lot cannot be split
        ((1, 2), Action.CLOSE_75, {}, None),  # nor can 1 : 2 with one lot on a side
    ],
)
def test_the_part_that_an_action_closes(lots, action, closed, expected):
    assert units(part_to_close(spread(*lots), action, closed)) == expected


def test_an_odd_lot_is_not_split():
    assert part_to_close(position(call(1, 100, 26_000, 100)), Action.CLOSE_50, {}) is None


def test_the_rest_is_what_was_not_closed():
    assert units(rest_of(spread(4, 4), {1: 150, 2: 75})) == [150, -225]
    assert units(rest_of(spread(1, 1), {1: 75})) == [-75]
    assert rest_of(spread(1, 1), {1: 75, 2: 75}) is None


@given(lots=st.lists(st.integers(1, 40), min_size=1, max_size=4), action=st.sampled_from(sorted(PERCENT_OF)))
def test_a_part_and_its_rest_are_the_whole_in_the_same_ratio(lots, action):
    whole = position(*(call(i, LOT * n * (-1) ** i, 26_000, 100) for i, n in enumerate(lots, start=1)))
    part = part_to_close(whole, action, {})
    if part is None:
        return
    gone = {leg.row_id: abs(leg.units) for leg in part.legs}
    rest = rest_of(whole, gone)
    for index, leg in enumerate(whole.legs):
        closed, left = part.legs[index].units, rest.legs[index].units
        assert closed + left == leg.units
        assert closed % LOT == 0
        assert abs(closed) * 100 <= abs(leg.units) * PERCENT_OF[action]
        assert closed * whole.legs[0].units == part.legs[0].units * leg.units
