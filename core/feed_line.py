"""One connection of Dhan's market feed, kept alive for ever: connect, subscribe, read, notice silence, back off.

What to do after each end is `core.dhan.feed_connection`'s word. This file opens and drops sockets and passes ticks on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from websockets.exceptions import InvalidStatus, WebSocketException

from core.dhan.feed_connection import FeedConnection, FeedPolicy, FeedState, Retry, Silence
from core.dhan.feed_packets import (
    DecodeCounts,
    Disconnect,
    FullPacket,
    QuotePacket,
    Ticker,
    decode_message,
    decode_single,
)
from core.dhan.subscriptions import FeedMode, subscribe_messages, unsubscribe_messages
from core.feed_socket import FeedSocket, SocketLimits, open_feed_socket
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable

    from core.clock import Clock
    from core.dhan.feed_packets import PricePacket
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.price_cache import PriceCache

logger = logging.getLogger(__name__)

MAX_RESENDS: Final = 3


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """`check_every_s`: how often silence is looked at. `resend_after_s`: a subscription without any price is sent again."""

    policy: FeedPolicy = field(default_factory=FeedPolicy)
    limits: SocketLimits = field(default_factory=SocketLimits)
    mode: FeedMode = FeedMode.FULL
    check_every_s: float = 0.25
    send_timeout_s: float = 2.0
    resend_after_s: float = 10.0
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class FeedAccess:
    """Where and as whom. `token` is asked at every connect; it goes into the URL's query, which is logged nowhere."""

    url: str
    client_id: str
    token: Callable[[], str] = field(repr=False)

    def connect_url(self) -> str:
        query = {"version": "2", "token": self.token(), "clientId": self.client_id, "authType": "2"}
        return f"{self.url}?{urlencode(query)}"


