"""The lines of a plan: every level has one, and its P&L is the rule's own."""

from dataclasses import fields, replace
from datetime import time

import pytest

from core.exits.explain_judges import GREEK_WORDS
from core.exits.explain_levels import LINES_OF, NO_DAYS, list_thresholds
from core.exits.explain_line import Around, Measured, Threshold
from core.exits.rules import PRICE_RULES, RuleFacts
from core.model.exit_levels import Action, ClockLevel, ExitLevels, LevelSource, Rule
from core.model.special_levels import (
    AdjustmentLevel,
    GreekKind,
    GreekLevel,
    LockLevel,
    LockStep,
    ScalingLevel,
    UnderlyingLevel,
)
from tests.unit.exits.builders import ROW, amount, days, trailing

NOT_LEVELS = {"target_action", "max_profit", "max_loss", "notes"}
NEVER_IN_FORCE = {Rule.OPERATOR, Rule.CLOSED_OUTSIDE}
LIMITS = {Rule.STRATEGY_LIMIT, Rule.UNDERLYING_LIMIT, Rule.ACCOUNT_LIMIT, Rule.PORTFOLIO_LIMIT}
EVERYTHING = ExitLevels(
    stop=amount(3_000),
    trailing=trailing(1_500, 750),
    target=amount(4_000),
    dte=days(7),
    theta=days(5),
    square_off=ClockLevel(time(15, 10), ROW),
    premium_trailing=amount(2_000),
    lock=LockLevel((LockStep(50_000, 0), LockStep(200_000, 100_000)), ROW),
    scaling=(ScalingLevel(200_000, Action.CLOSE_50, ROW), ScalingLevel(100_000, Action.CLOSE_25, ROW)),
    losing_time=days(3),
    holding=days(45),
    underlying=(
        UnderlyingLevel(2_600_000, is_above=True, action=Action.CLOSE_POSITION, source=ROW),
        UnderlyingLevel(2_500_000, is_above=False, action=Action.ADJUST, source=ROW, candle_minutes=5),
    ),
    greeks=tuple(GreekLevel(kind, 0.8, Action.ADJUST, ROW) for kind in GreekKind),
    adjustment=AdjustmentLevel(100_000, 200_000, ROW),
    own_rules=("iv_crush",),
)
SPARSE = ExitLevels(stop=amount(3_000))


def lines(rule, levels=EVERYTHING, around=None, **facts):
    found = list_thresholds(RuleFacts(levels, **facts), around or Around())
    return [each for each in found if each.rule is rule]


def test_no_level_is_forgotten():
    assert LINES_OF.keys() | NOT_LEVELS == {field.name for field in fields(ExitLevels)}
    assert {line.rule for line in list_thresholds(RuleFacts(EVERYTHING))} == set(Rule) - NEVER_IN_FORCE - LIMITS
    assert list_thresholds(RuleFacts(ExitLevels())) == ()
    assert GREEK_WORDS.keys() == set(GreekKind)


def noted(levels):
    """The same levels, each with a note of its own field, from a source of their own."""
    changed = {}
    for field in LINES_OF:
        found = getattr(levels, field)
        mark = {"note": f"how {field} was read", "source": LevelSource.OPERATOR}
        if field == "own_rules":
            continue
        changed[field] = (
            tuple(replace(each, **mark) for each in found) if isinstance(found, tuple) else replace(found, **mark)
        )
    return replace(levels, **changed)


@pytest.mark.parametrize("peak", [None, 100_000])
def test_every_line_says_where_its_level_comes_from_and_how_it_was_read(peak):
    levels = noted(EVERYTHING)
    for field, lines_of in LINES_OF.items():
        found = list(lines_of(RuleFacts(levels, peak=peak, days=4), Around()))
        assert found
        for line in found:
            if field == "own_rules":
                assert (line.source, line.note, line.pnl) == (LevelSource.PROFILE, "", None)
                continue
            assert (line.source, line.note) == (LevelSource.OPERATOR, f"how {field} was read")
            assert isinstance(line.level, str)
            assert line.pnl is None or isinstance(line.pnl, int)
            assert isinstance(line.action, Action)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (GreekKind.DELTA, "|delta| per unit of the largest leg ≥ 0.8"),
        (GreekKind.GAMMA, "|gamma| ≥ 0.8 × its reference"),
        (GreekKind.THETA, "decay of one day ≥ 0.8 % of the value"),
        (GreekKind.VEGA, "|vega| of one point ≥ 0.8 % of |net premium|"),
        (GreekKind.IV_DOWN, "volatility 0.8 % or more below its reference"),
        (GreekKind.IV_UP, "volatility 0.8 % or more above its reference"),
        (GreekKind.IV_BELOW, "volatility ≤ 0.8 %"),
        (GreekKind.IV_ABOVE, "volatility ≥ 0.8 %"),
    ],
)
def test_each_greek_in_words(kind, text):
    (line,) = [line for line in lines(Rule.GREEKS) if line.name == kind.value]
    assert (line.level, line.is_above) == (text, kind is not GreekKind.IV_BELOW)


