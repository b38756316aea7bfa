"""The engine's own part: guards and exits of one position, modes, other people's closes, restarts of guards."""

from dataclasses import replace

import pytest

from core.exits import broker_watch
from core.exits.broker_watch import COMPARE_EVERY_NS, BrokerWatch
from core.exits.desk_settings import DeskSettings
from core.exits.reconcile import OutsideWatch, Shortfall, netted_holdings, shortfalls
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource, Rule, TrailingLevel, Urgency
from core.model.journal_records import ExitFinished, ExitStarted
from core.model.market import Quote
from core.model.memory import PositionMemory
from core.model.orders import OrderStatus, Side
from core.model.position import BrokerPosition, PositionReport, Product
from core.model.signals import Mode, Signal
from core.position_cache_manager import OPEN_BOUND
from tests.unit.order_side.rig import NOON, SHORT, SPREAD, Rig, S, holding, leg, position
from tests.unit.order_side.test_orders_under_way import only, send

STOP = ExitLevels(stop=AmountLevel(100_000, LevelSource.LEVEL_ROW))
TRAIL = ExitLevels(trailing=TrailingLevel(0, 50_000, LevelSource.LEVEL_ROW))
"""SHORT was sold at 90.00: its P&L is 75 × (9000 − mark) paise."""


@pytest.fixture
def rig() -> Rig:
    return Rig()


def guarded(rig, held=SHORT, levels=STOP, last=9_000):
    rig.tell(ev.PositionOpened(held, levels, rig.now))
    for one in held.legs:
        rig.quote(one.instrument.key.security_id, last)
    rig.wait()


def test_a_tick_through_the_stop_starts_an_exit_and_times_it(rig):
    guarded(rig)
    rig.positions({501: -75})
    rig.now += 50_000_000
    rig.quote(last=10_400)
    record = next(r for r in rig.journal if isinstance(r, ExitStarted))
    rig.engine.note_decided(record.exit_id, rig.now + 1_000_000)
    rig.engine.note_decided(record.exit_id, rig.now + 9_000_000)
    rig.engine.note_decided("nobody", 1)
    intent = send(rig)
    corr = intent.correlation_id
    rig.tell(ev.OrderPosted(corr, rig.now + 3_000_000, rig.now + 4_000_000))
    rig.now += 54_000_000
    rig.tell(ev.OrderAccepted(corr, "7", rig.now))
    rig.report(intent, OrderStatus.TRADED, 75, order_id="7")
    rig.wait(0.1)
    rig.positions({501: 0})
    made = only(rig.take(cmd.RecordExit)).record
    assert made.rule is Rule.STOP_LOSS
    assert made.latency.tick_to_decision == 1.0
    assert made.latency.decision_to_durable == 2.0
    assert made.latency.durable_to_sent == 1.0
    assert made.latency.sent_to_filled == 50.0
    assert made.realised_pnl == -75 * (intent.price - 9_000)
    assert made.legs[0].order_ids == ("7",)
    assert rig.engine.finished == [made]
    assert (rig.engine.counts.signals, rig.engine.counts.exits_finished) == (1, 1)


def test_a_position_has_one_exit_at_a_time(rig):
    guarded(rig)
    rig.positions({501: -75})
    for last in (10_400, 10_500, 11_000):
        rig.quote(last=last)
    rig.exit()
    rig.exit(99)
    rig.wait(0.1)
    assert len(rig.engine.unresolved) == 1
    assert sum(isinstance(record, ExitStarted) for record in rig.journal) == 1
    assert len(rig.submitted()) == 1


def test_an_edit_during_the_exit_does_not_guard_the_rows_again(rig):
    rig.begin(SHORT, nets={501: -75})
    rig.open(SHORT, levels=STOP)
    assert 1 not in rig.engine.guards
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({501: 0})
    assert rig.running() is None
    assert 1 not in rig.engine.guards
    rig.open(SHORT)
    assert 1 not in rig.engine.guards
    rig.tell(ev.PositionGone(1, rig.now))


