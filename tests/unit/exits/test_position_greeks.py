"""Greeks of a position against its own repricing, signs and units, and what stays unknown."""

from datetime import date, datetime, time, timedelta

import pytest

from core.exits.position_greeks import (
    Greeks,
    LegGreeks,
    PricingMoment,
    Shock,
    position_greeks,
    position_iv,
    position_shock,
    shock_grid,
)
from core.exits.profit_and_loss import leg_pnl
from core.model.instrument import Right
from core.model.session_time import IST
from core.pricing.black import black_76, black_scholes
from tests.unit.exits.builders import EXPIRY, call, key, leg, position, put, stock
from tests.unit.pricing import quantlib

NOW = int(datetime(2026, 12, 17, 15, 30, tzinfo=IST).timestamp()) * 1_000_000_000
DAY = 86_400 * 1_000_000_000
FAR = EXPIRY + timedelta(28)
YEARS = 7 / 365
CLOSE = time(15, 30)
ON_SPOT = PricingMoment(NOW, CLOSE, spot=2_400_000, rate=0.06, dividend_yield=0.01)
ON_FORWARD = PricingMoment(NOW, CLOSE, spot=2_400_000, forwards={EXPIRY: 2_403_000.0}, rate=0.06)
CONDOR = position(put(1, 75, 23_500, 20), put(2, -75, 23_800, 70), call(3, -75, 24_200, 80), call(4, 75, 24_500, 30))
SMILE = {1: 0.15, 2: 0.14, 3: 0.12, 4: 0.13}


def marks_at(of, moment, volatilities, years=YEARS):
    """Whole paise, as marks are."""
    marks = {}
    for each in of.legs:
        right, strike = each.instrument.right, each.instrument.strike
        volatility = volatilities[each.row_id]
        if moment.forwards:
            worth = black_76(right, moment.forwards[EXPIRY], strike, years, volatility, moment.rate)
        else:
            worth = black_scholes(right, moment.spot, strike, years, volatility, moment.rate, moment.dividend_yield)
        marks[each.instrument.key] = round(worth.price)
    return marks


def numbers(greeks):
    return [greeks.delta, greeks.gamma, greeks.theta, greeks.vega]


@pytest.mark.parametrize("moment", [ON_SPOT, ON_FORWARD], ids=["spot", "forward"])
def test_each_leg_by_quantlib_at_its_implied_volatility(moment):
    marks = marks_at(CONDOR, moment, SMILE)
    greeks = position_greeks(CONDOR, marks, moment)
    sums = [0.0] * 4
    for of_leg in greeks.legs:
        leg_of = of_leg.leg
        assert of_leg.iv == pytest.approx(SMILE[leg_of.row_id], abs=2e-5)
        terms = leg_of.instrument.right, float(leg_of.instrument.strike), YEARS, of_leg.iv, 0.06
        if moment is ON_SPOT:
            price, delta, gamma, theta, vega, _ = quantlib.on_spot(terms[0], 2_400_000.0, *terms[1:], 0.01)
        else:
            price, delta, gamma, vega, _ = quantlib.on_forward(terms[0], 2_403_000.0, *terms[1:])
            theta = quantlib.on_spot(terms[0], 2_403_000.0, *terms[1:], 0.06)[3]
        assert price == pytest.approx(marks[leg_of.instrument.key], abs=1e-6)
        wanted = [leg_of.units * each for each in (delta, gamma * 100, theta / 365, vega / 100)]
        assert numbers(of_leg.greeks) == pytest.approx(wanted, rel=1e-6)
        sums = [total + each for total, each in zip(sums, wanted, strict=True)]
    assert numbers(greeks.total) == pytest.approx(sums, rel=1e-6)
    assert greeks.note == ""


def test_a_short_condor_decays_in_our_favour_and_fears_volatility():
    greeks = position_greeks(CONDOR, marks_at(CONDOR, ON_SPOT, SMILE), ON_SPOT)
    assert (greeks.total.theta > 0, greeks.total.gamma < 0, greeks.total.vega < 0) == (True,) * 3
    assert abs(greeks.total.delta) < 20


def test_greeks_are_what_the_position_does():
    greeks = position_greeks(CONDOR, marks_at(CONDOR, ON_SPOT, SMILE), ON_SPOT)
    now = position_shock(greeks, 0, 0)
    up, down = position_shock(greeks, 0.05, 0), position_shock(greeks, -0.05, 0)
    move = 2_400_000 * 0.0005
    # The forward moves by the spot's share, so the spot's delta is seen through it to the carry of a week.
    assert (up - down) / (2 * move) == pytest.approx(greeks.total.delta, abs=0.01)
    assert (up - 2 * now + down) / move**2 * 100 == pytest.approx(greeks.total.gamma, rel=0.01)
    points = sum(each.greeks.vega * each.iv for each in greeks.legs)
    assert (position_shock(greeks, 0, 1) - position_shock(greeks, 0, -1)) / 2 == pytest.approx(points, rel=0.01)
    at_now = sum(leg_pnl(each.leg, each.mark) for each in greeks.legs)
    assert now == at_now


