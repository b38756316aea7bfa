"""The newest price wins, whatever else comes."""

import struct

import pytest

from core.dhan.feed_packets import DecodeCounts, decode_message
from core.model.errors import BugError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.model.session_time import IST_OFFSET_S
from core.price_cache import PriceCache

A = InstrumentKey(Segment.NSE_FNO, 1)
B = InstrumentKey(Segment.NSE_EQ, 1)
S = 1_000_000_000


def quote(key=A, last=1_000, at_ns=0, time=None, source=QuoteSource.REST):
    return Quote(key, last, None, None, 0, 0, time, at_ns, source)


def cache(*keys):
    made = PriceCache()
    made.watch(keys or (A, B))
    return made


def packets(raw):
    return decode_message(raw, DecodeCounts())


def take(to, raw, at_ns=0):
    return [to.take(packet, at_ns) for packet in packets(raw)]


def ticker(security_id=1, rupees=10.0, segment=2, time=0):
    return struct.pack("<BHBIfI", 2, 16, segment, security_id, rupees, time)


def test_the_same_id_in_two_segments_is_two_instruments():
    prices = cache()
    take(prices, ticker(segment=2, rupees=10.0) + ticker(segment=1, rupees=20.0))
    assert (prices.quote(A).last, prices.quote(B).last) == (1_000, 2_000)


def test_what_nobody_watches_is_counted_and_dropped():
    prices = cache(A)
    assert take(prices, ticker(security_id=9)) == [None]
    assert prices.put(quote(B)) is None
    assert prices.counts.unwatched == 2
    assert prices.quote(B) is None


def test_a_packet_without_a_price_changes_nothing():
    prices = cache()
    take(prices, ticker(rupees=10.0))
    assert take(prices, ticker(rupees=0.0)) == [None]
    assert prices.quote(A).last == 1_000


def test_interest_previous_close_and_market_status_make_no_quote():
    prices = cache()
    raw = struct.pack("<BHBII", 5, 12, 2, 1, 777) + struct.pack("<BHBIfI", 6, 16, 2, 1, 9.5, 3)
    assert take(prices, raw + struct.pack("<BHBI", 7, 8, 2, 1)) == [None, None, None]
    assert prices.quote(A) is None


def test_the_newest_by_receipt_is_kept_whatever_its_trade_time():
    """Dropping it is for the position cache, which knows that REST must not date the feed and when to give in."""
    prices = cache()
    prices.put(quote(time=9_999_999_999))
    later = quote(last=5, time=100, at_ns=1)
    assert prices.put(later) is later
    assert prices.quote(A) is later
    assert prices.counts.taken == 2


def test_ages_and_the_worst_first():
    prices = cache()
    c = InstrumentKey(Segment.IDX_I, 13)
    prices.watch((A, B, c))
    prices.put(quote(A, at_ns=3 * S))
    prices.put(quote(B, at_ns=1 * S))
    assert prices.older_than((A, B, c), 1 * S, 5 * S) == (c, B, A)
    assert prices.older_than((A, B, c), 2 * S, 5 * S) == (c, B)
    assert prices.older_than((A, B), 4 * S, 5 * S) == ()


def test_watching_anew_keeps_the_prices_of_what_stays():
    prices = cache()
    prices.put(quote(A))
    prices.put(quote(B))
    prices.watch((A,))
    assert prices.quote(A) is not None
    prices.watch((A, B))
    assert prices.quote(B) is None


def test_what_the_feed_brought_is_kept_beside_what_rest_says():
    prices = cache()
    assert prices.feed_quote(A) is None
    take(prices, ticker(rupees=10.0), at_ns=1)
    prices.put(quote(last=900, at_ns=2))
    assert (prices.quote(A).last, prices.feed_quote(A).last) == (900, 1_000)
    take(prices, ticker(rupees=11.0), at_ns=3)
    assert (prices.quote(A).last, prices.feed_quote(A).last) == (1_100, 1_100)
    assert prices.feed_quote(InstrumentKey(Segment.IDX_I, 13)) is None


def test_a_rest_quote_that_a_packet_has_overtaken_is_dropped_and_counted():
    prices = cache()
    take(prices, ticker(rupees=10.0), at_ns=5)
    assert prices.put(quote(at_ns=4)) is None
    assert prices.put(quote(at_ns=5)) is not None
    assert prices.counts.late == 1


def test_a_saved_price_never_enters():
    with pytest.raises(BugError, match="NSE_FNO:1"):
        cache().put(quote(source=QuoteSource.CACHE))


T = 1_800_000_000


def test_f08_while_held_back_an_older_packet_does_not_replace_what_rest_has_shown():
    prices = cache()
    prices.put(quote(last=900, at_ns=1 * S, time=T))
    prices.hold_back(A, T, until_ns=4 * S)
    late = ticker(rupees=10.0, time=T - 1 + IST_OFFSET_S)
    assert take(prices, late, at_ns=2 * S) == [None]
    assert (prices.quote(A).last, prices.feed_quote(A).last) == (900, 1_000)
    assert (prices.counts.held_back, prices.counts.taken) == (1, 1)
    assert take(prices, ticker(rupees=12.0, time=T + IST_OFFSET_S), at_ns=2 * S)[0].last == 1_200
    assert take(prices, ticker(rupees=13.0, time=0), at_ns=2 * S)[0].last == 1_300, "no time, no judgement"
    assert take(prices, late, at_ns=4 * S)[0].last == 1_000, "it does not last for ever"
    prices.hold_back(A, T, until_ns=9 * S)
    prices.release(A)
    assert take(prices, late, at_ns=5 * S)[0].last == 1_000
    assert prices.counts.held_back == 1


def test_holding_back_what_nobody_watches_does_nothing():
    prices = cache(A)
    prices.hold_back(B, T, 1)
    prices.release(B)
    assert prices.quote(B) is None
