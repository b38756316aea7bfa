"""What a restart makes of the journal."""

from dataclasses import replace

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.exit_lifecycle import AttemptState, ExitState, LegState
from core.exits.restore import fold
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, Rule, Urgency
from core.model.journal_records import (
    AttemptAbsent,
    AttemptObserved,
    AttemptPrepared,
    AttemptRefused,
    ExitFinished,
    ExitHalted,
    ExitStarted,
    RowsWritten,
)
from core.model.orders import OrderStatus, Refusal
from core.model.signals import Signal
from tests.unit.order_side.rig import SHORT, SPREAD, Rig, holding, leg, position
from tests.unit.order_side.test_orders_under_way import only, prove_absent, resend, send


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.begin(SHORT, nets={501: -75})
    return made


def states(rig, strategy_id=1):
    return [attempt.state for attempt in rig.running(strategy_id).attempts]


def test_a_prepared_order_is_unknown_after_a_restart_and_is_not_sent_again(rig):
    first = send(rig)
    after = rig.reborn()
    assert states(after) == [AttemptState.UNKNOWN]
    after.open(SHORT)
    after.wait()
    after.positions({501: -75})
    assert after.submitted() == []
    after.report(first, OrderStatus.TRADED, 75)
    after.wait(4)
    after.positions({501: 0})
    record = only(after.take(cmd.RecordExit)).record
    assert record.legs[0].filled == 75
    assert after.running() is None
    assert 1 not in after.engine.guards


def test_a_restart_asks_for_everything_first(rig):
    assert rig.reborn().take() == [cmd.ReadOrderBook(), cmd.ReadPositions()]


def test_an_unknown_order_of_the_last_run_can_be_proved_absent(rig):
    first = send(rig)
    after = rig.reborn()
    after.open(SHORT)
    prove_absent(after, first, 8.1, {501: -75})
    assert states(after)[0] is AttemptState.ABSENT
    again = resend(after, {501: -75})
    assert again.correlation_id != first.correlation_id


def test_what_was_observed_of_an_order_is_known_after_a_restart(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.PART_TRADED, 25)
    after = rig.reborn()
    attempt = after.running().attempts[0]
    assert (attempt.state, attempt.filled, attempt.order_id) == (AttemptState.WORKING, 25, f"id-{first.correlation_id}")
    assert after.desk.holdings.own_filled == {first.holding: 25}
    after.report(first, OrderStatus.CANCELLED, 25, correlation_id="")
    assert states(after) == [AttemptState.DEAD], "found by its order id"


def test_refused_and_absent_orders_stay_so(rig):
    first = send(rig)
    rig.refuse(first, Refusal.VALIDATION)
    rig.wait(1)
    second = resend(rig, {501: -75})
    prove_absent(rig, second, 8.1, {501: -75})
    assert states(rig.reborn())[:2] == [AttemptState.REFUSED, AttemptState.ABSENT]


def test_the_ladder_and_its_rounds_go_on_after_a_restart():
    rig = Rig()
    held = position(1, leg(11, 501, -5_400))
    rig.begin(held, nets={501: -5_400})
    first = rig.submitted()
    for intent in first:
        rig.accept(intent)
        rig.report(intent, OrderStatus.CANCELLED)
    assert len(first) == 3
    after = rig.reborn()
    assert after.running().legs[0].rounds == rig.running().legs[0].rounds == 1


def test_positions_are_believed_three_seconds_after_a_restart_with_orders(rig):
    """The report may still lack what was filled just before the crash."""
    before = Rig()
    before.begin(position(1, leg(11, 501, -150)), nets={501: -75})
    before.fill(send(before))
    after = before.reborn()
    after.open(position(1, leg(11, 501, -150)))
    after.wait()
    after.positions({501: -75})
    assert after.submitted() == []
    after.wait(2.9)
    after.positions({501: -75})
    assert after.submitted() == []
    after.wait(0.2)
    after.positions({501: -75})
    after.quote()
    assert send(after).quantity == 75


def test_the_second_budget_starts_used_up_when_the_last_run_has_sent(rig):
    after = rig.reborn()
    assert after.desk.second_budget.free_at(after.now) > after.now
    fresh = Rig().reborn()
    assert fresh.desk.second_budget.free_at(fresh.now) == fresh.now


def test_a_halted_exit_stays_halted_and_is_paged_again():
    rig = Rig(DeskSettings(attempts_per_leg_per_day=1))
    rig.begin(SHORT, nets={501: -75})
    rig.refuse(send(rig), Refusal.VALIDATION)
    rig.wait(1)
    resend_none(rig)
    after = rig.reborn()
    after.wait()
    assert after.running().state is ExitState.HALTED
    assert after.subjects() == ["exit halted"]


