"""An estimate of the payoff at the first expiry where later options live on: Black-Scholes at given volatilities.

For showing to a person, labelled as modelled. No stop and no target rests on it: `payoff` proves what can be proven.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from core.exits.payoff import payoff_legs
from core.exits.payoff_line import line_of
from core.pricing.black import DAYS_PER_YEAR
from core.pricing.black_array import black_scholes_array
from core.pricing.forward import discount_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.exits.payoff_line import KnownLeg
    from core.model.instrument import InstrumentKey
    from core.model.money import Paise
    from core.model.position import Position
    from core.pricing.black_array import Floats

GRID_CELLS: Final = 20_000
GRID_REACH: Final = 3
"""The grid runs from 0 to this many times the highest strike or the spot; what happens at infinity is known apart."""


@dataclass(frozen=True, slots=True)
class ModelledPayoff:
    """As `Payoff`, but estimated, at the close of the day `at` (None: no leg expires). `note` says why all is unknown.

    From a grid: a peak or a breakeven between two of its prices (some rupees apart for an index) is read off the straight
    line between them, and two breakevens between the same two prices are not seen.
    """

    at: date | None
    max_profit: Paise | None
    max_loss: Paise | None
    breakevens: tuple[Paise, ...] | None
    note: str = ""
    is_profit_unlimited: bool = False
    is_loss_unlimited: bool = False


class _PricedLeg(NamedTuple):
    leg: KnownLeg
    years: float
    volatility: float


def modelled_payoff(
    position: Position,
    spot: Paise,
    volatility_by_leg: Mapping[InstrumentKey, float],
    at: date | None = None,
    rate: float = 0.0,
) -> ModelledPayoff:
    """P&L of closing everything when the day `at` ends, by default the first expiry, over all prices of the underlying.

    Options that end on `at` are worth what they pay; later ones Black-Scholes at the volatility given for them (per year,
    1.0 is 100 %) and `rate`; stock and futures the underlying. Unknown without an entry, a strike or such a volatility.

    Raises:
        ValueError: `at` is after the first expiry. What is left of a position then depends on the way there.
    """
    first = position.earliest_expiry
    day = at or first
    if first is not None and (at or first) > first:
        raise ValueError(f"expected a day up to the first expiry {first}, received {at}")
    legs = _priced_legs(position, day or date.max, volatility_by_leg)
    if isinstance(legs, str):
        return ModelledPayoff(day, None, None, None, f"modelled payoff unknown: {legs}")
    strikes = [leg.strike for leg, _, _ in legs]
    grid = np.union1d(np.linspace(0, GRID_REACH * max([spot, *strikes]), GRID_CELLS + 1), strikes)
    values = np.zeros_like(grid)
    for leg in legs:
        values += _pnl(leg, grid, rate)
    slope = line_of(leg for leg, _, _ in legs).slope
    extremes = values if slope else np.append(values, _far_pnl(legs, rate))
    return ModelledPayoff(
        day,
        None if slope > 0 else round(max(extremes.max(), 0.0)),
        None if slope < 0 else round(max(-extremes.min(), 0.0)),
        _zeros(grid, values, slope),
        is_profit_unlimited=slope > 0,
        is_loss_unlimited=slope < 0,
    )


def _priced_legs(
    position: Position, day: date, volatility_by_leg: Mapping[InstrumentKey, float]
) -> list[_PricedLeg] | str:
    """The legs with the years and volatility that are left after the day, 0 where none is; or in words what is missing."""
    legs = payoff_legs(position.legs)
    if isinstance(legs, str):
        return legs
    priced = []
    for leg in legs:
        years = volatility = 0.0
        if leg.option_expiry is not None and leg.option_expiry > day:
            if leg.key not in volatility_by_leg:
                return f"no volatility for {leg.key}"
            years, volatility = (leg.option_expiry - day).days / DAYS_PER_YEAR, volatility_by_leg[leg.key]
        priced.append(_PricedLeg(leg, years, volatility))
    return priced


def _pnl(priced: _PricedLeg, prices: Floats, rate: float) -> Floats:
    leg, years, volatility = priced
    worth = prices
    if leg.sign:
        worth = black_scholes_array(leg.sign, prices, leg.strike, years, volatility, rate).price
    return leg.units * (worth - leg.entry)


def _far_pnl(legs: list[_PricedLeg], rate: float) -> float:
    """At infinite prices: calls are worth the underlying less the discounted strike, puts nothing; units cancel out."""
    total = 0.0
    for leg, years, _ in legs:
        owed = leg.strike * discount_of(years, rate) if leg.sign > 0 else 0.0
        total -= leg.units * (owed + leg.entry)
    return total


def _zeros(grid: Floats, values: Floats, slope: int) -> tuple[Paise, ...]:
    is_zero = values == 0
    is_inside = is_zero & np.append(False, is_zero[:-1]) & np.append(is_zero[1:], slope == 0)
    found = grid[is_zero & ~is_inside].tolist()
    for index in np.flatnonzero(values[:-1] * values[1:] < 0):
        (low, high), (before, after) = grid[index : index + 2], values[index : index + 2]
        found.append(low + (high - low) * before / (before - after))
    if values[-1] * slope < 0:
        found.append(grid[-1] - values[-1] / slope)
    return tuple(sorted({round(price) for price in found}))
