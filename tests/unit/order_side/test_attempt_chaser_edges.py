"""When an order is looked up, polled, cancelled, paged and written off: to the nanosecond, and what wakes the engine for it."""

import pytest

from core.exits.attempt_chaser import chase
from core.exits.exit_lifecycle import LIVE, AttemptState
from core.model import commands as cmd
from core.model import events as ev
from core.model.orders import OrderStatus, Refusal
from tests.unit.order_side.rig import MS, SHORT, Rig, S
from tests.unit.order_side.test_orders_under_way import attempt_of, send


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.begin(SHORT, nets={501: -75})
    return made


def at(rig: Rig, now: int) -> None:
    rig.now = now
    rig.wait()


def asked_at(rig: Rig, kind: type, since: int, due_ms: list[int], answer) -> None:
    """Each question comes at its time and not a nanosecond before; `answer` is told at once."""
    for ms in due_ms:
        at(rig, since + ms * MS - 1)
        assert rig.take(kind) == [], f"{ms} ms"
        at(rig, since + ms * MS)
        assert len(rig.take(kind)) == 1, f"{ms} ms"
        answer()


def test_an_order_that_our_own_sender_says_nothing_of_is_unknown_after_ten_seconds(rig):
    send(rig)
    since = rig.now
    at(rig, since)
    assert rig.desk.wake_ns == since + 10 * S
    at(rig, since + 10 * S - 1)
    assert attempt_of(rig).state is AttemptState.PREPARED
    assert rig.desk.wake_ns == since + 10 * S
    at(rig, since + 10 * S)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    assert attempt_of(rig).reason == "no answer from our own sender"
    assert rig.desk.wake_ns == rig.now + 200 * MS
    asked_at(rig, cmd.ResolveOrder, rig.now, [200], lambda: None)


@pytest.mark.parametrize("how", ["failed", "absent"])
def test_an_unknown_order_is_looked_up_at_fixed_times(rig, how):
    first = send(rig)
    rig.lose(first)

    def answer():
        if how == "failed":
            rig.failed("ResolveOrder", first.correlation_id)
        else:
            rig.absent(first, unexplained=True)

    asked_at(rig, cmd.ResolveOrder, rig.now, [200, 500, 1_000, 2_000, 3_000, 5_000, 7_000, 9_000, 11_000], answer)


def test_a_look_up_that_came_late_is_followed_by_the_next_after_a_pause(rig):
    first = send(rig)
    rig.lose(first)
    late = rig.now + 1_100 * MS
    at(rig, late)
    assert len(rig.take(cmd.ResolveOrder)) == 1
    rig.failed("ResolveOrder", first.correlation_id)
    asked_at(rig, cmd.ResolveOrder, late, [200], lambda: None)


def test_an_order_that_cannot_be_resolved_for_thirty_seconds_is_paged(rig):
    first = send(rig)
    rig.wait(5)
    rig.lose(first)
    lost = rig.now
    at(rig, lost + 30 * S - 1)
    assert rig.subjects() == []
    at(rig, lost + 30 * S)
    assert rig.subjects() == [f"order {first.correlation_id} unresolved"]


def test_a_working_order_is_polled_at_fixed_times_by_its_order_id(rig):
    first = send(rig)
    rig.accept(first, "77")
    since = rig.now
    assert rig.desk.wake_ns == since + 50 * MS
    at(rig, since + 50 * MS)
    assert rig.take(cmd.ReadOrder) == [cmd.ReadOrder("77", first.correlation_id)]

    def answer():
        rig.report(first, OrderStatus.PENDING, order_id="77")

    answer()
    asked_at(rig, cmd.ReadOrder, since, [150, 400, 800, 1_800, 2_800, 3_800], answer)


def test_a_poll_that_came_late_is_followed_by_the_next_after_a_pause(rig):
    first = send(rig)
    rig.accept(first)
    late = rig.now + S
    at(rig, late)
    assert len(rig.take(cmd.ReadOrder)) == 1
    rig.failed("ReadOrder", first.correlation_id)
    asked_at(rig, cmd.ReadOrder, late, [50], lambda: None)


