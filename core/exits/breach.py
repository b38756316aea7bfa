"""One rule's line has been crossed and the position waits: for its spread to settle, or for a second witness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.profit_and_loss import best_side_pnl
from core.exits.quote_check import is_clean, is_two_sided

if TYPE_CHECKING:
    from core.exits.quote_check import QuoteLimits
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.position_cache_manager import BookedPosition


class Breach:
    """What the legs looked like when the breach began. `since_ns` is monotonic: receipt of the tick, or the clock's tick."""

    __slots__ = ("_booked", "_distinct", "_first", "_updates", "since_ns", "tick_ns")

    def __init__(self, booked: BookedPosition, since_ns: int, ticked: InstrumentKey | None) -> None:
        """`ticked` is the instrument whose quote began the breach; None when the clock found it."""
        self._booked = booked
        self.since_ns = since_ns
        self.tick_ns = None if ticked is None else since_ns
        self._updates = tuple(slot.updates - (1 if slot.key == ticked else 0) for slot in booked.slots)
        self._first = tuple(slot.quote for slot in booked.slots)
        self._distinct = [False] * len(booked.slots)

    def note_updates(self) -> None:
        """Look at the newest quotes. Call on every evaluation that still breaches."""
        for leg, slot in enumerate(self._booked.slots):
            if not self._distinct[leg] and _content(slot.quote) != _content(self._first[leg]):
                self._distinct[leg] = True

    def is_settled(self) -> bool:
        """Every leg has been updated since the breach began, the tick that began it included. One leg never waits."""
        slots = self._booked.slots
        return len(slots) == 1 or all(slot.updates > before for slot, before in zip(slots, self._updates, strict=True))

    def is_repeated(self, suspects: tuple[int, ...]) -> bool:
        """Each suspect leg has shown a second, different quote while the breach stood. A repeated packet is no witness."""
        return all(self._distinct[leg] for leg in suspects)


def pnl_at_best_side(booked: BookedPosition) -> Paise | None:
    """P&L with longs at the ask and shorts at the bid. None unless every leg's newest quote is two-sided."""
    quotes = {slot.key: slot.quote for slot in booked.slots if slot.quote is not None and is_two_sided(slot.quote)}
    return best_side_pnl(booked.position, quotes, booked.realised)


def suspect_legs(booked: BookedPosition, limits: QuoteLimits) -> tuple[int, ...]:
    """Indexes of the legs whose newest quote was not clean when it arrived, or that have none."""
    suspects: list[int] = []
    for index, (leg, slot) in enumerate(zip(booked.position.legs, booked.slots, strict=True)):
        quote = slot.quote
        if quote is None:
            suspects.append(index)
            continue
        age_ns = quote.received_ns - slot.previous_ns
        if not is_clean(quote, slot.previous_mark, age_ns, leg.instrument.tick, limits):
            suspects.append(index)
    return tuple(suspects)


def _content(quote: Quote | None) -> tuple[object, ...] | None:
    """What the exchange said, without when and how we heard it."""
    return None if quote is None else tuple(quote[:7])
