"""The feed on real sockets: whatever the server does, the manager comes back and asks for the same instruments."""

import asyncio
import contextlib
import logging

import pytest

from core.clock import SystemClock
from core.dhan.feed_connection import FeedPolicy
from core.feed_line import FeedAccess, FeedSettings
from core.feed_socket import SocketLimits
from core.model.instrument import InstrumentKey, Segment
from core.price_cache import PriceCache
from core.websocket_manager import WebSocketManager
from tests.fakes.feed_server import disconnect, feed_server, ticker
from tests.fakes.waiting import eventually

MS = 1_000_000
TOKEN = "canary-token-4711"
QUICK = FeedPolicy(
    stale_after_ns=100 * MS,
    quiet_reconnect_after_ns=1_000 * MS,
    first_delay_ns=10 * MS,
    least_delay_ns=5 * MS,
    most_delay_ns=50 * MS,
)
PATIENT = FeedPolicy(first_delay_ns=10 * MS, least_delay_ns=5 * MS, most_delay_ns=50 * MS)


def option(security_id):
    return InstrumentKey(Segment.NSE_FNO, security_id)


class Rig:
    def __init__(self, server, policy=PATIENT, **options):
        self.cache = PriceCache()
        self.quotes = []
        self.states = []
        self.retries = []
        self.token = TOKEN
        on_quote = options.pop("on_quote", self.quotes.append)
        self.manager = WebSocketManager(
            FeedAccess(server.url, "1100000042", lambda: self.token),
            self.cache,
            on_quote,
            self.states.append,
            SystemClock(),
            on_retry=self.retries.append,
            settings=FeedSettings(policy=policy, check_every_s=0.01, **options),
        )

    @property
    def status(self):
        return self.manager.status


@contextlib.asynccontextmanager
async def running(server, policy=PATIENT, **options):
    rig = Rig(server, policy, **options)
    task = asyncio.create_task(rig.manager.run())
    try:
        yield rig
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def subscribed(server, count, connection=None):
    await eventually(lambda: len(server.subscribed(connection)) >= count)


async def test_a_wanted_instrument_is_subscribed_and_its_tick_becomes_a_quote():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(61234)])
        await subscribed(server, 1)
        assert server.paths == [f"/feed?version=2&token={TOKEN}&clientId=1100000042&authType=2"]
        assert server.messages[0][1]["RequestCode"] == 21
        before = SystemClock().monotonic_ns()
        await server.send(ticker(61234, 98.4))
        await eventually(lambda: rig.quotes)
        (quote,) = rig.quotes
        assert (quote.key, quote.last, quote.exchange_time) == (option(61234), 9_840, 1_795_000_000)
        assert before <= quote.received_ns <= SystemClock().monotonic_ns()
        assert rig.cache.quote(option(61234)) is quote
        assert rig.states == [True]
        assert rig.status.is_live
        assert (rig.status.connected, rig.status.subscribed, rig.status.packets) == (1, 1, 1)
        assert rig.status.last_data_ns == quote.received_ns


async def test_nothing_wanted_opens_no_connection():
    async with feed_server() as server, running(server) as rig:
        await asyncio.sleep(0.03)
        assert server.connections == []
        assert not rig.status.is_live


async def test_at_most_a_hundred_instruments_go_into_one_message():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(n) for n in range(1, 251)])
        await subscribed(server, 250)
        assert [message["InstrumentCount"] for _, message in server.messages] == [100, 100, 50]
        assert sorted(map(int, server.subscribed())) == list(range(1, 251))


async def test_a_change_sends_only_the_difference_and_changes_of_one_turn_go_out_together():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(1), option(2)])
        await subscribed(server, 2)
        rig.manager.set_wanted([option(2)])
        rig.manager.set_wanted([option(2), option(3)])
        rig.manager.set_wanted([option(2), option(3), option(4)])
        await subscribed(server, 4)
        assert server.subscribed() == ["1", "2", "3", "4"]
        await eventually(lambda: server.unsubscribed() == ["1"])
        assert len(server.messages) == 3


async def test_an_index_is_subscribed_as_ticker():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([InstrumentKey(Segment.IDX_I, 13)])
        await subscribed(server, 1)
        assert server.messages[0][1]["RequestCode"] == 15
        await server.send(ticker(13, 26_118.35, segment=0))
        await eventually(lambda: rig.quotes and rig.quotes[0].last == 2_611_835)


