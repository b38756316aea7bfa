"""A level of an underlying that is breached and waits for a witness; and the sign that the underlying itself stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.exits.position_guard import PositionGuard
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.special_levels import UnderlyingLevel
    from core.position_cache_manager import InstrumentSlot

EARLY_NS: Final = NS_PER_S
"""So much before a rest counts as standing still the legs' marks are taken down, so that no move is missed."""


def print_of(quote: Quote) -> tuple[Paise, int | None]:
    """The trade that a quote tells of."""
    return quote.last, quote.exchange_time


def is_reached(level: UnderlyingLevel, mark: Paise) -> bool:
    """Whether the mark is at or beyond the level."""
    return mark >= level.price if level.is_above else mark <= level.price


class UnderlyingBreach:
    """The mark is at or beyond a level since `since_ns` (monotonic): by this tick, or found by the clock (`tick_ns` None)."""

    __slots__ = ("_first", "is_repeated", "since_ns", "tick_ns")

    def __init__(self, quote: Quote, since_ns: int, tick_ns: int | None) -> None:
        self.since_ns = since_ns
        self.tick_ns = tick_ns
        self.is_repeated = False
        self._first = print_of(quote)

    def note(self, quote: Quote) -> None:
        """A second, different print (price or second of a trade) is a witness, a repeated packet is none."""
        self.is_repeated = self.is_repeated or print_of(quote) != self._first


class Stillness:
    """Whether some leg has moved `still_s` or more after the underlying last did."""

    def __init__(self, still_s: float) -> None:
        self._still_ns = still_s * NS_PER_S
        self.moved(0)

    def moved(self, at_ns: int) -> None:
        """The underlying has changed."""
        self.moved_ns = at_ns
        self.is_still = False
        self.forget()

    def forget(self) -> None:
        """The market is not open: what rests now says nothing."""
        self._marks: dict[InstrumentSlot, Paise | None] = {}

    def look(self, at_ns: int, guards: Iterable[PositionGuard]) -> None:
        """Compare the marks of the legs with those of the look before. Costs nothing while the underlying moves."""
        if self.is_still or at_ns - self.moved_ns < self._still_ns - EARLY_NS:
            return
        for guard in guards:
            for slot in guard.booked.slots:
                known, quote = self._marks.get(slot), slot.quote
                self._marks[slot] = slot.mark
                if quote is None or known is None or known == slot.mark:
                    continue
                if quote.received_ns - self.moved_ns >= self._still_ns:
                    self.is_still = True
                    return
