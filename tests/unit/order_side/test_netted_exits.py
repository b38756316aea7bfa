"""Two strategies hold opposite units of one contract: the account's net says nothing about either of them."""

import pytest

from core.exits.exit_lifecycle import LegState
from core.model import commands as cmd
from core.model import events as ev
from core.model.commands import Severity
from core.model.orders import Side
from tests.unit.order_side.rig import Rig, leg, position

LONG, SHORT = position(1, leg(11, 501, 150)), position(2, leg(21, 501, -150))
SMALLER = position(2, leg(21, 501, -75))


def begun(net: int, *held) -> Rig:
    """Everything is open, and an exit of the first strategy begins."""
    rig = Rig()
    rig.open(*held)
    rig.wait()
    rig.positions({501: net})
    rig.exit(1)
    return rig


def read(rig: Rig, net: int, seconds: int = 30) -> None:
    for _ in range(seconds):
        rig.wait(1)
        rig.quote()
        rig.positions({501: net})
        rig.failed("ReadTradeBook")


@pytest.mark.parametrize(
    ("net", "other"),
    [(0, SHORT), (-150, position(2, leg(21, 501, -300)))],
    ids=["nothing is left of both", "the other side is left"],
)
def test_an_exit_whose_units_another_strategy_nets_orders_nothing_closes_no_row_and_pages(net, other):
    rig = begun(net, LONG, other)
    read(rig, net)
    assert rig.take(cmd.SubmitOrder) == []
    assert rig.take(cmd.CloseRows) == []
    assert rig.running().legs[0].state is LegState.BLOCKED
    (page,) = (alert for alert in rig.alerts if alert.severity is Severity.PAGE)
    assert page.subject == "OPT-501 not closable"
    assert f"150 units to SELL, but the broker's net is {net}" in page.text
    assert "S2 (2) holds the opposite" in page.text
    assert 2 in rig.engine.guards, "the other one stays guarded"


def test_both_of_them_wait_when_both_are_to_be_closed():
    rig = begun(0, LONG, SHORT)
    rig.exit(2)
    read(rig, 0)
    assert rig.take((cmd.SubmitOrder, cmd.CloseRows)) == []
    assert {leg.state for number in (1, 2) for leg in rig.running(number).legs} == {LegState.BLOCKED}
    assert rig.subjects() == ["OPT-501 not closable"] * 2


def test_only_what_the_net_holds_is_ordered_and_the_rest_waits():
    rig = begun(75, LONG, SMALLER)
    rig.quote()
    (first,) = rig.submitted()
    assert (first.side, first.quantity) == (Side.SELL, 75)
    rig.fill(first)
    read(rig, 0)
    assert rig.take((cmd.SubmitOrder, cmd.CloseRows)) == []
    assert rig.running().legs[0].state is LegState.BLOCKED


def test_it_goes_on_when_the_other_one_is_closed_by_hand():
    rig = begun(0, LONG, SHORT)
    read(rig, 0)
    rig.take()
    rig.positions({501: 150})
    rig.quote()
    (order,) = rig.submitted()
    assert (order.side, order.quantity) == (Side.SELL, 150)


def test_it_is_over_when_the_rows_of_the_other_one_are_closed_and_nothing_is_left():
    rig = begun(0, LONG, SHORT)
    read(rig, 0)
    rig.tell(ev.PositionGone(2, rig.now))
    read(rig, 0)
    assert rig.running() is None
    assert rig.take(cmd.SubmitOrder) == []


def test_a_close_by_others_is_given_up_when_another_strategy_opens_the_opposite_meanwhile():
    rig = Rig()
    rig.open(LONG)
    rig.wait()
    while rig.running() is None:
        rig.positions({501: 0})
        rig.wait(1)
    rig.open(SHORT)
    read(rig, 0, 1)
    assert rig.running() is None
    assert rig.take(cmd.CloseRows) == []
    assert set(rig.engine.guards) == {1, 2}


def test_units_of_the_same_side_hide_nothing():
    rig = begun(0, LONG, position(2, leg(21, 501, 150)))
    read(rig, 0)
    assert rig.running() is None


def test_it_stays_blocked_through_a_restart():
    rig = begun(0, LONG, SHORT)
    read(rig, 0)
    after = rig.reborn()
    after.open(LONG, SHORT)
    read(after, 0)
    assert after.take((cmd.SubmitOrder, cmd.CloseRows)) == []
    assert after.running().legs[0].state is LegState.BLOCKED
    assert after.subjects() == ["OPT-501 not closable"]
    assert 2 in after.engine.guards