def resend_none(rig):
    rig.positions({501: -75})
    rig.quote()
    assert rig.submitted() == []


def test_rows_that_were_not_written_are_written_after_a_restart(rig):
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({501: 0})
    exit_id = only(rig.take(cmd.CloseRows)).record.exit_id
    after = rig.reborn()
    again_said = [command for command in after.take() if isinstance(command, cmd.CloseRows | cmd.RecordExit)]
    assert [type(command) for command in again_said] == [cmd.RecordExit, cmd.CloseRows]
    assert {command.record.exit_id for command in again_said} == {exit_id}
    after.open(SHORT)
    assert 1 not in after.engine.guards, "its rows are closed at the broker"
    after.tell(ev.RowsClosed(exit_id, after.now))
    assert after.journal[-1] == RowsWritten(exit_id)
    after.tell(ev.RowsClosed(exit_id, after.now))
    assert after.journal.count(RowsWritten(exit_id)) == 1
    again = after.reborn()
    assert again.take(cmd.CloseRows) == []
    again.open(SHORT)
    assert 1 not in again.engine.guards


def test_a_new_row_of_a_closed_strategy_is_guarded_and_gets_a_new_generation(rig):
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({501: 0})
    old = only(rig.take(cmd.RecordExit)).record.exit_id
    after = rig.reborn()
    after.open(position(1, leg(11, 501, -75), leg(13, 503, -75)))
    assert [one.row_id for one in after.engine.guards[1].booked.position.legs] == [13]
    after.wait()
    after.positions({503: -75})
    after.exit()
    assert after.running().generation == 2
    assert after.running().exit_id != old


def test_a_long_whose_orders_are_over_is_judged_as_soon_as_it_is_released():
    """Nothing else would wake it: found by the simulation without a beat."""
    rig = Rig()
    rig.begin(SPREAD, nets={501: -75, 502: 75})
    rig.fill(send(rig))
    rig.wait(0.3)
    rig.positions({501: 0, 502: 75})
    rig.quote(502)
    rig.fill(send(rig))
    after = rig.reborn(10)
    after.positions({501: 0, 502: 0})
    assert after.running() is None


def test_a_short_is_released_after_a_restart_only_by_positions():
    rig = Rig()
    rig.begin(SPREAD, nets={501: -75, 502: 75})
    send(rig)
    after = rig.reborn()
    assert [one.state for one in after.running().legs] == [LegState.OPEN, LegState.WAITING]


def test_records_of_exits_that_are_unknown_or_over_change_nothing(rig):
    first = send(rig)
    other = replace(first, correlation_id="Xother")
    strays = [
        AttemptPrepared("9-1-x", 0, 1, other),
        AttemptObserved("9-1-x", "Xother", "7", OrderStatus.TRADED, 75, 1),
        AttemptRefused("9-1-x", "Xother", ""),
        AttemptAbsent("9-1-x", "Xother"),
        ExitHalted("9-1-x", "?"),
        AttemptObserved(rig.running().exit_id, "Xnone", "7", OrderStatus.TRADED, 75, 1),
        RowsWritten("9-1-x"),
    ]
    restored = fold([*rig.journal, *strays], Rig().desk, rig.now)
    assert list(restored.running) == [rig.running().exit_id]
    assert restored.running[rig.running().exit_id].attempts[0].filled == 0
    assert restored.correlation_ids == {first.correlation_id, "Xother"}
    assert restored.ordered == {holding()}


def test_replaying_a_journal_twice_changes_nothing(rig):
    rig.accept(send(rig))
    once, twice = (fold(rig.journal, Rig().desk, rig.now) for _ in range(2))
    assert once == twice


def test_a_restored_exit_that_was_closed_outside_and_is_held_after_all_is_given_up():
    rig = Rig()
    reason = "the broker holds nothing of it any more"
    signal = Signal(1, Rule.CLOSED_OUTSIDE, Action.HOLD, Urgency.NORMAL, None, None, None, reason, 1)
    rig.journal.append(ExitStarted("1-1-abc", 1, signal, SHORT))
    after = rig.reborn()
    after.open(SHORT)
    after.wait()
    assert 1 not in after.engine.guards
    after.positions({501: -75})
    assert after.running() is None
    assert 1 in after.engine.guards
    assert not any(isinstance(record, ExitFinished) for record in after.journal)


def test_live_and_restored_state_of_orders_agree(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED, 25)
    rig.wait(0.3)
    second = send(rig)
    rig.report(second, OrderStatus.PENDING)
    rig.refuse(second, Refusal.VALIDATION)
    live, after = rig.running(), rig.reborn().running()
    assert [(a.state, a.filled, a.average, a.order_id, a.round) for a in live.attempts] == [
        (a.state, a.filled, a.average, a.order_id, a.round) for a in after.attempts
    ]
