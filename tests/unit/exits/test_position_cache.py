import pytest

from core.model.market import QuoteSource
from core.position_cache_manager import OPEN_BOUND, REFUSAL_LIMIT_NS, PositionCacheManager
from tests.unit.exits.builders import S, key, leg, position, quote


@pytest.fixture
def cache():
    return PositionCacheManager()


def banded(booked, lower=-100_000, upper=100_000):
    booked.lower, booked.upper = lower, upper
    return booked


def test_pnl_is_unknown_until_every_leg_has_a_mark(cache):
    booked = cache.put(position(leg(1, 75, 40), leg(2, -75, 120)))
    assert (booked.pnl, booked.missing) == (None, 2)
    cache.apply(quote(1, 42.35))
    assert (booked.pnl, booked.missing) == (None, 1)
    cache.apply(quote(2, 163.05))
    assert (booked.pnl, booked.missing) == (-305_250, 0)


def test_a_leg_without_entry_keeps_the_pnl_unknown_whatever_it_trades_at(cache):
    booked = cache.put(position(leg(1, 75, None)))
    cache.apply(quote(1, 42))
    assert (booked.pnl, booked.missing) == (None, 1)


def test_a_position_put_later_knows_the_marks_and_what_was_realised(cache):
    cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 41))
    assert cache.put(position(leg(1, -75, 40), strategy_id=2), realised=500).pnl == -7_500 + 500


def test_a_replaced_position_keeps_marks_and_counts_no_key_change(cache):
    cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 41))
    cache.take_key_changes()
    booked = cache.put(position(leg(1, 150, 40)))
    assert booked.pnl == 15_000
    assert cache.take_key_changes() == (frozenset(), frozenset())
    assert cache.get(1) is booked
    assert cache.booked() == (booked,)
    cache.apply(quote(1, 42))
    assert booked.pnl == 30_000


def test_several_legs_and_several_positions_on_one_instrument(cache):
    first = cache.put(position(leg(1, 75, 40), leg(1, 75, 50)))
    second = cache.put(position(leg(1, -75, 40), strategy_id=2))
    for price in (45, 47):
        cache.apply(quote(1, price))
    assert first.pnl == 75 * 700 - 75 * 300
    assert second.pnl == -75 * 700


def test_keys_are_counted_by_reference_and_changes_are_net(cache):
    cache.put(position(leg(1, 75, 40), leg(2, 75, 40)))
    cache.put(position(leg(2, 75, 40), strategy_id=2))
    assert cache.take_key_changes() == ({key(1), key(2)}, frozenset())
    cache.remove(1)
    assert set(cache.keys()) == {key(2)}
    assert cache.take_key_changes() == (frozenset(), {key(1)})
    cache.put(position(leg(3, 75, 40), strategy_id=3))
    cache.remove(3)
    cache.remove(3)
    assert cache.take_key_changes() == (frozenset(), frozenset())


def test_a_tick_inside_the_band_returns_the_shared_empty_tuple(cache):
    banded(cache.put(position(leg(1, 75, 40))))
    cache.apply(quote(1, 40))
    assert cache.apply(quote(1, 41)) is cache.apply(quote(1, 42))
    assert cache.apply(quote(99, 41)) == ()


@pytest.mark.parametrize(("last", "is_out"), [(53.30, False), (53.35, True), (26.70, False), (26.65, True)])
def test_the_band_excludes_its_ends(cache, last, is_out):
    booked = banded(cache.put(position(leg(1, 75, 40))), -100_125, 100_125)
    cache.apply(quote(1, 40))
    assert (booked in cache.apply(quote(1, last))) is is_out


def test_the_first_mark_can_leave_the_band_at_once(cache):
    booked = banded(cache.put(position(leg(1, 75, 40))))
    assert list(cache.apply(quote(1, 10))) == [booked]


def test_a_watched_position_gets_every_tick_even_without_a_pnl(cache):
    booked = cache.put(position(leg(1, 75, 40), leg(2, 75, 40)))
    other = cache.put(position(leg(1, 75, 40), strategy_id=2))
    booked.watched = True
    assert (other.lower, other.upper) == (-OPEN_BOUND, OPEN_BOUND)
    assert list(cache.apply(quote(1, 40))) == [booked]
    cache.apply(quote(2, 40))
    other.watched = True
    assert list(cache.apply(quote(1, 40))) == [booked, other]


def test_the_mark_is_the_last_price_clamped_into_the_book(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 90, bid=39, ask=41))
    assert booked.slots[0].mark == 4_100
    assert booked.quote_of(0).last == 9_000


def test_the_slot_remembers_what_the_newest_quote_replaced(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    assert (booked.quote_of(0), booked.slots[0].updates, booked.slots[0].previous_mark) == (None, 0, None)
    cache.apply(quote(1, 40, at=5))
    assert booked.slots[0].previous_mark is None
    cache.apply(quote(1, 41, at=9))
    slot = cache.slot_of(key(1))
    assert (slot.previous_mark, slot.previous_ns, slot.updates, slot.quote.received_ns) == (4_000, 5, 2, 9)


def test_a_late_quote_is_dropped_and_counted_an_equal_one_is_not(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 40, exchange_time=100))
    cache.apply(quote(1, 41, exchange_time=99, at=1))
    assert (booked.slots[0].mark, cache.late) == (4_000, 1)
    cache.apply(quote(1, 41, exchange_time=100, at=2))
    cache.apply(quote(1, 42, exchange_time=None, at=3))
    assert (booked.slots[0].mark, cache.late) == (4_200, 1)


def test_only_the_feed_moves_the_newest_exchange_time(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 40, exchange_time=500, source=QuoteSource.REST))
    cache.apply(quote(1, 41, exchange_time=100))
    cache.apply(quote(1, 42, exchange_time=99, source=QuoteSource.REST))
    assert (booked.slots[0].mark, cache.late) == (4_100, 1)


def test_an_absurd_price_is_dropped_and_counted(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 1))
    cache.apply(quote(1, 100.05, at=1))
    cache.apply(quote(1, 1, bid=101, ask=102, at=2))
    assert (booked.slots[0].mark, cache.absurd) == (100, 2)
    cache.apply(quote(1, 100, at=3))
    assert (booked.slots[0].mark, cache.absurd) == (10_000, 2)


def test_a_price_that_stays_absurd_becomes_the_new_baseline(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 0.05, book=False))
    cache.apply(quote(1, 40, at=S))
    cache.apply(quote(1, 41, at=S + REFUSAL_LIMIT_NS - 1))
    assert (booked.slots[0].mark, cache.absurd) == (5, 2)
    cache.apply(quote(1, 42, at=S + REFUSAL_LIMIT_NS))
    assert (booked.slots[0].mark, cache.absurd) == (4_200, 2)


def test_an_exchange_time_from_the_future_does_not_blind_the_position(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 40, exchange_time=10**9))
    for step in range(4):
        cache.apply(quote(1, 41 + step, exchange_time=100 + step, at=S * step))
    assert (booked.slots[0].mark, cache.late) == (4_400, 2)


def test_a_good_quote_in_between_starts_the_wait_anew(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 1))
    cache.apply(quote(1, 500, at=1))
    cache.apply(quote(1, 1, at=S))
    cache.apply(quote(1, 500, at=REFUSAL_LIMIT_NS + 1))
    assert (booked.slots[0].mark, cache.absurd) == (100, 2)
