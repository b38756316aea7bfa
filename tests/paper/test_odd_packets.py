"""Malformed, misplaced and freak packets: their bytes on the wire, read with layouts of the protocol document."""

import math
import struct

import aiohttp
import pytest

from core.paper.options import PreviousClose
from tests.paper.clients import Feed, decode, eventually

CALL = 40_051
TICKER, FULL = 15, 21


@pytest.fixture
def options(options):
    options.previous_close = PreviousClose.NONE
    options.feed_first_quote = False
    return options


@pytest.fixture
async def connect(exchange, session):
    async def subscribed(code, segment="NSE_FNO", number=CALL):
        feed = await Feed.connect(exchange, session)
        await feed.subscribe(exchange, code, (segment, number))
        exchange.market.set_quote(segment, number, 10_000, 9_995, 10_005, bid_size=650, ask_size=650)
        await feed.packet()
        return feed

    return subscribed


async def payload(exchange, feed, shape, **fields):
    exchange.add_fault({"kind": "feed_packet", "shape": shape, **fields})
    message = await feed.message()
    assert message.type is aiohttp.WSMsgType.BINARY
    return message.data


@pytest.mark.parametrize("code", [TICKER, FULL])
@pytest.mark.parametrize(
    ("shape", "is_so"),
    [
        ("nan", math.isnan),
        ("plus_inf", lambda last: last == math.inf),
        ("minus_inf", lambda last: last == -math.inf),
        ("zero", lambda last: last == 0),
        ("negative", lambda last: last == -100.0),
        ("denormal", lambda last: 0 < last < 1.2e-38),
        ("huge", lambda last: 3.4e38 < last < math.inf),
        ("off_tick", lambda last: last != 100.0 and round(last * 100) == 10_000),
    ],
)
async def test_f10_f11_prices_that_are_none(exchange, connect, shape, is_so, code):
    feed = await connect(code)
    packet = decode(await payload(exchange, feed, shape))
    assert (packet["id"], is_so(packet["last"])) == (CALL, True)
    if code == FULL:
        assert packet["depth"][0][4:] == (99.94999694824219, 100.05000305175781)
        packet = decode(await payload(exchange, feed, shape, with_book=True))
        assert packet["depth"][0][4:] != (99.94999694824219, 100.05000305175781)
    exchange.market.set_quote("NSE_FNO", CALL, 10_100)
    assert round((await feed.packet())["last"], 2) == 101.0


async def test_f15_f16_f17_lengths_and_codes_that_lie(exchange, connect):
    feed = await connect(TICKER)
    good = await payload(exchange, feed, "duplicate")
    assert decode(good)["last"] == 100.0
    unknown = struct.pack("<BHBI4s", 99, 12, 2, CALL, b"????")
    assert await payload(exchange, feed, "truncated") == good[:-5]
    assert await payload(exchange, feed, "header_cut") == good[:3]
    assert await payload(exchange, feed, "empty") == b""
    assert await payload(exchange, feed, "length_zero") == good[:1] + b"\0\0" + good[3:]
    assert await payload(exchange, feed, "length_short") == good[:1] + b"\x0c\0" + good[3:]
    assert await payload(exchange, feed, "length_long") == good[:1] + b"\x24\0" + good[3:]
    assert await payload(exchange, feed, "unknown_code") == unknown
    assert await payload(exchange, feed, "stacked") == good + unknown + good
    assert await payload(exchange, feed, "stacked_cut") == good + good + good[:7]
    oversized = await payload(exchange, feed, "oversized")
    assert len(oversized) > 65_536
    assert {oversized[n : n + 16] for n in range(0, len(oversized), 16)} == {good}
    exchange.add_fault({"kind": "feed_packet", "shape": "text"})
    assert (await feed.message()).type is aiohttp.WSMsgType.TEXT


async def test_f13_packets_under_a_wrong_name(exchange, connect):
    feed = await connect(TICKER)
    assert decode(await payload(exchange, feed, "unlisted"))["id"] not in {
        key.security_id for key in exchange.venue.instruments.by_key
    }
    other = decode(await payload(exchange, feed, "unasked"))
    assert (other["segment"], other["id"]) == (0, 13)
    wrong = decode(await payload(exchange, feed, "wrong_segment"))
    assert (wrong["segment"], wrong["id"]) == (8, CALL)
    assert decode(await payload(exchange, feed, "bad_segment"))["segment"] == 77


async def test_f08_f09_older_and_repeated_packets(exchange, connect):
    feed = await connect(TICKER)
    first = decode(await payload(exchange, feed, "duplicate"))
    assert decode(await payload(exchange, feed, "duplicate")) == first
    older = decode(await payload(exchange, feed, "older", factor=0.5))
    assert (older["last"], first["time"] - older["time"]) == (50.0, 60)
    assert exchange.market.book(next(iter(exchange.market.scripted))).last == 10_000


@pytest.mark.parametrize("with_book", [False, True])
async def test_f12_a_freak_price_is_one_packet_and_the_truth_stays(exchange, rest, connect, with_book):
    feed = await connect(FULL)
    exchange.add_fault({"kind": "feed_freak", "security_id": CALL, "factor": 3, "with_book": with_book})
    packet = await feed.packet()
    assert packet["last"] == 300.0
    assert round(packet["depth"][0][4], 2) == (299.85 if with_book else 99.95)
    _, answer = await rest.call("POST", "/marketfeed/ltp", {"NSE_FNO": [CALL]})
    assert answer["data"]["NSE_FNO"][str(CALL)]["last_price"] == 100.0


async def test_odd_packets_go_to_the_connection_and_the_instrument_that_are_named(exchange, connect):
    feeds = [await connect(TICKER), await connect(FULL, number=CALL + 1)]
    exchange.add_fault({"kind": "feed_packet", "shape": "zero", "security_id": CALL + 1})
    exchange.add_fault({"kind": "feed_packet", "shape": "nan", "connection": 1})
    assert (await feeds[1].packet())["last"] == 0
    assert math.isnan((await feeds[0].packet())["last"])


async def test_odd_packets_come_again_and_again_on_request(exchange, connect):
    feed = await connect(TICKER)
    exchange.add_fault({"kind": "feed_packet", "shape": "nan", "every_s": 0.01, "where": {"times": 4}})
    assert all([math.isnan((await feed.packet())["last"]) for _ in range(4)])
    await eventually(lambda: len(exchange.log.of("fault")) == 4)
