"""Which signal a guard gives, and when: the stop, spreads, the target, the trailing stop."""

from datetime import time

import pytest

from core.model.exit_levels import Action, ClockLevel, ExitLevels, Rule, Urgency
from tests.unit.exits.builders import MS, ROW, Desk, S, amount, days, leg, trailing

STOP = ExitLevels(stop=amount(3_000))
ONE = (leg(1, 75, 100),)
"""75 bought at ₹100: the stop of ₹3,000 is at ₹60."""


def fired(signal):
    return None if signal is None else signal.rule


def test_a_clean_breach_of_one_leg_fires_at_once():
    desk = Desk(*ONE, levels=STOP)
    assert desk.tick(1, 60.05) is None
    signal = desk.tick(1, 60)
    assert (signal.rule, signal.action, signal.urgency) == (Rule.STOP_LOSS, Action.CLOSE_IMMEDIATELY, Urgency.HIGH)
    assert (signal.threshold, signal.observed, signal.pnl) == (-300_000, -300_000, -300_000)
    assert (signal.strategy_id, signal.decided_ns, signal.tick_received_ns) == (1, desk.at, desk.at)
    assert signal.reason == "stop loss: P&L ₹-3,000.00 ≤ ₹-3,000.00"


def test_the_worked_example_of_two_legs():
    desk = Desk(leg(1, 75, 40), leg(2, -75, 120), levels=STOP)
    assert desk.tick(1, 42.35) is None
    assert desk.tick(2, 163.05) is None
    signal = desk.clock(100 * MS)
    assert signal.reason == "stop loss: P&L ₹-3,052.50 ≤ ₹-3,000.00"
    assert signal.decided_ns - signal.tick_received_ns == 100 * MS, "from the tick that began the breach"


@pytest.mark.parametrize("session_open", [None, False])
def test_no_rule_fires_unless_the_session_is_known_to_be_open(session_open):
    levels = ExitLevels(stop=amount(3_000), dte=days(400), square_off=ClockLevel(time(0, 0), ROW))
    desk = Desk(*ONE, levels=levels, session_open=session_open)
    assert desk.tick(1, 10) is None
    assert desk.clock(S) is None
    assert desk.guard.next_deadline_ns is None
    assert fired(desk.clock(S, session_open=True)) is Rule.STOP_LOSS


def test_nothing_fires_before_the_time_was_told():
    desk = Desk(*ONE, levels=STOP)
    fresh = type(desk.guard)(desk.booked, STOP, desk.guard._settings)
    desk.guard = fresh
    assert desk.tick(1, 10) is None


