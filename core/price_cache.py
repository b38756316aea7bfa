"""Newest price of each watched instrument, in memory. `take` is the one function of it on the tick path.

Newest by receipt: whether a quote is to be believed is judged once, in `position_cache_manager`. Every quote is handed on
by its caller at once; nothing waits here and nothing grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.dhan.feed_packets import FullPacket, QuotePacket, Ticker, to_quote
from core.dhan.segments import feed_id_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from core.dhan.feed_packets import Packet
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote

_PRICED: Final = (FullPacket, Ticker, QuotePacket)


@dataclass(slots=True)
class PriceCounts:
    """`unwatched`: packets and quotes of instruments nobody asked for."""

    taken: int = 0
    unwatched: int = 0


class PriceSlot:
    """One instrument. `quote` is None before the first price."""

    __slots__ = ("key", "quote")

    def __init__(self, key: InstrumentKey) -> None:
        self.key = key
        self.quote: Quote | None = None


class PriceCache:
    def __init__(self) -> None:
        self._slots: dict[int, PriceSlot] = {}
        self.counts = PriceCounts()

    def watch(self, keys: Collection[InstrumentKey]) -> None:
        """Keep exactly these instruments. The prices of those that stay are kept."""
        wanted = {feed_id_of(key): key for key in keys}
        for feed_id in self._slots.keys() - wanted.keys():
            del self._slots[feed_id]
        for feed_id, key in wanted.items():
            if feed_id not in self._slots:
                self._slots[feed_id] = PriceSlot(key)

    def take(self, packet: Packet, received_ns: int) -> Quote | None:
        """Store a feed packet; return the quote it makes, None when it makes none. `received_ns` is monotonic."""
        slot = self._slots.get(packet[0])
        if slot is None:
            self.counts.unwatched += 1
            return None
        if not isinstance(packet, _PRICED):
            return None
        quote = to_quote(packet, slot.key, received_ns)
        if quote is not None:
            slot.quote = quote
            self.counts.taken += 1
        return quote

    def put(self, quote: Quote) -> Quote | None:
        """Store a quote from REST; None when nobody watches its instrument."""
        slot = self._slots.get(feed_id_of(quote.key))
        if slot is None:
            self.counts.unwatched += 1
            return None
        slot.quote = quote
        self.counts.taken += 1
        return quote

    def quote(self, key: InstrumentKey) -> Quote | None:
        slot = self._slots.get(feed_id_of(key))
        return None if slot is None else slot.quote

    def older_than(self, keys: Iterable[InstrumentKey], limit_ns: int, now_ns: int) -> tuple[InstrumentKey, ...]:
        """The keys without a price of at most this age, those without any first, then the oldest first."""
        found: list[tuple[int, InstrumentKey]] = []
        for key in keys:
            quote = self.quote(key)
            if quote is None:
                found.append((-1, key))
            elif now_ns - quote.received_ns > limit_ns:
                found.append((quote.received_ns, key))
        return tuple(key for _, key in sorted(found))
