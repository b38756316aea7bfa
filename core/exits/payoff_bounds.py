"""What can be proven of legs that expire on different days, at the first expiry, whatever volatility does until then.

What a later option is then worth depends on the volatility that the market will see. Without interest and dividends
the underlying is its own forward, and the least that legs ending on one day can be worth is the convex envelope of what
they pay at their end (the most: the concave one), from the last expiry backwards: no model, and no tighter bound exists.
A long calendar can so lose its debit and no more: the option that lives on is worth at least what the other costs.

Such a bound is given only where it means something. A short option that outlives the first expiry may be worth anything,
so it has to be covered by bought options of its right that live as long; or the bound must be met without time value.
With interest a put that is deep in the money may be worth less than its intrinsic value, by interest on the strike.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from core.exits.payoff_line import PayoffLine, line_of

if TYPE_CHECKING:
    from datetime import date

    from core.exits.payoff_line import KnownLeg
    from core.model.money import Paise


def loss_bound(legs: tuple[KnownLeg, ...]) -> Paise | None:
    """The most that the legs can have lost at the first expiry, in paise as a magnitude, rounded up to the paisa.

    None: without limit (`line_of(legs).slope` < 0), or it cannot be said without a model.
    """
    least = worth_at_first_expiry(legs).lowest()
    if least is None or not (outlasting_shorts_are_covered(legs) or least == line_of(legs).lowest()):
        return None
    return math.ceil(max(-least, 0))


def profit_bound(legs: tuple[KnownLeg, ...]) -> Paise | None:
    """The most that the legs can have made at the first expiry: what their mirror image can have lost."""
    return loss_bound(tuple(leg._replace(units=-leg.units) for leg in legs))


def worth_at_first_expiry(legs: tuple[KnownLeg, ...]) -> PayoffLine:
    """The least P&L that the legs can have when their first expiry ends, by the underlying's price then."""
    first, *later = expiries_of(legs)
    least = PayoffLine(((0, 0),), 0)
    for expiry in reversed(later):
        least = line_of(leg for leg in legs if leg.option_expiry == expiry).plus(least).lower_envelope()
    return line_of(leg for leg in legs if leg.option_expiry in {None, first}).plus(least)


def outlasting_shorts_are_covered(legs: tuple[KnownLeg, ...]) -> bool:
    """Whether each sold option that outlives the first expiry has a bought one of its right that lives as long."""
    units: Counter[int] = Counter()
    is_covered = True
    for expiry in reversed(expiries_of(legs)[1:]):
        for leg in legs:
            if leg.option_expiry == expiry:
                units[leg.sign] += leg.units
        is_covered = is_covered and min(units.values(), default=0) >= 0
    return is_covered


def expiries_of(legs: tuple[KnownLeg, ...]) -> list[date]:
    return sorted({leg.expiry for leg in legs if leg.expiry is not None})
