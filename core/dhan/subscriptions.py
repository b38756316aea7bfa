"""Messages to the market feed: JSON text frames (dhan_v2_protocol 2.2). Nothing acknowledges them."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.model.instrument import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.instrument import InstrumentKey

MAX_INSTRUMENTS_PER_MESSAGE: Final = 100
MAX_INSTRUMENTS_PER_CONNECTION: Final = 5000
MAX_CONNECTIONS: Final = 5


class FeedMode(StrEnum):
    TICKER = "TICKER"
    QUOTE = "QUOTE"
    FULL = "FULL"


SUBSCRIBE_CODE: Final = {FeedMode.TICKER: 15, FeedMode.QUOTE: 17, FeedMode.FULL: 21}
"""The code to unsubscribe is one more."""


def mode_for(key: InstrumentKey, wanted: FeedMode = FeedMode.FULL) -> FeedMode:
    """The mode to subscribe `key` in: an index has no book, and whether it accepts Full is not known (2.6)."""
    if key.segment is Segment.IDX_I and wanted is FeedMode.FULL:
        return FeedMode.TICKER
    return wanted


def subscribe_messages(keys: Iterable[InstrumentKey], mode: FeedMode = FeedMode.FULL) -> list[str]:
    """Messages that subscribe every key once, each in `mode_for(key, mode)`, ≤ 100 keys a message."""
    return _messages(keys, mode, 0)


def unsubscribe_messages(keys: Iterable[InstrumentKey], mode: FeedMode = FeedMode.FULL) -> list[str]:
    """Messages that undo `subscribe_messages` with the same mode."""
    return _messages(keys, mode, 1)


def _messages(keys: Iterable[InstrumentKey], mode: FeedMode, code_offset: int) -> list[str]:
    grouped: dict[FeedMode, list[InstrumentKey]] = {}
    for key in dict.fromkeys(keys):
        grouped.setdefault(mode_for(key, mode), []).append(key)
    return [
        _message(SUBSCRIBE_CODE[used] + code_offset, wanted[at : at + MAX_INSTRUMENTS_PER_MESSAGE])
        for used, wanted in grouped.items()
        for at in range(0, len(wanted), MAX_INSTRUMENTS_PER_MESSAGE)
    ]


def _message(code: int, keys: list[InstrumentKey]) -> str:
    listed = [{"ExchangeSegment": key.segment.value, "SecurityId": str(key.security_id)} for key in keys]
    body = {"RequestCode": code, "InstrumentCount": len(listed), "InstrumentList": listed}
    return json.dumps(body, separators=(",", ":"))
