"""When a leg is flat, what is waited for, and what the record of an exit says."""

import pytest

from core.exits import exit_finish
from core.exits.exit_finish import alert_record
from core.exits.exit_lifecycle import ExitState, LegState
from core.exits.holdings import NetRange
from core.exits.own_signals import outside_signal
from core.exits.running_exit import Attempt
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, Rule, Urgency
from core.model.journal_records import ExitStarted
from core.model.orders import OrderStatus, Refusal, Side, TradeReport
from core.model.signals import Latency, LegExecution, Mode, Signal
from tests.unit.order_side.rig import MS, SHORT, SPREAD, Rig, S, holding, leg, position
from tests.unit.order_side.test_holdings import fail_positions
from tests.unit.order_side.test_orders_under_way import only, send

TWICE = position(1, leg(11, 501, -150))
FEW = position(1, leg(11, 501, -2, lot=1))
"""A contract that is traded by the unit: one unit more or less counts."""
PAIR = position(1, leg(11, 501, -2, lot=1), leg(12, 502, 2, lot=1))


def at(rig: Rig, now: int) -> None:
    rig.now = now
    rig.wait()


def begun(held, nets) -> Rig:
    rig = Rig()
    rig.begin(held, nets=nets)
    return rig


# --- When a leg is flat ---


def test_positions_asked_for_before_the_fill_do_not_show_that_the_leg_is_flat():
    rig = begun(SHORT, {501: -75})
    rig.wait(0.1)
    rig.fill(send(rig))
    rig.positions({501: 0}, requested=rig.now - 1)
    assert rig.running() is not None
    assert rig.running().legs[0].mismatch_since_ns is None
    rig.positions({501: 0}, requested=rig.now)
    assert rig.running() is None


def test_positions_are_read_as_soon_as_an_order_has_ended():
    rig = begun(SHORT, {501: -75})
    rig.wait(0.5)
    rig.take(cmd.ReadPositions)
    first = rig.running().legs[0].attempts[0].intent
    rig.fill(first)
    assert len(rig.take(cmd.ReadPositions)) == 1


def test_nothing_is_read_again_when_a_short_is_flat_and_its_long_is_out():
    rig = begun(SPREAD, {501: -75, 502: 75})
    rig.wait(0.1)
    rig.fill(send(rig))
    rig.wait(0.3)
    rig.quote(502)
    rig.take()
    rig.positions({501: 0, 502: 75})
    assert rig.take(cmd.ReadPositions) == []
    assert rig.running().legs[0].mismatch_since_ns is None


def test_one_unit_that_is_still_open_is_ordered():
    rig = begun(FEW, {501: -2})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED, 1)
    rig.wait(0.3)
    rig.quote()
    rig.positions({501: -1})
    assert send(rig).quantity == 1


@pytest.mark.parametrize(
    ("held", "nets"),
    [(SHORT, {501: 0}), (SHORT, {501: 75})],
    ids=["nothing there: not believed at once", "the wrong sign: blocked"],
)
def test_a_leg_that_is_not_believed_yet_is_looked_at_again_and_again(held, nets):
    rig = begun(held, nets)
    began = rig.now
    rig.take()
    at(rig, began + 150 * MS)
    assert len(rig.take(cmd.ReadPositions)) == 1


def test_a_broker_who_contradicts_our_fills_is_asked_again_and_again():
    rig = begun(SHORT, {501: -75})
    rig.wait(0.1)
    rig.fill(send(rig))
    rig.positions({501: -75})
    asked = rig.desk.holdings.last_asked_ns
    rig.take()
    at(rig, asked + 150 * MS)
    assert len(rig.take(cmd.ReadPositions)) == 1


def contradicted(after_ns: int) -> Rig:
    """The leg is filled, and the broker has shown it open for `after_ns`."""
    rig = begun(SHORT, {501: -75})
    rig.wait(0.1)
    rig.fill(send(rig))
    rig.positions({501: -75})
    at(rig, rig.now + after_ns)
    rig.positions({501: -75})
    return rig


def test_a_contradiction_is_paged_after_five_seconds_and_our_fills_count_after_ten():
    assert contradicted(5 * S - 1).subjects() == []
    assert contradicted(5 * S).subjects() == ["OPT-501 disagrees with the broker"]
    assert contradicted(10 * S - 1).running() is not None
    assert contradicted(10 * S).running() is None


