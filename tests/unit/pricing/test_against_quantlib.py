"""Prices to 1e-8 and Greeks to 1e-9 of QuantLib's, from one second to five years, from 0.3 to 3 times the spot.

Prices are compared absolutely up to 1 and relatively above; in paise, of which 1 is the least that anything costs.
"""

import itertools

import numpy as np
import pytest

from core.model.instrument import Right
from core.pricing.black import black_76, black_price, black_scholes, sign_of
from core.pricing.black_array import black_76_array, black_scholes_array
from core.pricing.forward import discount_of, spot_forward
from tests.unit.pricing import quantlib

SECOND = 1 / (365 * 86_400)
SPOTS = (24_000.0, 2_400_000.0, 45.0)
MONEYNESS = (0.3, 0.5, 0.8, 0.95, 0.98, 0.99, 0.998, 1, 1.002, 1.01, 1.02, 1.05, 1.25, 2, 3)
YEARS = (SECOND, 60 * SECOND, 600 * SECOND, 6 * 3600 * SECOND, 7 / 365, 30 / 365, 1.0, 5.0)
VOLATILITIES = (0.01, 0.1, 0.15, 0.4, 3.0)
RATES = ((0.0, 0.0), (0.065, 0.012), (-0.01, 0.03))
GRID = list(itertools.product(SPOTS, MONEYNESS, YEARS, VOLATILITIES))


def options(right):
    return [
        (right, spot, spot * of_spot, years, volatility, rate, dividend_yield)
        for (spot, of_spot, years, volatility), (rate, dividend_yield) in itertools.product(GRID, RATES)
    ]


def worst(ours, theirs, floor):
    """The largest error: of the value itself where it is larger than `floor`, of `floor` where it is not."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert np.isfinite(ours).all()
    return float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), floor)))


def columns(options):
    right, *rest = zip(*options, strict=True)
    return [np.array([sign_of(each) for each in right]), *(np.array(each) for each in rest)]


@pytest.mark.parametrize("right", Right)
def test_on_the_spot(right):
    terms = options(right)
    theirs = np.array([quantlib.on_spot(*each) for each in terms]).T
    values = [black_scholes(*each) for each in terms]
    arrays = black_scholes_array(*columns(terms))
    spots = columns(terms)[1]
    for name, wanted, floor, tolerance in zip(
        ("price", "delta", "gamma", "theta", "vega", "rho"),
        theirs,
        (1, 1, 1 / spots, spots, 1, spots),
        (1e-8, 1e-9, 1e-9, 1e-8, 1e-9, 1e-9),
        strict=True,
    ):
        assert worst([getattr(value, name) for value in values], wanted, floor) < tolerance, name
        assert worst(getattr(arrays, name), wanted, floor) < tolerance, name


@pytest.mark.parametrize("right", Right)
def test_on_the_forward(right):
    terms = [option[:6] for option in options(right)]
    theirs = np.array([quantlib.on_forward(*each) for each in terms]).T
    values = [black_76(*each) for each in terms]
    arrays = black_76_array(*columns(terms))
    forwards = columns(terms)[1]
    for name, wanted, floor, tolerance in zip(
        ("price", "delta", "gamma", "vega", "rho"),
        theirs,
        (1, 1, 1 / forwards, 1, forwards),
        (1e-8, 1e-9, 1e-9, 1e-9, 1e-9),
        strict=True,
    ):
        assert worst([getattr(value, name) for value in values], wanted, floor) < tolerance, name
        assert worst(getattr(arrays, name), wanted, floor) < tolerance, name


def test_the_price_alone():
    for right, spot, strike, years, volatility, rate, dividend_yield in options(Right.CALL)[::7]:
        forward, discount = spot_forward(spot, years, rate, dividend_yield), discount_of(years, rate)
        wanted = quantlib.on_spot(right, spot, strike, years, volatility, rate, dividend_yield)[0]
        found = black_price(right, forward, strike, volatility * years**0.5, discount)
        assert abs(found - wanted) < 1e-8 * max(1, wanted)
