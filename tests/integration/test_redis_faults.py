"""The price cache when Redis is stopped, frozen, flushed, restarted, refusing, slow, or no Redis at all (S20).

Each time: the tick path goes on, nothing waits longer than it may, one warning and one word when it is over, and prices come back.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.host_names import HostNames
from core.model.errors import TransportError
from core.price_text import HASH
from core.redis_line import RedisAccess, RedisLine
from core.redis_prices import RedisState
from tests.fakes.manual_clock import ManualClock
from tests.fakes.redis_server import RedisServer, Unavailable
from tests.fault_proxy import FaultProxy
from tests.integration.redis_scene import KEYS, redis_scene, stored, within

SECRET = "pa-canary-4711-8bca02"
BACK_S = 6.0
"""The breaker waits for at most 5 s."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    try:
        made = RedisServer()
    except Unavailable as reason:
        pytest.skip(str(reason))
    with made:
        yield made


@pytest.fixture
def log(caplog):
    """(level, text) of what this cache has logged."""
    caplog.set_level(logging.DEBUG)
    return lambda: [(each.levelname, each.getMessage()) for each in caplog.records if "redis" in each.name]


def levels(log):
    return [level for level, _ in log()]


def state_is(scene, state):
    return lambda: scene.prices.status.state is state


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_s20_stopped_and_started_again(server, log):
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS)
        await within(5, lambda: scene.prices.status.written == len(KEYS))
        server.stop()
        scene.offer(KEYS[:10], 20_000)
        await within(2, state_is(scene, RedisState.OPEN))
        for _ in range(5):
            scene.offer(KEYS[:20], 30_000)
            await asyncio.sleep(0.1)
        server.start()
        await within(BACK_S, state_is(scene, RedisState.CLOSED))
        await within(2, lambda: len(stored(server)) == len(KEYS))
        assert [stored(server)[f"NSE_FNO:{number}"]["last"] for number in (60_000, 60_019, 60_020)] == [
            30_000, 30_000, 10_000,
        ]  # fmt: skip
        (counts,) = scene.fanout.counts()
        assert counts.lag_max_ns > 400_000_000
        assert scene.prices.status.refills == 1
    assert levels(log) == ["WARNING", "INFO"]
    assert "Redis is back after" in log()[1][1]


async def test_s20_frozen_costs_a_quarter_of_a_second_at_a_time_and_the_loop_nothing(server, log):
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS)
        await within(5, lambda: scene.prices.status.written == len(KEYS))
        server.freeze()
        began, worst = time.monotonic(), 0.0
        while time.monotonic() - began < 2.5:
            at = time.monotonic()
            scene.offer(KEYS[:50], 20_000)
            await asyncio.sleep(0.002)
            worst = max(worst, time.monotonic() - at)
        assert scene.prices.status.state is RedisState.OPEN
        assert "within 0.25 s" in scene.prices.status.trouble
        # 0.25 s each, after waits of at least 0.125, 0.25, 0.5 and 1 s.
        assert 2 <= scene.prices.status.failures <= 5
        assert worst < 0.2
        server.thaw()
        await within(BACK_S, state_is(scene, RedisState.CLOSED))
        await within(2, lambda: stored(server)["NSE_FNO:60000"]["last"] == 20_000)
    assert levels(log) == ["WARNING", "INFO"]


async def test_s20_the_end_does_not_wait_for_a_frozen_redis(server):
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS)
        await within(5, lambda: scene.prices.status.written == len(KEYS))
        server.freeze()
        scene.offer(KEYS)
        # In the middle of a command, as a rule.
        await asyncio.sleep(0.15)
        began = time.monotonic()
        await scene.end()
        assert time.monotonic() - began < 0.4
        server.thaw()


async def test_s20_flushed_everything_recent_is_there_again_also_what_is_quiet(server, log):
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS)
        await within(5, lambda: scene.prices.status.written == len(KEYS))
        for round_of in range(3):
            server.ask("FLUSHALL")
            scene.offer(KEYS[:1], 20_000 + round_of)
            await within(2, lambda: len(stored(server)) == len(KEYS))
            assert 0 < server.ask("PTTL", HASH) <= 60_000
        assert scene.prices.status.refills == 3
        assert scene.prices.status.failures == 0
    assert log() == []


async def test_s20_flushed_after_a_reconnect_to_a_hash_that_was_still_there(server):
    """Then no field was new on this connection; they must be known all the same."""
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS)
        await within(5, lambda: scene.prices.status.written == len(KEYS))
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        scene.offer(KEYS[:1])
        await within(BACK_S, lambda: scene.prices.status.refills == 1 and scene.prices.status.written >= 2 * len(KEYS))
        server.ask("FLUSHALL")
        scene.offer(KEYS[:1])
        await within(2, lambda: len(stored(server)) == len(KEYS))


async def test_s20_a_new_instrument_is_no_sign_of_a_flush(server):
    async with redis_scene(server.url) as scene:
        for number in range(0, 600, 100):
            scene.offer(KEYS[: number + 100])
            await within(2, lambda number=number: len(stored(server)) == number + 100)
        assert scene.prices.status.refills == 0


