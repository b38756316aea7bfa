"""Connections to one server kept open for requests that must not wait for a handshake.

A request takes a warm connection, or opens one when none is left. Spent, lost and long idle ones are replaced off the path.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.brokers.http_connection import HttpConnection, HttpEndpoint, HttpResponse, NotSentError, open_connection
from core.host_names import HostNames
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.tls import TlsWatch

logger = logging.getLogger(__name__)

MAX_IDLE: Final = 8


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Time-outs and how many connections stay open. `total_timeout_s` covers connecting, sending and the whole answer.

    `refresh_after_s` is below the 60 s after which common gateways close idle connections.
    """

    connect_timeout_s: float = 1.0
    total_timeout_s: float = 2.5
    warm: int = 2
    refresh_after_s: float = 25.0
    retry_after_s: float = 1.0


class WarmConnections:
    """`header_block` returns the constant headers as they go on the wire, each line ended; it is asked for each request.

    A request is written at most once; nothing here repeats one. A bug in the upkeep reaches the loop's exception handler at
    once, which ends the monitor, and comes out of `close`. `trust` is told how each connect ended.
    """

    def __init__(
        self,
        endpoint: HttpEndpoint,
        header_block: Callable[[], bytes],
        clock: Clock,
        limits: HttpLimits | None = None,
        *,
        names: HostNames | None = None,
        trust: TlsWatch | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._header_block = header_block
        self._clock = clock
        self._limits = limits or HttpLimits()
        self._names = names or HostNames(clock)
        self._trust = trust
        self._host_line = f"Host: {endpoint.host_header}\r\n".encode()
        self._idle: deque[HttpConnection] = deque()
        self._busy: set[HttpConnection] = set()
        self._wanted = asyncio.Event()
        self._upkeep: asyncio.Task[None] | None = None
        self.opened = 0

    @property
    def idle_count(self) -> int:
        return len(self._idle)

    async def open(self) -> None:
        """Open the warm connections and start their upkeep. Raises NotSentError when the server cannot be reached."""
        await self.refill()
        if self._upkeep is not None:
            return
        self._upkeep = asyncio.create_task(self._keep_warm(), name=f"warm connections to {self._endpoint.host}")
        self._upkeep.add_done_callback(_raise_bug)

    async def close(self) -> None:
        """Drop every connection. Raises what the upkeep died of, if it did."""
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.cancel()
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()
        if upkeep is not None:
            with suppress(asyncio.CancelledError):
                await upkeep

    def drop_idle(self) -> None:
        """Open new ones in place of those that wait: after a sleep of the machine the peer has forgotten them."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        self._wanted.set()

    async def request(self, method: str, path: str, body: bytes = b"") -> HttpResponse:
        """Send one request, once, and return the whole answer.

        Raises:
            NotSentError: nothing was written.
            OutcomeUnknownError: it was written and no whole answer came.
        """
        deadline_s = asyncio.get_running_loop().time() + self._limits.total_timeout_s
        wire = self._request_bytes(method, path, body)
        connection = self._take_idle()
        if connection is None:
            connection = await self._open_one()
        self._busy.add(connection)
        try:
            return await connection.exchange(wire, deadline_s)
        finally:
            self._busy.discard(connection)
            self._give_back(connection)

    async def refill(self) -> None:
        """Replace what is missing or has been idle for too long. New ones are opened before old ones are dropped."""
        oldest_ns = self._clock.monotonic_ns() - int(self._limits.refresh_after_s * NS_PER_S)
        fresh = sum(connection.is_usable and connection.idle_since_ns > oldest_ns for connection in self._idle)
        for _ in range(self._limits.warm - fresh - len(self._busy)):
            self._idle.append(await self._open_one())
        for connection in tuple(self._idle):
            if not connection.is_usable or connection.idle_since_ns <= oldest_ns:
                self._idle.remove(connection)
                connection.close()

    def _request_bytes(self, method: str, path: str, body: bytes) -> bytes:
        return b"".join(
            (
                f"{method} {self._endpoint.base_path}{path} HTTP/1.1\r\n".encode("ascii"),
                self._host_line,
                self._header_block(),
                b"Content-Length: %d\r\n\r\n" % len(body) if body or method != "GET" else b"\r\n",
                body,
            )
        )

    def _take_idle(self) -> HttpConnection | None:
        while self._idle:
            # The one used last is the least likely to have been closed by the peer.
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
            connection.close()
            self._wanted.set()
        return None

    def _give_back(self, connection: HttpConnection) -> None:
        if connection.is_usable and len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.close()
            self._wanted.set()

    async def _open_one(self) -> HttpConnection:
        try:
            connection = await open_connection(
                self._endpoint, self._clock, self._limits.connect_timeout_s, self._names, self._forget_closed
            )
        except NotSentError as error:
            if self._trust is not None:
                self._trust.failed(error, self._endpoint.host)
            raise
        if self._trust is not None:
            self._trust.worked()
        self.opened += 1
        return connection

    def _forget_closed(self, connection: HttpConnection) -> None:
        with suppress(ValueError):
            self._idle.remove(connection)
        self._wanted.set()

    async def _keep_warm(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.refresh_after_s / 2):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self.refill()
            except NotSentError as error:
                logger.warning("no warm connection to the broker: %s", error)
                await asyncio.sleep(self._limits.retry_after_s)
                self._wanted.set()


def _raise_bug(upkeep: asyncio.Task[None]) -> None:
    """In the loop's callback, so that the exception reaches the handler that ends the run, and is not lost in the task."""
    if not upkeep.cancelled():
        upkeep.result()
