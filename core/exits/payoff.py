"""The most a position can make and lose at expiry: piecewise linear in the underlying, with bends at the strikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.model.instrument import Right

if TYPE_CHECKING:
    from core.model.money import Paise
    from core.model.position import Leg, Position


@dataclass(frozen=True, slots=True)
class Payoff:
    """Magnitudes in paise, entry premiums included, by the position's own units. 0 is "none at all".

    None with `note` "" is unlimited; both are None, and `note` says why, when the payoff is not known.
    """

    max_profit: Paise | None
    max_loss: Paise | None
    note: str = ""


def payoff_of(position: Position) -> Payoff:
    """Payoff of legs that all expire on one day; stock legs expire never and fit any day.

    The underlying is taken to move between 0 and infinity. A futures leg is linear with its entry as price.
    """
    legs = position.legs
    expiries = {leg.instrument.expiry for leg in legs if leg.instrument.expiry is not None}
    if len(expiries) > 1:
        return Payoff(None, None, "max profit and loss unknown: the legs expire on different days")
    for leg in legs:
        if leg.entry is None:
            return Payoff(None, None, f"max profit and loss unknown: no entry price for {leg.instrument.key}")
        if leg.instrument.right is not None and leg.instrument.strike is None:
            return Payoff(None, None, f"max profit and loss unknown: no strike for {leg.instrument.key}")
    strikes = {leg.instrument.strike for leg in legs if leg.instrument.strike is not None}
    values = [sum(value_at_expiry(leg, price) for leg in legs) for price in {0, *strikes}]
    final_slope = sum(leg.units for leg in legs if leg.instrument.right is not Right.PUT)
    return Payoff(
        max_profit=None if final_slope > 0 else max(*values, 0),
        max_loss=None if final_slope < 0 else max(*(-value for value in values), 0),
    )


def value_at_expiry(leg: Leg, price: Paise) -> Paise:
    """P&L of the leg in paise when the underlying ends at `price`. Its entry and an option's strike must be known."""
    strike = leg.instrument.strike or 0
    worth = price
    if leg.instrument.right is Right.CALL:
        worth = max(price - strike, 0)
    elif leg.instrument.right is Right.PUT:
        worth = max(strike - price, 0)
    return leg.units * (worth - (leg.entry or 0))