def test_a_row_added_during_the_exit_is_guarded_after_it(rig):
    rig.begin(SHORT, nets={501: -75})
    rig.open(position(1, leg(11, 501, -75), leg(12, 504, -75)))
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({501: 0, 504: -75})
    assert [one.row_id for one in rig.engine.guards[1].booked.position.legs] == [12]


def test_a_position_that_goes_during_its_exit_is_still_closed(rig):
    rig.begin(SHORT, nets={501: -75})
    rig.tell(ev.PositionGone(1, rig.now))
    assert rig.running() is not None
    assert rig.engine.cache.get(1) is not None, "its quotes price the next orders"
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({501: 0})
    assert rig.running() is None
    assert rig.engine.cache.get(1) is None
    assert [record.strategy_id for record in rig.engine.finished] == [1]


def test_a_position_that_is_gone_is_forgotten(rig):
    guarded(rig)
    rig.tell(ev.PositionGone(1, rig.now))
    assert rig.engine.guards == {}
    assert rig.engine.cache.get(1) is None
    rig.wait()
    assert rig.engine.next_wake_ns is None


def test_changed_levels_keep_the_peak_and_changed_rows_do_not(rig):
    guarded(rig, levels=TRAIL, last=8_000)
    assert rig.engine.guards[1].peak == 75_000
    rig.tell(ev.PositionOpened(SHORT, replace(TRAIL, target=STOP.stop), rig.now))
    assert rig.engine.guards[1].peak == 75_000
    rig.tell(ev.PositionOpened(position(1, leg(11, 501, -150)), TRAIL, rig.now))
    assert rig.engine.guards[1].peak == 0
    rig.tell(ev.PositionOpened(SHORT, TRAIL, rig.now, memory=PositionMemory(peak=60_000)))
    assert rig.engine.guards[1].peak == 60_000


def test_alert_mode_tells_once_and_sends_nothing():
    rig = Rig(mode=Mode.ALERT)
    guarded(rig)
    rig.positions({501: -75})
    rig.quote(last=10_400)
    rig.open(SHORT, levels=STOP)
    rig.quote(last=10_500)
    rig.wait(1)
    made = [command.record for command in rig.take(cmd.RecordExit)]
    assert [one.mode for one in made] == [Mode.ALERT]
    assert made[0].legs[0].filled == 0
    assert made[0].latency.tick_to_decision is not None
    assert rig.subjects() == ["would exit S1 (1)"]
    assert rig.journal == []
    rig.tell(ev.PositionGone(1, rig.now))
    rig.open(SHORT, levels=STOP)
    assert 1 in rig.engine.guards


def test_alert_mode_does_not_send_the_orders_of_a_restored_exit():
    live = Rig()
    live.begin(SPREAD, nets={501: -75, 502: 75})
    live.journal = [record for record in live.journal if isinstance(record, ExitStarted)]
    live.mode = Mode.ALERT
    after = live.reborn()
    after.open(SPREAD)
    after.wait(5)
    after.positions({501: -75, 502: 75})
    after.quote()
    assert after.submitted() == []


def test_a_stop_request_starts_nothing_and_sends_nothing(rig):
    guarded(rig)
    guarded(rig, position(2, leg(21, 502, -75)))
    rig.exit(2)
    rig.tell(ev.StopRequested(rig.now))
    rig.positions({501: -75, 502: -75})
    rig.quote(last=11_000)
    rig.wait(1)
    rig.exit(1)
    rig.positions({501: -75, 502: -75})
    assert rig.submitted() == []
    assert len(rig.engine.unresolved) == 1
    assert rig.engine.next_wake_ns is None or rig.engine.next_wake_ns > rig.now


def test_a_sweep_visits_every_guard(rig):
    held = [position(number, leg(number, 1_000 + number, -75)) for number in range(1, 1_201)]
    for one in held:
        rig.tell(ev.PositionOpened(one, STOP, rig.now))
    rig.wait()
    assert rig.engine.next_wake_ns is None, "the first look has been taken at all of them"
    seen = set()
    for guard in rig.engine.guards.values():
        guard._is_calm = False
        guard._session_open = None
    for _ in range(4):
        rig.wait(0.25)
        seen |= {n for n, guard in rig.engine.guards.items() if guard._session_open is True}
    assert len(seen) == 1_200
    for number in range(1, 1_101):
        rig.tell(ev.PositionGone(number, rig.now))
    rig.wait(0.25)


