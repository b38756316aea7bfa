"""A limit that has fired: what is opened later, the next session, an operator's reset, a restart."""

from dataclasses import replace
from datetime import date

import pytest

from core.exits.judges import RuleSetup
from core.exits.restore import fold
from core.exits.scope_limits import limits_among
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.journal_records import DayCounted, ExitStarted, LimitReset, LimitTripped
from core.model.memory import PositionMemory
from core.model.signals import Mode
from core.model.special_levels import LimitKind, Scope, ScopeKey, ScopeLimit
from tests.unit.exits.scope_rig import DAY_S, ENTRY, TODAY, S, held, rig_with

LIMIT = 1_000
LOSS, DAILY, PROFIT = LimitKind.MAX_LOSS, LimitKind.DAILY_LOSS, LimitKind.MAX_PROFIT
PORTFOLIO = ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT)
ONE, TWO, LATER = held(1, (501, 1)), held(2, (502, 1)), held(3, (503, 1), opened=TODAY)


def tripped(*limits, move=-LIMIT, mode=Mode.LIVE):
    """One position beyond the limit, closed and over."""
    rig = rig_with(*limits, mode=mode)
    rig.put(ONE)
    rig.positions({501: 1})
    rig.tick(501, ENTRY + move)
    rig.fill_all()
    assert rig.engine.guards == {}
    assert rig.fired() == {}
    return rig


class TestLater:
    def test_what_is_opened_later_is_closed_at_the_next_beat(self):
        rig = tripped(PORTFOLIO)
        rig.tell(ev.PositionOpened(LATER, ExitLevels(), rig.now))
        assert rig.fired() == {}
        rig.wait()
        assert rig.fired() == {3: ("portfolio_limit", "max_loss")}
        signal = rig.running(3).signal
        assert (signal.threshold, signal.observed, signal.pnl, signal.tick_received_ns) == (-LIMIT, -LIMIT, None, None)
        assert signal.reason == (
            "portfolio loss limit fired at 20 Nov 12:00:00 IST, at ₹-10.00 with a limit of ₹-10.00; "
            "what is open in its scope is closed until the next session or a reset"
        )

    def test_not_while_the_market_is_closed(self):
        rig = tripped(PORTFOLIO)
        rig.session_open = False
        rig.put(LATER)
        assert rig.fired() == {}
        rig.session_open = True
        rig.beat()
        assert set(rig.fired()) == {3}

    def test_a_limit_of_another_scope_closes_nothing_here(self):
        rig = tripped(ScopeLimit(Scope.STRATEGY, max_loss=LIMIT))
        rig.put(LATER)
        assert rig.fired() == {}

    def test_it_fires_no_second_time_and_the_others_of_its_scope_rest(self):
        rig = tripped(ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT, max_profit=500))
        rig.session_open = False
        rig.put(LATER, TWO)
        rig.tick(503, ENTRY + 9 * LIMIT)
        rig.tick(502, ENTRY - 20 * LIMIT)
        rig.session_open = True
        rig.beat(2)
        assert len([each for each in rig.journal if isinstance(each, LimitTripped)]) == 1
        assert set(rig.fired().values()) == {("portfolio_limit", "max_loss")}

    def test_the_other_scope_of_the_same_sum_goes_on(self):
        rig = tripped(PORTFOLIO, ScopeLimit(Scope.ACCOUNT, max_profit=500))
        rig.session_open = False
        rig.put(LATER)
        rig.tick(503, ENTRY + 500)
        rig.session_open = True
        rig.beat(2)
        assert rig.state(PROFIT, Scope.ACCOUNT).latched_by is PROFIT

    def test_state_says_since_when_and_by_which(self):
        rig = tripped(ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT, daily_loss=9 * LIMIT))
        (trip,) = [each for each in rig.journal if isinstance(each, LimitTripped)]
        for kind in (LOSS, DAILY):
            seen = rig.state(kind)
            assert (seen.latched_ns, seen.latched_by) == (trip.utc_ns, LOSS)
        assert (seen.limit, seen.open_pnl, seen.blind) == (-9 * LIMIT, 0, "")

    def test_the_limits_of_one_position_can_be_asked_for(self):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, max_loss=1), ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT * 9))
        rig.put(ONE, TWO)
        assert [(each.scope, each.name) for each in rig.limits.states_of(TWO)] == [
            (Scope.STRATEGY, "2"),
            (Scope.PORTFOLIO, ""),
        ]
        assert rig.limits.states_of(LATER) == ()
        assert limits_among(rig.engine.judges) is rig.limits
        assert limits_among(()) is None


