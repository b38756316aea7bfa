"""What must hold for every option, whatever its terms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.instrument import Right
from core.pricing.black import black_76, black_price, black_scholes, sign_of
from core.pricing.black_array import black_scholes_array
from core.pricing.forward import StrikePair, discount_of, forward_of_pairs, parity_forward, spot_forward
from core.pricing.implied_volatility import implied_volatility, why_undetermined
from core.pricing.implied_volatility_array import implied_volatility_array

rights = st.sampled_from(Right)
spots = st.floats(1, 5e6)
moneyness = st.floats(math.log(0.3), math.log(3)).map(math.exp) | st.floats(0.98, 1.02) | st.just(1.0)
years = st.floats(1 / 31_536_000, 5) | st.just(0.0) | st.just(1 / 525_600)
volatilities = st.floats(0.01, 3) | st.just(0.0)
rates = st.floats(-0.05, 0.15)
terms = st.tuples(rights, spots, moneyness, years, volatilities, rates, rates).map(
    lambda drawn: (drawn[0], drawn[1], drawn[1] * drawn[2], *drawn[3:])
)


def near(value, scale=1.0):
    return pytest.approx(value, rel=1e-9, abs=1e-12 * scale)


@given(terms)
def test_call_and_put_are_a_forward(terms):
    _, spot, strike, time, _, rate, dividend_yield = terms
    call, put = (black_scholes(right, *terms[1:]) for right in Right)
    forward, discount = spot_forward(spot, time, rate, dividend_yield), discount_of(time, rate)
    assert call.price - put.price == near(discount * (forward - strike), spot)
    assert call.delta - put.delta == near(math.exp(-dividend_yield * time))
    assert (call.gamma, call.vega) == (near(put.gamma), near(put.vega))
    assert parity_forward(call.price, put.price, strike, discount) == near(forward, spot + strike)
    pairs = [StrikePair(strike, call.price, put.price, is_clean=True)]
    assert forward_of_pairs(pairs, discount) == near(forward, spot + strike)


@given(terms)
def test_a_price_lies_between_what_is_sure_and_what_is_possible(terms):
    right, spot, strike, time, _, rate, dividend_yield = terms
    value = black_scholes(*terms)
    forward, discount = spot_forward(spot, time, rate, dividend_yield), discount_of(time, rate)
    intrinsic = discount * max(sign_of(right) * (forward - strike), 0)
    most = discount * (forward if right is Right.CALL else strike)
    assert intrinsic - 1e-12 * (spot + strike) <= value.price <= most * (1 + 1e-12)
    assert 0 <= sign_of(right) * value.delta <= math.exp(-dividend_yield * time) * (1 + 1e-12)
    assert value.gamma >= 0
    assert value.vega >= 0


@given(terms, st.floats(0, 0.5))
def test_more_volatility_costs_no_less(terms, more):
    dearer = black_scholes(*terms[:4], terms[4] + more, *terms[5:])
    assert dearer.price >= black_scholes(*terms).price - 1e-12 * (terms[1] + terms[2])


@given(terms, st.floats(0.01, 100))
def test_the_unit_of_money_is_free(terms, unit):
    right, spot, strike, *rest = terms
    value, other = black_scholes(*terms), black_scholes(right, spot * unit, strike * unit, *rest)
    # Multiplying rounds the moneyness; a second before expiry a rounded digit is 1e-9 of a deviation.
    assert other.price == pytest.approx(value.price * unit, rel=1e-6, abs=1e-11 * spot * unit)
    assert other.delta == pytest.approx(value.delta, rel=1e-6, abs=1e-6)


@given(terms)
def test_arrays_and_floats_agree(terms):
    right, spot, *_ = terms
    value, arrays = black_scholes(*terms), black_scholes_array(sign_of(right), *terms[1:])
    for name, scale in (("price", spot), ("delta", 1), ("gamma", 1 / spot), ("vega", spot), ("rho", spot)):
        assert getattr(arrays, name) == pytest.approx(getattr(value, name), rel=1e-7, abs=1e-10 * scale), name
    assert arrays.theta == pytest.approx(value.theta, rel=1e-6, abs=1e-6 * spot)


@given(terms)
def test_the_forward_price_is_the_spot_price_carried(terms):
    right, spot, strike, time, volatility, rate, dividend_yield = terms
    forward, discount = spot_forward(spot, time, rate, dividend_yield), discount_of(time, rate)
    on_forward = black_76(right, forward, strike, time, volatility, rate).price
    assert on_forward == pytest.approx(black_scholes(*terms).price, rel=1e-6, abs=1e-10 * spot)
    alone = black_price(right, forward, strike, volatility * math.sqrt(time), discount)
    assert alone == pytest.approx(on_forward, rel=1e-9, abs=1e-11 * spot)


@given(terms, st.sampled_from([0.0, 1e-8, 2.5]))
def test_price_to_volatility_to_price(terms, error):
    right, spot, strike, time, volatility, rate, _ = terms
    discount = discount_of(time, rate)
    price = black_price(right, spot, strike, volatility * math.sqrt(time), discount)
    found = implied_volatility(right, price, spot, strike, time, discount, error)
    if found is None:
        assert why_undetermined(right, price, spot, strike, time, discount)
    else:
        again = black_price(right, spot, strike, found * math.sqrt(time), discount)
        assert again == pytest.approx(price, rel=1e-8, abs=1e-8)


@given(rights, spots, moneyness, years, st.floats(-0.1, 1.3), st.sampled_from([0.0, 1e-8, 2.5]))
def test_any_price_has_one_answer(right, forward, of_forward, time, share, error):
    """Prices from below what is sure to above what is possible: a volatility that gives it back, or unknown."""
    strike = forward * of_forward
    price = share * (forward if right is Right.CALL else strike)
    found = implied_volatility(right, price, forward, strike, time, 1.0, error)
    array = implied_volatility_array(sign_of(right), price, forward, strike, time, 1.0, error)
    assert (found is None) == bool(np.isnan(array))
    if found is not None:
        assert found > 0
        # Two searches may stop a digit apart, and near the most that is possible a digit is much volatility.
        assert array == pytest.approx(found, rel=1e-4)
        assert black_price(right, forward, strike, found * math.sqrt(time)) == pytest.approx(price, rel=1e-8, abs=1e-8)
