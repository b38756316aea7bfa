"""The market feed's bytes, checked against packets written by hand from dhan_v2_protocol 2.4."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dhan.feed_packets import (
    DayFigures,
    DecodeCounts,
    Disconnect,
    FullPacket,
    Level,
    MarketStatus,
    OpenInterest,
    PreviousClose,
    QuotePacket,
    Ticker,
    decode_message,
    decode_single,
    to_quote,
)
from core.dhan.segments import WIRE_CODE, feed_id, feed_id_of
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.model.money import MAX_PRICE_PAISE, paise_from_wire

NIFTY_CALL = InstrumentKey(Segment.NSE_FNO, 61234)
ID = (2 << 32) | 61234

# 98.4 is 42c4cccd, LTT 1781084997 is 6a292f45 (09:49:57 IST written as if UTC); all little-endian.
TICKER = bytes.fromhex("02 1000 02 32ef0000 cdccc442 4533296a".replace(" ", ""))
OPEN_INTEREST = bytes.fromhex("05 0c00 02 32ef0000 fe9e3000".replace(" ", ""))
PREVIOUS_CLOSE = bytes.fromhex("06 1000 02 32ef0000 33b3e042 7bdd2b00".replace(" ", ""))
MARKET_STATUS = bytes.fromhex("07 0800 00 00000000".replace(" ", ""))
DISCONNECT = bytes.fromhex("32 0a00 00 00000000 2703".replace(" ", ""))
QUOTE = bytes.fromhex(
    "04 3200 02 32ef0000"
    "cdccc442 4100 4533296a"  # last 98.40, quantity 65, time
    "3d8ace42 dd707905"  # average 103.27, volume 91,844,829
    "d2eb0500 83490600"  # sell 388,050, buy 412,035
    "0000dc42 33b3e042 cdcced42 9a19be42".replace(" ", "")  # open 110, close 112.35, high 118.9, low 95.05
)


def full(last=98.4, ltt=1781084997, levels=((1300, 910, 7, 5, 98.35, 98.45),) * 5, length=162, tail=b""):
    head = struct.pack("<BHBIfHIfIII", 8, length, 2, 61234, last, 65, ltt, 103.27, 91846235, 388050, 412035)
    interest = struct.pack("<III", 3186430, 3301155, 2874625)
    day = struct.pack("<ffff", 110.0, 112.35, 118.9, 95.05)
    return head + interest + day + b"".join(struct.pack("<IIHHff", *level) for level in levels) + tail


def ticker(last, ltt=1781084997, length=16):
    return struct.pack("<BHBIfI", 2, length, 2, 61234, last, ltt)


def test_a_ticker_is_read_from_its_bytes():
    counts = DecodeCounts()
    (packet,) = decode_message(TICKER, counts)
    assert packet == Ticker(ID, 9840, 1781084997 - 19800)
    assert counts == DecodeCounts(packets=1)


def test_a_quote_is_read_from_its_bytes():
    (packet,) = decode_message(QUOTE, DecodeCounts())
    assert packet == QuotePacket(ID, 9840, 1781065197, QUOTE)
    assert packet.day == DayFigures(10327, 91844829, 388050, 412035, 11000, 11235, 11890, 9505)


def test_a_full_packet_is_read_from_its_bytes():
    levels = tuple((1300 + i, 910 + i, 7, 5, 98.35 - i * 0.05, 98.45 + i * 0.05) for i in range(5))
    message = full(levels=levels)
    (packet,) = decode_message(message, DecodeCounts())
    assert packet == FullPacket(ID, 9840, 1781065197, 9835, 9845, 1300, 910, message)
    assert packet.day == DayFigures(10327, 91846235, 388050, 412035, 11000, 11235, 11890, 9505)
    assert packet.open_interest == 3186430
    assert packet.levels == tuple(Level(9835 - 5 * i, 9845 + 5 * i, 1300 + i, 910 + i, 7, 5) for i in range(5))


@pytest.mark.parametrize(
    ("message", "packet"),
    [
        (OPEN_INTEREST, OpenInterest(ID, 3186430)),
        (PREVIOUS_CLOSE, PreviousClose(ID, 11235, 2874747)),
        (MARKET_STATUS, MarketStatus(0)),
        (DISCONNECT, Disconnect(0, 807)),
    ],
)
def test_a_small_packet_is_read_from_its_bytes(message, packet):
    assert decode_message(message, DecodeCounts()) == [packet]


@pytest.mark.parametrize("message", [TICKER, QUOTE, full(), OPEN_INTEREST, PREVIOUS_CLOSE, MARKET_STATUS, DISCONNECT])
def test_a_packet_tells_its_segment_and_security_id(message):
    (packet,) = decode_message(message, DecodeCounts())
    segment, security_id = struct.unpack_from("<3xBI", message)
    assert divmod(packet.feed_id, 1 << 32) == (segment, security_id)
    assert packet.feed_id == feed_id(segment, security_id)


def test_the_largest_security_id_survives():
    message = struct.pack("<BHBIfI", 2, 16, 8, 0xFFFF_FFFF, 1.0, 0)
    (packet,) = decode_message(message, DecodeCounts())
    assert divmod(packet.feed_id, 1 << 32) == (8, 0xFFFF_FFFF)


@pytest.mark.parametrize("message", [TICKER, QUOTE, full()])
def test_the_short_way_gives_what_the_long_way_gives(message):
    short, long = DecodeCounts(), DecodeCounts()
    assert [decode_single(message, short)] == decode_message(message, long)
    assert short == long == DecodeCounts(packets=1)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        MARKET_STATUS,
        PREVIOUS_CLOSE,
        MARKET_STATUS * 2,
        TICKER * 2,
        ticker(98.4, length=8),
        full(length=161),
        bytes([9]) + QUOTE[1:],
        full(tail=b"x"),
    ],
)
def test_the_short_way_leaves_every_other_message_alone(message):
    counts = DecodeCounts()
    assert decode_single(message, counts) is None
    assert counts == DecodeCounts()


def test_every_packet_of_a_message_is_read():
    parts = [TICKER, OPEN_INTEREST, full(), DISCONNECT, QUOTE, PREVIOUS_CLOSE, MARKET_STATUS]
    counts = DecodeCounts()
    packets = decode_message(b"".join(parts), counts)
    assert [type(packet) for packet in packets] == [
        Ticker,
        OpenInterest,
        FullPacket,
        Disconnect,
        QuotePacket,
        PreviousClose,
        MarketStatus,
    ]
    assert packets == [decode_message(part, DecodeCounts())[0] for part in parts]
    assert counts == DecodeCounts(packets=7)


@pytest.mark.parametrize("code", [0, 1, 3, 9, 41, 51, 255])
def test_an_unknown_code_is_stepped_over_and_counted(code):
    unknown = struct.pack("<BHBI24x", code, 32, 0, 13)
    counts = DecodeCounts()
    assert decode_message(TICKER + unknown + TICKER, counts) == decode_message(TICKER, DecodeCounts()) * 2
    assert counts == DecodeCounts(packets=2, unknown=1)


def test_a_packet_longer_than_its_layout_is_read_as_far_as_it_is_known():
    message = ticker(98.4, length=20) + b"new!" + full(length=170, tail=b"longer!!") + DISCONNECT
    counts = DecodeCounts()
    packets = decode_message(message, counts)
    assert [packet.last for packet in packets[:2]] == [9840, 9840]
    assert packets[2] == Disconnect(0, 807)
    assert counts == DecodeCounts(packets=3)


@pytest.mark.parametrize("cut", range(1, 162))
def test_a_message_cut_anywhere_gives_the_packets_before_the_cut(cut):
    counts = DecodeCounts()
    assert decode_message(TICKER + full()[:cut], counts) == decode_message(TICKER, DecodeCounts())
    assert counts == DecodeCounts(packets=1, corrupt=1)


@pytest.mark.parametrize("cut", range(1, 16))
def test_a_cut_ticker_gives_nothing(cut):
    counts = DecodeCounts()
    assert decode_message(TICKER[:cut], counts) == []
    assert counts == DecodeCounts(corrupt=1)


@pytest.mark.parametrize(
    "corrupt",
    [
        ticker(98.4, length=0),
        ticker(98.4, length=7),
        ticker(98.4, length=15),
        ticker(98.4, length=65535),
        full(length=50),
        struct.pack("<BHBI", 99, 7, 0, 0),
    ],
)
def test_after_a_length_that_cannot_be_true_the_rest_is_dropped(corrupt):
    counts = DecodeCounts()
    assert len(decode_message(TICKER + corrupt + TICKER, counts)) == 1
    assert (counts.packets, counts.corrupt) == (1, 1)


@given(st.binary(max_size=400))
def test_no_bytes_raise(message):
    counts = DecodeCounts()
    packets = decode_message(message, counts)
    assert len(packets) == counts.packets
    assert counts.corrupt <= 1


@given(st.sampled_from([2, 4, 5, 6, 7, 8, 50]), st.binary(min_size=154, max_size=200))
def test_no_content_of_a_packet_raises(code, content):
    message = struct.pack("<BHBI", code, 8 + len(content), 2, 61234) + content
    (packet,) = decode_message(message, DecodeCounts())
    if isinstance(packet, FullPacket):
        assert len(packet.levels) == 5
        assert packet.open_interest >= 0
    if isinstance(packet, FullPacket | QuotePacket):
        assert all(price is None or 0 < price <= MAX_PRICE_PAISE for price in packet.day[4:])
    if isinstance(packet, Ticker | FullPacket | QuotePacket):
        assert packet.last is None or 0 < packet.last <= MAX_PRICE_PAISE
        assert packet.trade_time is None or packet.trade_time > 946_000_000
        quote = to_quote(packet, NIFTY_CALL, 1)
        assert (quote is None) == (packet.last is None)


@given(st.integers(1, 13_107_199))
def test_every_paisa_survives_the_float32(paise):
    for message in (ticker(paise / 100), full(last=paise / 100)):
        (packet,) = decode_message(message, DecodeCounts())
        assert packet.last == paise


@given(st.integers(1, 10_485_759))
def test_every_5_paise_tick_up_to_524288_rupees_is_the_nearest_tick(ticks):
    (packet,) = decode_message(ticker(ticks * 5 / 100), DecodeCounts())
    assert round(packet.last / 5) == ticks


@given(st.floats(width=32))
def test_a_price_is_what_the_money_rules_say(rupees):
    (packet,) = decode_message(ticker(rupees), DecodeCounts())
    paise = paise_from_wire(rupees)
    assert packet.last == (paise if paise is not None and paise > 0 else None)


@pytest.mark.parametrize(
    ("last", "bad_prices"),
    [(0.0, 0), (-0.0, 0), (-1.0, 1), (math.nan, 1), (math.inf, 1), (-math.inf, 1), (1_000_001.0, 1), (0.004, 1)],
)
def test_a_last_price_that_is_none_is_dropped_and_the_book_kept(last, bad_prices):
    counts = DecodeCounts()
    (packet,) = decode_message(full(last=last), counts)
    assert (packet.last, packet.bid, packet.ask) == (None, 9835, 9845)
    assert counts == DecodeCounts(packets=1, bad_prices=bad_prices)
    assert to_quote(packet, NIFTY_CALL, 1) is None


def test_a_bad_previous_close_is_none():
    counts = DecodeCounts()
    (packet,) = decode_message(struct.pack("<BHBIfI", 6, 16, 2, 61234, math.nan, 0), counts)
    assert packet == PreviousClose(ID, None, 0)
    assert counts.bad_prices == 1


@pytest.mark.parametrize(
    ("level", "top"),
    [
        ((0, 0, 0, 0, 0.0, 0.0), (None, None, 0, 0)),
        ((0, 910, 0, 5, 98.35, 98.45), (None, 9845, 0, 910)),
        ((1300, 0, 7, 0, 98.35, 98.45), (9835, None, 1300, 0)),
        ((1300, 910, 7, 5, 0.0, 98.45), (None, 9845, 0, 910)),
        ((1300, 910, 7, 5, 98.35, math.nan), (9835, None, 1300, 0)),
    ],
)
def test_an_empty_side_of_the_book_has_no_price_and_no_size(level, top):
    (packet,) = decode_message(full(levels=(level,) * 5), DecodeCounts())
    assert (packet.bid, packet.ask, packet.bid_size, packet.ask_size) == top
    assert packet.levels[0][:4] == top


@pytest.mark.parametrize("ltt", [0, 1, 315532800, 315552600, 946_684_799])
def test_a_contract_that_never_traded_has_no_trade_time(ltt):
    assert decode_message(ticker(98.4, ltt), DecodeCounts())[0].trade_time is None
    assert decode_message(full(ltt=ltt), DecodeCounts())[0].trade_time is None


def test_a_full_packet_becomes_a_quote_with_its_book():
    (packet,) = decode_message(full(), DecodeCounts())
    assert to_quote(packet, NIFTY_CALL, 77) == Quote(
        NIFTY_CALL, 9840, 9835, 9845, 1300, 910, 1781065197, 77, QuoteSource.FEED
    )


@pytest.mark.parametrize("message", [TICKER, QUOTE])
def test_a_packet_without_a_book_becomes_a_one_price_quote(message):
    (packet,) = decode_message(message, DecodeCounts())
    assert to_quote(packet, NIFTY_CALL, 77) == Quote(NIFTY_CALL, 9840, None, None, 0, 0, 1781065197, 77)


def test_segment_codes_are_those_of_the_protocol():
    codes = {"IDX_I": 0, "NSE_EQ": 1, "NSE_FNO": 2, "NSE_CURRENCY": 3, "BSE_EQ": 4, "MCX_COMM": 5}
    assert codes | {"BSE_CURRENCY": 7, "BSE_FNO": 8} == {segment.value: code for segment, code in WIRE_CODE.items()}
    assert WIRE_CODE.keys() == set(Segment)


def test_equal_security_ids_in_two_segments_have_two_feed_ids():
    ids = {feed_id_of(InstrumentKey(segment, 13)) for segment in Segment}
    assert len(ids) == len(Segment)
    assert feed_id_of(NIFTY_CALL) == feed_id(2, 61234) == ID
