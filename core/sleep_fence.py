"""No order leaves between a sleep and the first look at the broker after it (reliability P16).

Whoever slept for minutes knows positions that others may have closed meanwhile, and by the monotonic clock, which can stand
still while a machine is suspended, that knowledge still looks young.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from core.model.commands import Alert, ReadOrderBook, ReadPositions, Severity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from core.model.commands import Command

_log = logging.getLogger(__name__)
_PAUSE_S: Final = 0.5
_TOLD_AFTER: Final = 10
"""Failed looks in a row, at least five seconds: until then a broker that comes back is no news."""
_HELD: Final = "orders are held back since the sleep"


def _tell_nobody(_: Alert) -> None:
    pass


class SleepFence:
    """Wire `slept` to the timer's `on_slept`, and `may_order` in front of every order.

    `ask` puts a question to the broker and returns "" when it was answered. `is_awake` is the timer's. `also` is done at once:
    prices are doubted, old connections dropped, the rows read again. `alert` hears when the broker cannot be asked for long.
    """

    def __init__(
        self,
        ask: Callable[[Command], Awaitable[str]],
        spawn: Callable[[Coroutine[None, None, None]], object],
        is_awake: Callable[[], bool],
        also: Callable[[], None],
        *,
        alert: Callable[[Alert], None] = _tell_nobody,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._spawn = spawn
        self._is_awake = is_awake
        self._also = also
        self._alert = alert
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
        failed = 0
        while True:
            sleeps = self._sleeps
            problem = await self._ask(ReadOrderBook()) or await self._ask(ReadPositions())
            if not problem and sleeps == self._sleeps:
                self.is_closed = self._is_looking = False
                _log.info("orders may be sent again: positions and order book were read after the sleep")
                if failed >= _TOLD_AFTER:
                    self._alert(Alert(Severity.INFO, "orders may be sent again", "positions and order book were read"))
                return
            failed += bool(problem)
            if problem and failed == _TOLD_AFTER:
                text = f"no exit can be sent until positions and order book are read: {problem}. Watch the positions at the broker"
                self._alert(Alert(Severity.PAGE, _HELD, text))
            await self._sleep(_PAUSE_S)
