"""Levels of the underlying: rows, overrides, and supports and resistances on the side that hurts."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.override_text import parse_override
from core.exits.read_levels import LevelSettings, Technical
from core.exits.underlying_rows import hurting_ways
from core.model.exit_levels import Action, LevelSource
from core.model.trade_rows import MonitoringRow
from tests.unit.exits.builders import ROW, call, leg, position, put, stock
from tests.unit.exits.level_builders import condor, names, read, risk, row

MONITORING, OPERATOR = LevelSource.MONITORING, LevelSource.OPERATOR
LEVELS = MonitoringRow(1, support=23_900_00, resistance=24_100_00)
CLOSE = Action.CLOSE_POSITION


def level(name, price, action="", trigger_type="price", **other):
    return row("stop_loss", price, trigger_type, level_name=name, action=action, **other)


def of(levels):
    return [(x.is_above, x.price / 100, x.candle_minutes, x.action, x.source) for x in levels.underlying]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("underlying_below", (False, 23_950.05, None, CLOSE, ROW)),
        ("Underlying_Above", (True, 23_950.05, None, CLOSE, ROW)),
        ("underlying_below_close_1m", (False, 23_950.05, 1, CLOSE, ROW)),
        ("underlying_below_close_5m", (False, 23_950.05, 5, CLOSE, ROW)),
        ("underlying_above_close_375m", (True, 23_950.05, 375, CLOSE, ROW)),
    ],
)
def test_a_row_names_way_and_candle_and_its_price_is_not_rescaled(name, expected):
    levels = read(condor(3), level(name, 23_950.05), risk=risk(max_capital_at_risk=3_000_00))
    assert of(levels) == [expected]
    assert levels.stop.source is LevelSource.CATEGORY_DEFAULT


@pytest.mark.parametrize("minutes", [0, 376, 999])
def test_a_candle_that_no_session_has_is_named(minutes):
    levels = read(condor(), level(f"underlying_below_close_{minutes}m", 23_950))
    assert (levels.underlying, levels.stop.source) == ((), LevelSource.CATEGORY_DEFAULT)
    assert names(levels.notes, f"expected a candle of 1 to 375 minutes, received {minutes}; not used")


@pytest.mark.parametrize("trigger_type", ["percentage", "dte", "greek_value"])
def test_another_trigger_type_is_named(trigger_type):
    levels = read(condor(), level("underlying_below", 23_950, trigger_type=trigger_type))
    assert levels.underlying == ()
    assert names(levels.notes, f"expected the underlying's price (trigger type price), not {trigger_type!r}; not used")


@pytest.mark.parametrize(
    ("text", "action", "is_told"),
    [
        ("", CLOSE, False),
        ("Close position", CLOSE, False),
        ("Close position immediately", Action.CLOSE_IMMEDIATELY, False),
        ("Close 50%", Action.CLOSE_50, False),
        ("Adjust", Action.ADJUST, False),
        ("Monitor", Action.ADJUST, True),
        ("Exit if key levels broken", Action.ADJUST, True),
    ],
)
def test_what_a_row_does(text, action, is_told):
    levels = read(condor(), level("underlying_below", 23_950, text))
    assert levels.underlying[0].action is action
    assert names(levels.notes, f"action {text!r} closes nothing for certain; the level only alerts") is is_told


@pytest.mark.parametrize(
    ("price", "is_used"), [(8_000, True), (7_999, False), (72_000, True), (72_001, False), (240, False)]
)
def test_a_price_that_cannot_be_the_underlyings_is_named(price, is_used):
    """The strikes are around 24,000."""
    for levels in (
        read(condor(), level("underlying_above", price)),
        read(condor(), override=parse_override(f"underlying_above={price}")),
        read(condor(), level("underlying_above", price), spot=24_000_00),
    ):
        assert bool(levels.underlying) is is_used
        assert names(levels.notes, "not used: expected a price near ₹24,000.00") is not is_used


def test_of_a_price_the_size_counts_and_a_row_without_one_is_no_level():
    assert of(read(condor(), level("underlying_below", -23_950.05))) == [(False, 23_950.05, None, CLOSE, ROW)]
    without = replace(level("underlying_below", 1), value=None)
    assert read(condor(), without).underlying == ()


def test_without_strike_and_spot_any_price_is_one():
    assert len(read(position(stock(1, 75, 100)), level("underlying_above", 5)).underlying) == 1


def test_of_each_way_the_first_source_wins_with_all_its_levels():
    rows = (level("underlying_below", 23_800, level_id=1), level("underlying_below_close_5m", 23_900, level_id=2))
    levels = read(condor(), *rows, monitoring=LEVELS)
    assert of(levels) == [
        (False, 23_800, None, CLOSE, ROW),
        (False, 23_900, 5, CLOSE, ROW),
        (True, 24_100, 5, Action.ADJUST, MONITORING),
    ]
    override = parse_override("underlying_below=23500; underlying_above=24500/15m")
    assert of(read(condor(), *rows, monitoring=LEVELS, override=override)) == [
        (False, 23_500, None, CLOSE, OPERATOR),
        (True, 24_500, 15, CLOSE, OPERATOR),
    ]
    off = read(condor(), *rows, monitoring=LEVELS, override=parse_override("none=underlying"))
    assert off.underlying == ()
    assert names(off.notes, "levels of the underlying: switched off by the operator's override")


class TestMonitoring:
    @pytest.mark.parametrize(
        ("position_", "ways"),
        [
            (condor(), [False, True]),
            (position(put(1, -75, 23_800, 60)), [False]),
            (position(call(1, -75, 24_200, 60)), [True]),
            (position(call(1, 75, 24_200, 60)), [False]),
            (position(put(1, 75, 23_800, 60)), [True]),
            (position(call(1, 75, 24_000, 60), put(2, 75, 24_000, 60)), []),
            (position(call(1, 75, 24_000, 60), call(2, -75, 24_200, 20)), [False]),
            (position(call(1, -75, 24_000, 60), call(2, 75, 24_200, 20)), [True]),
            (position(stock(1, 75, 24_000), call(2, -75, 24_200, 60)), [False]),
        ],
    )
    def test_only_what_hurts_the_position_is_watched(self, position_, ways):
        levels = read(position_, monitoring=LEVELS)
        assert [x.is_above for x in levels.underlying] == ways
        assert all(
            x.candle_minutes == 5 and x.action is Action.ADJUST and x.source is MONITORING for x in levels.underlying
        )
        assert [x.note for x in levels.underlying] == [{False: "support", True: "resistance"}[way] for way in ways]

    @pytest.mark.parametrize(
        ("technical", "setting", "action"),
        [
            (None, Technical.ALERT, Action.ADJUST),
            (None, Technical.CLOSE, CLOSE),
            ("Exit if key levels broken", Technical.ALERT, Action.ADJUST),
            ("Exit if key levels broken", Technical.CLOSE, CLOSE),
            ("Exit position", Technical.ALERT, CLOSE),
            ("Close 50%", Technical.CLOSE, Action.CLOSE_50),
            ("Exit position", Technical.OFF, None),
        ],
    )
    def test_it_closes_only_where_the_rows_or_the_setting_say_so(self, technical, setting, action):
        columns = risk(technical_stops={"support_resistance": technical}) if technical else None
        trees = (
            risk(exit_conditions={"stop_losses": {"technical": {"support_resistance": technical}}})
            if technical
            else None
        )
        for asked in (columns, trees):
            levels = read(condor(), monitoring=LEVELS, risk=asked, settings=LevelSettings(technical=setting))
            assert [x.action for x in levels.underlying] == ([action] * 2 if action else [])

    @pytest.mark.parametrize(
        ("spot", "ways"),
        [
            (24_000, [False, True]),
            (23_900, [True]),
            (23_800, [True]),
            (24_100, [False]),
            (24_200, [False]),
            (None, [False, True]),
        ],
    )
    def test_a_level_on_the_wrong_side_of_the_entrys_spot_is_named(self, spot, ways):
        levels = read(condor(), monitoring=LEVELS, spot=None if spot is None else spot * 100)
        assert [x.is_above for x in levels.underlying] == ways
        told = f"on the wrong side of the price ₹{spot or 0:,.2f} at which the strategy was made"
        assert names(levels.notes, f"support ₹23,900.00 not used: {told}") is (False not in ways)
        assert names(levels.notes, f"resistance ₹24,100.00 not used: {told}") is (True not in ways)

    def test_zero_is_none(self):
        assert read(condor(), monitoring=MonitoringRow(1)).underlying == ()
        assert of(read(condor(), monitoring=MonitoringRow(1, support=23_900_00)))[0][0] is False


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["CE", "PE", "EQ"]),
            st.integers(-3, 3).filter(bool),
            st.sampled_from([90, 100, 110]),
            st.integers(0, 30),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_ways_that_hurt_are_those_of_the_payoff_far_away(legs):
    """Oracle: the P&L at expiry at 0, and where the underlying has risen beyond every bend, by arithmetic."""
    made, total = [], {0: 0, 10**9: 0}
    for number, (right, units, strike, entry) in enumerate(legs, start=1):
        maker = {"CE": call, "PE": put}.get(right)
        made.append(stock(number, units, entry) if maker is None else maker(number, units, strike, entry))
        for price in total:
            worth = {"CE": max(price - strike, 0), "PE": max(strike - price, 0), "EQ": price}[right]
            total[price] += units * (worth - entry)
    assert hurting_ways(position(*made)) == (total[0] < 0, total[10**9] < 0)


@pytest.mark.parametrize(
    ("legs", "ways"),
    [
        # One put: at zero it is worth the strike. In paise: worth 100, paid 99, 100, 101.
        ((put(1, 1, 1, 0.99),), (False, True)),
        ((put(1, 1, 1, 1),), (False, True)),
        ((put(1, 1, 1, 1.01),), (True, True)),
        # A bull spread of calls: far above it is worth 100. Paid 99, 100, 101.
        ((call(1, 1, 1, 2.99), call(2, -1, 2, 2)), (True, False)),
        ((call(1, 1, 1, 3), call(2, -1, 2, 2)), (True, False)),
        ((call(1, 1, 1, 3.01), call(2, -1, 2, 2)), (True, True)),
        # Stock under a sold call: it is called away at the strike of 100. Paid 99, 100, 101.
        ((stock(1, 1, 1.49), call(2, -1, 1, 0.5)), (True, False)),
        ((stock(1, 1, 1.5), call(2, -1, 1, 0.5)), (True, False)),
        ((stock(1, 1, 1.51), call(2, -1, 1, 0.5)), (True, True)),
    ],
)
def test_a_way_hurts_from_the_first_paisa_of_loss(legs, ways):
    assert hurting_ways(position(*legs)) == ways


def test_without_entries_only_what_grows_without_end_is_known():
    rights = {"CE": call, "PE": put}
    for (right, maker), units in product(rights.items(), (1, -1)):
        below, above = hurting_ways(position(maker(1, units, 100, None)))
        assert below is not (right == "PE" and units > 0)
        assert above is not (right == "CE" and units > 0)
    future = leg(1, 75, None)
    assert hurting_ways(position(future)) == (True, False)
