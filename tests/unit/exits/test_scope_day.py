"""What the day has brought: where a position's day begins, what an exit adds, and what nobody can know."""

from dataclasses import replace
from datetime import date

import pytest

from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource
from core.model.journal_records import DayCounted, ExitFinished
from core.model.memory import PositionMemory
from core.model.orders import OrderStatus
from core.model.special_levels import Scope, ScopeLimit
from tests.unit.exits.scope_days import (
    DAILY,
    DAILY_LIMIT,
    LIMIT,
    NEW,
    NOV_20,
    OLD,
    OTHER,
    counted,
    day_pnl,
    exit_at,
    put_at,
)
from tests.unit.exits.scope_rig import ENTRY, TODAY, YESTERDAY, held, rig_with


@pytest.fixture
def rig():
    return rig_with(DAILY_LIMIT)


class TestBase:
    def test_the_day_of_an_old_position_begins_at_its_first_believed_marks(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        assert (rig.state(DAILY).open_pnl, day_pnl(rig)) == (-5_000, 0)
        rig.tick(501, ENTRY - 5_000 - LIMIT + 1)
        assert rig.fired() == {}
        rig.tick(501, ENTRY - 5_000 - LIMIT)
        assert rig.fired() == {1: ("portfolio_limit", "daily_loss")}

    def test_the_day_of_a_position_opened_today_begins_at_its_entry(self, rig):
        put_at(rig, NEW, ENTRY - LIMIT + 1)
        assert day_pnl(rig) == -LIMIT + 1
        rig.tick(503, ENTRY - LIMIT)
        assert set(rig.fired()) == {3}

    def test_the_signal_counts_the_day(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        rig.tick(501, ENTRY - 6_100)
        signal = rig.running(1).signal
        assert (signal.threshold, signal.observed, signal.pnl) == (-LIMIT, -1_100, -6_100)
        assert signal.reason == ("portfolio daily loss limit: P&L of the day ₹-11.00 ≤ ₹-10.00 (S1 (1) ₹-11.00)")

    def test_it_begins_when_the_session_does(self, rig):
        rig.session_open = False
        put_at(rig, OLD, ENTRY - 5_000)
        assert day_pnl(rig) is None
        rig.tick(501, ENTRY - 4_000)
        rig.session_open = True
        rig.beat(2)
        assert day_pnl(rig) == 0
        rig.tick(501, ENTRY - 4_300)
        assert day_pnl(rig) == -300

    def test_marks_that_are_not_believed_begin_no_day(self, rig):
        rig.tell(ev.PositionOpened(OLD, ExitLevels(), rig.now))
        rig.tick(501, ENTRY - 5_000)
        rig.doubt(501)
        rig.beat(2)
        assert day_pnl(rig) is None
        rig.tick(501, ENTRY - 4_000)
        rig.beat()
        assert day_pnl(rig) == 0

    def test_it_is_remembered_and_kept_through_a_restart(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        rig.put(NEW)
        assert rig.memories[1] == PositionMemory(day=NOV_20, day_base=-5_000, underlying="NIFTY")
        assert rig.memories[3] == PositionMemory(day=NOV_20, day_base=0, underlying="NIFTY")
        rig.tick(501, ENTRY - 5_900)
        after = rig.reborn()
        put_at(after, OLD, ENTRY - 5_950)
        assert day_pnl(after) == -950
        put_at(after, NEW, ENTRY - 49)
        assert after.fired() == {}
        after.tick(503, ENTRY - 50)
        after.wait(0.1)
        assert set(after.fired()) == {1, 3}

    def test_what_was_remembered_of_another_day_does_not_count(self, rig):
        rig.memories[1] = PositionMemory(day=date(2026, 11, 19), day_base=-9_000)
        put_at(rig, OLD, ENTRY - 5_000)
        assert day_pnl(rig) == 0
        assert rig.memories[1].day_base == -5_000

    def test_rows_that_are_edited_change_nothing_of_what_the_day_has_brought(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        rig.tick(501, ENTRY - 5_700)
        rig.memories.clear()
        twice = held(1, (501, 2))
        put_at(rig, twice, ENTRY - 5_700)
        assert (rig.state(DAILY).open_pnl, day_pnl(rig)) == (-11_400, -700)
        assert rig.memories[1] == PositionMemory(day=NOV_20, day_base=-10_700, underlying="NIFTY")
        rig.tick(501, ENTRY - 5_849)
        assert day_pnl(rig) == -998

    def test_nor_do_rows_that_are_edited_twice_between_two_beats(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        rig.tick(501, ENTRY - 5_700)
        for units in (2, 3):
            rig.tell(ev.PositionOpened(held(1, (501, units)), ExitLevels(), rig.now))
        rig.beat(2)
        assert day_pnl(rig) == -700

    def test_levels_that_are_edited_change_nothing_at_all(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        rig.tick(501, ENTRY - 5_700)
        rig.put(OLD, levels=ExitLevels(stop=AmountLevel(90_000, LevelSource.LEVEL_ROW)), quoted=False)
        assert day_pnl(rig) == -700

    def test_an_edit_before_the_first_marks_leaves_them_to_begin_the_day(self, rig):
        rig.tell(ev.PositionOpened(OLD, ExitLevels(), rig.now))
        rig.beat()
        put_at(rig, held(1, (501, 2)), ENTRY - 5_000)
        assert day_pnl(rig) == 0

    def test_without_a_daily_limit_no_day_is_remembered(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT))
        rig.put(OLD)
        exit_at(rig, 1, ENTRY)
        assert rig.memories == {}
        assert counted(rig) == []

    def test_a_large_book_is_based_within_a_few_beats(self, rig):
        many = [held(n, (1_000 + n, 1)) for n in range(1, 600)]
        for one in many:
            rig.tell(ev.PositionOpened(one, ExitLevels(), rig.now))
            rig.tick(one.legs[0].instrument.key.security_id, ENTRY)
        rig.beat(2)
        assert day_pnl(rig) is None
        rig.beat(3)
        assert day_pnl(rig) == 0


class TestExits:
    def test_an_exit_adds_what_it_has_realised_less_the_base(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        rig.put(OTHER)
        exit_at(rig, 1, ENTRY - 5_600)
        assert day_pnl(rig) == -600
        assert [(strategy, change) for _, strategy, change in counted(rig)] == [(1, -600)]
        rig.tick(502, ENTRY - 399)
        assert rig.fired() == {}
        rig.tick(502, ENTRY - 400)
        assert set(rig.fired()) == {2}

    def test_it_is_durable_together_with_the_end_of_the_exit(self, rig):
        rig.put(OLD)
        rig.positions({501: 1})
        rig.exit(1)
        rig.fill(rig.submitted()[0])
        rig.wait(0.1)
        rig.take()
        rig.positions({501: 0})
        written = [type(one.record) for one in rig.take() if isinstance(one, cmd.WriteJournal)]
        assert written == [ExitFinished, DayCounted]

    def test_a_profit_of_the_morning_gives_room_in_the_afternoon(self, rig):
        rig.put(OLD, OTHER)
        exit_at(rig, 1, ENTRY + 700)
        rig.tick(502, ENTRY - 1_699)
        assert rig.fired() == {}
        rig.tick(502, ENTRY - 1_700)
        assert set(rig.fired()) == {2}

    def test_exits_alone_can_be_too_much(self, rig):
        rig.put(OLD)
        exit_at(rig, 1, ENTRY - 900, fill=ENTRY - LIMIT)
        assert rig.state(DAILY).latched_by is DAILY
        (alert,) = [alert for alert in rig.alerts if alert.subject == "portfolio daily loss limit fired"]
        assert "(no open position)" in alert.text
        (pool,) = rig.limits._roster.pools.values()
        assert pool.tally.lower < -LIMIT * 1_000, "it fires no second time"

    def test_the_day_of_exits_is_kept_through_a_restart(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        rig.put(OTHER)
        exit_at(rig, 1, ENTRY - 5_600)
        after = rig.reborn()
        after.put(OTHER)
        assert day_pnl(after) == -600
        again = after.reborn()
        again.put(OTHER)
        assert day_pnl(again) == -600
        assert len(counted(again)) == 1
        again.tick(502, ENTRY - 400)
        assert set(again.fired()) == {2}

    def test_each_scope_counts_its_own(self):
        limits = [ScopeLimit(scope, daily_loss=LIMIT) for scope in Scope]
        rig = rig_with(*limits)
        rig.put(OLD, held(2, (502, 1), on="BANKNIFTY"))
        exit_at(rig, 1, ENTRY - 600)
        seen = {(each.scope, each.name): each.day_pnl for each in rig.limits.state()}
        assert seen == {
            (Scope.STRATEGY, "1"): -600,
            (Scope.STRATEGY, "2"): 0,
            (Scope.UNDERLYING, "NIFTY"): -600,
            (Scope.UNDERLYING, "BANKNIFTY"): 0,
            (Scope.ACCOUNT, ""): -600,
            (Scope.PORTFOLIO, ""): -600,
        }

    def test_a_strategy_that_is_entered_again_goes_on_with_its_day(self):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, daily_loss=LIMIT))
        rig.put(OLD)
        exit_at(rig, 1, ENTRY - 600)
        again = held(1, (502, 1), opened=TODAY)
        again = replace(again, legs=(replace(again.legs[0], row_id=99),))
        rig.put(again)
        rig.tick(502, ENTRY - 400)
        assert rig.fired() == {1: ("strategy_limit", "daily_loss")}

    def test_the_base_may_become_known_while_the_exit_is_under_way(self, rig):
        rig.tell(ev.PositionOpened(OLD, ExitLevels(), rig.now))
        rig.positions({501: 1})
        rig.exit(1)
        rig.tick(501, ENTRY - 5_000)
        rig.beat()
        assert day_pnl(rig) == 0
        assert rig.memories[1].day_base == -5_000

    def test_a_position_opened_and_closed_between_two_beats_counts_from_its_entry(self, rig):
        rig.wait()
        rig.tell(ev.PositionOpened(NEW, ExitLevels(), rig.now))
        exit_at(rig, 3, ENTRY - 300)
        assert [change for _, _, change in counted(rig)] == [-300]


class TestShares:
    """A share is in the P&L of the rest; when that is closed too, all of it is in what the exit brought."""

    TARGET = ExitLevels(target=AmountLevel(3_000, LevelSource.LEVEL_ROW), target_action=Action.CLOSE_50)
    LONG = held(1, (501, 150))
    """Two lots."""

    def share(self, rig, base=0, fill=30):
        """Half is closed at 30 paise more than its entry, at `fill` paise as it turns out."""
        rig.tell(ev.PositionOpened(self.LONG, self.TARGET, rig.now, rig.memories.get(1, PositionMemory())))
        rig.tick(501, ENTRY + base)
        rig.beat(2)
        rig.positions({501: 150})
        rig.tick(501, ENTRY + 30)
        rig.wait(0.2)
        (intent,) = rig.submitted()
        rig.accept(intent)
        rig.report(intent, OrderStatus.TRADED, intent.quantity, average_price=ENTRY + fill)
        rig.wait(0.1)
        rig.positions({501: 75})
        rig.beat()

    def close_rest(self, rig, last):
        rig.tick(501, last)
        rig.positions({501: 75})
        rig.take()
        rig.exit(1)
        (intent,) = rig.submitted()
        rig.accept(intent)
        rig.report(intent, OrderStatus.TRADED, intent.quantity, average_price=last)
        rig.wait(0.1)
        rig.positions({501: 0})
        rig.beat(2)

    @pytest.mark.parametrize("base", [0, 10])
    def test_a_share_is_counted_once(self, base):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=10_000_00))
        self.share(rig, base)
        rig.tick(501, ENTRY + 20)
        assert rig.state(DAILY).open_pnl == 75 * 30 + 75 * 20
        assert day_pnl(rig) == 75 * 30 + 75 * 20 - 150 * base
        self.close_rest(rig, ENTRY + 25)
        assert day_pnl(rig) == 75 * 30 + 75 * 25 - 150 * base
        after = rig.reborn()
        after.put(OTHER)
        assert day_pnl(after) == day_pnl(rig)

    def test_it_counts_as_it_was_filled(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=10_000_00))
        self.share(rig, 10, fill=27)
        assert day_pnl(rig) == 75 * 27 + 75 * 30 - 150 * 10

    def test_also_when_the_rest_is_closed_after_a_restart(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=10_000_00))
        self.share(rig, 10)
        rig.positions({501: 75})
        rig.exit(1)
        rig.take()
        after = rig.reborn(10)
        after.tell(ev.PositionOpened(self.LONG, self.TARGET, after.now, after.memories[1]))
        after.tick(501, ENTRY + 25)
        after.beat(2)
        intent = rig.running(1).attempts[0].intent
        after.report(intent, OrderStatus.TRADED, 75, average_price=ENTRY + 25)
        after.wait(0.1)
        after.positions({501: 0})
        after.beat(2)
        assert after.running(1) is None
        assert [change for _, _, change in counted(after)] == [75 * 30 + 75 * 25 - 150 * 10]

    def corrected(self, rig, opened=YESTERDAY):
        """Half is closed, and the trader writes what is left into the row."""
        self.LONG = held(1, (501, 150), opened=opened)
        self.share(rig)
        left = held(1, (501, 75), opened=opened)
        rig.tell(ev.PositionOpened(left, self.TARGET, rig.now))
        rig.beat(2)
        return left

    @pytest.mark.parametrize("opened", [YESTERDAY, TODAY])
    def test_what_a_share_has_brought_stays_in_the_day_when_its_row_is_corrected(self, opened):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=10_000_00))
        self.corrected(rig, opened)
        assert (rig.state(DAILY).open_pnl, day_pnl(rig)) == (75 * 30, 150 * 30)

    def test_also_when_that_is_before_the_first_beat_after_a_restart(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=10_000_00))
        self.share(rig)
        after = rig.reborn()
        after.tell(ev.PositionOpened(self.LONG, self.TARGET, after.now, after.remembered(self.LONG)))
        after.tick(501, ENTRY + 30)
        after.tell(ev.PositionOpened(held(1, (501, 75)), self.TARGET, after.now))
        assert after.memories[1].day_base == -75 * 30
        after.tick(501, ENTRY + 20)
        after.beat(2)
        assert day_pnl(after) == 75 * 30 + 75 * 20

    def test_it_is_counted_once_when_the_corrected_rest_is_closed_after_a_restart(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=10_000_00))
        left = self.corrected(rig)
        rig.positions({501: 75})
        rig.exit(1)
        after = rig.reborn(10)
        after.tell(ev.PositionOpened(left, self.TARGET, after.now, after.remembered(left)))
        after.beat(2)
        intent = after.running(1).attempts[0].intent
        after.report(intent, OrderStatus.TRADED, 75, average_price=ENTRY + 25)
        after.wait(0.1)
        after.positions({501: 0})
        after.beat(2)
        assert [change for _, _, change in counted(after)] == [75 * 30 + 75 * 25]

    def test_rows_corrected_while_no_monitor_ran_make_the_day_unknown_also_in_a_share(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=10_000_00))
        rig.tell(ev.PositionOpened(self.LONG, self.TARGET, rig.now))
        rig.tick(501, ENTRY - 20)
        rig.beat(2)
        rig.positions({501: 150})
        rig.tick(501, ENTRY + 30)
        rig.wait(0.2)
        assert rig.running(1).is_share
        after = rig.reborn()
        after.limits.lose_day(1, rig.memories[1], rig.utc)
        after.tell(ev.PositionOpened(held(1, (501, 75)), self.TARGET, after.now))
        after.tick(501, ENTRY + 30)
        after.beat(2)
        assert after.running(1).is_share
        assert day_pnl(after) is None
        assert [change for _, _, change in counted(after)] == [None]

    def test_a_share_whose_price_nobody_knows_makes_the_day_unknown(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=10_000_00))
        rig.tell(ev.PositionOpened(self.LONG, self.TARGET, rig.now))
        rig.tick(501, ENTRY)
        rig.beat(2)
        rig.positions({501: 150})
        rig.tick(501, ENTRY + 30)
        rig.wait(0.2)
        (intent,) = rig.submitted()
        rig.accept(intent)
        rig.report(intent, OrderStatus.TRADED, intent.quantity, average_price=None)
        rig.wait(0.1)
        rig.positions({501: 75})
        rig.beat()
        assert 1 in rig.engine.guards
        assert day_pnl(rig) is None
        assert [change for _, _, change in counted(rig)] == [None]
