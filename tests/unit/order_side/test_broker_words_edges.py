"""The broker's words, folded in: what each answer starts, ends and leaves alone."""

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.exit_lifecycle import AttemptState, ExitState
from core.model import commands as cmd
from core.model import events as ev
from core.model.journal_records import AttemptObserved
from core.model.orders import OrderStatus, Refusal, Side
from tests.unit.order_side.rig import MS, SHORT, SPREAD, Rig, S, holding, leg, position
from tests.unit.order_side.test_orders_under_way import attempt_of, only, send

TWICE = position(1, leg(11, 501, -150))
SLICED = position(1, leg(11, 501, -3_600))
"""Two orders: one may hold at most 1,800 units."""


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.begin(SHORT, nets={501: -75})
    made.wait(0.1)
    return made


def begun(*positions, nets, **settings) -> Rig:
    made = Rig(DeskSettings(**settings))
    made.begin(*positions, nets=nets)
    return made


@pytest.mark.parametrize(
    ("answer", "is_counted"),
    [
        (lambda rig, intent: rig.tell(ev.OrderPosted(intent.correlation_id, rig.now, rig.now)), True),
        (lambda rig, intent: rig.tell(ev.OrderAccepted(intent.correlation_id, "77", rig.now)), True),
        (lambda rig, intent: rig.lose(intent), True),
        (lambda rig, intent: rig.refuse(intent, Refusal.VALIDATION), True),
        (lambda rig, intent: rig.refuse(intent, Refusal.RATE_LIMITED), True),
        (lambda rig, intent: rig.refuse(intent, Refusal.NOT_SENT), False),
    ],
    ids=["posted", "accepted", "lost", "refused", "rate limited", "not sent"],
)
def test_an_order_uses_the_budget_of_the_second_in_which_it_went_out(rig, answer, is_counted):
    intent = send(rig)
    rig.wait(0.4)
    answer(rig, intent)
    assert rig.desk.second_budget.taken == ([rig.now] if is_counted else [])
    assert intent.correlation_id not in rig.desk.unposted
    sent = len(rig.running().legs[0].minute_budget.taken)
    assert sent == (1 if is_counted else 0), "an order that never left is none of the twelve of a minute"


def test_the_answer_of_a_post_that_was_seen_going_out_does_not_count_a_second_time(rig):
    intent = send(rig)
    rig.tell(ev.OrderPosted(intent.correlation_id, rig.now, rig.now))
    went = rig.now
    rig.wait(0.4)
    rig.tell(ev.OrderAccepted(intent.correlation_id, "77", rig.now))
    assert rig.desk.second_budget.taken == [went]


def test_every_answer_is_the_end_of_the_post(rig):
    intent = send(rig)
    assert not attempt_of(rig).answered
    for answer in (rig.accept, rig.lose, lambda one: rig.refuse(one, Refusal.VALIDATION)):
        attempt_of(rig).answered = False
        answer(intent)
        assert attempt_of(rig).answered


def test_an_order_is_known_by_its_number_from_the_answer_or_from_the_first_report_on(rig):
    first = send(rig)
    rig.accept(first, "77")
    rig.report(first, OrderStatus.PART_TRADED, 25, order_id="77", correlation_id="")
    assert attempt_of(rig).filled == 25
    assert rig.desk.holdings.foreign == {}
    other = begun(SHORT, nets={501: -75})
    first = send(other)
    other.report(first, OrderStatus.PENDING, order_id="88")
    other.report(first, OrderStatus.PART_TRADED, 25, order_id="88", correlation_id="")
    assert attempt_of(other).filled == 25
    other.tell(ev.OrderAccepted(first.correlation_id, "99", other.now))
    assert attempt_of(other).order_id == "88", "the first number stays"


@pytest.mark.parametrize("how", ["lost", "rate limited"])
def test_why_an_answer_was_no_proof_is_kept_with_what_is_seen_later(rig, how):
    first = send(rig)
    if how == "lost":
        rig.lose(first)
    else:
        rig.refuse(first, Refusal.RATE_LIMITED, "time-out")
    rig.report(first, OrderStatus.PENDING)
    assert isinstance(rig.journal[-1], AttemptObserved)
    assert rig.journal[-1].reason == "time-out"


