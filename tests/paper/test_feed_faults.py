"""Faults of the feed over real sockets: connections, silence, lag."""

import asyncio
from random import Random
from time import monotonic

import aiohttp
import pytest

from core.paper.feed_lag import LagCurve
from core.paper.options import PreviousClose, TokenDeath, TradeTime
from tests.paper.clients import Feed, eventually

CALL, PUT = 40_051, 40_052
CODES = (800, 804, 805, 806, 807, 808, 809, 810, 811, 812, 813, 814)


@pytest.fixture
def options(options):
    options.previous_close = PreviousClose.NONE
    options.feed_first_quote = False
    return options


async def subscribed(exchange, session, *numbers, code=15):
    feed = await Feed.connect(exchange, session)
    await feed.subscribe(exchange, code, *(("NSE_FNO", number) for number in numbers or (CALL,)))
    return feed


def tick(exchange, price, number=CALL):
    exchange.market.set_quote("NSE_FNO", number, price, price - 5, price + 5)


async def paise(feed):
    return round((await feed.packet())["last"] * 100)


async def is_reset(feed):
    async with asyncio.timeout(20):
        while not feed.socket.closed:
            await feed.socket.receive()
    return feed.socket.close_code == 1006


@pytest.mark.parametrize("code", CODES)
async def test_every_code_ends_a_live_connection_and_refuses_new_ones(exchange, session, code):
    feed = await subscribed(exchange, session)
    exchange.add_fault({"kind": "feed_refuse", "code": code, "seconds": 3_600})
    exchange.add_fault({"kind": "feed_disconnect", "code": code})
    assert (await feed.packet())["reason"] == code
    for _ in range(2):
        refused = await Feed.connect(exchange, session)
        assert (await refused.packet())["reason"] == code
        assert (await refused.message()).type is aiohttp.WSMsgType.CLOSE
    exchange.add_fault({"kind": "feed_refuse", "seconds": 0})
    tick_arrives = await subscribed(exchange, session)
    tick(exchange, 5_000)
    assert await paise(tick_arrives) == 5_000
    assert exchange.venue.statistics.shown()["feed"]["refused"] == {str(code): 2}


async def test_one_connection_only_is_reset_told_or_silenced(exchange, session):
    feeds = [await subscribed(exchange, session) for _ in range(4)]
    exchange.add_fault({"kind": "feed_reset", "where": {"connection": 2}})
    assert await is_reset(feeds[1])
    exchange.add_fault({"kind": "feed_disconnect", "code": 809, "connection": "oldest"})
    assert (await feeds[0].packet())["reason"] == 809
    exchange.add_fault({"kind": "feed_silence", "seconds": 3_600, "connection": 3})
    tick(exchange, 5_000)
    assert await paise(feeds[3]) == 5_000
    exchange.add_fault({"kind": "feed_silence", "seconds": 0, "connection": 3})
    tick(exchange, 5_100)
    assert await paise(feeds[2]) == 5_100  # 5,000 was never sent
    exchange.add_fault({"kind": "feed_reset", "connection": "newest"})
    assert await is_reset(feeds[3])
    exchange.add_fault({"kind": "feed_reset", "connection": "random"})
    assert await is_reset(feeds[2])
    exchange.add_fault({"kind": "feed_reset", "connection": "random"})  # nobody is left


async def test_f02_a_mute_feed_pings_new_connections_too_and_greets_nobody(exchange, session):
    exchange.options.feed_ping_s, exchange.options.feed_first_quote = 0.02, True
    exchange.options.previous_close = PreviousClose.ALL
    exchange.add_fault({"kind": "feed_silence", "seconds": 3_600})
    feed = await subscribed(exchange, session)
    tick(exchange, 5_000)
    await eventually(lambda: exchange.venue.statistics.shown()["feed"]["live"][0]["pings"] >= 3)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(feed.socket.receive(), 0.05)
    assert exchange.venue.statistics.shown()["feed"]["packets"] == 0


