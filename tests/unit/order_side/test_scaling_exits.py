"""Scaling out: each level once, shares cumulative and in whole lots, the rest guarded on; in every mode, through every restart."""

from dataclasses import replace

import pytest

from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource, Rule, TrailingLevel
from core.model.memory import PositionMemory
from core.model.orders import OrderStatus, Side
from core.model.signals import Mode
from core.model.special_levels import ScalingLevel
from tests.unit.order_side.rig import Rig, S, leg, position
from tests.unit.order_side.test_orders_under_way import only

ROW = LevelSource.LEVEL_ROW
LONG = position(1, leg(11, 501, 300))
"""Four lots bought at 90.00: P&L is 300 × (mark − 9000) paise."""


def scaling(*levels):
    return tuple(ScalingLevel(amount, action, ROW) for amount, action in levels)


QUARTER, HALF, MOST = (75_000, Action.CLOSE_25), (150_000, Action.CLOSE_50), (225_000, Action.CLOSE_75)
STEPS = ExitLevels(
    stop=AmountLevel(600_000, ROW), target=AmountLevel(300_000, ROW), scaling=scaling(QUARTER, HALF, MOST)
)


class Desk:
    """One position whose orders fill at once, at their limit, until nothing is left to do."""

    def __init__(self, held=LONG, levels=STEPS, mode=Mode.LIVE, rig=None):
        self.rig = rig or Rig(mode=mode)
        self.net = {one.instrument.key.security_id: one.units for one in held.legs}
        self.held = held
        self.closed = []
        rig = self.rig
        rig.tell(ev.PositionOpened(held, levels, rig.now))
        for one in held.legs:
            rig.quote(one.instrument.key.security_id, 9_000)
        rig.wait()
        rig.positions(self.net)

    def quote(self, last, security_id=501):
        rig = self.rig
        rig.wait(0.25)
        rig.positions(self.net)
        rig.quote(security_id, last)
        self.settle()

    def settle(self):
        rig = self.rig
        for _ in range(6):
            for intent in rig.submitted():
                security_id = intent.holding.instrument.security_id
                units = intent.quantity if intent.side is Side.BUY else -intent.quantity
                self.net[security_id] += units
                self.closed.append((security_id, units))
                rig.fill(intent)
            rig.wait(0.1)
            rig.positions(self.net)

    @property
    def left(self):
        guard = self.rig.engine.guards.get(1)
        return None if guard is None else [one.units for one in guard.booked.position.legs]


def test_each_level_sells_its_share_once_and_the_target_takes_the_rest():
    desk = Desk()
    for last, left in ((9_249, 300), (9_250, 225), (9_250, 225), (9_200, 225), (9_600, 150), (10_200, 75)):
        desk.quote(last)
        assert desk.left == [left], last
    assert desk.rig.engine.guards[1].levels.scaling == ()
    desk.quote(12_000)
    assert desk.left is None
    assert desk.closed == [(501, -75)] * 4
    assert [record.action for record in desk.rig.engine.finished] == [
        Action.CLOSE_25, Action.CLOSE_50, Action.CLOSE_75, Action.CLOSE_POSITION,
    ]  # fmt: skip


def test_a_jump_over_two_levels_sells_the_larger_share_and_is_done_with_the_smaller():
    desk = Desk()
    desk.quote(9_600)
    assert desk.left == [150]
    assert desk.closed == [(501, -150)]
    assert [level.action for level in desk.rig.engine.guards[1].levels.scaling] == [Action.CLOSE_75]


def test_a_target_that_closes_half_makes_the_smaller_steps_moot():
    levels = replace(STEPS, target=AmountLevel(60_000, ROW), target_action=Action.CLOSE_50)
    desk = Desk(levels=levels)
    desk.quote(9_220)
    assert desk.left == [150]
    assert [level.action for level in desk.rig.engine.guards[1].levels.scaling] == [Action.CLOSE_75]


def test_the_legs_of_a_spread_keep_their_ratio():
    ratio = position(1, leg(11, 501, 300), leg(12, 502, -600))
    desk = Desk(ratio, ExitLevels(scaling=scaling((30_000, Action.CLOSE_50))))
    desk.quote(9_200)
    assert desk.left == [150, -300]
    assert desk.closed == [(502, 300), (501, -150)], "shorts first"


