"""The market feed over real sockets, its bytes read with layouts copied from the protocol document."""

import asyncio
import struct

import aiohttp
import pytest

from core.paper.exchange import LocalExchange
from core.paper.options import FeedRefusal, PreviousClose
from tests.paper.clients import Feed, decode, eventually

CALL = ("NSE_FNO", 40_051)
NIFTY = ("IDX_I", 13)


def f32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


@pytest.fixture
def options(options):
    options.previous_close = PreviousClose.NONE
    options.feed_first_quote = False
    return options


@pytest.fixture
async def feed(exchange, session):
    return await Feed.connect(exchange, session)


async def test_ticker_carries_float32_rupees_and_the_ist_wall_clock(exchange, feed):
    await feed.subscribe(exchange, 15, CALL)
    exchange.market.set_quote(*CALL, 24_780, 24_775, 24_785)
    packet = await feed.packet()
    assert (packet["code"], packet["segment"], packet["id"]) == (2, 2, CALL[1])
    assert packet["last"] == f32(247.80) == 247.8000030517578
    assert packet["time"] == exchange.market.book(next(iter(exchange.market.scripted))).traded_at_s + 19_800


async def test_quote_comes_with_open_interest_once_it_is_known(exchange, feed):
    await feed.subscribe(exchange, 17, CALL)
    exchange.market.set_quote(*CALL, 9_840, 9_835, 9_845, bid_size=1_300, ask_size=910)
    quote, interest = await feed.packet(), await feed.packet()
    assert (quote["code"], quote["last"], quote["sell_total"], quote["buy_total"]) == (4, f32(98.40), 910, 1_300)
    assert interest["code"] == 5
    exchange.market.set_quote(*CALL, 9_845, 9_840, 9_850)
    exchange.market.set_quote(*CALL, 9_850, 9_845, 9_855)
    assert [(await feed.packet())["code"] for _ in range(2)] == [4, 4]


async def test_full_shows_the_depth_and_empty_levels_as_zero(exchange, feed):
    await feed.subscribe(exchange, 21, CALL)
    exchange.market.set_quote(*CALL, 9_840, 9_835, None, bid_size=1_300)
    packet = await feed.packet()
    assert packet["code"] == 8
    bid_size, ask_size, _, _, bid, ask = packet["depth"][0]
    assert (bid_size, ask_size, bid, ask) == (1_300, 0, f32(98.35), 0.0)
    assert packet["depth"][1:] == [(0, 0, 0, 0, 0.0, 0.0)] * 4


async def test_unsubscribe_stops_one_mode_and_leaves_the_other(exchange, feed):
    await feed.subscribe(exchange, 15, CALL, NIFTY)
    await feed.send(21, CALL)
    await feed.send(16, CALL, NIFTY)
    await eventually(lambda: len(exchange.state()["subscribed"]) == 1)
    exchange.market.set_quote(*NIFTY, 2_611_835)
    exchange.market.set_quote(*CALL, 9_840, 9_835, 9_845)
    assert (await feed.packet())["code"] == 8


async def test_previous_close_and_the_current_quote_follow_a_subscription(exchange, session):
    exchange.options.previous_close, exchange.options.feed_first_quote = PreviousClose.ALL, True
    feed = await Feed.connect(exchange, session)
    await feed.send(15, NIFTY)
    first, second = await feed.packet(), await feed.packet()
    assert (first["code"], second["code"]) == (6, 2)
    assert first["previous_close"] == 26_100.0


async def test_unknown_ids_and_nonsense_are_ignored_in_silence(exchange, feed):
    await feed.socket.send_str("not json")
    await feed.socket.send_bytes(struct.pack("<bH30s50s", 12, 83, b"1", b"0"))
    await feed.send(15, ("NSE_FNO", 1))
    await feed.subscribe(exchange, 15, CALL)
    exchange.market.set_quote(*CALL, 9_840)
    assert (await feed.packet())["id"] == CALL[1]


async def test_more_than_100_instruments_in_a_message_end_in_804(exchange, feed):
    await feed.send(15, *(("NSE_FNO", 40_001 + n) for n in range(101)))
    assert (await feed.packet())["reason"] == 804


async def test_more_than_5000_instruments_on_a_connection_end_in_804(options, session):
    options.strikes_each_side = 140
    async with LocalExchange(options) as exchange:
        keys = [(key.segment.value, key.security_id) for key in exchange.venue.instruments.by_key]
        assert len(keys) > 5_000
        feed = await Feed.connect(exchange, session)
        for start in range(0, 5_001, 100):
            await feed.send(15, *keys[start : start + 100])
        assert (await feed.packet_of(50))["reason"] == 804


async def test_the_sixth_connection_disconnects_the_oldest_with_805(exchange, session):
    feeds = [await Feed.connect(exchange, session) for _ in range(6)]
    assert (await feeds[0].packet())["reason"] == 805
    assert (await feeds[0].message()).type is aiohttp.WSMsgType.CLOSE
    for feed in feeds[1:]:
        await feed.subscribe(exchange, 15, CALL)
    exchange.market.set_quote(*CALL, 9_840)
    assert [(await feed.packet())["last"] for feed in feeds[1:]] == [f32(98.40)] * 5