@pytest.mark.parametrize("how", ["reset", "polite close", "code 50"])
async def test_after_every_kind_of_end_everything_is_subscribed_again(how):
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(1), option(2)])
        await subscribed(server, 2)
        await server.send(ticker(1, 10.0))
        await eventually(lambda: rig.states == [True])
        match how:
            case "reset":
                server.newest.transport.abort()
            case "polite close":
                await server.newest.close()
            case _:
                await server.send(disconnect(800))
        await subscribed(server, 2, connection=2)
        assert rig.states == [True, False]
        await server.send(ticker(2, 11.0))
        await eventually(lambda: rig.states == [True, False, True])
        assert rig.status.reconnects == 1
        assert len(rig.retries) == 1


async def test_silence_is_stale_then_dead_although_pings_are_answered():
    async with feed_server() as server, running(server, QUICK) as rig:
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        await server.send(ticker(1, 10.0))
        await eventually(lambda: rig.states[:2] == [True, False])
        assert len(server.connections) == 1
        await (await server.newest.ping())
        await subscribed(server, 1, connection=2)
        assert "no data" in rig.retries[0].reason
        await asyncio.wait_for(server.connections[0].wait_closed(), 20)


async def test_a_stale_feed_that_speaks_again_is_live_again_on_the_same_connection():
    policy = FeedPolicy(stale_after_ns=40 * MS, quiet_reconnect_after_ns=5_000 * MS)
    async with feed_server() as server, running(server, policy) as rig:
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        await server.send(ticker(1, 10.0))
        await eventually(lambda: rig.states == [True, False])
        await server.send(ticker(1, 10.05))
        await eventually(lambda: rig.states[:3] == [True, False, True])
        assert len(server.connections) == 1


async def test_silence_means_nothing_while_the_market_is_closed():
    async with feed_server() as server, running(server, QUICK) as rig:
        rig.manager.market(is_open=False)
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        await asyncio.sleep(1.3)  # longer than QUICK waits before it connects anew
        assert len(server.connections) == 1
        rig.manager.market(is_open=True)
        await subscribed(server, 1, connection=2)


async def test_only_wrong_instruments_are_not_data():
    async with feed_server() as server, running(server, QUICK) as rig:
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        for _ in range(10):
            await server.send(ticker(999, 10.0))
        await subscribed(server, 1, connection=2)
        assert rig.states == []
        assert rig.cache.counts.unwatched >= 10


async def test_corrupt_and_unknown_packets_are_counted_and_the_good_ones_go_on():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(1), option(2)])
        await subscribed(server, 2)
        await server.send(
            b"\x02",
            ticker(1, 10.0)[:9],
            b"\x63\x0a\x00\x02\x01\x00\x00\x00\x00\x00" + ticker(1, 10.0),
            ticker(1, 10.05) + ticker(2, 20.0),
            ticker(1, float("nan")),
            ticker(1, 0.0),
        )
        await server.newest.send("some text")
        await server.send(ticker(2, 21.0))
        await eventually(lambda: len(rig.quotes) == 4)
        assert [quote.last for quote in rig.quotes] == [1_000, 1_005, 2_000, 2_100]
        status = rig.status
        assert (status.corrupt, status.unknown, status.bad_prices, status.text_frames) == (2, 1, 1, 1)
        assert len(server.connections) == 1


async def test_a_frame_in_pieces_and_a_fragmented_message_are_whole():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        wire = b"\x82\x10" + ticker(1, 10.0)
        for at in range(len(wire)):
            server.newest.transport.write(wire[at : at + 1])
            await asyncio.sleep(0)
        await server.newest.send([ticker(1, 10.05)[:5], ticker(1, 10.05)[5:]])
        await eventually(lambda: [quote.last for quote in rig.quotes] == [1_000, 1_005])


async def test_prices_that_come_with_the_handshake_are_taken():
    async with feed_server() as server, running(server) as rig:
        server.greeting = b"\x82\x10" + ticker(1, 10.0)
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        await eventually(lambda: rig.states == [True])
        assert [quote.last for quote in rig.quotes] == [1_000]


async def test_a_disconnect_code_that_comes_with_the_handshake_is_obeyed():
    async with feed_server() as server, running(server) as rig:
        server.greeting = b"\x82\x0a" + disconnect(806)
        rig.manager.set_wanted([option(1)])
        await eventually(lambda: rig.retries)
        assert "806" in rig.retries[0].reason


async def test_a_refused_upgrade_keeps_the_documented_distance():
    async with feed_server() as server, running(server) as rig:
        server.refuse_with = 429
        rig.manager.set_wanted([option(1)])
        await eventually(lambda: rig.retries)
        assert rig.retries[0].delay_ns >= 60_000 * MS
        assert rig.retries[0].use_rest
        await asyncio.sleep(0.05)
        assert len(server.paths) == 1