def test_three_lots_are_rounded_down_to_whole_lots():
    desk = Desk(position(1, leg(11, 501, 225)), replace(STEPS, scaling=scaling(HALF)))
    desk.quote(9_700)
    assert desk.left == [150]


def test_what_is_too_small_is_told_once_and_waits_for_the_target():
    desk = Desk(position(1, leg(11, 501, 75)), replace(STEPS, scaling=scaling((30_000, Action.CLOSE_25))))
    for last in (9_450, 9_500, 9_550):
        desk.quote(last)
    assert desk.closed == []
    assert desk.rig.subjects() == ["S1 (1) is too small to split"]
    memory = desk.rig.engine.memory_of(1)
    assert [(told.rule, told.threshold) for told in memory.told] == [(Rule.SCALING_TARGET, 30_000)]
    again = Desk(position(1, leg(11, 501, 75)), replace(STEPS, scaling=scaling((30_000, Action.CLOSE_25))), rig=Rig())
    again.rig.tell(ev.PositionOpened(again.held, STEPS, again.rig.now, memory))
    assert again.rig.engine.guards[1].levels.scaling == STEPS.scaling, "a level that was moved since is a new one"
    again.rig.tell(
        ev.PositionOpened(again.held, replace(STEPS, scaling=scaling((30_000, Action.CLOSE_25))), again.rig.now, memory)
    )
    assert again.rig.engine.guards[1].levels.scaling == ()


def test_a_restart_remembers_the_shares_and_their_profit():
    desk = Desk()
    desk.quote(9_250)
    pnl = desk.rig.engine.guards[1].booked.pnl
    after = desk.rig.reborn()
    after.tell(ev.PositionOpened(LONG, STEPS, after.now))
    after.quote(501, 9_250)
    guard = after.engine.guards[1]
    assert [one.units for one in guard.booked.position.legs] == [225]
    assert [level.action for level in guard.levels.scaling] == [Action.CLOSE_50, Action.CLOSE_75]
    assert guard.booked.pnl == pnl


def test_a_strategy_that_is_entered_again_has_all_its_levels_and_none_of_the_old_profit():
    desk = Desk()
    for last in (9_250, 9_600):
        desk.quote(last)
    rig = desk.rig
    rig.tell(ev.PositionGone(1, rig.now))
    anew = position(1, leg(21, 501, 300))
    rig.tell(ev.PositionOpened(anew, STEPS, rig.now))
    # Bought back by the strategy builder, long before.
    rig.positions({501: 300})
    for _ in range(80):
        rig.wait(0.25)
    desk.net[501] = 300
    desk.quote(9_000)
    guard = rig.engine.guards[1]
    assert guard.levels == STEPS
    assert guard.booked.pnl == 0
    desk.quote(9_250)
    assert desk.left == [225]
    desk.quote(9_250)
    first = rig.engine.finished[-1]
    assert guard is not rig.engine.guards[1]
    assert rig.engine.guards[1].booked.realised == first.realised_pnl


def test_alert_only_mode_says_each_share_once_and_goes_on_guarding():
    desk = Desk(mode=Mode.ALERT)
    for last in (9_250, 9_300, 9_600, 9_900, 10_100, 10_200):
        desk.quote(last)
    rig = desk.rig
    assert [command.record.action for command in rig.out if isinstance(command, cmd.RecordExit)] == []
    assert rig.subjects() == ["would exit S1 (1)"] * 4
    assert desk.closed == []
    assert rig.engine.counts.signals == 4


@pytest.mark.parametrize("mode", [Mode.LIVE, Mode.ALERT])
def test_the_first_share_is_the_same_decision_in_every_mode(mode):
    desk = Desk(mode=mode)
    rig = desk.rig
    rig.take()
    rig.wait(0.25)
    rig.quote(501, 9_250)
    if mode is Mode.ALERT:
        record = only(rig.take(cmd.RecordExit)).record
        found = record.rule, record.action, record.threshold, [one.row_id for one in record.legs]
    else:
        running = rig.running()
        signal = running.signal
        found = signal.rule, signal.action, signal.threshold, [one.leg.row_id for one in running.legs]
    assert found == (Rule.SCALING_TARGET, Action.CLOSE_25, 75_000, [11])


