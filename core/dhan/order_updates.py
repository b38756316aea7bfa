"""The order-update WebSocket: the login, and the alerts (dhan_v2_protocol 4).

Nothing acknowledges the login, and nothing is replayed after a reconnect: read the order book then.
"""

from __future__ import annotations

import json
from typing import Final

from core.dhan.json_fields import FOREIGN_PRODUCTS, Fields, count, fields_of, loads, optional_paise, optional_text
from core.dhan.json_fields import side as side_of
from core.dhan.json_fields import text as text_of
from core.dhan.rest_orders import dead_order_reason, status_of
from core.dhan.segments import SEGMENT_OF_EXCHANGE
from core.model.errors import DecodeError
from core.model.instrument import InstrumentKey
from core.model.orders import OrderReport
from core.model.position import HoldingKey, Product

_ORDER_ALERT: Final = "order_alert"
_WHAT: Final = "order update"

_PRODUCT: Final = {
    "C": Product.CNC,
    "I": Product.INTRADAY,
    "M": Product.MARGIN,
    "F": Product.MTF,
    **Product.__members__,
}
_FOREIGN: Final = FOREIGN_PRODUCTS | {"V", "B"}


def login_message(client_id: str, token: str) -> str:
    """The first text frame after connecting. It holds the token: never log it."""
    login = {"MsgCode": 42, "ClientId": client_id, "Token": token}
    return json.dumps({"LoginReq": login, "UserType": "SELF"}, separators=(",", ":"))


def parse_order_update(frame: str | bytes) -> OrderReport | None:
    """One frame, text or UTF-8 in a binary frame, with camelCase or PascalCase keys or both.

    None for a frame of another type, and for an order in a product this program never trades.

    Raises:
        DecodeError: not JSON, or an order alert with a field that cannot be read.
    """
    envelope = _folded(fields_of(loads(frame), _WHAT))
    if text_of(envelope, "type", _WHAT).lower() != _ORDER_ALERT:
        return None
    row = _folded(fields_of(envelope.get("data"), f"{_WHAT}: Data"))
    holding = _holding(row)
    if holding is None:
        return None
    quantity, filled = count(row, "quantity", _WHAT), count(row, "tradedqty", _WHAT)
    status = status_of(text_of(row, "status", _WHAT), quantity, filled)
    return OrderReport(
        order_id=text_of(row, "orderno", _WHAT),
        correlation_id=optional_text(row, "correlationid"),
        holding=holding,
        side=side_of(row, "txntype", _WHAT),
        quantity=quantity,
        filled=filled,
        status=status,
        average_price=optional_paise(row, "avgtradedprice", _WHAT) if filled else None,
        reason=dead_order_reason(status, optional_text(row, "reasondescription")),
    )


def _folded(fields: Fields) -> Fields:
    """Keys in lower case. Where both casings came, camelCase is the one the wire was seen to fill."""
    folded: Fields = {}
    # Stable sort: PascalCase first, so that camelCase overwrites it, unless camelCase came empty.
    for name, value in sorted(fields.items(), key=lambda item: item[0][:1].islower()):
        lower = name.lower()
        if lower not in folded or value not in (None, ""):
            folded[lower] = value
    return folded


def _holding(row: Fields) -> HoldingKey | None:
    exchange = text_of(row, "exchange", _WHAT).upper()
    letter = text_of(row, "segment", _WHAT).upper()
    word = text_of(row, "product", _WHAT).upper()
    if word in _FOREIGN:
        return None
    product = _PRODUCT.get(word)
    if product is None:
        raise DecodeError(f"{_WHAT}: product: expected a known product, received {word!r}")
    segment = SEGMENT_OF_EXCHANGE.get((exchange, letter))
    if segment is None:
        # Orders of the whole account arrive here, from every exchange Dhan has; ours are only in these.
        return None
    return HoldingKey(InstrumentKey(segment, count(row, "securityid", _WHAT)), product)
