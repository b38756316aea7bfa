"""Who sends first, who sends nothing, and how often the broker is asked for positions and orders."""

from itertools import pairwise

import pytest

from core.exits.exit_desk import advance
from core.exits.exit_lifecycle import ExitState, LegState
from core.exits.own_signals import operator_signal
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, Rule, Urgency
from core.model.orders import OrderStatus, Refusal, Side
from core.model.signals import Signal
from tests.unit.order_side.rig import MS, SHORT, SPREAD, Rig, S, leg, position
from tests.unit.order_side.test_orders_under_way import only, send

ONE_UNIT = position(2, leg(21, 503, -1, lot=1))
WRONG_SIGN = {501: 75}


def at(rig: Rig, now: int) -> None:
    rig.now = now
    rig.wait()


def signal(rig, strategy_id, pnl, urgency=Urgency.HIGH):
    return Signal(strategy_id, Rule.STOP_LOSS, Action.CLOSE_POSITION, urgency, 1, 1, pnl, "stop", rig.now)


@pytest.mark.parametrize(
    ("signals", "first_to_last"),
    [
        ({1: (-1, Urgency.HIGH), 2: (-9, Urgency.HIGH), 3: (-5, Urgency.HIGH)}, [502, 503, 501]),
        ({1: (1, Urgency.HIGH), 2: (None, Urgency.HIGH), 3: (-1, Urgency.HIGH)}, [503, 502, 501]),
        ({1: (-9, Urgency.NORMAL), 2: (5, Urgency.HIGH), 3: (-10, Urgency.NORMAL)}, [502, 503, 501]),
    ],
    ids=["the largest loss", "an unknown P&L is none", "pressing before the rest"],
)
def test_the_most_pressing_exit_orders_first(signals, first_to_last):
    rig = Rig()
    held = {i: position(i, leg(i * 10, 500 + i, -75)) for i in signals}
    rig.open(*held.values())
    rig.wait()
    for strategy_id, (pnl, urgency) in signals.items():
        rig.engine._fire(signal(rig, strategy_id, pnl, urgency), held[strategy_id], rig.now)
    rig.positions({501: -75, 502: -75, 503: -75})
    assert [intent.holding.instrument.security_id for intent in rig.submitted()] == first_to_last


def test_every_short_is_bought_back_before_any_long_is_sold():
    rig = Rig()
    rig.begin(SPREAD, nets={501: -75, 502: 75, 503: -1})
    rig.open(ONE_UNIT)
    rig.quote(503, 1_000)
    rig.fill(send(rig))
    rig.wait(0.6)
    rig.exit(2)
    assert rig.submitted() == []
    rig.quote(502)
    rig.positions({501: 0, 502: 75, 503: -1})
    assert [(i.side, i.quantity) for i in rig.submitted()] == [(Side.BUY, 1), (Side.SELL, 75)]


def test_a_halted_exit_orders_nothing_more():
    """I9: the short was filled beyond its quantity, and the long stays for a person to look at."""
    rig = Rig()
    rig.begin(SPREAD, nets={501: -75, 502: 75})
    first = send(rig)
    rig.accept(first)
    rig.report(first, OrderStatus.TRADED, 76)
    assert rig.running().halted_reason == "OPT-501: filled 76 of 75"
    for _ in range(8):
        rig.wait(1)
        rig.quote(502)
        rig.positions({501: 1, 502: 75})
    assert rig.running().legs[1].state is LegState.OPEN
    assert rig.submitted() == []


def test_a_price_that_was_waited_for_is_waited_for_no_longer_once_the_order_is_out():
    rig = Rig()
    rig.open(SHORT)
    rig.desk.feed_live = False
    rig.wait(60)
    rig.positions({501: -75})
    rig.exit()
    assert rig.desk.awaited_keys
    rig.quote()
    send(rig)
    assert rig.desk.awaited_keys == set()


def test_what_somebody_closed_during_a_pause_stays_known():
    """Less at the broker, seen while the leg may not order, and taken back by a report that lags."""
    rig = Rig()
    rig.begin(position(1, leg(11, 501, -225)), nets={501: -225})
    rig.refuse(send(rig), Refusal.VALIDATION)
    rig.wait(0.2)
    rig.positions({501: -75}, requested=rig.now - 50 * MS)
    rig.wait(0.8)
    rig.quote()
    rig.positions({501: -225})
    assert send(rig).quantity == 75