async def test_s20_prices_older_than_the_hash_lives_are_not_brought_back(server):
    clock = ManualClock(utc=time.time_ns())
    async with redis_scene(server.url, clock) as scene:
        await write(scene, KEYS[:5])
        clock.pass_seconds(40)
        await write(scene, KEYS[5:8])
        clock.pass_seconds(30)
        server.ask("FLUSHALL")
        await write(scene, KEYS[7:8])
        assert scene.prices.status.refills == 1
        assert sorted(stored(server)) == ["NSE_FNO:60005", "NSE_FNO:60006", "NSE_FNO:60007"]


async def write(scene, keys):
    """One round of the writer, with the manual clock, to its end."""
    confirmed = scene.prices.status.written
    scene.offer(keys)
    scene.clock.pass_seconds(0.1)
    scene.fanout.beat()
    await within(2, lambda: scene.prices.status.written > confirmed)
    await asyncio.sleep(0.05)
    scene.clock.pass_seconds(0.1)
    scene.fanout.beat()
    await asyncio.sleep(0.05)


async def test_s20_refused_at_the_start_is_one_warning_and_it_is_tried_for_ever(log):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with redis_scene(RedisAccess("127.0.0.1", port)) as scene:
        began = time.monotonic()
        assert await scene.prices.read_warm(KEYS) == ()
        assert time.monotonic() - began < 0.4
        await within(3, lambda: scene.prices.status.failures >= 3)
        assert scene.prices.status.trouble == "Redis cannot be reached: Connection refused"
        assert scene.prices.status.last_ok_ns is None
    assert levels(log) == ["WARNING"]
    assert str(port) not in log()[0][1]


@pytest.mark.parametrize("password", [SECRET, None])
async def test_s20_a_wrong_password_is_told_without_it(log, server, password):
    with RedisServer(password="right-" + SECRET) as guarded:
        access = RedisAccess("127.0.0.1", guarded.port, password=password)
        async with redis_scene(access) as scene:
            scene.offer(KEYS)
            await within(3, lambda: scene.prices.status.failures >= 2)
            assert "it does not take this user name and password, or wants some" in scene.prices.status.trouble
            assert SECRET not in repr(scene.prices.status) + repr(log())
        guarded.ask("CONFIG", "SET", "requirepass", SECRET if password else "")
    assert levels(log) == ["WARNING"]


@pytest.mark.slow
async def test_s20_a_key_of_another_kind_is_told_once_and_not_touched(server, log):
    server.ask("SET", HASH, "mine")
    async with redis_scene(server.url) as scene:
        for _ in range(10):
            scene.offer(KEYS[:3])
            await asyncio.sleep(0.1)
        assert scene.prices.status.failures >= 2
        assert (
            scene.prices.status.trouble
            == "Redis refuses: the key dhan:prices:1 holds something else, which is left alone"
        )
        assert server.ask("GET", HASH) == b"mine"
        assert await scene.prices.read_warm(KEYS) == ()
        server.ask("DEL", HASH)
        await within(BACK_S, lambda: len(stored(server)) == 3)
    assert levels(log) == ["WARNING", "INFO"]


async def test_s20_others_fields_in_the_hash_stay(server):
    server.ask("HSET", HASH, "readme", "hello", "NSE_FNO:60000", "\x00garbage", "NSE_FNO:7", "{}")
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS)
        await within(2, lambda: scene.prices.status.written == len(KEYS))
        assert server.ask("HLEN", HASH) == len(KEYS) + 2
        assert server.ask("HGET", HASH, "readme") == b"hello"
        assert scene.prices.status.refills == 0


async def test_s20_slow_is_not_away_and_too_slow_is(server, log):
    async with (
        FaultProxy("127.0.0.1", server.port) as proxy,
        redis_scene(RedisAccess("127.0.0.1", proxy.port)) as scene,
    ):
        proxy.to_client.latency_s = 0.1
        scene.offer(KEYS)
        await within(5, lambda: scene.prices.status.written == len(KEYS))
        assert scene.prices.status.failures == 0
        proxy.to_client.latency_s = 0.4
        scene.offer(KEYS, 20_000)
        await within(3, state_is(scene, RedisState.OPEN))
        proxy.to_client.latency_s = 0.0
        await within(BACK_S, lambda: {each["last"] for each in stored(server).values()} == {20_000})
    assert levels(log) == ["WARNING", "INFO"]


async def test_s20_bytes_in_crumbs_and_a_reset_in_the_middle(server):
    async with (
        FaultProxy("127.0.0.1", server.port) as proxy,
        redis_scene(RedisAccess("127.0.0.1", proxy.port)) as scene,
    ):
        proxy.to_client.slice_bytes = 1
        scene.offer(KEYS)
        await within(5, lambda: scene.prices.status.written == len(KEYS))
        assert len(await scene.prices.read_warm(KEYS[:20])) == 20
        proxy.to_server.cut_after = 40_000
        proxy.to_server.cut_with_reset = True
        scene.offer(KEYS, 20_000)
        await within(3, lambda: scene.prices.status.failures > 0)
        proxy.to_server.cut_after = None
        await within(BACK_S, lambda: {each["last"] for each in stored(server).values()} == {20_000})


