"""Greek and volatility levels: who asks, in which unit, what closes and what only alerts, and what the entry was."""

import pytest

from core.exits.override_text import parse_override
from core.exits.planned_greeks import Planned, planned_entry
from core.model.exit_levels import Action, LevelSource
from core.model.profile import Profile, ProfileGreek
from core.model.special_levels import GreekKind
from core.model.trade_rows import MonitoringRow, PlannedLeg
from tests.unit.exits.builders import EXPIRY, ROW, call, position, put, stock
from tests.unit.exits.level_builders import condor, names, read, risk, row, spread

RISK, TREE, PROFILE = LevelSource.RISK_COLUMN, LevelSource.CONDITIONS, LevelSource.PROFILE
MONITORING = LevelSource.MONITORING
DELTA_TREE = {"delta": {"threshold": 0.7, "condition": "Position delta exceeds threshold", "action": "Close position"}}


def greek(name, value, trigger_type="greek_value", **other):
    return row("greek_trigger", value, trigger_type, level_name=name, **other)


def asked(levels):
    return [(level.kind.value, level.threshold, level.action, level.source) for level in levels.greeks]


@pytest.mark.parametrize(
    ("name", "value", "trigger_type", "threshold"),
    [
        ("delta", 0.5, "greek_value", 0.5),
        ("Delta", 50, "percentage", 0.5),
        ("gamma", 2, "greek_value", 2),
        ("gamma", 200, "percentage", 2),
        ("theta", 5, "percentage", 5),
        ("theta", 5, "greek_value", 5),
        ("vega", 10, "percentage", 10),
        ("iv_down", 20, "percentage", 20),
        ("iv_up", 50, "greek_value", 50),
        ("iv_below", 18.5, "percentage", 18.5),
        ("iv_above", 0.4, "greek_value", 40),
        ("iv_above", 3, "greek_value", 3),
        ("iv_below", 2.99, "greek_value", 299),
    ],
)
def test_a_row_of_each_measure(name, value, trigger_type, threshold):
    levels = read(None, greek(name, value, trigger_type, action="Close position"))
    assert asked(levels) == [(name.lower(), pytest.approx(threshold), Action.CLOSE_POSITION, ROW)]
    assert levels.greeks[0].reference is None


def test_a_fraction_is_read_as_one_and_that_is_said():
    assert read(None, greek("iv_above", 0.4)).greeks[0].note == "greek_trigger row 1; 0.4 read as a fraction of 1"
    assert read(None, greek("iv_above", 40)).greeks[0].note == "greek_trigger row 1"


