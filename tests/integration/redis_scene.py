"""The price cache joined as in the monitor, over a real Redis server or over whatever a test puts in its place."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from core.clock import Clock, SystemClock
from core.host_names import HostNames
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.price_fanout import PriceFanout, Rank
from core.price_text import HASH
from core.redis_line import RedisAccess, redis_access
from core.redis_prices import EVERY_S, RedisPrices
from tests.fakes.redis_server import RedisServer

KEYS = tuple(InstrumentKey(Segment.NSE_FNO, 60_000 + number) for number in range(600))


class Scene:
    """`beat` is one round of the writer, when `is_timed` is False."""

    def __init__(self, access: RedisAccess, clock: Clock, names: HostNames) -> None:
        self.clock = clock
        self.fanout = PriceFanout(clock)
        self.prices = RedisPrices(access, self.fanout.add("redis", Rank.CACHE, EVERY_S), clock, names)
        self.tasks: list[asyncio.Task[None]] = []

    def offer(self, keys: Iterable[InstrumentKey], last: int = 10_000, source: QuoteSource = QuoteSource.FEED) -> None:
        for key in keys:
            now = self.clock.monotonic_ns()
            self.fanout.offer(Quote(key, last, last - 5, last + 5, 75, 150, 1_795_000_000, now, source))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.prices.close()


@asynccontextmanager
async def redis_scene(
    where: RedisAccess | str, clock: Clock | None = None, names: HostNames | None = None, *, runs: bool = True
) -> AsyncIterator[Scene]:
    access = redis_access(where, None, 0) if isinstance(where, str) else where
    assert access is not None
    clock = clock or SystemClock()
    scene = Scene(access, clock, names or HostNames(clock))
    if runs:
        scene.tasks = [asyncio.create_task(scene.fanout.run()), asyncio.create_task(scene.prices.run())]
    try:
        yield scene
    finally:
        broken = [task.exception() for task in scene.tasks if task.done() and not task.cancelled()]
        await scene.end()
        assert broken == []


def stored(server: RedisServer) -> dict[str, dict[str, Any]]:
    """What another program sees."""
    words = server.ask("HGETALL", HASH)
    pairs = words.items() if isinstance(words, dict) else zip(words[::2], words[1::2], strict=True)
    return {name.decode(): json.loads(value) for name, value in pairs}


async def within(seconds: float, condition: Any) -> float:
    """Wait until the condition holds; how long it took. Fails when it took longer."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - began
