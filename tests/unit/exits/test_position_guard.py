from datetime import date, datetime, time

import pytest

from core.model.exit_levels import Action, ClockLevel, ExitLevels, Rule, Urgency
from core.model.market import QuoteSource
from core.model.session_time import IST
from core.position_cache_manager import OPEN_BOUND
from tests.unit.exits.builders import MS, ROW, Desk, S, amount, call, days, leg, trailing

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


class TestCalendarAndClock:
    def test_dte_closes_with_more_than_a_day_left_and_closes_immediately_on_the_last(self):
        levels = ExitLevels(dte=days(7))
        for today, action, urgency in (
            (16, None, None),
            (17, Action.CLOSE_POSITION, Urgency.MEDIUM),
            (22, Action.CLOSE_POSITION, Urgency.MEDIUM),
            (23, Action.CLOSE_IMMEDIATELY, Urgency.HIGH),
            (24, Action.CLOSE_IMMEDIATELY, Urgency.HIGH),
        ):
            desk = Desk(*ONE, levels=levels)
            desk.ist = datetime(2026, 12, today, 23, 59, tzinfo=IST)
            signal = desk.clock(S)
            assert (signal and signal.action, signal and signal.urgency) == (action, urgency), today
        assert signal.reason == "DTE exit: 0 days to expiry ≤ 7"
        assert (signal.threshold, signal.observed, signal.pnl) == (7, 0, None)

    def test_the_earliest_expiry_counts_and_stock_has_none(self):
        legs = (call(1, 75, 100, 5), call(2, -75, 100, 5, expiry=date(2026, 11, 27)))
        assert fired(Desk(*legs).guard.on_time(1, datetime(2026, 11, 20, 10, tzinfo=IST), **OPEN)) is None
        guard = Desk(*legs, levels=ExitLevels(dte=days(7))).guard
        assert fired(guard.on_time(1, datetime(2026, 11, 20, 10, tzinfo=IST), **OPEN)) is Rule.DTE_EXIT
        no_expiry = Desk(leg(1, 75, 5, expiry=None), levels=ExitLevels(dte=days(7), theta=days(7)))
        assert no_expiry.clock(S) is None
        assert no_expiry.tick(1, 1) is None

    @pytest.mark.parametrize(
        ("clock", "is_trading_day", "fires"),
        [
            (time(15, 9, 59), True, False),
            (time(15, 10), True, True),
            (time(15, 10), None, False),
            (time(15, 10), False, False),
        ],
    )
    def test_square_off_needs_the_time_and_a_trading_day(self, clock, is_trading_day, fires):
        desk = Desk(*ONE, levels=ExitLevels(square_off=ClockLevel(time(15, 10), ROW)))
        desk.ist = datetime.combine(date(2026, 11, 20), clock, IST)
        signal = desk.clock(S, is_trading_day=is_trading_day)
        assert (fired(signal) is Rule.SQUARE_OFF) is fires
        if fires:
            assert signal.reason == "square-off: 15:10:00 IST ≥ 15:10:00"

    def test_theta_fires_on_a_tick_at_no_profit_once_the_days_are_reached(self):
        desk = Desk(*ONE, levels=ExitLevels(theta=days(7)))
        assert desk.tick(1, 90) is None
        desk.ist = datetime(2026, 12, 17, 10, tzinfo=IST)
        assert desk.tick(1, 100.05) is None
        assert desk.clock(S) is None
        signal = desk.tick(1, 100)
        assert (signal.rule, signal.action, signal.urgency) == (Rule.THETA_EXIT, Action.CLOSE_POSITION, Urgency.MEDIUM)
        assert signal.reason == "theta exit: P&L ₹0.00 ≤ ₹0.00 with 7 days to expiry ≤ 7"

    def test_the_most_pressing_of_several_is_taken(self):
        levels = ExitLevels(
            stop=amount(3_000), trailing=trailing(0, 100), dte=days(40), square_off=ClockLevel(time(0, 0), ROW)
        )
        desk = Desk(*ONE, levels=levels, session_open=None)
        desk.tick(1, 50)
        assert fired(desk.clock(S, session_open=True)) is Rule.STOP_LOSS
        desk = Desk(*ONE, levels=levels)
        desk.tick(1, 90)
        assert fired(desk.clock(S)) is Rule.TRAILING_STOP
        desk.ist = datetime(2026, 12, 24, 10, tzinfo=IST)
        assert fired(desk.clock(S)) is Rule.DTE_EXIT


OPEN = {"session_open": True, "is_trading_day": True, "feed_live": True}


