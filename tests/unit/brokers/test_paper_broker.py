"""The simulated account: fills only at what the newest quote offers."""

import asyncio

import pytest

from core.brokers.base import Accepted
from core.brokers.paper_broker import PaperBroker
from core.model.errors import RefusedError
from core.model.instrument import Instrument, InstrumentKey, Segment
from core.model.market import Quote
from core.model.orders import OrderIntent, OrderStatus, Side, Validity
from core.model.position import HoldingKey, Leg, Position, Product
from tests.fakes.manual_clock import ManualClock

KEY = InstrumentKey(Segment.NSE_FNO, 61234)
HOLDING = HoldingKey(KEY, Product.INTRADAY)
OPTION = Instrument(KEY, "NIFTY-Nov2026-26200-CE", "NIFTY", lot=65, tick=5)


def quote(bid=9_835, ask=9_845, bid_size=1_300, ask_size=910, last=9_840):
    return Quote(KEY, last, bid, ask, bid_size, ask_size, None, 0)


def intent(side=Side.SELL, quantity=130, price=9_800, validity=Validity.IOC, name="X-1"):
    return OrderIntent(name, HOLDING, side, quantity, price, validity=validity)


def position(units, strategy_id=1):
    return Position(strategy_id, "name", "NIFTY", (Leg(1, OPTION, Product.INTRADAY, units, 10_000),))


class Market:
    def __init__(self, newest):
        self.newest = newest
        self.reports = []

    def broker(self):
        async def quotes_from(keys):
            return tuple(self.newest for _ in keys)

        return PaperBroker(ManualClock(), lambda _key: self.newest, quotes_from, self.reports.append)


async def send(broker, order):
    result = await broker.submit(order)
    assert isinstance(result.outcome, Accepted)
    assert result.outcome.order_id.startswith("PAPER-")
    assert result.sent_ns is not None
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return await broker.read_order(result.outcome.order_id)


async def net(broker):
    return (await broker.read_positions()).net(HOLDING)


@pytest.mark.parametrize(
    ("side", "limit", "price"), [(Side.SELL, 9_800, 9_835), (Side.BUY, 9_900, 9_845), (Side.SELL, 9_835, 9_835)]
)
async def test_an_ioc_fills_at_the_executable_side(side, limit, price):
    market = Market(quote())
    broker = market.broker()
    report = await send(broker, intent(side, price=limit))
    assert (report.status, report.filled, report.average_price) == (OrderStatus.TRADED, 130, price)
    assert await net(broker) == side.sign * 130
    assert [(trade.quantity, trade.price) for trade in await broker.read_trades()] == [(130, price)]


@pytest.mark.parametrize(("side", "limit"), [(Side.SELL, 9_840), (Side.BUY, 9_840)])
async def test_an_ioc_that_its_limit_forbids_is_cancelled_without_a_fill(side, limit):
    report = await send(Market(quote()).broker(), intent(side, price=limit))
    assert (report.status, report.filled, report.average_price) == (OrderStatus.CANCELLED, 0, None)


async def test_a_smaller_displayed_size_fills_in_part_and_the_rest_is_cancelled():
    report = await send(Market(quote(bid_size=65)).broker(), intent())
    assert (report.status, report.filled, report.leaves) == (OrderStatus.CANCELLED, 65, 0)


async def test_a_price_without_a_size_is_enough():
    assert (await send(Market(quote(bid_size=0)).broker(), intent())).filled == 130


async def test_without_a_book_the_last_price_is_taken_and_an_empty_side_fills_nothing():
    assert (await send(Market(quote(bid=None, ask=None)).broker(), intent())).average_price == 9_840
    assert (await send(Market(quote(bid=None)).broker(), intent())).filled == 0


async def test_without_any_price_nothing_fills():
    market = Market(None)
    assert (await send(market.broker(), intent())).status is OrderStatus.CANCELLED


async def test_the_answer_comes_before_the_first_report():
    market = Market(quote())
    broker = market.broker()
    await broker.submit(intent())
    assert market.reports == []
    await asyncio.sleep(0)
    assert [report.status for report in market.reports] == [OrderStatus.TRADED]


async def test_a_day_order_rests_until_quotes_cross_it():
    market = Market(quote())
    broker = market.broker()
    report = await send(broker, intent(price=9_900, validity=Validity.DAY))
    assert report.status is OrderStatus.PENDING
    broker.on_quote(quote(bid=9_895))
    assert (await broker.read_orders())[0].filled == 0
    broker.on_quote(quote(bid=9_900, bid_size=65))
    broker.on_quote(quote(bid=9_910, bid_size=65))
    broker.on_quote(quote(bid=9_920))
    (report,) = await broker.read_orders()
    assert (report.status, report.filled, report.average_price) == (OrderStatus.TRADED, 130, 9_905)
    assert [seen.status for seen in market.reports] == [
        OrderStatus.PENDING,
        OrderStatus.PART_TRADED,
        OrderStatus.TRADED,
    ]


async def test_a_resting_order_can_be_cancelled_once():
    broker = Market(quote()).broker()
    report = await send(broker, intent(price=9_900, validity=Validity.DAY))
    await broker.cancel(report.order_id)
    broker.on_quote(quote(bid=9_900))
    assert (await broker.read_order(report.order_id)).status is OrderStatus.CANCELLED
    with pytest.raises(RefusedError):
        await broker.cancel(report.order_id)
    with pytest.raises(RefusedError):
        await broker.cancel("PAPER-99")


async def test_orders_are_found_by_correlation_id():
    broker = Market(quote()).broker()
    await send(broker, intent(name="X-7"))
    assert (await broker.find_order("X-7")).order_id == "PAPER-1"
    assert await broker.find_order("X-8") is None
    assert await broker.read_order("PAPER-2") is None


async def test_held_positions_are_reported_and_exits_reduce_them():
    broker = Market(quote()).broker()
    broker.hold(position(130))
    broker.hold(position(65, strategy_id=2))
    broker.hold(position(130))
    assert await net(broker) == 195
    await send(broker, intent())
    assert await net(broker) == 65
    broker.hold(position(195))
    assert await net(broker) == 130


@pytest.mark.parametrize(("units", "side"), [(130, Side.SELL), (-130, Side.BUY)])
async def test_releasing_an_exited_position_never_crosses_zero(units, side):
    broker = Market(quote()).broker()
    broker.hold(position(units))
    await send(broker, intent(side, quantity=65, price=9_800 if side is Side.SELL else 9_900))
    assert abs(await net(broker)) == 65
    broker.release(1)
    assert await net(broker) == 0
    broker.release(1)
    assert await net(broker) == 0


async def test_quotes_are_asked_from_the_real_market():
    market = Market(quote())
    assert await market.broker().read_quotes((KEY,)) == (market.newest,)