def test_a_new_position_is_looked_at_on_the_next_beat(rig):
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    assert rig.engine.next_wake_ns == rig.now


def test_a_waiting_breach_is_a_deadline(rig):
    guarded(rig, SPREAD, STOP)
    rig.quote(501, last=10_500)
    due = rig.engine.next_wake_ns
    assert due is not None
    assert rig.now < due <= rig.now + S
    rig.quote(501, last=9_000)
    rig.wait(1)
    assert rig.engine.next_wake_ns is None


def test_time_without_an_exit_leaves_no_deadline_behind(rig):
    rig.begin(SHORT, nets={501: -75})
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({501: 0})
    rig.wait(0.1)
    assert rig.engine.next_wake_ns is None


def test_deadlines_of_guards_that_are_gone_are_dropped(rig):
    guarded(rig)
    rig.engine.room.deadlines[99] = rig.now
    rig.wait()
    assert 99 not in rig.engine.room.deadlines


def test_a_quote_event_is_a_quote(rig):
    guarded(rig)
    rig.positions({501: -75})
    quote = Quote(holding().instrument, 10_400, 10_395, 10_405, 1, 1, None, rig.now)
    rig.tell(ev.QuoteArrived(quote))
    assert rig.running() is not None
    assert rig.engine.on_quote(quote._replace(key=holding(999).instrument)) == ()


def test_feed_state_reaches_the_desk(rig):
    rig.tell(ev.FeedStateChanged(is_live=False, at_ns=rig.now))
    assert rig.desk.feed_live is False


# Closed by somebody else


def watch(rig, nets, seconds, every=1.0):
    for _ in range(round(seconds / every)):
        rig.wait(every)
        rig.positions(nets)
    rig.wait(COMPARE_EVERY_NS / S)


def test_a_position_that_somebody_closed_is_recorded_without_an_order(rig):
    guarded(rig)
    rig.positions({501: -75})
    watch(rig, {501: 0}, 11)
    rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    watch(rig, {501: 0}, 2)
    rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    assert rig.submitted() == []
    assert rig.subjects() == ["S1 closed outside the monitor"]
    kinds = [type(record) for record in rig.journal]
    assert kinds == [ExitStarted, ExitFinished]
    record = rig.engine.finished[0]
    assert record.rule is Rule.CLOSED_OUTSIDE
    assert record.reason == "closed outside the monitor"
    assert rig.engine.guards == {}


def test_a_position_that_was_not_closed_after_all_is_guarded_on_with_its_peak(rig):
    guarded(rig, levels=TRAIL, last=8_000)
    rig.positions({501: -75})
    watch(rig, {}, 11)
    assert rig.running() is not None
    rig.positions({501: -75})
    assert rig.running() is None
    assert rig.engine.guards[1].peak == 75_000
    assert rig.journal == []


def test_simulation_never_asks_the_real_broker_what_is_held():
    rig = Rig(mode=Mode.SIMULATION)
    guarded(rig)
    watch(rig, {501: 0}, 30)
    assert rig.take(cmd.ReadPositions) == []
    assert 1 in rig.engine.guards


def test_alert_mode_tells_of_a_position_closed_outside():
    rig = Rig(mode=Mode.ALERT)
    guarded(rig)
    rig.positions({501: -75})
    watch(rig, {501: 0}, 11)
    assert rig.subjects() == ["S1 closed outside the monitor"]
    assert rig.engine.guards == {}


def test_rows_that_net_out_are_not_closed_outside(rig):
    guarded(rig)
    guarded(rig, position(2, leg(21, 501, 75)))
    watch(rig, {501: 0}, 20)
    assert set(rig.engine.guards) == {1, 2}
    assert netted_holdings([SHORT, position(2, leg(21, 501, 75))]) == {holding()}
    assert netted_holdings([SPREAD, SHORT]) == frozenset()


def report(nets, at=0):
    return PositionReport(tuple(BrokerPosition(holding(i), net, 0, 0) for i, net in nets.items()), at, at)


