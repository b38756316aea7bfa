"""Edges of reading levels, of the guard's memory and of what the dashboard says of a breach that waits."""

from datetime import date

import pytest

from core.exits.action_text import parse_action
from core.exits.condition_words import stop_words
from core.exits.conditions import NOTHING, Conditions
from core.exits.guard_room import GuardRoom
from core.exits.guard_settings import GuardSettings
from core.exits.level_amounts import Evidence, amounts_of, evidence_of
from core.exits.payoff_bounds import outlasting_shorts_are_covered
from core.exits.payoff_line import known_legs
from core.exits.row_kinds import RowsByKind
from core.model.exit_levels import Action, ExitLevels, Rule
from core.model.profile import Asked, Base
from core.model.special_levels import LockLevel, LockStep
from core.model.trade_rows import MonitoringRow, PlannedLeg
from core.position_cache_manager import PositionCacheManager
from tests.unit.exits.builders import MS, ROW, Desk, S, amount, call, days, key, leg, position, quote, trailing
from tests.unit.exits.judge_rig import INDEX, JudgeRig, below
from tests.unit.exits.judge_rig import call as index_call
from tests.unit.exits.level_builders import condor, names, read, row
from tests.unit.exits.test_guard_room_edges import moment

FAR, FARTHER = date(2027, 1, 28), date(2027, 2, 25)
ONE = (leg(1, 75, 100),)
PAIR = (leg(1, 75, 100), leg(2, -75, 50))
STOP = ExitLevels(stop=amount(3_000), target=amount(3_000))
PLANS = tuple(
    PlannedLeg(1, right, strike * 100, vega=1, volatility=0.25)
    for right, strike in (("CE", 24_200), ("CE", 24_300), ("PE", 23_800), ("PE", 23_700))
)


def suspect(desk, last, **terms):
    """A book so wide that the quote is not believed at once; its best side is far above the stop."""
    return desk.tick(1, last, bid=last, ask=last + 25, **terms)


# Reading


@pytest.mark.parametrize("share", ["50", "50.0", "50.00"])
def test_a_share_may_be_written_with_its_decimals(share):
    assert parse_action(f"Close {share}% of position") is Action.CLOSE_50


def test_a_beginning_that_is_said_twice_is_not_guessed():
    assert stop_words("Exit if loss exceeds 50% of max loss").asked == Asked(50)
    assert stop_words("Exit if loss exceeds loss exceeds 50% of max loss") is None


def test_a_greek_level_counts_without_its_sign():
    levels = read(None, row("greek_trigger", -0.5, "greek_value", level_name="delta"))
    assert [level.threshold for level in levels.greeks] == [0.5]


@pytest.mark.parametrize(("name", "reference"), [("iv_down", 0.25), ("iv_up", 0.25), ("iv_below", None)])
def test_a_change_of_volatility_is_counted_from_the_planned_one(name, reference):
    levels = read(condor(), row("greek_trigger", 20, "percentage", level_name=name), planned=PLANS)
    assert [level.reference for level in levels.greeks] == [reference]


def test_a_limit_at_the_planned_volatility_itself_says_nothing():
    levels = read(condor(), monitoring=MonitoringRow(1, iv_upper=25, iv_lower=25), planned=PLANS)
    assert levels.greeks == ()
    assert names(levels.notes, "iv_upper_limit 25 % not used")
    assert names(levels.notes, "iv_lower_limit 25 % not used")


def test_a_share_of_a_loss_that_rests_on_an_assumption_says_so():
    calendar = position(call(1, -75, 100, 4), call(2, 75, 100, 7, expiry=FAR))
    amounts = amounts_of(calendar, Evidence())
    assert amounts.of(Asked(50))[0] == 3 * 7_500 / 2, "max profit is unknown: half of the premium, which is certain"
    assert not names(amounts.notes, "max profit and loss hold")
    assert amounts.of(Asked(50), is_loss=True)[0] == 3 * 7_500 / 2
    assert names(amounts.notes, "max profit and loss hold at the first expiry")


@pytest.mark.parametrize("bought", [None, 60], ids=["an entry is not known", "nothing is left of it"])
def test_there_is_no_credit_to_take_a_share_of(bought):
    amounts = amounts_of(position(call(1, -75, 24_000, 60), call(2, 75, 24_100, bought)), Evidence())
    assert amounts.of(Asked(50, Base.CREDIT)) == (None, "")


def test_a_credit_of_one_paisa_is_one():
    assert amounts_of(position(call(1, -1, 24_000, 0.01, lot=1)), Evidence()).credit == 1


def test_scaling_steps_in_per_cent_tell_no_max_profit():
    def steps(trigger_type):
        rows = (
            row("profit_target", share, trigger_type, level_name=f"level_{share}", level_id=share)
            for share in (25, 50, 75)
        )
        return RowsByKind(scaling=tuple(rows))

    assert evidence_of(None, NOTHING, NOTHING, steps("percentage")) == Evidence(None, None)
    assert evidence_of(None, NOTHING, NOTHING, steps("price")) == Evidence(None, 100_00)


