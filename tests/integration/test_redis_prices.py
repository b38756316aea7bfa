"""The price cache over a real Redis server that is well: what is written, and what the next start reads."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.clock import SystemClock
from core.host_names import HostNames
from core.model.market import QuoteSource
from core.price_text import HASH, WarmCounts
from core.redis_line import RedisAccess
from core.redis_prices import RedisState
from tests.fakes.certificates import self_signed
from tests.fakes.manual_clock import ManualClock
from tests.fakes.redis_server import RedisServer, Unavailable
from tests.integration.redis_scene import KEYS, Scene, redis_scene, stored, within

PASSWORD = "pa-canary-4711-8bca02"


@pytest.fixture
def server() -> Iterator[RedisServer]:
    try:
        made = RedisServer()
    except Unavailable as reason:
        pytest.skip(str(reason))
    with made:
        yield made


async def test_other_programs_find_the_newest_price_of_each_instrument_and_its_time(server):
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS, 9_000)
        scene.offer(KEYS, 10_000)
        await within(5, lambda: server.ask("HLEN", HASH) == len(KEYS))
        first = stored(server)["NSE_FNO:60007"]
        assert abs(first["received_ms"] - time.time() * 1_000) < 5_000
        assert {name: first[name] for name in ("v", "last", "bid", "ask", "bid_size", "ask_size", "source")} == {
            "v": 1, "last": 10_000, "bid": 9_995, "ask": 10_005, "bid_size": 75, "ask_size": 150, "source": "feed",
        }  # fmt: skip
        scene.offer(KEYS[7:8], 12_000)
        await within(5, lambda: stored(server)["NSE_FNO:60007"]["last"] == 12_000)
        assert stored(server)["NSE_FNO:60007"]["received_ms"] > first["received_ms"]
        assert {each["last"] for name, each in stored(server).items() if name != "NSE_FNO:60007"} == {10_000}
        assert scene.prices.status.state is RedisState.CLOSED
        assert scene.prices.status.written == len(KEYS) + 1
        (counts,) = scene.fanout.counts()
        assert (counts.delivered, counts.conflated, counts.waiting) == (len(KEYS) + 1, len(KEYS), 0)
        assert counts.lag_max_ns < 1_000_000_000
    assert scene.prices.status.state is RedisState.OFF


async def test_prices_of_a_monitor_that_has_ended_vanish(server):
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS[:1])
        await within(5, lambda: server.ask("HLEN", HASH) == 1)
    assert 50_000 < server.ask("PTTL", HASH) <= 60_000


async def test_the_next_start_reads_them_as_cached_with_their_age(server):
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS[:400], 12_345)
        await within(5, lambda: server.ask("HLEN", HASH) == 400)
    async with redis_scene(server.url, runs=False) as scene:
        found = await scene.prices.read_warm(KEYS)
        now = scene.clock.monotonic_ns()
    assert [quote.key for quote in found] == list(KEYS[:400])
    assert {(quote.last, quote.bid, quote.ask, quote.source) for quote in found} == {
        (12_345, 12_340, 12_350, QuoteSource.CACHE)
    }
    assert all(0 <= now - quote.received_ns < 5_000_000_000 for quote in found)
    assert scene.prices.status.warm == WarmCounts(taken=400, missing=200)


async def test_what_is_too_old_or_not_ours_is_not_read(server):
    clock = ManualClock(utc=time.time_ns())
    async with redis_scene(server.url, clock) as scene:
        scene.offer(KEYS[:2])
        scene.fanout.beat()
        await within(5, lambda: server.ask("HLEN", HASH) == 2)
        clock.pass_seconds(15.5)
        scene.offer(KEYS[2:3])
        scene.fanout.beat()
        await within(5, lambda: server.ask("HLEN", HASH) == 3)
    good = stored(server)["NSE_FNO:60002"]
    other, later = good | {"v": 2}, good | {"received_ms": clock.utc // 1_000_000 + 3_000}
    server.ask("HSET", HASH, "NSE_FNO:60003", "hello", "NSE_FNO:60004", json.dumps(other), "readme", b"\xff" * 5_000)
    server.ask("HSET", HASH, "NSE_FNO:60005", json.dumps(later), "NSE_FNO:60006", b"\x80" * 5_000)
    async with redis_scene(server.url, clock, runs=False) as scene:
        found = await scene.prices.read_warm(KEYS[:10])
    assert [quote.key for quote in found] == [KEYS[2]]
    assert scene.prices.status.warm == WarmCounts(taken=1, missing=3, malformed=2, foreign=1, future=1, old=2)


async def test_a_price_that_came_from_the_cache_is_not_written_again(server):
    async with redis_scene(server.url) as scene:
        scene.offer(KEYS[:3], source=QuoteSource.CACHE)
        scene.offer(KEYS[3:5])
        await within(5, lambda: server.ask("HLEN", HASH) == 2)
        scene.offer(KEYS[5:6], source=QuoteSource.CACHE)
        scene.offer(KEYS[6:7])
        await within(5, lambda: server.ask("HLEN", HASH) == 3)
        assert scene.prices.status.written == 3


async def test_two_monitors_may_share_one_redis(server):
    async with redis_scene(server.url) as one, redis_scene(server.url) as other:
        one.offer(KEYS[:300], 1_000)
        other.offer(KEYS[300:], 2_000)
        await within(5, lambda: server.ask("HLEN", HASH) == 600)
        for _ in range(5):
            one.offer(KEYS[:300], 1_100)
            other.offer(KEYS[250:], 2_100)
            await within(5, lambda: not one.fanout.counts()[0].waiting and not other.fanout.counts()[0].waiting)
        assert (one.prices.status.refills, other.prices.status.refills) == (0, 0)
        assert len({value["writer"] for value in stored(server).values()}) == 2


async def test_x06_no_token_no_password_and_no_name_of_the_account_or_the_host_is_in_redis(server):
    with RedisServer(password=PASSWORD) as guarded:
        async with redis_scene(guarded.url) as scene:
            scene.offer(KEYS)
            await within(5, lambda: scene.prices.status.written == len(KEYS))
            everything = repr([stored(guarded), guarded.ask("KEYS", "*"), guarded.ask("CLIENT", "LIST")])
        values = stored(guarded).values()
    assert "NSE_FNO:60599" in everything
    assert [secret for secret in (PASSWORD, os.uname().nodename, "eyJ", "token") if secret in everything] == []
    fields = {"v", "last", "bid", "ask", "bid_size", "ask_size", "exchange_time", "received_ms", "source", "writer"}
    assert {frozenset(value) for value in values} == {frozenset(fields)}
    # The only text that is not fixed by the layout: eight random digits, anew in every run.
    assert {(len(value["writer"]), set(value["writer"]) <= set("0123456789abcdef")) for value in values} == {(8, True)}


async def test_user_password_and_database_number_are_used(server):
    server.ask(
        "ACL",
        "SETUSER",
        "monitor",
        "on",
        f">{PASSWORD}",
        "~dhan:prices:*",
        "+hset",
        "+hmget",
        "+pexpire",
        "+select",
        "+ping",
    )
    access = RedisAccess("127.0.0.1", server.port, 3, user="monitor", password=PASSWORD)
    async with redis_scene(access) as scene:
        scene.offer(KEYS[:1])
        await within(5, lambda: scene.prices.status.written == 1)
    assert list(server.ask("INFO", "keyspace")) == ["db3"]


@pytest.mark.parametrize(
    ("host", "name", "words"),
    [
        ("127.0.0.1", "127.0.0.1", ""),
        ("127.0.0.1", "other.example", "is for another address"),
        ("cache.example", "cache.example", ""),
        ("cache.example", "127.0.0.1", "is for another host"),
    ],
)
async def test_over_tls_the_certificate_is_verified_against_the_name(tmp_path, monkeypatch, host, name, words):
    _, certificate = self_signed(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with tls_scene(tmp_path, host) as scene:
        await scene.prices.read_warm(KEYS)
        assert (scene.prices.status.trouble == "") == (words == "")
        assert words in scene.prices.status.trouble
        scene.offer(KEYS)
        if not words:
            await within(5, lambda: scene.prices.status.written == len(KEYS))


async def test_over_tls_a_certificate_that_nobody_signed_is_refused(tmp_path):
    self_signed(tmp_path, "127.0.0.1")
    async with tls_scene(tmp_path) as scene:
        assert await scene.prices.read_warm(KEYS) == ()
        assert "was signed by nobody" in scene.prices.status.trouble


@asynccontextmanager
async def tls_scene(folder: Path, host: str = "127.0.0.1") -> AsyncIterator[Scene]:
    """A server that speaks TLS on a port of its own; without it in the build, a skip."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    files = ("--tls-cert-file", str(folder / "server.crt"), "--tls-key-file", str(folder / "server.key"))
    try:
        server = RedisServer("--tls-port", str(port), *files, "--tls-auth-clients", "no")
    except Unavailable as reason:
        pytest.skip(str(reason))
    with server:
        names = HostNames(SystemClock(), resolve=lambda _: ("127.0.0.1",))
        async with redis_scene(f"rediss://{host}:{port}", names=names) as scene:
            yield scene
