"""What the order side knows: before it has heard anything, who is reserved, what is forgotten and when it wants to be woken."""

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.desk_state import BookRead, DeskState
from core.exits.own_signals import outside_signal
from core.model.orders import OrderStatus
from core.model.signals import Mode
from tests.unit.order_side.rig import SHORT, Rig, S, holding, leg, position
from tests.unit.order_side.test_orders_under_way import send


@pytest.fixture
def desk() -> DeskState:
    return DeskState(DeskSettings(), Mode.LIVE, lambda key: None, lambda key: False)


def test_a_desk_that_has_heard_nothing_takes_nothing_for_granted(desk):
    assert desk.session_open is None
    assert not desk.feed_live
    assert not desk.stopping
    assert not desk.positions_wanted
    assert not desk.order_book_wanted
    assert desk.utc_ns == 0
    assert desk.last_ended_ns(holding()) == 0
    assert not desk.is_busy
    assert desk.holdings.lag_ns == 3 * S
    assert not BookRead().in_flight


def test_the_earliest_wish_to_be_woken_counts(desk):
    for wish, earliest in ((5, 5), (3, 3), (4, 3)):
        desk.wake_at(wish)
        assert desk.wake_ns == earliest


def test_the_newest_end_of_an_order_counts_whatever_the_order_of_the_news(desk):
    for at_ns, newest in ((5, 5), (3, 5), (7, 7)):
        desk.note_end(holding(), at_ns)
        assert desk.last_ended_ns(holding()) == newest


def test_an_order_is_reserved_on_its_own_side_alone():
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    intent = send(rig)
    assert rig.desk.reserved(holding(), 1) == 75
    assert rig.desk.reserved(holding(), -1) == 0
    assert intent.correlation_id in rig.desk.used_correlation_ids


def test_orders_of_closed_exits_are_forgotten_by_age_one_by_one():
    rig = Rig()
    ids, ended = [], []
    for strategy_id, security_id in ((1, 501), (2, 502), (3, 503)):
        rig.open(position(strategy_id, leg(strategy_id * 10, security_id, -75)))
        rig.wait()
        rig.positions({501: 0, 502: 0, 503: 0, security_id: -75})
        rig.exit(strategy_id)
        intent = send(rig)
        rig.accept(intent, f"n{strategy_id}")
        rig.report(intent, OrderStatus.TRADED, 75, order_id=f"n{strategy_id}")
        rig.wait(0.1)
        rig.positions({501: 0, 502: 0, 503: 0})
        ids.append(intent.correlation_id)
        ended.append(rig.now)
        rig.wait(10)
    desk = rig.desk
    desk.drop_old(ended[0])
    assert set(ids) <= desk.attempts.keys(), "not older than that"
    desk.drop_old(ended[0] + 1)
    assert desk.attempts.keys() & set(ids) == set(ids[1:])
    assert desk.used_correlation_ids == set(ids[1:])
    assert desk.correlation_by_order == {"n2": ids[1], "n3": ids[2]}
    desk.drop_old(ended[2])
    assert set(desk.attempts) == {ids[2]}


def test_an_exit_that_is_given_up_leaves_no_wake_up_behind():
    """Or the monitor would be woken for ever by a time that has passed."""
    held = position(1, leg(11, 501, -75), leg(12, 502, -75))
    rig = Rig()
    rig.open(held)
    rig.wait()
    rig.positions({501: -75, 502: 0})
    rig.engine._fire(outside_signal(1, rig.now), held, rig.now)
    rig.engine._advance(rig.now)
    assert rig.running() is None, "one leg is there after all"
    assert rig.desk.wake_ns is not None, "the other one wanted another look"
    rig.wait(20)
    wake_ns = rig.engine.next_wake_ns
    assert wake_ns is None or wake_ns > rig.now
