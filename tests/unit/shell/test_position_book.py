"""From the rows of one snapshot to levels: every table reaches the position that it speaks of, and no other."""

from dataclasses import replace
from datetime import date, time

import pytest

from core.exit_profiles import book_rules, guard_settings, profiles_by, square_off_times
from core.exits.read_levels import LevelSettings, Technical
from core.model.errors import ConfigurationError
from core.model.exit_levels import Action, LevelSource
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.position import Product
from core.model.profile import Profile
from core.model.trade_rows import LevelRow, MonitoringRow, PlannedLeg, RiskRow, StrategyRow, TradeRow
from core.position_book import LACKING, build_book
from core.settings import load_settings
from core.stores.base import Snapshot
from strategies import profiles
from strategies.profiles import NAMED_PROFILES

TODAY = date(2026, 11, 20)
CALL = Instrument(
    InstrumentKey(Segment.NSE_FNO, 501),
    "NIFTY-Dec2026-26000-CE",
    "NIFTY",
    65,
    5,
    None,
    26_000_00,
    date(2026, 12, 29),
    Right.CALL,
)
IV_UP = '{"vega": {"condition": "IV expands > 50%", "action": "Close position"}}'


def trade(strategy_id):
    return TradeRow(
        strategy_id, strategy_id, "Sold Call", "NIFTY", 501, "NSE_FNO", "CE", False, 130, 100_00, 26_000_00, "2026-12-29",
        "MARGIN", "2026-11-19T10:00:00",
    )  # fmt: skip


def book(*, strategies=(), risks=(), levels=(), monitoring=(), details=(), ids=(7, 8), **environ):
    snapshot = Snapshot(
        tuple(map(trade, ids)),
        tuple(strategies),
        tuple(risks),
        tuple(levels),
        (),
        frozenset(),
        "",
        tuple(monitoring),
        tuple(details),
    )
    built = build_book(snapshot, {CALL.key: CALL}, book_rules(load_settings(environ, None)), TODAY)
    return {each.position.strategy_id: each.levels for each in built.positions}


def strategy(strategy_id=7, **other):
    return StrategyRow(strategy_id, "Sold Call", "Neutral", "NIFTY", "NET_CREDIT", **other)


def test_each_table_reaches_its_own_position():
    found = book(
        strategies=[strategy(spot_price=25_500_00), strategy(8, spot_price=26_900_00)],
        risks=[RiskRow(7, greek_triggers=IV_UP)],
        levels=[LevelRow(1, 8, "stop_loss", "primary", 900_00, "price", Action.CLOSE_POSITION, "Close")],
        monitoring=[MonitoringRow(7, resistance=26_200_00), MonitoringRow(8, resistance=26_200_00)],
        details=[PlannedLeg(7, "CE", 26_000_00, "2026-12-29", volatility=12.5), PlannedLeg(9, "CE", 26_000_00, None)],
    )
    assert [(level.price, level.is_above) for level in found[7].underlying] == [(26_200_00, True)]
    assert [(level.kind, level.reference, level.action) for level in found[7].greeks] == [
        ("iv_up", 0.125, Action.CLOSE_POSITION)
    ]
    assert found[7].stop.source is LevelSource.CATEGORY_DEFAULT
    assert (found[8].stop.amount, found[8].underlying, found[8].greeks) == (1_800_00, (), ())
    assert any("on the wrong side of the price ₹26,900.00" in note for note in found[8].notes)


class TestReadAgain:
    ROWS = (LevelRow(1, 7, "stop_loss", "primary", 900_00, "price", Action.CLOSE_POSITION, "Close"),)

    def built(self, before=(), *, levels=ROWS, damaged=frozenset(), quantity=130):
        trades = (replace(trade(7), quantity=quantity), trade(8))
        snapshot = Snapshot(trades, (strategy(),), (RiskRow(7, greek_triggers=IV_UP),), levels, (), damaged)
        known = {each.position.strategy_id: each for each in before}
        return build_book(
            snapshot, {CALL.key: CALL}, book_rules(load_settings({}, None)), TODAY, before=known
        ).positions

    def test_levels_whose_rows_have_not_changed_are_the_same_levels(self):
        first = self.built()
        second = self.built(first)
        assert second == first
        # The rules were made anew as well: what is compared is what they say.
        assert all(one.levels is other.levels for one, other in zip(first, second, strict=True))

    @pytest.mark.parametrize("change", [{"levels": ()}, {"quantity": 195}])
    def test_any_change_is_read(self, change):
        first = self.built()
        (changed, same), (anew, _) = self.built(first, **change), self.built(**change)
        assert changed == anew
        assert changed.levels.stop.amount != first[0].levels.stop.amount
        assert same.levels is first[1].levels

    def test_a_row_that_is_set_aside_and_comes_back_leaves_no_note(self):
        first = self.built()
        damaged = self.built(first, damaged=frozenset({7}))
        assert damaged[0].levels.notes == (*first[0].levels.notes, LACKING)
        assert self.built(damaged) == first
        assert self.built(damaged, damaged=frozenset({7})) == damaged


