"""What the market feed's packets say: one fact for each kind (dhan_v2_protocol 2.4).

NamedTuples, not dataclasses: one is built for every tick. `feed_id` is segment code and security id in one integer
(`segments.feed_id`). What only displays and records want stays undecoded bytes until somebody asks.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from core.model.money import MAX_PRICE_PAISE, PAISE_PER_RUPEE

if TYPE_CHECKING:
    from core.model.money import Paise

LEAST_RUPEES: Final = 0.005
"""What rounds to no paisa is no price."""
MOST_RUPEES: Final = MAX_PRICE_PAISE / PAISE_PER_RUPEE

_DAY: Final = Struct("<fIII")
_PRICES: Final = Struct("<ffff")
_OPEN_INTEREST: Final = Struct("<I")
_LEVEL: Final = Struct("<IIHHff")
_DAY_AT: Final = 18
_QUOTE_PRICES_AT: Final = 34
_FULL_INTEREST_AT: Final = 34
_FULL_PRICES_AT: Final = 46
_FULL_DEPTH_AT: Final = 62


def price_of(rupees: float) -> Paise | None:
    """A float32 price in whole paise, never truncated; None when it is not positive, not finite or absurd."""
    return round(rupees * 100) if LEAST_RUPEES < rupees <= MOST_RUPEES else None


class DayFigures(NamedTuple):
    """The slow part of a Quote or Full packet. Prices in paise, None when there is none; quantities in units.

    `previous_close` is what the wire calls close (dhan_v2_protocol 2.6).
    """

    average: Paise | None
    volume: int
    total_sell: int
    total_buy: int
    open: Paise | None
    previous_close: Paise | None
    high: Paise | None
    low: Paise | None


class Level(NamedTuple):
    """One row of the book. An empty side has price None and size 0."""

    bid: Paise | None
    ask: Paise | None
    bid_size: int
    ask_size: int
    bid_orders: int
    ask_orders: int


class Ticker(NamedTuple):
    """`last` in paise, None when the wire price is no price; `trade_time` UTC seconds, None when never traded."""

    feed_id: int
    last: Paise | None
    trade_time: int | None


class QuotePacket(NamedTuple):
    """A ticker with the day's figures, which are decoded when asked for. No book."""

    feed_id: int
    last: Paise | None
    trade_time: int | None
    raw: bytes

    @property
    def day(self) -> DayFigures:
        return _day_figures(self.raw, _QUOTE_PRICES_AT)


class FullPacket(NamedTuple):
    """A quote with the book. Best bid and ask are decoded at once (None: that side is empty), the rest when asked."""

    feed_id: int
    last: Paise | None
    trade_time: int | None
    bid: Paise | None
    ask: Paise | None
    bid_size: int
    ask_size: int
    raw: bytes

    @property
    def day(self) -> DayFigures:
        return _day_figures(self.raw, _FULL_PRICES_AT)

    @property
    def open_interest(self) -> int:
        interest: int = _OPEN_INTEREST.unpack_from(self.raw, _FULL_INTEREST_AT)[0]
        return interest

    @property
    def levels(self) -> tuple[Level, ...]:
        """The five rows of the book, best first."""
        return tuple(_level(self.raw, _FULL_DEPTH_AT + row * _LEVEL.size) for row in range(5))


class OpenInterest(NamedTuple):
    feed_id: int
    interest: int


class PreviousClose(NamedTuple):
    feed_id: int
    close: Paise | None
    interest: int


class MarketStatus(NamedTuple):
    """A header without content: Dhan documents no payload."""

    feed_id: int


class Disconnect(NamedTuple):
    """The server is about to close. `reason` is a code of dhan_v2_protocol 2.10."""

    feed_id: int
    reason: int


PricePacket: TypeAlias = Ticker | QuotePacket | FullPacket
Packet: TypeAlias = PricePacket | OpenInterest | PreviousClose | MarketStatus | Disconnect


def _day_figures(raw: bytes, prices_at: int) -> DayFigures:
    average, volume, total_sell, total_buy = _DAY.unpack_from(raw, _DAY_AT)
    prices = [price_of(rupees) for rupees in _PRICES.unpack_from(raw, prices_at)]
    return DayFigures(price_of(average), volume, total_sell, total_buy, *prices)


def _level(raw: bytes, at: int) -> Level:
    bid_size, ask_size, bid_orders, ask_orders, bid_rupees, ask_rupees = _LEVEL.unpack_from(raw, at)
    bid = price_of(bid_rupees) if bid_size else None
    ask = price_of(ask_rupees) if ask_size else None
    return Level(
        bid,
        ask,
        bid_size if bid is not None else 0,
        ask_size if ask is not None else 0,
        bid_orders,
        ask_orders,
    )