def test_our_fills_count_after_ten_seconds_also_while_another_order_on_the_contract_may_still_fill():
    rig = contradicted(10 * S - 1)
    attempt = rig.running().legs[0].attempts[0]
    rig.desk.attempts_on[holding()].append(Attempt(attempt.intent, 9, attempt.prepared_ns))
    at(rig, rig.now + 1)
    rig.positions({501: -75})
    assert rig.running() is None


def doubted(after_ns: int) -> Rig:
    """150 to close: we have filled 75 after the broker reported 75, and he has stood by that for `after_ns`."""
    rig = begun(TWICE, {501: -75})
    rig.wait(0.1)
    rig.fill(send(rig))
    rig.wait(0.4)
    rig.positions({501: -75})
    at(rig, rig.now + after_ns)
    rig.quote()
    rig.positions({501: -75})
    return rig


def test_a_model_is_given_up_after_ten_seconds_and_not_before():
    assert doubted(10 * S - 1).desk.holdings.model(holding()) == NetRange(0, 0)
    assert doubted(10 * S).desk.holdings.model(holding()) == NetRange(-75, -75)


def test_a_disagreement_that_is_over_is_timed_anew_when_it_comes_back():
    rig = begun(TWICE, {501: -75})
    rig.wait(4)
    rig.foreign(Side.SELL, 75, 0, OrderStatus.PENDING, "s")
    rig.foreign(Side.BUY, 75, 0, OrderStatus.PENDING, "b")
    first = rig.running().legs[0].attempts[0].intent
    rig.fill(first)
    rig.wait(0.1)
    rig.positions({501: -75})
    assert rig.running().legs[0].mismatch_since_ns == rig.now
    rig.wait(3)
    rig.foreign(Side.SELL, 75, 75, OrderStatus.TRADED, "s")
    rig.positions({501: -75})
    assert rig.running().legs[0].mismatch_since_ns is None


def test_the_model_is_not_started_anew_while_an_order_on_the_contract_may_still_fill():
    rig = doubted(9 * S)
    attempt = rig.running().legs[0].attempts[0]
    rig.desk.attempts_on[holding()].append(Attempt(attempt.intent, 9, attempt.prepared_ns))
    at(rig, rig.now + 2 * S)
    rig.positions({501: -75})
    assert rig.desk.holdings.model(holding()) == NetRange(0, 0)


def test_an_overfill_by_one_unit_halts_the_exit():
    rig = begun(FEW, {501: -2})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.TRADED, 3)
    assert rig.running().state is ExitState.HALTED


def test_a_net_turned_round_by_somebody_else_is_blocked_and_not_taken_for_our_doing():
    rig = begun(SHORT, {501: -75})
    rig.refuse(send(rig), Refusal.VALIDATION)
    rig.wait(0.1)
    rig.positions({501: 75})
    assert rig.running().state is ExitState.EXECUTING
    assert rig.running().legs[0].state is LegState.BLOCKED


def test_one_unit_filled_and_a_net_of_one_unit_beyond_zero_is_our_doing():
    rig = begun(FEW, {501: -2})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED, 1)
    rig.wait(0.1)
    rig.positions({501: 1})
    assert rig.running().state is ExitState.HALTED


def test_one_unit_sold_beyond_zero_is_our_doing_too():
    rig = begun(position(1, leg(11, 501, 2, lot=1)), {501: 2})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED, 1)
    rig.wait(0.1)
    rig.positions({501: -1})
    assert rig.running().state is ExitState.HALTED


# --- When the longs may go ---


def unreadable(held, nets, urgency=Urgency.HIGH) -> Rig:
    """An exit has begun, and positions could not be read for more than ten seconds."""
    rig = Rig()
    rig.open(held)
    rig.wait()
    rig.positions(nets)
    signal = Signal(1, Rule.PROFIT_TARGET, Action.CLOSE_POSITION, urgency, 1, 1, 1, "target", rig.now)
    rig.engine._fire(signal, held, rig.now)
    rig.wait()
    return rig


def sides(rig):
    return [intent.side for intent in rig.submitted()]


