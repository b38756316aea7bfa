"""What is said of a comparison is what the guard did."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.exits.breach import Wait
from core.exits.explain_comparisons import State, compare
from core.exits.explain_line import Around, Measured, Threshold
from core.exits.explain_quote import why_suspect
from core.exits.explain_sighting import see
from core.exits.own_signals import operator_signal
from core.exits.quote_check import is_clean
from core.model.exit_levels import Action, ClockLevel, ExitLevels, LevelSource, Rule, Urgency
from core.model.market import QuoteSource
from core.model.money import rupees_text
from core.model.session_time import NS_PER_S
from core.model.signals import Signal
from core.model.special_levels import AdjustmentLevel, GreekKind, GreekLevel, ScalingLevel, UnderlyingLevel
from tests.unit.exits.builders import MS, ROW, Desk, S, amount, days, leg, quote, trailing

ONE = (leg(1, 75, 100),)
PAIR = (leg(1, 75, 100), leg(2, -75, 50))
STOP = ExitLevels(stop=amount(3_000), target=amount(3_000))


def compared(desk, signal=None, around=None):
    return compare(see(desk.guard, desk.at, signal, around or Around()))


def rule(found, wanted):
    return next(each for each in found.rules if each.threshold.rule is wanted)


prices = st.one_of(st.none(), st.integers(-50, 30_000))


@given(
    last=st.integers(1, 30_000),
    bid=prices,
    ask=prices,
    before=st.one_of(st.none(), st.integers(1, 30_000)),
    age=st.integers(0, 2 * NS_PER_S),
    tick=st.sampled_from([1, 5]),
)
def test_a_quote_is_called_suspect_exactly_when_it_is_not_clean(last, bid, ask, before, age, tick):
    seen = quote(1, 1)._replace(last=last, bid=bid, ask=ask)
    assert (why_suspect(seen, before, age, tick) == "") is is_clean(seen, before, age, tick)


def first_fault(last, bid, ask, before, age, tick):
    """The first check of exit_rules 2 that fails, worked out in ticks and fractions."""
    if bid is None and 0 < ask <= 5 * tick:
        return "no bid" if fault_of_book(last, 0, ask, tick) or jump(last, before, age) else ""
    if bid is None or bid <= 0:
        return "no bid"
    if ask is None:
        return "no ask"
    return fault_of_book(last, bid, ask, tick) or jump(sorted((bid, last, ask))[1], before, age)


def fault_of_book(last, bid, ask, tick):
    if ask < bid:
        return "crossed book"
    if any(Fraction(price, tick).denominator != 1 for price in (last, bid, ask)):
        return f"{rupees_text(next(price for price in (last, bid, ask) if price % tick))} is not on"
    spread, middle = Fraction(ask - bid, tick), Fraction(ask + bid, 2)
    if spread > 5 and Fraction(ask - bid) / middle > Fraction(1, 10):
        return "wide book"
    return "last " if last < bid - tick or last > ask + tick else ""


def jump(mark, before, age):
    if before is not None and age < NS_PER_S and Fraction(abs(mark - before), before) >= Fraction(1, 5):
        return f"jump from {rupees_text(before)} to {rupees_text(mark)}"
    return ""


@st.composite
def quotes(draw):
    """Around every boundary: a tick more or less of the spread, of the last price and of the jump."""
    tick = draw(st.sampled_from([5, 10]))
    bid = tick * draw(st.integers(1, 120))
    spread = draw(st.one_of(st.integers(-1, 7), st.integers(bid // (10 * tick) - 1, bid // (10 * tick) + 2)))
    ask = bid + tick * spread
    last = draw(st.sampled_from([bid, ask])) + tick * draw(st.integers(-2, 2)) + draw(st.sampled_from([0, 0, 0, 1]))
    near = draw(st.integers(-2, 2))
    before = draw(st.sampled_from([None, max(bid * 5 // 6 + near, 1), max(ask * 5 // 4 + near, 1), bid]))
    age = draw(st.sampled_from([0, NS_PER_S - 1, NS_PER_S]))
    shown = draw(st.sampled_from([(bid, ask)] * 8 + [(None, ask), (bid, None), (0, ask), (1, ask), (-tick, ask)]))
    return max(last, 1), *shown, before, age, tick


@given(drawn=quotes())
@settings(max_examples=600)
def test_the_first_check_that_fails_is_the_one_that_is_named(drawn):
    last, bid, ask, before, age, tick = drawn
    seen = quote(1, 1)._replace(last=last, bid=bid, ask=ask)
    found = why_suspect(seen, before, age, tick)
    expected = first_fault(*drawn)
    assert found.startswith(expected)
    assert bool(found) is bool(expected)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"bid": None}, "no bid"),
        ({"bid": 0}, "no bid"),
        ({"ask": None}, "no ask"),
        ({"bid": 100_10, "ask": 100_05}, "crossed book: bid ₹100.10 above ask ₹100.05"),
        ({"last": 100_01}, "₹100.01 is not on the tick grid of ₹0.05"),
        ({"ask": 150_00}, "wide book: ₹99.95 to ₹150.00"),
        ({"last": 101_00}, "last ₹101.00 outside the book ₹99.95 to ₹100.05"),
        ({}, "jump from ₹50.00 to ₹100.00"),
        ({"bid": 1, "ask": None}, "no ask"),
        ({"last": 100_01, "bid": 99_96}, "₹100.01 is not on the tick grid of ₹0.05"),
        ({"bid": 2_00, "ask": 2_25}, "last ₹100.00 outside the book ₹2.00 to ₹2.25"),
        ({"bid": 9_50, "ask": 10_50}, "last ₹100.00 outside the book ₹9.50 to ₹10.50"),
        ({"bid": 95_00, "ask": 105_05}, "wide book: ₹95.00 to ₹105.05"),
        ({"last": 99_90}, "jump from ₹50.00 to ₹99.95"),
        ({"last": 99_95}, "jump from ₹50.00 to ₹99.95"),
        ({"last": 100_05}, "jump from ₹50.00 to ₹100.05"),
        ({"last": 100_10}, "jump from ₹50.00 to ₹100.05"),
    ],
)
def test_why_a_quote_is_suspect(changed, why):
    assert why_suspect(quote(1, 100)._replace(**changed), 50_00, MS, 5) == why


def test_a_calm_position_says_how_far_away_everything_is():
    levels = replace(STOP, dte=days(7), square_off=ClockLevel(time(15, 10), ROW), trailing=trailing(1_000, 500))
    desk = Desk(*ONE, levels=levels)
    desk.tick(1, 90)
    desk.at += 250 * MS
    found = compared(desk)
    assert found.outcome == "No exit conditions triggered"
    assert found.hindrance == ""
    assert (found.sighting.pnl, found.best_pnl) == (-75_000, -74_625)
    assert found.pnl_percent == pytest.approx(-10)
    (only,) = found.legs
    assert (only.age_ns, only.suspect, only.seen.mark) == (250 * MS, "", 90_00)
    stop = rule(found, Rule.STOP_LOSS)
    assert (stop.observed, stop.distance, stop.state) == (-75_000, 225_000, State.NOTHING)
    assert stop.why == "₹2,250.00 away"
    assert rule(found, Rule.PROFIT_TARGET).distance == 375_000
    trail = rule(found, Rule.TRAILING_STOP)
    assert (trail.state, trail.observed, trail.why) == (State.WAITING, None, "not armed: no peak is remembered yet")
    dte = rule(found, Rule.DTE_EXIT)
    assert (dte.distance, dte.why) == (27, "DTE is 34, 27 to go")
    clock = rule(found, Rule.SQUARE_OFF)
    assert (clock.observed, clock.distance, clock.why) == (None, None, "it is 12:00:00")


def test_a_breach_that_waits_says_for_what_and_for_how_long():
    desk = Desk(*PAIR, levels=STOP)
    desk.tick(2, 50)
    assert desk.tick(1, 60) is None
    desk.at += 40 * MS
    found = compared(desk)
    stop = rule(found, Rule.STOP_LOSS)
    assert (stop.state, stop.why) == (State.BREACHED, "waits for the spread to settle (40 ms)")
    assert found.outcome == "stop_loss breached, waits for the spread to settle (40 ms)"
    desk.at += 60 * MS
    assert rule(compared(desk), Rule.STOP_LOSS).why == "would fire too (100 ms)"


def test_a_suspect_quote_is_waited_on_and_said_why():
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 60, book=False)
    found = compared(desk)
    assert found.legs[0].suspect == "no bid"
    assert found.best_pnl is None
    assert rule(found, Rule.STOP_LOSS).why == "waits for a second quote (0 ms)"
    desk.tick(1, 140, book=False, after=MS)
    found = compared(desk)
    assert rule(found, Rule.PROFIT_TARGET).why == "waits for a clean quote (0 ms)"
    assert rule(found, Rule.STOP_LOSS).state is State.NOTHING


def test_what_fired_is_marked_and_what_would_have_is_named():
    levels = replace(STOP, stop=amount(3_000), premium_trailing=amount(2_000))
    desk = Desk(*ONE, levels=levels)
    signal = desk.tick(1, 60)
    found = compared(desk, signal)
    assert found.outcome == signal.reason
    assert rule(found, Rule.STOP_LOSS).state is State.FIRED
    assert rule(found, Rule.PREMIUM_TRAILING).why == "would fire too (0 ms)"
    assert [each.state for each in found.rules].count(State.FIRED) == 1


def test_two_rules_at_one_line_are_told_apart():
    desk = Desk(*ONE, levels=ExitLevels(stop=amount(3_000), premium_trailing=amount(3_000)))
    signal = desk.tick(1, 60)
    found = compared(desk, signal)
    assert rule(found, Rule.STOP_LOSS).state is State.FIRED
    assert rule(found, Rule.PREMIUM_TRAILING).state is State.BREACHED


def test_each_line_has_its_own_breach():
    """Far below its band a warning is not breached, though the stop is."""
    levels = ExitLevels(stop=amount(3_000), adjustment=AdjustmentLevel(50_000, 100_000, ROW))
    desk = Desk(*ONE, levels=levels)
    desk.tick(1, 60, book=False)
    found = compared(desk)
    assert rule(found, Rule.STOP_LOSS).state is State.BREACHED
    assert (rule(found, Rule.ADJUSTMENT).state, rule(found, Rule.ADJUSTMENT).why) == (State.NOTHING, "below the band")


def test_a_scaling_level_that_is_not_reached_is_not_breached_with_the_one_that_is():
    levels = ExitLevels(
        scaling=(ScalingLevel(100_000, Action.CLOSE_25, ROW), ScalingLevel(300_001, Action.CLOSE_50, ROW))
    )
    desk = Desk(*ONE, levels=levels)
    desk.tick(1, 140, book=False)
    low, high = compared(desk).rules
    assert (low.state, low.distance, low.why) == (State.BREACHED, -200_000, "waits for a clean quote (0 ms)")
    assert (high.state, high.distance, high.why) == (State.NOTHING, 1, "₹0.01 away")


def test_a_limit_that_no_line_stands_for_keeps_its_numbers():
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 100)
    signal = Signal(1, Rule.ACCOUNT_LIMIT, Action.CLOSE_POSITION, Urgency.HIGH, -100, -250, 0, "latched", desk.at)
    first, *_ = compared(desk, signal).rules
    assert (first.threshold.threshold, first.observed, first.distance) == (-100, -250, None)
    assert (first.threshold.action, first.why) == (Action.CLOSE_POSITION, "")


def test_a_crossed_book_has_no_best_side():
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 100, bid=100.10, ask=100.05)
    assert compared(desk).best_pnl is None


def test_a_signal_without_a_level_stands_by_itself():
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 100)
    found = compared(desk, operator_signal(1, 0, desk.at))
    first = found.rules[0]
    assert (first.threshold.rule, first.state, first.threshold.source) == (Rule.OPERATOR, State.FIRED, None)
    assert first.threshold.level == "operator asked for it"


def test_two_levels_of_one_rule_are_told_apart_by_their_names():
    up = UnderlyingLevel(2_600_000, is_above=True, action=Action.CLOSE_POSITION, source=ROW)
    close = replace(up, candle_minutes=5)
    desk = Desk(*ONE, levels=ExitLevels(underlying=(up, close)))
    desk.tick(1, 100)
    signal = Signal(
        1,
        Rule.UNDERLYING_LEVEL,
        Action.CLOSE_POSITION,
        Urgency.HIGH,
        2_600_000,
        2_600_100,
        0,
        "x",
        desk.at,
        None,
        close.name,
    )
    around = Around({up: Measured(2_599_000, "₹25,990.00"), close: Measured(2_600_100, "₹26,001.00 at 12:00")})
    tick, candle = compared(desk, signal, around).rules
    assert (tick.state, tick.distance, tick.why) == (State.NOTHING, 1_000, "₹25,990.00, ₹10.00 away")
    assert candle.state is State.FIRED


def test_a_greek_says_its_measure_and_a_limit_stands_with_the_rest():
    levels = ExitLevels(greeks=(GreekLevel(GreekKind.DELTA, 0.8, Action.ADJUST, ROW),))
    desk = Desk(*ONE, levels=levels)
    desk.tick(1, 100)
    limit = Threshold(
        Rule.STRATEGY_LIMIT, "P&L ≤ ₹-10.00", -1_500, LevelSource.SETTING, threshold=-1_000, observed=500, now="₹5.00"
    )
    around = Around(greeks={levels.greeks[0]: Measured(4_200, "0.42")}, limits=(limit,))
    found = compared(desk, around=around)
    assert (rule(found, Rule.GREEKS).distance, rule(found, Rule.GREEKS).why) == (3_800, "0.42")
    limited = rule(found, Rule.STRATEGY_LIMIT)
    assert (limited.observed, limited.distance, limited.why) == (500, 1_500, "₹5.00, ₹15.00 away")


def test_beyond_a_level_that_does_not_fire():
    levels = ExitLevels(
        adjustment=AdjustmentLevel(100_000, 200_000, ROW),
        underlying=(UnderlyingLevel(2_600_000, is_above=True, action=Action.ADJUST, source=ROW),),
    )
    desk = Desk(*ONE, levels=levels)
    desk.tick(1, 60)
    found = compared(desk, around=Around({levels.underlying[0]: Measured(2_600_000, "₹26,000.00")}))
    assert rule(found, Rule.ADJUSTMENT).why == "below the band"
    assert rule(found, Rule.UNDERLYING_LEVEL).why == "beyond it, and not yet believed"


@pytest.mark.parametrize(
    ("told", "hindrance"),
    [
        ({"session_open": False}, "the market is closed"),
        ({"session_open": None}, "whether the market is open is not known"),
        ({"session_open": False, "feed_live": False}, "the market is closed"),
        ({"feed_live": False}, "no fresh price for NSE_FNO:1 for 7 s"),
    ],
)
def test_what_was_not_judged_says_why(told, hindrance):
    levels = replace(STOP, dte=days(40))
    desk = Desk(*ONE, levels=levels)
    desk.tick(1, 100)
    desk.clock(S, **told)
    desk.clock(6 * S)
    found = compared(desk)
    assert found.hindrance == hindrance
    assert found.outcome == f"not judged: {hindrance}"
    stop = rule(found, Rule.STOP_LOSS)
    assert (stop.state, stop.why) == (State.UNJUDGED, hindrance)
    assert (rule(found, Rule.DTE_EXIT).state is State.UNJUDGED) is ("session_open" in told), "time rules need no price"


def test_a_leg_without_a_quote_and_one_out_of_a_backlog():
    desk = Desk(*PAIR, levels=STOP)
    desk.tick(2, 50)
    first, second = compared(desk).legs
    assert (first.age_ns, first.suspect, first.seen.quote) == (None, "no quote yet", None)
    assert second.suspect == ""
    desk.cache.backlog.begin(desk.at + MS, 2 * S)
    desk.tick(1, 100, after=MS)
    desk.at += 3 * MS
    first, second = compared(desk).legs
    assert second.suspect.startswith("read after a standstill")
    assert (second.seen.quote.last, second.age_ns) == (50_00, 4 * MS)
    assert first.age_ns == 3 * MS
    assert compared(desk).best_pnl is None


def test_a_saved_price_is_no_measure_for_a_jump():
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 50, source=QuoteSource.CACHE)
    desk.tick(1, 100, after=MS)
    assert compared(desk).legs[0].suspect == ""


def test_another_judges_blind_spot_is_taken_down():
    desk = Desk(*ONE, levels=STOP)
    desk.guard.blind_spots.append(lambda _: "the underlying stands still")
    assert see(desk.guard, desk.at).blind_spot == "the underlying stands still"


@given(
    marks=st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(1, 60)), min_size=2, max_size=12),
    gaps=st.lists(st.integers(1, 400), min_size=12, max_size=12),
)
def test_a_breach_fires_when_it_is_said_to_wait_for_nothing(marks, gaps):
    """The words and the guard never contradict: after every tick, nothing that waits for nothing is left unfired."""
    desk = Desk(*PAIR, levels=ExitLevels(stop=amount(500), target=amount(500), premium_trailing=amount(400)))
    for (security_id, rupees), gap in zip(marks, gaps, strict=False):
        signal = desk.tick(security_id, rupees + (50 if security_id == 1 else 25), after=gap * MS)
        found = compared(desk, signal)
        for each in found.rules:
            ready = each.state is State.BREACHED and each.why.startswith("would fire too")
            assert not ready or signal is not None
            if each.state is State.NOTHING and each.distance is not None:
                assert each.distance > 0
        if signal is not None:
            assert rule(found, signal.rule).state is State.FIRED
            return


def test_the_waits_have_words():
    assert {wait.value for wait in Wait} == {"the spread to settle", "a second quote", "a clean quote"}
