"""Books as binary packets: little-endian, packed, prices as float32 rupees (dhan_v2_protocol 2.4).

Written from the protocol document alone, without a look at core.dhan.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from core.model.instrument import InstrumentKey, Segment
from core.model.session_time import IST_OFFSET_S
from core.paper.options import TradeTime

if TYPE_CHECKING:
    from core.paper.market import Book, Level

SEGMENT_CODE: Final = {
    Segment.IDX_I: 0,
    Segment.NSE_EQ: 1,
    Segment.NSE_FNO: 2,
    Segment.NSE_CURRENCY: 3,
    Segment.BSE_EQ: 4,
    Segment.MCX_COMM: 5,
    Segment.BSE_CURRENCY: 7,
    Segment.BSE_FNO: 8,
}

TICKER_CODE, QUOTE_CODE, OPEN_INTEREST_CODE, PREVIOUS_CLOSE_CODE = 2, 4, 5, 6
MARKET_STATUS_CODE, FULL_CODE, DISCONNECT_CODE, UNKNOWN_CODE = 7, 8, 50, 99

# Every layout begins with the header: code u8, length u16 of the whole packet, segment u8, security id u32.
TICKER = struct.Struct("<BHBIfI")
QUOTE = struct.Struct("<BHBIfHIfIIIffff")
OPEN_INTEREST = struct.Struct("<BHBII")
PREVIOUS_CLOSE = struct.Struct("<BHBIfI")
MARKET_STATUS = struct.Struct("<BHBI")
FULL = struct.Struct("<BHBIfHIfIIIIIIffff" + "IIHHff" * 5)
DISCONNECT = struct.Struct("<BHBIH")
UNKNOWN = struct.Struct("<BHBI4s")

U16: Final = 0xFFFF


SHIFT_S: Final = {TradeTime.IST: IST_OFFSET_S, TradeTime.UTC: 0}


def wire_time(book: Book, encoding: TradeTime) -> int:
    """The last trade: Dhan writes the IST wall clock as if it were UTC (2.6). 0 when never traded."""
    return book.traded_at_s + SHIFT_S[encoding] if book.traded_at_s else 0


def ticker(book: Book, encoding: TradeTime = TradeTime.IST) -> bytes:
    key = book.key
    time = wire_time(book, encoding)
    return TICKER.pack(TICKER_CODE, TICKER.size, SEGMENT_CODE[key.segment], key.security_id, book.last / 100, time)


def quote(book: Book, encoding: TradeTime = TradeTime.IST) -> bytes:
    key = book.key
    return QUOTE.pack(
        QUOTE_CODE,
        QUOTE.size,
        SEGMENT_CODE[key.segment],
        key.security_id,
        book.last / 100,
        book.last_size & U16,
        wire_time(book, encoding),
        book.average / 100,
        book.volume,
        _total(book.asks),
        _total(book.bids),
        book.day_open / 100,
        book.previous_close / 100,
        book.high / 100,
        book.low / 100,
    )


def full(book: Book, encoding: TradeTime = TradeTime.IST) -> bytes:
    key = book.key
    return FULL.pack(
        FULL_CODE,
        FULL.size,
        SEGMENT_CODE[key.segment],
        key.security_id,
        book.last / 100,
        book.last_size & U16,
        wire_time(book, encoding),
        book.average / 100,
        book.volume,
        _total(book.asks),
        _total(book.bids),
        book.open_interest,
        book.open_interest if key.segment is Segment.NSE_FNO else 0,
        book.previous_open_interest if key.segment is Segment.NSE_FNO else 0,
        book.day_open / 100,
        book.previous_close / 100,
        book.high / 100,
        book.low / 100,
        *_depth(book),
    )


def _total(levels: list[Level]) -> int:
    return sum(level.size for level in levels)


def _depth(book: Book) -> list[int | float]:
    bids, asks = book.bids, book.asks
    fields: list[int | float] = []
    for n in range(5):
        bid = bids[n] if n < len(bids) else None
        ask = asks[n] if n < len(asks) else None
        fields += (
            bid.size if bid else 0,
            ask.size if ask else 0,
            bid.orders & U16 if bid else 0,
            ask.orders & U16 if ask else 0,
            bid.price / 100 if bid else 0.0,
            ask.price / 100 if ask else 0.0,
        )
    return fields


def open_interest(book: Book) -> bytes:
    key = book.key
    return OPEN_INTEREST.pack(
        OPEN_INTEREST_CODE, OPEN_INTEREST.size, SEGMENT_CODE[key.segment], key.security_id, book.open_interest
    )


def previous_close(book: Book) -> bytes:
    key = book.key
    return PREVIOUS_CLOSE.pack(
        PREVIOUS_CLOSE_CODE,
        PREVIOUS_CLOSE.size,
        SEGMENT_CODE[key.segment],
        key.security_id,
        book.previous_close / 100,
        book.previous_open_interest,
    )


def market_status() -> bytes:
    """Header only: no payload is known."""
    return MARKET_STATUS.pack(MARKET_STATUS_CODE, MARKET_STATUS.size, 0, 0)


def disconnect(code: int) -> bytes:
    return DISCONNECT.pack(DISCONNECT_CODE, DISCONNECT.size, 0, 0, code)


def unknown(key: InstrumentKey) -> bytes:
    """A packet no document names: a client must skip it by its length."""
    return UNKNOWN.pack(UNKNOWN_CODE, UNKNOWN.size, SEGMENT_CODE[key.segment], key.security_id, b"????")


BINARY_FRAME: Final = b"\x82"
TEXT_FRAME: Final = b"\x81"


def message(payload: bytes, first: bytes = BINARY_FRAME) -> bytes:
    """One unmasked, final WebSocket frame (RFC 6455 5.2)."""
    size = len(payload)
    if size < 126:  # noqa: PLR2004  lengths up to 125 fit in the second byte
        return first + bytes((size,)) + payload
    if size <= U16:
        return first + b"\x7e" + size.to_bytes(2, "big") + payload
    return first + b"\x7f" + size.to_bytes(8, "big") + payload