def test_only_a_pressing_exit_sells_longs_by_its_own_fills_alone():
    for urgency, expected in ((Urgency.HIGH, [Side.SELL]), (Urgency.NORMAL, [])):
        rig = unreadable(PAIR, {501: -2, 502: 2}, urgency)
        first = send(rig)
        fail_positions(rig, 11)
        rig.fill(first)
        rig.quote(502)
        rig.wait(0.1)
        assert sides(rig) == expected
        state = LegState.OPEN if expected else LegState.WAITING
        assert rig.running().legs[1].state is state


def test_longs_wait_while_one_unit_of_a_short_is_not_filled():
    rig = unreadable(PAIR, {501: -2, 502: 2})
    first = send(rig)
    fail_positions(rig, 11)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED, 1)
    rig.quote(502)
    rig.wait(0.1)
    assert Side.SELL not in sides(rig)


def test_longs_wait_for_a_short_that_was_refused_and_for_every_short():
    held = position(1, leg(11, 501, -1, lot=1), leg(12, 502, -1, lot=1), leg(13, 503, 2, lot=1))
    rig = unreadable(held, {501: -1, 502: -1, 503: 2})
    first, second = rig.submitted()
    fail_positions(rig, 11)
    rig.fill(first)
    rig.refuse(second, Refusal.ACCOUNT)
    rig.quote(503)
    rig.wait(0.1)
    assert sides(rig) == []
    rig.report(second, OrderStatus.TRADED, 1)
    rig.quote(503)
    rig.wait(0.1)
    assert sides(rig) == [Side.SELL]


def test_longs_wait_for_a_late_order_of_a_short_that_is_filled_already():
    rig = unreadable(PAIR, {501: -2, 502: 2})
    first = send(rig)
    rig.refuse(first, Refusal.VALIDATION)
    rig.wait(1)
    rig.quote()
    rig.positions({501: -2, 502: 2})
    second = send(rig)
    fail_positions(rig, 11)
    rig.accept(second)
    rig.report(first, OrderStatus.PENDING)
    rig.report(second, OrderStatus.TRADED, 2)
    rig.quote(502)
    rig.wait(0.1)
    assert sides(rig) == [], "the late order may still buy"


def test_a_short_that_somebody_closed_does_not_hold_the_longs_back():
    held = position(1, leg(11, 501, -75), leg(12, 502, -75), leg(13, 503, 75))
    rig = Rig()
    rig.open(held)
    rig.wait()
    rig.positions({501: 0, 502: -75, 503: 75})
    rig.exit()
    second = send(rig)
    rig.wait(1)
    rig.positions({501: 0, 502: -75, 503: 75})
    assert rig.running().legs[0].state is LegState.FLAT
    fail_positions(rig, 11)
    rig.fill(second)
    rig.quote(503)
    rig.wait(0.1)
    assert sides(rig) == [Side.SELL]


# --- The trade book ---


def outside(held, nets) -> Rig:
    """Everything of the position is gone at the broker, and that was believed."""
    rig = begun(held, nets)
    rig.wait(1)
    rig.positions(nets)
    return rig


def test_the_trade_book_is_asked_for_what_others_closed_even_if_it_is_one_unit():
    rig = outside(position(1, leg(11, 501, -1, lot=1)), {501: 0})
    assert len(rig.take(cmd.ReadTradeBook)) == 1
    trades = (TradeReport("9", "a", holding(), Side.BUY, 1, 9_001),)
    rig.tell(ev.TradeBookRead(trades, rig.now, rig.now))
    record = only(rig.take(cmd.RecordExit)).record
    assert record.legs[0].average_price == 9_001
    assert record.realised_pnl == -1


def test_the_trade_book_is_not_needed_for_what_our_own_late_fill_explains():
    rig = begun(SHORT, {501: -75})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED)
    rig.wait(0.1)
    rig.positions({501: 0})
    assert rig.running().legs[0].flat_seen_ns is not None
    rig.report(first, OrderStatus.CANCELLED, 75)
    rig.wait(0.1)
    rig.positions({501: 0})
    assert rig.take(cmd.ReadTradeBook) == []
    assert rig.running() is None