class TestNextSession:
    @pytest.mark.parametrize("restarts", [False, True])
    def test_the_next_session_lets_it_go_on(self, restarts):
        rig = tripped(PORTFOLIO)
        rig.session_open = False
        rig.beat()
        rig = self.a_day_later(rig, restarts=restarts)
        rig.put(LATER)
        assert rig.state(LOSS).latched_by is LOSS, "the night and the pre-open belong to the day before"
        rig.session_open = True
        rig.tick(503, ENTRY)
        rig.beat(2)
        assert rig.fired() == {}
        assert rig.state(LOSS).latched_by is None
        told = [each for each in rig.alerts if each.subject == "limits in force again"]
        assert [each.text for each in told] == ["a new session has begun: portfolio loss limit"]
        again = rig.reborn()
        again.put(LATER)
        assert again.alerts == [], "said once"
        again.tick(503, ENTRY - LIMIT)
        assert set(again.fired()) == {3}

    def a_day_later(self, rig, *, restarts):
        if not restarts:
            rig.now += DAY_S * S
            rig.beat()
            return rig
        after = rig.reborn(DAY_S)
        after.session_open = False
        after.beat()
        return after

    def test_a_session_of_the_same_day_does_not(self):
        rig = tripped(PORTFOLIO)
        rig.session_open = False
        rig.beat()
        rig.now += 3_600 * S
        rig.session_open = True
        rig.beat()
        rig.put(LATER)
        assert set(rig.fired()) == {3}

    def test_unknown_hours_are_no_session(self):
        rig = tripped(PORTFOLIO)
        rig.session_open = None
        rig.now += DAY_S * S
        rig.beat()
        assert rig.state(LOSS).latched_by is LOSS


