"""A WebSocket manager at a hand-driven feed, for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import time

from core.clock import SystemClock
from core.dhan.disconnect_policy import AccountGate
from core.dhan.feed_connection import FeedPolicy
from core.feed_line import FeedAccess, FeedSettings
from core.model.instrument import InstrumentKey, Segment
from core.price_cache import PriceCache
from core.websocket_manager import WebSocketManager
from tests.fakes.waiting import eventually

MS = 1_000_000
TOKEN = "canary-token-4711"
NIFTY = InstrumentKey(Segment.IDX_I, 13)
QUICK = FeedPolicy(
    stale_after_ns=100 * MS,
    reconnect_after_ns=150 * MS,
    quiet_reconnect_after_ns=1_000 * MS,
    first_delay_ns=10 * MS,
    least_delay_ns=5 * MS,
    most_delay_ns=50 * MS,
)
PATIENT = FeedPolicy(first_delay_ns=10 * MS, least_delay_ns=5 * MS, most_delay_ns=50 * MS)


def option(security_id):
    return InstrumentKey(Segment.NSE_FNO, security_id)


def options(count, first=1):
    return [option(security_id) for security_id in range(first, first + count)]


class RushingClock:
    """Real time, so many times as fast: minutes of waiting pass in a second."""

    def __init__(self, times):
        self.times = times

    def monotonic_ns(self):
        return time.monotonic_ns() * self.times

    def utc_ns(self):
        return time.time_ns()


class FeedRig:
    """`states` and `lines` are what `on_state` and `on_lines` said, `doubts` the tokens that were doubted and why."""

    def __init__(self, url, policy=PATIENT, clock=None, distance_ns=1 * MS, names=None, **options):
        self.clock = clock or SystemClock()
        self.cache = PriceCache()
        self.quotes, self.states, self.lines, self.retries, self.doubts = [], [], [], [], []
        self.token = TOKEN
        self.access = FeedAccess(
            url,
            "1100000042",
            lambda: self.token,
            lambda reason, token: self.doubts.append((reason, token)),
            names,
            AccountGate(distance_ns),
        )
        self.manager = WebSocketManager(
            self.access,
            self.cache,
            options.pop("on_quote", self.quotes.append),
            self.states.append,
            self.clock,
            on_lines=lambda: self.lines.append(self.manager.status.lines_live),
            on_retry=self.retries.append,
            settings=FeedSettings(policy=policy, check_every_s=options.pop("check_every_s", 0.01), **options),
        )

    @property
    def status(self):
        return self.manager.status


@contextlib.asynccontextmanager
async def feed_running(url, policy=PATIENT, **options):
    rig = FeedRig(url, policy, **options)
    task = asyncio.create_task(rig.manager.run())
    try:
        yield rig
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def beating(server, every_s=0.02, only=None):
    """The server sends prices all the time on every open connection."""

    async def beat():
        while True:
            await asyncio.sleep(every_s)
            server.beat(only=only)

    task = asyncio.create_task(beat())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def held(server, count, *, connections=None):
    """Wait until the open connections together are subscribed to exactly so many instruments."""

    def is_so():
        numbers = server.open_numbers
        if connections is not None and len(numbers) != connections:
            return False
        return sum(len(server.held[number - 1]) for number in numbers) == count

    await eventually(is_so)