class TestTrustInPrices:
    def test_a_stale_leg_stops_the_price_rules_until_it_is_fresh(self):
        desk = Desk(leg(1, 75, 100), leg(2, 75, 100), levels=STOP)
        desk.tick(1, 100)
        desk.tick(2, 100)
        desk.clock(feed_live=False)
        assert desk.clock(3 * S) is None
        assert desk.guard.stale_keys(desk.at) == ()
        assert desk.tick(1, 20, after=2 * S + 1) is None
        assert [str(key) for key in desk.guard.stale_keys(desk.at)] == ["NSE_FNO:2"]
        assert fired(desk.tick(2, 100, after=MS)) is Rule.STOP_LOSS

    def test_a_quiet_leg_is_trusted_while_the_feed_lives(self):
        desk = Desk(*ONE, levels=STOP)
        desk.tick(1, 100)
        assert desk.clock(60 * S) is None
        assert desk.guard.stale_keys(desk.at) == ()

    def test_going_stale_forgets_a_waiting_breach(self):
        desk = Desk(*ONE, levels=ExitLevels(target=amount(3_000)))
        desk.tick(1, 150, book=False)
        assert desk.booked.watched
        desk.clock(feed_live=False)
        desk.clock(6 * S)
        assert not desk.booked.watched

    def test_a_quiet_leg_is_trusted_for_a_while_after_the_feed_went_down(self):
        """Until then the life of the feed vouched for it; the age of its last packet says nothing."""
        desk = Desk(*ONE, levels=STOP)
        desk.tick(1, 100)
        desk.clock(60 * S)
        desk.clock(feed_live=False)
        desk.clock(5 * S)
        assert desk.guard.stale_keys(desk.at) == ()
        desk.clock(1)
        assert desk.guard.stale_keys(desk.at) != ()
        desk.clock(feed_live=True)
        assert desk.guard.stale_keys(desk.at) == ()

    def test_a_doubted_leg_is_stale_until_its_next_quote(self):
        desk = Desk(*ONE, levels=STOP, session_open=None)
        desk.tick(1, 20)
        desk.guard.distrust(desk.booked.slots[0].key, desk.at)
        assert desk.clock(S, session_open=True) is None
        assert desk.guard.stale_keys(desk.at) != ()
        assert fired(desk.tick(1, 20)) is Rule.STOP_LOSS
        assert desk.guard.stale_keys(desk.at) == ()

    def test_a_doubt_about_one_leg_leaves_the_other_alone(self):
        desk = Desk(leg(1, 75, 100), leg(2, 75, 100), levels=STOP)
        desk.tick(1, 100)
        desk.tick(2, 100)
        desk.guard.distrust(desk.booked.slots[1].key, desk.at)
        assert [key.security_id for key in desk.guard.stale_keys(desk.at)] == [2]

    def test_a_saved_price_is_shown_and_fires_nothing(self):
        desk = Desk(*ONE, levels=STOP)
        assert desk.tick(1, 20, source=QuoteSource.CACHE) is None
        assert desk.booked.pnl == -600_000
        assert desk.clock(S) is None
        assert fired(desk.tick(1, 20)) is Rule.STOP_LOSS

    def test_what_is_not_safe_delays_no_square_off_and_no_day_rule(self):
        desk = Desk(*ONE, levels=ExitLevels(stop=amount(3_000), square_off=ClockLevel(time(15, 10), ROW)))
        desk.tick(1, 20, source=QuoteSource.CACHE)
        desk.ist = datetime(2026, 11, 20, 15, 10, tzinfo=IST)
        assert fired(desk.clock(S)) is Rule.SQUARE_OFF
        desk = Desk(*ONE, levels=ExitLevels(stop=amount(3_000), dte=days(40)))
        assert fired(desk.clock(S)) is Rule.DTE_EXIT, "without any price"


class TestBand:
    def test_follows_the_levels_and_the_peak(self):
        levels = ExitLevels(stop=amount(3_000), trailing=trailing(1_500, 750), target=amount(4_000), theta=days(7))
        desk = Desk(*ONE, levels=levels)
        assert (desk.booked.lower, desk.booked.upper) == (-300_000, 150_000)
        desk.tick(1, 130)
        assert (desk.booked.lower, desk.booked.upper) == (150_000, 225_001)
        desk = Desk(*ONE, levels=levels)
        desk.ist = datetime(2026, 12, 20, 10, tzinfo=IST)
        desk.clock(S)
        assert desk.booked.lower == 0
        assert (Desk(*ONE).booked.lower, Desk(*ONE).booked.upper) == (-OPEN_BOUND, OPEN_BOUND)

    def test_silence_lets_no_tick_through(self):
        desk = Desk(*ONE, levels=STOP)
        desk.tick(1, 59, book=False)
        desk.guard.silence()
        assert desk.cache.apply(desk.booked.quote_of(0)) == ()
        desk.clock(S)
        assert not desk.booked.watched

    def test_a_calm_position_still_sees_the_day_and_the_clock_change(self):
        levels = ExitLevels(dte=days(7), square_off=ClockLevel(time(15, 10), ROW))
        desk = Desk(*ONE, levels=levels)
        desk.tick(1, 100)
        for _ in range(3):
            assert desk.clock(S) is None
        assert desk.guard._is_calm
        desk.ist = datetime(2026, 11, 20, 15, 10, tzinfo=IST)
        assert fired(desk.clock(S)) is Rule.SQUARE_OFF
        desk = Desk(*ONE, levels=levels)
        desk.tick(1, 100)
        desk.clock(S)
        desk.ist = datetime(2026, 12, 17, 10, tzinfo=IST)
        assert fired(desk.clock(S)) is Rule.DTE_EXIT
