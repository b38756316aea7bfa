import pytest

from core.model.market import QuoteSource
from core.position_backlog import BACKLOG_NS, STANDSTILL_NS, Backlog
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


def test_the_slot_remembers_the_newest_quote_that_said_something_else(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    slot = booked.slots[0]
    assert (booked.quote_of(0), slot.updates, slot.previous, slot.tick) == (None, 0, None, 5)
    first, second = quote(1, 40, at=5), quote(1, 41, at=9)
    cache.apply(first)
    assert slot.previous is None
    cache.apply(first._replace(received_ns=6, source=QuoteSource.REST))
    assert (slot.previous, slot.updates, slot.quote.received_ns) == (None, 2, 6)
    cache.apply(second)
    assert (slot.previous.last, slot.previous.received_ns, slot.quote) == (4_000, 6, second)
    cache.apply(second._replace(received_ns=10))
    assert (slot.previous.last, slot.updates) == (4_000, 4)


@pytest.mark.parametrize(
    "change", [{"bid_size": 1}, {"ask_size": 1}, {"bid": 4_000}, {"ask": 4_200}, {"exchange_time": 7}, {"last": 4_101}]
)
def test_any_news_in_a_packet_makes_it_another_one(cache, change):
    booked = cache.put(position(leg(1, 75, 40)))
    first = quote(1, 41, at=5)
    cache.apply(first)
    cache.apply(first._replace(received_ns=6, **change))
    assert booked.slots[0].previous is first


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


def test_a_saved_price_moves_the_shown_pnl_and_returns_nobody(cache):
    booked = banded(cache.put(position(leg(1, 75, 40), leg(2, 75, 40))), -1, 1)
    booked.watched = True
    assert cache.apply(quote(1, 50, source=QuoteSource.CACHE)) == ()
    assert cache.apply(quote(2, 50, bid=60, ask=61, source=QuoteSource.CACHE, exchange_time=10**9)) == ()
    assert (booked.pnl, booked.missing) == (75 * 1_000 + 75 * 2_000, 0)
    assert cache.slot_of(key(2)).exchange_time == 0
    assert list(cache.apply(quote(1, 45))) == [booked]
    assert booked.pnl == 75 * 500 + 75 * 2_000


def test_a_saved_price_below_one_tick_is_not_shown(cache):
    booked = cache.put(position(leg(1, 75, 40)))
    cache.apply(quote(1, 0.04, book=False, source=QuoteSource.CACHE))
    assert (booked.pnl, booked.quote_of(0)) == (None, None)


class TestBacklog:
    """`holds` for receipts around a standstill. The beat comes each quarter of a second otherwise."""

    def held(self, backlog, *received_ns):
        return [backlog.holds(quote(1, 40, at=at)) for at in received_ns]

    def test_nothing_is_held_before_the_first_time_and_while_the_clock_is_told(self):
        backlog = Backlog()
        backlog.note_quote(99 * S)
        assert self.held(backlog, 0, 99 * S) == [False, False]
        for at in (0, STANDSTILL_NS, 2 * STANDSTILL_NS):
            backlog.note_time(at)
            backlog.note_quote(at + STANDSTILL_NS)
            assert self.held(backlog, at, at + STANDSTILL_NS) == [False, False]

    @pytest.mark.parametrize("notice", ["note_quote", "note_time"])
    def test_a_standstill_holds_what_came_since_the_last_time_until_its_end(self, notice):
        backlog = Backlog()
        backlog.note_time(10 * S)
        getattr(backlog, notice)(15 * S)
        times = (10 * S - 1, 10 * S, 15 * S, 15 * S + BACKLOG_NS - 1, 15 * S + BACKLOG_NS)
        assert self.held(backlog, *times) == [False, True, True, True, False]

    def test_it_is_over_with_the_first_time_after_its_end(self):
        backlog = Backlog()
        backlog.begin(15 * S, 5 * S)
        for at in range(16 * S, 15 * S + BACKLOG_NS, S // 4):
            backlog.note_time(at)
            assert self.held(backlog, 15 * S) == [True]
        backlog.note_time(15 * S + BACKLOG_NS)
        assert self.held(backlog, 15 * S) == [False]

    def test_standstills_on_top_of_each_other_are_one(self):
        backlog = Backlog()
        backlog.begin(15 * S, 5 * S)
        backlog.begin(16 * S, S // 2)
        assert (backlog.from_ns, backlog.until_ns) == (10 * S, 16 * S + BACKLOG_NS)
