"""What keeps an order back, what lets it go, and at which price: quotes, books without a side, budgets, slices, other people."""

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.exit_lifecycle import LegState
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels, Rule, Urgency
from core.model.instrument import InstrumentKey, Segment
from core.model.journal_records import AttemptPrepared
from core.model.market import Quote
from core.model.orders import OrderStatus, Refusal, Side, Validity
from core.model.signals import Signal
from tests.unit.order_side.rig import MS, SHORT, SPREAD, Rig, S, holding, leg, position
from tests.unit.order_side.test_holdings import fail_positions
from tests.unit.order_side.test_orders_under_way import only, prove_absent, resend, send

KEY = InstrumentKey(Segment.NSE_FNO, 501)
LONG = position(1, leg(11, 501, 75))
ONE_UNIT = position(1, leg(11, 501, -1, lot=1))


def at(rig: Rig, now: int) -> None:
    rig.now = now
    rig.wait()


def book(rig: Rig, bid: int | None, ask: int | None, last: int = 10_000) -> None:
    rig.tell(ev.QuoteArrived(Quote(KEY, last, bid, ask, 75, 75, None, rig.now)))


def begun(held, nets, **settings) -> Rig:
    rig = Rig(DeskSettings(**settings))
    rig.begin(held, nets=nets)
    return rig


def facing(held, bid: int | None, ask: int | None) -> Rig:
    """A position with a book as given, about to be closed."""
    rig = Rig()
    rig.open(held)
    book(rig, bid, ask)
    rig.wait()
    rig.positions({501: held.legs[0].units})
    rig.exit()
    return rig


# --- A book without the side that the order needs (fault F29) ---


@pytest.mark.parametrize(
    ("held", "bid", "ask", "missing"), [(SHORT, 9_995, None, "ask"), (LONG, None, 10_005, "bid")], ids=["buy", "sell"]
)
def test_f29_nothing_is_sent_while_nobody_is_on_the_other_side(held, bid, ask, missing):
    rig = facing(held, bid, ask)
    began = rig.now
    assert rig.submitted() == []
    assert rig.desk.wake_ns == began + S
    for now, pages in ((began + S - 1, 0), (began + S, 1), (began + 2 * S, 1)):
        at(rig, now)
        rig.positions({501: held.legs[0].units})
        assert rig.submitted() == []
        assert rig.subjects() == ["nobody to trade OPT-501 with"] * pages
    assert f"the book has no {missing}" in rig.alerts[0].text
    book(rig, 9_990, 10_010)
    assert only(rig.submitted()).quantity == 75


