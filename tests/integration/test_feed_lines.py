"""Several connections of one account: each fails alone, all share the account's patience, and nothing is left behind."""

import asyncio
import gc
import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.dhan.feed_connection import FeedPolicy
from core.dhan.feed_packets import DecodeCounts
from core.model.instrument import InstrumentKey, Segment
from tests.fakes.feed_server import disconnect, feed_server, ticker
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually
from tests.integration.feed_rig import MS, NIFTY, QUICK, FeedRig, beating, feed_running, held, option, options

BANKNIFTY = InstrumentKey(Segment.IDX_I, 25)


async def five_lines(server, rig, each=4):
    """Five full connections; returns the wanted keys of each, in the order of the connections' numbers."""
    rig.manager.set_wanted(options(5 * each))
    await held(server, 5 * each, connections=5)
    await eventually(lambda: rig.status.lines_live == 5)
    return [[option(security_id) for _, security_id in held_here] for held_here in server.held]


async def test_a_lost_line_leaves_the_others_alone_and_only_its_instruments_are_without_a_line():
    policy = FeedPolicy(first_delay_ns=300 * MS, least_delay_ns=300 * MS)
    async with feed_server() as server, feed_running(server.url, policy, instruments_per_connection=4) as rig:
        server.answers = True
        shares = await five_lines(server, rig)
        assert rig.lines == [1, 2, 3, 4, 5]
        assert rig.states == [True]
        server.connections[2].transport.abort()
        await eventually(lambda: rig.status.lines_live == 4)
        assert rig.manager.is_live
        assert rig.states == [True]
        for number, share in enumerate(shares):
            assert [rig.manager.line_is_live(key) for key in share] == [number != 2] * 4
        assert not rig.manager.line_is_live(option(999))
        await held(server, 20, connections=5)
        await eventually(lambda: rig.status.lines_live == 5)
        assert rig.lines == [1, 2, 3, 4, 5, 4, 5]
        assert rig.states == [True]
        assert len(server.connections) == 6
        assert set(server.held[5]) == set(server.held[2])


async def test_the_feed_is_dead_only_when_the_last_line_is():
    async with feed_server() as server, feed_running(server.url, FeedPolicy(), instruments_per_connection=4) as rig:
        server.answers = True
        await five_lines(server, rig)
        server.refuse_with = 503
        for number in range(5):
            assert rig.states == [True]
            server.connections[number].transport.abort()
            await eventually(lambda number=number: rig.status.lines_live == 4 - number)
        assert rig.states == [True, False]


async def test_lines_that_die_together_come_back_one_after_the_other():
    policy = FeedPolicy(first_delay_ns=10 * MS, least_delay_ns=1 * MS)
    options_ = {"distance_ns": 150 * MS, "instruments_per_connection": 4}
    async with feed_server() as server, feed_running(server.url, policy, **options_) as rig:
        server.answers = True
        await five_lines(server, rig)
        died = asyncio.get_running_loop().time()
        for each in tuple(server.connections):
            each.transport.abort()
        await eventually(lambda: len(server.arrivals) == 10)
        await eventually(lambda: rig.status.lines_live == 5)
        gaps = [later - earlier for earlier, later in zip(server.arrivals, server.arrivals[1:], strict=False)]
        # 150 ms at the client; how late the server looks is the machine's.
        assert min(gaps) > 0.1
        assert server.arrivals[-1] - died < 3.0


async def test_f18_f21_one_refused_line_makes_all_others_wait_while_the_living_live_on():
    clock = ManualClock()
    async with feed_server() as server, feed_running(server.url, clock=clock, instruments_per_connection=4) as rig:
        server.answers = True
        rig.manager.market(is_open=False)

        async def let_pass(seconds):
            for _ in range(seconds):
                clock.pass_seconds(1)
                await asyncio.sleep(0.02)

        rig.manager.set_wanted(options(20))
        await let_pass(6)
        await eventually(lambda: rig.status.lines_live == 5)
        await server.connections[0].send(disconnect(805))
        await eventually(lambda: rig.status.lines_live == 4)
        server.connections[1].transport.abort()
        await eventually(lambda: rig.status.lines_live == 3)
        rig.manager.set_wanted(options(16))
        await let_pass(58)
        assert len(server.connections) == 5
        assert rig.states == [True]
        assert rig.status.lines_live >= 2
        await let_pass(16)
        await eventually(lambda: rig.status.lines_live == rig.status.needed)
        assert [retry.delay_ns >= 60_000 * MS for retry in rig.retries] == [True, False]


