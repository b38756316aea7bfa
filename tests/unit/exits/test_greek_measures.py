"""What each Greek level compares, and what options are priced with."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time

import pytest

from core.exits.greek_measures import GreekFacts, is_beyond, measure
from core.exits.greek_moment import closing_time, pricing_moment
from core.exits.position_greeks import Greeks
from core.model.instrument import InstrumentKey, Segment
from core.model.special_levels import GreekKind
from tests.unit.exits import builders
from tests.unit.exits.judge_rig import call, put, utc_ns

NOW = utc_ns("10:00:00")
NEXT = date(2027, 1, 28)


def facts(position=None, value=1_500_000, reference=None, iv=0.2, **values):
    known = {"delta": -60.0, "gamma": -0.15, "theta": -120_000.0, "vega": -45_000.0}
    held = position or builders.position(call(1), put(2, 150))
    return GreekFacts(Greeks(**(known | values)), iv, held, value, reference)


# Paise: a straddle of 75 and 150 at 100.00 has a net premium of 75 × 100 - 150 × 100 rupees.
@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (GreekKind.DELTA, facts(), 4_000),  # 60 of the largest leg's 150 units
        (GreekKind.DELTA, facts(delta=150.0), 10_000),
        (GreekKind.GAMMA, facts(reference=0.075), 20_000),
        (GreekKind.GAMMA, facts(gamma=0.0, reference=0.075), 0),
        (GreekKind.GAMMA, facts(), None),
        (GreekKind.GAMMA, facts(reference=0.0), None),
        (GreekKind.THETA, facts(), 80_000),  # ₹1,200 of ₹15,000 a day is 8 per cent
        (GreekKind.THETA, facts(theta=120_000.0), 0),  # it gains by time
        (GreekKind.THETA, facts(theta=0.0, value=0), 0),
        (GreekKind.THETA, facts(value=0), None),
        (GreekKind.VEGA, facts(), 60_000),  # ₹450 a point of ₹7,500
        (GreekKind.VEGA, facts(builders.position(call(1), put(2, 75))), None),
        (GreekKind.VEGA, facts(builders.position(call(1, entry=None))), None),
        (GreekKind.IV_DOWN, facts(reference=0.25), 200_000),
        (GreekKind.IV_DOWN, facts(reference=0.16), -250_000),
        (GreekKind.IV_UP, facts(reference=0.16), 250_000),
        (GreekKind.IV_UP, facts(), None),
        (GreekKind.IV_DOWN, facts(iv=None, reference=0.2), None),
        (GreekKind.IV_BELOW, facts(), 200_000),
        (GreekKind.IV_ABOVE, facts(iv=0.18555), 185_550),
        (GreekKind.IV_ABOVE, facts(iv=None), None),
    ],
)
def test_a_measure_in_ten_thousandths(kind, given, value):
    seen = measure(kind, given)
    assert seen.value == value
    assert seen.text


@pytest.mark.parametrize("kind", GreekKind)
def test_beyond_is_at_the_threshold_and_on_its_far_side(kind):
    step = -1 if kind is GreekKind.IV_BELOW else 1
    assert [is_beyond(kind, 5_000 + off * step, 5_000) for off in (-1, 0, 1)] == [False, True, True]


@pytest.mark.parametrize(
    ("kind", "given", "text"),
    [
        (GreekKind.DELTA, facts(), "|delta| 0.4 per unit of the largest leg (-60.0 units in all)"),
        (GreekKind.GAMMA, facts(reference=0.075), "|gamma| 2 × its reference (0.15 per rupee, reference 0.075)"),
        (GreekKind.THETA, facts(), "decay of one day 8 % of the value (₹1,200.00 of ₹15,000.00)"),
        (GreekKind.THETA, facts(theta=-1.0), "decay of one day 6.667e-05 % of the value (₹0.01 of ₹15,000.00)"),
        (GreekKind.VEGA, facts(), "|vega| of one point 6 % of |net premium| (₹450.00 of ₹7,500.00)"),
        (GreekKind.IV_DOWN, facts(reference=0.25), "volatility 20.00 %, -20.00 % from its reference 25.00 %"),
        (GreekKind.IV_ABOVE, facts(), "volatility 20.00 % a year"),
    ],
)
def test_a_measure_says_what_it_was_made_of(kind, given, text):
    assert measure(kind, given).text == text


# What options are priced with


@pytest.mark.parametrize(
    ("expiry", "segment", "closes"),
    [
        (date(2026, 7, 30), Segment.NSE_FNO, time(15, 30)),
        (date(2026, 8, 2), Segment.BSE_FNO, time(15, 30)),
        (date(2026, 8, 3), Segment.NSE_FNO, time(15, 40)),
        (date(2026, 8, 18), Segment.BSE_FNO, time(15, 40)),
        (date(2026, 8, 18), Segment.MCX_COMM, None),
        (date(2026, 8, 18), Segment.NSE_CURRENCY, None),
    ],
)
def test_options_end_at_the_close_of_their_exchange(expiry, segment, closes):
    assert closing_time(expiry, segment) == closes


def moment_of(*legs, spot=2_400_000, **marks):
    position = builders.position(*legs)
    known = {leg.instrument.key: marks.get(f"m{leg.instrument.key.security_id}", 10_000) for leg in legs}
    return pricing_moment(position, known, spot, NOW)


def test_with_a_spot_options_are_priced_on_it():
    found = moment_of(call(1), put(2))
    assert (found.now_ns, found.closes_at, found.spot, found.forwards) == (NOW, time(15, 40), 2_400_000, {})


def test_a_future_that_is_held_is_better_than_the_spot():
    future = builders.leg(3, 75, 24_050)
    assert moment_of(call(1), future, m3=2_405_500).forwards == {builders.EXPIRY: 2_405_500}
    later = builders.leg(3, 75, 24_050, expiry=NEXT)
    assert moment_of(call(1), later, m3=2_405_500).forwards == {}
    frozen = moment_of(call(1), put(2), future, spot=None, m1=30_000, m3=2_405_500)
    assert frozen.forwards == {builders.EXPIRY: 2_405_500}
    assert moment_of(call(1), builders.stock(4, 75, 24_000)).forwards == {}


def test_without_a_spot_a_pair_of_one_strike_and_expiry_implies_the_forward():
    legs = (call(1, strike=24_000), put(2, strike=24_000), call(3, strike=24_500), put(4, strike=23_500))
    found = moment_of(*legs, spot=None, m1=15_000, m2=11_000)
    assert found.forwards == {builders.EXPIRY: 2_404_000}
    assert found.spot is None
    assert moment_of(*legs[2:], spot=None).forwards == {}
    other = put(2, strike=24_000, expiry=NEXT)
    assert moment_of(legs[0], other, spot=None).forwards == {}


def test_of_two_pairs_the_one_nearer_the_money_counts():
    legs = (call(1), put(2), call(3, strike=24_500), put(4, strike=24_500))
    found = moment_of(*legs, spot=None, m1=30_000, m2=10_000, m3=9_000, m4=39_500)
    assert found.forwards == {builders.EXPIRY: 2_420_000}


def test_near_the_money_is_where_call_and_put_cost_the_same():
    legs = (call(1, strike=23_500), put(2, strike=23_500), call(3), put(4))
    found = moment_of(*legs, spot=None, m1=70_000, m2=1_000, m3=30_000, m4=10_000)
    assert found.forwards == {builders.EXPIRY: 2_420_000}


def test_an_option_without_strike_or_expiry_implies_nothing():
    bare = replace(call(1), instrument=replace(call(1).instrument, strike=None))
    other = replace(put(2), instrument=replace(put(2).instrument, strike=None))
    assert moment_of(bare, other, spot=None).forwards == {}
    undated = replace(call(1), instrument=replace(call(1).instrument, expiry=None))
    assert moment_of(undated).forwards == {}


def test_a_position_of_two_expiries_ends_with_the_earlier_close():
    old = call(1, expiry=date(2026, 7, 30))
    assert moment_of(old, put(2)).closes_at == time(15, 30)


def test_what_ends_nobody_knows_when_cannot_be_priced():
    crude = replace(call(1), instrument=replace(call(1).instrument, key=InstrumentKey(Segment.MCX_COMM, 1)))
    assert moment_of(put(2), replace(crude, instrument=replace(crude.instrument, expiry=NEXT))).startswith(
        "nobody has said"
    )
    assert moment_of(crude) == "nobody has said when options of MCX_COMM end on their last day"
