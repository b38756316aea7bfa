"""Limits over positions at their edges: what no tick brings, what must not be left over, what costs nothing."""

from datetime import date
from types import SimpleNamespace

import pytest

from core.exits.scope_blindness import next_share
from core.exits.scope_ledger import LimitLedger
from core.exits.scope_lines import Line, lines_of
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.journal_records import DayCounted, ExitStarted, LimitReset, LimitTripped
from core.model.memory import PositionMemory
from core.model.orders import OrderStatus
from core.model.special_levels import LimitKind, Scope, ScopeKey, ScopeLimit
from core.position_cache_manager import OPEN_BOUND
from tests.unit.exits.scope_rig import DAY_S, ENTRY, MS, NOON, TODAY, S, held, rig_with

LIMIT = 1_000
LOSS, PROFIT, DAILY = LimitKind.MAX_LOSS, LimitKind.MAX_PROFIT, LimitKind.DAILY_LOSS
PORTFOLIO_LOSS = ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT)
ONE, TWO = held(1, (501, 1)), held(2, (502, 1))
PORTFOLIO, NIFTY = ScopeKey(Scope.PORTFOLIO), ScopeKey(Scope.UNDERLYING, "NIFTY")
NOV_20, NOV_21 = date(2026, 11, 20), date(2026, 11, 21)


def tally_of(rig):
    (pool,) = rig.limits._roster.pools.values()
    return pool.tally


class TestWithoutATick:
    """Sums that are beyond a limit without a tick of their own are found by the clock."""

    def test_a_position_that_opens_at_a_loss(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE)
        rig.tell(ev.PositionOpened(held(4, (501, 1), entry=ENTRY + LIMIT), ExitLevels(), rig.now))
        rig.wait(0.1)
        rig.wait(0.1)
        assert set(rig.fired()) == {1, 4}

    def test_a_position_without_a_price_that_goes(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.put(held(3, (503, 1)), quoted=False)
        rig.tick(501, ENTRY - LIMIT)
        rig.wait(0.2)
        assert rig.fired() == {}
        rig.tell(ev.PositionGone(3, rig.now))
        rig.wait(0.1)
        rig.wait(0.1)
        assert set(rig.fired()) == {1, 2}

    def test_an_exit_of_an_earlier_run_that_is_over(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        intent = rig.running(1).attempts[0].intent
        after = rig.reborn(10)
        after.put(TWO)
        after.tick(502, ENTRY - LIMIT)
        after.beat(2)
        assert set(after.fired()) == {1}
        assert after.state(LOSS).open_pnl is None
        after.report(intent, OrderStatus.TRADED, 1)
        after.wait(0.1)
        after.positions({501: 0, 502: 1})
        after.beat(2)
        assert set(after.fired()) == {2}

    def test_a_scope_that_is_let_go_while_it_is_beyond(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE)
        rig.positions({501: 1})
        rig.tick(501, ENTRY - LIMIT)
        rig.fill_all()
        rig.session_open = False
        rig.put(TWO)
        rig.tick(502, ENTRY - LIMIT)
        rig.limits.reset()
        rig.session_open = True
        rig.beat(2)
        assert rig.fired() == {2: ("portfolio_limit", "max_loss")}
        assert len([each for each in rig.journal if isinstance(each, LimitTripped)]) == 2

    def test_a_limit_that_comes_into_force_again_with_the_session(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE)
        rig.positions({501: 1})
        rig.tick(501, ENTRY - LIMIT)
        rig.fill_all()
        rig.session_open = False
        rig.put(TWO)
        rig.now += DAY_S * S
        rig.beat()
        rig.session_open = True
        rig.beat(12)
        rig.tick(502, ENTRY)
        rig.beat(8)
        rig.tick(502, ENTRY - LIMIT)
        assert rig.fired() == {2: ("portfolio_limit", "max_loss")}

    def test_several_wait_each_for_itself(self):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, max_loss=LIMIT))
        rig.put(held(1, (501, 1), (503, 1)), held(2, (502, 1), (504, 1)))
        rig.tick(501, ENTRY - LIMIT)
        first = rig.now
        rig.tick(502, ENTRY - LIMIT, after=0.06)
        assert rig.limits.next_deadline_ns == first + 100 * MS
        rig.wait(0.04)
        assert set(rig.fired()) == {1}
        assert rig.limits.next_deadline_ns is not None
        rig.wait(0.06)
        assert set(rig.fired()) == {1, 2}