def test_f29_rest_is_asked_for_a_quote_every_second():
    rig = facing(SHORT, 9_995, None)
    began = rig.now
    asked = [began] * len(rig.take(cmd.RequestQuotes))
    for now in range(began + 100 * MS, began + 3_500 * MS, 100 * MS):
        at(rig, now)
        rig.positions({501: -75})
        asked += [rig.now] * len(rig.take(cmd.RequestQuotes))
    assert [(now - began) // MS for now in asked] == [0, 1_000, 2_000, 3_000]


def test_f29_the_side_that_is_missing_for_others_does_not_matter():
    assert only(facing(SHORT, None, 10_005).submitted()).price == 10_010
    assert only(facing(LONG, 9_995, None).submitted()).price == 9_990


def test_quotes_without_any_book_let_one_order_out_a_minute():
    """They may be of a kind that carries none."""
    rig = facing(SHORT, None, None)
    first = only(rig.submitted())
    assert first.price == 10_005, "a tick beyond the last price"
    sent = rig.now
    rig.refuse(first, Refusal.VALIDATION)
    orders = []
    for now in range(sent + S, sent + 62 * S, S // 2):
        at(rig, now)
        book(rig, None, None)
        rig.positions({501: -75})
        orders += [now] * len(rig.submitted())
    assert [(now - sent) / S for now in orders] == [60.0]


def test_quotes_without_any_book_hold_nothing_up_just_after_the_machine_has_booted():
    rig = Rig(now=S)
    rig.open(SHORT)
    book(rig, None, None)
    rig.wait()
    rig.positions({501: -75})
    rig.exit()
    assert len(rig.submitted()) == 1


# --- Quotes ---


def test_a_quote_of_a_live_feed_that_is_doubted_is_not_ordered_by():
    rig = Rig()
    rig.open(SHORT)
    rig.wait(60)
    rig.tell(ev.PricesDoubted((KEY,), "neither source shows it", rig.now))
    rig.positions({501: -75})
    rig.exit()
    assert rig.submitted() == []
    rig.positions({501: -75})
    rig.quote(last=11_000)
    assert send(rig).price == 11_010


@pytest.mark.parametrize(("age_ns", "orders"), [(S, 1), (S + 1, 0)])
def test_later_rounds_want_a_quote_of_the_last_second(age_ns, orders):
    rig = begun(SHORT, {501: -75})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED)
    rig.wait(5)
    rig.quote()
    quoted = rig.now
    rig.running().legs[0].next_send_ns = quoted + age_ns
    at(rig, quoted + age_ns)
    rig.positions({501: -75})
    assert len(rig.submitted()) == orders
    assert len(rig.running().legs[0].attempts) == 1 + orders


def test_a_later_round_asks_for_a_new_quote_again_and_waits_a_second_again():
    rig = Rig()
    rig.open(SHORT)
    rig.desk.feed_live = False
    rig.wait(60)
    rig.positions({501: -75})
    rig.exit()
    rig.take()
    rig.wait(1)
    rig.positions({501: -75})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED)
    rig.wait(3)
    rig.positions({501: -75})
    assert rig.submitted() == []
    assert rig.desk.wake_ns is not None
    began = rig.now
    at(rig, began + S - 1)
    rig.positions({501: -75})
    assert rig.submitted() == []
    at(rig, began + S)
    rig.positions({501: -75})
    assert len(rig.submitted()) == 1


def test_an_exit_without_any_price_pages_after_a_second_and_asks_again_at_once():
    rig = Rig()
    rig.tell(ev.PositionOpened(SHORT, ExitLevels(), rig.now))
    rig.wait()
    rig.positions({501: -75})
    rig.exit()
    began = rig.now
    assert len(rig.take(cmd.RequestQuotes)) == 1
    assert rig.desk.wake_ns == began + S
    at(rig, began + S - 1)
    rig.positions({501: -75})
    assert rig.subjects() == []
    at(rig, began + S)
    assert rig.subjects() == ["no price for NSE_FNO:501"]
    assert rig.desk.wake_ns == began + S + MS
    rig.take()
    at(rig, began + S + MS)
    assert len(rig.take(cmd.RequestQuotes)) == 1


# --- Units ---


def test_one_unit_is_closed():
    rig = begun(ONE_UNIT, {501: -1})
    assert send(rig).quantity == 1


def test_a_leg_that_others_closed_is_not_ordered_when_the_broker_shows_it_again():
    rig = begun(position(1, leg(11, 501, -75), leg(12, 502, -75)), {501: 0, 502: -75})
    rig.refuse(send(rig), Refusal.ACCOUNT)
    rig.wait(1)
    rig.positions({501: 0, 502: -75})
    assert rig.running().legs[0].state is LegState.FLAT
    rig.wait(30)
    rig.quote(502)
    rig.positions({501: -75, 502: -75})
    assert [intent.holding for intent in rig.submitted()] == [holding(502)]


def test_nothing_is_asked_of_rest_for_a_leg_that_may_not_be_ordered():
    rig = Rig()
    rig.open(SHORT)
    rig.desk.feed_live = False
    rig.wait(60)
    rig.foreign(Side.BUY, 75, 0, OrderStatus.PENDING)
    rig.positions({501: -75})
    rig.exit()
    assert rig.take(cmd.RequestQuotes) == []


