"""What the market says of one instrument: the newest quote and its age."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.model.money import Paise


class QuoteSource(StrEnum):
    """CACHE: kept by another run or program. It is shown, and it fires no price rule and prices no order."""

    FEED = "feed"
    REST = "rest"
    CACHE = "cache"


class Quote(NamedTuple):
    """One update of one instrument. A NamedTuple, not a dataclass: one is built per tick.

    Prices in paise per unit, sizes in units. `bid` and `ask` are None when that side is empty or not delivered; `last`
    is the last traded price, always positive (a wire price that is not is dropped before a Quote exists).
    `exchange_time` is UTC whole seconds of the last trade, None when the exchange gave none. `received_ns` is
    the monotonic clock at receipt: ages are measured with it, never with the exchange's time.
    """

    key: InstrumentKey
    last: Paise
    bid: Paise | None
    ask: Paise | None
    bid_size: int
    ask_size: int
    exchange_time: int | None
    received_ns: int
    source: QuoteSource = QuoteSource.FEED

    @property
    def is_two_sided(self) -> bool:
        return self.bid is not None and self.ask is not None


def mark_of(last: Paise, bid: Paise | None, ask: Paise | None) -> Paise:
    """Last price clamped into a two-sided book; the last price where the book is one-sided or crossed.

    A freak print outside the book and a last price that is hours old both become harmless (exit_rules 1). Triggers use
    the mark; order prices use the executable side.
    """
    if bid is None or ask is None or bid > ask:
        return last
    if last < bid:
        return bid
    if last > ask:
        return ask
    return last
