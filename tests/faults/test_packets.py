"""Faults inside the bytes: what is no price, cut off, too long, glued together or unknown."""

import math
import struct

import pytest

from core.dhan.feed_packets import DecodeCounts, FullPacket, Ticker, decode_message, decode_single, to_quote
from core.feed_socket import MAX_MESSAGE_BYTES, SocketLimits, open_feed_socket
from core.model.instrument import InstrumentKey, Segment
from core.price_cache import PriceCache
from tests.fakes.feed_server import feed_server, ticker
from tests.fakes.waiting import eventually
from tests.faults.chain import full
from tests.fuzz.feed_packets import campaign, check, messages

KEY = InstrumentKey(Segment.NSE_FNO, 501)
NO_NUMBERS = (math.nan, math.inf, -math.inf)


def quote_packet(last: float) -> bytes:
    return struct.pack(
        "<BHBIfHIfIIIffff", 4, 50, 2, 501, last, 65, 1_795_019_800, last, 1, 1, 1, last, last, last, last
    )


@pytest.mark.parametrize("rupees", NO_NUMBERS)
@pytest.mark.parametrize(
    "packet", [lambda rupees: ticker(501, rupees), quote_packet, lambda rupees: full(501, rupees, 99, 101)]
)
@pytest.mark.parametrize("decode", [lambda m, c: [decode_single(m, c)], decode_message])
def test_f10_a_price_that_is_no_number_is_rejected_and_counted_and_the_last_good_one_stays(rupees, packet, decode):
    cache, counts = PriceCache(), DecodeCounts()
    cache.watch([KEY])
    good = cache.take(decode(packet(98.4), counts)[0], 1)
    assert counts.bad_prices == 0
    for _ in range(3):
        assert cache.take(decode(packet(rupees), counts)[0], 2) is None
    assert cache.quote(KEY) is good
    assert counts.bad_prices == 3


@pytest.mark.parametrize("rupees", [*NO_NUMBERS, -1.0])
@pytest.mark.parametrize("side", ["bid", "ask"])
def test_f10_a_side_of_the_book_without_a_number_is_no_side_and_is_counted(rupees, side):
    counts = DecodeCounts()
    packet = decode_single(full(501, 98.4, **{side: rupees}), counts)
    assert (getattr(packet, side), getattr(packet, f"{side}_size"), counts.bad_prices) == (None, 0, 1)
    assert packet.last == 9_840


def test_f11_an_empty_side_and_a_price_of_zero_are_nothing_and_no_fault():
    counts = DecodeCounts()
    packet = decode_single(full(501, 98.4, bid=0, ask=98.45), counts)
    assert (packet.bid, packet.ask) == (None, 9_845)
    before_first_trade = decode_single(full(501, 0.0, 99, 101), counts)
    assert (before_first_trade.last, to_quote(before_first_trade, KEY, 1)) == (None, None)
    assert counts.bad_prices == 0


@pytest.mark.parametrize("rupees", [-0.05, -1.0, 0.004, 1_000_000.5])
def test_f11_a_price_below_a_paisa_or_beyond_all_prices_is_rejected_and_counted(rupees):
    counts = DecodeCounts()
    assert to_quote(decode_single(ticker(501, rupees), counts), KEY, 1) is None
    assert counts.bad_prices == 1


@pytest.mark.parametrize("packet", [ticker(501, 98.4), quote_packet(98.4), full(501, 98.4)])
def test_f15_a_packet_cut_anywhere_gives_nothing_and_is_counted(packet):
    for cut in range(1, len(packet)):
        counts = DecodeCounts()
        assert decode_single(packet[:cut], counts) is None
        assert decode_message(packet[:cut], counts) == []
        assert counts == DecodeCounts(corrupt=1)


def test_f15_f16_f17_a_quarter_of_a_million_broken_messages_raise_nothing_and_are_counted_right():
    assert campaign(seed=20_261_120, count=250_000) is None


def test_f15_the_fuzzer_makes_what_it_claims():
    made = list(messages(seed=1, count=5_000))
    counts = DecodeCounts()
    for message in made:
        decode_message(message, counts)
    assert min(counts.packets, counts.unknown, counts.corrupt, counts.bad_prices) > 200
    assert sum(decode_single(message, DecodeCounts()) is not None for message in made) > 200
    with pytest.raises(TypeError):
        check(None)


def test_f16_every_packet_of_a_message_is_taken_and_a_tail_is_dropped_and_counted():
    counts = DecodeCounts()
    message = full(501, 98.4) + ticker(502, 10) + full(503, 5)
    found = decode_message(message + b"\x02\x10\x00", counts)
    assert [(type(packet), packet.last) for packet in found] == [
        (FullPacket, 9_840),
        (Ticker, 1_000),
        (FullPacket, 500),
    ]
    assert counts == DecodeCounts(packets=3, corrupt=1)


class Sink:
    def __init__(self):
        self.messages = []
        self.is_lost = False

    def on_binary(self, message):
        self.messages.append(message)

    def on_text(self, message):
        pass

    def on_lost(self):
        self.is_lost = True


@pytest.mark.parametrize("fragments", [False, True])
async def test_f16_an_oversized_message_ends_the_connection_and_is_not_kept(fragments):
    async with feed_server() as server:
        sink = Sink()
        socket = await open_feed_socket(server.url, sink, SocketLimits())
        largest = ticker(501, 98.4) * (MAX_MESSAGE_BYTES // 16)
        await server.send(largest)
        await eventually(lambda: sink.messages)
        assert [len(message) for message in sink.messages] == [MAX_MESSAGE_BYTES]
        half = largest[: len(largest) // 2 + 16]
        await server.newest.send([half, half] if fragments else largest + ticker(501, 98.4))
        await eventually(lambda: sink.is_lost)
        assert socket.protocol.close_sent.code == 1009
        socket.raise_bug()
        assert len(sink.messages) == 1


@pytest.mark.parametrize("code", [0, 1, 3, 9, 41, 51, 255])
def test_f17_an_unknown_code_is_stepped_over_by_its_length_and_counted(code):
    counts = DecodeCounts()
    unknown = struct.pack("<BHBI", code, 40, 2, 501) + bytes(32)
    (packet,) = decode_message(unknown + ticker(501, 98.4), counts)
    assert packet.last == 9_840
    assert counts == DecodeCounts(packets=1, unknown=1)
