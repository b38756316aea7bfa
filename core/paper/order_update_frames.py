"""Frames of the order-update stream that a client must survive."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final


class FrameShape(StrEnum):
    NOT_JSON = "not_json"
    CUT = "cut"
    """The newest order's update, cut off in the middle."""
    BINARY = "binary"
    """The newest order's update as UTF-8 in a binary frame."""
    BINARY_NOISE = "binary_noise"
    ARRAY = "array"
    NO_DATA = "no_data"
    DATA_NULL = "data_null"
    OTHER_TYPE = "other_type"
    """Another Type than order_alert, around the newest order."""
    UNKNOWN_STATUS = "unknown_status"
    """The newest order with a status no document names."""
    WRONG_TYPES = "wrong_types"
    """The newest order with words where numbers belong."""
    NO_ORDER_ID = "no_order_id"
    FOREIGN = "foreign"
    """An order nobody of ours placed: the stream carries all orders of the account."""
    DUPLICATE = "duplicate"
    """The newest order once more."""


ORDER_NAMES: Final = ("orderNo", "OrderNo")
STATUS_NAMES: Final = ("status", "Status")
QUANTITY_NAMES: Final = ("tradedQty", "TradedQty", "quantity", "Quantity", "price", "Price")
ENVELOPE: Final = "order_alert"


def frame(shape: FrameShape, data: dict[str, object]) -> str | bytes:
    """The text or the bytes to send. `data` is the newest order's update, {} when there is none."""
    text = json.dumps({"Data": data, "Type": ENVELOPE})
    changed = _changed(shape, data)
    if changed is not None:
        return json.dumps({"Data": changed, "Type": ENVELOPE})
    others: dict[FrameShape, str | bytes] = {
        FrameShape.NOT_JSON: "\u0000Gateway timeout",
        FrameShape.CUT: text[: len(text) // 2],
        FrameShape.BINARY: text.encode(),
        FrameShape.BINARY_NOISE: bytes(range(256)),
        FrameShape.ARRAY: "[1, 2, 3]",
        FrameShape.NO_DATA: json.dumps({"Type": ENVELOPE}),
        FrameShape.DATA_NULL: json.dumps({"Data": None, "Type": ENVELOPE}),
        FrameShape.OTHER_TYPE: json.dumps({"Data": data, "Type": "heartbeat"}),
    }
    return others.get(shape, text)


def _changed(shape: FrameShape, data: dict[str, object]) -> dict[str, object] | None:
    match shape:
        case FrameShape.UNKNOWN_STATUS:
            return data | {name: "Frozen" for name in STATUS_NAMES if name in data}
        case FrameShape.WRONG_TYPES:
            return data | {name: "many" for name in QUANTITY_NAMES if name in data}
        case FrameShape.NO_ORDER_ID:
            return {name: value for name, value in data.items() if name not in ORDER_NAMES}
        case FrameShape.FOREIGN:
            foreign: dict[str, object] = {name: "99000000000000" for name in ORDER_NAMES if name in data}
            return data | foreign | {"correlationId": "", "CorrelationId": ""}
        case _:
            return None