def test_a_new_row_is_not_closed_because_it_is_not_filled_yet():
    settings = DeskSettings()
    young = position(1, replace(leg(11, 501, -75), opened_at="2026-11-20T12:00:00"))
    watch_new = OutsideWatch(settings)
    for second in range(0, 60, 10):
        assert not watch_new.is_closed_outside(young, report({}, second * S), NOON + second * S)
    assert watch_new.is_closed_outside(young, report({}, 60 * S), NOON + 60 * S)


@pytest.mark.parametrize(("opened", "is_old"), [("?", False), ("2026-11-20T06:00:00+00:00", True)])
def test_the_age_of_a_row_is_read_with_and_without_a_zone(opened, is_old):
    held = position(1, replace(leg(11, 501, -75), opened_at=opened))
    outside = OutsideWatch(DeskSettings())
    outside.is_closed_outside(held, report({}, 0), NOON)
    assert outside.is_closed_outside(held, report({}, 10 * S), NOON) is is_old


def test_one_report_and_a_net_of_the_other_sign_are_not_a_close():
    outside = OutsideWatch(DeskSettings())
    assert not outside.is_closed_outside(SHORT, report({501: -75}, 0), NOON)
    assert not outside.is_closed_outside(SHORT, report({501: 0}, 10 * S), NOON)
    assert not outside.is_closed_outside(SHORT, report({501: 0}, 19 * S), NOON)
    assert not outside.is_closed_outside(SHORT, report({501: 75}, 25 * S), NOON)
    assert not outside.is_closed_outside(SHORT, report({501: 0}, 30 * S), NOON)
    assert outside.is_closed_outside(SHORT, report({501: 0}, 40 * S), NOON)
    outside.forget(1)
    assert not outside.is_closed_outside(SHORT, report({501: 0}, 41 * S), NOON)


@pytest.mark.parametrize(
    ("net", "found"),
    [
        (-150, None),
        (-200, None),
        (0, None),
        (-100, Shortfall(holding(), -150, -100)),
        (50, Shortfall(holding(), -150, 50)),
    ],
)
def test_a_shortfall_is_less_than_all_rows_together_but_not_nothing(net, found):
    rows = [SHORT, position(2, leg(21, 501, -75))]
    assert shortfalls(rows, report({501: net})) == (() if found is None else (found,))
    assert shortfalls([SHORT, position(2, leg(21, 501, 75))], report({501: net})) == ()


def test_a_shortfall_is_told_once_until_it_was_whole(rig):
    guarded(rig)
    for nets in ({501: -25}, {501: -25}, {501: -75}, {501: -25}):
        rig.positions(nets)
        rig.wait(COMPARE_EVERY_NS / S)
    assert rig.subjects() == ["NSE_FNO:501:MARGIN is smaller at the broker"] * 2


# Looking at positions while all is quiet


def asked(rig, seconds, every=0.1):
    found = []
    for _ in range(round(seconds / every)):
        rig.wait(every)
        for _ in rig.take(cmd.ReadPositions):
            found.append(round((rig.now - rig.start) / S, 1))
            rig.positions({501: -75})
    return found


def test_positions_are_read_every_five_seconds_and_not_without_a_position(rig):
    rig.wait(60)
    assert rig.take(cmd.ReadPositions) == []
    guarded(rig, levels=ExitLevels())
    rig.positions({501: -75})
    rig.take()
    start = (rig.now - rig.start) / S
    assert [at - start for at in asked(rig, 11)] == [5.0, 10.0]


@pytest.mark.parametrize(
    ("levels", "last", "is_near"),
    [
        (STOP, 9_000, False),
        (STOP, 9_700, False),
        (STOP, 9_900, True),
        (ExitLevels(target=AmountLevel(100_000, LevelSource.LEVEL_ROW)), 8_000, False),
        (ExitLevels(target=AmountLevel(100_000, LevelSource.LEVEL_ROW)), 7_900, True),
        (ExitLevels(), 20_000, False),
    ],
)
def test_near_a_level_a_young_report_is_kept_at_hand(rig, levels, last, is_near):
    guarded(rig, levels=levels, last=last)
    rig.positions({501: -75})
    rig.wait(0.4)
    assert len(rig.take(cmd.ReadPositions)) == (2 if is_near else 1)


