"""The market-feed server: who may connect, who is subscribed to what, and every update on its way (section 2)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web

from core.model.instrument import InstrumentKey, Segment
from core.paper import feed_encoding
from core.paper.auth import TokenState
from core.paper.faults import FaultKind, Occasion
from core.paper.feed_connection import FULL, QUOTE, TICKER, FeedConnection
from core.paper.options import FeedRefusal, PreviousClose
from core.paper.sockets import reset

if TYPE_CHECKING:
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


class FeedServer:
    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._connections: list[FeedConnection] = []
        self._subscribers: dict[InstrumentKey, dict[FeedConnection, int]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._silent_until = 0.0
        self._silent_keys: dict[str, float] = {}
        self._refused_until = 0.0
        self._dropped_until = 0.0
        self.first_subscription = asyncio.Event()
        self._subscribed_at = 0.0
        venue.market.add_listener(self._on_book)

    @property
    def watched(self) -> list[InstrumentKey]:
        return list(self._subscribers)

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One feed connection, from the upgrade to its end."""
        now = asyncio.get_running_loop().time()
        if now < self._refused_until:
            self._venue.log.add("feed_refused", status=429)
            return web.Response(status=429, text="Too Many Requests")
        code = self._refusal(request)
        if code and self._venue.options.feed_refusal is FeedRefusal.HTTP_401:
            return web.Response(status=401)
        socket = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        if now < self._dropped_until or (code and self._venue.options.feed_refusal is FeedRefusal.RESET):
            self._venue.log.add("feed_dropped_after_upgrade", code=code)
            reset(transport)
            return socket
        connection = FeedConnection(socket, transport, self._venue.options)
        if code:
            self._venue.log.add("feed_refused", code=code)
            await connection.disconnect(code)
            return socket
        await self._run(connection)
        return socket

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
        self._connections.append(connection)
        self._venue.log.add("feed_connected", connections=len(self._connections))
        if len(self._connections) > MAX_CONNECTIONS:
            self._end_soon(self._connections[0], TOO_MANY_CONNECTIONS)
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
            self._venue.log.add("feed_broken")
        finally:
            pinger.cancel()
            self._forget(connection)
            self._venue.log.add("feed_closed", connections=len(self._connections))

    def _end_soon(self, connection: FeedConnection, code: int) -> None:
        self._forget(connection)
        self._venue.log.add("feed_disconnect", code=code)
        task = asyncio.create_task(connection.disconnect(code), name="feed-disconnect")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _forget(self, connection: FeedConnection) -> None:
        if connection in self._connections:
            self._connections.remove(connection)
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
        if code in SUBSCRIBE and self._venue.faults.due(
            frozenset({FaultKind.FEED_IGNORE_SUBSCRIBE}), Occasion(security_id=asked[0][1] if asked else "")
        ):
            return True
        found = [self._venue.instruments.find(*name) for name in asked]
        keys = [key for key in found if key is not None]
        if code in SUBSCRIBE:
            return await self._subscribe(connection, keys, SUBSCRIBE[code], too_long=len(asked) > MAX_PER_MESSAGE)
        for key in keys if code in UNSUBSCRIBE else ():
            self._unsubscribe(connection, key, UNSUBSCRIBE[code])
        return True

    async def _subscribe(
        self, connection: FeedConnection, keys: list[InstrumentKey], mode: int, *, too_long: bool
    ) -> bool:
        if too_long or len(connection.modes.keys() | keys) > MAX_INSTRUMENTS:
            self._venue.log.add("feed_disconnect", code=TOO_MANY_INSTRUMENTS)
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

    def _unsubscribe(self, connection: FeedConnection, key: InstrumentKey, mode: int) -> None:
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
        if not subscribers or self._is_silent(book.key):
            return
        for connection, mask in subscribers.items():
            if every or not connection.is_congested:
                connection.send_book(book, mask)
            else:
                connection.postpone(book)

    def _is_silent(self, key: InstrumentKey) -> bool:
        if not self._silent_until and not self._silent_keys:
            return False
        now = asyncio.get_running_loop().time()
        return now < max(self._silent_until, self._silent_keys.get(str(key.security_id), 0.0))

    async def wait_for_subscribers(self, quiet_s: float) -> None:
        """Return when somebody has subscribed and nobody has asked for more in the last `quiet_s` seconds."""
        await self.first_subscription.wait()
        loop = asyncio.get_running_loop()
        while (left := self._subscribed_at + quiet_s - loop.time()) > 0:  # noqa: ASYNC110  the deadline moves
            await asyncio.sleep(left)

    async def wait_until_taken(self) -> None:
        """Return when no client's socket is full: back-pressure for replay."""
        await asyncio.sleep(0)
        for connection in tuple(self._connections):
            await connection.wait_until_taken()

    def inflict(self, kind: FaultKind, seconds: float, code: int, security_id: str | None) -> None:
        """Let a fault of the feed happen now."""
        until = asyncio.get_running_loop().time() + seconds
        match kind:
            case FaultKind.FEED_RESET:
                for connection in tuple(self._connections):
                    self._forget(connection)
                    reset(connection.transport)
            case FaultKind.FEED_DISCONNECT:
                for connection in tuple(self._connections):
                    self._end_soon(connection, code)
            case FaultKind.FEED_SILENCE if security_id is not None:
                self._silent_keys[security_id] = until
            case FaultKind.FEED_SILENCE:
                self._silent_until = until
            case FaultKind.FEED_429:
                self._refused_until = until
            case FaultKind.FEED_DROP_AFTER_101:
                self._dropped_until = until
            case _:
                pass

    async def stop(self) -> None:
        for connection in tuple(self._connections):
            self._forget(connection)
            connection.end()
        if self._closing:
            await asyncio.wait(self._closing)
