"""Days of a limit that nobody can know, exits of an earlier run, and the next day."""

from dataclasses import replace
from datetime import date

import pytest

from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.memory import PositionMemory
from core.model.orders import OrderStatus
from core.model.signals import Mode
from core.model.special_levels import Scope, ScopeLimit
from tests.unit.exits.scope_days import (
    DAILY,
    DAILY_LIMIT,
    LIMIT,
    NEW,
    OLD,
    OTHER,
    closed_outside,
    closed_outside_at_no_price,
    counted,
    day_pnl,
    exit_at,
    put_at,
)
from tests.unit.exits.scope_rig import DAY_S, ENTRY, TODAY, YESTERDAY, held, rig_with


@pytest.fixture
def rig():
    return rig_with(DAILY_LIMIT)


class TestUnknown:
    def test_rows_that_others_close_make_the_day_unknown(self, rig):
        rig.put(OLD, OTHER)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        assert day_pnl(rig) is None
        assert counted(rig) == [("", 1, None)]
        (alert,) = rig.alerts
        assert alert.severity is cmd.Severity.PAGE
        assert alert.text == (
            "the daily loss limit of portfolio cannot be judged today: what strategy 1 brought is not known; "
            "count anew with data_scripts/reset_limits.py"
        )
        assert rig.engine.guards[2].blind_spot(rig.now) == alert.text == rig.state(DAILY).blind
        rig.tick(502, ENTRY - 5 * LIMIT)
        rig.beat(8)
        assert rig.fired() == {}
        assert len(rig.alerts) == 1, "told once"

    def test_the_other_limits_are_judged_on(self):
        rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT, max_loss=LIMIT))
        rig.put(OLD, OTHER)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        rig.tick(502, ENTRY - LIMIT)
        assert rig.fired() == {2: ("portfolio_limit", "max_loss")}

    def test_it_is_unknown_after_a_restart_too_and_told_again(self, rig):
        rig.put(OLD, OTHER)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        after = rig.reborn()
        after.put(OTHER)
        assert day_pnl(after) is None
        assert "daily loss not known" in after.subjects()

    def test_an_exit_whose_price_nobody_knows_makes_the_day_unknown(self, rig):
        rig.put(OLD, OTHER)
        closed_outside_at_no_price(rig)
        assert 1 not in rig.engine.guards
        (told,) = counted(rig)
        assert told[1:] == (1, None)
        assert day_pnl(rig) is None

    def test_an_exit_of_a_position_that_was_never_priced_makes_the_day_unknown(self, rig):
        rig.put(OTHER)
        rig.tell(ev.PositionOpened(OLD, ExitLevels(), rig.now))
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        rig.tick(501, ENTRY)
        (intent,) = rig.submitted()
        rig.doubt(501)
        rig.fill(intent)
        rig.wait(0.1)
        rig.positions({501: 0, 502: 1})
        rig.beat()
        assert [change for _, _, change in counted(rig)] == [None]

    def test_an_exit_from_before_the_limit_was_set_makes_the_day_unknown(self):
        rig = rig_with()
        rig.limits_before = None
        rig.put(OLD)
        exit_at(rig, 1, ENTRY - 600)
        assert counted(rig) == []
        rig.rules = replace(rig.rules, limits=(DAILY_LIMIT,))
        after = rig.reborn()
        after.put(OTHER)
        assert day_pnl(after) is None
        again = after.reborn()
        again.put(OTHER)
        assert len(counted(again)) == 1, "written down once"

    def test_an_exit_of_another_day_does_not(self):
        rig = rig_with()
        rig.put(OLD)
        exit_at(rig, 1, ENTRY - 600)
        rig.rules = replace(rig.rules, limits=(DAILY_LIMIT,))
        after = rig.reborn(DAY_S)
        after.put(OTHER)
        assert day_pnl(after) == 0
        assert counted(after) == []

    def test_an_exit_that_turns_out_to_be_none_counts_the_position_again(self, rig):
        """What was to be recorded as closed by others is there after all."""
        rig.put(OLD)
        rig.tick(501, ENTRY - 400)
        closed_outside(rig)
        rig.positions({501: 1})
        rig.beat()
        assert rig.running(1) is None
        rig.tick(501, ENTRY - 400)
        rig.beat()
        assert day_pnl(rig) == -400
        assert counted(rig) == []

    def test_and_when_its_rows_have_gone_meanwhile_nobody_knows(self, rig):
        rig.put(OLD, OTHER)
        closed_outside(rig)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.positions({501: 1, 502: 1})
        rig.beat(2)
        assert rig.running(1) is None
        assert counted(rig) == [("", 1, None)]
        assert rig.state(DAILY).open_pnl == 0

    @pytest.mark.parametrize("is_the_morning_after", [False, True])
    def test_rows_that_are_cleared_up_before_the_session_bring_nothing(self, rig, is_the_morning_after):
        rig.session_open = is_the_morning_after
        rig.put(OLD, OTHER)
        rig.session_open = False
        rig.beat()
        rig.now += is_the_morning_after * DAY_S * 1_000_000_000
        rig.beat()
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        rig.session_open = True
        rig.tick(502, ENTRY)
        rig.beat(2)
        assert day_pnl(rig) == 0
        assert counted(rig) == []

    def test_neither_does_what_the_broker_shows_closed_then(self, rig):
        rig.session_open = False
        rig.put(OLD, OTHER)
        closed_outside_at_no_price(rig)
        assert counted(rig) == []

    def test_after_the_session_nobody_is_called_for_it(self, rig):
        rig.put(OLD, OTHER)
        rig.session_open = False
        rig.beat()
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat(4)
        assert counted(rig) == [("", 1, None)]
        assert rig.alerts == []

    def test_many_unknown_days_are_one_page(self):
        rig = rig_with(*(ScopeLimit(scope, daily_loss=LIMIT) for scope in Scope))
        rig.put(OLD, OTHER)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        (alert,) = rig.alerts
        assert "strategy 1 cannot be judged today" in alert.text
        assert alert.text.endswith("; and 1 more")

    def test_at_most_ten_are_named(self, rig):
        rig.put(OTHER, *(held(n, (510 + n, 1)) for n in range(10, 22)))
        for n in range(10, 22):
            rig.tell(ev.PositionGone(n, rig.now))
        rig.beat()
        assert "what strategy 10, " in rig.state(DAILY).blind
        assert "strategy 19 and 2 more brought" in rig.state(DAILY).blind