@pytest.mark.parametrize(("token", "client_id", "reason"), [("a.b.c", None, 809), (None, "1", 810), ("é", None, 809)])
async def test_bad_credentials_are_named_by_code_50(exchange, session, token, client_id, reason):
    feed = await Feed.connect(exchange, session, token, client_id)
    assert (await feed.packet())["reason"] == reason


async def test_an_expired_token_is_807_and_a_missing_data_plan_806(exchange, session):
    exchange.venue.tokens.renew(validity_s=-1)
    assert (await (await Feed.connect(exchange, session)).packet())["reason"] == 807
    exchange.options.data_plan_active = False
    assert (await (await Feed.connect(exchange, session)).packet())["reason"] == 806


async def test_bad_credentials_may_also_reset_after_the_upgrade_or_answer_401(exchange, session):
    exchange.options.feed_refusal = FeedRefusal.RESET
    feed = await Feed.connect(exchange, session, token="x")
    assert (await feed.message()).type in {aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSED}
    assert feed.socket.close_code == 1006
    exchange.options.feed_refusal = FeedRefusal.HTTP_401
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await Feed.connect(exchange, session, token="x")
    assert error.value.status == 401


async def test_several_packets_may_share_a_message_beside_unknown_codes(exchange, session):
    exchange.options.feed_stacking = 10
    exchange.options.feed_unknown_codes = True
    feed = await Feed.connect(exchange, session)
    await feed.send(15, CALL)
    stack = (await feed.message()).data
    assert stack == struct.pack("<BHBI", 7, 8, 0, 0) + struct.pack("<BHBI4s", 99, 12, 2, CALL[1], b"????")
    exchange.market.set_quote(*CALL, 9_840)
    exchange.market.set_quote(*CALL, 9_845)
    stack = (await feed.message()).data
    assert [decode(stack[:16])["last"], decode(stack[16:])["last"]] == [f32(98.40), f32(98.45)]


async def test_the_server_pings_and_closes_a_client_that_stays_silent(exchange, session):
    exchange.options.feed_ping_s, exchange.options.feed_silence_limit_s = 0.01, 0.0
    socket = await session.ws_connect(
        exchange.feed_url,
        params={"version": "2", "token": exchange.access_token, "clientId": exchange.client_id, "authType": "2"},
        autoping=False,
    )
    async with asyncio.timeout(20):
        kinds = [message.type async for message in socket]
    assert set(kinds) <= {aiohttp.WSMsgType.PING}
    assert exchange.feed.connection_count == 0


async def test_the_request_to_disconnect_closes_the_socket(exchange, feed):
    await feed.socket.send_json({"RequestCode": 12})
    assert (await feed.message()).type is aiohttp.WSMsgType.CLOSE


async def test_the_root_path_serves_the_feed_too(exchange, session):
    socket = await session.ws_connect(
        exchange.feed_url.removesuffix("feed"),
        params={"version": "2", "token": exchange.access_token, "clientId": exchange.client_id, "authType": "2"},
    )
    feed = Feed(socket)
    await feed.subscribe(exchange, 15, CALL)
    exchange.market.set_quote(*CALL, 9_840)
    assert (await feed.packet())["code"] == 2


async def test_a_slow_client_of_the_model_gets_the_newest_price_and_a_script_gets_every_one(exchange, session):
    feed = await Feed.connect(exchange, session)
    await feed.subscribe(exchange, 21, *(("NSE_FNO", 40_001 + n) for n in range(100)))
    connection = exchange.feed.connections[0]
    feed.socket._response.connection.transport.pause_reading()
    async with asyncio.timeout(30):
        while not connection.is_congested:
            exchange.step()
            await asyncio.sleep(0)
    for _ in range(50):
        exchange.step()
    postponed = len(connection._postponed)
    assert 0 < postponed <= 100
    newest = {key.security_id: book.last / 100 for key, book in connection._postponed.items()}
    feed.socket._response.connection.transport.resume_reading()
    seen = {}
    async with asyncio.timeout(30):
        while connection._postponed or any(seen.get(number) != f32(last) for number, last in newest.items()):
            packet = await feed.packet()
            seen[packet["id"]] = packet["last"]


async def test_ten_thousand_packets_arrive_complete_and_in_order(exchange, feed):
    await feed.subscribe(exchange, 15, CALL)
    for price in range(5, 50_005, 5):
        exchange.market.set_quote(*CALL, price)
    prices = [round((await feed.packet())["last"] * 100) for _ in range(10_000)]
    assert prices == list(range(5, 50_005, 5))


async def test_stopping_does_not_wait_for_a_client_that_does_not_read(options, session):
    exchange = LocalExchange(options)
    await exchange.start()
    feed = await Feed.connect(exchange, session)
    await feed.subscribe(exchange, 21, CALL)
    feed.socket._response.connection.transport.pause_reading()
    transport = exchange.feed.connections[0].transport
    while transport.get_write_buffer_size() == 0:
        for _ in range(1_000):
            exchange.market.set_quote(*CALL, 9_840)
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await exchange.stop()
    assert transport.is_closing()
