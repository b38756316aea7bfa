"""What the market showed of one instrument, and what of it is believed (exit_rules 1 and 2). Imports nothing of the monitor.

Money is integer paise, time is milliseconds. How the design is read where it leaves a choice:
- "Previous mark": of the newest quote that said something else. A repeated packet replaces nothing.
- A trade time older than the newest one of the instrument, and a price beyond 100 times the mark, are no news; when nothing else
  has come for two seconds they are taken after all. A price below one tick never is. The first quote is taken as it is.
- Spread: per cent of the middle of the book; a locked book (bid = ask) has two sides, a crossed one has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

TICK = 5
INDEX_TICK = 1
JUMP_MS = 1_000
GIVE_IN_MS = 2_000
STALE_MS = 5_000
ABSURD = 100


class Shown(NamedTuple):
    """One quote. A side that is not there is None. `traded_s`: the second of the last trade, None when not told."""

    at_ms: int
    key: str
    last: int
    bid: int | None
    ask: int | None
    bid_size: int = 75
    ask_size: int = 75
    traded_s: int | None = None


class Seen(NamedTuple):
    """A quote that was taken, with what is believed of it: `is_clean` may fire at once, `has_book` is two-sided."""

    shown: Shown
    mark: int
    is_clean: bool
    has_book: bool

    @property
    def trade(self) -> tuple[int, int | None]:
        return self.shown.last, self.shown.traded_s


def has_book(shown: Shown) -> bool:
    return shown.bid is not None and shown.ask is not None and shown.bid <= shown.ask


def mark_of(shown: Shown) -> int:
    """The last price, clamped into a book of two sides."""
    if shown.bid is None or shown.ask is None or shown.bid > shown.ask:
        return shown.last
    return sorted((shown.bid, shown.last, shown.ask))[1]


def is_worth_next_to_nothing(shown: Shown, tick: int) -> bool:
    """Nobody bids, and it is to be had for five ticks or less: the price is between 0 and that."""
    return shown.bid is None and shown.ask is not None and shown.ask <= 5 * tick


def looks_clean(shown: Shown, before: Shown | None, tick: int = TICK) -> bool:
    """exit_rules 2, first paragraph. `before` is the newest quote that said something else."""
    bid = 0 if is_worth_next_to_nothing(shown, tick) else shown.bid
    if bid is None or shown.ask is None or bid > shown.ask:
        return False
    if shown.last % tick or bid % tick or shown.ask % tick:
        return False
    if shown.ask - bid > 5 * tick and 10 * (shown.ask - bid) > Fraction(bid + shown.ask, 2):
        return False
    if not bid - tick <= shown.last <= shown.ask + tick:
        return False
    if before is None or shown.at_ms - before.at_ms >= JUMP_MS:
        return True
    return 5 * abs(mark_of(shown) - mark_of(before)) < mark_of(before)


@dataclass(slots=True)
class Tape:
    """All quotes of one instrument, in the order of their receipt."""

    newest: Seen | None = None
    other: Shown | None = None
    newest_trade_s: int = 0
    refused_ms: int | None = None

    def take(self, shown: Shown, tick: int = TICK) -> Seen | None:
        """The quote with what is believed of it; None when it is dropped."""
        if shown.last < tick:
            return None
        is_late = shown.traded_s is not None and shown.traded_s < self.newest_trade_s
        if is_late or self._is_absurd(shown):
            if self.refused_ms is None:
                self.refused_ms = shown.at_ms
            if self.newest is not None and shown.at_ms - self.refused_ms < GIVE_IN_MS:
                return None
            self.newest_trade_s = 0
        self.refused_ms = None
        if shown.traded_s is not None:
            self.newest_trade_s = shown.traded_s
        if self.newest is not None and self.newest.shown[1:] != shown[1:]:
            self.other = self.newest.shown
        self.newest = Seen(shown, mark_of(shown), looks_clean(shown, self.other, tick), has_book(shown))
        return self.newest

    def _is_absurd(self, shown: Shown) -> bool:
        return self.newest is not None and max(shown.last, mark_of(shown)) > ABSURD * self.newest.mark


@dataclass(slots=True)
class Market:
    """The newest quote of every instrument, and what is known of the session and the feed.

    A doubted price fires nothing until a quote comes that was received later. While no feed delivers, a price is stale when
    both its receipt and the end of the feed are more than five seconds ago. `held`: from when until when what is received may
    have waited in a buffer (our own standstill): suspect, and no witness.
    """

    tapes: dict[str, Tape] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    doubted_ms: dict[str, int] = field(default_factory=dict)
    session_open: bool | None = None
    down_ms: int | None = None
    held: tuple[int, int] = (0, 0)
    judged: Mapping[Shown, Seen | None] = field(default_factory=dict)
    """Quotes that were judged before: of a recorded day it is the same for all books."""

    def take(self, shown: Shown) -> Seen | None:
        if shown in self.judged:
            seen = self.judged[shown]
        else:
            tick = INDEX_TICK if shown.key.startswith("IDX") else TICK
            seen = self.tapes.setdefault(shown.key, Tape()).take(shown, tick)
        if seen is not None:
            self.seen[shown.key] = seen
        return seen

    def is_stale(self, seen: Seen, now_ms: int) -> bool:
        at_ms = seen.shown.at_ms
        if at_ms <= self.doubted_ms.get(seen.shown.key, -1):
            return True
        return self.down_ms is not None and now_ms - max(at_ms, self.down_ms) > STALE_MS

    def is_held(self, seen: Seen) -> bool:
        return self.held[0] <= seen.shown.at_ms < self.held[1]
