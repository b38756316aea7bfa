"""What a signal does to an exit that is under way, and which levels may still do it."""

from dataclasses import replace

import pytest

from core.exits.running_exits import is_of, keeps_guard, levels_beside, press
from core.model.commands import Severity
from core.model.exit_levels import Action, AmountLevel, DaysLevel, ExitLevels, Rule, Urgency
from core.model.special_levels import AdjustmentLevel, GreekKind, GreekLevel, ScalingLevel, UnderlyingLevel
from tests.unit.order_side.rig import Rig, leg, position
from tests.unit.order_side.test_partial_exits import HALF, LONG, guarded
from tests.unit.order_side.test_widened_exits import ROW, half_under_way

WHOLE = ExitLevels(stop=HALF.stop, target=HALF.target)


@pytest.fixture
def rig() -> Rig:
    """The exit of a target is under way: whole, and not urgent."""
    found = Rig()
    guarded(found, levels=WHOLE)
    found.quote(501, 10_100)
    found.take()
    found.alerts.clear()
    return found


def stop_of(running, **changes):
    signal = replace(running.signal, rule=Rule.STOP_LOSS, urgency=Urgency.HIGH, action=Action.CLOSE_IMMEDIATELY)
    return replace(signal, reason="P&L is low", **changes)


def test_only_what_is_more_urgent_changes_a_whole_exit_and_only_once(rig):
    running = rig.running()
    before = running.signal
    assert not press(rig.desk, running, stop_of(running, urgency=Urgency.MEDIUM), LONG)
    assert running.signal == before
    assert press(rig.desk, running, stop_of(running), LONG)
    assert running.signal == replace(before, urgency=Urgency.HIGH), "it is still the target's"
    assert not press(rig.desk, running, stop_of(running), LONG)
    rig.wait()
    told = [alert for alert in rig.alerts if "urgent" in alert.subject]
    [alert] = told
    assert (alert.severity, alert.text) == (Severity.WARNING, "S1 (1): P&L is low")
    assert alert.subject.endswith("stop_loss: the exit is urgent now")


def test_what_others_have_closed_is_not_pressed(rig):
    running = rig.running()
    running.signal = replace(running.signal, rule=Rule.CLOSED_OUTSIDE)
    assert not press(rig.desk, running, stop_of(running), LONG)
    assert not keeps_guard(running)


def test_who_listens_to_decisions_hears_of_what_changed_the_exit_and_of_nothing_else(rig):
    exits, running, heard = rig.engine._exiting, rig.running(), []
    rig.engine.room.on_decision = lambda guard, signal, at_ns: heard.append((signal, at_ns))
    assert not exits.press(running, stop_of(running, urgency=Urgency.MEDIUM), LONG, 5)
    assert exits.press(running, stop_of(running), LONG, 6)
    assert [(signal.rule, at_ns) for signal, at_ns in heard] == [(Rule.STOP_LOSS, 6)]
    assert rig.engine.room.escorts == {}, "nothing can make it more urgent"


def test_a_guard_is_wanted_while_it_could_change_something_and_is_not_there(rig):
    exits, running = rig.engine._exiting, rig.running()
    assert not exits.wants_guard(running), "it is there"
    escort = rig.engine.room.escorts.pop(1)
    assert exits.wants_guard(running)
    running.signal = replace(running.signal, urgency=Urgency.HIGH)
    assert not exits.wants_guard(running)
    rig.engine.room.escorts[1] = escort
    assert not exits.wants_guard(running)


def scaling(action):
    return ScalingLevel(1_000, action, ROW)


def underlying(action):
    return UnderlyingLevel(100, True, action, ROW)


def greek(action):
    return GreekLevel(GreekKind.DELTA, 0.5, action, ROW)


ALL = ExitLevels(
    stop=AmountLevel(1, ROW),
    target=AmountLevel(2, ROW),
    theta=DaysLevel(3, ROW),
    losing_time=DaysLevel(4, ROW),
    scaling=(scaling(Action.CLOSE_50), scaling(Action.CLOSE_POSITION)),
    underlying=(underlying(Action.CLOSE_25), underlying(Action.ADJUST), underlying(Action.CLOSE_POSITION)),
    greeks=(greek(Action.ADJUST), greek(Action.CLOSE_POSITION)),
    adjustment=AdjustmentLevel(5, 6, ROW),
)
CLOSING = replace(
    ALL,
    scaling=(scaling(Action.CLOSE_POSITION),),
    underlying=(underlying(Action.CLOSE_POSITION),),
    greeks=(greek(Action.CLOSE_POSITION),),
    adjustment=None,
)


def test_beside_a_share_whatever_closes_the_whole_stays_in_force():
    rig = Rig()
    half_under_way(rig)
    running = rig.running()
    assert levels_beside(running, ALL) == CLOSING
    assert levels_beside(running, replace(ALL, target_action=Action.CLOSE_50)).target is None
    assert is_of(running, LONG)
    assert not is_of(running, None)
    assert not is_of(running, position(1, leg(12, 501, 300)))
    assert press(rig.desk, running, stop_of(running), LONG)
    assert not running.is_share


def test_beside_a_whole_exit_only_what_is_more_urgent(rig):
    running = rig.running()
    assert levels_beside(running, ALL) == replace(CLOSING, target=None, scaling=(), theta=None, losing_time=None)
    assert is_of(running, LONG)
    assert not is_of(running, None)
    assert not is_of(running, position(1, leg(11, 501, 299)))
