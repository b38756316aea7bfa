"""What becomes of an order: answers, refusals by class, look-ups, cancels, absence."""

import pytest

from core.exits.attempt_chaser import chase
from core.exits.desk_settings import DeskSettings
from core.exits.exit_lifecycle import AttemptState, ExitState
from core.model import commands as cmd
from core.model import events as ev
from core.model.journal_records import AttemptAbsent, AttemptPrepared, AttemptRefused, ExitHalted, ExitStarted
from core.model.orders import OrderStatus, Refusal, Side, Validity
from core.model.signals import Mode
from tests.unit.order_side.rig import MS, SHORT, SPREAD, Rig, S, leg, position


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.begin(SHORT, nets={501: -75})
    return made


def only(items):
    assert len(items) == 1, items
    return items[0]


def send(rig):
    """The one order that is due now, positions being as they were."""
    return only(rig.submitted())


def attempt_of(rig, strategy_id=1, leg_index=0):
    return rig.running(strategy_id).legs[leg_index].attempts[-1]


def test_the_journal_comes_before_the_order(rig):
    kinds = [type(c.record) if isinstance(c, cmd.WriteJournal) else type(c) for c in rig.out]
    assert kinds.index(ExitStarted) < kinds.index(AttemptPrepared) < kinds.index(cmd.SubmitOrder)


def test_an_order_closes_the_leg_at_the_first_rung(rig):
    intent = send(rig)
    assert (intent.side, intent.quantity, intent.price, intent.validity) == (Side.BUY, 75, 10_010, Validity.IOC)


def test_nothing_is_sent_while_the_whole_leg_is_out(rig):
    send(rig)
    for _ in range(20):
        rig.wait(0.1)
        rig.positions({501: -75})
    assert rig.submitted() == []


@pytest.mark.parametrize(
    ("refusal", "pause_s", "subject"),
    [
        (Refusal.VALIDATION, 1, "order refused"),
        (Refusal.TOKEN, 1, "orders refused: token"),
        (Refusal.STATIC_IP, 30, "orders refused: static_ip"),
        (Refusal.ACCOUNT, 30, "orders refused: account"),
        (Refusal.NOT_SENT, 0.3, None),
    ],
)
def test_a_refusal_ends_the_attempt_and_pauses_the_leg(rig, refusal, pause_s, subject):
    first = send(rig)
    rig.refuse(first, refusal)
    assert rig.journal[-1] == AttemptRefused(rig.running().exit_id, first.correlation_id, "no")
    assert subject is None or subject in rig.subjects()
    rig.wait(pause_s - 0.01)
    rig.positions({501: -75})
    rig.quote()
    assert rig.submitted() == []
    rig.wait(0.01)
    rig.positions({501: -75})
    again = send(rig)
    assert again.correlation_id != first.correlation_id
    assert again.price == first.price, "a refused order was not in the market: the ladder stays where it is"


def test_f20_an_exit_goes_on_within_seconds_of_a_new_token_and_hammers_no_dead_one(rig):
    intent, gaps = send(rig), []
    for _ in range(8):
        rig.refuse(intent, Refusal.TOKEN, "Invalid Token")
        since = rig.now
        while not (orders := rig.submitted()):
            rig.wait(0.1)
            rig.positions({501: -75})
            rig.quote()
        (intent,) = orders
        gaps.append(round((rig.now - since) / S))
    assert gaps == [1, 2, 4, 8, 16, 30, 30, 30]
    rig.fill(intent)
    rig.wait(0.1)
    rig.positions({501: 0})
    assert len(rig.take(cmd.RecordExit)) == 1


