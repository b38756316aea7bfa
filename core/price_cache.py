"""Newest price of each watched instrument, in memory. `take` is the one function of it on the tick path.

Every accepted quote is handed on by its caller at once; nothing waits here and nothing grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.dhan.feed_packets import FullPacket, OpenInterest, PreviousClose, QuotePacket, Ticker, to_quote
from core.dhan.segments import feed_id_of
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from core.dhan.feed_packets import Packet
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise

_PRICED: Final = (FullPacket, Ticker, QuotePacket)

TIME_LIE_AFTER_NS: Final = 2 * NS_PER_S
"""For so long only older trade times have come: then the newest one was the wrong one, and the older are believed."""


@dataclass(slots=True)
class PriceCounts:
    """`unwatched`: packets of instruments nobody asked for. `out_of_order`: updates older than what was known."""

    taken: int = 0
    unwatched: int = 0
    out_of_order: int = 0


class PriceSlot:
    """One instrument. `previous_close` in paise and `open_interest` in units are None until delivered."""

    __slots__ = ("key", "older_since_ns", "open_interest", "previous_close", "quote")

    def __init__(self, key: InstrumentKey) -> None:
        self.key = key
        self.quote: Quote | None = None
        self.previous_close: Paise | None = None
        self.open_interest: int | None = None
        self.older_since_ns: int | None = None


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
        if isinstance(packet, _PRICED):
            quote = to_quote(packet, slot.key, received_ns)
            return None if quote is None else self._store(slot, quote)
        if isinstance(packet, OpenInterest):
            slot.open_interest = packet.interest
        elif isinstance(packet, PreviousClose):
            slot.previous_close = packet.close
        return None

    def put(self, quote: Quote) -> Quote | None:
        """Store a quote from REST; None when it is not watched or older than what is known."""
        slot = self._slots.get(feed_id_of(quote.key))
        if slot is None:
            self.counts.unwatched += 1
            return None
        return self._store(slot, quote)

    def _store(self, slot: PriceSlot, quote: Quote) -> Quote | None:
        known, time = slot.quote, quote.exchange_time
        # Written out, not called: this runs for every tick.
        if (
            known is not None
            and time is not None
            and known.exchange_time is not None
            and time < known.exchange_time
            and not _older_for_long(slot, quote.received_ns)
        ):
            self.counts.out_of_order += 1
            return None
        slot.older_since_ns = None
        slot.quote = quote
        self.counts.taken += 1
        return quote

    def slot(self, key: InstrumentKey) -> PriceSlot | None:
        return self._slots.get(feed_id_of(key))

    def quote(self, key: InstrumentKey) -> Quote | None:
        slot = self._slots.get(feed_id_of(key))
        return None if slot is None else slot.quote

    def age_ns(self, key: InstrumentKey, now_ns: int) -> int | None:
        """Nanoseconds since the newest price came; None while none has."""
        quote = self.quote(key)
        return None if quote is None else now_ns - quote.received_ns

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


def _older_for_long(slot: PriceSlot, now_ns: int) -> bool:
    if slot.older_since_ns is None:
        slot.older_since_ns = now_ns
    return now_ns - slot.older_since_ns >= TIME_LIE_AFTER_NS
