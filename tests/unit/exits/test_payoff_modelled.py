"""The estimate at the first expiry agrees with the exact payoff where there is one, and with its bounds where there is not."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.payoff import payoff_of
from core.exits.payoff_modelled import ModelledPayoff, modelled_payoff
from core.model.instrument import Right
from core.pricing.black import black_scholes
from tests.unit.exits.builders import EXPIRY, call, key, leg, position, put, stock
from tests.unit.exits.test_payoff import STRATEGIES

FAR = EXPIRY + timedelta(28)
SPOT = 10_000
CALENDAR = position(call(1, -75, 100, 2), call(2, 75, 100, 4, expiry=FAR))
VOLATILITY = {key(2): 0.2}


@pytest.mark.parametrize("legs", [legs for legs, *_ in STRATEGIES.values()], ids=STRATEGIES)
def test_of_one_expiry_it_is_exact(legs):
    exact, found = payoff_of(position(*legs)), modelled_payoff(position(*legs), SPOT, {})
    assert (found.max_profit, found.max_loss) == (exact.max_profit, exact.max_loss)
    assert (found.is_profit_unlimited, found.is_loss_unlimited) == (exact.is_profit_unlimited, exact.is_loss_unlimited)
    assert (found.breakevens, found.note) == (exact.breakevens, "")
    assert found.at == (EXPIRY if legs and legs[0].instrument.expiry else found.at)


def test_a_calendar_makes_most_at_its_strike():
    found = modelled_payoff(CALENDAR, SPOT, VOLATILITY)
    at_strike = black_scholes(Right.CALL, 10_000, 10_000, 28 / 365, 0.2).price
    assert found.max_profit == round(75 * (at_strike - 400 + 200))
    assert (found.at, found.max_loss, found.note) == (EXPIRY, payoff_of(CALENDAR).max_loss, "")
    low, high = found.breakevens
    assert (type(low), type(high)) == (int, int)
    for price in (low, high):
        worth = black_scholes(Right.CALL, price, 10_000, 28 / 365, 0.2).price
        assert worth - max(price - 10_000, 0) == pytest.approx(200, abs=1)


def test_a_smooth_peak_between_the_grids_prices_is_found():
    """A short straddle that lives on: its best price is none of the grid's."""
    legs = call(1, -75, 101.37, 4, expiry=FAR), put(2, -75, 101.37, 4, expiry=FAR), call(3, 1, 500, 0)
    found = modelled_payoff(position(*legs), SPOT, {key(1): 0.2, key(2): 0.3}, rate=0.06)
    worths = [
        black_scholes(Right.CALL, price, 10_137, 28 / 365, 0.2, 0.06).price
        + black_scholes(Right.PUT, price, 10_137, 28 / 365, 0.3, 0.06).price
        for price in range(9_500, 10_500)
    ]
    assert found.max_profit == pytest.approx(75 * (800 - min(worths)), abs=1)


def test_interest_takes_from_the_strike_far_out():
    """A later call far in the money is the underlying less the strike's worth today: more than the one that ends."""
    found = modelled_payoff(CALENDAR, SPOT, VOLATILITY, rate=0.5)
    debit = 75 * 200
    assert found.max_loss == debit
    short = position(call(1, 75, 100, 2), call(2, -75, 100, 4, expiry=FAR))
    gain = modelled_payoff(short, SPOT, {key(2): 0.0001}, rate=0.5)
    assert gain.max_loss == round(75 * 10_000 * (1 - 2.718281828459045 ** (-0.5 * 28 / 365)) - debit)


def test_what_is_left_at_infinity_counts_beyond_the_grid():
    """A put calendar loses its debit only where the later put is worth nothing: in a wild market, far beyond the grid."""
    legs = put(1, -75, 100, 2), put(2, 75, 100, 4, expiry=FAR)
    assert modelled_payoff(position(*legs), SPOT, {key(2): 4.0}, rate=-0.1).max_loss == 75 * 200
    # With interest the calls keep what the strike costs less: their profit nears it from above.
    legs = call(1, -75, 100, 2), call(2, 75, 100, 2, expiry=FAR), stock(3, 75, 100), stock(3, -75, 100)
    far = modelled_payoff(position(*legs), SPOT, {key(2): 0.2}, rate=0.1)
    assert far.max_loss == 0
    assert far.max_profit > round(75 * 10_000 * (1 - 2.718281828459045 ** (-0.1 * 28 / 365)))