@pytest.mark.parametrize(
    ("name", "value", "trigger_type", "why"),
    [
        (
            "rho",
            1,
            "greek_value",
            "expected a level name of delta, gamma, theta, vega, iv_down, iv_up, iv_below, iv_above",
        ),
        ("primary", 1, "greek_value", "expected a level name"),
        ("delta", 0.5, "price", "trigger type greek_value or percentage; not used"),
        ("delta", 5, "dte", "trigger type greek_value or percentage; not used"),
        (
            "gamma",
            0.0033,
            "greek_value",
            "expected a multiple of the entry's gamma above 1 (or per cent above 100), received 0.0033",
        ),
        ("gamma", 1, "greek_value", "expected a multiple"),
        ("gamma", 100, "percentage", "expected a multiple"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(name, value, trigger_type, why):
    levels = read(None, greek(name, value, trigger_type))
    assert levels.greeks == ()
    assert names(levels.notes, why)


@pytest.mark.parametrize(
    ("text", "action", "is_doubted"),
    [
        ("Close position", Action.CLOSE_POSITION, False),
        ("Close position immediately", Action.CLOSE_IMMEDIATELY, False),
        ("Close 50%", Action.CLOSE_50, False),
        ("Exit to stop time decay losses", Action.CLOSE_POSITION, False),
        ("Close long volatility positions", Action.CLOSE_POSITION, False),
        ("Adjust", Action.ADJUST, False),
        ("", Action.ADJUST, False),
        ("Hold", Action.ADJUST, False),
        ("Adjust or exit to maintain neutrality", Action.ADJUST, True),
        ("Consider taking profits", Action.ADJUST, True),
        ("Reduce position or hedge", Action.ADJUST, True),
        ("Consider closing short vol positions", Action.ADJUST, True),
    ],
)
def test_what_is_not_certain_only_alerts_and_says_so(text, action, is_doubted):
    in_tree = {"delta": {"threshold": 0.7, "action": text}}
    for levels in (read(None, greek("delta", 0.5, action=text)), read(risk=risk(greek_triggers=in_tree))):
        assert levels.greeks[0].action is action
        assert (f"only alerts, closes nothing for certain: {text!r}" in levels.greeks[0].note) is is_doubted


def test_of_each_measure_the_first_source_wins_with_all_its_thresholds():
    rows = (greek("delta", 0.5, level_id=1), greek("delta", 0.8, level_id=2, action="Close position"))
    columns = risk(
        greek_triggers=DELTA_TREE, exit_conditions={"greek_triggers": {"vega": {"condition": "IV expands > 50%"}}}
    )
    profile = Profile(
        "own", greeks=(ProfileGreek(GreekKind.THETA, 5, Action.CLOSE_POSITION), ProfileGreek(GreekKind.DELTA, 1))
    )
    assert asked(read(None, *rows, risk=columns, profile=profile)) == [
        ("delta", 0.5, Action.ADJUST, ROW),
        ("delta", 0.8, Action.CLOSE_POSITION, ROW),
        ("iv_up", 50, Action.ADJUST, TREE),
        ("theta", 5, Action.CLOSE_POSITION, PROFILE),
    ]
    assert asked(read(risk=columns))[0] == ("delta", 0.7, Action.CLOSE_POSITION, RISK)
    assert asked(read(profile=profile))[1] == ("delta", 1, Action.ADJUST, PROFILE)
    off = read(None, *rows, risk=columns, override=parse_override("none=greeks"))
    assert off.greeks == ()
    assert names(off.notes, "Greeks and volatility: switched off by the operator's override")


def test_nothing_asks_unless_asked():
    assert read().greeks == ()
    assert read(condor()).greeks == ()


def planned_condor(**other):
    """The legs of `condor` as they were planned; gammas and vegas of one unit."""
    shape = (
        ("CE", 24_200, 2e-4, 12.0, 13.0),
        ("CE", 24_300, 1e-4, 8.0, 12.0),
        ("PE", 23_800, 2e-4, 12.0, 15.0),
        ("PE", 23_700, 1e-4, 8.0, 16.0),
    )
    return tuple(
        PlannedLeg(1, right, strike * 100, EXPIRY.isoformat(), **{"gamma": gamma, "vega": vega, "volatility": iv} | other)
        for right, strike, gamma, vega, iv in shape
    )  # fmt: skip


def planned_gamma(of, legs):
    return planned_entry(of, legs).gamma


def planned_volatility(of, legs):
    return planned_entry(of, legs).volatility


class TestPlanned:
    def test_gamma_is_signed_by_the_units(self):
        assert planned_gamma(condor(2), planned_condor()) == Planned(
            pytest.approx(150 * 2e-4), "entry's gamma from strategy_details"
        )

    def test_volatility_is_weighted_by_vega(self):
        found = planned_volatility(condor(), planned_condor())
        assert found.value == pytest.approx((13 * 12 + 12 * 8 + 15 * 12 + 16 * 8) / 40 / 100)
        assert found.note == "entry's volatility 14.0 % from strategy_details"

    def test_without_vegas_it_is_weighted_by_units(self):
        found = planned_volatility(condor(), planned_condor(vega=None))
        assert found.value == pytest.approx(0.14)
        assert found.note.endswith("from strategy_details, by units: not every leg has a vega")

    @pytest.mark.parametrize(("stored", "fraction"), [(13.25, 0.1325), (0.1325, 0.1325), (2.99, 2.99), (3, 0.03)])
    def test_per_cent_and_fractions_are_told_apart_by_their_size(self, stored, fraction):
        assert planned_volatility(condor(), planned_condor(volatility=stored)).value == pytest.approx(fraction)

    def test_every_option_leg_must_be_there(self):
        for missing in range(4):
            rest = tuple(leg for number, leg in enumerate(planned_condor()) if number != missing)
            assert planned_gamma(condor(), rest) is None
            assert planned_volatility(condor(), rest) is None
        assert planned_gamma(condor(), planned_condor(gamma=None)) is None
        assert planned_volatility(condor(), planned_condor(volatility=None)) is None

    def test_stock_legs_need_no_plan_and_alone_have_none(self):
        covered = position(stock(1, 75, 100), call(2, -75, 110, 4))
        plan = (PlannedLeg(1, "CE", 110_00, EXPIRY.isoformat(), 2e-4, 5.0, 0.2),)
        assert planned_gamma(covered, plan).value == pytest.approx(75 * 2e-4)
        assert planned_volatility(covered, plan).value == pytest.approx(0.2)
        assert planned_volatility(position(stock(1, 75, 100)), plan) is None

    def test_another_expiry_is_another_leg_and_no_expiry_fits_any(self):
        one = position(call(1, 75, 100, 5))
        assert planned_gamma(one, (PlannedLeg(1, "CE", 100_00, "2026-11-24", 2e-4),)) is None
        assert planned_gamma(one, (PlannedLeg(1, "CE", 100_00, None, 2e-4),)).value == pytest.approx(75 * 2e-4)
        undated = position(call(1, 75, 100, 5, expiry=None))
        assert planned_gamma(undated, (PlannedLeg(1, "CE", 100_00, None, 2e-4),)) is not None

    def test_gammas_that_cancel_out_are_no_reference(self):
        flat = position(call(1, 75, 100, 5), put(2, -75, 100, 5))
        plan = (PlannedLeg(1, "CE", 100_00, None, 2e-4), PlannedLeg(1, "PE", 100_00, None, 2e-4))
        assert planned_gamma(flat, plan) is None


def test_gamma_and_changes_of_volatility_are_compared_with_the_planned_entry():
    rows = (greek("gamma", 2, level_id=1), greek("iv_up", 50, level_id=2), greek("iv_above", 40, level_id=3))
    levels = read(condor(), *rows, planned=planned_condor())
    assert [level.reference for level in levels.greeks] == [pytest.approx(75 * 2e-4), pytest.approx(0.14), None]
    assert levels.greeks[0].note == "greek_trigger row 1; entry's gamma from strategy_details"
    assert [level.reference for level in read(condor(), *rows).greeks] == [None] * 3


class TestMonitoring:
    def test_limits_of_the_volatility_alert(self):
        levels = read(spread(), monitoring=MonitoringRow(1, iv_upper=40, iv_lower=0.1))
        assert asked(levels) == [
            ("iv_above", 40, Action.ADJUST, MONITORING),
            ("iv_below", 10, Action.ADJUST, MONITORING),
        ]
        assert [level.note for level in levels.greeks] == ["iv_upper_limit", "0.1 read as a fraction of 1"]
        assert read(spread(), monitoring=MonitoringRow(1)).greeks == ()

    @pytest.mark.parametrize(
        ("upper", "lower", "kept"),
        [
            (14.1, 13.9, ["iv_above", "iv_below"]),
            (13.9, 14.1, []),
            (13, 25, []),
            (40, 25, ["iv_above"]),
            (13, 10, ["iv_below"]),
        ],
    )
    def test_a_limit_that_was_passed_at_the_start_is_named(self, upper, lower, kept):
        levels = read(
            condor(), monitoring=MonitoringRow(1, iv_upper=upper, iv_lower=lower), planned=planned_condor(volatility=14)
        )
        assert [level.kind.value for level in levels.greeks] == kept
        for kind, name, limit in (("iv_above", "iv_upper_limit", upper), ("iv_below", "iv_lower_limit", lower)):
            told = f"{name} {limit:g} % not used: the volatility was planned at 14.0 %"
            assert names(levels.notes, told) is (kind not in kept)

    def test_a_row_comes_before_it(self):
        levels = read(
            spread(), greek("iv_above", 30, action="Close position"), monitoring=MonitoringRow(1, iv_upper=40)
        )
        assert asked(levels) == [("iv_above", 30, Action.CLOSE_POSITION, ROW)]
