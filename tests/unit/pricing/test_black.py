"""What the formulas give at their ends, where they divide by nothing, and in which units."""

import math

import numpy as np
import pytest

from core.model.instrument import Right
from core.pricing.black import OptionValue, black_76, black_price, black_scholes, sign_of
from core.pricing.black_array import OptionValues, black_76_array, black_scholes_array, normal_cdf_array

CALL, PUT = Right.CALL, Right.PUT
NAMES = ("price", "delta", "gamma", "theta", "vega", "rho")
HALF = 1 / math.sqrt(2 * math.pi)


def both(right, *terms):
    """The scalar result, after the array form was seen to agree."""
    value = black_scholes(right, *terms)
    arrays = black_scholes_array(sign_of(right), *terms)
    assert {name: getattr(arrays, name)[()] for name in NAMES} == pytest.approx(
        {name: getattr(value, name) for name in NAMES}, rel=1e-12, abs=1e-12
    )
    return value


@pytest.mark.parametrize(
    ("right", "spot", "price", "delta"),
    [
        (CALL, 110, 10, 1),
        (CALL, 90, 0, 0),
        (CALL, 100, 0, 0.5),
        (PUT, 110, 0, 0),
        (PUT, 90, 10, -1),
        (PUT, 100, 0, -0.5),
    ],
)
@pytest.mark.parametrize("years", [0, -1])
def test_at_expiry_it_is_worth_what_it_pays(right, spot, price, delta, years):
    assert both(right, spot, 100, years, 0.2, 0.06, 0.01) == OptionValue(price, delta, 0, pytest.approx(0, abs=9), 0, 0)
    assert black_price(right, spot, 100, 0) == price


def test_without_volatility_it_is_worth_what_is_certain():
    value = both(CALL, 110, 100, 2, 0, 0.05, 0.02)
    held, paid = 110 * math.exp(-0.04), 100 * math.exp(-0.1)
    assert value.price == pytest.approx(held - paid)
    assert (value.delta, value.gamma, value.vega) == (pytest.approx(math.exp(-0.04)), 0, 0)
    assert value.theta == pytest.approx(0.02 * held - 0.05 * paid)
    assert value.rho == pytest.approx(2 * paid)
    assert both(CALL, 90, 100, 2, 0, 0.05, 0.02) == OptionValue(0, 0, 0, 0, 0, 0)


def test_without_volatility_at_the_strike_every_bit_of_it_counts():
    value = both(CALL, 100, 100, 4, 0)
    assert (value.price, value.delta, value.gamma) == (0, 0.5, 0)
    assert value.vega == pytest.approx(100 * 2 * HALF)
    # The limit from a volatility that is very small.
    assert both(CALL, 100, 100, 4, 1e-9).vega == pytest.approx(value.vega)
    assert both(CALL, 100, 100, 4, 1e-9).price == pytest.approx(1e-9 * value.vega)


def test_an_underlying_worth_nothing():
    assert both(CALL, 0, 100, 1, 0.2, 0.05).price == 0
    assert both(PUT, 0, 100, 1, 0.2, 0.05).price == pytest.approx(100 * math.exp(-0.05))
    assert both(PUT, 0, 100, 1, 0.2, 0.05, 0.01).delta == pytest.approx(-math.exp(-0.01))
    assert black_price(PUT, 0, 100, 0.2, 0.95) == 95


@pytest.mark.parametrize("right", Right)
@pytest.mark.parametrize("strike", [1, 7_200, 24_000, 72_000, 1e9])
@pytest.mark.parametrize("years", [0, 1e-300, 1 / 525_600, 1, 1_000])
@pytest.mark.parametrize("volatility", [0, 1e-300, 1e-99, 1e-6, 0.15, 5, 1e6])
def test_nothing_overflows_and_everything_is_a_number(right, strike, years, volatility):
    value = both(right, 24_000.0, strike, years, volatility)
    assert all(math.isfinite(getattr(value, name)) for name in NAMES)
    assert 0 <= value.price <= max(24_000, strike)
    assert black_price(right, 24_000.0, strike, volatility * math.sqrt(years)) == pytest.approx(value.price)


def test_the_units_of_the_greeks():
    value = black_scholes(CALL, 24_000, 24_100, 7 / 365, 0.14, 0.06)
    later = black_scholes(CALL, 24_000, 24_100, 6.99 / 365, 0.14, 0.06)
    assert (later.price - value.price) * 100 == pytest.approx(value.theta_per_day, rel=1e-3)
    point = black_scholes(CALL, 24_000, 24_100, 7 / 365, 0.1401, 0.06)
    assert (point.price - value.price) * 100 == pytest.approx(value.vega_per_point, rel=1e-3)
    dearer = black_scholes(CALL, 24_000, 24_100, 7 / 365, 0.14, 0.0601)
    assert (dearer.price - value.price) * 100 == pytest.approx(value.rho_per_point, rel=1e-3)
    assert (value.theta < 0, value.vega > 0, value.rho > 0) == (True, True, True)


def test_small_money_is_money():
    """An underlying of half a paisa is priced like any other."""
    assert both(CALL, 0.5, 0.5, 1, 0.2).price == pytest.approx(both(CALL, 500, 500, 1, 0.2).price / 1_000)
    assert black_price(CALL, 0.5, 0.5, 0.2) == pytest.approx(both(CALL, 0.5, 0.5, 1, 0.2).price)
    assert both(CALL, 0.6, 0.5, 1, 0).delta == 1
    assert both(CALL, 0.4, 0.5, 1, 0).delta == 0


def test_without_a_rate_nothing_is_discounted():
    assert black_76(CALL, 24_000, 23_000, 2, 0).price == 1_000
    assert black_76_array(1, 24_000, 23_000, 2, 0).price == 1_000


def test_theta_on_a_forward_holds_it_still():
    value = black_76(PUT, 24_000, 25_000, 0.5, 0.2, 0.08)
    later = black_76(PUT, 24_000, 25_000, 0.4999, 0.2, 0.08)
    assert (later.price - value.price) / 0.0001 == pytest.approx(value.theta, rel=1e-3)
    arrays = black_76_array(-1, 24_000, 25_000, [0.5, 0], 0.2, 0.08)
    assert [each[0] for each in (arrays.theta, arrays.rho)] == pytest.approx([value.theta, value.rho])
    assert (arrays.price[1], arrays.rho[1]) == (1_000, 0)


def test_arrays_broadcast_and_scale():
    strikes = np.array([[90.0], [100.0], [110.0]])
    values = black_scholes_array(1, 100, strikes, [0.1, 0.2], 0.2)
    assert values.price.shape == (3, 2)
    assert isinstance(values, OptionValues)
    assert values.theta_per_day == pytest.approx(values.theta / 365)
    assert values.vega_per_point == pytest.approx(values.vega / 100)
    assert values.rho_per_point == pytest.approx(values.rho / 100)
    assert black_scholes_array([], [], [], [], []).price.shape == (0,)


def test_the_normal_distribution_keeps_its_far_tail():
    # Values of an independent table: N(-10), N(-37), N(3).
    found = normal_cdf_array(np.array([-10.0, -37.0, 3.0, -np.inf, np.inf]))
    assert found.tolist() == pytest.approx([7.619853024160527e-24, 5.725571222524577e-300, 0.9986501019683699, 0, 1])
