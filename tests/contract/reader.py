"""Reads a store as the book keeper does: again after each noticed change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from core.model.errors import TransportError
from core.stores.base import Snapshot, TradeStore
from tests.contract.world import StoreWorld

WITHIN_S = 20.0
"""How long a change may take to be noticed: generous, because a busy machine may stop us for a while."""


class Reader:
    """`snapshot`: the newest; `reads`: how many so far."""

    def __init__(self, world: StoreWorld, store: TradeStore) -> None:
        self._world = world
        self._store = store
        self._read = asyncio.Condition()
        self.snapshot: Snapshot
        self.reads = 0

    async def run(self) -> None:
        await self._take()
        async for _ in self._store.changes():
            await self._take()

    async def until(self, condition: Callable[[Snapshot], bool]) -> float:
        """Wait for a snapshot that fulfils the condition; the seconds that it took."""
        begun = time.monotonic()
        async with asyncio.timeout(WITHIN_S), self._read:
            await self._read.wait_for(lambda: self.reads > 0 and condition(self.snapshot))
        return time.monotonic() - begun

    async def _take(self) -> None:
        with contextlib.suppress(TransportError):
            snapshot = self._world.ours(await self._store.read_snapshot())
            async with self._read:
                self.snapshot = snapshot
                self.reads += 1
                self._read.notify_all()


@asynccontextmanager
async def reading(world: StoreWorld, store: TradeStore) -> AsyncIterator[Reader]:
    """A reader at work. What it raises is raised here."""
    reader = Reader(world, store)
    work = asyncio.create_task(reader.run(), name="reader")
    try:
        await reader.until(lambda _: True)
        yield reader
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
