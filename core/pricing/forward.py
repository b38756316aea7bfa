"""Where the market sees the underlying at an expiry: from the spot, or from a call and a put of one strike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class StrikePair:
    """Call and put of one strike and expiry, at one moment, in one unit. `is_clean`: both quotes are to be believed.

    `spread` is the sum of the two bid-ask spreads, which the forward may be off by.
    """

    strike: float
    call_price: float
    put_price: float
    is_clean: bool
    spread: float = 0.0


def spot_forward(spot: float, years: float, rate: float = 0.0, dividend_yield: float = 0.0) -> float:
    """What carrying the underlying to expiry makes of the spot, in its unit. `years` < 0 counts as 0."""
    return spot * math.exp((rate - dividend_yield) * max(years, 0.0))


def discount_of(years: float, rate: float) -> float:
    """Today's worth of 1 at expiry. `years` < 0 counts as 0."""
    return math.exp(-rate * max(years, 0.0))


def parity_forward(call_price: float, put_price: float, strike: float, discount: float = 1.0) -> float:
    """Put-call parity: bought call and sold put are a forward at the strike. In the unit of the prices."""
    return strike + (call_price - put_price) / discount


def best_pair(pairs: Iterable[StrikePair]) -> StrikePair | None:
    """The clean pair nearest the money, where both sides trade most: there call and put cost the same.

    Of equals the one with the narrower spread, then the lower strike. None when no pair is clean.
    """
    clean = (pair for pair in pairs if pair.is_clean)
    return min(clean, key=lambda pair: (abs(pair.call_price - pair.put_price), pair.spread, pair.strike), default=None)


def forward_of_pairs(pairs: Iterable[StrikePair], discount: float = 1.0) -> float | None:
    """The forward of the best pair. None when there is no clean pair, or when its prices cannot both be true."""
    pair = best_pair(pairs)
    if pair is None:
        return None
    forward = parity_forward(pair.call_price, pair.put_price, pair.strike, discount)
    return forward if forward > 0 else None