async def test_f03_an_id_dropped_from_a_connection_comes_back_when_it_is_subscribed_again(exchange, session):
    feed, other = await subscribed(exchange, session, CALL, PUT), await subscribed(exchange, session, CALL)
    exchange.add_fault({"kind": "feed_unsubscribe", "security_id": CALL, "connection": 1})
    tick(exchange, 5_000)
    tick(exchange, 6_000, PUT)
    assert await paise(feed) == 6_000
    assert await paise(other) == 5_000
    await feed.subscribe(exchange, 15, ("NSE_FNO", CALL))
    tick(exchange, 5_100)
    assert await paise(feed) == 5_100


async def test_f04_the_nth_subscription_of_a_connection_or_of_an_id_is_lost(exchange, session):
    exchange.add_fault({"kind": "feed_ignore_subscribe", "where": {"nth": 2, "connection": 2}})
    other = await subscribed(exchange, session, CALL)
    await other.subscribe(exchange, 16, ("NSE_FNO", CALL))
    exchange.add_fault({"kind": "feed_ignore_subscribe", "where": {"security_id": 40_060, "times": 1}})
    feed = await subscribed(exchange, session, CALL)
    await feed.subscribe(exchange, 15, ("NSE_FNO", PUT))
    await feed.subscribe(exchange, 15, ("NSE_FNO", 40_059), ("NSE_FNO", 40_060))
    assert exchange.state()["subscribed"] == [f"NSE_FNO:{CALL}"]
    await feed.subscribe(exchange, 15, ("NSE_FNO", 40_059), ("NSE_FNO", 40_060), ("NSE_FNO", PUT))
    assert len(exchange.state()["subscribed"]) == 4


async def test_f05_a_storm_of_resets_ends_when_the_faults_are_cleared(exchange, session):
    exchange.add_fault({"kind": "feed_reset", "every_s": 0.02, "where": {"times": 1_000}})
    for _ in range(5):
        assert await is_reset(await subscribed(exchange, session))
    exchange.clear_faults()
    feed = await subscribed(exchange, session)
    await asyncio.sleep(0.1)
    tick(exchange, 5_000)
    assert await paise(feed) == 5_000


@pytest.mark.parametrize(
    ("kind", "times", "error"),
    [
        ("feed_drop_in_handshake", 4, aiohttp.ClientConnectionError),  # aiohttp tries each twice
        ("feed_429", 2, aiohttp.WSServerHandshakeError),
    ],
)
async def test_f21_the_first_reconnects_fail_in_the_handshake(exchange, session, kind, times, error):
    exchange.add_fault({"kind": kind, "seconds": 3_600, "status": 503, "where": {"times": times}})
    for _ in range(2):
        with pytest.raises(error) as found:
            await Feed.connect(exchange, session)
        assert getattr(found.value, "status", 503) == 503
    await subscribed(exchange, session)


async def test_each_new_connection_may_be_dropped_by_chance_or_by_turn(exchange, session):
    exchange.add_fault({"kind": "feed_drop_after_101", "seconds": 3_600, "where": {"every": 2}})
    feeds = [await Feed.connect(exchange, session) for _ in range(6)]
    await eventually(lambda: exchange.feed.connection_count == 3)
    assert [await is_reset(feed) for feed in feeds[1::2]] == [True] * 3
    exchange.clear_faults()
    exchange.add_fault({"kind": "feed_reset"})
    for _ in range(2):
        await subscribed(exchange, session)
    exchange.add_fault({"kind": "feed_reset"})
    exchange.add_fault({"kind": "feed_drop_after_101", "seconds": 3_600, "where": {"probability": 0.5}})
    for _ in range(40):
        await (await Feed.connect(exchange, session)).socket.close()
    assert 8 < exchange.venue.statistics.shown()["feed"]["refused"]["reset"] - 3 < 32