def test_one_unit_of_a_long_waits_for_a_late_order_of_its_short():
    rig = Rig()
    held = position(1, leg(11, 501, -75), leg(12, 502, 1, lot=1))
    rig.begin(held, nets={501: -75, 502: 1})
    first = send(rig)
    prove_absent(rig, first, 8.1, {501: -75, 502: 1})
    rig.fill(resend(rig, {501: -75, 502: 1}))
    rig.wait(0.1)
    rig.positions({501: 0, 502: 1})
    long_order = send(rig)
    rig.tell(ev.OrderAccepted(first.correlation_id, "late", rig.now))
    rig.refuse(long_order, Refusal.VALIDATION)
    rig.wait(1)
    rig.quote(502)
    rig.positions({501: 0, 502: 1})
    assert rig.submitted() == []


def test_only_intraday_positions_are_left_to_the_brokers_square_off():
    rig = Rig()
    rig.open(SHORT)
    rig.wait(3 * 3_600 + 20 * 60)
    rig.quote()
    rig.positions({501: -75})
    rig.exit()
    assert len(rig.submitted()) == 1


def test_what_is_known_of_unreadable_positions_is_said_as_it_is():
    for urgency, expected in ((Urgency.HIGH, "going on with the last good"), (Urgency.NORMAL, "no order is sent")):
        rig = Rig()
        rig.open(SHORT)
        rig.wait()
        rig.positions({501: -75})
        rig.wait(1)
        signal = Signal(1, Rule.PROFIT_TARGET, Action.CLOSE_POSITION, urgency, 1, 1, 1, "target", rig.now)
        rig.engine._fire(signal, SHORT, rig.now)
        fail_positions(rig, 11)
        alert = only([alert for alert in rig.alerts if alert.subject == "positions unreadable"])
        assert expected in alert.text


def test_a_contract_on_which_an_order_of_the_last_run_may_still_fill_is_not_ordered_by_another_exit():
    """After a restart there is no base to reckon from yet."""
    rig = begun(position(1, leg(11, 501, -75)), {501: -150})
    send(rig)
    after = rig.reborn()
    after.open(position(2, leg(21, 501, -75)))
    after.wait(4)
    after.positions({501: -150})
    after.take()
    after.exit(2)
    assert after.submitted() == []
    after.wait(0.2)
    after.positions({501: -150})
    assert after.submitted() == []
    after.wait(0.2)
    assert len(after.take(cmd.ReadPositions)) == 1


def test_somebody_elses_order_that_leaves_enough_is_not_in_the_way():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.foreign(Side.BUY, 75, 0, OrderStatus.PENDING)
    rig.positions({501: -225})
    rig.exit()
    assert send(rig).quantity == 75
    assert rig.subjects() == []


def test_an_own_order_that_takes_all_there_is_is_nobody_elses():
    rig = Rig()
    rig.begin(position(1, leg(11, 501, -75)), position(2, leg(21, 501, -75)), nets={501: -75})
    assert len(rig.submitted()) == 1
    rig.wait(0.1)
    rig.positions({501: -75})
    assert rig.subjects() == []
    assert rig.take(cmd.ReadOrderBook) == []


def test_a_machine_that_has_just_booted_sends_its_orders():
    rig = Rig(now=S)
    rig.begin(SHORT, nets={501: -75})
    assert send(rig).quantity == 75


@pytest.mark.parametrize(("after_ns", "orders"), [(3 * S, 0), (3 * S + 1, 1)])
def test_a_base_is_taken_from_reports_asked_for_more_than_three_seconds_after_our_last_order(after_ns, orders):
    rig = begun(SHORT, {501: -75})
    rig.open(position(2, leg(21, 501, -75)))
    rig.fill(send(rig))
    ended = rig.now
    rig.wait(0.1)
    rig.positions({501: 0})
    assert rig.running() is None
    at(rig, ended + after_ns)
    rig.exit(2)
    rig.quote()
    rig.positions({501: -75})
    assert len(rig.submitted()) == orders


# --- Rounds, slices and budgets ---