@pytest.mark.parametrize(("before_ns", "is_over"), [(1, False), (0, True)])
def test_a_trade_book_counts_when_it_was_asked_for_after_the_last_leg_was_seen_gone(before_ns, is_over):
    pair = position(1, leg(11, 501, -75), leg(12, 502, -75))
    rig = begun(pair, {501: 0, 502: -75})
    rig.refuse(send(rig), Refusal.ACCOUNT)
    rig.wait(0.5)
    rig.positions({501: 0, 502: 0})
    last_seen = rig.now
    rig.wait(1)
    rig.positions({501: 0, 502: 0})
    rig.tell(ev.TradeBookRead((), last_seen - before_ns, rig.now))
    assert (rig.running() is None) is is_over


def test_average_prices_of_others_are_whole_paise():
    rig = outside(position(1, leg(11, 501, -3, lot=1)), {501: 0})
    trades = (
        TradeReport("9", "a", holding(), Side.BUY, 5, 1),
        TradeReport("9", "b", holding(), Side.BUY, 1, 9_000),
        TradeReport("9", "c", holding(), Side.BUY, 2, 9_001),
    )
    rig.tell(ev.TradeBookRead(trades, rig.now, rig.now))
    average = only(rig.take(cmd.RecordExit)).record.legs[0].average_price
    assert average == 9_001
    assert isinstance(average, int)


# --- The record ---


def test_a_close_by_others_is_started_and_finished_in_the_journal_with_its_own_signal():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.positions({501: 0})
    signal = outside_signal(1, rig.now)
    rig.engine._fire(signal, SHORT, rig.now)
    rig.wait(1)
    rig.positions({501: 0})
    assert rig.journal == [], "nothing is durable before it is believed"
    rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    started, finished = rig.journal
    assert started == ExitStarted(finished.exit_id, 1, signal, SHORT)
    assert finished.record.exit_id == finished.exit_id


def test_an_exit_of_which_somebody_closed_one_leg_keeps_its_own_reason():
    rig = begun(SPREAD, {501: -75, 502: 75})
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.quote(502)
    rig.positions({501: 0, 502: 0})
    rig.wait(1)
    rig.positions({501: 0, 502: 0})
    rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    record = only(rig.take(cmd.RecordExit)).record
    assert (record.rule, record.reason) == (Rule.OPERATOR, "operator asked for it")
    assert [(one.ordered, one.filled) for one in record.legs] == [(75, 75), (0, 0)]
    assert record.realised_pnl is None, "nobody knows what the long was sold for"


def test_orders_without_a_number_are_not_listed():
    rig = begun(SHORT, {501: -75})
    rig.refuse(send(rig), Refusal.VALIDATION)
    rig.wait(1)
    rig.quote()
    rig.positions({501: -75})
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({501: 0})
    record = only(rig.take(cmd.RecordExit)).record
    assert [one.startswith("id-") for one in record.legs[0].order_ids] == [True]
    assert record.legs[0].ordered == 75


def test_the_pnl_is_unknown_when_an_entry_is_or_when_our_fills_are_only_a_part():
    unknown = Rig()
    held = position(1, leg(11, 501, -75))
    held = type(held)(
        1, "S1", "NIFTY", (type(held.legs[0])(11, held.legs[0].instrument, held.legs[0].product, -75, None),)
    )
    unknown.begin(held, nets={501: -75})
    unknown.fill(send(unknown))
    unknown.wait(0.1)
    unknown.positions({501: 0})
    record = only(unknown.take(cmd.RecordExit)).record
    assert record.realised_pnl is None
    assert record.legs[0].average_price == 10_010

    part = begun(SHORT, {501: -75})
    first = send(part)
    part.accept(first)
    part.report(first, OrderStatus.CANCELLED, 25)
    part.wait(0.1)
    part.positions({501: 0})
    part.wait(1)
    part.positions({501: 0})
    part.tell(ev.TradeBookRead((), part.now, part.now))
    record = only(part.take(cmd.RecordExit)).record
    assert (record.legs[0].filled, record.legs[0].average_price) == (25, 10_010)
    assert record.realised_pnl is None


