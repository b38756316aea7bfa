"""What a position is worth against the book, and the figures shown beside its P&L. The running P&L is the cache's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import Leg, Position


def leg_pnl(leg: Leg, mark: Paise | None) -> Paise | None:
    """Signed units × (mark − entry), in paise. None while the mark or the entry is unknown."""
    if mark is None or leg.entry is None:
        return None
    return leg.units * (mark - leg.entry)


def best_side_pnl(
    position: Position, quotes: Mapping[InstrumentKey, Quote], realised: Paise | None = 0
) -> Paise | None:
    """P&L at the side of the book that flatters the position: long at the ask, short at the bid.

    None while any leg, or what was realised before, is unknown: the sum of a part would mislead.
    """
    if realised is None:
        return None
    total = realised
    for leg in position.legs:
        pnl = leg_pnl(leg, best_side_price(leg, quotes.get(leg.instrument.key)))
        if pnl is None:
            return None
        total += pnl
    return total


def executable_price(leg: Leg, quote: Quote | None) -> Paise | None:
    """What closing the leg gets now, in paise per unit: the bid for a long, the ask for a short."""
    if quote is None:
        return None
    return quote.bid if leg.units > 0 else quote.ask


def best_side_price(leg: Leg, quote: Quote | None) -> Paise | None:
    if quote is None:
        return None
    return quote.ask if leg.units > 0 else quote.bid


def pnl_percent(pnl: Paise | None, net_premium: Paise | None) -> float | None:
    """P&L in per cent of |net premium|. None when either is unknown or the premium is 0."""
    if pnl is None or not net_premium:
        return None
    return 100 * pnl / abs(net_premium)


def days_to_expiry(position: Position, today: date) -> int | None:
    """Calendar days from `today` (IST) to the earliest expiry: 0 on expiry day, negative later. None: no leg expires."""
    expiry = position.earliest_expiry
    return None if expiry is None else (expiry - today).days
