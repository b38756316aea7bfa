"""A whole exit is due while a share is being closed: the share becomes the whole, once, and nothing is sold twice."""

from dataclasses import replace

import pytest

from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import (
    Action,
    AmountLevel,
    ExitLevels,
    LevelSource,
    Rule,
    TrailingLevel,
)
from core.model.journal_records import AttemptPrepared, ExitFinished, ExitStarted
from core.model.orders import OrderStatus, Side, TradeReport
from core.model.special_levels import ScalingLevel
from tests.unit.order_side.rig import Rig, holding, leg, position
from tests.unit.order_side.test_orders_under_way import only
from tests.unit.order_side.test_partial_exits import HALF, LONG, guarded

ROW = LevelSource.LEVEL_ROW
SPREAD = position(1, leg(11, 501, -300), leg(12, 502, 300))
STOP_AT = 7_990


def half_under_way(rig, held=LONG, levels=HALF):
    """The target is hit; the order for half of it is on its way. Returns that order."""
    guarded(rig, held, levels)
    rig.quote(501, 10_100)
    intent = only(rig.submitted())
    assert intent.quantity == 150
    rig.accept(intent)
    return intent


def hit_stop(rig, last=STOP_AT):
    """The quote of a fall like this is suspect, so that it takes a second one."""
    rig.wait(1)
    rig.quote(501, last)
    rig.quote(501, last - 5)


def records(rig, kind):
    return [record for record in rig.journal if isinstance(record, kind)]


def finish(rig, left=0):
    """Everything that is asked for fills, until nothing more is."""
    for _ in range(12):
        for intent in rig.submitted():
            rig.fill(intent)
        rig.wait(0.4)
        rig.positions({501: left})


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_stop_during_a_share_sells_the_rest_beside_its_order(rig):
    half = half_under_way(rig)
    hit_stop(rig)
    rig.positions({501: 300})
    rest = only(rig.submitted())
    assert (rest.side, rest.quantity) == (Side.SELL, 150)
    assert rest.correlation_id != half.correlation_id
    for intent in (half, rest):
        rig.report(intent, OrderStatus.TRADED, 150)
    finish(rig)
    record = only([each.record for each in records(rig, ExitFinished)])
    assert (record.rule, record.action) == (Rule.STOP_LOSS, Action.CLOSE_IMMEDIATELY)
    assert [(one.ordered, one.filled) for one in record.legs] == [(300, 300)]
    # The average price of a leg is whole paise.
    assert abs(record.realised_pnl - 150 * (half.price + rest.price - 2 * 9_000)) <= 150
    assert len({each.exit_id for each in records(rig, ExitStarted)}) == 1
    assert sum(each.intent.quantity for each in records(rig, AttemptPrepared)) == 300
    assert rig.engine.guards == {}


def test_what_the_share_has_filled_is_not_sold_again(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.CANCELLED, 75)
    rig.wait(0.1)
    rig.positions({501: 225})
    rig.take()
    hit_stop(rig)
    rig.positions({501: 225})
    assert sum(attempt.leaves for attempt in rig.running().attempts) == 225


def test_an_operator_is_heard_while_a_share_runs(rig):
    half_under_way(rig)
    rig.wait(0.4)
    rig.exit()
    assert only(rig.submitted()).quantity == 150
    assert rig.running().signal.rule is Rule.OPERATOR
    rig.exit()
    assert rig.submitted() == []


def test_the_latency_of_the_whole_exit_counts_from_its_own_tick(rig):
    half = half_under_way(rig)
    rig.engine.note_decided(rig.running().exit_id, rig.now)
    hit_stop(rig)
    rig.engine.note_decided(rig.running().exit_id, rig.now + 1_000_000)
    rig.positions({501: 300})
    for intent in (half, *rig.submitted()):
        rig.fill(intent)
    finish(rig)
    latency = only(records(rig, ExitFinished)).record.latency
    assert latency.tick_to_decision == 1.0
    assert latency.decision_to_durable == -1.0