def test_settings_for_all_positions_and_overrides_for_one():
    found = book(
        monitoring=[MonitoringRow(7, resistance=26_200_00)],
        EXIT_LONGEST_HOLDING_DAYS="45",
        SQUARE_OFF_MARGIN="15:20",
        TECHNICAL_LEVELS="close",
        EXIT_ADJUST_FIRST_PERCENT="10",
        EXIT_ADJUST_LAST_PERCENT="20",
        EXIT_OVERRIDE_8="stop=5000; none=hold,adjust",
        EXIT_OVERRIDE_99="stop=1",
    )
    assert (found[7].holding.days, found[7].holding.source) == (45, LevelSource.SETTING)
    assert (found[7].square_off.at, found[7].square_off.source) == (time(15, 20), LevelSource.SETTING)
    assert found[7].underlying[0].action is Action.CLOSE_POSITION
    assert (found[7].adjustment.first, found[7].adjustment.last) == (1_300_00, 2_600_00)
    assert (found[8].stop.amount, found[8].stop.source) == (5_000_00, LevelSource.OPERATOR)
    assert (found[8].holding, found[8].adjustment) == (None, None)


@pytest.mark.parametrize(
    ("of_strategy", "of_risk", "environ", "percent"),
    [
        ("", "", {}, 50),
        ("", "", {"DEFAULT_PROFILE": "conservative_losses"}, 30),
        ("conservative_losses", "", {}, 30),
        ("Conservative_Losses", "", {"DEFAULT_PROFILE": "aggressive_profits"}, 30),
        ("aggressive_profits", "conservative_losses", {}, 30),
        ("conservative_losses", "aggressive_profits", {}, 50),
        ("aggressive_profits", "", {"EXIT_PROFILE_7": "conservative_losses"}, 30),
        ("conservative_losses", "", {"EXIT_PROFILE_7": "aggressive_profits"}, 50),
        ("conservative_losses", "", {"EXIT_PROFILE_8": "aggressive_profits"}, 30),
    ],
)
def test_the_profile_of_one_setting_then_the_rows_then_the_default(of_strategy, of_risk, environ, percent):
    """Of the net premium: the loss of a short call is unlimited."""
    rows = {"strategies": [strategy(exit_profile=of_strategy)], "risks": [RiskRow(7, exit_profile=of_risk)]}
    assert book(**rows, **environ)[7].stop.amount == 13_000_00 * percent // 100


def test_a_profile_in_the_rows_that_does_not_exist_is_named_and_the_category_holds():
    found = book(strategies=[strategy(exit_profile="bold")], DEFAULT_PROFILE="conservative_losses")
    assert found[7].stop.source is LevelSource.CATEGORY_DEFAULT
    expected = "exit_profile 'bold' in the rows is not known: expected one of aggressive_profits, conservative_losses"
    assert expected in found[7].notes
    assert found[8].stop.source is LevelSource.PROFILE
    rescued = book(strategies=[strategy(exit_profile="bold")], EXIT_PROFILE_7="conservative_losses")
    assert rescued[7].stop.source is LevelSource.PROFILE


def test_a_profile_in_the_settings_that_does_not_exist_is_refused_at_start():
    for name in ("DEFAULT_PROFILE", "EXIT_PROFILE_7"):
        with pytest.raises(ConfigurationError, match=f"{name}: there is no exit profile 'bold'"):
            book_rules(load_settings({name: "bold"}, None))


def test_a_profile_with_an_own_rule_that_does_not_exist_is_refused_at_start(monkeypatch):
    rules = {"no_gains_overnight", "no_such_rule"}
    for rule in sorted(rules):
        monkeypatch.setitem(NAMED_PROFILES, "mine", Profile("mine", own_rules=(rule,)))
        if rule == "no_gains_overnight":
            chosen = profiles_by(load_settings({"DEFAULT_PROFILE": "mine"}, None))(1, "Iron Condor", "", "")
            assert chosen.profile.own_rules == (rule,)
        else:
            with pytest.raises(ConfigurationError, match="Exit profile mine names an own rule 'no_such_rule'"):
                profiles_by(load_settings({}, None))
    assert profiles.NAMED_PROFILES is NAMED_PROFILES


def test_what_of_the_settings_reaches_the_levels_and_the_guard():
    settings = load_settings(
        {
            "SQUARE_OFF_INTRADAY": "15:10", "SQUARE_OFF_CNC": "15:05", "SQUARE_OFF_MTF": "15:06:30",
            "EXIT_TRAILING_DISTANCE_PERCENT": "12", "UNDERLYING_STILL_S": "90", "TECHNICAL_LEVELS": "OFF",
            "EXIT_ADJUST_FIRST_PERCENT": "0", "DHAN_CLIENT_ID": "1100",
        },
        None,
    )  # fmt: skip
    times = {Product.INTRADAY: time(15, 10), Product.CNC: time(15, 5), Product.MTF: time(15, 6, 30)}
    assert square_off_times(settings) == times
    rules = book_rules(settings, frozenset({7}))
    assert rules.levels == LevelSettings(times, 12, None, 50, None, Technical.OFF)
    assert (rules.only, rules.account, rules.overrides) == (frozenset({7}), "1100", {})
    assert guard_settings(settings).underlying_still_s == 90
    assert book_rules(load_settings({}, None)).levels == LevelSettings()
