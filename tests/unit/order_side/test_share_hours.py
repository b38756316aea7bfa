"""Shares have a shorter session than what is derived from them: an order for them is asked of their own."""

from dataclasses import replace

import pytest

from core.model import events as ev
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote
from core.model.orders import Side
from core.model.position import BrokerPosition, PositionReport, Product
from tests.unit.order_side.rig import SHORT, Rig, leg, position


def shares(segment: Segment):
    held = leg(11, 700, 75, Product.CNC)
    key = InstrumentKey(segment, 700)
    return position(1, replace(held, instrument=replace(held.instrument, key=key)))


def look(rig: Rig, held) -> list:
    """A quote, and the broker's word that all of it is there."""
    (one,) = held.legs
    rig.tell(ev.QuoteArrived(Quote(one.instrument.key, 10_000, 9_995, 10_005, 75, 75, None, rig.now)))
    rig.wait(0.1)
    row = BrokerPosition(one.holding, one.units, 0, 0)
    rig.tell(ev.PositionsRead(PositionReport((row,), rig.now, rig.now), rig.now))
    return rig.submitted()


@pytest.mark.parametrize("segment", [Segment.NSE_EQ, Segment.BSE_EQ])
@pytest.mark.parametrize("known", [False, None], ids=["closed", "perhaps in the closing auction"])
def test_no_order_for_shares_goes_out_while_only_derivatives_are_known_to_trade(segment, known):
    held = shares(segment)
    rig = Rig(cash_open=known)
    rig.open(held)
    rig.wait()
    look(rig, held)
    rig.exit()
    assert [order for _ in range(5) for order in look(rig, held)] == []
    (alert,) = rig.alerts
    assert alert.subject == "exit waits for the market"
    assert alert.text.endswith("75 units of OPT-700 are open and the market of shares is not known to be open")
    rig.cash_open = True
    order = next(each for _ in range(3) for each in look(rig, held))
    assert (order.side, order.quantity) == (Side.SELL, 75)


def test_derivatives_go_on_when_shares_have_stopped():
    rig = Rig(cash_open=False)
    rig.begin(SHORT, nets={501: -75})
    rig.wait(0.1)
    assert len(rig.submitted()) == 1