def test_limits_of_the_scopes_stand_among_the_others_by_their_precedence():
    limit = Threshold(Rule.ACCOUNT_LIMIT, "P&L of the account ≤ ₹-1.00", None, LevelSource.SETTING)
    found = list_thresholds(RuleFacts(EVERYTHING), Around(limits=(limit,)))
    places = list(Rule)
    assert limit in found
    assert [places.index(line.rule) for line in found] == sorted(places.index(line.rule) for line in found)


@pytest.mark.parametrize("peak", [None, 0, 49_999, 50_000, 150_000, 222_222])
@pytest.mark.parametrize("dte", [None, 2, 5, 6, 30])
def test_a_printed_pnl_is_the_line_of_its_rule(peak, dte):
    facts = RuleFacts(EVERYTHING, peak=peak, days=dte)
    for rule in PRICE_RULES:
        printed = {line.pnl for line in lines(rule.rule, peak=peak, days=dte)} - {None}
        if rule.rule is Rule.SCALING_TARGET:
            assert printed == {100_000, 200_000}
            continue
        line = rule.line(facts)
        assert printed == ({line} - {None})
        for each in lines(rule.rule, peak=peak, days=dte):
            assert (each.pnl is None) is bool(each.waits), "a line that does not fire says why"
            assert each.pnl is None or each.threshold == each.pnl
            assert each.is_above is not rule.is_loss or each.pnl is None


def test_each_price_line_in_words():
    (stop,) = lines(Rule.STOP_LOSS)
    assert stop[:5] == (Rule.STOP_LOSS, "P&L ≤ ₹-3,000.00", -300_000, ROW, "")
    assert stop.action is Action.CLOSE_IMMEDIATELY
    (target,) = lines(Rule.PROFIT_TARGET)
    assert (target.level, target.is_above) == ("P&L ≥ ₹4,000.00", True)
    (premium,) = lines(Rule.PREMIUM_TRAILING, peak=50_000)
    assert premium.level == "P&L ≤ ₹-1,500.00 (peak ₹500.00 − ₹2,000.00)"
    (adjustment,) = lines(Rule.ADJUSTMENT)
    assert (adjustment.level, adjustment.pnl) == ("₹-2,000.00 ≤ P&L ≤ ₹-1,000.00, told once", -100_000)
    assert adjustment.action is Action.ADJUST


def test_a_trailing_stop_says_whether_it_is_armed_and_where_its_peak_is():
    (line,) = lines(Rule.TRAILING_STOP)
    assert line.level == "arms at P&L ≥ ₹1,500.00, then the peak − ₹750.00"
    assert line.waits == "not armed: no peak is remembered yet"
    (line,) = lines(Rule.TRAILING_STOP, peak=100_000)
    assert line.waits == "not armed: the peak is ₹1,000.00"
    (line,) = lines(Rule.TRAILING_STOP, peak=225_000)
    assert (line.level, line.pnl) == ("P&L ≤ ₹1,500.00 (peak ₹2,250.00 − ₹750.00)", 150_000)


def test_a_trail_by_a_share_of_the_peak_waits_for_a_profit():
    share = trailing(0, 0).__class__(0, 0, ROW, percent_of_peak=25.0)
    (line,) = lines(Rule.TRAILING_STOP, ExitLevels(trailing=share), peak=0)
    assert (line.pnl, line.waits) == (None, "armed, and the peak is no profit yet")
    assert line.level == "arms at P&L ≥ ₹0.00, then the peak − 25 % of it"
    (line,) = lines(Rule.TRAILING_STOP, ExitLevels(trailing=share), peak=100_000)
    assert (line.pnl, line.level) == (75_000, "P&L ≤ ₹750.00 (peak ₹1,000.00 − ₹250.00)")


def test_locked_floors_and_those_to_come():
    assert [line.level for line in lines(Rule.LOCK_PROFIT)] == [
        "P&L ≤ ₹0.00 once it was ≥ ₹500.00",
        "P&L ≤ ₹1,000.00 once it was ≥ ₹2,000.00",
    ]
    locked, coming = lines(Rule.LOCK_PROFIT, peak=60_000)
    assert (locked.level, locked.pnl) == ("P&L ≤ ₹0.00 (locked since P&L reached ₹500.00)", 0)
    assert (coming.pnl, coming.waits) == (None, "not locked: the peak is ₹600.00")
    (only,) = lines(Rule.LOCK_PROFIT, peak=200_000)
    assert only.pnl == 100_000


@pytest.mark.parametrize(
    ("dte", "theta", "losing"),
    [
        (None, NO_DAYS, NO_DAYS),
        (6, "DTE is 6", "DTE is 6"),
        (5, "", "DTE is 5"),
        (3, "", "DTE is 3"),
        (2, "", ""),
    ],
)
def test_lines_that_wait_for_the_calendar_say_so(dte, theta, losing):
    (line,) = lines(Rule.THETA_EXIT, days=dte)
    assert (line.waits, line.pnl) == (theta, None if theta else 0)
    assert line.level == "P&L ≤ ₹0.00 while DTE ≤ 5"
    (line,) = lines(Rule.LOSING_TIME, days=dte)
    assert (line.waits, line.pnl) == (losing, None if losing else -150_000)
    assert line.level == "P&L ≤ ₹-1,500.00 while DTE < 3"


