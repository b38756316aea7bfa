from datetime import date

import pytest

from core.exits.payoff import payoff_of, value_at_expiry
from core.exits.profit_and_loss import (
    best_side_pnl,
    days_to_expiry,
    executable_price,
    leg_pnl,
    pnl_percent,
)
from core.model.instrument import Right
from tests.unit.exits.builders import call, key, leg, position, put, quote, stock

SPREAD = position(leg(1, 75, 40), leg(2, -75, 120))


def test_an_unknown_mark_or_entry_makes_the_pnl_unknown():
    assert leg_pnl(leg(1, 75, None), 4_000) is None
    assert leg_pnl(leg(1, 75, 40), None) is None


def test_executable_is_the_side_that_an_order_meets_and_best_side_the_other():
    quotes = {key(1): quote(1, 42, bid=41, ask=43), key(2): quote(2, 163, bid=162, ask=164)}
    assert [executable_price(leg, quotes[leg.instrument.key]) for leg in SPREAD.legs] == [4_100, 16_400]
    assert best_side_pnl(SPREAD, quotes) == 75 * 300 - 75 * 4_200
    assert best_side_pnl(SPREAD, quotes, realised=250) == 75 * 300 - 75 * 4_200 + 250
    assert best_side_pnl(SPREAD, {key(1): quotes[key(1)]}) is None
    assert best_side_pnl(SPREAD, quotes | {key(2): quote(2, 163, ask=164, book=False)}) is None
    assert executable_price(SPREAD.legs[0], None) is None


@pytest.mark.parametrize(
    ("pnl", "premium", "expected"), [(50, 200, 25), (-50, -200, -25), (50, 0, None), (None, 200, None), (5, None, None)]
)
def test_pnl_percent_is_of_the_premium_without_its_sign(pnl, premium, expected):
    assert pnl_percent(pnl, premium) == expected


def test_days_to_expiry_are_calendar_days_to_the_earliest_expiry():
    of = position(leg(1, 75, 1, expiry=date(2026, 11, 26)), leg(2, 75, 1, expiry=date(2026, 12, 31)), stock(3, 75, 1))
    assert [days_to_expiry(of, date(2026, 11, day)) for day in (19, 25, 26, 27)] == [7, 1, 0, -1]
    assert days_to_expiry(position(stock(1, 75, 1)), date(2026, 11, 19)) is None


@pytest.mark.parametrize(
    ("legs", "most", "least"),
    [
        ((call(1, 75, 100, 5),), None, 37_500),
        ((call(1, -75, 100, 5),), 37_500, None),
        ((put(1, 75, 100, 5),), 95 * 7_500, 37_500),
        ((put(1, -75, 100, 5),), 37_500, 95 * 7_500),
        ((call(1, 75, 100, 5), call(2, -75, 110, 2)), 7 * 7_500, 3 * 7_500),
        (
            (put(1, 75, 80, 1), put(2, -75, 90, 4), call(3, -75, 110, 4), call(4, 75, 120, 1)),
            6 * 7_500,
            4 * 7_500,
        ),
        ((stock(1, 75, 100), call(2, -75, 110, 4)), 14 * 7_500, 96 * 7_500),
        ((leg(1, 75, 100),), None, 100 * 7_500),
        ((leg(1, -75, 100),), 100 * 7_500, None),
        ((call(1, 75, 100, 5), call(2, -150, 110, 1)), 7 * 7_500, None),
        # Bought for more than it can ever be worth: it makes nothing at all.
        ((call(1, 75, 100, 12), call(2, -75, 110, 1)), 0, 11 * 7_500),
    ],
)
def test_max_profit_and_max_loss(legs, most, least):
    payoff = payoff_of(position(*legs))
    assert (payoff.max_profit, payoff.max_loss, payoff.note) == (most, least, "")


@pytest.mark.parametrize(
    ("legs", "why"),
    [
        ((call(1, 75, 100, None),), "no entry price for NSE_FNO:1"),
        ((call(1, 75, 100, 5), call(2, -75, 100, 5, expiry=date(2027, 1, 1))), "different days"),
    ],
)
def test_an_unknown_payoff_says_why(legs, why):
    payoff = payoff_of(position(*legs))
    assert (payoff.max_profit, payoff.max_loss) == (None, None)
    assert why in payoff.note


def test_an_option_without_a_strike_has_no_known_payoff():
    assert "no strike" in payoff_of(position(leg(1, 75, 5, right=Right.CALL))).note


def test_values_at_expiry():
    assert [value_at_expiry(call(1, 75, 100, 5), price) for price in (9_000, 10_000, 11_000)] == [
        -37_500,
        -37_500,
        37_500,
    ]
    assert value_at_expiry(stock(1, -75, 100), 9_000) == 75_000