class TestExitsOfAnEarlierRun:
    """Nothing is known of their P&L until they are over."""

    @pytest.fixture
    def after(self, rig):
        rig.put(OLD, OTHER)
        rig.positions({501: 1, 502: 1})
        rig.tick(501, ENTRY + 5_000)
        rig.exit(1)
        self.intent = rig.running(1).attempts[0].intent
        after = rig.reborn(10)
        after.tell(ev.PositionOpened(OLD, ExitLevels(), after.now, after.memories[1]))
        after.put(OTHER)
        return after

    def test_the_sum_is_not_known_meanwhile_and_that_is_paged(self, after):
        after.tick(502, ENTRY - 4_000)
        after.beat(24)
        assert after.state(DAILY).open_pnl is None
        assert set(after.fired()) == {1}
        text = "the portfolio limit cannot be judged: the exit of S1 (1) that an earlier run began is not over"
        assert after.state(DAILY).blind == text
        assert text in [alert.text for alert in after.alerts]

    def test_it_is_counted_with_its_remembered_base_when_it_is_over(self, after):
        after.report(self.intent, OrderStatus.TRADED, 1, average_price=ENTRY + 5_000)
        after.wait(0.1)
        after.positions({501: 0, 502: 1})
        after.beat()
        assert after.running(1) is None
        assert day_pnl(after) == 5_000

    def test_without_anything_remembered_its_day_is_unknown(self, rig):
        rig.put(OLD, OTHER)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        intent = rig.running(1).attempts[0].intent
        rig.memories.clear()
        after = rig.reborn(10)
        after.put(OTHER)
        after.report(intent, OrderStatus.TRADED, 1, average_price=ENTRY)
        after.wait(0.1)
        after.positions({501: 0, 502: 1})
        after.beat()
        assert [change for _, _, change in counted(after)] == [None]

    def test_one_that_ends_without_a_record_is_unknown(self, rig):
        """It was to record what others had closed, and the position is there after all; its rows are not."""
        rig.put(OLD, OTHER)
        rig.positions({501: 1, 502: 1})
        rig.exit(1)
        after = rig.reborn(10)
        after.put(OTHER)
        running = after.running(1)
        running.abandoned = True
        after.beat(2)
        assert after.running(1) is None
        assert counted(after) == [("", 1, None)]


class TestAnotherDay:
    def next_day(self, rig):
        rig.session_open = False
        rig.beat()
        rig.now += DAY_S * 1_000_000_000
        rig.beat()

    def test_everything_counts_anew_when_the_session_begins(self, rig):
        put_at(rig, OLD, ENTRY - 5_000)
        rig.put(OTHER, NEW)
        exit_at(rig, 2, ENTRY - 700)
        rig.tick(501, ENTRY - 5_200)
        assert day_pnl(rig) == -900
        self.next_day(rig)
        assert day_pnl(rig) == -900, "the night belongs to the day before"
        rig.doubt(501, 503)
        rig.session_open = True
        rig.beat(2)
        assert day_pnl(rig) is None
        rig.tick(501, ENTRY - 6_000)
        rig.tick(503, ENTRY - 50)
        rig.beat(2)
        assert day_pnl(rig) == 0
        assert rig.memories[1] == PositionMemory(day=date(2026, 11, 21), day_base=-6_000, underlying="NIFTY")
        assert rig.memories[3] == PositionMemory(day=date(2026, 11, 21), day_base=-50, underlying="NIFTY"), (
            "it is of yesterday now"
        )

    def test_an_unknown_day_is_over_with_it(self, rig):
        rig.put(OLD, OTHER)
        rig.tell(ev.PositionGone(1, rig.now))
        rig.beat()
        self.next_day(rig)
        rig.session_open = True
        rig.tick(502, ENTRY)
        rig.beat(2)
        assert day_pnl(rig) == 0
        rig.tell(ev.PositionGone(2, rig.now))
        rig.beat()
        assert rig.subjects().count("daily loss not known") == 2

    def test_sums_without_positions_are_forgotten(self):
        rig = rig_with(ScopeLimit(Scope.STRATEGY, daily_loss=LIMIT))
        rig.put(OLD, OTHER)
        exit_at(rig, 2, ENTRY - 700)
        assert {each.name for each in rig.limits.state()} == {"1", "2"}
        self.next_day(rig)
        rig.session_open = True
        rig.beat()
        assert {each.name for each in rig.limits.state()} == {"1"}

    def test_an_exit_under_way_is_based_anew(self, rig):
        rig.put(OLD)
        rig.exit(1)
        rig.beat()
        self.next_day(rig)
        rig.session_open = True
        rig.tick(501, ENTRY - 300)
        rig.beat(2)
        assert day_pnl(rig) == 0


def test_a_simulation_counts_its_day_as_a_live_run_does():
    rig = rig_with(DAILY_LIMIT, mode=Mode.SIMULATION)
    rig.put(OLD)
    rig.tick(501, ENTRY - LIMIT)
    assert set(rig.fired()) == {1}
    assert YESTERDAY < TODAY