@asynccontextmanager
async def impostor(answer: bytes | None) -> AsyncIterator[int]:
    """Not Redis. Answers everything with the same bytes, or with nothing at all (None)."""

    async def serve(reader, writer):
        while await reader.read(65_536):
            if answer is not None:
                writer.write(answer)
        writer.close()

    peer = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield peer.sockets[0].getsockname()[1]
    finally:
        peer.close()


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "another kind of server answers"),
        (b"\x00\xff\xfe" * 100, "another kind of server answers"),
        (f"-ERR unknown command 'AUTH', with args beginning with: '{SECRET}'\r\n".encode(), "Redis refuses: an error"),
        (f"-{SECRET}\r\n".encode(), "Redis refuses: an error"),
        (b"-ERR PACANARYUPPER is no command\r\n", "Redis refuses: an error"),
        (b"-MOVED 3999 127.0.0.1:6381\r\n", "one node of a cluster"),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "cannot save"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "still loading"),
        (b"-READONLY You can't write against a read only replica.\r\n", "read-only"),
        (b"-NOPERM this user has no permissions\r\n", "may not write"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "out of memory"),
        (b"+OK\r\n" * 9, "expected a number from Redis"),
        (None, "no answer from Redis within 0.25 s"),
    ],
)
async def test_s20_another_server_in_its_place(answer, trouble, log):
    async with impostor(answer) as port:
        access = RedisAccess("127.0.0.1", port, password=SECRET if b"O" not in (answer or b"O")[:2] else None)
        async with redis_scene(access) as scene:
            scene.offer(KEYS[:3])
            await within(3, lambda: scene.prices.status.failures >= 2)
            assert trouble in scene.prices.status.trouble
            shown = repr(log()) + repr(scene.prices.status)
            assert SECRET not in shown
            assert "PACANARYUPPER" not in shown
            began = time.monotonic()
            assert await scene.prices.read_warm(KEYS) == ()
            assert time.monotonic() - began < 0.6
    assert levels(log) == ["WARNING"]


async def test_s20_the_start_waits_for_a_dead_redis_for_less_than_0_6_s(server):
    server.freeze()
    async with redis_scene(server.url, runs=False) as scene:
        began = time.monotonic()
        assert await scene.prices.read_warm(KEYS) == ()
        assert time.monotonic() - began < 0.6
    server.thaw()


async def test_s20_the_start_waits_for_a_slow_redis_for_a_second_in_all(server):
    keys = [KEYS[0]] * 2_500  # ten chunks
    async with (
        FaultProxy("127.0.0.1", server.port) as proxy,
        redis_scene(RedisAccess("127.0.0.1", proxy.port), runs=False) as scene,
    ):
        proxy.to_client.latency_s = 0.18
        began = time.monotonic()
        await scene.prices.read_warm(keys)
        assert 0.9 < time.monotonic() - began < 1.2
        assert scene.prices.status.trouble == "prices for the start took longer than 1 s"


async def test_s20_a_resolver_that_hangs_costs_no_more_and_one_thread():
    never = threading.Event()
    names = HostNames(SystemClock(), resolve=lambda host: (never.wait(20), ())[1])
    before = threading.active_count()
    try:
        async with redis_scene(RedisAccess("cache.example"), names=names) as scene:
            began = time.monotonic()
            assert await scene.prices.read_warm(KEYS) == ()
            assert time.monotonic() - began < 0.6
            await within(5, lambda: scene.prices.status.failures >= 3)
            assert threading.active_count() <= before + 1
    finally:
        never.set()


async def test_s20_what_a_frozen_peer_has_not_taken_is_dropped_with_the_connection():
    """A polite close waits until everything is sent, which is never."""
    pong, never = b"+PONG\r\n", asyncio.Event()

    async def serve(reader, writer):
        await reader.read(100)
        writer.write(pong)
        await never.wait()
        writer.close()

    peer = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1_024)
    line = RedisLine(RedisAccess("127.0.0.1", peer.sockets[0].getsockname()[1]), HostNames(SystemClock()))
    await line.open()
    transport = line._transport
    with pytest.raises(TransportError, match=r"within 0\.25 s"):
        await line.ask(bytes(50_000_000), 1)
    assert not line.is_open
    await within(1, lambda: transport.get_extra_info("socket").fileno() == -1)
    never.set()
    peer.close()


async def test_s20_a_day_of_failures_leaks_neither_descriptors_nor_tasks(server):
    async with redis_scene(server.url, runs=False) as scene:
        scene.offer(KEYS)
        await scene.prices.read_warm(KEYS)
        files, tasks = open_files(), len(asyncio.all_tasks())
        for round_of in range(40):
            if round_of % 4 == 0:
                server.stop()
            elif round_of % 4 == 2:
                server.start()
            scene.offer(KEYS, round_of + 1)
            await scene.prices._try()
        assert scene.prices.status.failures >= 10
        assert scene.prices.status.written > 0
        assert abs(open_files() - files) <= 2
        assert len(asyncio.all_tasks()) == tasks
