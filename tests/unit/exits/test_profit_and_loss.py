from datetime import date

import pytest

from core.exits.profit_and_loss import (
    best_side_pnl,
    days_to_expiry,
    executable_price,
    leg_pnl,
    pnl_percent,
)
from tests.unit.exits.builders import key, leg, position, quote, stock

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
    assert best_side_pnl(SPREAD, quotes, realised=None) is None
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
