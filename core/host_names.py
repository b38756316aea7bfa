"""The addresses of the hosts we connect to, remembered: a resolver that fails or hangs stops no connect.

A look-up cannot be cancelled, and asyncio makes each one on a thread of the pool that the whole program shares. Here every host
has at most one look-up at a time, on a thread of its own, and whoever knows an address from before waits for it only briefly.
Certificates are still checked against the name, and the Host header still carries it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from threading import Thread
from typing import Final, Generic, TypeVar

from core.clock import Clock
from core.model.session_time import NS_PER_S

PATIENCE_S: Final = 0.25
"""With an address from before. Healthy resolvers answer in 1 to 50 ms."""
FIRST_PATIENCE_S: Final = 5.0
"""Without one: there is nothing else to do but wait, within the caller's own time-out."""
FRESH_S: Final = 60.0
"""No look-up before that, so that a connect on the way of an order does not wait for one. Dhan's gateways live at least so long."""
FAILURES_PER_TURN: Final = 3
FORGET_FAILURES_NS: Final = 300 * NS_PER_S

Resolve = Callable[[str], tuple[str, ...]]
FoundT = TypeVar("FoundT")


class HostUnknownError(OSError):
    """The name was never found. An OSError, as asyncio's own look-ups raise one: nothing was sent."""


def addresses_by_name(host: str) -> tuple[str, ...]:
    """Ask the system's resolver; the addresses in its order. Blocks."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class NotFound:
    """Why, in words without the name: what was typed there may be a key."""

    reason: str


class LookUp(Generic[FoundT]):
    """One look-up on a daemon thread: the end of the process does not wait for it. `answer` never raises."""

    def __init__(self, host: str, resolve: Callable[[str], FoundT], thread_name: str) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[FoundT | NotFound] = loop.create_future()
        Thread(target=self._ask, args=(host, resolve, loop), name=thread_name, daemon=True).start()

    def _ask(self, host: str, resolve: Callable[[str], FoundT], loop: asyncio.AbstractEventLoop) -> None:
        found: FoundT | NotFound
        try:
            found = resolve(host)
        except (OSError, ValueError) as error:  # ValueError: what can be no name, such as one of 64 letters.
            found = NotFound(getattr(error, "strerror", None) or type(error).__name__)
        with suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(self.answer.set_result, found)


@dataclass(slots=True)
class _Host:
    """What is known of one host. `failures` per address: how many in a row, and when the last one was (monotonic)."""

    addresses: tuple[str, ...] = ()
    fresh_until_ns: int = 0
    look_up: LookUp[tuple[str, ...]] | None = None
    patient_until_s: float = 0.0
    failures: dict[str, tuple[int, int]] = field(default_factory=dict)


class HostNames:
    """One for the whole program, on one loop. `look_ups` and `from_memory` count: the latter, when the resolver was no help."""

    def __init__(
        self,
        clock: Clock,
        *,
        patience_s: float = PATIENCE_S,
        first_patience_s: float = FIRST_PATIENCE_S,
        resolve: Resolve = addresses_by_name,
    ) -> None:
        self._now = clock.monotonic_ns
        self._patience_s = patience_s
        self._first_patience_s = first_patience_s
        self._resolve = resolve
        self._hosts: dict[str, _Host] = {}
        self.look_ups = 0
        self.from_memory = 0

    async def addresses_of(self, host: str) -> tuple[str, ...]:
        """Where to connect, best first; `host` itself when it is an address or this machine.

        IPv4 before IPv6: the address registered with Dhan for orders is an IPv4 one as a rule, and the other family fails there.
        IPv6 comes first only when there is nothing else, or when every IPv4 address has failed three times in a row.

        Raises:
            HostUnknownError: never found, and not found now.
        """
        if host == "localhost" or is_address(host):
            return (host,)
        known = self._hosts.setdefault(host, _Host())
        if self._now() >= known.fresh_until_ns:
            await self._refresh(host, known)
        return self._best_first(known)

    @asynccontextmanager
    async def address(self, host: str) -> AsyncIterator[str]:
        """The one address to try now. Learns from how the body ends: OSError (also a time-out) counts against it."""
        at = (await self.addresses_of(host))[0]
        with self.trying(host, at):
            yield at

    def trying(self, host: str, address: str) -> _Trying:
        return _Trying(self, host, address)

    def failed(self, host: str, address: str) -> None:
        """No connection there: the other addresses come first, and the resolver is asked again before the next connect."""
        known = self._hosts.get(host)
        if known is not None:
            count, _ = known.failures.get(address, (0, 0))
            known.failures[address] = (count + 1, self._now())
            known.fresh_until_ns = 0

    def worked(self, host: str, address: str) -> None:
        known = self._hosts.get(host)
        if known is not None:
            known.failures.pop(address, None)

    async def _refresh(self, host: str, known: _Host) -> None:
        loop = asyncio.get_running_loop()
        look_up = known.look_up
        if look_up is None:
            self.look_ups += 1
            look_up = known.look_up = LookUp(host, self._resolve, f"name of {host}")
            look_up.answer.add_done_callback(lambda answer: self._learn(known, answer))
            patience_s = self._patience_s if known.addresses else self._first_patience_s
            known.patient_until_s = loop.time() + patience_s
        # Who comes during a look-up shares what is left of its patience: a hanging one is waited for once.
        await asyncio.wait([look_up.answer], timeout=max(0.0, known.patient_until_s - loop.time()))
        found = look_up.answer.result() if look_up.answer.done() else NotFound("no answer in time")
        if isinstance(found, NotFound):
            if not known.addresses:
                raise HostUnknownError(f"the name {host} is not found ({found.reason}); check the machine's DNS")
            self.from_memory += 1

    def _learn(self, known: _Host, answer: asyncio.Future[tuple[str, ...] | NotFound]) -> None:
        known.look_up = None
        if isinstance(found := answer.result(), NotFound):
            return
        known.addresses = found
        known.failures = {address: failure for address, failure in known.failures.items() if address in found}
        known.fresh_until_ns = self._now() + round(FRESH_S * NS_PER_S)

    def _best_first(self, known: _Host) -> tuple[str, ...]:
        now = self._now()

        def rank(address: str) -> tuple[int, bool, int]:
            count, last_ns = known.failures.get(address, (0, 0))
            count = 0 if now - last_ns > FORGET_FAILURES_NS else count
            return count // FAILURES_PER_TURN, ":" in address, count

        return tuple(sorted(known.addresses, key=rank))


@dataclass(frozen=True, slots=True)
class _Trying:
    """Notes how a connect to one address ended. A refused certificate is no fault of the address: all others have it too."""

    names: HostNames
    host: str
    address: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        # Cancelled: by the caller's time-out, as a rule. A clean end of the program does not mind the mark.
        if isinstance(error, OSError | asyncio.CancelledError) and not isinstance(error, ssl.SSLError):
            self.names.failed(self.host, self.address)
        else:
            self.names.worked(self.host, self.address)
