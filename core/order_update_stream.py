"""The broker's order updates: a second witness of what our orders did, never the only one.

Nothing is acknowledged and nothing is replayed (dhan_v2_protocol 4), so every connection, the first too, calls
`on_connected`: the caller then reads order book, trade book and positions. Silence proves nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from websockets.exceptions import WebSocketException

from core.backoff import Backoff
from core.dhan.order_updates import login_message, parse_order_update
from core.feed_socket import FeedSocket, SocketLimits, open_feed_socket
from core.model.errors import DecodeError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.model.orders import OrderReport

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class OrderStreamStatus:
    """`last_report_ns` monotonic, None before the first. `unreadable` frames are counted and skipped."""

    is_connected: bool = False
    connections: int = 0
    reports: int = 0
    other_frames: int = 0
    unreadable: int = 0
    last_report_ns: int | None = None


@dataclass(frozen=True, slots=True)
class OrderStreamLogin:
    """Where and as whom. `token` is asked at every connect."""

    url: str
    client_id: str
    token: Callable[[], str] = field(repr=False)


class OrderUpdateStream:
    """Run `run` as a task; it ends only by being cancelled, or with a bug of a callback.

    `on_report` and `on_connected` are called on the event loop and must not block.
    """

    def __init__(
        self,
        login: OrderStreamLogin,
        on_report: Callable[[OrderReport], None],
        on_connected: Callable[[], None],
        clock: Clock,
        *,
        limits: SocketLimits | None = None,
        backoff: Backoff | None = None,
        tls: ssl.SSLContext | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._login = login
        self._report = on_report
        self._connected = on_connected
        self._clock = clock
        self._limits = limits or SocketLimits()
        self._backoff = backoff or Backoff(cap_s=60.0)
        self._tls = tls
        self._sleep = sleep
        self.status = OrderStreamStatus()

    async def run(self) -> None:
        while True:
            try:
                await self._live_once()
                logger.info("order updates: the connection ended")
            except (OSError, WebSocketException) as error:
                # The class is enough: a message could quote what was sent.
                logger.info("order updates: no connection (%s)", type(error).__name__)
            await self._sleep(self._backoff.next_delay_s())

    async def _live_once(self) -> None:
        socket = await open_feed_socket(self._login.url, self, self._limits, self._tls)
        try:
            await socket.send(login_message(self._login.client_id, self._login.token()))
            self.status.is_connected = True
            self.status.connections += 1
            self._connected()
            await _end_of(socket)
        finally:
            self.status.is_connected = False
            socket.abort()

    def on_text(self, message: bytes) -> None:
        try:
            report = parse_order_update(message)
        except DecodeError as error:
            self.status.unreadable += 1
            logger.warning("order updates: a frame was skipped: %s", error)
            return
        if report is None:
            self.status.other_frames += 1
            return
        self._backoff.succeeded()
        self.status.reports += 1
        self.status.last_report_ns = self._clock.monotonic_ns()
        self._report(report)

    on_binary = on_text
    """UTF-8 JSON was also seen in binary frames (dhan_v2_protocol 4)."""

    def on_lost(self) -> None:
        self.status.is_connected = False


async def _end_of(socket: FeedSocket) -> None:
    await socket.wait_closed()
    socket.raise_bug()
