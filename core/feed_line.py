"""One connection of Dhan's market feed, kept alive for ever: connect, subscribe, read, notice silence, back off.

What to do after each end is `core.dhan.feed_connection`'s word, when the account may connect `disconnect_policy`'s, what
to send `subscriptions`'. This file opens and drops sockets and passes ticks on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from websockets.exceptions import InvalidStatus, WebSocketException

from core.dhan.bad_prices import BadPriceWatch
from core.dhan.feed_connection import FeedConnection, FeedState, Retry, Silence
from core.dhan.feed_packets import (
    DecodeCounts,
    Disconnect,
    FullPacket,
    QuotePacket,
    Ticker,
    decode_message,
    decode_single,
)
from core.dhan.segments import feed_id_of
from core.dhan.subscriptions import ConnectionSubscriptions
from core.feed_settings import FeedAccess, FeedSettings
from core.feed_socket import FeedSocket, MessageSink, open_feed_socket
from core.model.session_time import NS_PER_S
from core.tls import explain_tls

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from core.clock import Clock
    from core.dhan.feed_packets import PricePacket
    from core.feed_settings import FeedTap
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.price_cache import PriceCache

__all__ = ["FeedAccess", "FeedLine", "FeedSettings"]

logger = logging.getLogger(__name__)

_NO_INSTRUMENT = -1


class _Tapped:
    """The sink of a line that somebody hears: both get the same time of receipt. A line without a tap is its own sink."""

    def __init__(self, line: FeedLine, tap: FeedTap, clock: Clock) -> None:
        self._take = line.take_message
        self._tap = tap.frame
        self._now = clock.monotonic_ns
        self.on_text = line.on_text
        self.on_lost = line.on_lost

    def on_binary(self, message: bytes) -> None:
        now = self._now()
        self._tap(now, message)
        self._take(message, now)


class FeedLine:
    """`on_quote` and `on_change` run on the read callback: they must not block. `run` ends only by cancelling or a bug.

    `on_change` is called when `is_live` has changed, `on_retry` with what each ended connection calls for. `counts` are
    this line's own.
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
        self.counts = counts
        self._access = access
        self._cache = cache
        self._quote = on_quote
        self._change = on_change
        self._retry = on_retry
        self._now = clock.monotonic_ns
        self._settings = settings
        self._tap = settings.tap
        self._sink: MessageSink = self if settings.tap is None else _Tapped(self, settings.tap, clock)
        self._connection = FeedConnection(random.random, settings.policy, access.gate)
        self._bad_prices = BadPriceWatch(settings.bad_prices)
        self._subscriptions = ConnectionSubscriptions(settings.mode, int(settings.resend_after_s * NS_PER_S))
        self._wake = asyncio.Event()
        self._wanted: dict[InstrumentKey, None] = {}
        self._wanted_ids: set[int] = set()
        self._canary: InstrumentKey | None = None
        self._canary_id = _NO_INSTRUMENT
        self._is_canary_wanted = False
        self._token = ""
        self._is_refused = False
        self.is_live = False
        self.is_connected = False
        self.last_data_ns: int | None = None
        self.connections = 0
        self.text_frames = 0
        self.last_end = ""

    @property
    def wanted(self) -> Collection[InstrumentKey]:
        return self._wanted.keys()

    @property
    def wanted_count(self) -> int:
        return len(self._wanted)

    @property
    def subscribed_count(self) -> int:
        """The canary counts, and everything that was ever asked for on this connection and not given up."""
        return self._subscriptions.asked_count if self.is_connected else 0

    @property
    def resent_count(self) -> int:
        return self._subscriptions.resent

    def change(self, added: Collection[InstrumentKey], removed: Collection[InstrumentKey]) -> None:
        """Want these too and those no more; `carry_canary` must follow.

        What is sent is the difference, in the next turns of the loop: changes of one turn go out together.
        """
        self._wanted.update(dict.fromkeys(added))
        for key in removed:
            self._wanted.pop(key, None)
        self._wanted_ids.update(map(feed_id_of, added))
        self._wanted_ids.difference_update(map(feed_id_of, removed))
        self._subscriptions.remove(removed)
        self._subscriptions.add(added)
        if self._tap is not None:
            self._tap.wants(self._now(), added, removed)
        self._wake.set()

    def carry_canary(self, canary: InstrumentKey | None) -> None:
        """The instrument whose silence is this line's. It costs no room when it is wanted here itself."""
        before = self._canary
        self._canary = canary
        self._canary_id = _NO_INSTRUMENT if canary is None else feed_id_of(canary)
        self._is_canary_wanted = canary in self._wanted
        self._connection.carries_canary = canary is not None
        if before is not None and before not in self._wanted:
            self._subscriptions.remove((before,))
        if canary is not None:
            self._subscriptions.add((canary,))
        self._wake.set()

    def resubscribe(self, keys: Collection[InstrumentKey]) -> None:
        """Take these for mute. Returns at once; at most 100 of them a second are sent."""
        self._subscriptions.again(keys)
        self._wake.set()

    def market(self, *, is_open: bool, canary_trades: bool = True) -> None:
        self._connection.market(self._now(), is_open=is_open)
        self._connection.canary_trades = canary_trades

    def token_changed(self) -> None:
        """A wait begun with another token ends now; a block of the account goes on."""
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._may_connect()
            retry = await self._connect_and_live()
            self.last_end = retry.reason
            if not self._wanted:
                continue
            logger.info("feed: %s; next attempt in %.1f s", retry.reason, retry.delay_ns / NS_PER_S)
            if retry.needs_token or retry.check_token:
                self._access.doubt(retry.reason, self._token)
            self._retry(retry)
            await self._back_off(retry)

    def on_binary(self, message: bytes) -> None:
        now = self._now()
        packet = decode_single(message, self.counts)
        if packet is None:
            self._take_many(message, now)
        else:
            self._take(packet, now)

    def take_message(self, message: bytes, now: int) -> None:
        """What `on_binary` does, for whoever has read the clock already."""
        packet = decode_single(message, self.counts)
        if packet is None:
            self._take_many(message, now)
        else:
            self._take(packet, now)

    def on_text(self, message: bytes) -> None:  # noqa: ARG002  Dhan documents no text frames; what they say is not logged
        self.text_frames += 1

    def on_lost(self) -> None:
        self._wake.set()

    def _take(self, packet: PricePacket, now: int) -> None:
        if packet[0] == self._canary_id and self._is_only_canary(packet, now):
            return
        quote = self._cache.take(packet, now)
        if quote is None:
            # A price that the cache will not have (older than what REST said) is a sign of life all the same.
            if packet[1] is not None and packet[0] in self._wanted_ids:
                self._note_life(now)
            return
        # `_note_life`, written out: a call costs every tick.
        self.last_data_ns = now
        if self.is_live:
            self._connection.data_received(now)
        else:
            self._come_alive(now)
        self._quote(quote)

    def _is_only_canary(self, packet: PricePacket, now: int) -> bool:
        """True: it only proves this line. The line where it is wanted delivers it; two sources would disagree in time."""
        if packet[1] is not None:
            self._connection.canary_heard()
            if not self._is_canary_wanted:
                self._note_life(now)
        return not self._is_canary_wanted

    def _note_life(self, now: int) -> None:
        self.last_data_ns = now
        if self.is_live:
            self._connection.data_received(now)
        else:
            self._come_alive(now)

    def _take_many(self, message: bytes, now: int) -> None:
        for packet in decode_message(message, self.counts):
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

    async def _may_connect(self) -> None:
        """Return when something is wanted and the account may connect; the turn is taken then."""
        while True:
            if not self._wanted:
                await self._sleep_until_woken(None)
            elif wait_ns := self._access.gate.turn(self._now()):
                await self._pause(wait_ns)
            else:
                return

    async def _connect_and_live(self) -> Retry:
        settings, connection = self._settings, self._connection
        self._is_refused = False
        self._token = self._access.token()
        self._subscriptions.restart()
        self._bad_prices.connected()
        connection.connecting(self._now())
        url = self._access.url_with(self._token)
        try:
            socket = await open_feed_socket(url, self._sink, settings.limits, settings.tls, self._access.names)
        except InvalidStatus as error:
            status, retry_after = error.response.status_code, error.response.headers.get("Retry-After", "")
            retry_after_s = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0
            return connection.refused_http(status=status, now=self._now(), retry_after_s=retry_after_s)
        except (OSError, WebSocketException) as error:
            # The class only: the text of some of these quotes the URL, and the URL holds the token.
            alert = explain_tls(error, self._access.host) or ""
            return connection.closed(now=self._now(), reason=f"no connection ({type(error).__name__})", alert=alert)
        if connection.state is FeedState.CONNECTING:
            connection.opened(self._now())
        self.connections += 1
        self.is_connected = True
        self._tell_tap(is_up=True)
        reason = "stopped"
        try:
            reason = await self._live(socket)
        finally:
            self.is_connected = False
            self._leave_live()
            self._tell_tap(is_up=False, reason=reason)
            # Never a polite close: on a dead socket it only waits.
            await socket.drop()
        return connection.closed(now=self._now(), reason=reason)

    def _tell_tap(self, *, is_up: bool, reason: str = "") -> None:
        if self._tap is not None:
            self._tap.connection(self._now(), is_up=is_up, reason=reason)

    async def _live(self, socket: FeedSocket) -> str:
        """Keep the subscriptions as wanted until the connection is over. Returns why it is."""
        try:
            while self._wanted and not self._is_refused and not socket.is_lost:
                if not await self._send_next(socket):
                    await self._sleep_until_woken(self._settings.check_every_s)
                if reason := self._reason_to_drop():
                    return reason
        except TimeoutError:
            return "subscriptions could not be sent"
        except WebSocketException:
            pass
        socket.raise_bug()
        return "nothing is wanted" if not self._wanted else f"closed by the server ({socket.close_code})"

    def _reason_to_drop(self) -> str:
        now = self._now()
        silence = self._connection.check_silence(now)
        if silence is not Silence.FINE:
            self._leave_live()
        if silence is Silence.DEAD:
            return "no data although the market is open"
        return "too many unusable prices" if self._bad_prices.is_too_many(self.counts.bad_prices, now) else ""

    async def _send_next(self, socket: FeedSocket) -> bool:
        """Send what is due of at most 100 instruments, then let the ticks go first. False when nothing is due."""
        messages = self._subscriptions.next_messages(self._now(), is_live=self.is_live, has_spoken=self._has_spoken)
        for message in messages:
            async with asyncio.timeout(self._settings.send_timeout_s):
                await socket.send(message)
        if messages:
            await asyncio.sleep(0)
        return bool(messages)

    def _has_spoken(self, key: InstrumentKey, since_ns: int) -> bool:
        if key == self._canary and not self._is_canary_wanted:
            return self._connection.has_heard_canary
        quote = self._cache.feed_quote(key)
        return quote is not None and quote.received_ns >= since_ns

    async def _back_off(self, retry: Retry) -> None:
        began_ns = self._now()
        ends_ns = began_ns + retry.delay_ns
        while (left_ns := ends_ns - self._now()) > 0 and self._access.token() == self._token:
            revived_ns = self._access.gate.revived_ns
            if not retry.use_rest and revived_ns is not None and revived_ns > began_ns:
                # The feed was dead as a whole, and another connection has just found it alive.
                return
            await self._pause(left_ns)

    async def _pause(self, wait_ns: int) -> None:
        # In short steps: a wait that was prolonged or has become pointless meanwhile is noticed.
        await self._sleep_until_woken(min(wait_ns / NS_PER_S, self._settings.check_every_s))

    async def _sleep_until_woken(self, at_most_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._wake.wait()
        self._wake.clear()
