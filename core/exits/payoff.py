"""The most a position can make and lose at expiry, and where it breaks even: its own legs say so, no row does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.exits.payoff_bounds import expiries_of, loss_bound, profit_bound
from core.exits.payoff_line import known_legs, line_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.exits.payoff_line import KnownLeg
    from core.model.money import Paise
    from core.model.position import Leg, Position

FIRST_EXPIRY: Final = (
    "at the first expiry, later options as low or high as they can be: European, no interest, no dividends, "
    "futures at the price of the underlying"
)
"""What the numbers of legs with several expiries rest on (`payoff_bounds`)."""


@dataclass(frozen=True, slots=True)
class Payoff:
    """Magnitudes in paise, entry premiums included, by the position's own units. 0 is "none at all".

    A None that `is_…_unlimited` is unlimited; any other None is unknown, and `note` says why. Without a note every None
    is unlimited. `breakevens` are the prices of the underlying (paise, ascending) at which the P&L is 0: each exact crossing
    rounded to the paisa, of a stretch at 0 its ends; None is unknown. `assumption` says what the numbers rest on, "" for
    legs of one expiry: nothing but the contracts.
    """

    max_profit: Paise | None
    max_loss: Paise | None
    note: str = ""
    breakevens: tuple[Paise, ...] | None = None
    is_profit_unlimited: bool = False
    is_loss_unlimited: bool = False
    assumption: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything is: of legs without entries, or of several underlyings, nothing is."""
        bounds = self.max_profit, self.max_loss
        return bounds != (None, None) or self.is_profit_unlimited or self.is_loss_unlimited


def payoff_of(position: Position) -> Payoff:
    """Payoff of any legs. Stock never expires and fits any day; a future is linear with its entry as price.

    The underlying is taken to move between 0 and infinity. Legs of several expiries are judged when the first of them ends:
    what is proven without a model is given, the rest is unknown (`payoff_modelled` estimates it).
    """
    legs = payoff_legs(position.legs)
    if isinstance(legs, str):
        return Payoff(None, None, f"max profit and loss unknown: {legs}")
    if len(expiries_of(legs)) > 1:
        return _of_several_expiries(legs)
    line = line_of(legs)
    values = [value for _, value in line.points]
    return Payoff(
        max_profit=None if line.slope > 0 else math.ceil(max(*values, 0)),
        max_loss=None if line.slope < 0 else math.ceil(max(*(-value for value in values), 0)),
        breakevens=line.zeros(),
        is_profit_unlimited=line.slope > 0,
        is_loss_unlimited=line.slope < 0,
    )


def payoff_legs(legs: Iterable[Leg]) -> tuple[KnownLeg, ...] | str:
    """The legs with what a payoff needs, or in words why they have none."""
    legs = tuple(legs)
    several = _several_underlyings(legs)
    if several:
        return several
    known = known_legs(legs)
    if isinstance(known, str):
        return known
    if len({leg.expiry for leg in known if leg.sign == 0 and leg.expiry is not None}) > 1:
        return "futures expire on different days, and the gap between their prices is open"
    return known


def _several_underlyings(legs: Iterable[Leg]) -> str:
    """In words, where the legs hang on different prices, so that no one line shows what they make; "" where on one.

    Where the master does not say what is behind a leg, the names decide: shares, their futures and options have the same.
    """
    terms = [leg.instrument for leg in legs]
    names = sorted({each.underlying for each in terms})
    behind = {each.behind for each in terms}
    known = behind - {None}
    if len(known) > 1 or (known != behind and len(names) > 1):
        found = names if len(names) > 1 else sorted(map(str, known))
        return f"its legs have different underlyings: {', '.join(found)}"
    return ""


def _of_several_expiries(legs: tuple[KnownLeg, ...]) -> Payoff:
    slope = line_of(legs).slope
    profit, loss = profit_bound(legs), loss_bound(legs)
    unknown = []
    if profit is None and slope <= 0:
        unknown.append("profit")
    if loss is None and slope >= 0:
        unknown.append("loss")
    return Payoff(
        max_profit=profit,
        max_loss=loss,
        note=f"max {' and '.join(unknown)} unknown without a model: the legs expire on different days"
        if unknown
        else "",
        is_profit_unlimited=slope > 0,
        is_loss_unlimited=slope < 0,
        assumption=FIRST_EXPIRY,
    )
