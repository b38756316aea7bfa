"""No order leaves between a sleep and the first look at the broker after it (reliability P16).

Whoever slept for minutes knows positions that others may have closed meanwhile, and by the monotonic clock, which can stand
still while a machine is suspended, that knowledge still looks young.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from core.model.commands import ReadOrderBook, ReadPositions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from core.model.commands import Command

_log = logging.getLogger(__name__)
_PAUSE_S: Final = 0.5


class SleepFence:
    """Wire `slept` to the timer's `on_slept`, and `may_order` in front of every order.

    `ask` puts a question to the broker and returns "" when it was answered. `is_awake` is the timer's. `also` is done at once:
    prices are doubted, old connections dropped, the rows read again.
    """

    def __init__(
        self,
        ask: Callable[[Command], Awaitable[str]],
        spawn: Callable[[Coroutine[None, None, None]], object],
        is_awake: Callable[[], bool],
        also: Callable[[], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._spawn = spawn
        self._is_awake = is_awake
        self._also = also
        self._sleep = sleep
        self._sleeps = 0
        self._is_looking = False
        self.is_closed = False

    def may_order(self) -> bool:
        return not self.is_closed and self._is_awake()

    def slept(self, _for_ns: int) -> None:
        self._sleeps += 1
        self.is_closed = True
        self._also()
        if not self._is_looking:
            self._is_looking = True
            self._spawn(self._look())

    async def _look(self) -> None:
        """Until both were answered with no sleep in between. Never given up: without positions no exit could be right."""
        while True:
            sleeps = self._sleeps
            problem = await self._ask(ReadOrderBook()) or await self._ask(ReadPositions())
            if not problem and sleeps == self._sleeps:
                self.is_closed = self._is_looking = False
                _log.info("orders may be sent again: positions and order book were read after the sleep")
                return
            await self._sleep(_PAUSE_S)