async def test_a_line_that_is_opened_during_a_block_waits_too():
    clock = ManualClock()
    async with feed_server() as server, feed_running(server.url, clock=clock, instruments_per_connection=4) as rig:
        server.refuse_with = 429
        rig.manager.set_wanted(options(4))
        await eventually(lambda: rig.retries)
        rig.manager.set_wanted(options(12))
        for _ in range(10):
            clock.pass_seconds(5)
            await asyncio.sleep(0.02)
        assert len(server.paths) == 1


async def test_each_line_with_room_carries_the_first_canary_and_a_full_one_none():
    async with (
        feed_server() as server,
        feed_running(server.url, instruments_per_connection=4, canaries=(NIFTY, BANKNIFTY)) as rig,
    ):
        server.answers = True
        rig.manager.set_wanted(options(10))
        await held(server, 11, connections=3)
        assert sorted(min(each) for each in server.held) == [(0, 13), (2, 1), (2, 5)]
        status = rig.status
        assert (status.wanted, status.subscribed, status.needed, status.unplaced) == (10, 11, 3, 0)
        rig.manager.set_wanted(options(12))
        await held(server, 12, connections=3)
        rig.manager.set_wanted(options(11))
        await eventually(lambda: sum((0, 13) in each for each in server.held) == 1)
        await held(server, 12, connections=3)


async def test_a_wanted_canary_is_not_doubled_on_its_own_line_and_serves_where_it_is():
    async with (
        feed_server() as server,
        feed_running(server.url, QUICK, instruments_per_connection=4, canaries=(NIFTY, BANKNIFTY)) as rig,
    ):
        server.answers = True
        rig.manager.set_wanted([option(1), BANKNIFTY, *options(2, first=2)])
        await held(server, 4, connections=1)
        await eventually(lambda: rig.status.lines_live == 1)
        begun = asyncio.get_running_loop().time()
        await eventually(lambda: rig.retries)
        # As patient as with a canary (0.15 s), not as without (1 s): the line is full, but one of its own is a canary.
        assert asyncio.get_running_loop().time() - begun < 0.8
        rig.manager.set_wanted([NIFTY, option(1)])
        await held(server, 2, connections=1)
        for _, message in server.messages:
            assert message["InstrumentCount"] == len({item["SecurityId"] for item in message["InstrumentList"]})


async def test_a_canary_that_nobody_wants_is_a_sign_of_life_and_no_price():
    async with (
        feed_server() as server,
        feed_running(server.url, instruments_per_connection=4, canaries=(NIFTY,)) as rig,
    ):
        rig.manager.set_wanted([option(1), option(2), option(3), NIFTY, option(4)])
        await held(server, 6, connections=2)
        await server.connections[1].send(ticker(13, 26_000.0, segment=0))
        await eventually(lambda: rig.status.lines_live == 1)
        assert rig.manager.line_is_live(option(4))
        assert not rig.manager.line_is_live(option(1))
        assert rig.quotes == []
        await server.connections[0].send(ticker(13, 26_000.5, segment=0))
        await eventually(lambda: rig.status.lines_live == 2)
        assert [quote.last for quote in rig.quotes] == [2_600_050]


async def test_a_price_that_the_cache_holds_back_is_a_sign_of_life():
    async with feed_server() as server, feed_running(server.url) as rig:
        rig.manager.set_wanted([option(1)])
        await held(server, 1)
        rig.cache.hold_back(option(1), 2_000_000_000, 2**62)
        await server.send(ticker(1, 10.0))
        await eventually(lambda: rig.manager.line_is_live(option(1)))
        assert rig.quotes == []


async def test_a_mute_instrument_is_subscribed_anew_on_its_own_line():
    async with feed_server() as server, feed_running(server.url, instruments_per_connection=4) as rig:
        server.answers = True
        shares = await five_lines(server, rig)
        server.messages.clear()
        rig.quotes.clear()
        rig.manager.resubscribe([shares[1][0], shares[3][2], option(777)])
        await eventually(lambda: len(server.messages) == 4)
        await eventually(lambda: len(rig.quotes) == 2)
        found = sorted((number, message["RequestCode"]) for number, message in server.messages)
        assert found == [(2, 21), (2, 22), (4, 21), (4, 22)]
        assert {quote.key for quote in rig.quotes} == {shares[1][0], shares[3][2]}


async def test_those_that_stay_keep_their_line_and_an_empty_line_is_closed():
    async with feed_server() as server, feed_running(server.url, instruments_per_connection=4) as rig:
        server.answers = True
        rig.manager.set_wanted(options(12))
        await held(server, 12, connections=3)
        server.messages.clear()
        rig.manager.set_wanted([*options(2), *options(4, first=9)])
        await held(server, 6, connections=2)
        assert {message["RequestCode"] for _, message in server.messages} == {22}
        assert rig.retries == []
        rig.manager.set_wanted([*options(2), *options(4, first=9), option(50)])
        await held(server, 7, connections=2)


