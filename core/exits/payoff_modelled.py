"""An estimate of the payoff at the first expiry where later options live on: Black-Scholes at given volatilities.

For showing to a person, labelled as modelled. No stop and no target rests on it: `payoff` proves what can be proven.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from core.exits.payoff import why_unknown
from core.model.instrument import Right
from core.pricing.black import DAYS_PER_YEAR, sign_of
from core.pricing.black_array import black_scholes_array
from core.pricing.forward import discount_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from core.model.instrument import InstrumentKey
    from core.model.money import Paise
    from core.model.position import Leg, Position
    from core.pricing.black_array import Floats

GRID_CELLS: Final = 2_000
GRID_REACH: Final = 3
"""The grid runs from 0 to this many times the highest strike or the spot; what happens at infinity is known apart."""
_REFINEMENTS: Final = 3
_CELLS_OF_REFINEMENT: Final = 100
_HALVINGS: Final = 40


@dataclass(frozen=True, slots=True)
class ModelledPayoff:
    """As `Payoff`, but estimated, at the close of the day `at` (None: no leg expires). `note` says why all is unknown.

    A breakeven pair closer together than a cell of the grid (a few rupees) is not seen.
    """

    at: date | None
    max_profit: Paise | None
    max_loss: Paise | None
    breakevens: tuple[Paise, ...] | None
    note: str = ""
    is_profit_unlimited: bool = False
    is_loss_unlimited: bool = False


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
    at = at or first
    if at is not None and first is not None and at > first:
        raise ValueError(f"expected a day up to the first expiry {first}, received {at}")
    note = why_unknown(position.legs)
    missing = (leg for leg in position.legs if leg.instrument.key not in volatility_by_leg)
    unpriced = next((leg for leg in missing if at is not None and _outlives(leg, at)), None)
    if not note and unpriced is not None:
        note = f"no volatility for {unpriced.instrument.symbol}"
    if note:
        return ModelledPayoff(at, None, None, None, f"modelled payoff unknown: {note}")
    return _Estimate(position, at, volatility_by_leg, rate).payoff(spot)


@dataclass(frozen=True, slots=True)
class _Estimate:
    position: Position
    at: date | None
    volatility_by_leg: Mapping[InstrumentKey, float]
    rate: float

    def payoff(self, spot: Paise) -> ModelledPayoff:
        strikes = {leg.instrument.strike for leg in self.position.legs if leg.instrument.strike is not None}
        grid = np.union1d(np.linspace(0, GRID_REACH * max(spot, *strikes, 0), GRID_CELLS + 1), sorted(strikes))
        values = self.values(grid)
        slope = sum(leg.units for leg in self.position.legs if leg.instrument.right is not Right.PUT)
        far = [] if slope else [self.far_value()]
        return ModelledPayoff(
            self.at,
            None if slope > 0 else round(max(self.highest(grid, values, 1), *far, 0)),
            None if slope < 0 else round(max(self.highest(grid, values, -1), *(-value for value in far), 0)),
            self.zeros(grid, values, slope),
            is_profit_unlimited=slope > 0,
            is_loss_unlimited=slope < 0,
        )

    def values(self, prices: Floats) -> Floats:
        total = np.zeros_like(prices)
        for leg in self.position.legs:
            total += leg.units * (self.worth(leg, prices) - float(leg.entry or 0))
        return total

    def worth(self, leg: Leg, prices: Floats) -> Floats:
        right, strike = leg.instrument.right, leg.instrument.strike
        if right is None or strike is None:
            return prices
        volatility = self.volatility_by_leg.get(leg.instrument.key, 0.0)
        return black_scholes_array(sign_of(right), prices, strike, self.years(leg), volatility, self.rate).price

    def years(self, leg: Leg) -> float:
        expiry = leg.instrument.expiry
        return 0.0 if expiry is None or self.at is None else (expiry - self.at).days / DAYS_PER_YEAR

    def far_value(self) -> float:
        """P&L at infinite prices, where calls are worth the underlying less the discounted strike; units cancel out."""
        total = 0.0
        for leg in self.position.legs:
            owed = 0.0
            if leg.instrument.right is Right.CALL:
                owed = (leg.instrument.strike or 0) * discount_of(self.years(leg), self.rate)
            total -= leg.units * (owed + (leg.entry or 0))
        return total

    def highest(self, grid: Floats, values: Floats, sign: int) -> float:
        """The largest sign × P&L: the best point of the grid, and around it on finer and finer ones."""
        highest = -np.inf
        for _ in range(_REFINEMENTS):
            best = int(np.argmax(sign * values))
            highest = max(highest, float(sign * values[best]))
            grid = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)], _CELLS_OF_REFINEMENT + 1)
            values = self.values(grid)
        return max(highest, float(np.max(sign * values)))

    def zeros(self, grid: Floats, values: Floats, slope: int) -> tuple[Paise, ...]:
        is_zero = values == 0
        is_inside = is_zero & np.append(False, is_zero[:-1]) & np.append(is_zero[1:], slope == 0)
        crossed = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0)
        low, high, rises = grid[crossed], grid[crossed + 1], values[crossed] < 0
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            is_before = (self.values(middle) < 0) == rises
            low, high = np.where(is_before, middle, low), np.where(is_before, high, middle)
        found = {*grid[is_zero & ~is_inside].tolist(), *high.tolist()}
        if values[-1] * slope < 0:
            found.add(float(grid[-1] - values[-1] / slope))
        return tuple(sorted({round(price) for price in found}))


def _outlives(leg: Leg, at: date) -> bool:
    return leg.instrument.right is not None and leg.instrument.expiry is not None and leg.instrument.expiry > at
