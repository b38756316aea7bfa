"""A sum over positions moves like the P&L of one."""

import pytest

from core.position_cache_manager import PositionCacheManager
from core.position_tally import Tally
from tests.unit.exits.builders import leg, position, quote


@pytest.fixture
def cache():
    return PositionCacheManager()


@pytest.fixture
def tally(cache):
    return Tally(cache)


def booked_in(cache, tally, *legs, strategy_id=1):
    """A position that the tally counts, told as its owner tells it."""
    booked = cache.put(position(*legs, strategy_id=strategy_id))
    tally.add(booked)
    booked.on_recount = lambda before: tally.recounted(booked, before)
    return booked


def test_it_begins_at_nothing(tally):
    assert (tally.pnl, tally.total, tally.missing, tally.legs) == (0, 0, 0, 0)


def test_a_position_counts_from_its_first_marks_on(cache, tally):
    booked_in(cache, tally, leg(1, 75, 100), leg(2, -75, 50))
    cache.apply(quote(1, 101))
    assert (tally.total, tally.missing, tally.legs) == (0, 1, 0)
    cache.apply(quote(2, 49))
    assert (tally.total, tally.missing, tally.legs) == (75_00 + 75_00, 0, 2)
    cache.apply(quote(1, 103))
    assert tally.total == 3 * 75_00 + 75_00


def test_an_instrument_costs_one_holder_for_all_positions(cache, tally):
    for strategy_id in range(1, 5):
        booked_in(cache, tally, leg(1, 75, 100), strategy_id=strategy_id)
    cache.apply(quote(1, 101))
    slot = cache.slot_of(quote(1, 1).key)
    assert [units for holder, units in slot.holders if holder is tally] == [300]


def test_opposite_units_cancel_out(cache, tally):
    booked_in(cache, tally, leg(1, 75, 100), strategy_id=1)
    booked_in(cache, tally, leg(1, -75, 90), strategy_id=2)
    cache.apply(quote(1, 101))
    assert all(holder is not tally for holder, _ in cache.slot_of(quote(1, 1).key).holders)
    cache.apply(quote(1, 120))
    assert tally.total == 20 * 75_00 - 30 * 75_00


def test_what_is_dropped_takes_its_pnl_along(cache, tally):
    first = booked_in(cache, tally, leg(1, 75, 100), leg(1, 75, 101), strategy_id=1)
    second = booked_in(cache, tally, leg(1, -75, 90), strategy_id=2)
    third = booked_in(cache, tally, leg(3, 75, 10), strategy_id=3)
    cache.apply(quote(1, 102))
    tally.drop(third)
    assert tally.missing == 0
    cache.remove(1)
    tally.drop(first)
    assert tally.total == second.pnl == -12 * 75_00
    cache.apply(quote(1, 103))
    assert tally.total == second.pnl == -13 * 75_00
    tally.drop(second)
    assert (tally.total, tally.legs) == (0, 0)
    cache.remove(2)
    assert cache.slot_of(quote(1, 1).key) is None


def test_a_recount_moves_it_by_what_has_changed(cache, tally):
    booked = booked_in(cache, tally, leg(1, 75, 100))
    cache.apply(quote(1, 101))
    booked.realised = 5_00
    booked.recount()
    assert tally.total == 80_00


def test_a_position_that_is_not_known_any_more_is_missing(cache, tally):
    booked = booked_in(cache, tally, leg(1, 75, 100))
    cache.apply(quote(1, 101))
    booked.slots[0].mark = None
    booked.recount()
    booked.recount()
    assert (tally.total, tally.missing, tally.legs) == (0, 1, 0)
