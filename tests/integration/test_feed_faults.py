"""The feed's part of the fault catalogue (reliability 1.1) on real sockets."""

import asyncio
import contextlib
import json
import struct

import pytest

from core.dhan.bad_prices import BadPricePolicy
from core.dhan.feed_connection import FeedPolicy
from core.feed_socket import MAX_MESSAGE_BYTES, SocketLimits
from tests.fakes.feed_server import disconnect, feed_server, ticker
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually
from tests.fault_proxy import FaultProxy
from tests.integration.feed_rig import (
    MS,
    NIFTY,
    QUICK,
    TOKEN,
    RushingClock,
    beating,
    feed_running,
    held,
    option,
    options,
)

NOW = asyncio.get_running_loop


@contextlib.asynccontextmanager
async def scene(policy=QUICK, **options):
    """A server that answers subscriptions, and a manager at it."""
    async with feed_server() as server:
        server.answers = True
        async with feed_running(server.url, policy, **options) as rig:
            yield server, rig


async def until_live(rig):
    await eventually(lambda: rig.status.is_live)


@pytest.mark.parametrize("market", ["open", "closed"])
async def test_f01_a_half_open_connection_is_given_up_and_everything_subscribed_again(market):
    limits = SocketLimits(open_timeout_s=0.3, ping_interval_s=0.2, ping_timeout_s=0.2, close_timeout_s=0.1)
    async with feed_server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
        server.answers = True
        url = proxy.url(server.url)
        async with feed_running(url, QUICK, limits=limits, canaries=(NIFTY,)) as rig, beating(server):
            rig.manager.market(is_open=market == "open")
            rig.manager.set_wanted(options(3))
            await held(server, 4)
            await until_live(rig)
            begun = NOW().time()
            proxy.blackhole(new=False)
            await eventually(lambda: rig.retries)
            took = NOW().time() - begun
            # Data age (0.15 s) while the market is open, pings (0.2 + 0.2 + 0.1 s) otherwise; the rest is the machine.
            assert took < (0.15 if market == "open" else 0.5) + 1.0
            assert ("no data" in rig.retries[0].reason) is (market == "open")
            await eventually(lambda: rig.states == [True, False, True])
            assert sorted(server.held[-1]) == [(0, 13), (2, 1), (2, 2), (2, 3)]


@pytest.mark.slow
async def test_f01_f02_with_the_real_limits_both_kinds_of_death_are_seen_within_three_seconds():
    """Everything as shipped: STALE after 2.5 s, looked at every 0.1 s."""
    async with feed_server() as server, FaultProxy("127.0.0.1", server.port) as proxy:
        server.answers = True
        url = proxy.url(server.url)
        async with feed_running(url, FeedPolicy(), check_every_s=0.1, canaries=(NIFTY,)) as rig:
            rig.manager.set_wanted(options(3))
            for die in (lambda _: None, lambda _: proxy.blackhole(new=False)):
                async with beating(server) as beat:
                    await eventually(lambda: rig.status.is_live)
                    await asyncio.sleep(0.2)
                    beat.cancel()
                    die(server)
                    begun, told = NOW().time(), len(rig.states)
                    await eventually(lambda told=told: len(rig.states) > told)
                    assert rig.states[-1] is False
                    assert 2.3 < NOW().time() - begun < 3.0
                    ends = len(rig.retries)
                    await eventually(lambda ends=ends: len(rig.retries) > ends)
                    assert NOW().time() - begun < 3.6


async def test_f02_pongs_and_other_packets_never_refresh_a_mute_connection():
    async with scene(canaries=(NIFTY,)) as (server, rig):
        rig.manager.set_wanted([option(1)])
        await until_live(rig)
        first = server.connections[0]
        market_status = struct.pack("<BHBI", 7, 8, 0, 0)
        previous_close = struct.pack("<BHBIfI", 6, 16, 2, 1, 10.0, 0)

        async def chatter():
            with contextlib.suppress(Exception):
                while True:
                    await first.send(market_status + previous_close)
                    await first.send(ticker(1, 0.0))
                    await first.send(ticker(999, 10.0))
                    await (await first.ping())
                    await asyncio.sleep(0.005)

        await first.send(ticker(1, float("nan")))
        talking = asyncio.create_task(chatter())
        await eventually(lambda: rig.states[:2] == [True, False])
        await eventually(lambda: len(server.connections) == 2)
        assert "no data" in rig.retries[0].reason
        talking.cancel()


async def test_f02_quiet_options_beside_a_ticking_canary_are_a_live_feed():
    async with scene(canaries=(NIFTY,)) as (server, rig), beating(server, only=(0, 13)):
        rig.manager.set_wanted([option(1)])
        await until_live(rig)
        await asyncio.sleep(0.5)  # over three times QUICK's patience
        assert rig.states == [True]
        assert len(server.connections) == 1


