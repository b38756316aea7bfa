"""Money: what a wire or a row says becomes the nearest whole paisa, or an error that shows the value."""

import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.money import (
    MAX_PRICE_PAISE,
    is_on_grid,
    paise_from_text,
    paise_from_wire,
    rupees,
    rupees_text,
    snap_down,
    snap_up,
)


def as_float32(price: float) -> float:
    return struct.unpack("<f", struct.pack("<f", price))[0]


@given(st.integers(0, 13_107_200))
def test_every_price_of_today_comes_back_from_float32_to_the_paisa(paise):
    assert paise_from_wire(as_float32(paise / 100)) == paise


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -float("inf"), MAX_PRICE_PAISE / 100 * 1.01, -2e6])
def test_a_wire_price_that_is_none_is_unknown(price):
    assert paise_from_wire(price) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [("98.4", 9_840), (98.4, 9_840), (" 1020 ", 102_000), (Decimal("0.05"), 5), ("-1.005", -100), ("0.015", 2), (0, 0)],
)
def test_amounts_are_read_to_the_nearest_paisa(value, expected):
    assert paise_from_text(value) == expected


@pytest.mark.parametrize("value", ["ninety", "", "nan", "inf", float("nan"), "1,000", "12 rupees"])
def test_what_is_no_amount_is_refused_and_shown(value):
    with pytest.raises(ValueError, match="expected a") as error:
        paise_from_text(value)
    assert repr(value) in str(error.value)


@given(st.integers(-(10**12), 10**12))
def test_rupees_and_back_lose_nothing(paise):
    assert paise_from_text(rupees(paise)) == paise


def test_rupees_as_a_trader_reads_them():
    assert [rupees_text(paise) for paise in (0, 5, -102_000, 123_456_789)] == [
        "₹0.00",
        "₹0.05",
        "₹-1,020.00",
        "₹1,234,567.89",
    ]


@given(price=st.integers(0, 10**8), tick=st.sampled_from([1, 5, 10, 100]))
def test_snapping_stays_within_a_tick_on_the_asked_side(price, tick):
    down, up = snap_down(price, tick), snap_up(price, tick)
    assert down <= price <= up
    assert up - down in (0, tick)
    assert is_on_grid(down, tick)
    assert is_on_grid(up, tick)
    assert is_on_grid(price, tick) is (down == up == price)