async def test_where_room_ends_the_first_have_it_and_the_rest_follows_as_soon_as_there_is_some():
    async with feed_server() as server, feed_running(server.url, instruments_per_connection=2) as rig:
        server.answers = True
        rig.manager.set_wanted(options(12))
        await held(server, 10, connections=5)
        assert (rig.status.wanted, rig.status.unplaced) == (12, 2)
        assert not rig.manager.line_is_live(option(12))
        rig.manager.set_wanted([option(12), *options(10)])
        await held(server, 10, connections=5)
        await eventually(lambda: rig.manager.line_is_live(option(12)))
        assert not rig.manager.line_is_live(option(10))
        rig.manager.set_wanted([option(12), *options(10)][2:])
        await held(server, 9, connections=5)
        assert rig.status.unplaced == 0


async def test_f05_a_wish_that_changed_while_nothing_was_connected_is_what_is_subscribed():
    async with feed_server() as server, feed_running(server.url) as rig:
        server.answers, server.refuse_with = True, 503
        rig.manager.set_wanted(options(3))
        await eventually(lambda: rig.retries)
        rig.manager.set_wanted(options(3, first=2))
        server.refuse_with = None
        await held(server, 3)
        assert server.subscribed() == ["2", "3", "4"]


@settings(max_examples=60)
@given(st.lists(st.sets(st.integers(1, 30), max_size=26), min_size=1, max_size=12))
def test_any_sequence_of_wishes_is_placed_as_a_naive_model_says(wishes):
    """Without sockets: every instrument on at most one line, none over its room, those that stay where they were."""
    rig = FeedRig("ws://127.0.0.1:1/feed", instruments_per_connection=4, canaries=(NIFTY,))
    manager = rig.manager
    where = {}
    for wish in wishes:
        keys = [option(n) for n in sorted(wish, key=lambda n: n * 7 % 31)]
        manager.set_wanted(keys)
        lines = [list(line.wanted) for line in manager._lines]
        assert all(len(line) <= 4 for line in lines)
        placed = [key for line in lines for key in line]
        assert sorted(placed) == sorted(keys[:20])
        now = {key: number for number, line in enumerate(lines) for key in line}
        assert all(now[key] == where[key] for key in now if key in where)
        status = manager.status
        assert (status.wanted, status.unplaced) == (len(keys), max(len(keys) - 20, 0))
        where = now


async def test_counts_of_all_lines_are_added():
    rig = FeedRig("ws://127.0.0.1:1/feed")
    for number, line in enumerate(rig.manager._lines, start=1):
        line.counts = DecodeCounts(packets=number, unknown=1, corrupt=2, bad_prices=3)
    status = rig.status
    assert (status.packets, status.unknown, status.corrupt, status.bad_prices) == (15, 5, 10, 15)


def descriptors():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  counts, does not look at paths


async def test_two_hundred_reconnects_of_every_kind_leave_no_task_and_no_descriptor():
    policy = FeedPolicy(first_delay_ns=4 * MS, least_delay_ns=1 * MS, most_delay_ns=4 * MS)
    draw = random.Random(7)
    async with feed_server() as server:
        server.answers = True
        gc.collect()
        tasks_before, before = len(asyncio.all_tasks()), descriptors()
        async with feed_running(server.url, policy, distance_ns=0) as rig:
            rig.manager.set_wanted(options(3))
            for number in range(200):
                await eventually(lambda number=number: rig.status.connected and len(rig.retries) == number)
                match draw.randrange(4):
                    case 0:
                        server.newest.transport.abort()
                    case 1:
                        await server.newest.close()
                    case 2:
                        await server.send(disconnect(800))
                    case _:
                        server.newest.transport.write(b"\xc2\x01x")
            await eventually(lambda: len(rig.retries) == 200)
            assert rig.status.connected <= 1
        for each in server.connections:
            each.transport.abort()
        await eventually(lambda: descriptors() <= before)
        await eventually(lambda: len(asyncio.all_tasks()) <= tasks_before)


async def test_cancelling_leaves_nothing_at_once():
    async with feed_server() as server:
        server.answers = True
        rig = FeedRig(server.url, instruments_per_connection=4)
        before = set(asyncio.all_tasks())
        task = asyncio.create_task(rig.manager.run())
        async with beating(server):
            await five_lines(server, rig)
        ours = {each for each in asyncio.all_tasks() - before if "keepalive" in repr(each) and "client" in repr(each)}
        task.cancel()
        await asyncio.wait([task])
        assert not rig.status.connected
        assert not [each for each in ours if not each.done()]
        left = [each for each in asyncio.all_tasks() - before if "feed connection" in each.get_name()]
        assert left == []