def test_when_the_post_ends_at_last_the_look_ups_and_the_count_of_negatives_start_anew(rig):
    first = send(rig)
    rig.wait(10)
    for _ in range(20):
        rig.wait(0.5)
        rig.failed("ResolveOrder", first.correlation_id)
    assert attempt_of(rig).polls > 5
    rig.lose(first)
    rig.absent(first)
    rig.take()
    rig.lose(first)
    assert attempt_of(rig).absences_ns == []
    rig.wait(0.2)
    assert len(rig.take(cmd.ResolveOrder)) == 1


def test_after_a_rate_limit_the_leg_waits_a_second_with_its_other_slices_too():
    rig = begun(position(1, leg(11, 501, -5_400)), nets={501: -5_400}, orders_per_second=2)
    first, second = rig.submitted()
    rig.accept(second)
    rig.wait(0.9)
    rig.refuse(first, Refusal.RATE_LIMITED)
    refused = rig.now
    for now, orders in ((refused + S - 1, 0), (refused + S, 1)):
        rig.now = now
        rig.wait()
        rig.quote()
        rig.positions({501: -5_400})
        assert len(rig.submitted()) == orders


def test_one_dead_token_among_two_slices_pauses_for_a_second():
    """The newest order of the leg is not the one that was refused."""
    rig = begun(SLICED, nets={501: -3_600})
    first, _ = rig.submitted()
    rig.refuse(first, Refusal.TOKEN)
    assert rig.running().legs[0].next_send_ns == rig.now + S


def test_one_of_two_slices_that_did_not_leave_pauses_for_a_round():
    rig = begun(SLICED, nets={501: -3_600})
    first, _ = rig.submitted()
    rig.wait(0.2)
    rig.refuse(first, Refusal.NOT_SENT)
    assert rig.running().legs[0].next_send_ns == rig.now + 300 * MS


@pytest.mark.parametrize(
    ("refusals", "pause_ns"),
    [
        ([Refusal.NOT_SENT], 300 * MS),
        ([Refusal.VALIDATION, Refusal.NOT_SENT], 300 * MS),
        ([Refusal.VALIDATION, Refusal.NOT_SENT, Refusal.NOT_SENT], 600 * MS),
        ([Refusal.NOT_SENT, Refusal.VALIDATION, Refusal.NOT_SENT], 300 * MS),
        ([Refusal.TOKEN, Refusal.VALIDATION, Refusal.TOKEN], S),
        ([Refusal.VALIDATION, Refusal.TOKEN, Refusal.TOKEN], 2 * S),
        ([Refusal.NOT_SENT, Refusal.TOKEN], S),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_pause_grows_only_with_refusals_of_its_kind_in_a_row(rig, refusals, pause_ns):
    intent = send(rig)
    for refusal in refusals[:-1]:
        rig.refuse(intent, refusal)
        rig.now = rig.running().legs[0].next_send_ns
        rig.wait()
        rig.quote()
        rig.positions({501: -75})
        intent = send(rig)
    rig.refuse(intent, refusals[-1])
    assert rig.running().legs[0].next_send_ns == rig.now + pause_ns


def test_a_refused_order_that_the_broker_shows_resting_is_real(rig):
    first = send(rig)
    rig.refuse(first, Refusal.VALIDATION)
    rig.report(first, OrderStatus.PENDING)
    assert attempt_of(rig).state is AttemptState.WORKING
    assert f"late order {first.correlation_id}" in rig.subjects()


def test_a_report_that_says_nothing_new_is_not_written_down(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.PART_TRADED, 25)
    written = len(rig.journal)
    rig.report(first, OrderStatus.PART_TRADED, 25)
    rig.report(first, OrderStatus.PENDING)
    assert len(rig.journal) == written


def test_positions_asked_for_before_a_fill_or_an_end_are_old(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.PENDING)
    assert rig.desk.last_ended_ns(holding()) == 0, "a resting order has changed nothing"
    rig.wait(0.1)
    rig.report(first, OrderStatus.PART_TRADED, 25)
    assert rig.desk.last_ended_ns(holding()) == rig.now
    rig.wait(0.1)
    rig.report(first, OrderStatus.CANCELLED, 25)
    assert rig.desk.last_ended_ns(holding()) == rig.now


def test_the_subject_of_a_rejection_is_short_and_its_text_is_whole(rig):
    first = send(rig)
    rig.report(first, OrderStatus.REJECTED, reason="RMS:" + "x" * 96)
    alert = only(rig.alerts)
    assert alert.subject == "rejected: RMS:" + "x" * 56
    assert "x" * 96 in alert.text


def test_an_order_that_fills_beyond_its_quantity_halts_the_exit_and_is_no_late_order(rig):
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.TRADED, 75)
    rig.report(first, OrderStatus.TRADED, 100)
    assert rig.running().state is ExitState.HALTED
    assert rig.subjects() == ["exit halted"]


def test_an_order_book_that_was_read_is_read_again_after_two_seconds():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    resting = rig.foreign(Side.BUY, 75, 0, OrderStatus.PENDING)
    rig.positions({501: -75})
    rig.exit()
    asked = rig.now
    assert len(rig.take(cmd.ReadOrderBook)) == 1
    rig.tell(ev.OrderBookRead((resting,), rig.now, rig.now))
    for now, reads in ((asked + 2 * S - 1, 0), (asked + 2 * S, 1)):
        rig.now = now
        rig.wait()
        rig.positions({501: -75})
        assert len(rig.take(cmd.ReadOrderBook)) == reads


def closed(rig, strategy_id, security_id, nets):
    rig.open(position(strategy_id, leg(strategy_id * 10, security_id, -75)))
    rig.wait()
    rig.positions(nets)
    rig.exit(strategy_id)
    rig.fill(send(rig))
    rig.wait(0.1)
    rig.positions({**nets, security_id: 0})
    assert rig.running(strategy_id) is None


@pytest.mark.parametrize(("after_ns", "is_paged"), [(60 * S, True), (60 * S + 1, False)])
def test_a_finished_exit_is_watched_for_a_position_turned_round_for_a_minute(after_ns, is_paged):
    rig = Rig()
    closed(rig, 1, 501, {501: -75})
    rig.now += after_ns
    rig.positions({501: 75})
    assert ("position reversed after the exit" in rig.subjects()) is is_paged


def test_an_exit_that_was_over_long_ago_does_not_hide_the_one_after_it():
    rig = Rig()
    closed(rig, 1, 501, {501: -75, 502: -75})
    rig.wait(50)
    closed(rig, 2, 502, {501: 0, 502: -75})
    rig.wait(20)
    rig.positions({501: 0, 502: 75})
    assert rig.subjects() == ["position reversed after the exit"]


def test_a_net_beyond_zero_means_nothing_while_an_order_of_ours_may_still_have_filled():
    rig = begun(TWICE, nets={501: -150})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.PART_TRADED, 25)
    rig.positions({501: 75})
    assert rig.running().state is ExitState.EXECUTING