def test_theta_is_what_a_day_brings():
    bought = position(call(1, 75, 24_000, 250, expiry=FAR))
    moment = PricingMoment(NOW, CLOSE, spot=2_400_000)
    greeks = position_greeks(bought, {key(1): 62_000}, moment)
    years = 35 / 365
    prices = [black_scholes(Right.CALL, 2_400_000, 2_400_000, years - d, greeks.iv).price for d in (0, 1 / 36_500)]
    assert 75 * (prices[1] - prices[0]) * 100 == pytest.approx(greeks.total.theta, rel=1e-3)
    assert greeks.total.theta < 0


def test_the_close_of_the_last_day_is_the_callers():
    """Ten more minutes make the same price a lower volatility; at the close there is none."""
    bought = position(call(1, 75, 24_000, 20))
    last = int(datetime(2026, 12, 24, 15, 20, tzinfo=IST).timestamp()) * 1_000_000_000
    ivs = [
        position_greeks(bought, {key(1): 2_000}, PricingMoment(last, close, spot=2_400_000)).iv
        for close in (time(15, 30), time(15, 40))
    ]
    assert ivs[0] == pytest.approx(ivs[1] * 2**0.5, rel=1e-3)
    over = position_greeks(bought, {key(1): 2_000}, PricingMoment(last, time(15, 20), spot=2_400_000))
    assert (over.total, over.note) == (None, "NIFTY-1: the option has expired")
    # One minute before.
    minute = PricingMoment(last, time(15, 21), spot=2_400_000)
    assert position_greeks(bought, {key(1): 400}, minute).total.delta == pytest.approx(37.5, abs=0.1)


def test_stock_and_futures_have_a_delta_of_one():
    covered = position(stock(1, 75, 240), call(2, -75, 24_200, 80), leg(3, -150, 24_100))
    greeks = position_greeks(covered, {key(2): 8_000}, ON_SPOT)
    share, sold, future = greeks.legs
    assert share == LegGreeks(covered.legs[0], None, greeks=Greeks(75, 0, 0, 0))
    assert (future.greeks, future.iv, future.note) == (Greeks(-150, 0, 0, 0), None, "")
    own = sold.greeks
    assert numbers(greeks.total) == pytest.approx([75 - 150 + own.delta, own.gamma, own.theta, own.vega])
    assert greeks.iv == pytest.approx(sold.iv)
    alone = position_greeks(position(stock(1, 75, 240)), {}, PricingMoment(NOW, CLOSE))
    assert (alone.total, alone.iv, alone.note) == (Greeks(75, 0, 0, 0), None, "")


def test_the_volatility_of_a_position_weighs_each_leg_by_its_vega():
    greeks = position_greeks(CONDOR, marks_at(CONDOR, ON_SPOT, SMILE), ON_SPOT)
    weights = [abs(each.greeks.vega) for each in greeks.legs]
    wanted = sum(weight * each.iv for weight, each in zip(weights, greeks.legs, strict=True)) / sum(weights)
    assert greeks.iv == pytest.approx(wanted) == position_iv(greeks.legs)
    assert 0.12 < greeks.iv < 0.15
    unknown = LegGreeks(CONDOR.legs[0], None, note="no price")
    assert position_iv((*greeks.legs, unknown)) is None
    assert position_iv(()) is None