def test_a_second_share_waits_until_the_first_is_over(rig):
    levels = ExitLevels(
        stop=HALF.stop,
        scaling=(ScalingLevel(300_000, Action.CLOSE_25, ROW), ScalingLevel(600_000, Action.CLOSE_75, ROW)),
    )
    guarded(rig, levels=levels)
    rig.quote(501, 10_100)
    first = only(rig.submitted())
    rig.wait(1)
    for _ in range(2):
        rig.quote(501, 11_500)
        rig.wait(0.3)
    assert rig.submitted() == []
    assert rig.running().signal.action is Action.CLOSE_25
    rig.fill(first)
    rig.wait(4)
    rig.positions({501: 225})
    rig.wait(0.1)
    rig.positions({501: 225})
    assert only(rig.submitted()).quantity == 150
    assert rig.running().signal.action is Action.CLOSE_75


def test_a_restart_between_any_two_records_sells_everything_once(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.PART_TRADED, 75)
    hit_stop(rig)
    rig.positions({501: 225})
    for intent in rig.submitted():
        rig.fill(intent)
    rig.report(half, OrderStatus.TRADED, 150)
    finish(rig)
    whole = list(rig.journal)
    assert len(whole) > 8
    for cut in range(1, len(whole) + 1):
        rig.journal = whole[:cut]
        after = rig.reborn()
        after.desk.settings = rig.settings
        real = {}
        for record in records(rig, AttemptPrepared):
            # What was journalled may have been sent: all of it was, and filled.
            real[record.intent.correlation_id] = record.intent
        sold = sum(intent.quantity for intent in real.values())
        after.tell(ev.PositionOpened(LONG, HALF, after.now))
        for intent in real.values():
            after.report(intent, OrderStatus.TRADED, intent.quantity)
        after.quote(501, STOP_AT)
        after.wait(4)
        for _ in range(12):
            after.positions({501: 300 - sold})
            after.quote(501, STOP_AT)
            for intent in after.submitted():
                sold += intent.quantity
                after.fill(intent)
            after.wait(1)
        assert sold == 300, cut
        assert after.running() is None, cut
        assert len({each.exit_id for each in records(after, ExitStarted)}) <= 2, cut


def test_a_restart_goes_on_with_the_whole_exit_and_the_orders_of_the_share(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.PART_TRADED, 75)
    hit_stop(rig)
    rig.positions({501: 225})
    after = rig.reborn()
    running = after.running()
    assert (running.signal.rule, running.is_share) == (Rule.STOP_LOSS, False)
    assert [one.leg.units for one in running.legs] == [300]
    assert (running.legs[0].remaining, running.legs[0].free) == (225, 0)


def test_a_restart_in_a_share_guards_the_whole_again(rig):
    half_under_way(rig)
    after = rig.reborn()
    after.tell(ev.PositionOpened(LONG, HALF, after.now))
    guard = after.engine.guards[1]
    assert [one.units for one in guard.booked.position.legs] == [300]
    assert (guard.levels.target, guard.levels.stop) == (None, HALF.stop)
    after.wait(0.3)
    after.quote(501, 9_000)
    hit_stop(after)
    assert after.running().signal.rule is Rule.STOP_LOSS


def test_edited_levels_count_at_once_and_edited_rows_when_the_share_is_over(rig):
    half_under_way(rig)
    edited = position(1, replace(LONG.legs[0], units=150))
    tight = replace(HALF, stop=AmountLevel(100_000, ROW))
    rig.tell(ev.PositionOpened(edited, tight, rig.now))
    guard = rig.engine.guards[1]
    assert [one.units for one in guard.booked.position.legs] == [300]
    assert (guard.levels.stop, guard.levels.target) == (tight.stop, None)


def test_rows_that_go_take_the_levels_with_them_and_the_share_ends(rig):
    half = half_under_way(rig)
    rig.tell(ev.PositionGone(1, rig.now))
    assert rig.engine.guards == {}
    hit_stop(rig)
    assert rig.running().is_share
    rig.report(half, OrderStatus.TRADED, 150)
    rig.wait(4)
    rig.positions({501: 150})
    assert rig.engine.is_idle is False
    assert rig.engine.cache.get(1) is None


