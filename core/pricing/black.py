"""Black-Scholes and Black-76 for one European option: plain floats, for the few legs of a position.

Prices, underlyings and strikes are in one unit, whichever the caller takes (paise here). Times are years of 365 days,
volatilities and rates are per year and 1.0 is 100 %, rates compound continuously. `black_array` is the same for arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from core.model.instrument import Right

DAYS_PER_YEAR: Final = 365
POINTS: Final = 100
"""Volatility and rate points in 1.0."""
LEAST_DEVIATION: Final = 1e-100
"""Below this volatility × √years an option is worth what it is worth without any: the formulas would divide by 0."""

_ROOT_HALF: Final = math.sqrt(0.5)
_DENSITY_AT_0: Final = 1 / math.sqrt(2 * math.pi)


@dataclass(frozen=True, slots=True)
class OptionValue:
    """Price of one unit of a bought option, and how it moves with one thing while all else stays.

    `delta` per 1 of the underlying, `gamma` the change of delta per 1 of it, `theta` per year of time passed (negative:
    it decays), `vega` per 1.0 of volatility, `rho` per 1.0 of the rate. At expiry and at volatility 0 the payoff has a
    corner at the strike: delta is half there, and gamma, which does not exist in a corner, is 0 as on both sides of it.
    """

    price: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float

    @property
    def theta_per_day(self) -> float:
        """Per calendar day, at the pace of this moment. On the last day that can exceed what the option is worth."""
        return self.theta / DAYS_PER_YEAR

    @property
    def vega_per_point(self) -> float:
        """Per volatility point: from 14 % to 15 %."""
        return self.vega / POINTS

    @property
    def rho_per_point(self) -> float:
        """Per point of the rate: from 6 % to 7 %."""
        return self.rho / POINTS


def sign_of(right: Right) -> int:
    """+1 for a call, −1 for a put."""
    return 1 if right is Right.CALL else -1


def normal_cdf(x: float) -> float:
    return 0.5 * math.erfc(-x * _ROOT_HALF)


def normal_density(x: float) -> float:
    return _DENSITY_AT_0 * math.exp(-0.5 * x * x)


def black_scholes(
    right: Right,
    spot: float,
    strike: float,
    years: float,
    volatility: float,
    rate: float = 0.0,
    dividend_yield: float = 0.0,
) -> OptionValue:
    """Value on the spot ≥ 0, strike > 0. `years` ≤ 0 is at expiry; 0 volatility is the limit towards 0."""
    time = max(years, 0.0)
    carried = spot * math.exp(-dividend_yield * time)
    owed = strike * math.exp(-rate * time)
    sign = sign_of(right)
    deviation = volatility * math.sqrt(time)
    if deviation < LEAST_DEVIATION or spot <= 0:
        return _without_chance(sign, carried, owed, time, rate, dividend_yield)
    d1 = math.log(carried / owed) / deviation + 0.5 * deviation
    held = sign * carried * normal_cdf(sign * d1)
    paid = sign * owed * normal_cdf(sign * (d1 - deviation))
    density = normal_density(d1)
    vega = carried * density * math.sqrt(time)
    return OptionValue(
        price=max(held - paid, 0.0),
        delta=held / spot,
        gamma=carried * density / (spot * spot * deviation),
        theta=dividend_yield * held - rate * paid - vega * volatility / (2 * time),
        vega=vega,
        rho=time * paid,
    )


def black_76(
    right: Right, forward: float, strike: float, years: float, volatility: float, rate: float = 0.0
) -> OptionValue:
    """Value on a future or forward ≥ 0. Delta and gamma are by the forward; theta and rho hold the forward still."""
    value = black_scholes(right, forward, strike, years, volatility, rate, rate)
    rho = -max(years, 0.0) * value.price
    return OptionValue(value.price, value.delta, value.gamma, value.theta, value.vega, rho)


def black_price(right: Right, forward: float, strike: float, deviation: float, discount: float = 1.0) -> float:
    """The price alone: `deviation` is volatility × √years, `discount` today's worth of 1 at expiry."""
    sign = sign_of(right)
    if deviation < LEAST_DEVIATION or forward <= 0:
        return discount * max(sign * (forward - strike), 0.0)
    d1 = math.log(forward / strike) / deviation + 0.5 * deviation
    held = forward * normal_cdf(sign * d1)
    return discount * max(sign * (held - strike * normal_cdf(sign * (d1 - deviation))), 0.0)


def _without_chance(
    sign: int, carried: float, owed: float, time: float, rate: float, dividend_yield: float
) -> OptionValue:
    """The limit at expiry, at volatility 0 and at spot 0: whether the option ends in the money is certain."""
    gap = sign * (carried - owed)
    share = 0.5 if gap == 0 else float(gap > 0)
    held, paid = sign * share * carried, sign * share * owed
    return OptionValue(
        price=max(gap, 0.0),
        delta=sign * share * math.exp(-dividend_yield * time),
        gamma=0.0,
        theta=dividend_yield * held - rate * paid,
        vega=carried * _DENSITY_AT_0 * math.sqrt(time) if gap == 0 else 0.0,
        rho=time * paid,
    )
