"""The feed's injected faults: who is refused, which instrument is silent, what is sent that should not be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from core.paper import feed_encoding, odd_packets
from core.paper.fault_kinds import OF_NEW_CONNECTIONS, FaultKind
from core.paper.faults import Occasion
from core.paper.feed_connection import FULL, QUOTE, TICKER, FeedConnection
from core.paper.feed_lag import LagCurve
from core.paper.odd_packets import Shape

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.paper.faults import Fault
    from core.paper.feed import FeedServer
    from core.paper.market import Book
    from core.paper.venue import Venue

INTERNAL_ERROR: Final = 800
OLDER_FACTOR: Final = 1.01
FREAK_FACTOR: Final = 2.0


class FeedFaults:
    def __init__(self, venue: Venue, server: FeedServer) -> None:
        self._venue = venue
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._refusals: dict[tuple[FaultKind, int | str | None], tuple[float, Fault]] = {}
        self._silences: dict[tuple[int | None, str | None], float] = {}
        self._lag: LagCurve | None = None
        self._lag_until = 0.0

    def of_new_connection(self, number: int, *kinds: FaultKind) -> Fault | None:
        """The fault that meets this connection, if any. Each in force counts it."""
        found, now = None, self._loop.time()
        for (kind, _), (until, fault) in self._refusals.items():
            if kind not in kinds or now >= until or not fault.fits(Occasion(connection=number)):
                continue
            if fault.is_due(self._venue.faults.random) and found is None:
                found = fault
        return found

    def greet(self, connection: FeedConnection) -> None:
        """A new connection shares a lag that is meant for all."""
        if self._loop.time() < self._lag_until:
            connection.lag = self._lag

    def is_silent(self, connection: FeedConnection, key: InstrumentKey) -> bool:
        if not self._silences:
            return False
        now, number, security_id = self._loop.time(), connection.number, str(key.security_id)
        scopes = ((None, None), (None, security_id), (number, None), (number, security_id))
        return any(now < self._silences.get(scope, 0.0) for scope in scopes)

    def clear(self) -> None:
        """Take back what lasts."""
        self._refusals.clear()
        self._silences.clear()
        self._lag_until = 0.0
        for connection in self._server.connections:
            connection.lag = None

    def inflict(self, fault: Fault) -> None:
        """Let a fault of the feed happen now."""
        if fault.kind in OF_NEW_CONNECTIONS:
            self._refusals[fault.kind, fault.connection] = (self._loop.time() + fault.seconds, fault)
        elif fault.kind is FaultKind.FEED_SILENCE:
            self._silence(fault)
        elif fault.kind is FaultKind.FEED_LAG:
            self._delay(fault)
        else:
            for connection in self._chosen(fault):
                self._strike(connection, fault)

    def _strike(self, connection: FeedConnection, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.FEED_RESET:
                self._server.cut(connection)
            case FaultKind.FEED_DISCONNECT:
                self._server.end_soon(connection, fault.number(INTERNAL_ERROR))
            case FaultKind.FEED_UNSUBSCRIBE:
                for key in self._named(connection, fault):
                    self._server.unsubscribe(connection, key, TICKER | QUOTE | FULL)
            case FaultKind.FEED_FREAK | FaultKind.FEED_PACKET:
                self._send_odd(connection, fault)
            case _:
                pass

    def _silence(self, fault: Fault) -> None:
        numbers: list[int | None] = [connection.number for connection in self._chosen(fault)]
        if fault.connection is None or isinstance(fault.connection, int):
            numbers = [fault.connection]
        for number in numbers:
            self._silences[number, fault.security_id] = self._loop.time() + fault.seconds

    def _chosen(self, fault: Fault) -> list[FeedConnection]:
        live = list(self._server.connections)
        match fault.connection:
            case None:
                return live
            case int():
                return [connection for connection in live if connection.number == fault.connection]
            case "oldest":
                return live[:1]
            case "newest":
                return live[-1:]
            case _:
                return [self._venue.faults.random.choice(live)] if live else []

    def _named(self, connection: FeedConnection, fault: Fault) -> list[InstrumentKey]:
        wanted = fault.security_id
        return [key for key in connection.modes if wanted is None or str(key.security_id) == wanted]

    def _delay(self, fault: Fault) -> None:
        curve = LagCurve(fault.lag, fault.redraw_s, self._venue.faults.random) if fault.seconds else None
        if fault.connection is None:
            self._lag, self._lag_until = curve, self._loop.time() + fault.seconds
        for connection in self._chosen(fault):
            connection.lag = curve
        if curve is not None:
            self._loop.call_later(fault.seconds, self._end_lag, curve)

    def _end_lag(self, curve: LagCurve) -> None:
        for connection in self._server.connections:
            if connection.lag is curve:
                connection.lag = None

    def _send_odd(self, connection: FeedConnection, fault: Fault) -> None:
        """To the named instrument's subscribers; without a name, about the first instrument of each connection."""
        keys = self._named(connection, fault) if fault.security_id else list(connection.modes)[:1]
        for key in keys:
            book, mode = self._venue.market.book(key), connection.modes[key]
            if fault.kind is FaultKind.FEED_FREAK:
                connection.send_book(
                    odd_packets.freak(book, fault.factor or FREAK_FACTOR, with_book=fault.with_book), mode
                )
                continue
            shape = Shape(str(fault.shape))
            if shape is Shape.OLDER:
                book = odd_packets.older(book, fault.factor or OLDER_FACTOR)
            elif shape is Shape.UNASKED:
                book = self._unasked(connection) or book
            for packet in self._packets(book, mode):
                connection.send_frame(odd_packets.frame(shape, packet, with_book=fault.with_book))

    def _unasked(self, connection: FeedConnection) -> Book | None:
        listed = (listing.instrument.key for listing in self._venue.instruments)
        key = next((key for key in listed if key not in connection.modes), None)
        return None if key is None else self._venue.market.quote(key)

    def _packets(self, book: Book, mode: int) -> list[bytes]:
        encoding = self._venue.options.ltt_encoding
        builders = {TICKER: feed_encoding.ticker, QUOTE: feed_encoding.quote, FULL: feed_encoding.full}
        return [build(book, encoding) for bit, build in builders.items() if mode & bit]
