"""What a guard counts, remembers and says of itself, and what a level that had its say leaves behind."""

from dataclasses import replace
from datetime import time

import pytest

from core.exits.guard_settings import GuardSettings
from core.model.exit_levels import ClockLevel, ExitLevels, Rule
from core.model.special_levels import LockLevel, LockStep
from core.position_cache_manager import OPEN_BOUND
from tests.unit.exits.builders import MS, NOON, ROW, Desk, S, amount, days, leg, trailing

STOP = ExitLevels(stop=amount(3_000))
ONE = (leg(1, 75, 100),)
"""75 bought at ₹100: the stop of ₹3,000 is at ₹60, a profit of ₹1,500 at ₹120."""


def suspect(desk, last, **terms):
    """A book so wide that the quote is not believed at once; its best side is far above the stop."""
    return desk.tick(1, last, bid=last, ask=last + 25, **terms)


def fired(signal):
    return None if signal is None else signal.rule


def test_the_numbers_of_the_exit_rules():
    settings = GuardSettings()
    assert (settings.mark_stale_s, settings.quiet_verify_s) == (5, 30)
    assert (settings.stop_confirm_max_ms, settings.leg_settle_ms) == (1_000, 100)
    assert (settings.hard_stop_multiple, settings.underlying_still_s, settings.index_jump_percent) == (1.5, 120, 1)


def test_every_breach_that_begins_or_ends_is_a_change():
    desk = Desk(*ONE, levels=STOP)
    seen = [desk.guard.changes]
    for last in (59, 58.95, 61, 59):
        suspect(desk, last, after=MS)
        seen.append(desk.guard.changes)
    desk.clock(MS, session_open=False)
    seen.append(desk.guard.changes)
    assert seen == [0, 1, 1, 2, 3, 4], "begins, goes on, ends, begins, ends with the session"
    assert desk.guard.breaches == {}


def test_two_rules_that_are_crossed_together_are_two_changes():
    desk = Desk(*ONE, levels=ExitLevels(stop=amount(3_000), premium_trailing=amount(3_000)))
    suspect(desk, 59, after=MS)
    assert desk.guard.changes == 2
    desk.clock(MS, session_open=None)
    assert desk.guard.changes == 4


def test_a_trail_that_arms_is_a_change_and_a_higher_peak_is_none():
    desk = Desk(*ONE, levels=ExitLevels(trailing=trailing(1_500, 500)))
    seen = []
    for last in (119, 120, 121, 122):
        desk.tick(1, last)
        seen.append((desk.guard.changes, desk.guard.armed, desk.guard.peak))
    assert seen == [(0, False, None), (1, True, 150_000), (1, True, 157_500), (1, True, 165_000)]


def test_each_floor_that_is_locked_is_a_change():
    lock = LockLevel((LockStep(150_000, 0), LockStep(300_000, 150_000)), ROW)
    desk = Desk(*ONE, levels=ExitLevels(lock=lock))
    seen = []
    for last in (119, 120, 130, 140, 145):
        desk.tick(1, last)
        seen.append(desk.guard.changes)
    assert seen == [0, 1, 1, 2, 2]
    assert not desk.guard.armed, "a lock is no trail"


def test_a_remembered_peak_below_the_arming_level_arms_nothing():
    assert not Desk(*ONE, levels=ExitLevels(trailing=trailing(1_500, 500)), peak=149_999).guard.armed
    assert Desk(*ONE, levels=ExitLevels(trailing=trailing(1_500, 500)), peak=150_000).guard.armed
    assert not Desk(*ONE, levels=STOP, peak=500_000).guard.armed


def test_a_level_that_had_its_say_leaves_no_breach_no_band_and_no_rule():
    desk = Desk(*ONE, levels=STOP)
    suspect(desk, 59, after=MS)
    assert set(desk.guard.breaches) == {Rule.STOP_LOSS}
    desk.guard.keep_only(ExitLevels())
    assert (desk.guard.breaches, desk.guard.changes) == ({}, 2)
    assert (desk.booked.lower, desk.booked.upper, desk.booked.watched) == (-OPEN_BOUND, OPEN_BOUND, False)
    assert desk.tick(1, 10) is None
    assert desk.clock(2 * S) is None


def test_what_waits_for_its_witness_goes_on_waiting_when_another_level_has_had_its_say():
    desk = Desk(*ONE, levels=replace(STOP, target=amount(3_000)))
    suspect(desk, 59, after=MS)
    desk.guard.keep_only(STOP)
    assert (set(desk.guard.breaches), desk.guard.changes) == ({Rule.STOP_LOSS}, 1)
    assert fired(desk.clock(1_000 * MS)) is Rule.STOP_LOSS


def test_the_guard_knows_its_rows_the_newest_time_and_when_it_began():
    desk = Desk(*ONE, levels=STOP)
    assert desk.guard.original is desk.booked.position
    assert desk.guard.started_ns == 0
    suspect(desk, 59, after=5 * S)
    assert desk.guard.now_ns == 5 * S
    desk.at = 3 * S
    desk.clock()
    assert desk.guard.now_ns == 5 * S, "an older beat does not turn the clock back"
    assert desk.guard.next_deadline_ns == 5 * S + 100 * MS


def test_a_guard_that_was_told_nothing_yet_has_no_time():
    desk = Desk(*ONE, levels=STOP)
    fresh = type(desk.guard)(desk.booked, STOP, GuardSettings())
    assert (fresh.now_ns, fresh.changes, fresh.started_ns, fresh.has_been_told) == (0, 0, None, False)


def test_a_time_rule_says_so_at_every_beat_until_somebody_acts():
    desk = Desk(*ONE, levels=ExitLevels(dte=days(400)))
    desk.tick(1, 100)
    assert [fired(desk.clock(S)) for _ in range(3)] == [Rule.DTE_EXIT] * 3


def test_a_day_that_turns_out_to_be_no_trading_day_is_noticed_while_nothing_happens():
    desk = Desk(*ONE, levels=STOP)
    desk.tick(1, 100)
    desk.clock(S)
    desk.clock(S, is_trading_day=False)
    assert desk.guard.facts.is_trading_day is False
    desk.ist = NOON.replace(day=21)
    desk.clock(S)
    assert desk.guard.facts.days == 33


@pytest.mark.parametrize(
    ("clock", "expected"),
    [(time(11, 59, 59, 999_999), Rule.SQUARE_OFF), (time(12, 0), Rule.SQUARE_OFF), (time(12, 0, 0, 1), None)],
)
def test_a_square_off_fires_at_its_time_while_nothing_else_happens(clock, expected):
    desk = Desk(*ONE, levels=ExitLevels(square_off=ClockLevel(clock, ROW)))
    desk.tick(1, 100)
    assert fired(desk.clock(S)) is expected
