"""Waiting one's turn under a rate limit, in the order of asking."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.dhan.limits import Budget, RateLimit
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock


class Pace:
    def __init__(self, limit: RateLimit, clock: Clock, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._budget = Budget((limit,))
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Return when one call may be made, and count it."""
        async with self._turn:
            while (wait_ns := self._budget.next_free_ns(now := self._clock.monotonic_ns()) - now) > 0:
                await self._sleep(wait_ns / NS_PER_S)
            self._budget.take(now)
