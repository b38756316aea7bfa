"""Prices to the paisa, sides of one unit, and ids that every version of the program must compute alike."""

import pytest

from core.exits.order_plan import (
    LadderSettings,
    closing_side,
    correlation_id_of,
    exit_id_of,
    has_other_side,
    limit_price,
    price_limits,
    short_legs,
)
from core.model.market import Quote
from core.model.orders import Side
from tests.unit.order_side.rig import instrument, leg, position

LADDER = LadderSettings()
EXIT_ID = "7-3-202d9cb16c"
CORRELATION_ID = "XO444XXANISRSJHMLW2QI"


def quote(last, bid, ask):
    return Quote(instrument().key, last, bid, ask, 0, 0, None, 0)


def test_ids_stay_what_they_were_when_the_program_is_updated_in_the_middle_of_an_exit():
    """Written down when the format was settled. Another id for the same attempt could send an order a second time."""
    held = position(7, leg(11, 501, -75), leg(12, 502, 75))
    assert exit_id_of(held, 3) == EXIT_ID
    assert correlation_id_of("7-3-abc", 11, 2) == CORRELATION_ID
    assert len(CORRELATION_ID) == 21


def test_one_unit_is_bought_back_or_sold():
    assert closing_side(-1) is Side.BUY
    assert closing_side(1) is Side.SELL
    assert short_legs(position(1, leg(1, 501, -1), leg(2, 502, 1))) == (0,)


def test_a_buyer_needs_an_ask_and_a_seller_a_bid():
    assert has_other_side(Side.BUY, quote(100, None, 105))
    assert not has_other_side(Side.BUY, quote(100, 95, None))
    assert has_other_side(Side.SELL, quote(100, 95, None))
    assert not has_other_side(Side.SELL, quote(100, None, 105))


@pytest.mark.parametrize(
    ("mark", "low", "high"),
    [(3_000, 1_001, 4_999), (5_000, 3_001, 6_999), (5_003, 3_003, 7_003), (10_000, 6_001, 13_999)],
)
def test_price_protection_is_exact_where_the_tick_is_a_paisa(mark, low, high):
    assert price_limits(instrument(tick=1), mark) == (low, high)


def test_prices_are_measured_from_the_last_trade_when_it_is_inside_a_wide_book():
    seen = quote(10_000, 8_000, 20_000)
    assert limit_price(Side.BUY, seen, instrument(), 0, LADDER) == 13_995
    assert limit_price(Side.SELL, seen, instrument(), 0, LADDER) == 7_995


@pytest.mark.parametrize(
    ("number", "buy", "sell"),
    [(0, 10_010, 9_990), (1, 10_055, 9_945), (2, 10_155, 9_845), (3, 10_405, 9_595), (4, 11_005, 8_995)],
)
def test_each_rung_dares_so_much_more(number, buy, sell):
    """1 tick, 0.5 %, 1.5 %, 4 %, 10 % beyond the best price of the other side, on the grid."""
    seen = quote(10_000, 9_995, 10_005)
    contract = instrument(right=None)
    assert limit_price(Side.BUY, seen, contract, number, LADDER) == buy
    assert limit_price(Side.SELL, seen, contract, number, LADDER) == sell


def test_without_limits_the_last_rung_is_kept():
    seen = quote(10_000, 9_995, 10_005)
    assert limit_price(Side.BUY, seen, instrument(right=None), 9, LADDER) == 11_005


def test_a_band_that_is_off_the_grid_is_kept_to_from_inside():
    contract = instrument(lower_limit=9_983, upper_limit=10_013)
    seen = quote(10_000, 9_985, 10_010)
    assert limit_price(Side.SELL, seen, contract, 4, LADDER) == 9_985
    assert limit_price(Side.BUY, seen, contract, 4, LADDER) == 10_010
