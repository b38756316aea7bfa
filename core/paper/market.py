"""The market as it stands: one displayed book per instrument, and who is told when it changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.model.instrument import InstrumentKey, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.model.money import Paise
    from core.paper.instruments import Instruments

LEVELS = 5
DEFAULT_LOTS = 20
"""Size shown on a side when a recording or a script names none, in lots."""


@dataclass(slots=True)
class Level:
    """One price of the displayed book; what our own orders take is gone until the next market update."""

    price: Paise
    size: int
    orders: int = 1


@dataclass(slots=True)
class Book:
    """Prices in paise, sizes in units. `last` 0 means never traded; `traded_at_s` is UTC seconds of the last trade.

    `bids` best first, `asks` best first; an empty list is an empty side. `turnover` in paise x units.
    """

    key: InstrumentKey
    last: Paise = 0
    last_size: int = 0
    traded_at_s: int = 0
    bids: list[Level] = field(default_factory=list)
    asks: list[Level] = field(default_factory=list)
    volume: int = 0
    turnover: int = 0
    open_interest: int = 0
    day_open: Paise = 0
    high: Paise = 0
    low: Paise = 0
    previous_close: Paise = 0
    previous_open_interest: int = 0

    @property
    def average(self) -> Paise:
        return self.turnover // self.volume if self.volume else self.last

    def trade(self, price: Paise, size: int, at_s: int) -> None:
        self.last, self.last_size, self.traded_at_s = price, size, at_s
        self.volume += size
        self.turnover += price * size
        self.day_open = self.day_open or price
        self.high = max(self.high, price)
        self.low = min(self.low or price, price)


@dataclass(frozen=True, slots=True)
class MarketData:
    """One update. `last` None leaves the last trade as it is (only the depth moved). Prices in paise, sizes in units."""

    key: InstrumentKey
    last: Paise | None
    bids: tuple[tuple[Paise, int], ...]
    asks: tuple[tuple[Paise, int], ...]
    traded_at_s: int
    volume: int | None = None
    open_interest: int | None = None
    last_size: int = 0


class Market:
    """Owns every book. Listeners are called in the order they were added, synchronously, for every update.

    A listener's second argument is true when each update must reach the client (a script, a recording) and false when
    an older one may be skipped for a slow client (the price model).
    """

    def __init__(self, instruments: Instruments, now_s: Callable[[], int]) -> None:
        self._books: dict[InstrumentKey, Book] = {}
        self._listeners: list[Callable[[Book, bool], None]] = []
        self.instruments = instruments
        self._now_s = now_s
        self.scripted: set[InstrumentKey] = set()
        self.refresh: Callable[[InstrumentKey], None] = lambda _key: None
        """Asks the price model for a current book of an instrument nobody watches."""
        self.change: Callable[[MarketData], MarketData | None] = lambda data: data
        """What an injected fault makes of an update; None is no update at all."""
        self._newest: dict[InstrumentKey, MarketData] = {}
        self._withheld: set[InstrumentKey] = set()
        for listing in instruments:
            self._books[listing.instrument.key] = Book(listing.instrument.key, previous_close=listing.open_price)

    def add_listener(self, listener: Callable[[Book, bool], None]) -> None:
        self._listeners.append(listener)

    def book(self, key: InstrumentKey) -> Book:
        return self._books[key]

    def apply(self, data: MarketData, *, every: bool) -> None:
        """Put the update into the book and tell the listeners."""
        book = self._books.get(data.key)
        if book is None or not self.set_silently(data):
            return
        for listener in self._listeners:
            listener(book, every)

    def set_silently(self, data: MarketData) -> bool:
        """Put the update into the book; False when a halt keeps it out."""
        self._newest[data.key] = data
        changed = self.change(data)
        if changed is None:
            self._withheld.add(data.key)
            return False
        self._fill(self._books[data.key], changed)
        return True

    @staticmethod
    def _fill(book: Book, data: MarketData) -> None:
        book.bids = [Level(price, size, 1 + size // 500) for price, size in data.bids[:LEVELS]]
        book.asks = [Level(price, size, 1 + size // 500) for price, size in data.asks[:LEVELS]]
        if data.last is not None:
            grown = data.last_size if data.volume is None else max(data.volume - book.volume, 0)
            book.trade(data.last, grown, data.traded_at_s)
        if data.open_interest is not None:
            book.previous_open_interest = book.previous_open_interest or data.open_interest
            book.open_interest = data.open_interest

    def show_again(self) -> None:
        """Put the newest depth of every book in place again and send what that changed: a fault began or ended."""
        for data in tuple(self._newest.values()):
            book = self._books[data.key]
            before = (book.bids, book.asks)
            is_new = data.key in self._withheld
            changed = self.change(data if is_new else replace(data, last=None))
            if changed is None:
                continue
            self._withheld.discard(data.key)
            self._fill(book, changed)
            if is_new or before != (book.bids, book.asks):
                for listener in self._listeners:
                    listener(book, True)  # noqa: FBT003  listeners are called by position

    def keys_of(self, security_id: str | None) -> list[InstrumentKey]:
        """The instruments with this id in any segment; all of them for None."""
        return [key for key in self._books if security_id is None or str(key.security_id) == security_id]

    def push(self, data: MarketData) -> None:
        """A scripted update: it takes the instrument from the price model until `release`."""
        self.scripted.add(data.key)
        self.apply(data, every=True)

    def set_quote(
        self,
        segment: str,
        security_id: int,
        last: Paise | None,
        bid: Paise | None = None,
        ask: Paise | None = None,
        *,
        bid_size: int | None = None,
        ask_size: int | None = None,
    ) -> None:
        """Set a book directly and send it. Prices in paise; `bid` or `ask` None empties that side; sizes in units.

        The instrument leaves the price model until `release`. Raises KeyError for an unlisted instrument.
        """
        key = InstrumentKey(Segment(segment), security_id)
        default = self.instruments.by_key[key].instrument.lot * DEFAULT_LOTS
        bids = () if bid is None else ((bid, default if bid_size is None else bid_size),)
        asks = () if ask is None else ((ask, default if ask_size is None else ask_size),)
        self.push(MarketData(key, last, bids, asks, self._now_s()))

    def release(self, keys: Iterable[InstrumentKey] | None = None) -> None:
        """Give scripted instruments back to the price model; all of them by default."""
        self.scripted.difference_update(tuple(self.scripted) if keys is None else tuple(keys))

    def quote(self, key: InstrumentKey) -> Book:
        """The book as a snapshot request sees it: refreshed from the model where nobody is watching."""
        if key not in self.scripted:
            self.refresh(key)
        return self._books[key]
