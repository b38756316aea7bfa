"""A sum over positions moves like the P&L of one."""

import pytest

from core.position_cache_manager import OPEN_BOUND, PositionCacheManager
from core.position_tally import OwnTally, Tally
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


class TestOfOnePosition:
    """A limit of one strategy rides on that position's own band: its ticks carry no other holder."""

    def test_no_instrument_carries_it(self, cache):
        tally = OwnTally(cache)
        booked_in(cache, tally, leg(1, 75, 100), leg(2, -75, 50))
        for security_id in (1, 2):
            cache.apply(quote(security_id, 100))
            assert all(holder is not tally for holder, _ in cache.slot_of(quote(security_id, 1).key).holders)
        assert (tally.total, tally.legs, tally.missing) == (-50 * 75_00, 2, 0)

    def test_its_band_is_inside_the_position_s(self, cache):
        tally = OwnTally(cache)
        booked = booked_in(cache, tally, leg(1, 75, 100))
        cache.apply(quote(1, 100))
        booked.rearm = lambda: booked.set_band(-900, 900, watched=False)
        tally.arm(-500, 5_000)
        assert (booked.lower, booked.upper, booked.watched) == (-500, 900, False)
        tally.watch(is_on=True)
        assert booked.watched
        tally.watch(is_on=False)
        tally.arm(-OPEN_BOUND, OPEN_BOUND)
        assert (booked.lower, booked.upper, booked.watched) == (-900, 900, False)
        tally.arm(-1, 1)
        tally.drop(booked)
        assert (booked.lower, booked.upper, booked.cap) == (-900, 900, None)
        assert (tally.total, tally.legs) == (0, 0)

    @pytest.mark.parametrize(
        ("pnl", "watched", "wants"), [(0, False, False), (-5, False, True), (5, False, True), (0, True, True)]
    )
    def test_it_wants_a_look_where_the_cache_would_ask_its_judge(self, cache, pnl, watched, wants):
        tally = Tally(cache)
        tally.arm(-5, 5)
        tally.pnl = pnl
        tally.watch(is_on=watched)
        assert tally.wants_look is wants
