"""When a level of an underlying is reached: by a believed tick, or by the close of a candle. Imports nothing of the monitor.

Only indices, which have no book. How the readings are carried out:
- A quote is believed at once when it is less than 1 % away from the quote before, received less than a second earlier; a
  packet that repeats the one before is believed as that one. Any print is believed when it has stood for a second.
- A breach begins with the event that finds the mark at or beyond the level and ends when it is off it, or out of sight.
- A second print, another price or second of a trade, confirms a breach as long as both are beyond the level.
- The underlying is frozen when a leg of somebody who watches it has moved 120 s or more after it last changed itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time

from tests.oracle.book import SHARES, Underlying
from tests.oracle.judge import CONFIRM_MS, Judge, Signal
from tests.oracle.market import JUMP_MS, Market, Seen, Shown

STILL_MS = 120_000
LOOK_MS = 1_000
OPENING = time(9, 15)


@dataclass(slots=True)
class _Breach:
    since_ms: int
    first: tuple[int, int | None]
    is_second: bool = False


@dataclass(slots=True)
class Close:
    """`mark` None: the candle had no close. `looked_ms`: when it was looked at first, in a session known to be open."""

    end_ms: int
    mark: int | None
    looked_ms: int | None = None


@dataclass(slots=True)
class Eye:
    """One index. `watchers` are the positions with levels of it; they leave when they are over."""

    key: str
    market: Market
    watchers: list[Judge] = field(default_factory=list)
    newest: Shown | None = None
    is_clean: bool = False
    believed: tuple[int, int] | None = None
    """Mark, and receipt of the quote."""
    changed_ms: int = 0
    print_ms: int = 0
    is_frozen: bool = False
    breaches: dict[Underlying, _Breach] = field(default_factory=dict)
    closes: dict[int, Close] = field(default_factory=dict)
    """By minutes: how the last candle ended."""
    told_ms: int | None = None
    """When it was last asked by the clock: a candle may end while the monitor stands still."""

    def begin_again(self) -> None:
        self.newest, self.believed, self.is_clean, self.is_frozen = None, None, False, False
        self.breaches.clear()
        self.closes.clear()
        self.told_ms = None

    # Quotes

    def take(self, seen: Seen) -> None:
        shown, before = seen.shown, self.newest
        self._settle(shown.at_ms)
        self.newest = shown
        is_moved = before is None or before.last != shown.last
        is_new_print = is_moved or before.traded_s != shown.traded_s
        if is_moved:
            self.changed_ms, self.is_frozen = shown.at_ms, False
        if is_new_print:
            self.print_ms = shown.at_ms
            self.is_clean = before is not None and _is_near(shown, before) and not self.market.is_held(seen)
            is_believed = self.is_clean
        else:
            is_believed = self.believed is not None and before is not None and self.believed[1] == before.at_ms
        if is_believed:
            self.believed = shown.last, shown.at_ms

    def _settle(self, now_ms: int) -> None:
        """What has stood for a second is believed, whatever it was when it came."""
        if self.newest is not None and now_ms - self.print_ms >= CONFIRM_MS:
            self.believed = self.newest.last, self.newest.at_ms

    def note_leg(self, seen: Seen, before: Seen | None) -> None:
        """A quote of a leg of somebody who watches."""
        is_moved = before is not None and before.mark != seen.mark
        if is_moved and self.newest is not None and seen.shown.at_ms - self.changed_ms >= STILL_MS:
            self.is_frozen = True

    def sees(self, now_ms: int) -> bool:
        """Whether levels may be compared with it."""
        return self.market.session_open is True and self._is_shown(now_ms)

    def _is_shown(self, now_ms: int) -> bool:
        seen = self.market.seen.get(self.key)
        if self.newest is None or seen is None:
            return False
        return not self.market.is_stale(seen, now_ms) and not self.is_frozen

    def mark(self, now_ms: int) -> int | None:
        """For whoever computes with it: the newest mark, when it is seen and believed."""
        self._settle(now_ms)
        newest = self.newest
        if newest is None or self.believed != (newest.last, newest.at_ms) or not self.sees(now_ms):
            return None
        return newest.last

    # Levels

    def levels(self, minutes: int | None) -> Iterator[tuple[Judge, Underlying]]:
        for judge in self.watchers:
            for level in judge.position.levels.underlying:
                is_left = ("underlying_level", level) not in judge.done and SHARES.get(level.action, 100) > judge.gone
                if level.minutes == minutes and is_left and judge.has_a_say(level.action):
                    yield judge, level

    def by_tick(self, now_ms: int) -> Iterator[tuple[Judge, Signal]]:
        if self.newest is None or not self.sees(now_ms):
            self.breaches.clear()
            return
        shown, seen = self.newest, self.market.seen[self.key]
        is_held = self.market.is_held(seen)
        reached = [(judge, level) for judge, level in self.levels(None) if is_reached(level, shown.last)]
        for level in self.breaches.keys() - {level for _, level in reached}:
            del self.breaches[level]
        for judge, level in reached:
            breach = self.breaches.setdefault(level, _Breach(now_ms, seen.trade))
            breach.is_second |= seen.trade != breach.first
            is_believed = (self.is_clean or breach.is_second) and not is_held
            if is_believed or now_ms - breach.since_ms >= CONFIRM_MS:
                yield judge, _signal(level, shown.last)

    @property
    def waits(self) -> bool:
        return bool(self.breaches)

    def dues(self, now: datetime, now_ms: int) -> Iterator[int]:
        """When breaches have stood for long enough, and when the candles end that run now."""
        for breach in self.breaches.values():
            yield breach.since_ms + CONFIRM_MS
        for minutes in self._lengths():
            start_ms = _candle_start(now, now_ms, minutes)
            if start_ms is not None:
                yield start_ms + minutes * 60_000

    def _lengths(self) -> set[int]:
        return {
            level.minutes
            for judge in self.watchers
            for level in judge.position.levels.underlying
            if level.minutes is not None
        }

    def by_close(self, now: datetime, now_ms: int) -> Iterator[tuple[Judge, Signal]]:
        """Of candles that are over and not a candle old; again within the second after the first look."""
        for minutes in self._lengths():
            start_ms, close = _candle_start(now, now_ms, minutes), self.closes.get(minutes)
            is_over = start_ms is not None and self.told_ms is not None and self.told_ms < start_ms
            if start_ms is not None and (is_over or start_ms == now_ms) and (close is None or close.end_ms != start_ms):
                close = self.closes[minutes] = Close(start_ms, self._close(start_ms, minutes))
            if close is None or close.mark is None or self.market.session_open is not True:
                continue
            close.looked_ms = now_ms if close.looked_ms is None else close.looked_ms
            if now_ms - close.end_ms < minutes * 60_000 and now_ms - close.looked_ms <= LOOK_MS:
                for judge, level in self.levels(minutes):
                    if is_reached(level, close.mark):
                        yield judge, _signal(level, close.mark)
        self.told_ms = now_ms

    def _close(self, end_ms: int, minutes: int) -> int | None:
        """The last believed quote that was received in the candle; what comes at its very end belongs to the next."""
        self._settle(end_ms)
        if self.believed is None or not self._is_shown(end_ms):
            return None
        mark, received_ms = self.believed
        return mark if end_ms - minutes * 60_000 <= received_ms < end_ms else None


def is_reached(level: Underlying, mark: int) -> bool:
    return mark >= level.price if level.is_above else mark <= level.price


def _signal(level: Underlying, mark: int) -> Signal:
    return Signal("underlying_level", level.action, level.price, mark, level)


def _is_near(shown: Shown, before: Shown) -> bool:
    return shown.at_ms - before.at_ms < JUMP_MS and 100 * abs(shown.last - before.last) < before.last


def _candle_start(now: datetime, now_ms: int, minutes: int) -> int | None:
    """When the candle began that this moment is in; None before the opening."""
    opening = now.replace(hour=OPENING.hour, minute=OPENING.minute, second=0, microsecond=0)
    since_ms = round((now - opening).total_seconds() * 1_000)
    return None if since_ms < 0 else now_ms - since_ms % (minutes * 60_000)