def test_orders_that_never_left_pause_longer_each_time_and_burn_no_budget(rig):
    intent, gaps = send(rig), []
    for _ in range(30):
        rig.refuse(intent, Refusal.NOT_SENT)
        since = rig.now
        while not (sent := rig.submitted()):
            rig.wait(0.05)
            rig.positions({501: -75})
            rig.quote()
        intent = only(sent)
        gaps.append((rig.now - since) // (50 * MS))
    assert gaps[0] == 6
    assert gaps[-1] == 60
    assert rig.running().legs[0].attempts_that_count == 1
    assert rig.running().state is ExitState.EXECUTING


def test_a_rate_limited_order_needs_one_negative_after_the_pause(rig):
    first = send(rig)
    rig.refuse(first, Refusal.RATE_LIMITED)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    rig.wait(0.9)
    rig.absent(first)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    rig.wait(0.1)
    rig.absent(first)
    assert rig.running().legs[0].attempts[0].state is AttemptState.ABSENT
    rig.positions({501: -75})
    rig.quote()
    assert send(rig).price == first.price
    assert rig.running().legs[0].attempts_that_count == 1


def test_a_rate_limited_order_that_is_there_after_all_counts(rig):
    first = send(rig)
    rig.refuse(first, Refusal.RATE_LIMITED)
    rig.report(first, OrderStatus.PENDING)
    assert attempt_of(rig).state is AttemptState.WORKING
    assert rig.running().legs[0].attempts_that_count == 1


def test_a_rate_limit_says_nothing_when_the_net_has_moved(rig):
    first = send(rig)
    rig.refuse(first, Refusal.RATE_LIMITED)
    rig.wait(1.5)
    rig.absent(first, requested=rig.now - 200 * MS)
    assert attempt_of(rig).state is AttemptState.ABSENT

    other = Rig()
    other.begin(SHORT, nets={501: -75})
    first = send(other)
    other.refuse(first, Refusal.RATE_LIMITED)
    other.wait(1.5)
    other.positions({501: 0})
    other.absent(first, requested=other.now - 200 * MS)
    assert attempt_of(other).state is AttemptState.UNKNOWN


def test_a_late_refusal_does_not_end_an_order_that_the_broker_shows(rig):
    first = send(rig)
    rig.report(first, OrderStatus.PENDING)
    rig.refuse(first, Refusal.VALIDATION)
    assert attempt_of(rig).state is AttemptState.WORKING
    assert not any(isinstance(record, AttemptRefused) for record in rig.journal)


@pytest.mark.parametrize("reads", [1, 2])
def test_too_few_negatives_prove_nothing(rig, reads):
    first = send(rig)
    rig.lose(first)
    rig.wait(9)
    for _ in range(reads):
        rig.positions({501: -75})
        rig.absent(first)
    assert attempt_of(rig).state is AttemptState.UNKNOWN


def prove_absent(rig, intent, seconds, nets):
    rig.lose(intent)
    for _ in range(3):
        rig.wait(seconds / 3)
        rig.absent(intent)
        rig.positions(nets)
    rig.absent(intent)


def resend(rig, nets):
    rig.submitted()
    rig.positions(nets)
    rig.quote()
    return send(rig)


def test_negatives_must_span_the_quarantine(rig):
    first = send(rig)
    prove_absent(rig, first, 7.9, {501: -75})
    assert attempt_of(rig).state is AttemptState.UNKNOWN


def test_three_negatives_over_the_quarantine_prove_absence(rig):
    first = send(rig)
    prove_absent(rig, first, 8.1, {501: -75})
    assert AttemptAbsent(rig.running().exit_id, first.correlation_id) in rig.journal
    assert rig.running().legs[0].attempts[0].state is AttemptState.ABSENT


def test_a_moved_net_forbids_absence(rig):
    first = send(rig)
    prove_absent(rig, first, 8.1, {501: 0})
    assert attempt_of(rig).state is AttemptState.UNKNOWN


def test_a_net_that_was_not_read_since_forbids_absence(rig):
    first = send(rig)
    rig.lose(first)
    for _ in range(3):
        rig.wait(3)
        rig.absent(first)
    assert attempt_of(rig).state is AttemptState.UNKNOWN


def test_unexplained_trades_start_the_count_anew(rig):
    first = send(rig)
    rig.lose(first)
    rig.wait(9)
    rig.absent(first)
    rig.absent(first)
    rig.absent(first, unexplained=True)
    rig.positions({501: -75})
    rig.absent(first)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    assert len(attempt_of(rig).absences_ns) == 1


def test_negatives_asked_before_the_end_of_the_post_do_not_count(rig):
    first = send(rig)
    asked = rig.now
    rig.wait(2.5)
    rig.lose(first)
    rig.absent(first, requested=asked)
    assert attempt_of(rig).absences_ns == []


def test_an_order_whose_post_never_ended_is_never_absent_until_it_does(rig):
    """A stalled disk may let it go out minutes later."""
    first = send(rig)
    rig.wait(10)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    for _ in range(10):
        rig.wait(2)
        rig.positions({501: -75})
        rig.absent(first)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    assert rig.submitted() == []
    rig.lose(first)
    rig.absent(first)
    rig.wait(4)
    rig.positions({501: -75})
    rig.absent(first)
    rig.absent(first)
    assert attempt_of(rig).state is AttemptState.UNKNOWN, "the quarantine starts with the end of the post"
    rig.wait(5)
    rig.absent(first)
    assert rig.running().legs[0].attempts[0].state is AttemptState.ABSENT


def test_an_unknown_order_is_looked_up_more_and_more_rarely_and_paged(rig):
    first = send(rig)
    rig.lose(first)
    asked = []
    for _ in range(320):
        rig.wait(0.1)
        for question in rig.take(cmd.ResolveOrder):
            asked.append((rig.now - rig.start) // MS)
            rig.failed("ResolveOrder", question.correlation_id)
    assert asked[:7] == [200, 500, 1_000, 2_000, 3_000, 5_000, 7_000]
    page = f"order {first.correlation_id} unresolved"
    assert rig.subjects().count(page) == 1


def test_a_look_up_that_is_never_answered_is_asked_again(rig):
    rig.lose(send(rig))
    rig.wait(0.2)
    assert len(rig.take(cmd.ResolveOrder)) == 1
    assert rig.engine.next_wake_ns == rig.now + 15 * S
    rig.wait(14.9)
    assert rig.take(cmd.ResolveOrder) == []
    rig.wait(0.1)
    assert len(rig.take(cmd.ResolveOrder)) == 1


def test_a_working_order_is_polled_and_cancelled_and_paged(rig):
    first = send(rig)
    rig.accept(first)
    polled, cancelled = [], []
    for _ in range(310):
        rig.wait(0.1)
        for command in rig.take():
            if isinstance(command, cmd.ReadOrder):
                polled.append(rig.now - rig.start)
                rig.report(first, OrderStatus.PENDING)
            if isinstance(command, cmd.CancelOrder):
                cancelled.append((rig.now - rig.start) // MS)
    assert cancelled[:3] == [2_000, 4_000, 6_000]
    assert len(polled) > 25
    assert rig.subjects().count(f"order id-{first.correlation_id} does not end") == 1


def test_a_poll_in_flight_is_not_repeated(rig):
    first = send(rig)
    rig.accept(first)
    rig.wait(0.05)
    assert len(rig.take(cmd.ReadOrder)) == 1
    rig.wait(1)
    assert rig.take(cmd.ReadOrder) == []
    rig.failed("ReadOrder", first.correlation_id)
    assert len(rig.take(cmd.ReadOrder)) == 1


def test_answers_to_orders_that_nobody_knows_change_nothing(rig):
    send(rig)
    rig.take()
    for event in (
        ev.OrderPosted("Xnobody", 1, 1),
        ev.OrderAccepted("Xnobody", "9", rig.now),
        ev.OrderRefused("Xnobody", Refusal.TOKEN, "no", rig.now),
        ev.OrderOutcomeUnknown("Xnobody", "no", rig.now),
        ev.OrderAbsenceSeen("Xnobody", unexplained_trades=False, requested_ns=1, at_ns=rig.now),
    ):
        rig.tell(event)
    assert rig.out == []


def test_a_partial_fill_leads_to_an_order_for_the_rest_one_rung_on(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.PART_TRADED, 25)
    assert rig.submitted() == []
    rig.report(first, OrderStatus.CANCELLED, 25)
    rig.wait(0.3)
    rig.positions({501: -50})
    rig.quote()
    rest = send(rig)
    assert rest.quantity == 50
    assert rest.price == 10_055


def test_a_rejected_order_is_told_once_and_waits_a_second(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.REJECTED, reason="RMS: margin")
    rig.report(first, OrderStatus.REJECTED, reason="RMS: margin")
    assert rig.subjects() == ["rejected: RMS: margin"]
    rig.wait(0.9)
    rig.positions({501: -75})
    assert rig.submitted() == []


def test_reports_in_any_order_and_number_leave_the_same(rig):
    first = send(rig)
    rig.report(first, OrderStatus.TRADED, 75)
    before = list(rig.journal)
    rig.report(first, OrderStatus.PENDING)
    rig.report(first, OrderStatus.PART_TRADED, 30)
    rig.report(first, OrderStatus.TRADED, 75)
    rig.accept(first)
    assert attempt_of(rig).filled == 75
    assert rig.desk.holdings.own_filled == {first.holding: 75}
    assert len(rig.journal) == len(before) + 1


def test_an_overtaken_report_does_not_take_fills_back(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.PART_TRADED, 50)
    rig.report(first, OrderStatus.PART_TRADED, 25)
    rig.report(first, OrderStatus.PENDING)
    assert attempt_of(rig).filled == 50
    assert rig.desk.holdings.own_filled == {first.holding: 50}


def test_a_pause_and_a_look_up_wake_the_engine_without_any_beat(rig):
    first = send(rig)
    rig.refuse(first, Refusal.VALIDATION)
    assert rig.engine.next_wake_ns == rig.now + S
    rig.wait(1)
    second = resend(rig, {501: -75})
    rig.wait(0.5)
    rig.lose(second)
    assert rig.engine.next_wake_ns == rig.now + 200 * MS


def test_a_traded_report_of_a_part_is_not_the_end(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.TRADED, 30)
    assert attempt_of(rig).state is AttemptState.WORKING


def test_an_unrecognised_word_is_live(rig):
    first = send(rig)
    rig.report(first, OrderStatus.UNRECOGNISED)
    assert attempt_of(rig).state is AttemptState.WORKING


def test_an_overfill_halts_the_exit(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.TRADED, 100)
    assert rig.running().state is ExitState.HALTED
    assert "exit halted" in rig.subjects()


def test_after_six_rounds_a_day_order_goes_out_at_the_widest_price(rig):
    intent, seen = send(rig), []
    for _ in range(7):
        seen.append((intent.price, intent.validity))
        rig.accept(intent)
        rig.report(intent, OrderStatus.CANCELLED)
        rig.wait(0.3)
        rig.positions({501: -75})
        rig.quote()
        intent = send(rig)
    prices = [price for price, _ in seen]
    assert prices == sorted(prices)
    assert [validity for _, validity in seen] == [Validity.IOC] * 6 + [Validity.DAY]
    assert prices[5:] == [13_995, 13_995]
    rig.accept(intent)
    rig.wait(4.9)
    assert rig.take(cmd.CancelOrder) == []
    rig.wait(0.1)
    assert rig.take(cmd.CancelOrder) == [cmd.CancelOrder(f"id-{intent.correlation_id}")]


def test_twelve_attempts_a_minute_and_then_a_wait(rig):
    intent = send(rig)
    for _ in range(11):
        rig.refuse(intent, Refusal.VALIDATION)
        rig.wait(1)
        rig.positions({501: -75})
        rig.quote()
        intent = send(rig)
    rig.refuse(intent, Refusal.VALIDATION)
    rig.wait(1)
    rig.positions({501: -75})
    rig.quote()
    assert rig.submitted() == []
    assert rig.engine.next_wake_ns == rig.start + 60 * S


def test_too_many_attempts_halt_the_exit():
    rig = Rig(DeskSettings(attempts_per_leg_per_day=2))
    rig.begin(SHORT, nets={501: -75})
    for _ in range(2):
        rig.refuse(send(rig), Refusal.VALIDATION)
        rig.wait(1)
        rig.positions({501: -75})
        rig.quote()
    assert rig.running().state is ExitState.HALTED
    assert isinstance(rig.journal[-1], ExitHalted)
    rig.wait(5)
    rig.positions({501: -75})
    assert rig.submitted() == []


def test_no_more_than_eight_orders_go_out_in_a_second():
    rig = Rig()
    held = position(1, leg(11, 501, -18_000))
    rig.begin(held, nets={501: -18_000})
    first = rig.submitted()
    assert len(first) == 8
    for intent in first:
        rig.accept(intent)
    assert rig.submitted() == []
    assert rig.desk.wake_ns <= rig.now + S
    rig.wait(0.99)
    rig.positions({501: -18_000})
    assert rig.submitted() == []
    rig.wait(0.02)
    rig.positions({501: -18_000})
    rig.quote()
    assert [intent.quantity for intent in first + rig.submitted()] == [1_800] * 10
    assert rig.running().legs[0].rounds == 1


def test_orders_of_which_the_posting_is_not_known_block_the_next_ones():
    rig = Rig()
    rig.begin(position(1, leg(11, 501, -18_000)), nets={501: -18_000})
    first = rig.submitted()
    rig.wait(2)
    rig.positions({501: -18_000})
    rig.quote()
    assert rig.submitted() == []
    rig.wait(8)
    rig.wait(1)
    rig.positions({501: -18_000})
    rig.quote()
    assert len(rig.submitted()) == 2, "answers that are ten seconds late do not block for ever"
    assert len(first) == 8


def test_an_id_that_the_broker_has_seen_is_never_used_again():
    before, after = Rig(), Rig()
    before.begin(SHORT, nets={501: -75})
    used = send(before)
    after.open(SHORT)
    after.wait()
    after.report(used, OrderStatus.CANCELLED)
    after.positions({501: -75})
    after.exit()
    assert send(after).correlation_id != used.correlation_id


@pytest.mark.parametrize("was_refused", [True, False])
def test_an_order_written_off_that_turns_up_is_counted_and_paged(rig, was_refused):
    first = send(rig)
    if was_refused:
        rig.refuse(first, Refusal.VALIDATION)
    else:
        prove_absent(rig, first, 8.1, {501: -75})
    rig.submitted()
    rig.report(first, OrderStatus.TRADED, 75)
    assert f"late order {first.correlation_id}" in rig.subjects()
    assert rig.running().legs[0].filled == 75


def test_a_late_order_of_a_flat_short_keeps_the_long(rig):
    rig = Rig()
    rig.begin(SPREAD, nets={501: -75, 502: 75})
    first = send(rig)
    prove_absent(rig, first, 8.1, {501: -75, 502: 75})
    second = resend(rig, {501: -75, 502: 75})
    rig.fill(second)
    rig.wait(0.1)
    rig.positions({501: 0, 502: 75})
    rig.submitted()
    rig.tell(ev.OrderAccepted(first.correlation_id, "late", rig.now))
    assert f"late order {first.correlation_id}" in rig.subjects()
    assert not rig.running().shorts_are_flat
    long_one = rig.running().legs[1]
    rig.refuse(long_one.attempts[0].intent, Refusal.VALIDATION)
    rig.wait(1)
    rig.positions({501: 0, 502: 75})
    rig.quote(502)
    assert rig.submitted() == [], "I5: the short's order is live again"


def test_an_order_that_turns_up_after_its_exit_is_cancelled(rig):
    first = send(rig)
    prove_absent(rig, first, 8.1, {501: -75})
    rig.fill(resend(rig, {501: -75}))
    rig.wait(0.1)
    rig.positions({501: 0})
    assert rig.running() is None
    rig.take()
    rig.tell(ev.OrderAccepted(first.correlation_id, "late", rig.now))
    assert cmd.CancelOrder("late") in rig.out
    assert rig.desk.reserved(first.holding, 1) == 75
    rig.report(first, OrderStatus.CANCELLED, order_id="late")
    rig.wait(1)
    assert rig.desk.strays == {}
    assert not rig.desk.is_busy


def test_a_late_fill_after_the_exit_is_paged(rig):
    first = send(rig)
    prove_absent(rig, first, 8.1, {501: -75})
    rig.fill(resend(rig, {501: -75}))
    rig.wait(0.1)
    rig.positions({501: 0})
    rig.report(first, OrderStatus.TRADED, 75)
    assert f"late order {first.correlation_id}" in rig.subjects()
    rig.wait(1)
    rig.positions({501: 75})
    assert rig.subjects().count("position reversed after the exit") == 0, "the fill explains it"


def test_a_fill_that_raced_the_cancel_counts_without_a_page(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.CANCELLED)
    rig.report(first, OrderStatus.CANCELLED, 25)
    assert rig.running().legs[0].filled == 25
    assert rig.subjects() == []


def test_an_order_that_has_ended_is_left_alone(rig):
    first = send(rig)
    rig.refuse(first, Refusal.VALIDATION)
    rig.take()
    chase(rig.desk, rig.running(), rig.running().legs[0].attempts[0], rig.now)
    assert rig.desk.out == []


@pytest.mark.parametrize("how", ["stopping", "alert"])
def test_a_stopping_or_alerting_monitor_cancels_nothing(rig, how):
    first = send(rig)
    rig.accept(first)
    if how == "stopping":
        rig.tell(ev.StopRequested(rig.now))
    else:
        rig.desk.mode = Mode.ALERT
    rig.wait(30)
    assert rig.take(cmd.CancelOrder) == []


def test_orders_of_closed_exits_are_forgotten_after_a_day(rig):
    rig.foreign(Side.SELL, 75, 75, OrderStatus.TRADED)
    rig.foreign(Side.SELL, 75, 0, OrderStatus.PENDING, "f2")
    first = send(rig)
    rig.fill(first)
    rig.wait(4)
    rig.positions({501: 0})
    assert rig.running() is None
    assert first.correlation_id in rig.desk.attempts
    rig.wait(25 * 3_600)
    rig.open(position(2, leg(21, 502, -75)))
    rig.wait()
    rig.positions({502: -75})
    rig.exit(2)
    assert first.correlation_id not in rig.desk.attempts
    assert rig.desk.attempts_on[first.holding] == []
    assert set(rig.desk.holdings.foreign[first.holding]) == {"f2"}