def test_shorts_are_bought_back_before_the_hedges_again(rig):
    levels = ExitLevels(target=AmountLevel(300_000, ROW), target_action=Action.CLOSE_50, stop=AmountLevel(300_000, ROW))
    rig.tell(ev.PositionOpened(SPREAD, levels, rig.now))
    for each in (501, 502):
        rig.quote(each, 9_000)
    rig.wait()
    rig.positions({501: -300, 502: 300})
    rig.quote(502, 10_100)
    rig.quote(501, 9_000)
    rig.wait(0.2)
    rig.positions({501: -300, 502: 300})
    short = only(rig.submitted())
    assert (short.side, short.quantity) == (Side.BUY, 150)
    rig.fill(short)
    rig.wait(0.1)
    rig.positions({501: -150, 502: 300})
    hedge = only(rig.submitted())
    assert (hedge.side, hedge.quantity) == (Side.SELL, 150)
    rig.accept(hedge)
    rig.exit()
    rig.wait(0.5)
    rig.positions({501: -150, 502: 300})
    rig.quote(501, 9_000)
    rest = only(rig.submitted())
    assert (rest.side, rest.quantity) == (Side.BUY, 150)
    rig.report(hedge, OrderStatus.TRADED, 150)
    rig.fill(rest)
    rig.wait(0.4)
    rig.quote(502, 10_100)
    rig.positions({501: 0, 502: 150})
    last = only(rig.submitted())
    assert (last.side, last.quantity) == (Side.SELL, 150)


def test_what_judges_have_learned_meanwhile_is_known_to_the_rest(rig):
    half = half_under_way(rig)
    greeks = rig.engine.judges[1]
    greeks.remember = lambda _, memory: replace(memory, gamma=2.0)
    rig.report(half, OrderStatus.TRADED, 150)
    learned = []
    greeks.opened = lambda _, memory: learned.append(memory.gamma)
    rig.wait(4)
    rig.positions({501: 150})
    assert learned == [2.0]


def test_what_the_share_has_sold_is_no_shortfall_of_the_rows(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.PART_TRADED, 75)
    for _ in range(5):
        rig.wait(1)
        rig.positions({501: 225})
    assert not [subject for subject in rig.subjects() if "smaller at the broker" in subject]


def test_a_share_of_what_others_have_closed_ends_and_the_rest_is_closed_outside(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.CANCELLED)
    for _ in range(30):
        rig.wait(1)
        rig.positions({501: 0})
        for command in rig.take(cmd.ReadTradeBook):
            assert command
            rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    rules = [(each.record.rule, each.record.action) for each in records(rig, ExitFinished)]
    assert rules == [(Rule.CLOSED_OUTSIDE, Action.CLOSE_50), (Rule.CLOSED_OUTSIDE, Action.CLOSE_POSITION)]
    assert sum(each.intent.quantity for each in records(rig, AttemptPrepared)) == 150


def test_a_peak_of_more_units_than_are_left_is_forgotten_with_the_share(rig):
    trailing = TrailingLevel(0, 200_000, ROW)
    half = half_under_way(rig, levels=replace(HALF, trailing=trailing))
    peak = rig.engine.memory_of(1).peak
    rig.wait(0.5)
    rig.quote(501, 11_000)
    assert rig.engine.guards[1].peak > peak
    assert rig.engine.memory_of(1).peak == peak
    rig.report(half, OrderStatus.TRADED, 150)
    rig.wait(4)
    rig.positions({501: 150})
    assert rig.engine.guards[1].booked.position.legs[0].units == 150
    assert rig.engine.guards[1].peak == peak


