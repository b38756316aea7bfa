"""How late the feed is: trades that are news against the usual delay, whatever the clocks and the encoding add."""

import pytest

from core.exits.feed_lag import FeedLag
from tests.unit.exits.builders import S, key, quote

UTC = 1_795_000_000 * S


class Feed:
    """`shift_s` is what the encoding of the trade time adds. Time starts at 1,000 s on the monotonic clock."""

    def __init__(self, shift_s=0):
        self.lag, self.shift_s, self.now, self.quotes, self.step = FeedLag(), shift_s, 1_000 * S, {}, 0

    def trade(self, security_id, late_s, *, book_only=False):
        time = (UTC + self.now) // S - late_s - self.shift_s
        if book_only:
            time = self.quotes[key(security_id)].exchange_time
        self.quotes[key(security_id)] = quote(security_id, 100, at=self.now, exchange_time=time)

    def look(self, after_s=0.25):
        self.lag.look(map(key, range(1, 20)), self.quotes.get, self.now, UTC + self.now + self.step)
        self.now += int(after_s * S)
        return self.lag.is_late(self.now)

    def run(self, seconds, late_s):
        found = False
        for _ in range(int(seconds)):
            self.trade(1, late_s)
            for _ in range(4):
                found = self.look()
        return found


@pytest.mark.parametrize("shift_s", [0, 19_800])
def test_f25_more_than_5_s_late_for_3_s_is_late_in_either_encoding(shift_s):
    feed = Feed(shift_s)
    assert not feed.run(60, 1)
    assert not feed.run(20, 6), "five seconds above the usual one are not more than five"
    assert not feed.run(2 + 3, 8), "two seconds pass until the first trade comes"
    assert feed.run(1, 8)
    assert feed.lag.lag_ns == 7 * S
    assert not feed.run(1, 1), "one trade in time ends it"


def test_an_old_trade_under_a_moving_book_is_no_delay():
    feed = Feed()
    feed.run(10, 0)
    feed.trade(2, 3_600)
    for _ in range(200):
        feed.trade(2, 0, book_only=True)
        assert not feed.look()


def test_the_first_packets_of_new_instruments_tell_of_old_trades_and_of_no_delay():
    feed = Feed()
    feed.run(10, 0)
    for number in range(2, 20):
        feed.trade(number, 7_200)
        assert not feed.look(after_s=1)


def test_nothing_is_known_before_a_trade_or_without_trade_times():
    feed = Feed()
    assert not feed.look()
    feed.quotes[key(1)] = quote(1, 100, at=feed.now)
    assert not feed.look()
    assert feed.lag.lag_ns == 0


def test_late_is_forgotten_when_no_trade_comes_any_more():
    feed = Feed()
    feed.run(10, 0)
    assert feed.run(30, 20)
    assert feed.look(after_s=8)
    assert not feed.look(after_s=3)


def test_the_quickest_instrument_counts_and_the_best_of_ten_minutes():
    feed = Feed()
    feed.run(10, 0)
    for _ in range(20):
        feed.trade(1, 50)
        feed.trade(2, 0)
        assert not feed.look(after_s=1)
    assert feed.run(599, 20)
    assert not feed.run(60, 20), "after ten minutes it is the usual delay"


def test_f24_a_clock_that_was_set_starts_anew():
    feed = Feed()
    feed.run(10, 0)
    feed.step = 3_600 * S
    assert not feed.run(30, 0)
    feed.step = 0
    assert not feed.run(30, 0)
    assert feed.run(20, 9)