class TestSuspectStop:
    """A book of 20 % spread makes every quote suspect; the best side is far above the stop."""

    def tick(self, desk, last, **terms):
        return desk.tick(1, last, bid=last, ask=last + 25, **terms)

    def test_waits_for_a_second_different_quote(self):
        desk = Desk(*ONE, levels=STOP)
        assert self.tick(desk, 59) is None
        assert self.tick(desk, 59, after=MS) is None, "a repeated packet is no witness"
        assert fired(self.tick(desk, 58, after=MS)) is Rule.STOP_LOSS

    def test_is_cleared_by_a_quote_above_the_stop_and_starts_anew(self):
        desk = Desk(*ONE, levels=STOP)
        assert self.tick(desk, 59) is None
        assert self.tick(desk, 61, after=MS) is None
        assert not desk.booked.watched
        assert desk.guard.next_deadline_ns is None
        assert self.tick(desk, 59, after=MS) is None
        assert desk.clock(999 * MS) is None
        assert fired(desk.clock(MS)) is Rule.STOP_LOSS

    def test_fires_when_the_best_side_breaches_too(self):
        desk = Desk(*ONE, levels=STOP)
        assert fired(desk.tick(1, 40, bid=40, ask=60)) is Rule.STOP_LOSS
        desk = Desk(*ONE, levels=STOP)
        assert desk.tick(1, 41, bid=41, ask=60.05) is None

    def test_a_crossed_book_is_no_witness(self):
        desk = Desk(*ONE, levels=STOP)
        assert desk.tick(1, 59, bid=60, ask=58) is None
        assert desk.booked.watched

    def test_fires_after_the_longest_wait_and_says_when_to_ask(self):
        desk = Desk(*ONE, levels=STOP)
        self.tick(desk, 59)
        began = desk.at
        assert desk.guard.next_deadline_ns == began + 100 * MS
        assert desk.clock(100 * MS) is None
        assert desk.guard.next_deadline_ns == began + 1000 * MS
        assert fired(desk.clock(900 * MS)) is Rule.STOP_LOSS

    def test_beyond_the_hard_multiple_fires_at_once_on_two_sides(self):
        desk = Desk(*ONE, levels=STOP)
        assert fired(desk.tick(1, 40, bid=40, ask=60)) is Rule.STOP_LOSS

    def test_beyond_the_hard_multiple_waits_while_the_best_side_is_not_breached(self):
        desk = Desk(*ONE, levels=STOP)
        assert desk.tick(1, 40, bid=40, ask=60.05) is None
        assert fired(desk.tick(1, 40, bid=40, ask=60, after=MS)) is Rule.STOP_LOSS

    def test_beyond_the_hard_multiple_waits_on_a_one_sided_book(self):
        desk = Desk(*ONE, levels=STOP)
        assert desk.tick(1, 10, book=False) is None
        assert desk.booked.watched

    def test_a_clean_quote_that_still_breaches_fires(self):
        desk = Desk(*ONE, levels=STOP)
        assert self.tick(desk, 59) is None
        assert fired(desk.tick(1, 59, after=MS)) is Rule.STOP_LOSS

    def test_each_suspect_leg_needs_its_own_second_quote(self):
        desk = Desk(leg(1, 75, 100), leg(2, 75, 100), levels=STOP)
        desk.tick(2, 100, book=False)
        assert desk.tick(1, 59, book=False) is None
        assert desk.tick(1, 58, book=False, after=MS) is None
        assert fired(desk.tick(2, 99, book=False, after=MS)) is Rule.STOP_LOSS


class TestSpreadSettles:
    LEGS = (leg(1, 75, 100), leg(2, -75, 100))

    def desk(self):
        desk = Desk(*self.LEGS, levels=STOP)
        desk.tick(1, 100)
        desk.tick(2, 100)
        return desk

    def test_fires_when_every_leg_was_updated_since_the_breach_began(self):
        desk = self.desk()
        assert desk.tick(1, 60) is None
        assert desk.tick(1, 59.90, after=MS) is None
        assert fired(desk.tick(2, 100, after=MS)) is Rule.STOP_LOSS

    def test_a_half_updated_spread_that_recovers_does_not_fire(self):
        desk = self.desk()
        assert desk.tick(1, 60) is None
        assert desk.tick(2, 61, after=MS) is None
        assert desk.clock(S) is None

    def test_fires_when_the_breach_stands_after_the_settling_time(self):
        desk = self.desk()
        assert desk.tick(1, 60) is None
        assert desk.guard.next_deadline_ns == desk.at + 100 * MS
        assert desk.clock(99 * MS) is None
        assert fired(desk.clock(MS)) is Rule.STOP_LOSS

    def test_the_hard_multiple_does_not_wait(self):
        assert fired(self.desk().tick(1, 40)) is Rule.STOP_LOSS

    def test_both_legs_on_one_instrument_are_updated_by_one_tick(self):
        desk = Desk(leg(1, 75, 100), leg(1, 75, 100), levels=STOP)
        desk.tick(1, 100)
        assert fired(desk.tick(1, 80)) is Rule.STOP_LOSS

    def test_a_breach_found_by_the_clock_counts_no_leg_as_updated(self):
        desk = Desk(*self.LEGS, levels=STOP, session_open=None)
        desk.tick(1, 60)
        desk.tick(2, 100)
        assert desk.clock(S, session_open=True) is None
        assert desk.tick(1, 60, after=MS) is None
        assert fired(desk.tick(2, 100, after=MS)) is Rule.STOP_LOSS

    def test_a_target_settles_too(self):
        desk = Desk(*self.LEGS, levels=ExitLevels(target=amount(3_000)))
        desk.tick(1, 100)
        desk.tick(2, 100)
        assert desk.tick(1, 145) is None
        assert fired(desk.tick(2, 100, after=MS)) is Rule.PROFIT_TARGET


