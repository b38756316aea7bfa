"""One warm HTTP/1.1 connection with our own request bytes: every line of the way of an order is ours (performance 4).

No redirects, no proxies, no retries, no decompression: one write, one answer or one named error.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from core.brokers.http_response import HttpResponseParser, ParsedResponse
from core.host_names import HostUnknownError
from core.model.errors import ConfigurationError, DecodeError, TransportError
from core.tls import explain_tls, verified_tls

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.host_names import HostNames

_PLAIN_PORT: Final = 80
_TLS_PORT: Final = 443


class NotSentError(TransportError):
    """Nothing of the request was written: it cannot have had an effect."""


class NotTrustedError(NotSentError):
    """The server's certificate or protocol is not accepted. No address, no repeat and no wait mends that: a person does."""


class OutcomeUnknownError(TransportError):
    """The request was written and no whole answer came: it may have had its effect. `sent_ns` is monotonic.

    `was_dropped`: the peer closed the connection without one byte of an answer (no time-out). A read may be repeated at once.
    """

    def __init__(self, message: str, sent_ns: int, *, was_dropped: bool) -> None:
        super().__init__(message)
        self.sent_ns = sent_ns
        self.was_dropped = was_dropped


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """`sent_ns`: monotonic time right after the request was handed to the socket."""

    status: int
    body: bytes
    sent_ns: int


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """Where a server is. `base_path` without a trailing slash ("/v2"), `tls` None for plain HTTP."""

    host: str
    port: int
    base_path: str
    tls: ssl.SSLContext | None

    @property
    def host_header(self) -> str:
        is_default = self.port == (_PLAIN_PORT if self.tls is None else _TLS_PORT)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if is_default else f"{host}:{self.port}"

    @staticmethod
    def from_url(url: str, tls: ssl.SSLContext | None = None) -> HttpEndpoint:
        """Read an http:// or https:// URL. `tls` replaces the default context (verified, TLS 1.2 or newer)."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
            raise ConfigurationError("The API URL is not an http(s) URL with a host.", "Write https://HOST/v2.")
        if parts.scheme == "http":
            return HttpEndpoint(parts.hostname, port or _PLAIN_PORT, parts.path.rstrip("/"), None)
        return HttpEndpoint(parts.hostname, port or _TLS_PORT, parts.path.rstrip("/"), tls or verified_tls())


class HttpConnection(asyncio.Protocol):
    """One socket, one request at a time. Once closed it stays closed.

    `on_closed` is called once when the socket is gone, with the connection.
    """

    def __init__(self, clock: Clock, on_closed: Callable[[HttpConnection], None] | None = None) -> None:
        self._clock = clock
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._parser = HttpResponseParser()
        self._waiter: asyncio.Future[ParsedResponse] | None = None
        self._is_alive = False
        self.idle_since_ns = clock.monotonic_ns()

    @property
    def is_usable(self) -> bool:
        """Whether a request may be written: open, idle, and the kernel holds nothing unread.

        Unread bytes on an idle connection are the peer's close (or garbage) that the loop has not delivered yet.
        """
        if not self._is_alive or self._waiter is not None or self._transport is None or self._transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)

    async def exchange(self, request: bytes, deadline_s: float) -> HttpResponse:
        """Write the request once and wait for the whole answer until `deadline_s` (event-loop time).

        A cancelled exchange closes the connection. Raises NotSentError or OutcomeUnknownError.
        """
        transport = self._transport
        if transport is None or not self.is_usable:
            self.close()
            raise NotSentError("expected an open idle connection, the peer had closed it; nothing was sent")
        self._parser = HttpResponseParser()
        self._waiter = asyncio.get_running_loop().create_future()
        transport.write(request)
        sent_ns = self._clock.monotonic_ns()
        try:
            async with asyncio.timeout_at(deadline_s):
                parsed = await self._waiter
        except TimeoutError:
            self._is_alive = False
            raise OutcomeUnknownError(
                "expected an answer in time, none came; the request was sent", sent_ns, was_dropped=False
            ) from None
        except (OSError, DecodeError) as error:
            self._is_alive = False
            raise OutcomeUnknownError(
                f"{error}; the request was sent", sent_ns, was_dropped=not self._parser.has_started
            ) from error
        finally:
            self._waiter = None
            if not self._is_alive or not self._parser_is_clean():
                self.close()
        if not parsed.keep_alive:
            self.close()
        self.idle_since_ns = self._clock.monotonic_ns()
        return HttpResponse(parsed.status, parsed.body, sent_ns)

    def close(self) -> None:
        """Drop the socket at once. A polite close could hang on a dead peer."""
        self._is_alive = False
        if self._transport is not None:
            self._transport.abort()

    def _parser_is_clean(self) -> bool:
        return self._parser.is_complete and not self._parser.has_excess

    def _resolve(self, outcome: ParsedResponse | Exception) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if isinstance(outcome, Exception):
            self._waiter.set_exception(outcome)
        else:
            self._waiter.set_result(outcome)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._is_alive = True
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None or self._waiter.done():
            # Nobody asked: the connection no longer knows which answer belongs to which request.
            self.close()
            return
        try:
            parsed = self._parser.feed(data)
        except DecodeError as error:
            self._resolve(error)
            self.close()
            return
        if parsed is not None:
            self._resolve(parsed)

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        if self._on_closed is not None:
            self._on_closed(self)

    def _end(self, exc: Exception | None) -> None:
        self._is_alive = False
        if self._waiter is None or self._waiter.done():
            return
        try:
            parsed = self._parser.feed_eof() if exc is None else None
        except DecodeError as error:
            self._resolve(error)
            return
        self._resolve(parsed or exc or ConnectionResetError("expected an answer, the peer closed the connection"))


async def open_connection(
    endpoint: HttpEndpoint,
    clock: Clock,
    connect_timeout_s: float,
    names: HostNames,
    on_closed: Callable[[HttpConnection], None] | None = None,
) -> HttpConnection:
    """Connect (and shake hands) at the best address of the host; the next one when it refuses at once.

    An address that does not answer costs this connect; the next connect begins with another.

    Raises:
        NotTrustedError: the certificate is not accepted.
        NotSentError: anything else, naming host and cause.
    """
    try:
        async with asyncio.timeout(connect_timeout_s):
            return await _connect_anywhere(endpoint, clock, names, on_closed)
    except TimeoutError:
        raise NotSentError(f"expected a connection to {endpoint.host} in {connect_timeout_s} s, none came") from None
    except OSError as error:
        # The text of these errors names host and reason, never the request.
        trouble = explain_tls(error, endpoint.host)
        if trouble is not None:
            raise NotTrustedError(trouble) from error
        raise NotSentError(f"expected a connection to {endpoint.host}, received: {error}") from error


async def _connect_anywhere(
    endpoint: HttpEndpoint, clock: Clock, names: HostNames, on_closed: Callable[[HttpConnection], None] | None
) -> HttpConnection:
    refused: OSError = HostUnknownError(f"no address of {endpoint.host}")
    for address in await names.addresses_of(endpoint.host):
        try:
            with names.trying(endpoint.host, address):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: HttpConnection(clock, on_closed),
                    address,
                    endpoint.port,
                    ssl=endpoint.tls,
                    # Certificate and Host header are for the name, wherever it is connected to.
                    server_hostname=endpoint.host if endpoint.tls is not None else None,
                )
        except ssl.SSLError:
            raise
        except OSError as error:
            refused = error
        else:
            return connection
    raise refused
