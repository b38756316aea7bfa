"""When a guard may judge at all: calendar and clock, trust in its prices, the band in which no tick reaches it."""

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