def test_the_tree_tells_max_loss_and_max_profit_where_no_column_does():
    tree = Conditions(max_loss=225_00, max_profit=525_00)
    assert evidence_of(None, NOTHING, tree, RowsByKind()) == Evidence(225_00, 525_00)


def test_a_future_that_lives_longest_uncovers_no_option():
    legs = (call(1, -75, 100, 4), call(2, 75, 100, 7, expiry=FAR), leg(3, 75, 100, expiry=FARTHER))
    assert outlasting_shorts_are_covered(known_legs(legs))


# The dashboard


def test_what_is_due_waits_for_the_market_and_not_for_a_price():
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 100)
    desk.clock(session_open=False, feed_live=False)
    desk.tick(1, 50)
    desk.clock(10 * S)
    assert desk.guard.stale_keys(desk.at) == (key(1),)
    assert desk.guard.assessment().reason.endswith("; waiting, the market is closed")


def test_a_leg_that_never_had_a_price_is_told_while_the_market_is_closed():
    desk = Desk(*PAIR, levels=STOP, session_open=False)
    desk.tick(1, 100)
    assert desk.guard.why_unprotected(desk.at).startswith("no price for NSE_FNO:2")


def test_a_breach_waits_for_its_spread_first():
    for is_loss in (True, False):
        desk = Desk(*PAIR, levels=STOP)
        desk.tick(1, 100)
        desk.tick(2, 50)
        assert (suspect(desk, 59) if is_loss else desk.tick(1, 141)) is None
        assert bool(desk.guard.suspects()) is is_loss
        assert desk.guard.assessment().reason.endswith(" breached, waiting for the spread to settle")


# The guard


def test_a_peak_that_locks_a_floor_does_not_arm_a_trail_above_it():
    levels = ExitLevels(lock=LockLevel((LockStep(150_000, 0),), ROW), trailing=trailing(3_000, 500))
    desk = Desk(*ONE, levels=levels)
    desk.tick(1, 120)
    assert (desk.guard.peak, desk.guard.armed) == (150_000, False)


@pytest.mark.parametrize("last", [120, 125], ids=["at its level", "beyond it"])
def test_a_trail_arms_by_the_clock_when_the_backlog_is_over(last):
    desk = Desk(*ONE, levels=ExitLevels(trailing=trailing(1_500, 500)))
    backlog = desk.cache.backlog
    desk.tick(1, 110)
    backlog.note_time(desk.at)
    desk.clock()
    backlog.note_time(desk.at + 3 * S)
    desk.tick(1, last, after=3 * S)
    seen = []
    for _ in range(4):
        backlog.note_time(desk.at + S)
        desk.clock(S)
        seen.append(desk.guard.armed)
    assert seen == [False, True, True, True]


def test_a_price_that_is_doubted_ends_what_it_has_crossed():
    desk = Desk(*ONE, levels=ExitLevels(stop=amount(3_000), premium_trailing=amount(3_000)))
    suspect(desk, 59)
    assert (desk.guard.changes, desk.booked.watched) == (2, True)
    desk.guard.distrust(key(1), desk.at)
    assert (desk.guard.changes, desk.booked.watched, desk.guard.breaches) == (4, False, {})


def test_a_time_rule_goes_on_saying_so_when_a_price_is_doubted():
    desk = Desk(*ONE, levels=ExitLevels(dte=days(400)))
    desk.tick(1, 100)
    assert desk.clock(S).rule is Rule.DTE_EXIT
    desk.guard.distrust(key(1), desk.at)
    assert desk.clock(S).rule is Rule.DTE_EXIT


# The room


def test_every_beat_asks_as_many_guards_as_fit_in_one():
    room, cache = GuardRoom(GuardSettings()), PositionCacheManager()
    for number in range(1, 257):
        room.guard(cache.put(position(leg(number, 75, 100), strategy_id=number)), ExitLevels(), None, 0)
    room.deadlines.clear()
    for beat in (1, 2, 3):
        assert list(room.on_time(moment(beat * S))) == []
        assert {guard.now_ns for guard in room.guards.values()} == {beat * S}


def test_a_change_with_a_signal_is_not_told_of_by_the_room():
    room, cache, heard = GuardRoom(GuardSettings()), PositionCacheManager(), []
    booked = cache.put(position(*ONE))
    room.on_decision = lambda _guard, signal, _at_ns: heard.append(signal)
    guard = room.guard(booked, ExitLevels(stop=amount(3_000)), None, 0)
    cache.apply(quote(1, 59, at=S))
    assert [signal.rule for signal in room.on_time(moment(S))][:1] == [Rule.STOP_LOSS]
    assert (guard.changes, heard) == (1, [])


# The underlying


def test_a_doubt_of_the_underlying_ends_its_breach():
    rig = JudgeRig()
    rig.open(index_call(1), underlying=(below(23_500),))
    rig.walk(23_950, 23_951)
    rig.wait(0.5)
    rig.index(23_400)
    assert rig.fired() == []
    rig.doubt(INDEX)
    rig.now += MS
    rig.index(23_000)
    assert rig.fired() == [], "a second quote would have been the witness of the first"
    rig.wait(2)
    assert [observed for *_, observed in rig.fired()] == [2_300_000]