@pytest.mark.parametrize(
    ("legs", "marks", "moment", "note"),
    [
        ((call(1, 75, 24_000, 5),), {}, ON_SPOT, "NIFTY-1: no price"),
        ((call(1, 75, 24_000, 5),), {1: 500}, PricingMoment(NOW, CLOSE), "NIFTY-1: no price of the underlying"),
        (
            (call(1, 75, 24_000, 5, expiry=FAR),),
            {1: 500},
            PricingMoment(NOW, CLOSE, forwards={EXPIRY: 2_400_000.0}),
            "NIFTY-1: no price of the underlying",
        ),
        (
            (leg(1, 75, 5, right=Right.PUT),),
            {1: 500},
            ON_SPOT,
            "NIFTY-1: no right, strike or expiry in the instrument master",
        ),
        (
            (call(1, 75, 24_000, 5), call(2, -75, 20_000, 5)),
            {1: 20_000, 2: 400_000},
            ON_SPOT,
            "NIFTY-2: the price is not above what the option is worth without volatility",
        ),
        # Half a tick is much volatility here.
        (
            (put(1, -75, 22_000, 5),),
            {1: 5},
            PricingMoment(NOW + 7 * DAY - DAY // 48, CLOSE, spot=2_400_000),
            "NIFTY-1: the price hardly depends on volatility",
        ),
    ],
)
def test_what_is_unknown_is_none_in_every_sum(legs, marks, moment, note):
    marks = {key(number): mark for number, mark in marks.items()}
    greeks = position_greeks(position(*legs, stock(9, 1, 1)), marks, moment)
    assert (greeks.iv, greeks.total) == (None, None)
    assert greeks.note == note
    assert [of_leg.mark for of_leg in greeks.legs[:-1]] == [marks.get(leg.instrument.key) for leg in legs]
    assert position_shock(greeks, 1, 0) is None
    assert {shock.pnl for shock in shock_grid(greeks)} == {None}


def test_a_shock_moves_stock_and_futures_with_the_spot():
    held = position(stock(1, 10, 240), leg(2, -5, 24_000))
    greeks = position_greeks(held, {key(1): 25_000, key(2): 2_410_000}, ON_SPOT)
    assert position_shock(greeks, 0, 50) == 10 * 1_000 - 5 * 10_000
    assert position_shock(greeks, 2, 0) == 10 * 1_500 - 5 * 58_200
    assert position_shock(position_greeks(held, {key(1): 25_000}, ON_SPOT), 0, 0) is None
    unfilled = position(stock(1, 10, None))
    assert position_shock(position_greeks(unfilled, {key(1): 25_000}, ON_SPOT), 0, 0) is None


def test_a_shock_of_volatility_is_a_share_of_it():
    bought = position(call(1, 75, 24_000, 250))
    greeks = position_greeks(bought, {key(1): 30_000}, ON_FORWARD)
    for percent in (-20, 20):
        worth = black_76(Right.CALL, 2_403_000 * 0.97, 2_400_000, YEARS, greeks.iv * (1 + percent / 100), 0.06).price
        assert position_shock(greeks, -3, percent) == round(75 * (worth - 25_000))
    # All of it gone: what it would pay at the forward.
    discount = 2.718281828459045 ** (-0.06 * YEARS)
    assert position_shock(greeks, 0, -100) == round(75 * (3_000 * discount - 25_000))
    assert position_shock(greeks, -100, 0) == -75 * 25_000


def test_the_grid_is_every_pair():
    greeks = position_greeks(CONDOR, marks_at(CONDOR, ON_SPOT, SMILE), ON_SPOT)
    grid = shock_grid(greeks)
    assert len(grid) == 21
    assert grid[10] == Shock(0, 0, position_shock(greeks, 0, 0))
    assert [shock.spot_percent for shock in grid[:7]] == [-3, -2, -1, 0, 1, 2, 3]
    assert [shock.volatility_percent for shock in grid[::7]] == [-20, 0, 20]
    assert shock_grid(greeks, (1,), (5,)) == (Shock(1, 5, position_shock(greeks, 1, 5)),)
    # A condor that was sold: calm markets are better for it than wild ones.
    assert grid[3].pnl > grid[10].pnl > grid[17].pnl


def test_calendars_are_priced_each_leg_at_its_own_forward():
    legs = call(1, -75, 24_000, 100), call(2, 75, 24_000, 300, expiry=FAR)
    moment = PricingMoment(NOW, CLOSE, forwards={EXPIRY: 2_403_000.0, FAR: 2_415_000.0}, rate=0.06)
    near, far = position_greeks(position(*legs), {key(1): 20_000, key(2): 60_000}, moment).legs
    assert (near.terms.forward, far.terms.forward) == (2_403_000, 2_415_000)
    assert (near.terms.years, far.terms.years) == pytest.approx((YEARS, 35 / 365))
    assert (near.leg.instrument.expiry, far.leg.instrument.expiry) == (date(2026, 12, 24), FAR)
    assert near.greeks.gamma < 0 < far.greeks.vega


def test_a_price_must_stand_half_a_tick_above_what_is_sure():
    """A tick is 5 paise: 2 paise of time value may be none, 3 are some."""
    bought = position(call(1, 75, 23_900, 100))
    moment = PricingMoment(NOW, CLOSE, forwards={EXPIRY: 2_400_000.0})
    by_mark = [position_greeks(bought, {key(1): mark}, moment).legs[0] for mark in (10_002, 10_003)]
    assert [of_leg.iv is None for of_leg in by_mark] == [True, False]
    assert (by_mark[0].mark, by_mark[0].terms) == (10_002, by_mark[1].terms)


def test_an_option_without_a_day_is_unknown():
    undated = position(call(1, 75, 24_000, 5, expiry=None))
    assert position_greeks(undated, {key(1): 500}, ON_SPOT).note == (
        "NIFTY-1: no right, strike or expiry in the instrument master"
    )
