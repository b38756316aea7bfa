"""Asks whether a host's name is found before anyone connects to it, on a thread of its own.

A look-up cannot be cancelled, and asyncio makes each one on a thread of the pool that the whole program shares: a resolver that
does not answer would soon hold every thread, and with them the broker's look-ups and the end of the process.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from core.clock import Clock
from core.host_names import LookUp, NotFound, is_address
from core.model.session_time import NS_PER_S

PATIENCE_S: Final = 2.0
FRESH_S: Final = 1.0
"""Short: whoever connects looks the name up again, in the shared pool, and by then the resolver may have gone away."""


class NameNotFoundError(OSError):
    """The text quotes neither host nor URL: what was typed there may be a key."""


def _look_up(host: str) -> object:
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)


class NameGate:
    """For one host, on one loop. At most one look-up runs at a time; the end of the process does not wait for it."""

    def __init__(
        self, clock: Clock, *, patience_s: float = PATIENCE_S, resolve: Callable[[str], object] = _look_up
    ) -> None:
        self._now = clock.monotonic_ns
        self._patience_s = patience_s
        self._resolve = resolve
        self._fresh_until_ns = 0
        self._asked: asyncio.Future[object] | None = None
        self._until_s = 0.0

    async def known(self, host: str) -> None:
        """Raises NameNotFoundError: within `patience_s`, at once while a look-up hangs. A success is good for FRESH_S."""
        if host == "localhost" or is_address(host) or self._now() < self._fresh_until_ns:
            return
        loop, asked = asyncio.get_running_loop(), self._asked
        if asked is None or asked.done():
            asked = LookUp(host, self._resolve, "name-gate").answer
            asked.add_done_callback(self._answer)
            self._asked, self._until_s = asked, loop.time() + self._patience_s
        # Who comes during a look-up shares what is left of its patience.
        await asyncio.wait([asked], timeout=max(0.0, self._until_s - loop.time()))
        found = asked.result() if asked.done() else NotFound("no answer in time")
        if isinstance(found, NotFound):
            raise NameNotFoundError(f"the name of the host in SUPABASE_URL is not found ({found.reason})")

    def _answer(self, asked: asyncio.Future[object]) -> None:
        if not isinstance(asked.result(), NotFound):
            self._fresh_until_ns = self._now() + round(FRESH_S * NS_PER_S)
