"""Exchange segments on the wire, and the one-integer identity of an instrument on the feed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.instrument import Segment

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey

WIRE_CODE: Final[dict[Segment, int]] = {
    Segment.IDX_I: 0,
    Segment.NSE_EQ: 1,
    Segment.NSE_FNO: 2,
    Segment.NSE_CURRENCY: 3,
    Segment.BSE_EQ: 4,
    Segment.MCX_COMM: 5,
    Segment.BSE_CURRENCY: 7,
    Segment.BSE_FNO: 8,
}
"""dhan_v2_protocol 2.11. Code 6 is not used."""

FOREIGN_SEGMENTS: Final = frozenset({"NSE_COMM", "INX_EQ"})
"""Segments Dhan names and this program never trades: their rows are left out, they hold nothing of ours."""

SEGMENT_OF_EXCHANGE: Final[dict[tuple[str, str], Segment]] = {
    ("NSE", "I"): Segment.IDX_I,
    ("BSE", "I"): Segment.IDX_I,
    ("NSE", "E"): Segment.NSE_EQ,
    ("NSE", "D"): Segment.NSE_FNO,
    ("NSE", "C"): Segment.NSE_CURRENCY,
    ("BSE", "E"): Segment.BSE_EQ,
    ("BSE", "D"): Segment.BSE_FNO,
    ("BSE", "C"): Segment.BSE_CURRENCY,
    ("MCX", "M"): Segment.MCX_COMM,
}
"""(exchange, segment letter) of the instrument master and of order updates (dhan_v2_protocol 4.2, 7.2)."""


def feed_id(segment_code: int, security_id: int) -> int:
    """Segment code and security id as one integer: hashing it on every tick is cheaper than a tuple."""
    return segment_code << 32 | security_id


def feed_id_of(key: InstrumentKey) -> int:
    return WIRE_CODE[key.segment] << 32 | key.security_id
