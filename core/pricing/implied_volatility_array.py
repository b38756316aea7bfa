"""`implied_volatility` of many options at once: the same search in step, each option with its own bracket.

Worth its fixed cost from about fifty options on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from core.pricing.black_array import normal_cdf_array
from core.pricing.implied_volatility import FLOAT_ERROR, MAX_STEPS, PRECISION, PRICE_ERROR, TINY, VOLATILITY_ERROR

if TYPE_CHECKING:
    import numpy.typing as npt

    from core.pricing.black_array import Floats

_ROOT_TWO_PI: Final = math.sqrt(2 * math.pi)


def implied_volatility_array(
    signs: npt.ArrayLike,
    prices: npt.ArrayLike,
    forwards: npt.ArrayLike,
    strikes: npt.ArrayLike,
    years: npt.ArrayLike,
    discounts: npt.ArrayLike = 1.0,
    price_errors: npt.ArrayLike = PRICE_ERROR,
) -> Floats:
    """Volatilities in the broadcast shape of the inputs. NaN is unknown: never 0, and never a number to go on with."""
    inputs = (signs, prices, forwards, strikes, years, discounts, price_errors)
    arrays = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in inputs))
    sign, price, forward, strike, time, discount, error = (array.ravel() for array in arrays)
    time_value = price / discount - np.maximum(sign * (forward - strike), 0.0)
    room = np.maximum(error / discount, FLOAT_ERROR * (forward + strike))
    asked = (time > 0) & (time_value > room) & (time_value < np.minimum(forward, strike) - room)
    scale = np.sqrt(forward[asked] * strike[asked])
    x = -np.abs(np.log(forward[asked] / strike[asked]))
    deviation = _solve(x, time_value[asked] / scale)
    root_time = np.sqrt(time[asked])
    moved = room[asked] > VOLATILITY_ERROR * scale * root_time * _slope(x, deviation)
    found = np.full(sign.shape, np.nan)
    found[asked] = np.where(moved, np.nan, deviation / root_time)
    return found.reshape(arrays[0].shape)


def _solve(x: Floats, target: Floats) -> Floats:
    inflection = np.sqrt(-2 * x)
    is_low = target < _normalised(x, inflection)
    low = np.where(is_low, 0.0, inflection)
    high = np.where(is_low, inflection, np.inf)
    deviation = np.where(inflection > 0, inflection, target * _ROOT_TWO_PI)
    open_ones = np.arange(x.size)
    for _ in range(MAX_STEPS):
        at, x_at, target_at = deviation[open_ones], x[open_ones], target[open_ones]
        price = _normalised(x_at, at)
        is_below = price < target_at
        low[open_ones] = np.where(is_below, at, low[open_ones])
        high[open_ones] = np.where(is_below, high[open_ones], at)
        following = at + _step(x_at, at, price, target_at, is_low[open_ones])
        is_done = np.abs(following - at) <= PRECISION * at
        least, most = low[open_ones], high[open_ones]
        halved = np.where(np.isinf(most), 2 * at, 0.5 * (least + most))
        is_inside = (least < following) & (following < most)
        deviation[open_ones] = np.where(is_done | is_inside, following, halved)
        open_ones = open_ones[~is_done]
        if not open_ones.size:
            break
    return deviation


def _step(x: Floats, deviation: Floats, price: Floats, target: Floats, is_low: npt.NDArray[np.bool_]) -> Floats:
    slope = np.maximum(_slope(x, deviation), TINY)
    step = (target - price) / slope
    at, worth = deviation[is_low], price[is_low]
    weight = 1 / np.square(at) + 2 * np.log(np.maximum(worth, TINY) / target[is_low]) * worth / (slope[is_low] * at**3)
    step[is_low] = 1 / np.sqrt(np.maximum(weight, TINY)) - at
    return step


def _normalised(x: Floats, deviation: Floats) -> Floats:
    ratio = np.divide(x, deviation, out=np.zeros_like(x), where=deviation > 0)
    half = np.exp(0.5 * x)
    return half * normal_cdf_array(ratio + 0.5 * deviation) - normal_cdf_array(ratio - 0.5 * deviation) / half


def _slope(x: Floats, deviation: Floats) -> Floats:
    ratio = x / deviation
    return np.exp(-0.5 * (ratio * ratio + 0.25 * deviation * deviation)) / _ROOT_TWO_PI
