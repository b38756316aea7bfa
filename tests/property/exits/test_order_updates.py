"""B36: order updates repeated and in any order leave the engine where each of them once and in order does.

The updates are the local exchange's own, taken from its socket; they go through the real parser into the real engine.
"""

import asyncio
import json
from dataclasses import dataclass

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dhan.order_updates import parse_order_update
from core.model import commands as cmd
from core.model import events as ev
from core.model.instrument import InstrumentKey, Segment
from core.model.orders import Side
from core.model.position import HoldingKey, Product
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from tests.paper.clients import Rest, eventually
from tests.unit.order_side.rig import Rig, leg, position

CALL = 40_051
UNITS = 130
OURS, THEIRS = "OURS", "THEIRS"
HOLDING = HoldingKey(InstrumentKey(Segment.NSE_FNO, CALL), Product.MARGIN)
POSITION = position(1, leg(11, CALL, -UNITS, lot=65))


class Floor:
    """One exchange with one listener; what the listener heard of each scenario."""

    def __init__(self, exchange, session, socket):
        self.exchange, self.rest, self.socket = exchange, Rest(exchange, session), socket

    def quote(self, ask, size):
        self.exchange.market.set_quote("NSE_FNO", CALL, 10_000, 9_995, ask, ask_size=size)

    async def place(self, **fields):
        fields = {"securityId": str(CALL), "price": 101.0, "quantity": UNITS, "correlationId": OURS, **fields}
        return (await self.rest.place_settled(**fields))["orderId"]

    async def cancel(self, order_id):
        status, _ = await self.rest.call("DELETE", f"/orders/{order_id}")
        assert status in {200, 202}

    async def heard(self, last):
        frames = []
        while not frames or json.loads(frames[-1])["Data"]["status"] != last:
            async with asyncio.timeout(20):
                frames.append((await self.socket.receive()).data)
        return frames


async def in_two_fills(floor):
    floor.quote(10_005, 65)
    await floor.place()
    floor.quote(10_015, 500)
    return await floor.heard("Traded")


async def at_once(floor):
    floor.quote(10_005, 500)
    await floor.place()
    return await floor.heard("Traded")


async def cancelled_in_part(floor):
    floor.quote(10_005, 65)
    order = await floor.place()
    await floor.cancel(order)
    return await floor.heard("Cancelled")


async def rested(floor):
    floor.quote(10_500, 65)
    order = await floor.place(price=99.0)
    await floor.cancel(order)
    return await floor.heard("Cancelled")


async def refused(floor):
    floor.exchange.add_fault({"kind": "reject", "message": "RMS: margin", "where": {"times": 1}})
    await floor.place()
    return await floor.heard("Rejected")


async def of_others(floor):
    """Somebody else's orders on the same contract: one fills in part and is cancelled, one fills."""
    floor.quote(10_005, 65)
    order = await floor.place(correlationId=THEIRS)
    await floor.cancel(order)
    frames = await floor.heard("Cancelled")
    floor.quote(10_005, 500)
    await floor.place(correlationId=THEIRS + "2", quantity=65)
    return frames + await floor.heard("Traded")


OWN = (in_two_fills, at_once, cancelled_in_part, rested, refused)


async def record():
    found = {}
    async with LocalExchange(ExchangeOptions(seed=7, model_step_s=0, transit_s=0.0)) as exchange:
        exchange.seed_position("NSE_FNO", CALL, -1_300, 10_000)
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(exchange.order_update_url)
            login = {"MsgCode": 42, "ClientId": exchange.client_id, "Token": exchange.access_token}
            await socket.send_json({"LoginReq": login, "UserType": "SELF"})
            await eventually(lambda: exchange.venue.log.of("order_updates_connected"))
            for scenario in (*OWN, of_others):
                found[scenario.__name__] = await scenario(Floor(exchange, session, socket))
            await socket.close()
    return found


@pytest.fixture(scope="module")
def heard():
    return asyncio.run(record())


@dataclass(frozen=True)
class Outcome:
    state: object
    order_id: str
    filled: int
    average: int | None
    leg_filled: int
    foreign_leaves: int
    model: object
    next_orders: tuple


def played(frames):
    """The engine after these frames, and what it sends once fresh positions are there."""
    rig = Rig()
    rig.open(POSITION)
    rig.wait()
    rig.positions({CALL: -UNITS})
    rig.exit()
    [intent] = rig.submitted()
    assert (intent.side, intent.quantity) == (Side.BUY, UNITS)
    rig.tell(ev.OrderPosted(intent.correlation_id, rig.now, rig.now))
    for frame in frames:
        report = parse_order_update(frame.replace(f'"{OURS}"', json.dumps(intent.correlation_id)))
        assert report is not None
        rig.tell(ev.OrderReported(report, rig.now))
    [attempt] = rig.running().attempts
    holdings = rig.desk.holdings
    model, leaves = holdings.model(HOLDING), holdings.foreign_leaves(HOLDING, Side.BUY.sign)
    outcome = (attempt.state, attempt.order_id, attempt.filled, attempt.average, rig.running().legs[0].filled)
    rig.wait(5)
    rig.positions({CALL: -UNITS + attempt.filled})
    rig.wait(1)
    rig.positions({CALL: -UNITS + attempt.filled})
    orders = tuple((o.intent.side, o.intent.quantity) for o in rig.take(cmd.SubmitOrder))
    return Outcome(*outcome, leaves, (model.lowest, model.highest), orders)


def test_b36_the_recordings_hold_what_they_should(heard):
    words = {
        name: [(row["status"], row["tradedQty"]) for row in (json.loads(frame)["Data"] for frame in frames)]
        for name, frames in heard.items()
    }
    assert words["in_two_fills"] == [("Transit", 0), ("Pending", 0), ("Pending", 65), ("Traded", 130)]
    assert words["cancelled_in_part"][-1] == ("Cancelled", 65)
    assert words["rested"][-1] == ("Cancelled", 0)
    assert words["refused"][-1] == ("Rejected", 0)
    assert len(words["of_others"]) >= 6
    filled = {name: played(heard[name]).filled for name in heard if name != "of_others"}
    assert filled == {"in_two_fills": 130, "at_once": 130, "cancelled_in_part": 65, "rested": 0, "refused": 0}


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([scenario.__name__ for scenario in OWN]), st.booleans(), st.data())
def test_b36_repeated_and_shuffled_updates_end_where_the_ordered_ones_do(heard, name, with_others, data):
    # Cut off anywhere: the stream may be lost before the end is told.
    frames = heard[name][: data.draw(st.integers(1, len(heard[name])))] + (heard["of_others"] if with_others else [])
    expected = played(frames)
    repeats = data.draw(st.lists(st.sampled_from(frames), max_size=8))
    assert played(data.draw(st.permutations(frames + repeats))) == expected


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([scenario.__name__ for scenario in OWN]), st.data())
def test_b36_the_last_update_alone_says_it_all(heard, name, data):
    """Whatever was lost before it: reports are cumulative."""
    frames = heard[name]
    kept = data.draw(st.lists(st.sampled_from(frames[:-1])))
    assert played([*kept, frames[-1]]) == played(frames)