async def test_f04_lost_subscriptions_are_sent_again_until_they_tick():
    async with feed_server() as server:
        server.answers, server.loses = True, 3
        clock = ManualClock()
        async with feed_running(server.url, clock=clock, canaries=(NIFTY,)) as rig:
            rig.manager.set_wanted(options(450))
            # Messages: 100, 100, 100 (lost), 100, 50 and the canary.
            await eventually(lambda: len(server.messages) == 6)
            assert len(server.held[0]) == 151
            await until_live(rig)
            for _ in range(12):
                clock.pass_seconds(1)
                server.beat()
                await asyncio.sleep(0.03)
            await held(server, 451)
            await eventually(lambda: all(rig.cache.quote(key) is not None for key in options(450)))
            assert rig.status.resent == 300
            assert max(message["InstrumentCount"] for _, message in server.messages) == 100


async def test_f05_after_each_of_a_hundred_resets_exactly_the_wanted_are_subscribed():
    async with scene(policy=FeedPolicy(first_delay_ns=4 * MS, least_delay_ns=1 * MS, most_delay_ns=4 * MS)) as (
        server,
        rig,
    ):
        for number in range(1, 101):
            rig.manager.set_wanted(options(3, first=number))
            await eventually(lambda number=number: len(server.connections) == number)
            await eventually(lambda number=number: set(server.held[-1]) == {(2, number + n) for n in range(3)})
            await until_live(rig)
            server.newest.transport.abort()
            await eventually(lambda number=number: len(rig.retries) == number)
        assert rig.states == [True, False] * 100


async def test_f10_more_than_three_unusable_prices_cost_the_connection_once():
    rest = BadPricePolicy(rest_ns=60_000 * MS)
    async with scene(bad_prices=rest, canaries=(NIFTY,)) as (server, rig), beating(server):
        rig.manager.set_wanted([option(1), option(2)])
        await until_live(rig)
        bad = [float("nan"), float("inf"), -float("inf"), -5.0]
        for rupees in bad[:3]:
            await server.send(ticker(1, rupees))
        await asyncio.sleep(0.05)
        assert rig.retries == []
        await server.send(ticker(1, bad[3]))
        await eventually(lambda: len(server.connections) == 2)
        assert rig.retries[0].reason == "too many unusable prices"
        await held(server, 3)
        await until_live(rig)
        for rupees in bad * 5:
            await server.send(ticker(1, rupees))
        await asyncio.sleep(0.1)
        assert len(server.connections) == 2
        assert rig.cache.quote(option(1)).last == 1_100
        assert rig.status.bad_prices == 24


async def test_f10_corrupt_packets_are_only_counted():
    async with scene(canaries=(NIFTY,)) as (server, rig), beating(server):
        rig.manager.set_wanted([option(1)])
        await until_live(rig)
        for _ in range(20):
            await server.send(ticker(1, 10.0)[:9])
        await eventually(lambda: rig.status.corrupt == 20)
        assert len(server.connections) == 1


async def test_f15_f16_f17_truncated_stacked_and_unknown_packets_never_end_a_connection():
    async with scene(policy=FeedPolicy()) as (server, rig):
        rig.manager.set_wanted([option(1), option(2)])
        await until_live(rig)
        unknown = b"\x63\x0a\x00\x02\x01\x00\x00\x00\x00\x00"
        whole = ticker(1, 10.0) + unknown + ticker(2, 20.0)
        for end in range(1, len(whole)):
            await server.send(whole[:end])
        await server.send(whole * 100)
        await server.send(ticker(2, 21.0))
        await eventually(lambda: rig.cache.quote(option(2)).last == 2_100)
        assert rig.status.corrupt > 0
        assert rig.status.unknown >= 100
        assert len(server.connections) == 1


async def test_f16_a_message_over_the_bound_costs_the_connection_not_the_feed():
    async with scene() as (server, rig):
        rig.manager.set_wanted([option(1)])
        await until_live(rig)
        with contextlib.suppress(Exception):
            await server.send(bytes(MAX_MESSAGE_BYTES + 1))
        await eventually(lambda: len(server.connections) == 2)
        await eventually(lambda: rig.states == [True, False, True])


async def connections_at(server, clock, seconds):
    """Let manual time pass in steps of a second; return the seconds at which connections were made."""
    found = []
    for second in range(1, seconds + 1):
        before = len(server.paths)
        clock.pass_seconds(1)
        await asyncio.sleep(0.03)
        found += [second] * (len(server.paths) - before)
    return found


async def test_f18_after_805_nobody_fights_for_the_place():
    clock = ManualClock()
    async with scene(clock=clock) as (server, rig):
        rig.manager.market(is_open=False)
        rig.manager.set_wanted([option(1)])
        await until_live(rig)
        await server.send(disconnect(805))
        await eventually(lambda: rig.retries)
        assert rig.states == [True, False]
        assert "another program" in rig.retries[0].alert.lower()
        assert rig.retries[0].use_rest
        assert rig.status.blocked_until_ns is not None
        rig.token = "another"
        rig.manager.token_changed()
        (at,) = await connections_at(server, clock, 75)
        assert 60 <= at <= 73
        await until_live(rig)
        assert rig.status.blocked_until_ns is None