def test_a_poll_that_is_never_answered_is_repeated_after_fifteen_seconds(rig):
    first = send(rig)
    rig.accept(first)
    rig.tell(ev.StopRequested(rig.now))  # Nothing is cancelled then, and nothing else wakes the engine.
    polled = rig.now + 50 * MS
    assert rig.desk.wake_ns == polled
    at(rig, polled)
    assert len(rig.take(cmd.ReadOrder)) == 1
    assert rig.desk.wake_ns == polled + 15 * S
    at(rig, polled + S)
    assert rig.desk.wake_ns == polled + 15 * S
    asked_at(rig, cmd.ReadOrder, polled, [15_000], lambda: None)


def test_an_ioc_that_rests_is_cancelled_after_two_seconds_and_every_two_again(rig):
    first = send(rig)
    rig.accept(first)
    since = rig.now
    at(rig, since + 50 * MS)
    assert rig.desk.wake_ns == since + 2 * S, "the poll is under way, the cancel is next"
    asked_at(rig, cmd.CancelOrder, since, [2_000, 4_000, 6_000], lambda: None)


def test_an_order_whose_cancel_does_not_take_effect_is_paged_after_thirty_seconds(rig):
    first = send(rig)
    rig.accept(first)
    since = rig.now
    at(rig, since + 30 * S - 1)
    assert rig.subjects() == []
    at(rig, since + 30 * S)
    assert rig.subjects() == [f"order id-{first.correlation_id} does not end"]


def test_a_negative_asked_for_as_the_post_ended_counts(rig):
    first = send(rig)
    rig.wait(1)
    rig.lose(first)
    rig.absent(first, requested=rig.now - 1)
    assert attempt_of(rig).absences_ns == []
    rig.absent(first, requested=rig.now)
    assert attempt_of(rig).absences_ns == [rig.now]


def test_the_quarantine_ends_after_eight_seconds(rig):
    first = send(rig)
    rig.lose(first)
    lost = rig.now
    rig.positions({501: -75})
    rig.absent(first)
    rig.absent(first)
    at(rig, lost + 8 * S)
    rig.positions({501: -75})
    rig.absent(first, requested=lost + 8 * S - 1)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    rig.absent(first, requested=lost + 8 * S)
    assert rig.running().legs[0].attempts[0].state is AttemptState.ABSENT


def test_a_report_asked_for_with_the_first_negative_shows_that_the_net_is_unmoved(rig):
    first = send(rig)
    rig.lose(first)
    lost = rig.now
    for _ in range(3):
        rig.absent(first, requested=lost + S)
    at(rig, lost + 9 * S)
    rig.positions({501: -75}, requested=lost + S - 1)
    rig.absent(first)
    assert attempt_of(rig).state is AttemptState.UNKNOWN, "the order may have taken effect after that report"
    rig.positions({501: -75}, requested=lost + S)
    rig.absent(first)
    assert rig.running().legs[0].attempts[0].state is AttemptState.ABSENT


def test_the_first_negative_has_the_positions_read(rig):
    """Found by mutation: the wish was noted and forgotten, and the proof waited for the next look every five seconds."""
    first = send(rig)
    rig.lose(first)
    rig.wait(0.2)
    rig.take()
    rig.absent(first)
    assert len(rig.take(cmd.ReadPositions)) == 1
    rig.positions({501: -75})
    rig.wait(1)
    rig.absent(first)
    assert rig.take(cmd.ReadPositions) == [], "one report after the first negative is enough"


@pytest.mark.parametrize("state", sorted(set(AttemptState) - LIVE))
def test_an_order_that_has_ended_is_left_alone(rig, state):
    send(rig)
    rig.take()
    attempt_of(rig).state = state
    chase(rig.desk, rig.running(), attempt_of(rig), rig.now + 60 * S)
    assert rig.desk.out == []


def test_the_rate_limits_one_negative_must_come_after_the_pause(rig):
    first = send(rig)
    rig.refuse(first, Refusal.RATE_LIMITED)
    refused = rig.now
    rig.wait(2)
    rig.absent(first, requested=refused + S - 1)
    assert attempt_of(rig).state is AttemptState.UNKNOWN
    rig.absent(first, requested=refused + S)
    assert rig.running().legs[0].attempts[0].state is AttemptState.ABSENT
