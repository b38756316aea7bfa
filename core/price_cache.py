"""Newest price of each watched instrument, in memory. `take` is the one function of it on the tick path.

Newest by receipt: whether a quote is to be believed is judged once, in `position_cache_manager`. Every quote is handed on
by its caller at once; nothing waits here and nothing grows. What the feed itself has brought is kept beside it, so that
`exits.price_trust` can tell a feed that is silent on an instrument from an instrument that is quiet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.dhan.feed_packets import FullPacket, QuotePacket, Ticker, to_quote
from core.dhan.segments import feed_id_of
from core.model.errors import BugError
from core.model.market import QuoteSource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from core.dhan.feed_packets import Packet
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote

_PRICED: Final = (FullPacket, Ticker, QuotePacket)


@dataclass(slots=True)
class PriceCounts:
    """`unwatched`: packets and quotes of instruments nobody asked for. `late`: REST quotes overtaken by a newer one.

    `held_back`: feed packets older than what REST has shown of an instrument on which the feed is late.
    """

    taken: int = 0
    unwatched: int = 0
    late: int = 0
    held_back: int = 0


class PriceSlot:
    """One instrument. `quote` is the newest by receipt, `feed` the newest from the feed; None before the first.

    While `not_before` (UTC seconds as the feed tells them) is not 0 and the time is before `until_ns` (monotonic), a feed
    packet with an older trade time does not become `quote`.
    """

    __slots__ = ("feed", "key", "not_before", "quote", "until_ns")

    def __init__(self, key: InstrumentKey) -> None:
        self.key = key
        self.quote: Quote | None = None
        self.feed: Quote | None = None
        self.not_before = 0
        self.until_ns = 0

    def holds_back(self, quote: Quote) -> bool:
        return (
            quote.exchange_time is not None
            and quote.exchange_time < self.not_before
            and quote.received_ns < self.until_ns
        )


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
        """Store a feed packet; return the quote it makes for the engine. `received_ns` is monotonic.

        None when it makes none, or when the quote is held back: `feed_quote` has it then.
        """
        slot = self._slots.get(packet[0])
        if slot is None:
            self.counts.unwatched += 1
            return None
        if not isinstance(packet, _PRICED):
            return None
        quote = to_quote(packet, slot.key, received_ns)
        if quote is not None:
            slot.feed = quote
            if slot.not_before and slot.holds_back(quote):
                self.counts.held_back += 1
                return None
            slot.quote = quote
            self.counts.taken += 1
        return quote

    def put(self, quote: Quote) -> Quote | None:
        """Store a quote from REST; None when nobody watches its instrument or a newer one has been received meanwhile.

        Raises:
            BugError: a quote kept by another run. It must never be taken for what the market says now.
        """
        if quote.source is QuoteSource.CACHE:
            raise BugError(f"expected a price of the market for {quote.key}, received a saved one")
        slot = self._slots.get(feed_id_of(quote.key))
        if slot is None:
            self.counts.unwatched += 1
            return None
        if slot.quote is not None and slot.quote.received_ns > quote.received_ns:
            self.counts.late += 1
            return None
        slot.quote = quote
        self.counts.taken += 1
        return quote

    def hold_back(self, key: InstrumentKey, not_before: int, until_ns: int) -> None:
        """Keep feed packets with a trade time before `not_before` out until `until_ns` (monotonic), or `release`."""
        slot = self._slots.get(feed_id_of(key))
        if slot is not None:
            slot.not_before, slot.until_ns = not_before, until_ns

    def release(self, key: InstrumentKey) -> None:
        slot = self._slots.get(feed_id_of(key))
        if slot is not None:
            slot.not_before = 0

    def feed_quote(self, key: InstrumentKey) -> Quote | None:
        """The newest quote that the feed has brought, held back or not."""
        slot = self._slots.get(feed_id_of(key))
        return None if slot is None else slot.feed

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
