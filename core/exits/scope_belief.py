"""Whether a sum over positions may be believed: one look at every leg of a scope."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.exits.breach import suspect_legs
from core.exits.profit_and_loss import best_side_price
from core.exits.quote_check import is_two_sided
from core.exits.safe_to_trade import Hindrance, Reason
from core.model.market import QuoteSource

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from core.exits.position_guard import PositionGuard
    from core.exits.quote_check import QuoteLimits
    from core.exits.scope_pool import Pool
    from core.model.money import Paise
    from core.model.position import Leg
    from core.position_cache_manager import BookedPosition, InstrumentSlot


class Member:
    """One position in the sums. `guard` is None while an exit of it is under way.

    `base` is its P&L (paise) at the first believed marks of the day, None while not known. `carried` is what the day had
    brought before its rows were edited, None when they were not. `day` and `day_base` are what was remembered of it.
    """

    __slots__ = ("base", "booked", "carried", "day", "day_base", "guard", "pools")

    def __init__(self, booked: BookedPosition, guard: PositionGuard | None, pools: tuple[Pool, ...]) -> None:
        self.booked = booked
        self.guard = guard
        self.pools = pools
        self.base: Paise | None = None
        self.carried: Paise | None = None
        self.day: date | None = None
        self.day_base: Paise | None = None

    @property
    def strategy_id(self) -> int:
        return self.booked.position.strategy_id

    @property
    def name(self) -> str:
        return f"{self.booked.position.strategy_name} ({self.strategy_id})"

    @property
    def change(self) -> Paise | None:
        """What the day has brought so far, paise. None while the base or the P&L is not known."""
        pnl = self.booked.pnl
        return None if pnl is None or self.base is None else pnl - self.base


class Look(NamedTuple):
    """What a look at all legs has shown. The P&L are paise.

    `least` has each suspect leg at the side of its book that flatters it; `best` every leg. None: such a leg has no two
    sides, or its quote may have waited.
    """

    has_suspects: bool
    least: Paise | None
    best: Paise | None


class Hindered(NamedTuple):
    """The sum is not known, because of this one."""

    member: Member
    reason: Reason


def hindrance_of(member: Member, at_ns: int) -> Reason | None:
    """Why the P&L of the member may not be acted on; None when it may.

    A position whose exit is under way has no guard to ask: its prices are looked at leg by leg.
    """
    if member.guard is not None:
        safe = member.guard.safe_to_trade(at_ns)
        return None if safe.is_safe else safe.reasons[0]
    if member.booked.realised is None:
        return Reason(Hindrance.NO_REALISED, member.booked.slots[0].key)
    legs = zip(member.booked.position.legs, member.booked.slots, strict=True)
    return next((reason for leg, slot in legs if (reason := _why_not(leg, slot)) is not None), None)


def _why_not(leg: Leg, slot: InstrumentSlot) -> Reason | None:
    quote = slot.quote
    if quote is None:
        return Reason(Hindrance.NO_PRICE, slot.key)
    if leg.entry is None:
        return Reason(Hindrance.NO_ENTRY, slot.key, quote.received_ns)
    if quote.source is QuoteSource.CACHE:
        return Reason(Hindrance.SAVED_PRICE, slot.key, quote.received_ns)
    return Reason(Hindrance.STALE, slot.key, quote.received_ns) if slot.is_doubted else None


def look_at(members: Iterable[Member], total: Paise, at_ns: int, limits: QuoteLimits) -> Look | Hindered:
    """`total` is the sum of the members' P&L, paise."""
    least: Paise | None = total
    best: Paise | None = total
    has_suspects = False
    for member in members:
        reason = hindrance_of(member, at_ns)
        if reason is not None:
            return Hindered(member, reason)
        booked = member.booked
        suspects = suspect_legs(booked, limits)
        has_suspects = has_suspects or bool(suspects)
        for index, (leg, slot) in enumerate(zip(booked.position.legs, booked.slots, strict=True)):
            more = _at_best_side(leg, slot, booked)
            best = None if best is None or more is None else best + more
            if index in suspects:
                least = None if least is None or more is None else least + more
    return Look(has_suspects, least, best)


def _at_best_side(leg: Leg, slot: InstrumentSlot, booked: BookedPosition) -> Paise | None:
    """How much more the leg is worth at the side of its book that flatters it than at its mark; None without two sides."""
    quote, mark = slot.quote, slot.mark
    if quote is None or mark is None or not is_two_sided(quote) or booked.backlog.holds(quote):
        return None
    price = best_side_price(leg, quote)
    return None if price is None else leg.units * (price - mark)