async def test_lagging_packets_come_late_in_order_with_their_true_times(exchange, session):
    feed = await subscribed(exchange, session)
    exchange.add_fault({"kind": "feed_lag", "lag_s": 0.2, "seconds": 3_600})
    sent = monotonic()
    for price in range(5_000, 5_100, 5):
        tick(exchange, price)
    traded_at_s = exchange.market.book(next(iter(exchange.market.scripted))).traded_at_s
    assert [await paise(feed) for _ in range(19)] == list(range(5_000, 5_095, 5))
    assert (await feed.packet())["time"] == traded_at_s + 19_800
    assert 0.2 <= monotonic() - sent < 5
    late = await subscribed(exchange, session)  # a new connection lags too
    tick(exchange, 6_000)
    sent = monotonic()
    await asyncio.sleep(0.02)
    exchange.add_fault({"kind": "feed_lag", "lag_s": 0, "seconds": 0})
    tick(exchange, 6_005)  # waits behind the late one
    assert [await paise(late), await paise(late)] == [6_000, 6_005]
    assert monotonic() - sent >= 0.19


def test_f07_a_lag_has_the_quantiles_that_were_asked_for():
    curve = LagCurve(((0.0, 0.35), (0.5, 1.4), (0.99, 46.0), (1.0, 198.0)), 1.0, Random(5))
    drawn = sorted(curve.at(second) for second in range(20_000))
    assert drawn[10_000] == pytest.approx(1.4, rel=0.1)
    assert drawn[19_800] == pytest.approx(46, rel=0.15)
    assert drawn[0] >= 0.35
    assert 100 < drawn[-1] <= 198
    assert curve.at(20_000.1) == curve.at(20_000.9) != curve.at(20_002)


async def test_f25_trade_times_may_be_the_true_epoch(exchange, session):
    feed = await subscribed(exchange, session, code=21)
    times = []
    for encoding in TradeTime:
        exchange.options.ltt_encoding = encoding
        tick(exchange, 5_000)
        times.append((await feed.packet())["time"])
    traded_at_s = exchange.market.book(next(iter(exchange.market.scripted))).traded_at_s
    assert times[1] in {traded_at_s, traded_at_s - 1}
    assert times[0] - times[1] in {19_800, 19_799}


@pytest.mark.parametrize(("kind", "code"), [("token_invalidated", 809), ("token_expired", 807)])
@pytest.mark.parametrize("death", list(TokenDeath))
async def test_f20_open_feeds_stay_are_told_or_are_reset_when_the_token_dies(
    exchange, session, rest, kind, code, death
):
    exchange.options.token_death = TokenDeath.RESET if death is TokenDeath.STAY else TokenDeath.STAY
    feed = await subscribed(exchange, session)
    usual = exchange.options.token_death
    exchange.add_fault({"kind": kind, "sockets": death.value})
    assert exchange.options.token_death is usual
    if death is TokenDeath.CODE_50:
        assert (await feed.packet())["reason"] == code
    elif death is TokenDeath.RESET:
        assert await is_reset(feed)
    else:
        tick(exchange, 5_000)
        assert await paise(feed) == 5_000
    refused = await Feed.connect(exchange, session)
    assert (await refused.packet())["reason"] == code
    status, answer = await rest.call("POST", "/marketfeed/ltp", {"NSE_FNO": [CALL]})
    assert (status, list(answer["data"])) == (401, [str(code)])
    assert (await rest.call("GET", "/RenewToken"))[0] == 401


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "feed_reset", "connection": "middle"},
        {"kind": "feed_silence", "seconds": "long"},
        {"kind": "feed_silence", "seconds": -1},
        {"kind": "feed_packet"},
        {"kind": "feed_packet", "shape": "round"},
        {"kind": "feed_freak"},
        {"kind": "feed_lag", "seconds": 1},
        {"kind": "feed_lag", "seconds": 1, "quantiles": [[0.5, 3], [1, 1]]},
        {"kind": "token_invalidated", "sockets": "maybe"},
        {"kind": "market_one_sided", "without": "middle"},
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_over_http(exchange, session, bad):
    async with session.post(f"{exchange.control_url}/fault", json=bad) as answer:
        assert answer.status == 400
        assert bad["kind"] in (await answer.json())["message"]
