"""One client of the feed: its modes per instrument, its outgoing packets, its pings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from core.model.instrument import InstrumentKey, Segment
from core.paper import feed_encoding
from core.paper.feed_lag import LateFrames
from core.paper.sockets import reset

if TYPE_CHECKING:
    from aiohttp import web

    from core.paper.feed_lag import LagCurve
    from core.paper.market import Book
    from core.paper.options import ExchangeOptions

TICKER, QUOTE, FULL = 1, 2, 4
"""Bits of a mode: whether modes are independent per instrument is not known (2.2); here they are."""
CONGESTED_BYTES: Final = 262_144
TAKEN_BYTES: Final = 65_536
LOOK_AGAIN_S: Final = 0.002
HAS_OPEN_INTEREST: Final = frozenset({Segment.NSE_FNO, Segment.BSE_FNO, Segment.MCX_COMM})


class FeedConnection:
    """Packets are written without awaiting; a whole loop turn's packets leave in one write.

    `number` counts the connections from 1 in the order of arrival.
    """

    def __init__(
        self, number: int, socket: web.WebSocketResponse, transport: asyncio.Transport, options: ExchangeOptions
    ) -> None:
        self.number = number
        self.socket = socket
        self.transport = transport
        self.modes: dict[InstrumentKey, int] = {}
        self.lag: LagCurve | None = None
        self.packets_sent = 0
        self.pings_sent = 0
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._packets: list[bytes] = []
        self._late = LateFrames(self._write)
        self._postponed: dict[InstrumentKey, Book] = {}
        self._open_interest: dict[InstrumentKey, int] = {}
        self._heard_at = self._loop.time()

    def heard(self) -> None:
        self._heard_at = self._loop.time()

    @property
    def is_congested(self) -> bool:
        return self.transport.get_write_buffer_size() > CONGESTED_BYTES

    def send(self, packet: bytes) -> None:
        if not self._packets:
            self._loop.call_soon(self._flush)
        self._packets.append(packet)

    def send_book(self, book: Book, mask: int) -> None:
        encoding = self._options.ltt_encoding
        if mask & TICKER:
            self.send(feed_encoding.ticker(book, encoding))
        if mask & QUOTE:
            self.send(feed_encoding.quote(book, encoding))
            if book.key.segment in HAS_OPEN_INTEREST and self._open_interest.get(book.key) != book.open_interest:
                self._open_interest[book.key] = book.open_interest
                self.send(feed_encoding.open_interest(book))
        if mask & FULL:
            self.send(feed_encoding.full(book, encoding))

    def send_frame(self, frame: bytes) -> None:
        """A frame made elsewhere, after what was sent before."""
        self._flush()
        self._leave(frame)

    def postpone(self, book: Book) -> None:
        """Keep only the newest state of the instrument until the client has taken what is on the way."""
        if not self._postponed:
            self._loop.call_later(LOOK_AGAIN_S, self._catch_up)
        self._postponed[book.key] = book

    def _catch_up(self) -> None:
        if self.transport.is_closing():
            self._postponed.clear()
        elif self.is_congested:
            self._loop.call_later(LOOK_AGAIN_S, self._catch_up)
        else:
            books = tuple(self._postponed.values())
            self._postponed.clear()
            for book in books:
                self.send_book(book, self.modes.get(book.key, 0))

    def _flush(self) -> None:
        packets, self._packets = self._packets, []
        if self.transport.is_closing() or not packets:
            return
        self.packets_sent += len(packets)
        stack = self._options.feed_stacking
        if stack > 1:
            packets = [b"".join(packets[n : n + stack]) for n in range(0, len(packets), stack)]
        self._leave(b"".join(map(feed_encoding.message, packets)))

    def _leave(self, frames: bytes) -> None:
        if self.lag is None and not self._late:
            self._write(frames)
        else:
            self._late.put(frames, self.lag.at(self._loop.time()) if self.lag else 0.0)

    def _write(self, frames: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(frames)

    async def wait_until_taken(self) -> None:
        """Return when most of what was written has left; returns at once for a closed connection."""
        self._flush()
        while not self.transport.is_closing() and self.transport.get_write_buffer_size() > TAKEN_BYTES:  # noqa: ASYNC110  asyncio tells nobody
            await asyncio.sleep(LOOK_AGAIN_S)

    async def keep_alive(self) -> None:
        """Ping every 10 s, close a client that has been silent for 40 s (2.9). Runs until cancelled."""
        while True:
            await asyncio.sleep(self._options.feed_ping_s)
            if self._loop.time() - self._heard_at > self._options.feed_silence_limit_s:
                self.end()
                return
            if self.is_congested:
                continue
            try:
                await self.socket.ping()
            except ConnectionError:
                return
            self.pings_sent += 1

    async def disconnect(self, code: int) -> None:
        """Say why with a code-50 packet, then close."""
        self.send(feed_encoding.disconnect(code))
        self._flush()
        self._late.hurry()
        await self.socket.close()

    def cut(self) -> None:
        """TCP reset."""
        self._late.drop()
        reset(self.transport)

    def end(self) -> None:
        """Close at once: a client that does not read would keep the socket open for ever."""
        self._late.drop()
        if self.transport.get_write_buffer_size():
            reset(self.transport)
        else:
            self.transport.close()
