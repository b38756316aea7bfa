"""How late the feed is: each limit at its nanosecond, clocks that are set, and trades that come together."""

import pytest

from core.exits.feed_lag import FeedLag
from core.model.market import Quote
from tests.unit.exits.builders import MS, S, key

UTC = 1_795_000_000 * S
"""The wall clock at the monotonic zero."""
LATE = 5 * S
WINDOW = 600 * S


class Feed:
    """Trades of one instrument after another, each told with its delay. The wall clock may be set."""

    def __init__(self):
        self.lag, self.wall, self.second = FeedLag(), UTC, 0
        self.seen(1, at=0, trade_s=0)
        self.seen(2, at=0, trade_s=0)

    def seen(self, *security_ids, at, trade_s):
        """Quotes received at `at` that tell of a trade at the given second of the exchange; None: of no time."""
        time = None if trade_s is None else UTC // S + trade_s
        quotes = {key(n): Quote(key(n), 100, 95, 105, 1, 1, time, at) for n in security_ids}
        self.lag.look(quotes, quotes.get, at, self.wall + at)

    def delayed(self, delay_ns, *, at, security_id=1):
        """A trade that is news and comes so much after it."""
        trade_s = -(-(at - delay_ns) // S)
        received = trade_s * S + delay_ns
        quote = Quote(key(security_id), 100, 95, 105, 1, 1, UTC // S + trade_s, received)
        self.lag.look([quote.key], {quote.key: quote}.get, at, self.wall + at)


def late(feed: Feed, since: int) -> None:
    """Trades have come seven seconds later than usual for four seconds."""
    feed.delayed(0, at=since - 10 * S)
    for second in range(5):
        feed.delayed(7 * S, at=since + second * S)


@pytest.mark.parametrize(("above_ns", "is_late"), [(LATE, False), (LATE + 1, True)])
def test_more_than_five_seconds_above_the_usual_delay_is_late(above_ns, is_late):
    feed = Feed()
    feed.delayed(0, at=100 * S)
    for second in range(20, 24):
        feed.delayed(above_ns, at=100 * S + second * S)
    assert feed.lag.lag_ns == above_ns
    assert feed.lag.is_late(100 * S + 23 * S) is is_late


def test_it_is_late_after_three_seconds_and_no_longer_ten_seconds_after_the_last_trade():
    feed = Feed()
    feed.delayed(0, at=100 * S)
    feed.delayed(7 * S, at=120 * S)
    feed.delayed(7 * S, at=123 * S - 1)
    assert not feed.lag.is_late(123 * S - 1)
    feed.delayed(7 * S, at=124 * S - 1)
    assert feed.lag.is_late(124 * S - 1)
    assert feed.lag.is_late(134 * S - 2)
    assert not feed.lag.is_late(134 * S - 1)


def test_a_feed_that_has_told_of_no_trade_is_not_late():
    assert not FeedLag().is_late(0)
    assert FeedLag().lag_ns == 0


def test_of_trades_that_come_together_the_one_with_the_least_delay_counts():
    feed = Feed()
    feed.delayed(0, at=100 * S)
    quotes = {key(n): Quote(key(n), 100, 95, 105, 1, 1, UTC // S + 110 - n, 110 * S) for n in (1, 2)}
    feed.lag.look(quotes, quotes.get, 110 * S, feed.wall + 110 * S)
    assert feed.lag.lag_ns == S


def test_the_usual_delay_is_the_least_of_ten_minutes():
    for after, lag in ((WINDOW, 7 * S), (WINDOW + 1, 5 * S)):
        feed = Feed()
        feed.delayed(0, at=100 * S)
        feed.delayed(2 * S, at=200 * S)
        feed.delayed(7 * S, at=100 * S + after)
        assert feed.lag.lag_ns == lag


def test_the_least_delay_is_found_among_all_that_came_since():
    """5, 9 and 7 seconds: when the 5 is ten minutes old, the 7 is the usual one."""
    feed = Feed()
    feed.seen(1, at=1, trade_s=0)
    feed.delayed(5 * S, at=1_000 * S)
    feed.delayed(9 * S, at=1_300 * S)
    feed.delayed(7 * S, at=1_301 * S)
    feed.delayed(12 * S, at=1_601 * S)
    assert feed.lag.lag_ns == 5 * S


@pytest.mark.parametrize("step_ns", [500 * MS + 1, -500 * MS - 1, 3_600 * S, -3_600 * S])
def test_f24_a_clock_that_is_set_ends_what_was_known_of_delays(step_ns):
    feed = Feed()
    late(feed, 100 * S)
    assert feed.lag.is_late(104 * S)
    feed.wall += step_ns
    feed.seen(9, at=104 * S, trade_s=90)
    assert not feed.lag.is_late(104 * S)
    feed.delayed(7 * S, at=105 * S)
    assert feed.lag.lag_ns == 0


@pytest.mark.parametrize("slew_ns", [500 * MS, -500 * MS])
def test_a_clock_that_is_only_adjusted_changes_nothing_but_the_delay_itself(slew_ns):
    feed = Feed()
    feed.delayed(0, at=100 * S)
    feed.wall += slew_ns
    feed.delayed(4 * S, at=110 * S)
    assert feed.lag.lag_ns == 4 * S + slew_ns


def test_quotes_without_a_trade_time_and_the_first_with_one_tell_nothing():
    feed = Feed()
    feed.delayed(0, at=100 * S)
    feed.seen(7, at=101 * S, trade_s=None)
    assert feed.lag.lag_ns == 0
    feed.seen(7, at=102 * S, trade_s=-3_600)
    assert feed.lag.lag_ns == 0, "it may tell of a trade of an hour ago"
    feed.seen(7, at=103 * S, trade_s=101)
    assert feed.lag.lag_ns == 2 * S
    feed.seen(7, at=110 * S, trade_s=101)
    assert feed.lag.lag_ns == 2 * S, "the book moves under the same trade"