@pytest.mark.parametrize(("code", "every_s"), [(806, (30, 30, 30)), (808, (1, 2, 4)), (809, (1, 2, 4))])
async def test_f19_a_refused_account_is_no_hot_loop_and_tried_for_ever(code, every_s):
    clock = ManualClock()
    async with feed_server() as server, feed_running(server.url, clock=clock) as rig:
        server.greeting = b"\x82\x0a" + disconnect(code)
        rig.manager.market(is_open=False)
        rig.manager.set_wanted([option(1)])
        await eventually(lambda: rig.retries)
        assert str(code) in rig.retries[0].reason
        # The token's owner tells a person what is wrong with a token; nobody else would of a data plan.
        assert bool(rig.retries[0].alert) is (code == 806)
        assert rig.retries[0].use_rest
        found = await connections_at(server, clock, sum(every_s) + 2)
        assert found == [sum(every_s[: n + 1]) for n in range(3)]
        assert bool(rig.doubts) is (code != 806)
        server.greeting, server.answers = b"", True
        await connections_at(server, clock, 31)
        await until_live(rig)


async def test_f20_a_token_that_dies_in_the_session_is_replaced_and_the_feed_is_back_at_once():
    async with scene() as (server, rig):
        rig.manager.set_wanted([option(1)])
        await until_live(rig)
        await server.send(disconnect(807))
        await eventually(lambda: rig.doubts)
        ((reason, token),) = rig.doubts
        assert "807" in reason
        assert token == TOKEN
        begun = NOW().time()
        rig.token = "fresh"
        rig.manager.token_changed()
        await eventually(lambda: rig.states == [True, False, True])
        # The wait for a token is 1 s at least; with the new one it is not sat out. The bound is 10 s.
        assert NOW().time() - begun < 0.9
        assert "token=fresh" in server.paths[-1]


async def test_f20_a_token_replaced_while_the_old_connection_was_dying_is_used_without_a_word():
    async with scene() as (server, rig):
        rig.manager.set_wanted([option(1)])
        await until_live(rig)
        rig.token = "fresh"
        rig.manager.token_changed()
        await asyncio.sleep(0.05)
        assert len(server.connections) == 1
        await server.send(disconnect(807))
        begun = NOW().time()
        await eventually(lambda: rig.states == [True, False, True])
        assert NOW().time() - begun < 0.9
        assert rig.doubts[0][1] == TOKEN


async def test_f20_upgrade_then_reset_puts_the_token_in_doubt_and_a_new_one_ends_the_wait():
    policy = FeedPolicy(first_delay_ns=10 * MS, least_delay_ns=5 * MS, most_delay_ns=60_000 * MS)
    async with feed_server() as server, feed_running(server.url, policy) as rig:
        server.drop_after_upgrade, server.answers = True, True
        rig.manager.set_wanted([option(1)])
        await eventually(lambda: rig.doubts)
        assert len(rig.retries) == 3
        server.drop_after_upgrade = False
        rig.token = "fresh"
        rig.manager.token_changed()
        await until_live(rig)


async def test_f21_429_is_kept_for_a_minute_and_more_and_never_the_last_word():
    clock = RushingClock(600)
    async with feed_server() as server, feed_running(server.url, clock=clock) as rig:
        server.refuse_with = 429
        rig.manager.market(is_open=False)
        rig.manager.set_wanted([option(1)])
        begun = clock.monotonic_ns()
        await eventually(lambda: len(rig.retries) >= 8)
        waits = [retry.delay_ns // 1_000_000_000 for retry in rig.retries[:6]]
        for wait, least in zip(waits, (60, 120, 240, 300, 300, 300), strict=True):
            assert least <= wait <= least * 1.2
        # Eight attempts in at least 60 + 120 + 240 + 4 x 300 s.
        assert clock.monotonic_ns() - begun >= 1_620 * 1_000 * MS
        assert len(server.paths) <= 9
        server.refuse_with, server.answers = None, True
        await until_live(rig)


async def test_f21_a_longer_retry_after_of_the_server_is_kept():
    async with feed_server() as server, feed_running(server.url) as rig:
        server.refuse_with, server.retry_after = 429, "200"
        rig.manager.set_wanted([option(1)])
        await eventually(lambda: rig.retries)
        assert 200 <= rig.retries[0].delay_ns / 1e9 <= 240


async def test_every_message_is_what_the_protocol_says():
    async with scene(canaries=(NIFTY,)) as (server, rig):
        rig.manager.set_wanted(options(150))
        await held(server, 151)
        for _, message in server.messages:
            listed = message["InstrumentList"]
            assert message["InstrumentCount"] == len(listed) <= 100
            assert {tuple(sorted(item)) for item in listed} == {("ExchangeSegment", "SecurityId")}
            assert json.dumps(message)
