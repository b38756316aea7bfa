"""One connection to Redis: what the library does for us, bounded in time, with the errors of this house.

The library connects, signs in and reads replies (redis 8.1.0 with hiredis 3.5.0). Its retries, its own time-outs, its pool and
its packing of commands are not used: the first two add up to seconds, packing a chunk would hold the loop in one piece. Private
members of it are touched in this file only.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from redis import exceptions
from redis.asyncio.connection import Connection, SSLConnection

from core.host_names import HostUnknownError
from core.model.errors import BugError, ConfigurationError, DecodeError, RefusedError, TransportError
from core.price_text import HASH, PING
from core.tls import explain_tls, verified_tls

if TYPE_CHECKING:
    from core.host_names import HostNames
    from core.model.errors import MonitorError

TIMEOUT_S: Final = 0.25
"""For a connect with everything that belongs to it, and for a command with its replies."""
_PORT: Final = 6379
_REMEDY: Final = (
    "Set it to redis://[user:password@]host[:port][/number], or rediss:// for TLS; write @ : / # in a password as %40…"
)
_REFUSALS: Final = (
    (exceptions.AuthenticationError, "it does not take this user name and password, or wants some"),
    (exceptions.NoPermissionError, "this user may not write the price hash"),
    (exceptions.ReadOnlyError, "it is a read-only copy"),
    (exceptions.OutOfMemoryError, "it is out of memory"),
    (exceptions.AskError, "it is one node of a cluster; give a single server"),
)
_CODES: Final = {
    "WRONGTYPE": f"the key {HASH.decode()} holds something else, which is left alone",
    "MISCONF": "it cannot save to its disk, and then takes no writes",
    "NOREPLICAS": "it has too few replicas to take writes",
    "MASTERDOWN": "it has lost its master",
    "CLUSTERDOWN": "its cluster is down",
}


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """Where Redis is. Neither the user nor the password is shown."""

    host: str
    port: int = _PORT
    number: int = 0
    is_tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def redis_access(url: str | None, host: str | None, port: int) -> RedisAccess | None:
    """From REDIS_URL, or REDIS_HOST and REDIS_PORT; None when neither is set: prices are then kept in memory alone.

    Raises ConfigurationError, which quotes nothing of the URL: a part of a password may stand where a port should.
    """
    if url is None:
        return None if host is None else RedisAccess(host, port)
    try:
        parts = urlsplit(url)
        number = int(parts.path.strip("/") or "0")
        found = parts.hostname, parts.port or _PORT
    except ValueError:
        raise ConfigurationError("REDIS_URL cannot be read.", _REMEDY) from None
    if parts.scheme not in {"redis", "rediss"} or not found[0]:
        raise ConfigurationError("REDIS_URL does not begin with redis:// or rediss:// and a host.", _REMEDY)
    if parts.query or parts.fragment:
        raise ConfigurationError("REDIS_URL has options behind ? or #; it takes none.", _REMEDY)
    return RedisAccess(
        host=unquote(found[0]),
        port=found[1],
        number=number,
        is_tls=parts.scheme == "rediss",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )


class RedisLine:
    """Opened by `open`, again and again; any failure closes it. For one task at a time.

    Every failure is a TransportError (away, or no answer in time), a RefusedError (it said no) or a DecodeError (no Redis at all),
    in words that hold no part of what was sent.
    """

    def __init__(self, access: RedisAccess, names: HostNames) -> None:
        self._access = access
        self._names = names
        self._connection = _connection_of(access)
        self._transport: asyncio.WriteTransport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def open(self) -> None:
        """Connect, sign in, and hear one answer: a frozen Redis still accepts connections."""
        is_done = False
        try:
            async with asyncio.timeout(TIMEOUT_S):
                address, *_ = await self._names.addresses_of(self._access.host)
                with self._names.trying(self._access.host, address):
                    self._connection.host = address
                    await self._connection.connect()
                self._transport = self._connection._writer.transport  # noqa: SLF001
                await self._connection.send_packed_command(PING, check_health=False)
                await self._connection.read_response()
            is_done = True
        except (exceptions.RedisError, OSError) as error:
            # The library's errors may quote the server's, and a server may quote what it was sent, the password too.
            raise _told(error) from None
        finally:
            if not is_done:
                self.abort()

    async def ask(self, command: bytes, replies: int) -> list[object]:
        """Send what is packed already, and read so many replies."""
        if self._transport is None:
            raise BugError("expected an open connection to Redis")
        is_done = False
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._connection.send_packed_command(command, check_health=False)
                found = [await self._connection.read_response() for _ in range(replies)]
            is_done = True
        except (exceptions.RedisError, OSError) as error:
            raise _told(error) from None
        finally:
            if not is_done:
                self.abort()
        return found

    def abort(self) -> None:
        """Drop the connection at once, with what is still to be sent: a frozen peer would keep it for minutes."""
        self._connection._close()  # noqa: SLF001
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class _TlsConnection(SSLConnection):
    """Connects to an address and checks the certificate against the name."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(**options)
        self._name = name
        self.ssl_context.context = verified_tls()

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "server_hostname": self._name}


def _connection_of(access: RedisAccess) -> Any:
    """Made once: a TLS context takes tens of milliseconds. RESP 2 and no driver name: no greeting that could be refused."""
    options: dict[str, Any] = {
        "host": access.host,
        "port": access.port,
        "db": access.number,
        "username": access.user,
        "password": access.password,
        "protocol": 2,
        "driver_info": None,
        "socket_timeout": None,
        "socket_connect_timeout": None,
    }
    return _TlsConnection(access.host, **options) if access.is_tls else Connection(**options)


def _told(error: Exception) -> MonitorError:
    """What an operator can do something with."""
    for kind, words in _REFUSALS:
        if isinstance(error, kind):
            return RefusedError(f"Redis refuses: {words}")
    if isinstance(error, exceptions.InvalidResponse):
        return DecodeError("expected Redis, another kind of server answers")
    if isinstance(error, exceptions.ResponseError):
        code = str(error).partition(" ")[0]
        return RefusedError(f"Redis refuses: {_CODES.get(code, 'an error that it does not name')}")
    if isinstance(error, exceptions.BusyLoadingError):
        return TransportError("Redis is still loading its data")
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return TransportError(f"no answer from Redis within {TIMEOUT_S} s")
    return TransportError(explain_tls(error, "Redis") or f"Redis cannot be reached: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """From the operating system's error behind the library's, whose text quotes the address."""
    cause = error if isinstance(error, OSError) else error.__context__
    if isinstance(cause, HostUnknownError):
        return "its name is not found"
    if isinstance(cause, OSError) and cause.errno is not None:
        return os.strerror(cause.errno)
    return "the connection has ended"
