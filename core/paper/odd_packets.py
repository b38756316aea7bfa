"""Packets as no honest feed sends them: wrong numbers, wrong lengths, wrong names, wrong order."""

from __future__ import annotations

import struct
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.paper import feed_encoding
from core.paper.feed_encoding import FULL_CODE, TEXT_FRAME, message
from core.paper.market import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.paper.market import Book


class Shape(StrEnum):
    """What is wrong with the packet. In a full packet `with_book` spoils the prices of the depth as well."""

    NAN = "nan"
    PLUS_INF = "plus_inf"
    MINUS_INF = "minus_inf"
    ZERO = "zero"
    NEGATIVE = "negative"
    DENORMAL = "denormal"
    """The smallest float32 above zero."""
    HUGE = "huge"
    """The largest float32."""
    OFF_TICK = "off_tick"
    """A hundredth of a paisa too much."""
    TRUNCATED = "truncated"
    """The last five bytes are missing, the header promises them."""
    HEADER_CUT = "header_cut"
    """Three bytes."""
    EMPTY = "empty"
    LENGTH_ZERO = "length_zero"
    LENGTH_SHORT = "length_short"
    """The header says four bytes less than there are."""
    LENGTH_LONG = "length_long"
    """The header says twenty bytes more than there are."""
    UNKNOWN_CODE = "unknown_code"
    STACKED = "stacked"
    """One message: the packet, one of an unknown code, the packet."""
    STACKED_CUT = "stacked_cut"
    """One message: the packet twice, then seven bytes of a third."""
    OVERSIZED = "oversized"
    """One message of more than 64 KiB: the packet again and again."""
    TEXT = "text"
    """A text frame."""
    DUPLICATE = "duplicate"
    """The current packet again."""
    OLDER = "older"
    """A last price `factor` (default 1.01) times the truth, traded a minute before the newest trade."""
    UNLISTED = "unlisted"
    """An id that no master lists."""
    UNASKED = "unasked"
    """A true packet of a listed instrument that this connection has not subscribed."""
    WRONG_SEGMENT = "wrong_segment"
    """The same id in another segment: ids are unique only inside one."""
    BAD_SEGMENT = "bad_segment"
    """A segment code that no document names."""


PRICES: Final[dict[Shape, Callable[[float], float]]] = {
    Shape.NAN: lambda _last: float("nan"),
    Shape.PLUS_INF: lambda _last: float("inf"),
    Shape.MINUS_INF: lambda _last: float("-inf"),
    Shape.ZERO: lambda _last: 0.0,
    Shape.NEGATIVE: lambda last: -last,
    Shape.DENORMAL: lambda _last: 1e-45,
    Shape.HUGE: lambda _last: 3.4028234e38,
    Shape.OFF_TICK: lambda last: last + 0.0001 if last < 1_000 else last + 0.004,  # noqa: PLR2004  float32 has 7 digits
}
LAST_AT: Final = 8
DEPTH_AT: Final = 62
LEVEL_SIZE: Final = 20
PRICES_OF_LEVEL_AT: Final = 12
MORE_THAN_64_KIB: Final = 70_000
OLDER_BY_S: Final = 60
OTHER_SEGMENT: Final = {0: 1, 1: 4, 2: 8, 3: 7, 4: 1, 5: 2, 7: 3, 8: 2}
UNLISTED_BIT: Final = 0x4000_0000


def frame(shape: Shape, packet: bytes, *, with_book: bool = False) -> bytes:
    """The WebSocket frame that carries the spoilt packet. For OLDER and UNASKED spoil the book, with `older`."""
    if shape in PRICES:
        return message(_with_price(shape, packet, with_book=with_book))
    payloads = {
        Shape.STACKED: packet + _unknown(packet) + packet,
        Shape.STACKED_CUT: packet * 2 + packet[:7],
        Shape.OVERSIZED: packet * (MORE_THAN_64_KIB // len(packet) + 1),
        Shape.UNKNOWN_CODE: _unknown(packet),
        Shape.EMPTY: b"",
        Shape.HEADER_CUT: packet[:3],
        Shape.TRUNCATED: packet[:-5],
    }
    if shape is Shape.TEXT:
        return message(b'{"status":"failed"}', TEXT_FRAME)
    return message(payloads[shape] if shape in payloads else _with_header(shape, packet))


def _with_header(shape: Shape, packet: bytes) -> bytes:
    code, length, segment, security_id = struct.unpack_from("<BHBI", packet)
    match shape:
        case Shape.LENGTH_ZERO:
            length = 0
        case Shape.LENGTH_SHORT:
            length -= 4
        case Shape.LENGTH_LONG:
            length += 20
        case Shape.UNLISTED:
            security_id |= UNLISTED_BIT
        case Shape.WRONG_SEGMENT:
            segment = OTHER_SEGMENT[segment]
        case Shape.BAD_SEGMENT:
            segment = 77
        case _:
            return packet
    return struct.pack("<BHBI", code, length, segment, security_id) + packet[8:]


def _with_price(shape: Shape, packet: bytes, *, with_book: bool) -> bytes:
    spoilt = bytearray(packet)
    places = [LAST_AT]
    if with_book and packet[0] == FULL_CODE:
        places += [DEPTH_AT + LEVEL_SIZE * n + PRICES_OF_LEVEL_AT + side for n in range(5) for side in (0, 4)]
    for place in places:
        (price,) = struct.unpack_from("<f", packet, place)
        struct.pack_into("<f", spoilt, place, PRICES[shape](price))
    return bytes(spoilt)


def _unknown(packet: bytes) -> bytes:
    return struct.pack(
        "<BHBI4s", feed_encoding.UNKNOWN_CODE, 12, packet[3], *struct.unpack_from("<I", packet, 4), b"????"
    )


def freak(book: Book, factor: float, *, with_book: bool) -> Book:
    """A copy whose last price, and on request whose depth, is `factor` times the truth."""
    if not with_book:
        return replace(book, last=round(book.last * factor))
    return scaled(book, factor)


def scaled(book: Book, factor: float) -> Book:
    """A copy with every price of the moment times `factor`."""
    sides = [
        [Level(round(level.price * factor), level.size, level.orders) for level in levels]
        for levels in (book.bids, book.asks)
    ]
    return replace(book, last=round(book.last * factor), bids=sides[0], asks=sides[1])


def older(book: Book, factor: float) -> Book:
    """A copy as of a minute before the newest trade."""
    return replace(book, last=round(book.last * factor), traded_at_s=max(book.traded_at_s - OLDER_BY_S, 1))