def reads(rig: Rig, seconds: float, nets: dict[int, int]) -> list[int]:
    """Milliseconds between the position reads of a stretch of time; each is answered at once."""
    asked = []
    until = rig.now + round(seconds * S)
    while rig.now < until:
        at(rig, rig.now + 10 * MS)
        if rig.take(cmd.ReadPositions):
            asked.append(rig.now)
            rig.positions(nets)
    return [(later - earlier) // MS for earlier, later in pairwise(asked)]


def test_positions_are_read_fast_for_five_seconds_and_then_every_second():
    rig = Rig()
    rig.begin(SHORT, nets=WRONG_SIGN)
    rig.take()
    gaps = reads(rig, 5, WRONG_SIGN)
    assert set(gaps) == {150}
    assert len(gaps) > 30
    assert set(reads(rig, 5, WRONG_SIGN)[1:]) == {1_000}


def test_a_new_exit_has_positions_read_fast_again_for_all():
    rig = Rig()
    rig.begin(SHORT, nets=WRONG_SIGN)
    reads(rig, 6, WRONG_SIGN)
    other = position(2, leg(21, 502, -75))
    rig.open(other)
    rig.exit(2)
    assert set(reads(rig, 2, {501: 75, 502: 75})) == {150}


def test_an_order_that_ends_has_positions_read_fast_again():
    rig = Rig()
    rig.begin(position(1, leg(11, 501, -150)), nets={501: -150})
    first = send(rig)
    rig.accept(first)
    at(rig, rig.now + 10 * S)
    rig.report(first, OrderStatus.CANCELLED)
    rig.positions(WRONG_SIGN)
    assert rig.running().legs[0].state is LegState.BLOCKED
    assert set(reads(rig, 2, WRONG_SIGN)[1:]) == {150}


def test_the_engine_is_woken_for_the_next_read_and_for_one_that_is_not_answered():
    rig = Rig()
    rig.begin(SHORT, nets=WRONG_SIGN)
    rig.take()
    began = rig.now
    assert rig.desk.wake_ns == began + 150 * MS
    at(rig, began + 150 * MS - 1)
    assert rig.take(cmd.ReadPositions) == []
    at(rig, began + 150 * MS)
    assert len(rig.take(cmd.ReadPositions)) == 1
    assert rig.desk.wake_ns == rig.now + 15 * S
    at(rig, rig.now + 1)
    assert rig.desk.wake_ns == began + 150 * MS + 15 * S


@pytest.mark.parametrize(("after_ns", "count"), [(5 * S, 1), (5 * S + 1, 0)])
def test_five_seconds_after_the_last_change_reads_become_slow(after_ns, count):
    rig = Rig()
    rig.begin(SHORT, nets=WRONG_SIGN)
    began = rig.now
    at(rig, began + 4_850 * MS)
    rig.positions(WRONG_SIGN)
    rig.take()
    at(rig, began + after_ns)
    assert len(rig.take(cmd.ReadPositions)) == count


def test_the_engine_is_woken_for_the_next_order_book():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    resting = rig.foreign(Side.BUY, 75, 0, OrderStatus.PENDING)
    rig.positions({501: -75})
    rig.exit()
    asked = rig.now
    assert len(rig.take(cmd.ReadOrderBook)) == 1
    assert rig.desk.wake_ns == asked + 15 * S
    rig.positions({501: -75})
    assert rig.desk.wake_ns == asked + 15 * S
    rig.tell(ev.OrderBookRead((resting,), rig.now, rig.now))
    assert rig.desk.wake_ns == asked + 2 * S


def test_one_look_is_enough_to_be_woken_for_an_order_book_that_is_not_answered():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.foreign(Side.BUY, 75, 0, OrderStatus.PENDING)
    rig.positions({501: -75})
    rig.exit()
    rig.desk.order_book.asked_ns = None
    advance(rig.desk, rig.now)
    assert rig.desk.wake_ns == rig.now + 15 * S


@pytest.mark.parametrize(("after_ns", "is_known"), [(24 * 3_600 * S, True), (24 * 3_600 * S + 1, False)])
def test_an_order_of_a_finished_exit_is_known_for_a_day(after_ns, is_known):
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    intent = send(rig)
    rig.fill(intent)
    rig.wait(0.1)
    rig.positions({501: 0})
    assert rig.running() is None
    advance(rig.desk, rig.now + after_ns)
    assert (intent.correlation_id in rig.desk.attempts) is is_known


def test_an_operators_exit_of_a_position_whose_pnl_is_not_known_is_carried_out():
    rig = Rig()
    rig.open(SHORT)
    rig.wait()
    rig.positions({501: -75})
    rig.engine._fire(operator_signal(1, None, rig.now), SHORT, rig.now)
    rig.wait()
    assert only(rig.submitted()).quantity == 75
    assert rig.running().state is ExitState.EXECUTING
