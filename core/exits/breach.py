"""One rule's line has been crossed and the position waits: for its spread to settle, or for a second witness."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from core.exits.profit_and_loss import best_side_pnl
from core.exits.quote_check import is_clean, is_two_sided
from core.model.market import QuoteSource, mark_of
from core.model.session_time import NS_PER_MS

if TYPE_CHECKING:
    from core.exits.guard_settings import GuardSettings
    from core.exits.quote_check import QuoteLimits
    from core.exits.rules import PriceRule, RuleFacts
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.position_backlog import Backlog
    from core.position_cache_manager import BookedPosition


class Wait(StrEnum):
    """What a breach still waits for."""

    SPREAD = "the spread to settle"
    QUOTE = "a second quote"
    CLEAN = "a clean quote"


class Breach:
    """What the legs looked like when the breach began. `since_ns` is monotonic: receipt of the tick, or the clock's tick."""

    __slots__ = ("_distinct", "_first", "_updates", "booked", "since_ns", "tick_ns")

    def __init__(self, booked: BookedPosition, since_ns: int, ticked: InstrumentKey | None) -> None:
        """`ticked` is the instrument whose quote began the breach; None when the clock found it."""
        self.booked = booked
        self.since_ns = since_ns
        self.tick_ns = None if ticked is None else since_ns
        self._updates = tuple(slot.updates - (1 if slot.key == ticked else 0) for slot in booked.slots)
        self._first = tuple(_print_of(slot.quote) for slot in booked.slots)
        self._distinct = [False] * len(booked.slots)

    def note_updates(self) -> None:
        """Look at the newest quotes. Call on every evaluation that still breaches."""
        for leg, slot in enumerate(self.booked.slots):
            if not self._distinct[leg] and _print_of(slot.quote) != self._first[leg]:
                self._distinct[leg] = True

    def is_settled(self) -> bool:
        """Every leg has been updated since the breach began, the tick that began it included. One leg never waits."""
        slots = self.booked.slots
        return len(slots) == 1 or all(slot.updates > before for slot, before in zip(slots, self._updates, strict=True))

    def is_repeated(self, suspects: tuple[int, ...]) -> bool:
        """Each suspect leg has shown a second, different print (price or second of a trade) while the breach stood.

        A repeated packet is no witness, nor is a book that moves around the one print which began the breach (fault F12):
        what a book can tell is asked of its best side. What came out of a backlog is no witness of anything.
        """
        slots, backlog = self.booked.slots, self.booked.backlog
        return all(self._distinct[leg] and not _is_held(slots[leg].quote, backlog) for leg in suspects)


def pnl_at_best_side(booked: BookedPosition) -> Paise | None:
    """P&L with longs at the ask and shorts at the bid.

    None unless every leg's newest quote is two-sided and out of no backlog.
    """
    quotes: dict[InstrumentKey, Quote] = {}
    for slot in booked.slots:
        quote = slot.quote
        if quote is None or not is_two_sided(quote) or booked.backlog.holds(quote):
            return None
        quotes[slot.key] = quote
    return best_side_pnl(booked.position, quotes, booked.realised)


def suspect_legs(booked: BookedPosition, limits: QuoteLimits) -> tuple[int, ...]:
    """Indexes of the legs whose newest quote was not clean when it arrived, came out of a backlog, or that have none.

    A packet that repeats the one before is judged as that one: against the newest quote that said something else.
    """
    suspects: list[int] = []
    for index, (leg, slot) in enumerate(zip(booked.position.legs, booked.slots, strict=True)):
        quote, previous = slot.quote, slot.previous
        if quote is None or booked.backlog.holds(quote):
            suspects.append(index)
            continue
        before, age_ns = previous_mark(quote, previous)
        if not is_clean(quote, before, age_ns, leg.instrument.tick, limits):
            suspects.append(index)
    return tuple(suspects)


def previous_mark(quote: Quote, previous: Quote | None) -> tuple[Paise | None, int]:
    """The mark before this quote and the nanoseconds between the two receipts; (None, 0) when there was none of the market."""
    if previous is None or previous.source is QuoteSource.CACHE:
        return None, 0
    return mark_of(previous.last, previous.bid, previous.ask), quote.received_ns - previous.received_ns


def waits_for(
    rule: PriceRule,
    facts: RuleFacts,
    breach: Breach,
    suspects: tuple[int, ...],
    at_ns: int,
    settings: GuardSettings,
) -> Wait | None:
    """What the breach of the rule waits for at `at_ns`; None when it may fire. The P&L must be known."""
    waited_ms = (at_ns - breach.since_ns) / NS_PER_MS
    is_settled = breach.is_settled() or waited_ms >= settings.leg_settle_ms
    if not rule.is_loss:
        return Wait.CLEAN if suspects else None if is_settled else Wait.SPREAD
    booked = breach.booked
    best, line, pnl = pnl_at_best_side(booked), rule.line(facts), booked.pnl
    is_best_breached = best is not None and line is not None and best <= line
    hard = rule.hard_line(facts, settings.hard_stop_multiple)
    if hard is not None and pnl is not None and pnl <= hard and is_best_breached:
        return None
    if not is_settled:
        return Wait.SPREAD
    is_confirmed = (
        not suspects or breach.is_repeated(suspects) or is_best_breached or waited_ms >= settings.stop_confirm_max_ms
    )
    return None if is_confirmed else Wait.QUOTE


def _print_of(quote: Quote | None) -> tuple[Paise, int | None] | None:
    """The trade that a quote tells of: its price and second. A book may move around it many times."""
    return None if quote is None else (quote.last, quote.exchange_time)


def _is_held(quote: Quote | None, backlog: Backlog) -> bool:
    return quote is not None and backlog.holds(quote)