class FeedLine:
    """`on_quote` and `on_change` run on the read callback: they must not block. `run` ends only by cancelling or a bug.

    `on_change` is called when `is_live` may have changed, `on_retry` with what each ended connection calls for.
    """

    def __init__(
        self,
        access: FeedAccess,
        cache: PriceCache,
        counts: DecodeCounts,
        on_quote: Callable[[Quote], None],
        on_change: Callable[[], None],
        on_retry: Callable[[Retry], None],
        clock: Clock,
        settings: FeedSettings,
    ) -> None:
        self._access = access
        self._cache = cache
        self._counts = counts
        self._quote = on_quote
        self._change = on_change
        self._retry = on_retry
        self._now = clock.monotonic_ns
        self._settings = settings
        self._connection = FeedConnection(random.random, settings.policy)
        self._wake = asyncio.Event()
        self._wanted: dict[InstrumentKey, None] = {}
        self._subscribed: dict[InstrumentKey, None] = {}
        self._opened_ns = 0
        self._resends = 0
        self._is_refused = False
        self._skips_wait = False
        self.is_live = False
        self.is_connected = False
        self.last_data_ns: int | None = None
        self.connections = 0
        self.text_frames = 0
        self.last_end = ""

    @property
    def wanted(self) -> tuple[InstrumentKey, ...]:
        return tuple(self._wanted)

    @property
    def wanted_count(self) -> int:
        return len(self._wanted)

    @property
    def subscribed_count(self) -> int:
        return len(self._subscribed)

    def set_wanted(self, keys: Iterable[InstrumentKey]) -> None:
        """What is sent is the difference, once, in the next turn of the loop: changes of one turn go out together."""
        self._wanted = dict.fromkeys(keys)
        self._wake.set()

    def market(self, *, is_open: bool) -> None:
        self._connection.market(self._now(), is_open=is_open)

    def token_changed(self) -> None:
        """A wait for a new token ends now. Other waits (a block of the account) go on."""
        self._skips_wait = True
        self._wake.set()

    async def run(self) -> None:
        while True:
            while not self._wanted:
                await self._sleep_until_woken(None)
            retry = await self._connect_and_live()
            self.last_end = retry.reason
            if not self._wanted:
                continue
            logger.info("feed: %s; next attempt in %.1f s", retry.reason, retry.delay_ns / NS_PER_S)
            self._retry(retry)
            await self._wait(retry)

    def on_binary(self, message: bytes) -> None:
        now = self._now()
        packet = decode_single(message, self._counts)
        if packet is None:
            self._take_many(message, now)
        else:
            self._take(packet, now)

    def on_text(self, message: bytes) -> None:  # noqa: ARG002  Dhan documents no text frames; what they say is not logged
        self.text_frames += 1

    def on_lost(self) -> None:
        self._wake.set()

    def _take(self, packet: PricePacket, now: int) -> None:
        quote = self._cache.take(packet, now)
        if quote is None:
            return
        self.last_data_ns = now
        if self.is_live:
            self._connection.data_received(now)
        else:
            self._come_alive(now)
        self._quote(quote)

    def _take_many(self, message: bytes, now: int) -> None:
        for packet in decode_message(message, self._counts):
            if isinstance(packet, Ticker | QuotePacket | FullPacket):
                self._take(packet, now)
            elif isinstance(packet, Disconnect):
                self._connection.disconnect_code(code=packet.reason, now=now)
                self._is_refused = True
                self._wake.set()
            else:
                self._cache.take(packet, now)

    def _come_alive(self, now: int) -> None:
        if self._connection.state is FeedState.CONNECTING:
            # Data in the same read as the handshake: the connecting coroutine has not been resumed yet.
            self._connection.opened(now)
        self._connection.data_received(now)
        if self._connection.is_live:
            self.is_live = True
            self._change()

    def _leave_live(self) -> None:
        if self.is_live:
            self.is_live = False
            self._change()

    async def _connect_and_live(self) -> Retry:
        self._is_refused = False
        self._connection.connecting(self._now())
        try:
            socket = await open_feed_socket(self._access.connect_url(), self, self._settings.limits, self._settings.tls)
        except InvalidStatus as error:
            return self._connection.refused_http(status=error.response.status_code, now=self._now())
        except (OSError, WebSocketException) as error:
            # The class only: the text of some of these quotes the URL, and the URL holds the token.
            return self._connection.closed(now=self._now(), reason=f"no connection ({type(error).__name__})")
        self._opened_ns = self._now()
        if self._connection.state is FeedState.CONNECTING:
            self._connection.opened(self._opened_ns)
        self.connections += 1
        self.is_connected = True
        try:
            reason = await self._live(socket)
        finally:
            self.is_connected = False
            self._subscribed.clear()
            self._leave_live()
            # Never a polite close: on a dead socket it only waits.
            socket.abort()
        return self._connection.closed(now=self._now(), reason=reason)

    async def _live(self, socket: FeedSocket) -> str:
        """Keep the subscriptions as wanted until the connection is over. Returns why it is."""
        self._resends = 0
        try:
            while self._wanted and not self._is_refused and not socket.is_lost:
                await self._send_changes(socket)
                await self._sleep_until_woken(self._settings.check_every_s)
                if self._is_dead():
                    return "no data although the market is open"
        except TimeoutError:
            return "subscriptions could not be sent"
        except WebSocketException:
            pass
        socket.raise_bug()
        return "nothing is wanted" if not self._wanted else f"closed by the server ({socket.close_code})"

    def _is_dead(self) -> bool:
        silence = self._connection.check_silence(self._now())
        if silence is not Silence.FINE:
            self._leave_live()
        return silence is Silence.DEAD

    async def _send_changes(self, socket: FeedSocket) -> None:
        wanted, mode = self._wanted, self._settings.mode
        gone = [key for key in self._subscribed if key not in wanted]
        new = [key for key in wanted if key not in self._subscribed]
        messages = [*unsubscribe_messages(gone, mode), *subscribe_messages(new, mode)]
        if not messages:
            messages = self._resend_messages()
        self._subscribed = dict(wanted)
        for message in messages:
            async with asyncio.timeout(self._settings.send_timeout_s):
                await socket.send(message)

    def _resend_messages(self) -> list[str]:
        """Subscriptions that have brought no price while others have: nothing acknowledges one, so it may be lost."""
        due_ns = self._opened_ns + int(self._settings.resend_after_s * NS_PER_S) * (self._resends + 1)
        if not self.is_live or self._resends >= MAX_RESENDS or self._now() < due_ns:
            return []
        self._resends += 1
        mute = [key for key in self._subscribed if not self._has_ticked(key)]
        if mute:
            logger.info("feed: %d instruments gave no price yet and are subscribed again", len(mute))
        return subscribe_messages(mute, self._settings.mode)

    def _has_ticked(self, key: InstrumentKey) -> bool:
        quote = self._cache.quote(key)
        return quote is not None and quote.received_ns >= self._opened_ns

    async def _wait(self, retry: Retry) -> None:
        ends_ns = self._now() + retry.delay_ns
        self._skips_wait = False
        while (left_ns := ends_ns - self._now()) > 0:
            await self._sleep_until_woken(left_ns / NS_PER_S)
            if retry.needs_token and self._skips_wait:
                return

    async def _sleep_until_woken(self, at_most_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._wake.wait()
        self._wake.clear()
