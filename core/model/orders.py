"""Orders: what we want (OrderIntent), what the broker says of one (OrderReport), and the sets of states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from core.model.money import Paise
    from core.model.position import HoldingKey


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


class OrderKind(StrEnum):
    """Only what an exit may send. MARKET is not here: the broker converts it to a limit whose rest stays pending."""

    LIMIT = "LIMIT"


class Validity(StrEnum):
    DAY = "DAY"
    IOC = "IOC"


class OrderStatus(StrEnum):
    """Dhan's order states (dhan_v2_protocol 5.7), upper-cased. UNRECOGNISED is any other word: live until it is known."""

    TRANSIT = "TRANSIT"
    PENDING = "PENDING"
    PART_TRADED = "PART_TRADED"
    TRADED = "TRADED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    UNRECOGNISED = "UNRECOGNISED"


TERMINAL: Final = frozenset({OrderStatus.TRADED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.EXPIRED})
"""The broker will not change these any more, except CANCELLED → TRADED (a fill that raced the cancel)."""


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """One order we mean to place, exactly as it will be posted. `quantity` in units, `price` in paise per unit.

    `correlation_id` (≤ 25 of `[A-Za-z0-9_-]`) is posted once, ever: a search key, not an idempotency key.
    """

    correlation_id: str
    holding: HoldingKey
    side: Side
    quantity: int
    price: Paise
    kind: OrderKind = OrderKind.LIMIT
    validity: Validity = Validity.IOC


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the broker says of one order, whichever way we learned it. `filled` is cumulative units.

    `average_price` in paise per unit, rounded to the nearest paisa, None while nothing is filled. `reason` is the
    broker's text for a dead order, "" otherwise. `correlation_id` is "" for orders placed elsewhere.
    """

    order_id: str
    correlation_id: str
    holding: HoldingKey
    side: Side
    quantity: int
    filled: int
    status: OrderStatus
    average_price: Paise | None
    reason: str = ""

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def leaves(self) -> int:
        """Units that may still fill: 0 once terminal."""
        return 0 if self.is_terminal else max(self.quantity - self.filled, 0)


@dataclass(frozen=True, slots=True)
class TradeReport:
    """One execution from the trade book. `quantity` in units, `price` in paise per unit."""

    order_id: str
    trade_id: str
    holding: HoldingKey
    side: Side
    quantity: int
    price: Paise


class Refusal(StrEnum):
    """Why a request was refused for certain. What may follow differs by class (exit protocol 2.2)."""

    VALIDATION = "validation"
    RATE_LIMITED = "rate_limited"
    TOKEN = "token"  # noqa: S105  a class of refusal, not a secret
    STATIC_IP = "static_ip"
    ACCOUNT = "account"
    NOT_SENT = "not_sent"
    """Provably nothing reached the wire: a new attempt may follow at once."""
