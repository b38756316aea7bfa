"""The broker's order updates: a second witness of what our orders did, never the only one.

Nothing is acknowledged and nothing is replayed (dhan_v2_protocol 4), so `on_connected` asks the caller to read the books: at every
login, once more when the login must have taken effect, and now and then besides. Silence proves nothing, so none ends a connection.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.exceptions import InvalidStatus, WebSocketException

from core.dhan.order_stream_policy import OrderStreamLimits, OrderStreamPolicy, Pause, Presence
from core.dhan.order_updates import login_message, parse_order_update
from core.feed_socket import FeedSocket, SocketLimits, open_feed_socket
from core.model.commands import Alert, Severity
from core.model.errors import DecodeError
from core.model.session_time import NS_PER_S
from core.tls import TlsWatch

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from core.clock import Clock
    from core.host_names import HostNames
    from core.model.orders import OrderReport

logger = logging.getLogger(__name__)

_BACK = Alert(Severity.INFO, "order updates are connected again", "the books have been read since")


def _away(last_end: str) -> Alert:
    text = f"what happens to orders is read over REST until they are back; exits go on ({last_end or 'no answer yet'})"
    return Alert(Severity.WARNING, "order updates are not connected", text)


@dataclass(slots=True)
class OrderStreamStatus:
    """`last_report_ns` monotonic, None before the first. `unreadable` frames are counted and skipped.

    `refused` counts connections that were dropped as a bad token's are. `last_end` says how the newest one ended.
    """

    is_connected: bool = False
    connections: int = 0
    reports: int = 0
    other_frames: int = 0
    unreadable: int = 0
    refused: int = 0
    last_report_ns: int | None = None
    last_end: str = ""


@dataclass(frozen=True, slots=True)
class OrderStreamLogin:
    """Where and as whom. `token` is asked at every connect."""

    url: str
    client_id: str
    token: Callable[[], str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OrderStreamSettings:
    """`names`: the program's look-ups; None leaves them to asyncio."""

    limits: OrderStreamLimits = field(default_factory=OrderStreamLimits)
    sockets: SocketLimits = field(default_factory=SocketLimits)
    tls: ssl.SSLContext | None = None
    names: HostNames | None = None


def _nobody(_: object, __: object = None) -> None:
    return None


class OrderUpdateStream:
    """Run `run` as a task; it ends only by being cancelled, or with a bug of a callback.

    The callbacks run on the event loop and must not block. `on_connected`: read order book and positions. `on_refused` gets
    why, and the token that was refused. Call `market` about once a second, and `token_changed` when the token has.
    """

    def __init__(
        self,
        login: OrderStreamLogin,
        on_report: Callable[[OrderReport], None],
        on_connected: Callable[[], None],
        clock: Clock,
        *,
        on_refused: Callable[[str, str], None] = _nobody,
        alert: Callable[[Alert], None] = _nobody,
        settings: OrderStreamSettings | None = None,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self._login = login
        self._report = on_report
        self._connected = on_connected
        self._refused = on_refused
        self._alert = alert
        self._now = clock.monotonic_ns
        self._settings = settings or OrderStreamSettings()
        self._policy = OrderStreamPolicy(fraction, self._settings.limits)
        self._trust = TlsWatch("order updates", alert)
        self._host = urlsplit(login.url).hostname or ""
        self._wake = asyncio.Event()
        self._token = ""
        self._skips_wait = False
        self.status = OrderStreamStatus()

    def market(self, *, is_open: bool) -> None:
        """Look at how long the stream has been away, and have the books read when nothing else has for long."""
        now = self._now()
        match self._policy.look(now, is_open=is_open):
            case Presence.AWAY:
                self._alert(_away(self.status.last_end))
            case Presence.BACK:
                self._alert(_BACK)
            case None:
                pass
        if is_open and self._policy.is_reconcile_due(now):
            self._reconcile()

    def token_changed(self) -> None:
        """Connect at once with the new token: a wait ends, and a connection of the old one is replaced.

        The old one may be mute without being closed. What it would have told meanwhile is in the books read after the login.
        """
        if self._login.token() == self._token:
            return
        self._policy.token_changed()
        self._skips_wait = True
        self._wake.set()

    async def run(self) -> None:
        while True:
            pause = await self._connect_and_live()
            self.status.last_end = pause.reason
            logger.info("order updates: %s; next attempt in %.1f s", pause.reason, pause.delay_ns / NS_PER_S)
            if pause.doubts_token:
                self._refused(f"order updates: {pause.reason}", self._token)
            await self._wait(pause)

    def on_text(self, message: bytes) -> None:
        self._policy.frame()
        try:
            report = parse_order_update(message)
        except DecodeError as error:
            self.status.unreadable += 1
            logger.warning("order updates: a frame was skipped: %s", error)
            return
        if report is None:
            self.status.other_frames += 1
            return
        self._policy.report()
        self.status.reports += 1
        self.status.last_report_ns = self._now()
        self._report(report)

    on_binary = on_text
    """UTF-8 JSON was also seen in binary frames (dhan_v2_protocol 4)."""

    def on_lost(self) -> None:
        self._wake.set()

    async def _connect_and_live(self) -> Pause:
        self._skips_wait = False
        self._token = self._login.token()
        settings = self._settings
        try:
            socket = await open_feed_socket(self._login.url, self, settings.sockets, settings.tls, settings.names)
        except InvalidStatus as error:
            return self._counted(self._policy.refused_http(self._now(), error.response.status_code))
        except (OSError, WebSocketException) as error:
            # The class is enough: a message could quote what was sent.
            trouble = self._trust.failed(error, self._host)
            return self._policy.ended(self._now(), trouble or f"no connection ({type(error).__name__})")
        self._trust.worked()
        try:
            reason = await self._live(socket)
        finally:
            self.status.is_connected = False
            # Never a polite close: on a dead socket it only waits.
            await socket.drop()
        return self._counted(self._policy.ended(self._now(), reason))

    def _counted(self, pause: Pause) -> Pause:
        self.status.refused += pause.was_refused
        return pause

    async def _live(self, socket: FeedSocket) -> str:
        """Log in and stay until the connection is over or has another token than the newest. Returns why it is over."""
        with suppress(WebSocketException):
            await socket.send(login_message(self._login.client_id, self._token))
            self.status.is_connected = True
            self.status.connections += 1
            self._policy.logged_in(self._now())
            self._connected()
            # The login may take effect after the books were read: what changed in between is in neither.
            settle_s: float | None = self._settings.limits.settle_s
            while not socket.is_lost and not self._skips_wait:
                if not await self._woken(settle_s):
                    settle_s = None
                    self._reconcile()
        socket.raise_bug()
        return "the token has changed" if self._skips_wait else f"closed by the server ({socket.close_code})"

    def _reconcile(self) -> None:
        self._policy.reconciled(self._now())
        self._connected()

    async def _wait(self, pause: Pause) -> None:
        ends_ns = self._now() + pause.delay_ns
        while (pause.is_block or not self._skips_wait) and (left_ns := ends_ns - self._now()) > 0:
            await self._woken(left_ns / NS_PER_S)

    async def _woken(self, at_most_s: float | None) -> bool:
        """Whether something happened, rather than that the time has passed."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True