def test_the_steps_of_an_exit_are_timed_in_milliseconds_from_its_first_order_to_its_last_fill():
    rig = begun(TWICE, {501: -150})
    start = rig.now
    first = send(rig)
    rig.tell(ev.OrderPosted(first.correlation_id, start + 1_234_567, start + 3 * MS))
    rig.now = start + 40 * MS
    rig.tell(ev.OrderAccepted(first.correlation_id, "1", rig.now))
    rig.report(first, OrderStatus.CANCELLED, 75, order_id="1")
    rig.now = start + 400 * MS
    rig.wait()
    rig.quote()
    rig.positions({501: -75})
    second = send(rig)
    rig.tell(ev.OrderPosted(second.correlation_id, rig.now + MS, rig.now + 2 * MS))
    rig.refuse(second, Refusal.VALIDATION)
    rig.now = start + 1_500 * MS
    rig.wait()
    rig.quote()
    rig.positions({501: -75})
    third = send(rig)
    rig.now = start + 2_000 * MS
    rig.report(third, OrderStatus.TRADED, 75, order_id="3")
    rig.wait(0.1)
    rig.positions({501: 0})
    latency = only(rig.take(cmd.RecordExit)).record.latency
    assert latency == Latency(None, 1.235, 1.765, 1_997.0)


def test_an_order_that_never_left_is_not_the_first_one():
    rig = begun(SHORT, {501: -75})
    rig.refuse(send(rig), Refusal.NOT_SENT)
    rig.wait(0.3)
    rig.quote()
    rig.positions({501: -75})
    second = send(rig)
    posted = rig.now
    rig.tell(ev.OrderPosted(second.correlation_id, posted + MS, posted + 3 * MS))
    rig.now = posted + 10 * MS
    rig.report(second, OrderStatus.TRADED, 75)
    rig.wait(0.1)
    rig.positions({501: 0})
    latency = only(rig.take(cmd.RecordExit)).record.latency
    assert latency == Latency(None, 301.0, 2.0, 7.0)


def test_a_later_order_without_a_fill_does_not_move_the_last_fill():
    rig = begun(SPREAD, {501: -75, 502: 75})
    first = send(rig)
    posted = rig.now
    rig.tell(ev.OrderPosted(first.correlation_id, posted, posted))
    rig.now = posted + 10 * MS
    rig.report(first, OrderStatus.TRADED, 75)
    rig.wait(0.1)
    rig.quote(502)
    rig.positions({501: 0, 502: 75})
    rig.wait(0.1)
    rig.refuse(send(rig), Refusal.ACCOUNT)
    for _ in range(2):
        rig.positions({501: 0, 502: 0})
        rig.wait(1)
    rig.positions({501: 0, 502: 0})
    rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    assert only(rig.take(cmd.RecordExit)).record.latency == Latency(None, 0.0, 0.0, 10.0)


def test_an_exit_without_a_fill_of_its_own_has_no_time_of_a_fill():
    rig = begun(SHORT, {501: -75})
    first = send(rig)
    rig.tell(ev.OrderPosted(first.correlation_id, rig.now, rig.now))
    rig.refuse(first, Refusal.ACCOUNT)
    for _ in range(2):
        rig.positions({501: 0})
        rig.wait(1)
    rig.positions({501: 0})
    rig.tell(ev.TradeBookRead((), rig.now, rig.now))
    assert only(rig.take(cmd.RecordExit)).record.latency == Latency(None, 0.0, 0.0, None)


def test_an_exit_whose_orders_were_never_seen_going_out_has_no_times():
    rig = begun(SHORT, {501: -75})
    rig.report(send(rig), OrderStatus.TRADED, 75)
    rig.wait(0.1)
    rig.positions({501: 0})
    assert only(rig.take(cmd.RecordExit)).record.latency == Latency()


def test_an_alert_alone_is_recorded_with_nothing_ordered():
    signal = Signal(
        1,
        Rule.STOP_LOSS,
        Action.CLOSE_POSITION,
        Urgency.HIGH,
        -100,
        -150,
        -150,
        "stop",
        9 * MS,
        tick_received_ns=2 * MS,
    )
    record = alert_record("1-1-a", signal, SPREAD, 77)
    assert record.legs == (
        LegExecution(11, 501, "OPT-501", Side.BUY, 0, 0, None, ()),
        LegExecution(12, 502, "OPT-502", Side.SELL, 0, 0, None, ()),
    )
    assert record.latency == Latency(7.0)
    assert (record.mode, record.finished_at_ns, record.realised_pnl) == (Mode.ALERT, 77, None)
    assert exit_finish.OUTSIDE_REASON not in record.reason
