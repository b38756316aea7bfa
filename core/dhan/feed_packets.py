"""Binary packets of the market feed ⇄ facts: the tick path (dhan_v2_protocol 2.4 to 2.8).

Little-endian, packed. Every packet starts with 8 bytes: u8 code, u16 length of the whole packet, u8 segment, u32
security id. Prices are float32 rupees, times are the IST wall clock written as if it were UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final

from core.dhan.packet_facts import (
    LEAST_RUPEES,
    MOST_RUPEES,
    DayFigures,
    Disconnect,
    FullPacket,
    Level,
    MarketStatus,
    OpenInterest,
    Packet,
    PreviousClose,
    PricePacket,
    QuotePacket,
    Ticker,
    price_of,
)
from core.model.market import Quote, QuoteSource
from core.model.session_time import IST_OFFSET_S

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.model.money import Paise

__all__ = [
    "DayFigures",
    "DecodeCounts",
    "Disconnect",
    "FullPacket",
    "Level",
    "MarketStatus",
    "OpenInterest",
    "Packet",
    "PreviousClose",
    "PricePacket",
    "QuotePacket",
    "Ticker",
    "decode_message",
    "decode_single",
    "to_quote",
]

TICKER: Final = 2
QUOTE: Final = 4
OPEN_INTEREST: Final = 5
PREVIOUS_CLOSE: Final = 6
MARKET_STATUS: Final = 7
FULL: Final = 8
DISCONNECT: Final = 50

HEADER_SIZE: Final = 8
TICKER_SIZE: Final = 16
QUOTE_SIZE: Final = 50
FULL_SIZE: Final = 162
SIZE_OF_CODE: Final[dict[int, int]] = {
    TICKER: TICKER_SIZE,
    QUOTE: QUOTE_SIZE,
    OPEN_INTEREST: 12,
    PREVIOUS_CLOSE: 16,
    MARKET_STATUS: HEADER_SIZE,
    FULL: FULL_SIZE,
    DISCONNECT: 10,
}

_HEADER: Final = Struct("<BHBI")
_TICKER: Final = Struct("<3xBIfI")
_QUOTE: Final = Struct("<3xBIf2xI")
_FULL: Final = Struct("<3xBIf2xI44xII4xff")
_OPEN_INTEREST: Final = Struct("<I")
_PREVIOUS_CLOSE: Final = Struct("<fI")
_DISCONNECT: Final = Struct("<H")


# A NamedTuple's own constructor is one more Python call, about 80 ns of each tick.
_new: Final = tuple.__new__
_FEED: Final = QuoteSource.FEED

_FIRST_REAL_TIME: Final = 946_684_800
"""1 January 2000. A contract that never traded carries 0 or a day in 1980."""


@dataclass(slots=True)
class DecodeCounts:
    """What the decoder met since the start.

    `bad_prices`: negative, not finite or absurd, as last price or on a side of the book that has size; a zero says nothing.
    """

    packets: int = 0
    unknown: int = 0
    corrupt: int = 0
    bad_prices: int = 0


def decode_single(message: bytes, counts: DecodeCounts) -> PricePacket | None:
    """Decode a message that is exactly one Ticker, Quote or Full packet; None for any other message.

    The usual case without a list and a loop. After None, call `decode_message`: nothing has been counted.
    """
    size = len(message)
    if size == FULL_SIZE:
        if message[:3] == b"\x08\xa2\x00":
            counts.packets += 1
            return _full(message, counts)
    elif size == TICKER_SIZE:
        if message[:3] == b"\x02\x10\x00":
            counts.packets += 1
            return _ticker(message, counts)
    elif size == QUOTE_SIZE and message[:3] == b"\x04\x32\x00":
        counts.packets += 1
        return _quote(message, counts)
    return None


def decode_message(message: bytes, counts: DecodeCounts) -> list[Packet]:
    """Decode one WebSocket message of one or more packets. Never raises.

    An unknown code is stepped over by its length. After a length that cannot be true the rest of the message is
    dropped: where the next packet starts is no longer known. A packet longer than its layout is read as far as known.
    """
    packets: list[Packet] = []
    at, end = 0, len(message)
    while at < end:
        if end - at < HEADER_SIZE:
            counts.corrupt += 1
            break
        code, length, segment, security_id = _HEADER.unpack_from(message, at)
        if length < SIZE_OF_CODE.get(code, HEADER_SIZE) or length > end - at:
            counts.corrupt += 1
            break
        if code in SIZE_OF_CODE:
            counts.packets += 1
            packets.append(_packet(code, segment << 32 | security_id, message[at : at + length], counts))
        else:
            counts.unknown += 1
        at += length
    return packets


def to_quote(packet: PricePacket, key: InstrumentKey, received_ns: int) -> Quote | None:
    """The packet as a quote of `key`; None when it carries no valid last price. `received_ns` is monotonic."""
    last = packet.last
    if last is None:
        return None
    if isinstance(packet, FullPacket):
        _, _, trade_time, bid, ask, bid_size, ask_size, _ = packet
        return _new(Quote, (key, last, bid, ask, bid_size, ask_size, trade_time, received_ns, _FEED))
    return _new(Quote, (key, last, None, None, 0, 0, packet.trade_time, received_ns, _FEED))


def _packet(code: int, identity: int, raw: bytes, counts: DecodeCounts) -> Packet:
    match code:
        case 2:
            return _ticker(raw, counts)
        case 4:
            return _quote(raw, counts)
        case 8:
            return _full(raw, counts)
        case 5:
            return OpenInterest(identity, *_OPEN_INTEREST.unpack_from(raw, HEADER_SIZE))
        case 6:
            close, interest = _PREVIOUS_CLOSE.unpack_from(raw, HEADER_SIZE)
            return PreviousClose(identity, _counted_price(close, counts), interest)
        case 7:
            return MarketStatus(identity)
        case _:
            return Disconnect(identity, *_DISCONNECT.unpack_from(raw, HEADER_SIZE))


def _ticker(raw: bytes, counts: DecodeCounts) -> Ticker:
    segment, security_id, rupees, time = _TICKER.unpack_from(raw)
    return _new(
        Ticker,
        (
            segment << 32 | security_id,
            round(rupees * 100) if LEAST_RUPEES < rupees <= MOST_RUPEES else _counted_price(rupees, counts),
            time - IST_OFFSET_S if time >= _FIRST_REAL_TIME else None,
        ),
    )


def _quote(raw: bytes, counts: DecodeCounts) -> QuotePacket:
    segment, security_id, rupees, time = _QUOTE.unpack_from(raw)
    return _new(
        QuotePacket,
        (
            segment << 32 | security_id,
            round(rupees * 100) if LEAST_RUPEES < rupees <= MOST_RUPEES else _counted_price(rupees, counts),
            time - IST_OFFSET_S if time >= _FIRST_REAL_TIME else None,
            raw,
        ),
    )


def _full(raw: bytes, counts: DecodeCounts) -> FullPacket:
    segment, security_id, rupees, time, bid_size, ask_size, bid, ask = _FULL.unpack_from(raw)
    has_bid = bid_size and LEAST_RUPEES < bid <= MOST_RUPEES
    has_ask = ask_size and LEAST_RUPEES < ask <= MOST_RUPEES
    return _new(
        FullPacket,
        (
            segment << 32 | security_id,
            round(rupees * 100) if LEAST_RUPEES < rupees <= MOST_RUPEES else _counted_price(rupees, counts),
            time - IST_OFFSET_S if time >= _FIRST_REAL_TIME else None,
            round(bid * 100) if has_bid else _no_side(bid_size, bid, counts),
            round(ask * 100) if has_ask else _no_side(ask_size, ask, counts),
            bid_size if has_bid else 0,
            ask_size if has_ask else 0,
            raw,
        ),
    )


def _no_side(size: int, rupees: float, counts: DecodeCounts) -> Paise | None:
    """A side of the book whose price is none: with size behind it that is counted, an empty side is not."""
    return _counted_price(rupees, counts) if size else None


def _counted_price(rupees: float, counts: DecodeCounts) -> Paise | None:
    price = price_of(rupees)
    if price is None and rupees != 0.0:
        counts.bad_prices += 1
    return price
