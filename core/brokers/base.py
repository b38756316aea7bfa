"""The port to where orders go: Dhan over HTTP, or the in-process paper account of simulation mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.orders import OrderIntent, OrderReport, Refusal, TradeReport
    from core.model.position import PositionReport


@dataclass(frozen=True, slots=True)
class Accepted:
    order_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    refusal: Refusal
    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    reason: str


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """`sent_ns`: monotonic time when the bytes were handed to the socket, None if nothing was sent."""

    outcome: Accepted | Refused | Unknown
    sent_ns: int | None


class Broker(Protocol):
    """Order entry never raises for the broker's or the network's doing: the outcome says it.

    Reads raise TransportError (repeat), RefusedError, TokenError, RateLimitedError or DecodeError.
    """

    async def open(self) -> None:
        """Open warm connections. Raises like a read when the broker refuses the credentials."""

    async def submit(self, intent: OrderIntent) -> SubmitResult:
        """Post the order exactly once. Anything but a proven acceptance or a proven refusal is Unknown."""

    async def cancel(self, order_id: str) -> None:
        """Ask for a cancel. Raises like a read; success proves nothing about the order."""

    async def read_order(self, order_id: str) -> OrderReport | None:
        """The order by id; None when the broker does not know the id."""

    async def find_order(self, correlation_id: str) -> OrderReport | None:
        """The order by correlation id; None is one negative answer, not a proof of absence."""

    async def read_orders(self) -> tuple[OrderReport, ...]: ...

    async def read_trades(self) -> tuple[TradeReport, ...]: ...

    async def read_positions(self) -> PositionReport: ...

    async def read_quotes(self, keys: Sequence[InstrumentKey]) -> tuple[Quote, ...]:
        """REST quotes (≤ 1,000 keys a call, ≤ 1 call a second). Instruments without a price are left out."""

    async def close(self) -> None: ...