def test_what_others_have_closed_of_a_share_stays_in_the_rows_and_its_pnl_is_counted_once(rig):
    half = half_under_way(rig)
    rig.report(half, OrderStatus.CANCELLED)
    trade = TradeReport("f1", "t1", holding(501), Side.SELL, 300, 10_050)
    seen = set()
    for _ in range(30):
        rig.wait(1)
        rig.positions({501: 0})
        if rig.take(cmd.ReadTradeBook):
            rig.tell(ev.TradeBookRead((trade,), rig.now, rig.now))
        seen |= {guard.booked.pnl for guard in rig.engine.guards.values()}
    assert seen == {300 * (10_100 - 9_000)}
    assert [each.record.realised_pnl for each in records(rig, ExitFinished)] == [0, 300 * (10_050 - 9_000)]


def test_a_peak_above_the_share_survives_an_edit_of_the_levels(rig):
    levels = replace(HALF, trailing=TrailingLevel(0, 200_000, ROW))
    half_under_way(rig, levels=levels)
    begun = rig.engine.memory_of(1)
    rig.wait(0.5)
    rig.quote(501, 11_000)
    peak = rig.engine.guards[1].peak
    tight = replace(levels, stop=AmountLevel(100_000, ROW))
    rig.tell(ev.PositionOpened(LONG, tight, rig.now, begun))
    assert rig.engine.guards[1].peak == peak > begun.peak
    assert rig.engine.memory_of(1).peak == begun.peak


@pytest.mark.parametrize("is_late", [False, True], ids=["while the share runs", "when it is over"])
def test_rows_corrected_to_what_will_be_left_keep_the_peak_whenever_that_is_written(rig, is_late):
    levels = replace(HALF, trailing=TrailingLevel(0, 200_000, ROW))
    half = half_under_way(rig, levels=levels)
    corrected = ev.PositionOpened(position(1, replace(LONG.legs[0], units=150)), levels, rig.now)
    if not is_late:
        rig.tell(corrected)
    rig.report(half, OrderStatus.TRADED, 150)
    rig.wait(4)
    rig.positions({501: 150})
    if is_late:
        rig.tell(replace(corrected, at_ns=rig.now))
    guard = rig.engine.guards[1]
    assert (guard.booked.position.legs[0].units, guard.booked.realised) == (150, 0)
    assert guard.peak == 300 * 1_100 - 150 * (half.price - 9_000)


def test_rows_that_go_while_edited_ones_wait_are_not_guarded_again(rig):
    half = half_under_way(rig)
    rig.tell(ev.PositionOpened(position(1, replace(LONG.legs[0], units=150)), HALF, rig.now))
    rig.tell(ev.PositionGone(1, rig.now))
    rig.report(half, OrderStatus.TRADED, 150)
    rig.wait(4)
    rig.positions({501: 150})
    assert rig.engine.guards == {}


@pytest.mark.parametrize(
    ("hedge", "others", "sold"),
    [(300, 0, 150), (250, 0, 100), (150, 0, 0), (225, -75, 150), (375, 75, 150), (300, 75, 75)],
)
def test_a_share_sells_no_hedge_that_the_shorts_which_stay_need(rig, hedge, others, sold):
    levels = ExitLevels(target=AmountLevel(150_000, ROW), target_action=Action.CLOSE_50)
    rig.open(SPREAD, levels=levels)
    if others:
        rig.open(position(2, leg(21, 502, others)))
    for security_id in (501, 502):
        rig.quote(security_id, 9_000)
    rig.wait()
    rig.positions({501: -300, 502: 300 + others})
    rig.quote(502, 10_100)
    rig.quote(501, 9_000)
    rig.wait(0.2)
    rig.positions({501: -300, 502: 300 + others})
    rig.fill(only(rig.submitted()))
    rig.wait(0.1)
    # Meanwhile somebody else has sold what the broker lacks now.
    rig.positions({501: -150, 502: hedge})
    assert sum(intent.quantity for intent in rig.submitted()) == sold
    assert len([subject for subject in rig.subjects() if "short of units" in subject]) == (sold < 150)
    rig.exit()
    rig.wait(0.5)
    assert rig.running().signal.rule is Rule.OPERATOR
