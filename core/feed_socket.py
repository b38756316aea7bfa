"""A `websockets` client connection whose binary messages are taken early, on the read callback (performance 1).

The library keeps the handshake, pings, close and every odd frame. This class only finds frame borders: a whole, unmasked,
unfragmented binary frame goes straight to the sink; all other bytes go to the library, in order and in whole frames.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.protocol import State

from core.tls import verified_tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from websockets.client import ClientProtocol
    from websockets.protocol import Event

    from core.host_names import HostNames

MAX_MESSAGE_BYTES: Final = 65_536
ABORT_TAKES_AT_MOST_S: Final = 1.0
"""A few turns of the loop, in truth."""

_FINAL_BINARY: Final = 0x82
_LENGTH_64_BIT: Final = 127
_LENGTH_16_BIT: Final = 126
_HEAD_END: Final = b"\r\n\r\n"


class MessageSink(Protocol):
    """Called on the read callback: must not block. What it raises ends the connection and comes out of `raise_bug`."""

    def on_binary(self, message: bytes) -> None: ...

    def on_text(self, message: bytes) -> None: ...

    def on_lost(self) -> None:
        """The socket is gone, also one whose handshake failed."""


def silent_logger() -> logging.Logger:
    """A logger outside the tree that is off at every level: the library's DEBUG lines carry the URL with the token."""
    logger = logging.Logger("websockets, silenced", logging.CRITICAL + 1)  # noqa: LOG001  no handler may reach it
    logger.disabled = True
    return logger


class FeedSocket(ClientConnection):
    """Connect with `open_feed_socket`; nothing is ever put in the library's receive queue, so `recv` yields nothing."""

    sink: MessageSink | None = None
    is_lost: bool = False
    _tail: bytes = b""
    _head_seen: bytes = b""
    _is_early: bool = False
    _gave_up: bool = False
    _fragments: bytes | None = None
    _message_opcode: Opcode = Opcode.BINARY

    def data_received(self, data: bytes) -> None:
        if self._gave_up:
            super().data_received(data)
        elif self._is_early:
            self._split(self._tail + data if self._tail else data)
        else:
            self._receive_handshake(data)

    def _receive_handshake(self, data: bytes) -> None:
        # The frames that came in the same read as the head must not reach the library mid-frame.
        seen = self._head_seen + data
        end = seen.find(_HEAD_END)
        if end < 0:
            self._head_seen = seen[-(len(_HEAD_END) - 1) :]
            super().data_received(data)
            return
        head_size = end + len(_HEAD_END) - len(self._head_seen)
        self._head_seen = b""
        super().data_received(data[:head_size])
        if self.protocol.state is State.OPEN:
            self._is_early = True
            if head_size < len(data):
                self._split(data[head_size:])
        else:
            self._hand_over(data[head_size:])

    def _split(self, data: bytes) -> None:
        sink = self.sink
        at, end = 0, len(data)
        while end - at >= 2:  # noqa: PLR2004  first byte: FIN and opcode, second: mask and length
            size = data[at + 1]
            start = at + 2
            if size == _LENGTH_16_BIT:
                if end - at < 4:  # noqa: PLR2004  two more bytes of length
                    break
                size = data[at + 2] << 8 | data[at + 3]
                start = at + 4
            elif size >= _LENGTH_64_BIT:
                # Masked (a protocol error) or over 64 KiB (refused by size): the library says so to the server.
                self._hand_over(data[at:])
                return
            stop = start + size
            if stop > end:
                break
            if data[at] == _FINAL_BINARY and sink is not None and self._fragments is None:
                sink.on_binary(data[start:stop])
            else:
                super().data_received(data[at:stop])
                if self.protocol.state is not State.OPEN:
                    self._hand_over(data[stop:])
                    return
            at = stop
        self._tail = data[at:] if at else data

    def _hand_over(self, rest: bytes) -> None:
        """From here to the end everything is the library's: the connection is closing or broken."""
        self._gave_up = True
        self._tail = b""
        if rest:
            super().data_received(rest)

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            self._take_frame(event)
        else:
            super().process_event(event)

    def _take_frame(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._message_opcode = frame.opcode
        message = bytes(frame.data)
        if self._fragments is not None or not frame.fin:
            self._fragments = (self._fragments or b"") + message
        if not frame.fin or self.sink is None:
            return
        if self._fragments is not None:
            message, self._fragments = self._fragments, None
        if self._message_opcode is Opcode.TEXT:
            self.sink.on_text(message)
        else:
            self.sink.on_binary(message)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        if self.sink is not None:
            self.sink.on_lost()

    def raise_bug(self) -> None:
        """Raise what a sink raised while it was called; do nothing when the network or the peer ended the connection."""
        if self.recv_exc is not None and not isinstance(self.recv_exc, OSError | EOFError | WebSocketException):
            raise self.recv_exc

    def abort(self) -> None:
        """Drop the socket at once: on a dead one a polite close only waits."""
        self.transport.abort()

    async def drop(self) -> None:
        """Abort, and return when neither descriptor nor task of it is left."""
        self.abort()
        await asyncio.wait([self.connection_lost_waiter], timeout=ABORT_TAKES_AT_MOST_S)
        if self.keepalive_task is not None:
            await asyncio.wait([self.keepalive_task], timeout=ABORT_TAKES_AT_MOST_S)


class _ConnectOnce(connect):
    """Follows no redirect: the query string carries the token."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Seconds. Ping interval + time-out + close time-out stay below the 10 s in which a half-open socket must show."""

    open_timeout_s: float = 5.0
    ping_interval_s: float = 4.0
    ping_timeout_s: float = 4.0
    close_timeout_s: float = 1.0


async def open_feed_socket(
    url: str,
    sink: MessageSink,
    limits: SocketLimits,
    tls: ssl.SSLContext | None = None,
    names: HostNames | None = None,
) -> FeedSocket:
    """Connect to a ws:// or wss:// URL whose query may hold a token: it is logged nowhere, and no redirect is followed.

    `names` finds the address without asyncio's resolver; the certificate is checked against the URL's host all the same.
    Raises what `websockets` raises: OSError, TimeoutError, InvalidHandshake and its kind; InvalidURI never, check before.
    """

    def new_socket(protocol: ClientProtocol, **options: Any) -> FeedSocket:
        socket = FeedSocket(protocol, **options)
        socket.sink = sink
        return socket

    options: dict[str, Any] = {"ssl": tls or verified_tls()} if url.startswith("wss:") else {}
    host = urlsplit(url).hostname or ""
    async with _address(host, names) as address:
        socket = await _ConnectOnce(
            url,
            host=address,
            compression=None,
            proxy=None,
            open_timeout=limits.open_timeout_s,
            ping_interval=limits.ping_interval_s,
            ping_timeout=limits.ping_timeout_s,
            close_timeout=limits.close_timeout_s,
            max_size=MAX_MESSAGE_BYTES,
            logger=silent_logger(),
            # The library only calls this; a function lets the sink be in place before the first byte.
            create_connection=cast("type[ClientConnection]", new_socket),
            **options,
        )
    return cast("FeedSocket", socket)


@asynccontextmanager
async def _address(host: str, names: HostNames | None) -> AsyncIterator[str]:
    if names is None:
        yield host
        return
    async with names.address(host) as address:
        yield address