async def test_a_redirect_is_not_followed_with_the_token():
    async with feed_server() as server, feed_server() as other, running(server) as rig:
        server.refuse_with = 302
        server.location = other.url
        rig.manager.set_wanted([option(1)])
        await eventually(lambda: rig.retries)
        assert "302" in rig.retries[0].reason
        assert other.paths == []


async def test_an_expired_token_is_reported_and_a_new_one_connects_at_once():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        await server.send(disconnect(807))
        await eventually(lambda: rig.retries)
        assert rig.retries[0].needs_token
        rig.token = "fresh"
        rig.manager.token_changed()
        await subscribed(server, 1, connection=2)
        assert "token=fresh" in server.paths[1]


async def test_a_new_token_does_not_cut_short_the_wait_after_too_many_connections():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        await server.send(disconnect(805))
        await eventually(lambda: rig.retries)
        rig.manager.token_changed()
        await asyncio.sleep(0.05)
        assert len(server.connections) == 1


async def test_accepting_and_dropping_is_retried_for_ever():
    async with feed_server() as server, running(server) as rig:
        server.drop_after_upgrade = True
        rig.manager.set_wanted([option(1)])
        await eventually(lambda: len(server.connections) >= 8)
        server.drop_after_upgrade = False
        await eventually(server.subscribed)
        assert rig.retries[-1].check_token


async def test_a_server_that_is_not_there_is_tried_again_and_again():
    async with feed_server() as server:
        rig = Rig(server)
        server.port, port = 1, server.port
        rig = Rig(server)
        server.port = port
        task = asyncio.create_task(rig.manager.run())
        rig.manager.set_wanted([option(1)])
        await eventually(lambda: len(rig.retries) >= 3)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_lost_subscription_is_sent_again():
    async with feed_server() as server, running(server, resend_after_s=0.05) as rig:
        rig.manager.set_wanted([option(1), option(2)])
        await subscribed(server, 2)
        await server.send(ticker(1, 10.0))
        await eventually(lambda: server.subscribed() == ["1", "2", "2"])


async def test_more_instruments_than_one_connection_holds_go_to_the_next():
    async with feed_server() as server, running(server, instruments_per_connection=2) as rig:
        rig.manager.set_wanted([option(n) for n in range(1, 12)])
        await eventually(lambda: len(set(server.subscribed())) == 10)
        assert len(server.connections) == 5
        assert (rig.status.wanted, rig.status.unplaced, rig.status.needed) == (11, 1, 5)
        for connection in server.connections[:4]:
            held = server.subscribed(server.connections.index(connection) + 1)
            await connection.send(ticker(int(held[0]), 10.0))
        await eventually(lambda: len(rig.quotes) == 4)
        assert rig.states == [True]
        assert (rig.status.lines_live, rig.status.connected) == (4, 5)


async def test_wanting_nothing_any_more_closes_the_connection():
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        rig.manager.set_wanted([])
        await eventually(lambda: rig.status.connected == 0)
        rig.manager.set_wanted([option(2)])
        await subscribed(server, 1, connection=2)
        assert rig.retries == []


async def test_a_half_open_connection_is_noticed_by_its_missing_pongs():
    limits = SocketLimits(ping_interval_s=0.05, ping_timeout_s=0.05, close_timeout_s=0.05)
    async with feed_server() as server, running(server, limits=limits) as rig:
        rig.manager.market(is_open=False)
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        server.newest.transport.pause_reading()
        await subscribed(server, 1, connection=2)


async def test_a_bug_in_the_quote_callback_ends_the_run_loudly():
    def broken(_quote):
        raise RuntimeError("a bug")

    async with feed_server() as server:
        rig = Rig(server, on_quote=broken)
        task = asyncio.create_task(rig.manager.run())
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        await server.send(ticker(1, 10.0))
        with pytest.raises(ExceptionGroup) as caught:
            await task
        assert caught.group_contains(RuntimeError, match="a bug")


async def test_the_token_is_in_no_log_at_debug(caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("websockets", "websockets.client", "asyncio", "core"):
        caplog.set_level(logging.DEBUG, logger=name)
    asyncio.get_running_loop().set_debug(True)
    async with feed_server() as server, running(server) as rig:
        rig.manager.set_wanted([option(1)])
        await subscribed(server, 1)
        await server.send(ticker(1, 10.0))
        server.newest.transport.abort()
        await subscribed(server, 1, connection=2)
        server.refuse_with = 401
        server.newest.transport.abort()
        await eventually(lambda: len(rig.retries) >= 2)
        assert TOKEN not in repr(rig.manager) + repr(rig.status) + repr(rig.retries)
    client_records = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert client_records
    assert not [record for record in client_records if TOKEN in record.getMessage()]
