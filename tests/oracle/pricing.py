"""Black's formula with `math.erf`, and the volatility that a price implies by bisection. Imports nothing of the monitor.

Prices in paise, time in years of 365 days, volatility per year (1.0 is 100 %); no interest and no dividends, so that the
underlying is its own forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, log, pi, sqrt

HALF_TICK = 2.5
POINTS_OFF = 0.05
"""A volatility that half a tick moves by more than five points is not determined."""
HIGHEST = 50.0


@dataclass(frozen=True, slots=True)
class Value:
    """Of one bought unit. `gamma` per rupee, `theta` paise a day, `vega` paise for a volatility point."""

    price: float
    delta: float
    gamma: float
    theta: float
    vega: float


def _below(x: float) -> float:
    return 0.5 * (1 + erf(x / sqrt(2)))


def value_of(right: str, forward: float, strike: float, years: float, volatility: float) -> Value:
    spread = volatility * sqrt(years)
    d1 = log(forward / strike) / spread + spread / 2
    d2 = d1 - spread
    density = exp(-d1 * d1 / 2) / sqrt(2 * pi)
    call = forward * _below(d1) - strike * _below(d2)
    is_call = right == "CE"
    return Value(
        price=call if is_call else call - forward + strike,
        delta=_below(d1) if is_call else _below(d1) - 1,
        gamma=100 * density / (forward * spread),
        theta=-forward * density * volatility / (2 * sqrt(years)) / 365,
        vega=forward * density * sqrt(years) / 100,
    )


def volatility_of(right: str, price: float, forward: float, strike: float, years: float) -> float | None:
    """None: expired, no time value or too much of it, or half a tick would move it by more than five points."""
    if years <= 0:
        return None
    intrinsic = max(forward - strike if right == "CE" else strike - forward, 0.0)
    if not HALF_TICK < price - intrinsic < min(forward, strike) - HALF_TICK:
        return None
    # The side out of the money has nothing but time value: nothing is lost in a difference of large numbers there.
    side = "PE" if forward > strike else "CE"
    low, high = 1e-6, HIGHEST
    for _ in range(80):
        middle = (low + high) / 2
        if value_of(side, forward, strike, years, middle).price < price - intrinsic:
            low = middle
        else:
            high = middle
    vega = 100 * value_of(side, forward, strike, years, low).vega
    return low if vega and HALF_TICK / vega <= POINTS_OFF else None