class TestTarget:
    LEVELS = ExitLevels(target=amount(3_000), target_action=Action.CLOSE_50)

    def test_fires_on_a_clean_quote_with_the_rows_action(self):
        desk = Desk(*ONE, levels=self.LEVELS)
        assert desk.tick(1, 139.95) is None
        signal = desk.tick(1, 140)
        assert (signal.rule, signal.action, signal.urgency) == (Rule.PROFIT_TARGET, Action.CLOSE_50, Urgency.NORMAL)
        assert signal.reason == "profit target: P&L ₹3,000.00 ≥ ₹3,000.00"

    def test_never_fires_on_suspect_quotes(self):
        desk = Desk(*ONE, levels=self.LEVELS)
        for last in (150, 151, 152):
            assert desk.tick(1, last, book=False) is None
        assert desk.clock(9 * S) is None
        assert fired(desk.tick(1, 152)) is Rule.PROFIT_TARGET


class TestTrailing:
    LEVELS = ExitLevels(trailing=trailing(1_500, 750))

    def test_arms_follows_the_peak_and_fires_below_it(self):
        desk = Desk(*ONE, levels=self.LEVELS)
        assert desk.tick(1, 119.95) is None
        assert (desk.guard.armed, desk.guard.peak) == (False, None)
        assert desk.tick(1, 120) is None
        assert (desk.guard.armed, desk.guard.peak) == (True, 150_000)
        for last in (125, 121, 124, 115.05):
            assert desk.tick(1, last) is None
        assert desk.guard.peak == 187_500
        signal = desk.tick(1, 115)
        assert (signal.rule, signal.action, signal.urgency) == (Rule.TRAILING_STOP, Action.CLOSE_POSITION, Urgency.HIGH)
        assert signal.reason == "trailing stop: P&L ₹1,125.00 ≤ ₹1,125.00 (peak ₹1,875.00 − ₹750.00)"

    def test_a_suspect_quote_moves_neither_arm_nor_peak(self):
        desk = Desk(*ONE, levels=self.LEVELS)
        desk.tick(1, 150, book=False)
        assert not desk.guard.armed
        desk.tick(1, 120)
        desk.tick(1, 150, book=False)
        assert desk.guard.peak == 150_000

    def test_the_hard_multiple_is_of_the_distance(self):
        desk = Desk(*ONE, levels=self.LEVELS, peak=150_000)
        assert desk.tick(1, 105.05, bid=105.05, ask=125) is None
        assert fired(desk.tick(1, 105, bid=105, ask=125)) is Rule.TRAILING_STOP

    @pytest.mark.parametrize(
        ("levels", "peak", "expected"),
        [
            (LEVELS, None, None),
            (LEVELS, 149_999, 149_999),
            (LEVELS, 150_000, 150_000),
            (ExitLevels(trailing=trailing(0, 750)), None, 0),
            (ExitLevels(trailing=trailing(0, 750)), 900, 900),
            (ExitLevels(trailing=trailing(0, 750)), -900, 0),
            (STOP, 150_000, 150_000),
        ],
    )
    def test_what_is_armed_at_the_start(self, levels, peak, expected):
        assert Desk(*ONE, levels=levels, peak=peak).guard.peak == expected

    def test_armed_from_entry_it_stops_a_distance_below_zero(self):
        desk = Desk(*ONE, levels=ExitLevels(trailing=trailing(0, 750)))
        assert desk.tick(1, 90.05) is None
        assert fired(desk.tick(1, 90)) is Rule.TRAILING_STOP
