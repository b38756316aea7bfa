"""The market-feed server: who may connect, who is subscribed to what, and every update on its way (section 2)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from core.model.instrument import InstrumentKey, Segment
from core.paper import feed_encoding
from core.paper.auth import TokenState
from core.paper.fault_kinds import FaultKind
from core.paper.faults import Occasion
from core.paper.feed_connection import FULL, QUOTE, TICKER, FeedConnection
from core.paper.feed_faults import FeedFaults
from core.paper.options import FeedRefusal, PreviousClose, TokenDeath
from core.paper.sockets import reset

if TYPE_CHECKING:
    from core.paper.faults import Fault
    from core.paper.market import Book
    from core.paper.venue import Venue

MAX_CONNECTIONS: Final = 5
MAX_INSTRUMENTS: Final = 5_000
MAX_PER_MESSAGE: Final = 100
TOO_MANY_INSTRUMENTS, TOO_MANY_CONNECTIONS, NOT_SUBSCRIBED, TOKEN_EXPIRED, TOKEN_INVALID, CLIENT_INVALID = (
    804,
    805,
    806,
    807,
    809,
    810,
)
SUBSCRIBE: Final = {15: TICKER, 17: QUOTE, 21: FULL}
UNSUBSCRIBE: Final = {16: TICKER, 18: QUOTE, 22: FULL}
DISCONNECT_REQUEST: Final = 12
TOO_MANY_REQUESTS: Final = 429
AT_THE_UPGRADE: Final = (FaultKind.FEED_429, FaultKind.FEED_DROP_IN_HANDSHAKE)
AFTER_THE_UPGRADE: Final = (FaultKind.FEED_DROP_AFTER_101, FaultKind.FEED_REFUSE)


class FeedServer:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.connections: list[FeedConnection] = []
        self._subscribers: dict[InstrumentKey, dict[FeedConnection, int]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._arrivals = 0
        self.faults = FeedFaults(venue, self)
        self.first_subscription = asyncio.Event()
        self._subscribed_at = 0.0
        venue.market.add_listener(self._on_book)

    @property
    def watched(self) -> list[InstrumentKey]:
        return list(self._subscribers)

    @property
    def connection_count(self) -> int:
        return len(self.connections)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One feed connection, from the upgrade to its end."""
        number = self._arrivals + 1
        fault = self.faults.of_new_connection(number, *AT_THE_UPGRADE)
        if fault is not None:
            return self._refuse_upgrade(request, fault)
        code = self._refusal(request)
        if code and self._venue.options.feed_refusal is FeedRefusal.HTTP_401:
            self._venue.statistics.feed_refused(401)
            return web.Response(status=401)
        socket = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        fault = self.faults.of_new_connection(number, *AFTER_THE_UPGRADE)
        is_dropped = fault is not None and fault.kind is FaultKind.FEED_DROP_AFTER_101
        if is_dropped or (code and self._venue.options.feed_refusal is FeedRefusal.RESET):
            self._venue.log.add("feed_dropped_after_upgrade", code=code)
            self._venue.statistics.feed_refused("reset")
            reset(transport)
            return socket
        if fault is not None:
            code = fault.number(TOO_MANY_CONNECTIONS)
        self._arrivals += 1
        connection = FeedConnection(self._arrivals, socket, transport, self._venue.options)
        if code:
            self._venue.log.add("feed_refused", code=code)
            self._venue.statistics.feed_refused(code)
            await connection.disconnect(code)
            return socket
        await self._run(connection)
        return socket

    def _refuse_upgrade(self, request: web.Request, fault: Fault) -> web.Response:
        status = fault.status or TOO_MANY_REQUESTS
        if fault.kind is FaultKind.FEED_DROP_IN_HANDSHAKE:
            self._venue.statistics.feed_refused("handshake")
            reset(request.transport)
        else:
            self._venue.log.add("feed_refused", status=status)
            self._venue.statistics.feed_refused(status)
        return web.Response(status=status, text="Too Many Requests")

    def _refusal(self, request: web.Request) -> int:
        """The code-50 reason for which this client is refused, 0 for none (dhan_v2_protocol 2.10)."""
        query = request.query
        if not self._venue.options.data_plan_active:
            return NOT_SUBSCRIBED
        if query.get("clientId") != self._venue.tokens.client_id:
            return CLIENT_INVALID
        match self._venue.tokens.state(query.get("token")):
            case TokenState.GOOD:
                return 0
            case TokenState.EXPIRED:
                return TOKEN_EXPIRED
            case TokenState.INVALID:
                return TOKEN_INVALID

    async def _run(self, connection: FeedConnection) -> None:
        self.connections.append(connection)
        self.faults.greet(connection)
        self._venue.statistics.feed_opened(connection)
        self._venue.log.add("feed_connected", number=connection.number, connections=len(self.connections))
        if len(self.connections) > MAX_CONNECTIONS:
            self.end_soon(self.connections[0], TOO_MANY_CONNECTIONS)
        pinger = asyncio.create_task(connection.keep_alive(), name="feed-ping")
        try:
            async for message in connection.socket:
                connection.heard()
                match message.type:
                    case WSMsgType.PING:
                        await connection.socket.pong(message.data)
                    case WSMsgType.TEXT:
                        if not await self._on_text(connection, message.data):
                            break
                    case _:
                        pass
        except ConnectionError:
            self._venue.log.add("feed_broken", number=connection.number)
        finally:
            pinger.cancel()
            self._forget(connection, "client")
            self._venue.log.add("feed_closed", number=connection.number, connections=len(self.connections))

    def cut(self, connection: FeedConnection) -> None:
        """TCP reset."""
        self._forget(connection, "reset")
        connection.cut()

    def end_soon(self, connection: FeedConnection, code: int) -> None:
        """Say why with a code-50 packet, then close."""
        self._forget(connection, f"code {code}")
        self._venue.log.add("feed_disconnect", number=connection.number, code=code)
        task = asyncio.create_task(connection.disconnect(code), name="feed-disconnect")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def token_died(self, death: TokenDeath, code: int) -> None:
        """The token of every live connection is dead (1.5: what Dhan does to them is not documented)."""
        for connection in tuple(self.connections):
            if death is TokenDeath.CODE_50:
                self.end_soon(connection, code)
            elif death is TokenDeath.RESET:
                self.cut(connection)

    def _forget(self, connection: FeedConnection, end: str) -> None:
        self._venue.statistics.feed_closed(connection, end)
        if connection in self.connections:
            self.connections.remove(connection)
        for key in connection.modes:
            subscribers = self._subscribers.get(key, {})
            subscribers.pop(connection, None)
            if not subscribers:
                self._subscribers.pop(key, None)
        connection.modes.clear()

    async def _on_text(self, connection: FeedConnection, text: str) -> bool:
        """Handle one request; False ends the connection. What makes no sense is ignored, as Dhan acknowledges nothing."""
        try:
            body = json.loads(text)
            code = int(body["RequestCode"])
            asked = [(str(i["ExchangeSegment"]), str(i["SecurityId"])) for i in body.get("InstrumentList", ())]
        except (ValueError, KeyError, TypeError):
            self._venue.log.add("feed_bad_request", size=len(text))
            return True
        self._venue.log.add("feed_request", code=code, instruments=[f"{s}:{i}" for s, i in asked])
        if code == DISCONNECT_REQUEST:
            await connection.socket.close()
            return False
        if code in SUBSCRIBE and self._is_lost(connection, asked):
            return True
        found = [self._venue.instruments.find(*name) for name in asked]
        keys = [key for key in found if key is not None]
        if code in SUBSCRIBE:
            return await self._subscribe(connection, keys, SUBSCRIBE[code], too_long=len(asked) > MAX_PER_MESSAGE)
        for key in keys if code in UNSUBSCRIBE else ():
            self.unsubscribe(connection, key, UNSUBSCRIBE[code])
        return True

    def _is_lost(self, connection: FeedConnection, asked: list[tuple[str, str]]) -> bool:
        faults = self._venue.faults
        if not faults.active:
            return False
        occasion = Occasion(security_id=",".join(number for _, number in asked), connection=connection.number)
        return faults.due(frozenset({FaultKind.FEED_IGNORE_SUBSCRIBE}), occasion) is not None

    async def _subscribe(
        self, connection: FeedConnection, keys: list[InstrumentKey], mode: int, *, too_long: bool
    ) -> bool:
        if too_long or len(connection.modes.keys() | keys) > MAX_INSTRUMENTS:
            self._venue.log.add("feed_disconnect", number=connection.number, code=TOO_MANY_INSTRUMENTS)
            await connection.disconnect(TOO_MANY_INSTRUMENTS)
            return False
        for key in keys:
            mask = connection.modes.get(key, 0) | mode
            connection.modes[key] = mask
            self._subscribers.setdefault(key, {})[connection] = mask
            self._greet(connection, key, mode)
        if keys:
            self._subscribed_at = asyncio.get_running_loop().time()
            self.first_subscription.set()
        return True

    def _greet(self, connection: FeedConnection, key: InstrumentKey, mode: int) -> None:
        options = self._venue.options
        if self.faults.is_silent(connection, key):
            return
        book = self._venue.market.book(key)
        wants = options.previous_close is PreviousClose.ALL or (
            options.previous_close is PreviousClose.INDICES and key.segment is Segment.IDX_I
        )
        if options.feed_first_quote and self._venue.replay is None:
            book = self._venue.market.quote(key)
        if wants and book.previous_close:
            connection.send(feed_encoding.previous_close(book))
        if options.feed_first_quote and self._venue.replay is None and book.last:
            connection.send_book(book, mode)
        if options.feed_unknown_codes:
            connection.send(feed_encoding.market_status())
            connection.send(feed_encoding.unknown(key))

    def unsubscribe(self, connection: FeedConnection, key: InstrumentKey, mode: int) -> None:
        """Take modes from a connection's instrument, the instrument itself with the last one."""
        mask = connection.modes.get(key, 0) & ~mode
        subscribers = self._subscribers.get(key, {})
        if mask:
            connection.modes[key] = subscribers[connection] = mask
            return
        connection.modes.pop(key, None)
        subscribers.pop(connection, None)
        if not subscribers:
            self._subscribers.pop(key, None)

    def _on_book(self, book: Book, every: bool) -> None:  # noqa: FBT001  the market calls its listeners by position
        subscribers = self._subscribers.get(book.key)
        if not subscribers:
            return
        for connection, mask in subscribers.items():
            if self.faults.is_silent(connection, book.key):
                continue
            if every or not connection.is_congested:
                connection.send_book(book, mask)
            else:
                connection.postpone(book)

    async def wait_for_subscribers(self, quiet_s: float) -> None:
        """Return when somebody has subscribed and nobody has asked for more in the last `quiet_s` seconds."""
        await self.first_subscription.wait()
        loop = asyncio.get_running_loop()
        while (left := self._subscribed_at + quiet_s - loop.time()) > 0:  # noqa: ASYNC110  the deadline moves
            await asyncio.sleep(left)

    async def wait_until_taken(self) -> None:
        """Return when no client's socket is full: back-pressure for replay."""
        await asyncio.sleep(0)
        for connection in tuple(self.connections):
            await connection.wait_until_taken()

    async def stop(self) -> None:
        for connection in tuple(self.connections):
            self._forget(connection, "exchange stopped")
            connection.end()
        if self._closing:
            await asyncio.wait(self._closing)