class TestReset:
    def test_an_operator_lets_it_go_on(self):
        rig = tripped(PORTFOLIO)
        texts = rig.limits.reset()
        assert texts == ("portfolio: loss limit had fired at 20 Nov 12:00:00 IST; the daily loss counts from ₹0.00 on",)
        rig.beat()
        rig.put(LATER)
        assert rig.fired() == {}
        assert "limits reset by an operator" in rig.subjects()
        assert rig.journal[-1].key == ScopeKey(Scope.PORTFOLIO)
        assert rig.limits.reset() == (), "nothing is left to reset"
        rig.tick(503, ENTRY - LIMIT)
        assert set(rig.fired()) == {3}, "it is in force again"

    def test_the_daily_loss_counts_from_then_on_and_so_it_does_after_a_restart(self):
        rig = tripped(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        assert len(rig.limits.reset(Scope.PORTFOLIO)) == 1
        brought = next(each.change for each in rig.journal if isinstance(each, DayCounted))
        assert brought <= -LIMIT
        rig.put(LATER)
        assert rig.state(DAILY).day_pnl == 0
        for each in (rig, rig.reborn()):
            each.put(LATER)
            each.tick(503, ENTRY - LIMIT + 1)
            assert each.fired() == {}
            assert each.state(DAILY).day_pnl == -LIMIT + 1
        each.tick(503, ENTRY - LIMIT)
        assert set(each.fired()) == {3}

    def test_what_is_still_open_is_forgiven_too(self):
        """The exits are under way when the operator resets: their end is no new loss."""
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.put(ONE)
        rig.positions({501: 1})
        rig.tick(501, ENTRY - 1_200)
        rig.beat()
        rig.limits.reset()
        (reset,) = [c.record for c in rig.engine.handle(ev.StopRequested(0)) if isinstance(c, cmd.WriteJournal)]
        assert (reset.forgiven, reset.scope) == (-1_200, Scope.PORTFOLIO)
        assert rig.state(DAILY).day_pnl == 0

    def test_a_scope_beyond_its_limit_fires_again(self):
        rig = rig_with(PORTFOLIO, mode=Mode.ALERT)
        rig.put(ONE)
        rig.tick(501, ENTRY - LIMIT)
        rig.beat()
        assert rig.limits.reset(Scope.PORTFOLIO) != ()
        rig.put(LATER)
        rig.tick(503, ENTRY - LIMIT)
        assert rig.subjects().count("portfolio loss limit fired") == 2
        assert rig.journal == []

    @pytest.mark.parametrize(
        ("scope", "name", "left"),
        [
            (None, "", set()),
            (Scope.STRATEGY, "", {"BANKNIFTY", "NIFTY"}),
            (Scope.STRATEGY, "1", {"2", "BANKNIFTY", "NIFTY"}),
            (Scope.UNDERLYING, "NIFTY", {"1", "2", "BANKNIFTY"}),
            (Scope.PORTFOLIO, "", {"1", "2", "BANKNIFTY", "NIFTY"}),
        ],
    )
    def test_it_may_be_one_scope_or_one_kind_of_scope(self, scope, name, left):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, max_loss=LIMIT), ScopeLimit(Scope.UNDERLYING, max_loss=LIMIT))
        rig.put(ONE, held(2, (502, 1), on="BANKNIFTY"))
        rig.positions({501: 1, 502: 1})
        rig.tick(501, ENTRY - LIMIT)
        rig.tick(502, ENTRY - LIMIT)
        rig.fill_all()
        rig.limits.reset(scope, name)
        rig.beat()
        assert {each.name for each in rig.limits.state() if each.latched_ns is not None} == left

    def test_an_unknown_day_counts_anew(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.put(ONE, TWO)
        rig.tick(502, ENTRY - 300)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        (text,) = rig.limits.reset()
        assert text == "portfolio: nothing was latched; the daily loss counts from ₹-3.00 on"
        assert rig.state(DAILY).day_pnl == 0
        rig.beat()
        after = rig.reborn()
        after.put(TWO, quoted=False)
        after.tick(502, ENTRY - 400)
        after.beat(2)
        assert after.state(DAILY).day_pnl == -100
        after.tell(ev.PositionGone(2, after.now))
        after.beat()
        assert "daily loss not known" in after.subjects()

    def test_a_scope_that_has_had_no_positions_since_the_start_can_be_reset(self):
        rig = tripped(ScopeLimit(Scope.STRATEGY, max_loss=LIMIT))
        after = rig.reborn()
        assert len(after.limits.reset()) == 1


class TestRestart:
    def test_it_is_latched_after_a_kill_at_any_moment(self):
        rig = rig_with(PORTFOLIO)
        rig.put(ONE, TWO)
        rig.positions({501: 1, 502: 1})
        rig.tick(501, ENTRY - LIMIT)
        rig.wait(0.1)
        after = rig.reborn()
        after.put(LATER)
        assert after.fired()[3] == ("portfolio_limit", "max_loss")
        assert len([each for each in after.journal if isinstance(each, LimitTripped)]) == 1

    def test_a_position_whose_exit_was_not_begun_is_closed_by_the_next_start(self):
        """The order of the batch on disk: a torn one ends after the limit."""
        rig = rig_with(PORTFOLIO)
        rig.put(ONE, TWO)
        rig.tick(501, ENTRY - LIMIT)
        rig.wait(0.1)
        rig.journal = [each for each in rig.journal if not isinstance(each, ExitStarted)]
        after = rig.reborn()
        after.put(ONE, TWO)
        assert set(after.fired()) == {1, 2}

    def test_a_scope_without_limits_any_more_is_not_latched(self):
        rig = tripped(PORTFOLIO, ScopeLimit(Scope.ACCOUNT, max_profit=LIMIT))
        rig.rules = RuleSetup(limits=(ScopeLimit(Scope.ACCOUNT, max_profit=LIMIT),))
        after = rig.reborn()
        after.put(LATER)
        assert after.fired() == {}
        assert after.limits.reset() == ()

    def test_before_it_is_known_what_time_it_is_nothing_is_taken_over(self):
        rig = tripped(PORTFOLIO)
        after = rig_with(PORTFOLIO)
        after.desk.utc_ns = 0
        after.keep(after.engine.restore(fold(rig.journal, after.desk, after.now), after.now))
        after.tell(ev.PositionOpened(LATER, ExitLevels(), after.now))
        assert after.desk.limit_records
        after.beat()
        assert set(after.fired()) == {3}

    def test_before_any_time_is_known_memory_begins_no_day(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.desk.utc_ns = 0
        memory = PositionMemory(day=date(2026, 11, 20), day_base=-700)
        rig.tell(ev.PositionOpened(ONE, ExitLevels(), rig.now, memory))
        rig.tell(ev.PositionOpened(replace(ONE, strategy_name="X"), ExitLevels(), rig.now, memory))
        rig.tick(501, ENTRY - 900)
        rig.beat(2)
        assert rig.state(DAILY).day_pnl == -200

    def test_what_another_day_brought_or_forgave_does_not_count_on_this_one(self):
        rig = tripped(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
        rig.limits.reset()
        rig.beat()
        after = rig.reborn(DAY_S)
        after.put(TWO)
        assert after.state(DAILY).day_pnl == 0
        after.tick(502, ENTRY - LIMIT)
        assert set(after.fired()) == {2}

    def test_records_file_themselves_under_the_scope(self):
        trip = LimitTripped(Scope.UNDERLYING, "NIFTY", LOSS, -1, -2, 3)
        assert (trip.key, trip.exit_id) == (ScopeKey(Scope.UNDERLYING, "NIFTY"), "limit underlying NIFTY")
        reset = LimitReset(Scope.PORTFOLIO, "", 0, 3)
        assert (reset.key, reset.exit_id) == (ScopeKey(Scope.PORTFOLIO), "limit portfolio")
