"""Orders and trades over REST: the body we post, and the order and trade books (dhan_v2_protocol 5.3, 5.7, 5.8)."""

from __future__ import annotations

import json
import re
from typing import Final

from core.dhan.json_fields import (
    Fields,
    count,
    fields_of,
    holding,
    loads,
    optional_paise,
    optional_text,
    paise,
    rows_of,
    side,
    text,
)
from core.model.errors import BugError, DecodeError
from core.model.money import PAISE_PER_RUPEE
from core.model.orders import TERMINAL, OrderIntent, OrderReport, OrderStatus, TradeReport

MAX_CORRELATION_ID: Final = 25
"""Measured; the documented 30 is wrong (dhan_v2_protocol 5.3)."""

_CORRELATION_ID: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_CORRELATION_ID}}}", re.ASCII)
_HEALTHY: Final = frozenset({"", "CONFIRMED"})
_STATUS_ALIASES: Final = {
    "PARTIALLY_TRADED": OrderStatus.PART_TRADED,
    "PARTTRADED": OrderStatus.PART_TRADED,
    "CANCELED": OrderStatus.CANCELLED,
}


def order_body(intent: OrderIntent, client_id: str) -> bytes:
    """The body of POST /orders: only the fields an exit uses, because Dhan refuses empty ones.

    Raises:
        BugError: the correlation id, the quantity or the price cannot be posted.
    """
    if _CORRELATION_ID.fullmatch(intent.correlation_id) is None:
        raise BugError(f"expected a correlation id of 1 to 25 [A-Za-z0-9_-], received {intent.correlation_id!r}")
    if intent.quantity <= 0 or intent.price <= 0:
        raise BugError(f"expected a quantity and a price above 0, received {intent.quantity} at {intent.price} paise")
    instrument = intent.holding.instrument
    body = {
        "dhanClientId": client_id,
        "correlationId": intent.correlation_id,
        "transactionType": intent.side.value,
        "exchangeSegment": instrument.segment.value,
        "productType": intent.holding.product.value,
        "orderType": intent.kind.value,
        "validity": intent.validity.value,
        "securityId": str(instrument.security_id),
        "quantity": intent.quantity,
        # The nearest double of n/100 prints as the shortest decimal, so 9840 paise go out as 98.4.
        "price": intent.price / PAISE_PER_RUPEE,
    }
    return json.dumps(body, separators=(",", ":")).encode()


def parse_order(body: bytes) -> OrderReport | None:
    """GET /orders/{id} or /orders/external/{cid}: an object or an array of one. None for [] or a foreign product.

    Raises:
        DecodeError: anything else, with the field's name.
    """
    parsed = loads(body)
    if parsed == []:
        return None
    rows = rows_of(parsed, "order")
    if len(rows) != 1:
        raise DecodeError(f"order: expected one order, received {len(rows)}")
    return order_from_row(fields_of(rows[0], "order"), "order")


def parse_order_book(body: bytes) -> tuple[OrderReport, ...]:
    """GET /orders, the whole day. Orders in products this program never trades are left out.

    Raises:
        DecodeError: one row cannot be read. The whole book fails then: a missing order would look absent.
    """
    rows = _array(loads(body), "order book")
    reports = (order_from_row(fields_of(row, "order book"), f"order book row {at}") for at, row in enumerate(rows))
    return tuple(report for report in reports if report is not None)


def parse_trade_book(body: bytes) -> tuple[TradeReport, ...]:
    """GET /trades or /trades/{id}: an array or one object.

    Raises:
        DecodeError: one row cannot be read. The whole book fails then: a missing trade would hide a fill.
    """
    rows = rows_of(loads(body), "trade book")
    trades = (_trade(fields_of(row, "trade book"), f"trade book row {at}") for at, row in enumerate(rows))
    return tuple(trade for trade in trades if trade is not None)


def order_from_row(row: Fields, what: str) -> OrderReport | None:
    """One order object; None for a product or segment this program never trades. Raises DecodeError."""
    held = holding(row, what)
    if held is None:
        return None
    quantity = count(row, "quantity", what)
    filled = count(row, "filledQty", what)
    status = status_of(text(row, "orderStatus", what), quantity, filled)
    return OrderReport(
        order_id=text(row, "orderId", what),
        correlation_id=optional_text(row, "correlationId"),
        holding=held,
        side=side(row, "transactionType", what),
        quantity=quantity,
        filled=filled,
        status=status,
        average_price=optional_paise(row, "averageTradedPrice", what) if filled else None,
        reason=dead_order_reason(status, optional_text(row, "omsErrorDescription")),
    )


def status_of(word: str, quantity: int, filled: int) -> OrderStatus:
    """Dhan's status word in any casing, held against the fill.

    "Traded" with units still open is PART_TRADED: how the wire spells a partial fill is not known, and a live order
    taken for a finished one would be exited twice (dhan_v2_protocol 4.2). PENDING with a fill is PART_TRADED too.
    """
    name = word.strip().upper().replace(" ", "_").replace("-", "_")
    status = _STATUS_ALIASES.get(name) or OrderStatus.__members__.get(name, OrderStatus.UNRECOGNISED)
    if status is OrderStatus.TRADED and filled < quantity:
        return OrderStatus.PART_TRADED
    if status is OrderStatus.PENDING and 0 < filled < quantity:
        return OrderStatus.PART_TRADED
    return status


def dead_order_reason(status: OrderStatus, description: str) -> str:
    """The broker's text for an order that died; "CONFIRMED" on a healthy one is no reason."""
    is_dead = status in TERMINAL and status is not OrderStatus.TRADED
    return description if is_dead and description.upper() not in _HEALTHY else ""


def _trade(row: Fields, what: str) -> TradeReport | None:
    held = holding(row, what)
    if held is None:
        return None
    return TradeReport(
        order_id=text(row, "orderId", what),
        trade_id=optional_text(row, "exchangeTradeId"),
        holding=held,
        side=side(row, "transactionType", what),
        quantity=count(row, "tradedQuantity", what),
        price=paise(row, "tradedPrice", what),
    )


def _array(parsed: object, what: str) -> list[object]:
    if not isinstance(parsed, list):
        raise DecodeError(f"{what}: expected an array, received {type(parsed).__name__}")
    return parsed
