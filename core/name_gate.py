"""Asks whether a host's name is found before anyone connects to it, on a thread of its own.

A look-up cannot be cancelled, and asyncio makes each one on a thread of the pool that the whole program shares: a resolver that
does not answer would soon hold every thread, and with them the broker's look-ups and the end of the process.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread
from typing import Final

from core.clock import Clock
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
        self._asked: asyncio.Future[str | None] | None = None
        self._until_s = 0.0

    async def known(self, host: str) -> None:
        """Raises NameNotFoundError: within `patience_s`, at once while a look-up hangs. A success is good for FRESH_S."""
        if host == "localhost" or _is_address(host) or self._now() < self._fresh_until_ns:
            return
        loop, asked = asyncio.get_running_loop(), self._asked
        if asked is None or asked.done():
            asked = loop.create_future()
            Thread(target=self._ask, args=(host, asked, loop), name="name-gate", daemon=True).start()
            self._asked, self._until_s = asked, loop.time() + self._patience_s
        # Who comes during a look-up shares what is left of its patience.
        await asyncio.wait([asked], timeout=max(0.0, self._until_s - loop.time()))
        if (failure := asked.result() if asked.done() else "no answer in time") is not None:
            raise NameNotFoundError(f"the name of the host in SUPABASE_URL is not found ({failure})")

    def _ask(self, host: str, asked: asyncio.Future[str | None], loop: asyncio.AbstractEventLoop) -> None:
        failure = None
        try:
            self._resolve(host)
        except (OSError, ValueError) as error:  # ValueError: what can be no name, such as one of 64 letters.
            failure = getattr(error, "strerror", None) or type(error).__name__
        with suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(self._answer, asked, failure)

    def _answer(self, asked: asyncio.Future[str | None], failure: str | None) -> None:
        if failure is None:
            self._fresh_until_ns = self._now() + round(FRESH_S * NS_PER_S)
        asked.set_result(failure)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
