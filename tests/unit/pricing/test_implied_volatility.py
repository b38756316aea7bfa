"""Where a volatility is implied, it gives the price back; where it is not determined, it is unknown."""

import itertools
import math

import numpy as np
import pytest
import QuantLib

from core.model.instrument import Right
from core.pricing import implied_volatility as search
from core.pricing import implied_volatility_array as array_search
from core.pricing.black import black_price, sign_of
from core.pricing.implied_volatility import implied_volatility, why_undetermined
from core.pricing.implied_volatility_array import implied_volatility_array

CALL, PUT = Right.CALL, Right.PUT
MINUTE = 1 / 525_600
FORWARDS = (24_000.0, 2_400_000.0, 45.0)
MONEYNESS = (0.3, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1, 1.0001, 1.002, 1.01, 1.02, 1.05, 1.25, 2, 3)
YEARS = (MINUTE, 10 * MINUTE, 375 * MINUTE, 7 / 365, 30 / 365, 1.0, 5.0)
VOLATILITIES = (0.01, 0.05, 0.1, 0.15, 0.4, 1.0, 3.0)
GRID = [
    (right, forward, forward * of_forward, years, volatility, math.exp(-0.065 * years))
    for right, forward, of_forward, years, volatility in itertools.product(
        Right, FORWARDS, MONEYNESS, YEARS, VOLATILITIES
    )
]


def price_at(right, forward, strike, years, volatility, discount):
    return black_price(right, forward, strike, volatility * math.sqrt(years), discount)


def test_price_to_volatility_to_price_over_the_grid():
    prices = [price_at(*terms) for terms in GRID]
    found = [
        implied_volatility(right, price, forward, strike, years, discount)
        for price, (right, forward, strike, years, _, discount) in zip(prices, GRID, strict=True)
    ]
    known = 0
    for price, volatility, (right, forward, strike, years, used, discount) in zip(prices, found, GRID, strict=True):
        if volatility is not None:
            known += 1
            again = price_at(right, forward, strike, years, volatility, discount)
            assert abs(again - price) < 1e-8 * max(1, price)
            # Not to the last digit: a deep call of 11 lakh holds its volatility in the last digits of its price.
            assert volatility == pytest.approx(used, rel=1e-4)
    assert known > len(GRID) / 2
    right, forward, strike, years, _, discount = zip(*GRID, strict=True)
    arrays = implied_volatility_array([sign_of(each) for each in right], prices, forward, strike, years, discount)
    assert arrays == pytest.approx([math.nan if each is None else each for each in found], rel=1e-9, nan_ok=True)


def test_against_quantlibs_own_search():
    for right, forward, strike, years, volatility, discount in GRID[::5]:
        price = price_at(right, forward, strike, years, volatility, discount)
        found = implied_volatility(right, price, forward, strike, years, discount, price_error=0.01)
        if found is not None:
            kind = QuantLib.Option.Call if right is CALL else QuantLib.Option.Put
            start = 1.5 * volatility * math.sqrt(years)
            theirs = QuantLib.blackFormulaImpliedStdDev(kind, strike, forward, price, discount, 0, start, 1e-14, 1_000)
            assert found * math.sqrt(years) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(
    ("right", "price", "years", "why"),
    [
        (CALL, 999.9, 0.1, "the price is not above what the option is worth without volatility"),
        (CALL, 1_000, 0.1, "the price is not above what the option is worth without volatility"),
        (PUT, 0, 0.1, "the price is not above what the option is worth without volatility"),
        (PUT, -5, 0.1, "the price is not above what the option is worth without volatility"),
        (CALL, 24_000, 0.1, "the price is above what the option can be worth at any volatility"),
        (PUT, 23_000, 0.1, "the price is above what the option can be worth at any volatility"),
        (CALL, 24_000.5, 0.1, "the price is above what the option can be worth at any volatility"),
        (CALL, 1_050, 0, "the option has expired"),
        (CALL, 1_050, -1, "the option has expired"),
    ],
)
def test_a_price_that_no_volatility_gives_is_unknown_and_says_why(right, price, years, why):
    """Strike 23,000 with the forward at 24,000."""
    assert implied_volatility(right, price, 24_000, 23_000, years) is None
    assert np.isnan(implied_volatility_array(sign_of(right), price, 24_000, 23_000, years))
    assert why_undetermined(right, price, 24_000, 23_000, years) == why


def test_a_price_that_hardly_depends_on_volatility_is_unknown():
    """A put of 0.10 half an hour before expiry: half a tick of 0.05 is worth many points."""
    terms = (PUT, 0.10, 24_000, 22_000, 30 * MINUTE)
    exact = implied_volatility(*terms)
    assert exact == pytest.approx(3.2, abs=0.5)
    assert implied_volatility(*terms, price_error=0.025) is None
    assert np.isnan(implied_volatility_array(-1, *terms[1:], 1.0, 0.025))
    assert why_undetermined(*terms) == "the price hardly depends on volatility"
    # With a week left the same half tick moves it by less than a point.
    assert implied_volatility(PUT, 0.10, 24_000, 22_000, 7 / 365, price_error=0.025) is not None


def test_the_price_error_decides_at_intrinsic_value_too():
    assert implied_volatility(CALL, 1_000.02, 24_000, 23_000, 7 / 365, price_error=0.025) is None
    assert implied_volatility(CALL, 1_000.03, 24_000, 23_000, 7 / 365, price_error=0.025) is not None
    assert implied_volatility(CALL, 23_999.98, 24_000, 23_000, 7 / 365, price_error=0.025) is None