class TestNothingIsLeftOver:
    def test_a_breach_from_before_the_close_is_none_at_the_next_opening(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.tick(501, ENTRY - LIMIT)
        rig.session_open = False
        rig.wait(0.05)
        rig.session_open = True
        rig.wait(0.05)
        assert rig.fired() == {}
        rig.wait(0.1)
        assert set(rig.fired()) == {1, 2}

    def test_who_was_called_before_the_close_is_called_again_and_later(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.doubt(502)
        rig.beat(24)
        rig.session_open = False
        rig.beat(2)
        rig.session_open = True
        rig.beat()
        assert len(rig.alerts) == 1
        rig.beat(24)
        told = [(alert.severity, alert.subject) for alert in rig.alerts]
        assert told == [(cmd.Severity.PAGE, "limits over positions cannot be judged")] * 2
        rig.tick(502, ENTRY)
        rig.beat(2)
        assert rig.alerts[-1].severity is cmd.Severity.INFO
        assert rig.limits._blindness.doubtful == {}

    def test_it_takes_five_seconds_to_the_nanosecond(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.doubt(502)
        doubted = rig.now
        rig.now = doubted + 5 * S - 1
        rig.wait(0)
        assert rig.alerts == []
        rig.now += 1
        rig.wait(0)
        assert len(rig.alerts) == 1

    def test_a_breach_that_is_over_costs_its_ticks_nothing(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.tick(501, ENTRY - LIMIT)
        rig.tick(501, ENTRY - LIMIT, after=0.01)
        assert rig.limits.next_deadline_ns == rig.now + 40 * MS, "the tick that was not looked at"
        rig.tick(501, ENTRY - LIMIT + 1, after=0.01)
        assert not tally_of(rig).watched
        assert rig.limits.next_deadline_ns is None
        assert rig.limits._outside == {}
        assert rig.limits._roster.pools[ScopeKey(Scope.ACCOUNT)].next_deadline_ns is None

    def test_a_position_that_went_before_it_was_based_leaves_nothing(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.put(ONE)
        rig.put(TWO, quoted=False)
        rig.tell(ev.PositionGone(2, rig.now))
        rig.beat()
        rig.limits.reset()
        rig.beat(2)
        assert rig.state(DAILY).day_pnl == 0
        assert rig.limits._roster.unbased == {}

    def test_neither_does_one_whose_exit_ended_before(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.put(ONE)
        rig.tell(ev.PositionOpened(TWO, ExitLevels(), rig.now))
        rig.positions({501: 1, 502: 1})
        rig.exit(2)
        rig.tick(502, ENTRY)
        (intent,) = rig.submitted()
        rig.doubt(502)
        rig.fill(intent)
        rig.wait(0.1)
        rig.positions({501: 1, 502: 0})
        rig.tick(502, ENTRY)
        rig.limits.reset()
        rig.beat(2)
        assert rig.running(2) is None
        assert rig.state(DAILY).day_pnl == 0
        assert rig.limits._roster.unbased == {}

    def test_a_base_is_remembered_once(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.put(ONE)
        assert len(rig.take(cmd.Remember)) == 1
        rig.beat(4)
        assert rig.take(cmd.Remember) == []

    def test_a_sum_of_yesterday_does_not_fire_today(self):
        """An exit that ends after the close makes the day too bad. Nobody judges it then; when somebody does, it is another day."""
        rig = rig_with(ScopeLimit(Scope.STRATEGY, daily_loss=LIMIT))
        rig.put(ONE, TWO)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        (intent,) = rig.submitted()
        rig.session_open = False
        rig.beat()
        rig.accept(intent)
        rig.report(intent, OrderStatus.TRADED, 1, average_price=ENTRY - 5 * LIMIT)
        rig.wait(0.1)
        rig.positions({501: 0, 502: 1})
        rig.beat()
        assert rig.state(DAILY, Scope.STRATEGY, "1").day_pnl == -5 * LIMIT
        rig.now += DAY_S * S
        rig.beat()
        rig.session_open = True
        rig.beat(3)
        assert [each for each in rig.journal if isinstance(each, LimitTripped)] == []


class TestBand:
    """A sum inside its band is not looked at."""

    def test_it_lies_between_the_nearest_limits(self):
        account = ScopeLimit(Scope.ACCOUNT, max_loss=3_000, max_profit=900)
        rig = rig_with(account, ScopeLimit(Scope.PORTFOLIO, max_loss=2_000, max_profit=700, daily_loss=1_500))
        rig.put(held(3, (503, 1), opened=TODAY), ONE)
        rig.tick(501, ENTRY + 300)
        assert (tally_of(rig).lower, tally_of(rig).upper) == (-1_500, 700)

    def test_it_is_open_on_a_side_without_limits_and_while_the_sum_is_not_known(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE)
        assert (tally_of(rig).lower, tally_of(rig).upper) == (-LIMIT, OPEN_BOUND)
        rig.put(TWO, quoted=False)
        assert (tally_of(rig).lower, tally_of(rig).upper) == (-OPEN_BOUND, OPEN_BOUND)
        gains = rig_with(ScopeLimit(Scope.PORTFOLIO, max_profit=LIMIT))
        gains.put(ONE)
        assert (tally_of(gains).lower, tally_of(gains).upper) == (-OPEN_BOUND, LIMIT)

    def test_it_is_open_once_the_limit_has_fired(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE)
        rig.tick(501, ENTRY - LIMIT)
        assert (tally_of(rig).lower, tally_of(rig).upper) == (-OPEN_BOUND, OPEN_BOUND)


class TestHardMultiple:
    @pytest.fixture
    def rig(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.beat(8)
        return rig

    @pytest.mark.parametrize(("flatters", "fires"), [(500, True), (501, False)])
    def test_the_best_sides_of_all_books_must_breach_as_well(self, rig, flatters, fires):
        last = ENTRY - 1_501
        rig.tick(502, ENTRY, bid=ENTRY, ask=ENTRY + 1)
        rig.tick(501, last, bid=last, ask=last + flatters)
        assert bool(rig.fired()) is fires

    def test_a_wide_book_of_a_short_counts_at_its_bid(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(held(1, (501, -1)), TWO)
        rig.beat(8)
        rig.tick(501, ENTRY + 1_600, bid=ENTRY + 999, ask=ENTRY + 1_600)
        assert rig.fired() == {}

    @pytest.mark.parametrize(("move", "fires"), [(-1_504, False), (-1_505, True)])
    def test_one_and_a_half_times_an_odd_limit_is_not_rounded(self, move, fires):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, max_loss=1_003))
        rig.put(ONE, TWO)
        rig.beat(8)
        rig.tick(502, ENTRY, bid=ENTRY, ask=ENTRY)
        rig.tick(501, ENTRY + move, bid=ENTRY + move, ask=ENTRY + move)
        assert bool(rig.fired()) is fires


class TestLarge:
    def test_a_large_scope_is_looked_at_less_often(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        tally_of(rig).legs = 1_200
        rig.tick(501, ENTRY - LIMIT)
        rig.tick(501, ENTRY - LIMIT, after=0.055)
        assert rig.limits.next_deadline_ns == rig.now + 5 * MS

    @pytest.mark.parametrize(("count", "share"), [(10, 10), (256, 256), (300, 256), (2_000, 501)])
    def test_a_share_of_many_is_taken_at_a_time_and_all_in_turn(self, count, share):
        queue = {number: SimpleNamespace(strategy_id=number) for number in range(count)}
        first = [each.strategy_id for each in next_share(queue)]
        assert first == list(range(share))
        seen = {*first, *(each.strategy_id for _ in range(3) for each in next_share(queue))}
        assert seen == set(range(count)) == set(queue)


class TestKnown:
    def test_a_hindrance_that_only_the_look_came_upon_is_seen_to_the_end(self):
        """The feed is down, and the price grew too old between two beats."""
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.tell(ev.FeedStateChanged(is_live=False, at_ns=rig.now))
        rig.beat(20)
        assert rig.state(LOSS).blind == ""
        rig.tick(501, ENTRY - LIMIT, after=0.26)
        assert "no fresh price for OPT-502" in rig.state(LOSS).blind
        rig.tick(501, ENTRY)
        rig.tell(ev.FeedStateChanged(is_live=True, at_ns=rig.now))
        rig.beat(2)
        assert rig.state(LOSS).blind == ""

    def test_a_breach_begins_with_the_tick_that_makes_the_sum_known(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.doubt(502)
        rig.tick(501, ENTRY - LIMIT, after=0.01)
        rig.tick(502, ENTRY, after=0.01)
        known = rig.now
        rig.now = known + 100 * MS - 1
        rig.tick(502, ENTRY)
        assert rig.fired() == {}
        rig.now = known + 100 * MS
        rig.tick(502, ENTRY)
        assert set(rig.fired()) == {1, 2}

    def test_the_price_that_is_missing_is_named(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(held(1, (501, 1), (502, 1)), quoted=False)
        assert rig.state(LOSS).blind == "the portfolio limit cannot be judged: no price for OPT-501 of S1 (1)"

    def test_a_daily_limit_that_is_known_is_no_blind_spot(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.put(ONE)
        assert rig.engine.guards[1].blind_spot(rig.now) is None

    def test_an_unknown_day_is_no_blind_spot_where_no_day_is_limited(self):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, daily_loss=LIMIT), PORTFOLIO_LOSS)
        rig.put(ONE, TWO)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        assert rig.engine.guards[2].blind_spot(rig.now) is None
        assert rig.state(LOSS).blind == ""

    @pytest.mark.parametrize(("count", "pages"), [(3, 3), (4, 1)])
    def test_up_to_three_are_told_one_by_one(self, count, pages):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, max_loss=LIMIT))
        rig.put(*(held(n, (500 + n, 1)) for n in range(1, count + 1)))
        rig.doubt(*(500 + n for n in range(1, count + 1)))
        rig.beat(24)
        assert len(rig.alerts) == pages

    def test_three_unknown_days_are_all_named(self):
        rig = rig_with(
            *(ScopeLimit(scope, daily_loss=LIMIT) for scope in (Scope.STRATEGY, Scope.UNDERLYING, Scope.ACCOUNT))
        )
        rig.put(ONE)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        (alert,) = rig.alerts
        assert alert.text.count("cannot be judged today") == 3
        assert "more" not in alert.text

    def test_a_day_that_is_unknown_again_is_told_again(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.put(ONE, TWO)
        for strategy_id in (1, 2):
            rig.tell(ev.PositionGone(strategy_id, rig.now))
            rig.beat()
            rig.limits.reset()
        assert rig.subjects().count("daily loss not known") == 2

    def test_an_exit_of_an_earlier_run_is_paged_by_itself(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE)
        rig.positions({501: 1})
        rig.exit(1)
        after = rig.reborn(10)
        after.beat(24)
        assert [each.text for each in after.alerts] == [
            "the portfolio limit cannot be judged: the exit of S1 (1) that an earlier run began is not over"
        ]

    def test_ten_members_and_ten_unknown_ones_are_all_named(self):
        rig = rig_with(PORTFOLIO_LOSS, ScopeLimit(Scope.ACCOUNT, daily_loss=LIMIT))
        rig.put(*(held(n, (500 + n, 1)) for n in range(1, 22)))
        for n in range(12, 22):
            rig.tell(ev.PositionGone(n, rig.now))
        rig.beat()
        assert "strategy 21 brought" in rig.state(DAILY, Scope.ACCOUNT).blind
        rig.tell(ev.PositionGone(11, rig.now))
        rig.tick(501, ENTRY - LIMIT)
        rig.wait(0.1)
        reason = rig.running(1).signal.reason
        assert reason.count(" (") == 11
        assert "more" not in reason

    def test_the_leg_whose_price_is_missing_is_named(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, max_profit=LIMIT))
        rig.put(held(1, (501, 1), (502, 1)))
        rig.doubt(502)
        rig.beat()
        assert "no fresh price for OPT-502 of S1 (1)" in rig.state(PROFIT).blind
        rig.tick(502, ENTRY)
        rig.tick(501, ENTRY + LIMIT)
        rig.wait(0.1)
        assert rig.running(1).signal.reason == "portfolio profit limit: P&L ₹10.00 ≥ ₹10.00 (S1 (1) ₹10.00)"


class TestDays:
    DAILY_LIMIT = ScopeLimit(Scope.PORTFOLIO, daily_loss=10 * LIMIT)

    def test_one_daily_limit_among_others_is_enough(self):
        rig = rig_with(self.DAILY_LIMIT, ScopeLimit(Scope.STRATEGY, max_loss=10 * LIMIT))
        rig.put(ONE)
        rig.tick(501, ENTRY - 300)
        assert rig.state(DAILY).day_pnl == -300
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        assert rig.state(DAILY).day_pnl is None
        assert {each.name for each in rig.limits.state()} == {"1", ""}

    def test_what_was_forgiven_is_forgiven_for_that_day_only(self):
        rig = rig_with(self.DAILY_LIMIT)
        rig.put(ONE, TWO)
        rig.tick(502, ENTRY - 300)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        rig.limits.reset()
        self.next_day(rig)
        assert rig.state(DAILY).day_pnl == 0
        rig.tick(502, ENTRY - 400)
        assert rig.state(DAILY).day_pnl == -100

    def test_a_limit_that_fired_forgives_nothing_of_the_next_day(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.put(ONE)
        rig.positions({501: 1})
        rig.tick(501, ENTRY - LIMIT)
        rig.fill_all()
        self.next_day(rig)
        resets = [each for each in rig.journal if isinstance(each, LimitReset)]
        assert resets == [LimitReset(Scope.PORTFOLIO, "", 0, rig.utc)]
        rig.put(held(3, (503, 1)))
        assert rig.state(DAILY).day_pnl == 0

    def test_an_edit_of_yesterday_has_nothing_to_do_with_today(self):
        rig = rig_with(self.DAILY_LIMIT)
        rig.put(ONE)
        rig.tick(501, ENTRY - 300)
        rig.put(held(1, (501, 2)), quoted=False)
        assert rig.state(DAILY).day_pnl == -300
        self.next_day(rig)
        assert rig.state(DAILY).day_pnl == 0
        rig.tick(501, ENTRY - 700)
        assert rig.state(DAILY).day_pnl == -800

    def test_rows_that_are_edited_to_what_they_were_go_on_with_the_day(self):
        rig = rig_with(self.DAILY_LIMIT)
        rig.put(ONE)
        rig.tick(501, ENTRY - 300)
        memory = PositionMemory(day=NOV_20, day_base=-9_999)
        rig.tell(ev.PositionOpened(held(1, (501, 2)), ExitLevels(), rig.now, memory))
        rig.beat(2)
        assert rig.state(DAILY).day_pnl == -300

    def test_what_ends_in_the_night_belongs_to_no_day(self):
        rig = rig_with(self.DAILY_LIMIT)
        rig.put(ONE, TWO)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        (intent,) = rig.submitted()
        rig.session_open = False
        rig.now += DAY_S * S
        rig.beat()
        rig.fill(intent)
        rig.wait(0.1)
        rig.positions({501: 0, 502: 1})
        rig.beat()
        assert rig.running(1) is None
        assert [each for each in rig.journal if isinstance(each, DayCounted)] == []

    def test_an_exit_of_an_earlier_run_counts_for_its_underlying(self):
        rig = rig_with(ScopeLimit(Scope.UNDERLYING, daily_loss=10 * LIMIT))
        rig.put(ONE, TWO)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        after = rig.reborn(10)
        after.put(TWO)
        assert after.state(DAILY, Scope.UNDERLYING, "NIFTY").open_pnl is None
        after.running(1).abandoned = True
        after.beat(2)
        (told,) = [each for each in after.journal if isinstance(each, DayCounted)]
        assert (told.strategy_id, told.underlying, told.change) == (1, "NIFTY", None)

    def test_a_base_of_another_day_is_none_of_today(self):
        rig = rig_with(self.DAILY_LIMIT)
        rig.put(ONE, TWO)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        intent = rig.running(1).attempts[0].intent
        after = rig.reborn(10)
        memory = PositionMemory(day=date(2026, 11, 19), day_base=0)
        after.tell(ev.PositionOpened(ONE, ExitLevels(), after.now, memory))
        after.put(TWO)
        after.report(intent, OrderStatus.TRADED, 1)
        after.wait(0.1)
        after.positions({501: 0, 502: 1})
        after.beat()
        assert [each.change for each in after.journal if isinstance(each, DayCounted)] == [None]

    def test_an_exit_of_an_earlier_run_outlives_the_night(self):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, max_loss=10 * LIMIT))
        rig.put(ONE, TWO)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        after = rig.reborn(10)
        after.put(TWO)
        self.next_day(after)
        assert after.state(LOSS, Scope.STRATEGY, "1").open_pnl is None
        assert "an earlier run began" in after.state(LOSS, Scope.STRATEGY, "1").blind

    def test_an_exit_that_turns_out_to_be_none_of_rows_that_are_gone_leaves_the_sum(self):
        rig = rig_with(self.DAILY_LIMIT)
        rig.put(ONE, TWO)
        rig.tick(501, ENTRY - 300)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        rig.beat()
        assert rig.state(DAILY).open_pnl == -300
        rig.running(1).abandoned = True
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat(2)
        assert rig.state(DAILY).open_pnl == 0

    def next_day(self, rig):
        rig.session_open = False
        rig.beat()
        rig.now += DAY_S * S
        rig.beat()
        rig.session_open = True
        rig.beat()


class TestReset:
    def test_it_may_come_before_anything_else(self):
        rig = rig_with(PORTFOLIO_LOSS)
        rig.put(ONE)
        rig.tick(501, ENTRY - LIMIT)
        rig.wait(0.1)
        rig.journal = [each for each in rig.journal if isinstance(each, LimitTripped | ExitStarted)]
        after = rig.reborn()
        assert len(after.limits.reset()) == 1

    def test_without_open_positions_it_forgives_what_exits_have_brought(self):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, daily_loss=LIMIT))
        rig.put(ONE)
        rig.positions({501: 1})
        rig.tick(501, ENTRY - LIMIT)
        rig.fill_all()
        brought = next(each.change for each in rig.journal if isinstance(each, DayCounted))
        after = rig.reborn()
        after.limits.reset()
        after.beat()
        assert [each.forgiven for each in after.journal if isinstance(each, LimitReset)] == [brought]


class TestLedger:
    def trip(self, key, utc_ns):
        return LimitTripped(*key, LOSS, -1, -2, utc_ns)

    def test_what_fired_today_stays_when_the_session_begins_what_fired_before_does_not(self):
        ledger = LimitLedger()
        old, new = self.trip(PORTFOLIO, NOON - DAY_S * S), self.trip(NIFTY, NOON)
        for each in (old, new):
            ledger.take(each, NOV_20)
        ledger.day = NOV_20
        assert ledger.is_over(NOV_20)
        assert ledger.begin(NOV_20) == (old,)
        ledger.take(LimitReset(*PORTFOLIO, 0, NOON), NOV_20)
        assert set(ledger.latches) == {NIFTY}
        assert not ledger.is_over(NOV_20)
        assert ledger.is_over(NOV_21)

    def test_an_empty_day_is_over_when_another_begins(self):
        ledger = LimitLedger()
        ledger.day = NOV_20
        assert not ledger.is_over(NOV_20)
        assert ledger.begin(NOV_20) == ()

    def test_an_unknown_exit_is_named_by_its_id(self):
        ledger = LimitLedger()
        ledger.take(DayCounted("1-1-abc", 1, "NIFTY", None, NOON), NOV_20)
        ledger.take(DayCounted("", 7, "NIFTY", None, NOON), NOV_20)
        assert ledger.unknown[PORTFOLIO] == ("1-1-abc", "strategy 7")

    def test_a_name_goes_before_all_names_in_whatever_order_they_are_set(self):
        each, named = ScopeLimit(Scope.UNDERLYING, max_loss=5), ScopeLimit(Scope.UNDERLYING, max_loss=9, name="NIFTY")
        for limits in ((each, named), (named, each)):
            assert lines_of(limits, NIFTY) == (Line(NIFTY, LOSS, -9),)
        assert Line(NIFTY, PROFIT, 5).is_loss is False
