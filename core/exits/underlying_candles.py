"""Candles of an underlying, aligned with the opening of the exchange, and the close that each of them had.

A quote belongs to the candle in which it was received; one that was received at the very end of a candle, to the next. A
monitor that starts within a candle counts it: the close is what came last, wherever it began to look. UTC follows from
the monotonic clock by the pair of both that was told last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from core.model.session_time import IST_OFFSET_S, NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from core.model.money import Paise

_MINUTE_NS: Final = 60 * NS_PER_S
_DAY_NS: Final = 24 * 60 * _MINUTE_NS
_OPENING_NS: Final = (9 * 60 + 15) * _MINUTE_NS
"""From midnight in India: the first candle of a day begins at 09:15."""
LOOKS_NS: Final = NS_PER_S
"""A close is looked at again for so long: a position of which one level has just been told has others."""


class Candle(NamedTuple):
    """UTC nanoseconds; `end_ns` is the first one that does not belong to it."""

    start_ns: int
    end_ns: int

    @property
    def times(self) -> str:
        return f"{ist_datetime(self.start_ns):%H:%M}–{ist_datetime(self.end_ns):%H:%M} IST"


class LastSeen(NamedTuple):
    """A believed mark in paise, and when its quote was received (monotonic)."""

    mark: Paise
    received_ns: int


class Close(NamedTuple):
    """How a candle ended. `seen` is the last believed quote in it; None when it has no close: `why` says for want of what.

    `ends_at_ns` is the end of the candle by the monotonic clock.
    """

    candle: Candle
    ends_at_ns: int
    seen: LastSeen | None
    why: str = ""


def candle_at(utc_ns: int, minutes: int) -> Candle | None:
    """The candle of so many minutes that this time is in; None before the opening of the day."""
    since_opening = (utc_ns + IST_OFFSET_S * NS_PER_S) % _DAY_NS - _OPENING_NS
    if since_opening < 0:
        return None
    start_ns = utc_ns - since_opening % (minutes * _MINUTE_NS)
    return Candle(start_ns, start_ns + minutes * _MINUTE_NS)


class CandleBoard:
    """The candles of one underlying, by their length in minutes. `closes` holds how the last one of each length ended."""

    def __init__(self) -> None:
        self.closes: dict[int, Close] = {}
        self._running: dict[int, Candle | None] = {}
        self._looked_ns: dict[int, int] = {}

    def keep(self, minutes: Iterable[int]) -> None:
        """Candles of these lengths are wanted from now on."""
        for each in minutes:
            self._running.setdefault(each, None)

    def roll(self, at_ns: int, ahead_ns: int, close_of: Callable[[Candle, int], Close]) -> None:
        """End what is over at `at_ns` (monotonic); UTC is `ahead_ns` more.

        `close_of` gets the candle and its end by the monotonic clock. Where the clock was set back a candle ends without a trace.
        """
        utc_ns = at_ns + ahead_ns
        for minutes, running in self._running.items():
            if running is not None:
                if running.start_ns <= utc_ns < running.end_ns:
                    continue
                if utc_ns >= running.end_ns:
                    self.closes[minutes] = close_of(running, running.end_ns - ahead_ns)
                    self._looked_ns.pop(minutes, None)
            self._running[minutes] = candle_at(utc_ns, minutes)

    def ends_ns(self, ahead_ns: int) -> Iterator[int]:
        """When the candles that run now end, by the monotonic clock."""
        return (running.end_ns - ahead_ns for running in self._running.values() if running is not None)

    def fresh(self, at_ns: int, utc_ns: int) -> Iterator[tuple[int, Close, LastSeen]]:
        """The closes to be looked at now, with their minutes. One that is a candle old is news no more."""
        for minutes, close in self.closes.items():
            is_new = utc_ns - close.candle.end_ns < minutes * _MINUTE_NS
            if close.seen is not None and is_new and at_ns <= self._looked_ns.setdefault(minutes, at_ns) + LOOKS_NS:
                yield minutes, close, close.seen