@pytest.mark.parametrize(("before_ns", "state"), [(1, ExitState.EXECUTING), (0, ExitState.HALTED)])
def test_a_net_beyond_zero_that_was_asked_for_before_the_fill_means_nothing(before_ns, state):
    rig = begun(SPREAD, nets={501: -75, 502: 75})
    rig.wait(0.1)
    rig.fill(send(rig))
    rig.positions({501: 75, 502: 75}, requested=rig.now - before_ns)
    assert rig.running().state is state


def test_a_net_beyond_zero_after_a_restart_is_not_held_against_fills_whose_start_is_not_known():
    rig = begun(SPREAD, nets={501: -75, 502: 75})
    rig.fill(send(rig))
    after = rig.reborn()
    after.wait(1)
    after.positions({501: 75, 502: 75})
    assert after.running().state is ExitState.EXECUTING


def test_a_trade_book_that_is_older_than_the_close_is_read_again_at_once():
    rig = begun(SHORT, nets={501: 0})
    rig.wait(1)
    rig.positions({501: 0})
    assert len(rig.take(cmd.ReadTradeBook)) == 1
    rig.tell(ev.TradeBookRead((), rig.start - 1, rig.now))
    assert len(rig.take(cmd.ReadTradeBook)) == 1
    assert rig.running() is not None


def test_failures_of_the_trade_book_are_forgotten_with_a_good_read():
    rig = begun(SHORT, nets={501: 0})
    rig.wait(1)
    rig.positions({501: 0})
    rig.failed("ReadTradeBook")
    rig.failed("ReadTradeBook")
    rig.tell(ev.TradeBookRead((), rig.start - 1, rig.now))
    rig.failed("ReadTradeBook")
    rig.failed("ReadTradeBook")
    assert rig.running() is not None, "three in a row give it up"
    rig.failed("ReadTradeBook")
    assert rig.running() is None
