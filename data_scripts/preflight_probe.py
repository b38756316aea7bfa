"""Tries the sockets that a monitor will use, once and briefly: what they answered, as facts for `core.preflight_checks`."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from websockets.exceptions import InvalidStatus, WebSocketException

from core.dhan.feed_packets import DecodeCounts, Disconnect, FullPacket, QuotePacket, Ticker, decode_message
from core.dhan.order_updates import login_message
from core.dhan.subscriptions import subscribe_messages
from core.feed_socket import SocketLimits, open_feed_socket
from core.model.errors import ConfigurationError, DecodeError, RefusedError, TransportError
from core.model.session_time import NS_PER_MS
from core.preflight_checks import FeedTry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.clock import Clock
    from core.feed_settings import FeedAccess
    from core.model.instrument import InstrumentKey
    from core.order_update_stream import OrderStreamLogin
    from core.settings import Settings

_LIMITS = SocketLimits(open_timeout_s=4.0)


class _FeedEars:
    """Hears the first price, or why there is none."""

    def __init__(self) -> None:
        self.is_over = asyncio.Event()
        self.has_price = False
        self.code = 0
        self._counts = DecodeCounts()

    def on_binary(self, message: bytes) -> None:
        for packet in decode_message(message, self._counts):
            if isinstance(packet, Disconnect):
                self.code = packet.reason
            elif isinstance(packet, Ticker | QuotePacket | FullPacket) and packet.last is not None:
                self.has_price = True
        if self.code or self.has_price:
            self.is_over.set()

    def on_text(self, message: bytes) -> None:
        pass

    def on_lost(self) -> None:
        self.is_over.set()


async def try_feed(access: FeedAccess, keys: Sequence[InstrumentKey], wait_s: float, clock: Clock) -> FeedTry:
    """One connection with a subscription, until the first price or for `wait_s`. It counts as one of Dhan's five."""
    ears = _FeedEars()
    try:
        socket = await open_feed_socket(access.url_with(access.token()), ears, _LIMITS)
    except InvalidStatus as error:
        return FeedTry(http_status=error.response.status_code)
    except (OSError, WebSocketException) as error:
        # The class is enough: the address of the request holds the token.
        return FeedTry(words=f"no connection ({type(error).__name__})")
    began_ns = clock.monotonic_ns()
    try:
        for message in subscribe_messages(keys):
            await socket.send(message)
        async with asyncio.timeout(wait_s):
            await ears.is_over.wait()
    except TimeoutError:
        return FeedTry()
    except (OSError, WebSocketException):
        pass
    finally:
        socket.abort()
    if ears.has_price:
        return FeedTry(first_ms=(clock.monotonic_ns() - began_ns) / NS_PER_MS)
    return FeedTry(code=ears.code) if ears.code else FeedTry(words="accepted, then dropped without a word")


class _Silent:
    """Order updates are only to stay connected here."""

    def __init__(self) -> None:
        self.is_over = asyncio.Event()

    def on_binary(self, message: bytes) -> None:
        pass

    on_text = on_binary

    def on_lost(self) -> None:
        self.is_over.set()


async def try_order_updates(login: OrderStreamLogin, hold_s: float) -> str:
    """Log in and see whether the connection still stands after `hold_s`: a bad token is reset after some 10 ms. "" when it does."""
    ears = _Silent()
    try:
        socket = await open_feed_socket(login.url, ears, _LIMITS)
    except (OSError, WebSocketException) as error:
        return f"no connection ({type(error).__name__})"
    try:
        await socket.send(login_message(login.client_id, login.token()))
        with suppress(TimeoutError):
            async with asyncio.timeout(hold_s):
                await ears.is_over.wait()
                return "reset right after the login"
    except (OSError, WebSocketException):
        return "reset right after the login"
    finally:
        socket.abort()
    return ""


async def try_redis(settings: Settings, clock: Clock) -> str:
    """Connect, sign in and ping. "" when it answers."""
    # Only who uses Redis needs its library.
    from core.host_names import HostNames  # noqa: PLC0415
    from core.redis_line import RedisLine, redis_access  # noqa: PLC0415

    url = None if settings.redis_url is None else settings.redis_url.get_secret_value()
    try:
        access = redis_access(url, settings.redis_host, settings.redis_port)
    except ConfigurationError as error:
        return error.problem
    if access is None:
        return "REDIS_URL and REDIS_HOST are not set"
    line = RedisLine(access, HostNames(clock))
    try:
        await line.open()
    except (TransportError, RefusedError, DecodeError) as error:
        return str(error)
    finally:
        line.abort()
    return ""


def silence_libraries() -> None:
    """They would log addresses, and the address of the feed holds the token."""
    logging.disable(logging.CRITICAL)
