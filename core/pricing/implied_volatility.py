"""The volatility at which Black's formula gives a price: one option in plain floats. `implied_volatility_array` is for many.

The price is first brought to the out-of-the-money side, where it is time value only (put-call parity). In units of
√(forward × strike) it then depends on two numbers, x = −|ln(forward/strike)| and s = volatility × √years, and rises in s with its
one inflection at √(2|x|). The search starts there: above it Newton on the price closes in from one side; below it Newton
on ln(price) does, which is convex in 1/s². A bracket catches every step that would leave it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from core.pricing.black import normal_cdf, sign_of

if TYPE_CHECKING:
    from core.model.instrument import Right

PRICE_ERROR: Final = 1e-8
"""How far a price may be off by itself, in its own unit, unless the caller knows better (half a tick on a market)."""
VOLATILITY_ERROR: Final = 0.05
"""An implied volatility that such an error moves by more than this (5 points) is not determined."""
FLOAT_ERROR: Final = 1e-15
"""What floats lose in a price, as a share of forward + strike: no `price_error` is smaller."""
MAX_STEPS: Final = 100
PRECISION: Final = 1e-9
"""A Newton step of this share of s is the last: the next would be its square."""
TINY: Final = 1e-200

_ROOT_TWO_PI: Final = math.sqrt(2 * math.pi)


def implied_volatility(
    right: Right,
    price: float,
    forward: float,
    strike: float,
    years: float,
    discount: float = 1.0,
    price_error: float = PRICE_ERROR,
) -> float | None:
    """Per year, 1.0 is 100 %; forward and strike > 0. None is unknown, and `why_undetermined` says why.

    Unknown: at expiry; below or at the least that the option must be worth, or above the most it can be; and where
    `price_error` is worth more than `VOLATILITY_ERROR`, as far in and out of the money shortly before expiry.
    """
    time_value = time_value_of(right, price, forward, strike, discount)
    room = max(price_error / discount, FLOAT_ERROR * (forward + strike))
    if not (years > 0 and room < time_value < min(forward, strike) - room):
        return None
    scale = math.sqrt(forward * strike)
    x = -abs(math.log(forward / strike))
    deviation = _solve(x, time_value / scale)
    root_time = math.sqrt(years)
    if room > VOLATILITY_ERROR * scale * root_time * _slope(x, deviation):
        return None
    return deviation / root_time


def why_undetermined(
    right: Right, price: float, forward: float, strike: float, years: float, discount: float = 1.0
) -> str:
    """Why `implied_volatility` is None, in words. Asked only then."""
    time_value = time_value_of(right, price, forward, strike, discount)
    if years <= 0:
        return "the option has expired"
    if time_value <= 0:
        return "the price is not above what the option is worth without volatility"
    if time_value >= min(forward, strike):
        return "the price is above what the option can be worth at any volatility"
    return "the price hardly depends on volatility"


def time_value_of(right: Right, price: float, forward: float, strike: float, discount: float) -> float:
    """What the price holds beyond the forward's intrinsic value, at expiry's money: the other side's price by parity."""
    return price / discount - max(sign_of(right) * (forward - strike), 0.0)


def _solve(x: float, target: float) -> float:
    inflection = math.sqrt(-2 * x)
    is_low = target < _normalised(x, inflection)
    low, high = (0.0, inflection) if is_low else (inflection, math.inf)
    deviation = inflection or target * _ROOT_TWO_PI
    for _ in range(MAX_STEPS):
        price = _normalised(x, deviation)
        if price < target:
            low = deviation
        else:
            high = deviation
        following = deviation + _step(x, deviation, price, target, is_low=is_low)
        if abs(following - deviation) <= PRECISION * deviation:
            return following
        if not low < following < high:
            following = 2 * deviation if high == math.inf else 0.5 * (low + high)
        deviation = following
    return deviation


def _step(x: float, deviation: float, price: float, target: float, *, is_low: bool) -> float:
    """Newton's step in s. Where the slope or the price is lost it is huge, for the bracket to catch."""
    slope = max(_slope(x, deviation), TINY)
    if not is_low:
        return (target - price) / slope
    weight = 1 / (deviation * deviation) + 2 * math.log(max(price, TINY) / target) * price / (slope * deviation**3)
    return 1 / math.sqrt(max(weight, TINY)) - deviation


def _normalised(x: float, deviation: float) -> float:
    """Price of the out-of-the-money option in √(forward × strike); x ≤ 0."""
    if deviation <= 0:
        return 0.0
    d1 = x / deviation + 0.5 * deviation
    half = math.exp(0.5 * x)
    return half * normal_cdf(d1) - normal_cdf(d1 - deviation) / half


def _slope(x: float, deviation: float) -> float:
    """Its derivative by s > 0."""
    ratio = x / deviation
    return math.exp(-0.5 * (ratio * ratio + 0.25 * deviation * deviation)) / _ROOT_TWO_PI