def test_half_of_no_stop_is_no_line():
    (line,) = lines(Rule.LOSING_TIME, ExitLevels(losing_time=days(3)), days=1)
    assert (line.pnl, line.waits) == (None, "no stop loss is in force")
    assert line.level == "half the stop while DTE < 3"


def test_scaling_levels_rise_and_one_that_closes_no_more_never_fires():
    low, high = lines(Rule.SCALING_TARGET)
    assert (low.level, low.pnl, low.action) == (
        "P&L ≥ ₹1,000.00: 25 % of it gone in total",
        100_000,
        Action.CLOSE_25,
    )
    assert (high.pnl, high.action, high.is_above) == (200_000, Action.CLOSE_50, True)
    same = ExitLevels(
        scaling=(
            ScalingLevel(100_000, Action.CLOSE_POSITION, ROW, "told"),
            ScalingLevel(200_000, Action.CLOSE_50, ROW),
        )
    )
    first, never = lines(Rule.SCALING_TARGET, same)
    assert (first.level, first.note) == ("P&L ≥ ₹1,000.00: CLOSE_POSITION", "told")
    assert (never.pnl, never.waits) == (None, "the level at ₹1,000.00 closes as much")


def test_calendar_and_clock():
    (dte,) = lines(Rule.DTE_EXIT, days=22)
    assert (dte.threshold, dte.observed, dte.now, dte.action) == (7, 22, "DTE is 22", Action.CLOSE_POSITION)
    (dte,) = lines(Rule.DTE_EXIT, days=1)
    assert dte.action is Action.CLOSE_IMMEDIATELY
    (dte,) = lines(Rule.DTE_EXIT)
    assert (dte.now, dte.waits) == ("", NO_DAYS)
    (held,) = lines(Rule.LONGEST_HOLDING, held_days=1)
    assert (held.level, held.now, held.observed) == ("held for ≥ 45 days", "held for 1 day", 1)
    assert (held.is_above, dte.is_above) == (True, False)
    (held,) = lines(Rule.LONGEST_HOLDING)
    assert held.waits == "when it was opened is not known"
    (clock,) = lines(Rule.SQUARE_OFF, ist_time=time(12, 0, 1), is_trading_day=True)
    assert (clock.level, clock.now, clock.waits) == ("15:10:00 IST", "it is 12:00:01", "")
    assert lines(Rule.SQUARE_OFF, is_trading_day=False)[0].waits == "today is no trading day"
    assert lines(Rule.SQUARE_OFF)[0].waits == "whether today is a trading day is not known"


def test_what_other_judges_watch_shows_what_they_see():
    tick, candle = lines(Rule.UNDERLYING_LEVEL)
    assert tick.level == "underlying ≥ ₹26,000.00"
    assert (tick.now, tick.waits) == ("not known", "not known")
    assert candle.level == "close of its 5-minute candle ≤ ₹25,000.00"
    assert candle.waits == "", "no candle has closed yet: it will"
    around = Around(
        underlying={
            EVERYTHING.underlying[0]: Measured(2_555_000, "₹25,550.00"),
            EVERYTHING.underlying[1]: Measured(2_554_000, "₹25,540.00 at 10:20"),
        },
        greeks={EVERYTHING.greeks[0]: Measured(4_200, "0.42")},
        resting={"iv_crush": "ZeroDivisionError: x"},
    )
    tick, candle = lines(Rule.UNDERLYING_LEVEL, around=around)
    assert (tick.threshold, tick.observed, tick.underlying, tick.is_above) == (2_600_000, 2_555_000, 2_600_000, True)
    assert (candle.now, candle.is_above, candle.action) == ("₹25,540.00 at 10:20", False, Action.ADJUST)
    delta, gamma, *_ = lines(Rule.GREEKS, around=around)
    assert delta.level == "|delta| per unit of the largest leg ≥ 0.8"
    assert (delta.threshold, delta.observed, delta.now, delta.waits) == (8_000, 4_200, "0.42", "")
    assert (gamma.observed, gamma.waits) == (None, "not known")
    assert [line.is_above for line in lines(Rule.GREEKS)].count(False) == 1, "only a volatility below is from above"
    (own,) = lines(Rule.OWN_RULE, around=around)
    assert (own.level, own.waits) == ("the own rule iv_crush asks for it", "rests: ZeroDivisionError: x")
    (own,) = lines(Rule.OWN_RULE)
    assert own.now == "asked while it is safe to trade"


def test_a_position_with_one_level_has_one_line():
    assert [line.rule for line in list_thresholds(RuleFacts(SPARSE))] == [Rule.STOP_LOSS]
