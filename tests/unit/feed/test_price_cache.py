"""The newest price wins, whatever else comes."""

import struct

from core.dhan.feed_packets import DecodeCounts, decode_message
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
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
