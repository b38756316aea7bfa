"""Is it safe to act on this position's prices? One answer, consulted by every exit (exit_rules 1).

- A **price rule** needs all of it: the session known to be open, a price and an entry for every leg, every
  price believed, what closed shares have brought known.
- A **time rule** needs the session alone. A price that is missing delays no square-off.
- An **operator's exit** needs neither, and an exit that has begun is stopped by nothing here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from core.model.market import QuoteSource
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Collection

    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.position_cache_manager import BookedPosition

# Enum members cost a slow look-up on their class.
_CACHE: Final = QuoteSource.CACHE


class Hindrance(StrEnum):
    CLOSED = "the market is closed"
    UNKNOWN_SESSION = "whether the market is open is not known"
    NO_PRICE = "no price"
    NO_ENTRY = "the entry price is not known"
    NO_REALISED = "what a closed share of it has brought is not known"
    SAVED_PRICE = "only a saved price"
    STALE = "no fresh price"


class Reason(NamedTuple):
    """`key` is the leg's instrument, None for what concerns the session. `since_ns`: receipt of its newest quote, if any."""

    what: Hindrance
    key: InstrumentKey | None = None
    since_ns: int | None = None


class SafeToTrade(NamedTuple):
    """`is_safe`: price rules may fire. `is_session_open`: time rules may. `reasons` is empty when safe, session first."""

    is_safe: bool
    is_session_open: bool
    reasons: tuple[Reason, ...]


SAFE: Final = SafeToTrade(is_safe=True, is_session_open=True, reasons=())


def safe_to_trade(
    booked: BookedPosition, stale: Collection[InstrumentKey], *, session_open: bool | None
) -> SafeToTrade:
    """`stale`: the instruments whose price is not believed (`MarkTrust.stale_keys`)."""
    if session_open is True and booked.pnl is not None and not stale:
        return SAFE
    reasons: dict[Reason, None] = {}
    if session_open is not True:
        reasons[Reason(Hindrance.CLOSED if session_open is False else Hindrance.UNKNOWN_SESSION)] = None
    for leg, slot in zip(booked.position.legs, booked.slots, strict=True):
        quote = slot.quote
        if quote is None:
            reasons[Reason(Hindrance.NO_PRICE, slot.key)] = None
            continue
        if leg.entry is None:
            reasons[Reason(Hindrance.NO_ENTRY, slot.key, quote.received_ns)] = None
        if slot.key in stale:
            what = Hindrance.SAVED_PRICE if quote.source is _CACHE else Hindrance.STALE
            reasons[Reason(what, slot.key, quote.received_ns)] = None
    if booked.realised is None:
        reasons[Reason(Hindrance.NO_REALISED, booked.slots[0].key)] = None
    return SafeToTrade(is_safe=False, is_session_open=session_open is True, reasons=tuple(reasons))


class MarkTrust:
    """Which prices of one position are not believed: saved ones, doubted ones, and old ones while no feed is live.

    Each instrument's own silence is judged by `price_trust`, which tells its doubts; that the whole feed is down is counted here
    too, from the moment at which it went down: until then its life vouched for a quiet price.
    """

    __slots__ = ("_doubted", "_down_ns", "_stale_ns", "is_feed_live")

    def __init__(self, mark_stale_s: float, feed_down_ns: int | None = 0) -> None:
        """`feed_down_ns`: since when no feed is live (monotonic; 0: none was yet), None while one is."""
        self._stale_ns = int(mark_stale_s * NS_PER_S)
        self._doubted: dict[InstrumentKey, int] = {}
        self._down_ns = feed_down_ns or 0
        self.is_feed_live = feed_down_ns is None

    @property
    def feed_down_ns(self) -> int | None:
        """Since when no feed is live, monotonic; None while one is."""
        return None if self.is_feed_live else self._down_ns

    @property
    def has_doubts(self) -> bool:
        return bool(self._doubted)

    def feed(self, at_ns: int, *, is_live: bool) -> None:
        """Whether any price connection delivers data."""
        if self.is_feed_live and not is_live:
            self._down_ns = at_ns
        self.is_feed_live = is_live

    def doubt(self, key: InstrumentKey, at_ns: int) -> None:
        """Nothing shows that its price is true: it is stale until a quote comes that was received after `at_ns`."""
        self._doubted[key] = at_ns

    def stale_keys(self, booked: BookedPosition, at_ns: int) -> tuple[InstrumentKey, ...]:
        """Instruments whose price may fire no rule. One without any price is not among them: it has no mark at all."""
        return tuple(dict.fromkeys(slot.key for slot in booked.slots if self.is_stale(slot.quote, at_ns)))

    def is_stale(self, quote: Quote | None, at_ns: int) -> bool:
        """Whether this price, the newest of its instrument, may fire no rule. None is not stale: there is none."""
        if quote is None:
            return False
        if quote.source is _CACHE:
            return True
        if self._doubted:
            doubted_ns = self._doubted.get(quote.key)
            if doubted_ns is not None:
                if quote.received_ns <= doubted_ns:
                    return True
                del self._doubted[quote.key]
        return not self.is_feed_live and at_ns - max(quote.received_ns, self._down_ns) > self._stale_ns