def test_single_units_count():
    found = modelled_payoff(position(call(1, -1, 100, 5)), SPOT, {})
    assert (found.max_profit, found.max_loss, found.is_loss_unlimited) == (500, None, True)
    found = modelled_payoff(position(call(1, 1, 100, 300.01), call(2, 1, 600, 0)), 0, {})
    assert found.breakevens == (40_001,)
    # One paisa short of a premium where the grid ends, at three times the strike.
    found = modelled_payoff(position(call(1, 1, 1, 2.01)), 0, {})
    assert found.breakevens == (301,)


def test_an_earlier_day_prices_every_option():
    day = EXPIRY - timedelta(7)
    bought = position(call(1, 75, 100, 2))
    found = modelled_payoff(bought, SPOT, {key(1): 0.2}, day)
    assert (found.at, found.max_loss, found.is_profit_unlimited, found.max_profit) == (day, 15_000, True, None)
    (breakeven,) = found.breakevens
    assert black_scholes(Right.CALL, breakeven, 10_000, 7 / 365, 0.2).price == pytest.approx(200, abs=1)
    with pytest.raises(ValueError, match="expected a day up to the first expiry 2026-12-24, received 2026-12-25"):
        modelled_payoff(bought, SPOT, {key(1): 0.2}, date(2026, 12, 25))


@pytest.mark.parametrize(
    ("legs", "why"),
    [
        (CALENDAR.legs, "no volatility for NSE_FNO:2"),
        ((call(1, 75, 100, None),), "no entry price for NSE_FNO:1"),
    ],
)
def test_what_is_missing_is_said(legs, why):
    found = modelled_payoff(position(*legs), SPOT, {})
    assert found == ModelledPayoff(EXPIRY, None, None, None, f"modelled payoff unknown: {why}")
    assert (found.is_profit_unlimited, found.is_loss_unlimited) == (False, False)


def test_a_covered_call_before_its_day():
    day = EXPIRY - timedelta(30)
    found = modelled_payoff(position(stock(1, 1, 100), call(2, -1, 105, 3)), SPOT, {key(2): 0.3}, day)
    (breakeven,) = found.breakevens
    worth = [p - black_scholes(Right.CALL, p, 10_500, 30 / 365, 0.3).price for p in (breakeven - 1, breakeven + 1)]
    assert worth[0] < 9_700 < worth[1]
    assert (found.max_profit, found.max_loss) == (800, 9_700)


def test_of_a_stretch_at_zero_only_its_ends():
    assert modelled_payoff(position(call(1, 75, 100, 0)), SPOT, {}).breakevens == (0, 10_000)
    assert modelled_payoff(position(put(1, 75, 100, 0)), SPOT, {}).breakevens == (10_000,)


def test_a_breakeven_beyond_the_grid_is_where_the_last_slope_leads():
    found = modelled_payoff(position(call(1, 1, 100, 1_000), stock(2, 1, 0)), SPOT, {})
    assert found.breakevens == payoff_of(position(call(1, 1, 100, 1_000), stock(2, 1, 0))).breakevens == (55_000,)
    assert modelled_payoff(position(stock(1, 1, 100)), SPOT, {}) == ModelledPayoff(
        None, None, 10_000, (10_000,), is_profit_unlimited=True
    )


legs_of_two_days = st.lists(
    st.tuples(
        st.sampled_from(Right), st.integers(-3, 3).filter(bool), st.sampled_from([80, 95, 100, 105, 120]), st.booleans()
    ),
    min_size=2,
    max_size=4,
)


@given(legs_of_two_days, st.floats(0.05, 1.5))
def test_without_interest_the_estimate_keeps_to_what_is_proven(contracts, volatility):
    legs = [
        leg(number, units, 5, strike=strike, right=right, expiry=FAR if is_far else EXPIRY)
        for number, (right, units, strike, is_far) in enumerate(contracts)
    ]
    proven = payoff_of(position(*legs))
    found = modelled_payoff(position(*legs), SPOT, {leg.instrument.key: volatility for leg in legs})
    assert (found.is_profit_unlimited, found.is_loss_unlimited) == (
        proven.is_profit_unlimited,
        proven.is_loss_unlimited,
    )
    for estimate, bound in ((found.max_profit, proven.max_profit), (found.max_loss, proven.max_loss)):
        assert bound is None or estimate <= bound