def test_an_order_goes_out_the_moment_the_budget_allows_it():
    held = position(1, leg(11, 501, -75)), position(2, leg(21, 502, -75))
    rig = Rig(DeskSettings(orders_per_second=1))
    rig.begin(*held, nets={501: -75, 502: -75})
    first = send(rig)
    went = rig.now
    rig.accept(first)
    second = rig.running(2).legs[0]
    assert second.next_send_ns == 0
    for now, orders in ((went + 950 * MS, 0), (went + S, 1)):
        at(rig, now)
        rig.quote(502)
        rig.positions({501: -75, 502: -75})
        assert len(rig.submitted()) == orders


def test_the_rest_of_a_round_goes_out_at_the_price_of_the_round_and_starts_no_new_one():
    rig = begun(position(1, leg(11, 501, -18_000)), {501: -18_000}, attempts_per_leg_per_minute=100)
    prices = []
    for _ in range(2):
        began = rig.now
        batch = rig.submitted()
        for intent in batch:
            rig.accept(intent)
        assert rig.running().legs[0].next_send_ns == began + 300 * MS
        rig.wait(1)
        rig.quote()
        rig.positions({501: -18_000})
        batch += rig.submitted()
        assert rig.running().legs[0].next_send_ns == began + 300 * MS
        assert len(batch) == 10
        prices.append({intent.price for intent in batch})
        rig.wait(0.01)
        for intent in batch:
            rig.report(intent, OrderStatus.CANCELLED)
        rig.wait(1)
        rig.quote()
        rig.positions({501: -18_000})
    assert prices == [{10_010}, {10_055}]


def test_a_slice_beside_a_rate_limited_one_is_priced_at_the_first_rung():
    rig = begun(position(1, leg(11, 501, -3_600)), {501: -3_600}, orders_per_second=1)
    rig.refuse(send(rig), Refusal.RATE_LIMITED)
    rig.wait(1.1)
    rig.quote()
    rig.positions({501: -3_600})
    assert send(rig).price == 10_010


def test_no_order_is_left_resting_while_positions_cannot_be_read():
    rig = begun(SHORT, {501: -75})
    intent = send(rig)
    for _ in range(6):
        rig.accept(intent)
        rig.report(intent, OrderStatus.CANCELLED)
        rig.wait(0.3)
        rig.quote()
        rig.positions({501: -75})
        intent = send(rig)
    assert intent.validity is Validity.DAY
    rig.refuse(intent, Refusal.VALIDATION)
    rig.wait(0.2)
    fail_positions(rig, 11)
    rig.quote()
    rig.wait(0.5)
    if not (orders := rig.submitted()):
        rig.quote()
        orders = rig.submitted()
    assert only(orders).validity is Validity.IOC


def numbers(rig):
    return [record.number for record in rig.journal if isinstance(record, AttemptPrepared)]


def test_attempts_are_counted_from_one_without_a_gap():
    rig = begun(SHORT, {501: -75})
    for _ in range(2):
        rig.refuse(send(rig), Refusal.VALIDATION)
        rig.wait(1)
        rig.quote()
        rig.positions({501: -75})
    assert numbers(rig) == [1, 2, 3]


def test_numbers_that_a_lost_journal_had_used_are_passed_over():
    before = begun(SHORT, {501: -75})
    used = [send(before)]
    before.refuse(used[0], Refusal.VALIDATION)
    before.wait(1)
    used.append(resend(before, {501: -75}))
    for known, expected in ((used[:1], 2), (used, 3)):
        after = Rig()
        after.open(SHORT)
        after.wait()
        for intent in known:
            after.report(intent, OrderStatus.CANCELLED)
        after.positions({501: -75})
        after.exit()
        assert numbers(after) == [expected]


def test_a_spread_leaves_its_long_alone_until_the_short_is_flat():
    rig = begun(SPREAD, {501: -75, 502: 75})
    rig.wait(0.3)
    rig.positions({501: -75, 502: 75})
    assert {intent.side for intent in rig.submitted()} == {Side.BUY}
