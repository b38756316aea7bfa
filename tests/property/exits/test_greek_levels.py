"""Measures of Greek levels: the same for any number of lots, and for each threshold in its turn."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from core.exits.greek_measures import GreekFacts, is_beyond, measure
from core.exits.greek_moment import pricing_moment
from core.exits.position_greeks import position_greeks
from core.model.special_levels import GreekKind
from tests.unit.exits import builders
from tests.unit.exits.judge_rig import call, put, utc_ns
from tests.unit.exits.option_prices import worth, years_between

NOW = utc_ns("10:00:00")
SPOT = 24_000

LEGS = st.lists(
    st.tuples(
        st.sampled_from([call, put]),
        st.sampled_from([23_500, 23_800, 24_000, 24_200, 24_500]),
        st.sampled_from([-3, -2, -1, 1, 2, 3]),
        st.floats(0.08, 0.4),
        st.integers(50, 400),
    ),
    min_size=1,
    max_size=4,
)


def measures_of(legs, lots, references=(None, None)):
    """Every kind's measure of these legs times `lots`; the references are gamma (of one lot each) and volatility."""
    held, marks = [], {}
    years = years_between(NOW, builders.EXPIRY)
    for number, (make, strike, units, iv, entry) in enumerate(legs, 1):
        leg = make(number, units=units * 75 * lots, strike=strike, entry=entry)
        held.append(leg)
        marks[leg.instrument.key] = round(worth(make is call, SPOT, strike, iv, years) * 20) * 5
    position = builders.position(*held)
    greeks = position_greeks(position, marks, pricing_moment(position, marks, SPOT * 100, NOW))
    assume(greeks.total is not None)
    value = abs(sum(leg.units * marks[leg.instrument.key] for leg in held))
    gamma, volatility = references
    found = {}
    for kind in GreekKind:
        reference = None if gamma is None else gamma * lots if kind is GreekKind.GAMMA else volatility
        found[kind] = measure(kind, GreekFacts(greeks.total, greeks.iv, position, value, reference)).value
    return found, greeks


@given(legs=LEGS, lots=st.integers(2, 40), scale=st.floats(0.2, 5))
def test_no_measure_depends_on_the_number_of_lots(legs, lots, scale):
    _, greeks = measures_of(legs, 1)
    # A position whose gammas cancel out has none to compare with.
    assume(abs(greeks.total.gamma) > 1e-4)
    references = abs(greeks.total.gamma) * scale, greeks.iv * scale
    one, _ = measures_of(legs, 1, references)
    many, _ = measures_of(legs, lots, references)
    for kind, value in one.items():
        if value is None:
            assert many[kind] is None
        else:
            assert abs(many[kind] - value) <= max(1, abs(value) * 1e-9), kind


@given(
    kind=st.sampled_from(list(GreekKind)),
    value=st.integers(-(10**7), 10**8),
    one=st.integers(1, 10**7),
    more=st.integers(0, 10**7),
)
def test_who_is_beyond_a_threshold_is_beyond_every_nearer_one(kind, value, one, more):
    near, far = (one + more, one) if kind is GreekKind.IV_BELOW else (one, one + more)
    assert not is_beyond(kind, value, far) or is_beyond(kind, value, near)


@given(legs=LEGS)
def test_bought_and_sold_mirror_each_other(legs):
    """Delta, gamma, vega and volatility are sizes; only the side that pays for time has a decay."""
    mirrored = [(make, strike, -units, iv, entry) for make, strike, units, iv, entry in legs]
    one, greeks = measures_of(legs, 1)
    other, _ = measures_of(mirrored, 1)
    for kind in (GreekKind.DELTA, GreekKind.VEGA, GreekKind.IV_ABOVE, GreekKind.IV_BELOW):
        assert one[kind] == other[kind]
    decays = [one[GreekKind.THETA], other[GreekKind.THETA]]
    assert 0 in decays
    assert replace(greeks).total.theta < 0 or decays[0] == 0