def test_at_the_money_it_is_the_price_over_what_a_point_costs():
    volatility = implied_volatility(CALL, 100.0, 24_000, 24_000, 7 / 365)
    assert volatility == pytest.approx(100 * math.sqrt(2 * math.pi) / 24_000 / math.sqrt(7 / 365), rel=1e-5)


def test_floats_that_say_nothing_are_not_asked():
    """No error at all is claimed, but the time value is below what the sum of such numbers can hold."""
    assert implied_volatility(CALL, math.nextafter(1_000, 2_000), 24_000, 23_000, 0.1, price_error=0) is None
    assert implied_volatility(CALL, 1 + 1e-14, 24_000, 23_999, 1e-6, price_error=0) is None
    assert np.isnan(implied_volatility_array(1, [1 + 1e-14], 24_000, 23_999, 1e-6, 1.0, 0.0)).all()
    assert implied_volatility(CALL, math.nextafter(24_000, 0), 24_000, 23_000, 0.1, price_error=0) is None


@pytest.mark.parametrize(
    "terms", [(PUT, 24_000, 22_000, 0.1, 0.3, 1), (PUT, 24_000, 22_000, 0.1, 2.5, 1), (CALL, 100, 100, 1, 2, 1)]
)
@pytest.mark.parametrize("step", [-math.inf, math.inf])
def test_whatever_the_steps_do_the_bracket_closes_in(monkeypatch, terms, step):
    """With every Newton step made useless, halving and doubling alone find the volatility."""
    right, forward, strike, years, volatility, discount = terms
    steps = []

    def useless(*_, **__):
        steps.append(step)
        return step

    monkeypatch.setattr(search, "_step", useless)
    monkeypatch.setattr(search, "MAX_STEPS", 40)
    monkeypatch.setattr(array_search, "_step", useless)
    monkeypatch.setattr(array_search, "MAX_STEPS", 40)
    price = price_at(*terms)
    assert implied_volatility(right, price, forward, strike, years, discount) == pytest.approx(volatility, rel=1e-8)
    assert len(steps) == 40
    assert implied_volatility_array(sign_of(right), price, forward, strike, years, discount) == pytest.approx(
        volatility, rel=1e-8
    )


def test_the_search_ends_soon(monkeypatch):
    """Far below the inflection, above it, and at the money, where there is none."""
    steps = []
    for module in (search, array_search):
        counted = module._step
        monkeypatch.setattr(
            module, "_step", lambda *each, counted=counted, **named: steps.append(1) or counted(*each, **named)
        )
    for strike, volatility in ((22_000, 0.3), (23_900, 0.6), (24_000, 0.15)):
        price = price_at(PUT, 24_000, strike, 7 / 365, volatility, 1)
        found = implied_volatility(PUT, price, 24_000, strike, 7 / 365)
        assert (found, 2 <= len(steps) <= 8) == (pytest.approx(volatility, rel=1e-9), True)
        steps.clear()
        array = implied_volatility_array(-1, price, 24_000, strike, 7 / 365)
        assert (array[()], 2 <= len(steps) <= 8) == (pytest.approx(volatility, rel=1e-9), True)
        steps.clear()


def test_a_search_cut_short_gives_what_it_has(monkeypatch):
    monkeypatch.setattr(search, "MAX_STEPS", 1)
    monkeypatch.setattr(array_search, "MAX_STEPS", 1)
    terms = (PUT, 24_000, 22_000, 0.1, 0.3, 1)
    found = implied_volatility(PUT, price := price_at(*terms), 24_000, 22_000, 0.1)
    assert implied_volatility_array(-1, price, 24_000, 22_000, 0.1) == pytest.approx(found)
    assert 0.3 < found < 2


def test_a_strike_above_the_forward_is_bounded_by_the_forward():
    assert implied_volatility(CALL, 24_500, 24_000, 25_000, 0.1) is None
    assert np.isnan(implied_volatility_array(1, 24_500, 24_000, 25_000, 0.1))
    assert why_undetermined(CALL, 24_500, 24_000, 25_000, 0.1) == (
        "the price is above what the option can be worth at any volatility"
    )
    assert implied_volatility(CALL, 24_000 - 1e-9, 24_000, 25_000, 0.1) is None


def test_five_points_are_the_most_that_a_price_error_may_move_it():
    """At the money, where a point costs the same at every volatility."""
    price = price_at(CALL, 24_000, 24_000, 0.01, 0.2, 1)
    point = 24_000 * 0.1 / math.sqrt(2 * math.pi) / 100
    for points, is_known in ((4.99, True), (5.01, False)):
        found = implied_volatility(CALL, price, 24_000, 24_000, 0.01, price_error=points * point)
        array = implied_volatility_array(1, price, 24_000, 24_000, 0.01, 1.0, points * point)
        assert (found is not None, not np.isnan(array)) == (is_known, is_known)


def test_shapes_are_broadcast():
    prices = np.array([[700.0], [800.0]])
    found = implied_volatility_array(1, prices, 24_000, [23_900, 24_000, 24_100], 0.1)
    assert found.shape == (2, 3)
    assert found[1, 2] == pytest.approx(implied_volatility(CALL, 800, 24_000, 24_100, 0.1))
    assert implied_volatility_array([], [], [], [], []).shape == (0,)