def test_the_peak_outlives_a_share():
    levels = replace(STEPS, scaling=scaling(QUARTER), premium_trailing=AmountLevel(200_000, ROW))
    desk = Desk(levels=levels)
    desk.quote(9_250)
    assert desk.rig.engine.guards[1].peak == 75_000
    assert desk.rig.engine.memory_of(1) == PositionMemory(peak=75_000, told=desk.rig.engine.memory_of(1).told)


def correct(desk, units, levels):
    """The trader writes what is left into the row, and its rupee levels follow the new quantity."""
    rig = desk.rig
    rig.tell(ev.PositionOpened(position(1, leg(11, 501, units)), levels, rig.now))
    rig.wait(0.25)


def test_a_row_corrected_to_what_is_left_moves_neither_the_trail_nor_a_level_that_has_fired():
    trailing = TrailingLevel(arm=0, distance=60_000, source=ROW)
    desk = Desk(levels=ExitLevels(trailing=trailing, scaling=scaling(HALF, MOST)))
    desk.quote(9_500)
    guard = desk.rig.engine.guards[1]
    peak, realised, pnl = guard.peak, guard.booked.realised, guard.booked.pnl
    assert (desk.left, peak) == ([150], 150_000)
    desk.rig.take()
    correct(desk, 150, ExitLevels(trailing=trailing, scaling=scaling((75_000, Action.CLOSE_50), (112_500, MOST[1]))))
    guard = desk.rig.engine.guards[1]
    assert (guard.booked.realised, guard.booked.pnl) == (0, pnl - realised)
    assert guard.peak == peak - realised, "as far above the P&L as before"
    assert cmd.Remember(1) in desk.rig.take()
    assert desk.rig.engine.memory_of(1).peak == peak - realised
    desk.quote(9_520)
    assert desk.left == [150], "the half is gone already: its level does not fire a second time"
    desk.quote(9_800)
    assert desk.left == [75], "three quarters of the original, not of the rest"
    desk.quote(8_900)
    assert desk.left is None


def test_after_a_share_without_a_known_price_nothing_is_compared_until_the_row_is_corrected():
    desk = Desk(levels=ExitLevels(stop=AmountLevel(60_000, ROW), scaling=scaling(HALF)))
    rig = desk.rig
    rig.wait(0.25)
    rig.positions(desk.net)
    rig.quote(501, 9_500)
    intent = only(rig.submitted())
    rig.accept(intent)
    rig.report(intent, OrderStatus.TRADED, intent.quantity, average_price=None)
    desk.net[501] = 150
    for _ in range(80):
        rig.wait(0.25)
        rig.positions(desk.net)
    guard = rig.engine.guards[1]
    assert (rig.engine.finished[-1].realised_pnl, guard.booked.pnl) == (None, None)
    assert "at a price that the broker did not tell" in guard.why_unprotected(rig.now)
    desk.quote(8_000)
    assert desk.left == [150], "no stop on a P&L that nobody knows"
    correct(desk, 150, ExitLevels(stop=AmountLevel(30_000, ROW)))
    desk.quote(8_000)
    assert desk.left is None


def test_who_is_guarded_anew_believes_a_price_as_long_after_the_feed_went_down_as_before():
    desk = Desk()
    rig = desk.rig
    desk.quote(9_200)
    rig.wait(60)
    rig.tell(ev.FeedStateChanged(is_live=True, at_ns=rig.now))
    rig.wait(0.25)
    rig.tell(ev.FeedStateChanged(is_live=False, at_ns=rig.now))
    rig.tell(ev.FeedStateChanged(is_live=False, at_ns=rig.now + S))
    down_ns = rig.now
    correct(desk, 299, ExitLevels(stop=AmountLevel(60_000, ROW)))
    guard = rig.engine.guards[1]
    assert guard.stale_keys(down_ns + 5 * S) == ()
    assert guard.stale_keys(down_ns + 5 * S + 1) != ()
    rig.wait(0.25)
    assert rig.engine.guards[1].feed_down_ns == down_ns


def test_a_row_of_the_trail_that_one_read_left_out_comes_back_with_its_peak():
    trail, desk = ExitLevels(trailing=TrailingLevel(arm=30_000, distance=60_000, source=ROW)), Desk(levels=ExitLevels())
    correct(desk, 300, trail)
    desk.quote(9_500)
    for levels in (ExitLevels(stop=AmountLevel(600_000, ROW)), trail):
        correct(desk, 300, levels)
        assert desk.rig.engine.memory_of(1).peak == 150_000
    desk.quote(9_300)
    assert desk.left is None
