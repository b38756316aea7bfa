"""An order as the exchange keeps it, and what a request for one must look like before it is taken at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.model.instrument import InstrumentKey, Segment
from core.model.money import Paise, paise_from_wire
from core.model.orders import OrderStatus, Side, Validity
from core.model.position import Product

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKET, LIMIT, STOP_LOSS, STOP_LOSS_MARKET = "MARKET", "LIMIT", "STOP_LOSS", "STOP_LOSS_MARKET"
KINDS: Final = frozenset({MARKET, LIMIT, STOP_LOSS, STOP_LOSS_MARKET})
LIVE: Final = frozenset({OrderStatus.TRANSIT, OrderStatus.PENDING, OrderStatus.PART_TRADED})
CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9 _.-]{1,25}")
"""Documented as 30 characters, measured as 25 (dhan_v2_protocol 5.3)."""
NEVER: Final = "0001-01-01 00:00:00"
CONFIRMED: Final = "CONFIRMED"
MISSING: Final = "Missing required fields, bad values for parameters etc."


@dataclass(slots=True)
class PaperOrder:
    """Prices in paise, quantities in units. `trigger` 0 when there is none. `value` is filled quantity x price."""

    order_id: str
    correlation_id: str
    key: InstrumentKey
    product: Product
    side: Side
    kind: str
    validity: Validity
    quantity: int
    price: Paise
    trigger: Paise = 0
    status: OrderStatus = OrderStatus.TRANSIT
    filled: int = 0
    value: int = 0
    reason: str = CONFIRMED
    exchange_order_id: str = "0"
    created_at: str = NEVER
    updated_at: str = NEVER
    exchange_at: str = NEVER
    last_fill: Paise = 0
    modifications: int = 0
    is_triggered: bool = False

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def left(self) -> int:
        return self.quantity - self.filled

    @property
    def average(self) -> float:
        """Rupees per unit, 0.0 while nothing is filled."""
        return round(self.value / self.filled / 100, 4) if self.filled else 0.0

    @property
    def waits_for_trigger(self) -> bool:
        return self.kind == STOP_LOSS and not self.is_triggered


@dataclass(frozen=True, slots=True)
class Trade:
    order: PaperOrder
    trade_id: str
    quantity: int
    price: Paise
    at: str


class BadRequestError(Exception):
    """The request is refused before it becomes an order: an error body with this code and text."""

    def __init__(self, message: str = MISSING, code: str = "DH-905", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A well-formed order request. Whether the exchange takes it is decided after the answer (5.3)."""

    correlation_id: str
    segment: Segment
    security_id: str
    product: Product
    side: Side
    kind: str
    validity: Validity
    quantity: int
    price: Paise
    trigger: Paise


def read_order(body: Mapping[str, object], client_id: str) -> OrderRequest:
    """Read the JSON body of POST /orders.

    Raises:
        BadRequestError: DH-905 for a missing field, an empty string, a bad value, or a correlation id beyond 25.
    """
    if any(value == "" for value in body.values()):
        raise BadRequestError
    if body.get("dhanClientId") != client_id:
        raise BadRequestError("Invalid dhanClientId")
    correlation_id = body.get("correlationId") or ""
    if not isinstance(correlation_id, str) or (correlation_id and not CORRELATION_ID.fullmatch(correlation_id)):
        raise BadRequestError("Invalid correlationId")
    kind = body.get("orderType")
    quantity = body.get("quantity")
    if quantity is None:
        raise BadRequestError("quantity is required")
    if kind not in KINDS or type(quantity) is not int or quantity <= 0:
        raise BadRequestError
    price = read_price(body.get("price"))
    trigger = read_price(body.get("triggerPrice"))
    if (kind in {LIMIT, STOP_LOSS} and price <= 0) or (kind in {STOP_LOSS, STOP_LOSS_MARKET} and trigger <= 0):
        raise BadRequestError
    try:
        return OrderRequest(
            correlation_id,
            Segment(str(body.get("exchangeSegment"))),
            str(body["securityId"]),
            Product(str(body.get("productType"))),
            Side(str(body.get("transactionType"))),
            str(kind),
            Validity(str(body.get("validity"))),
            quantity,
            price,
            trigger,
        )
    except (ValueError, KeyError):
        raise BadRequestError from None


def read_price(value: object) -> Paise:
    """A price in rupees as JSON has it, 0 for null or absent. Raises BadRequestError for anything else."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequestError
    paise = paise_from_wire(float(value))
    if paise is None or paise < 0:
        raise BadRequestError
    return paise
