"""A target whose row says "Close 50%": half goes, half stays guarded, and nothing forgets it."""

from dataclasses import replace

import pytest

from core.exits.closed_parts import ClosedParts
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource, Rule
from core.model.journal_records import ExitStarted
from core.model.orders import Side
from core.model.signals import ExitRecord, Latency, LegExecution, Mode
from tests.unit.order_side.rig import Rig, leg, position
from tests.unit.order_side.test_orders_under_way import only

LONG = position(1, leg(11, 501, 300))
"""Four lots bought at 90.00: P&L is 300 × (mark − 9000) paise."""
HALF = ExitLevels(
    stop=AmountLevel(300_000, LevelSource.LEVEL_ROW),
    target=AmountLevel(300_000, LevelSource.LEVEL_ROW),
    target_action=Action.CLOSE_50,
)


def guarded(rig, held=LONG, levels=HALF):
    rig.tell(ev.PositionOpened(held, levels, rig.now))
    rig.quote(501, 9_000)
    rig.wait()
    rig.positions({501: sum(one.units for one in held.legs)})


def hit_target(rig, last=10_100, left=150):
    """The target is hit, the ordered share fills at the limit price, and the broker's report agrees."""
    rig.quote(501, last)
    intent = only(rig.submitted())
    rig.fill(intent)
    rig.wait(0.1)
    rig.positions({501: left})
    return intent


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_half_is_sold_and_the_rest_stays_guarded_without_the_target(rig):
    guarded(rig)
    intent = hit_target(rig)
    assert (intent.side, intent.quantity) == (Side.SELL, 150)
    record = only(rig.take(cmd.RecordExit)).record
    assert (record.action, record.rule) == (Action.CLOSE_50, Rule.PROFIT_TARGET)
    assert [(one.ordered, one.filled) for one in record.legs] == [(150, 150)]
    guard = rig.engine.guards[1]
    assert [one.units for one in guard.booked.position.legs] == [150]
    assert guard.levels.target is None
    assert guard.levels.stop == HALF.stop
    realised = 150 * (intent.price - 9_000)
    rig.quote(501, 9_500)
    assert guard.booked.pnl == realised + 150 * 500


def test_the_stop_after_a_share_closes_only_the_rest(rig):
    guarded(rig)
    realised = 150 * (hit_target(rig).price - 9_000)
    rig.now += 2_000_000_000
    rig.wait()
    rig.positions({501: 150})
    through_the_stop = 9_000 - (300_000 + realised) // 150 - 10
    rig.quote(501, through_the_stop - through_the_stop % 5)
    rig.wait(1.1)
    rig.positions({501: 150})
    assert only(rig.submitted()).quantity == 150


def test_a_restart_remembers_the_share_and_the_fired_level(rig):
    guarded(rig)
    intent = hit_target(rig)
    after = rig.reborn()
    after.tell(ev.PositionOpened(LONG, HALF, after.now))
    guard = after.engine.guards[1]
    assert [one.units for one in guard.booked.position.legs] == [150]
    assert guard.levels.target is None
    after.quote(501, 9_000)
    assert guard.booked.pnl == 150 * (intent.price - 9_000)


def test_a_crash_in_the_middle_of_a_share_finishes_that_share_only(rig):
    guarded(rig)
    rig.quote(501, 10_100)
    only(rig.submitted())
    started = next(record for record in rig.journal if isinstance(record, ExitStarted))
    assert started.row_units == (300,)
    after = rig.reborn()
    after.tell(ev.PositionOpened(LONG, HALF, after.now))
    running = after.running()
    assert [one.leg.units for one in running.legs] == [150]


def test_a_row_whose_quantity_was_edited_counts_as_it_is_written(rig):
    guarded(rig)
    hit_target(rig)
    edited = position(1, replace(LONG.legs[0], units=150))
    rig.tell(ev.PositionOpened(edited, HALF, rig.now))
    guard = rig.engine.guards[1]
    assert [one.units for one in guard.booked.position.legs] == [150]
    rig.quote(501, 9_000)
    assert guard.booked.pnl == 0


def test_a_moved_target_is_a_new_level(rig):
    guarded(rig)
    hit_target(rig)
    moved = replace(HALF, target=AmountLevel(400_000, LevelSource.LEVEL_ROW))
    rig.tell(ev.PositionOpened(LONG, moved, rig.now))
    assert rig.engine.guards[1].levels.target == moved.target


def test_one_lot_cannot_be_split_so_the_level_is_told_once_and_the_rest_stays_in_force(rig):
    one_lot = position(1, leg(11, 501, 75))
    levels = replace(HALF, target=AmountLevel(75_000, LevelSource.LEVEL_ROW))
    guarded(rig, one_lot, levels)
    for last in (10_100, 10_200, 10_300):
        rig.quote(501, last)
        rig.wait(0.3)
    assert rig.submitted() == []
    assert rig.subjects().count("S1 (1) is too small to split") == 1
    guard = rig.engine.guards[1]
    assert (guard.levels.target, guard.levels.stop) == (None, HALF.stop)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("action", [Action.ADJUST, Action.MONITOR, Action.HOLD])
def test_a_target_whose_row_asks_to_close_nothing_is_told_once_and_closes_nothing(action, mode):
    rig = Rig(mode=mode)
    guarded(rig, levels=replace(HALF, target_action=action))
    for last in (10_100, 10_200, 10_300):
        rig.quote(501, last)
        rig.wait(0.3)
    assert rig.submitted() == []
    assert rig.running() is None
    assert rig.subjects().count(f"S1 (1): {action.value}") == 1
    guard = rig.engine.guards[1]
    assert (guard.levels.target, guard.levels.stop) == (None, HALF.stop)


def test_alert_mode_reports_the_share_and_orders_nothing():
    rig = Rig(mode=Mode.ALERT)
    guarded(rig)
    rig.quote(501, 10_100)
    record = only(rig.take(cmd.RecordExit)).record
    assert record.action is Action.CLOSE_50
    assert rig.submitted() == []


def test_a_second_share_of_the_same_row_adds_up():
    parts = ClosedParts()
    for threshold, filled in ((1, 75), (2, 150)):
        execution = LegExecution(11, 501, "OPT", Side.SELL, filled, filled, 100, ())
        parts.take(
            ExitRecord(
                "e", 1, "NIFTY", "S", Action.CLOSE_25, "", Rule.PROFIT_TARGET, threshold, None,
                (execution,), 500, Latency(), Mode.LIVE, 0,
            ),
            {11: 300},
        )  # fmt: skip
    assert parts.closed_of(LONG) == {11: 225}
    assert parts.realised_of(LONG) == 1_000
    assert [one.units for one in parts.left_of(LONG).legs] == [75]
