"""How the market feed is reached and with which patience."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlencode, urlsplit

from core.dhan.bad_prices import BadPricePolicy
from core.dhan.disconnect_policy import AccountGate
from core.dhan.feed_connection import FeedPolicy
from core.dhan.subscriptions import MAX_INSTRUMENTS_PER_CONNECTION, FeedMode
from core.feed_socket import SocketLimits
from core.model.instrument import InstrumentKey, Segment

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection

    from core.host_names import HostNames


INDEX_CANARIES: Final = tuple(InstrumentKey(Segment.IDX_I, security_id) for security_id in (13, 51, 25))
"""NIFTY 50, SENSEX, BANKNIFTY: they tick while the market is open and tell quiet options from a dead feed (exit_rules 1)."""


class FeedTap(Protocol):
    """Hears one connection, on the read callback and the loop: it must not block. Times are monotonic ns."""

    def frame(self, at_ns: int, message: bytes) -> None:
        """One binary message as it came, before anybody has looked at it."""

    def connection(self, at_ns: int, *, is_up: bool, reason: str = "") -> None: ...

    def wants(self, at_ns: int, added: Collection[InstrumentKey], removed: Collection[InstrumentKey]) -> None: ...


class FeedTapSource(Protocol):
    def of_line(self, number: int) -> FeedTap: ...


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """`check_every_s`: how often silence is looked at. `resend_after_s`: a subscription without any price is sent again.

    `canaries`: instruments that tick all the time while the market is open, the best one first. `taps`: who hears each
    connection beside, `tap`: who hears this one.
    """

    policy: FeedPolicy = field(default_factory=FeedPolicy)
    bad_prices: BadPricePolicy = field(default_factory=BadPricePolicy)
    limits: SocketLimits = field(default_factory=SocketLimits)
    mode: FeedMode = FeedMode.FULL
    check_every_s: float = 0.1
    send_timeout_s: float = 2.0
    resend_after_s: float = 10.0
    tls: ssl.SSLContext | None = None
    canaries: tuple[InstrumentKey, ...] = ()
    instruments_per_connection: int = MAX_INSTRUMENTS_PER_CONNECTION
    taps: FeedTapSource | None = None
    tap: FeedTap | None = None

    def of_line(self, number: int) -> FeedSettings:
        """The same for one connection, by its number from 1."""
        return self if self.taps is None else replace(self, tap=self.taps.of_line(number))


def _nobody_asks(_reason: str, _token: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class FeedAccess:
    """Where and as whom, and what all connections of this account share.

    `token` is asked at every connect; it goes into the URL's query, which is logged nowhere. `doubt(reason, token)` hears
    of every end that speaks against the token it was made with. `names` finds addresses without asyncio's resolver.
    """

    url: str
    client_id: str
    token: Callable[[], str] = field(repr=False)
    doubt: Callable[[str, str], None] = field(default=_nobody_asks, repr=False)
    names: HostNames | None = field(default=None, repr=False)
    gate: AccountGate = field(default_factory=AccountGate, repr=False, compare=False)

    def url_with(self, token: str) -> str:
        query = {"version": "2", "token": token, "clientId": self.client_id, "authType": "2"}
        return f"{self.url}?{urlencode(query)}"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""