def test_watched_and_unpriced_positions(rig):
    rig.tell(ev.PositionOpened(SHORT, STOP, rig.now))
    booked = rig.engine.cache.get(1)
    assert not broker_watch._is_near(booked)
    rig.quote(last=9_000)
    booked.watched = True
    assert broker_watch._is_near(booked)
    assert booked.lower > -OPEN_BOUND


def test_a_read_under_way_is_waited_for(rig):
    guarded(rig)
    rig.positions({501: -75})
    rig.wait(6)
    watch_now = BrokerWatch(DeskSettings())
    rig.take()
    assert not watch_now.is_due(rig.desk, rig.engine.cache, rig.now + 6 * S)
    assert watch_now.is_due(rig.desk, rig.engine.cache, rig.now + 15 * S)


# Two exits at once


def test_shorts_of_every_exit_go_before_any_long():
    rig = Rig()
    long_only = position(1, leg(11, 501, 75))
    rig.open(long_only, position(2, leg(21, 502, -75)))
    rig.wait()
    rig.exit(1)
    rig.exit(2)
    rig.positions({501: 75, 502: -75})
    assert [intent.side for intent in rig.submitted()] == [Side.BUY, Side.SELL]


def test_the_long_of_a_spread_waits_for_its_short(rig):
    rig.begin(SPREAD, nets={501: -75, 502: 75})
    short = send(rig)
    rig.wait(0.1)
    rig.positions({501: -75, 502: 75})
    rig.accept(short)
    rig.report(short, OrderStatus.TRADED, 75)
    assert rig.submitted() == [], "the broker's positions have not shown it yet"
    rig.positions({501: 0, 502: 75})
    sold = send(rig)
    assert (sold.side, sold.holding) == (Side.SELL, holding(502))
    rig.fill(sold)
    rig.wait(0.1)
    rig.positions({501: 0, 502: 0})
    record = only(rig.take(cmd.RecordExit)).record
    assert record.realised_pnl == -75 * (short.price - 9_000) + 75 * (sold.price - 9_000)


def test_the_same_contract_in_two_products_is_two_holdings(rig):
    held = position(1, leg(11, 501, -75, Product.INTRADAY))
    rig.open(held)
    rig.wait()
    rig.positions({501: -75}, product=Product.MARGIN)
    rig.exit()
    assert rig.submitted() == []


def test_a_fill_without_a_price_leaves_the_record_without_one(rig):
    rig.begin(SHORT, nets={501: -75})
    intent = send(rig)
    rig.report(intent, OrderStatus.TRADED, 75, average_price=None)
    rig.wait(0.1)
    rig.positions({501: 0})
    record = only(rig.take(cmd.RecordExit)).record
    assert record.legs[0].average_price is None
    assert record.realised_pnl is None
    assert record.latency.durable_to_sent is None


def test_a_position_under_exit_is_not_judged_by_its_ticks(rig):
    rig.begin(SHORT, nets={501: -75})
    rig.engine.cache.get(1).watched = True
    rig.quote(last=20_000)
    assert len(rig.engine.unresolved) == 1
    assert rig.engine.counts.signals == 1


def test_a_deadline_that_is_not_due_waits(rig):
    guarded(rig)
    rig.engine.room.deadlines[1] = rig.now + 5 * S
    rig.engine.room.deadlines[99] = rig.now + 5 * S
    rig.wait(1)
    assert rig.engine.room.deadlines[99] == rig.start + 5 * S


def test_alert_mode_counts_a_second_signal_and_tells_nobody():
    rig = Rig(mode=Mode.ALERT)
    guarded(rig)
    signal = Signal(1, Rule.OPERATOR, Action.CLOSE_IMMEDIATELY, Urgency.HIGH, None, None, None, "x", rig.now)
    for _ in range(2):
        rig.engine._fire(signal, SHORT, rig.now)
    rig.wait()
    assert rig.engine.counts.signals == 2
    assert rig.subjects() == ["would exit S1 (1)"]
