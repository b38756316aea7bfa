"""Our adapters against the local exchange: written from the same protocol document by other hands."""

import asyncio
import contextlib

import pytest

from core.brokers.base import Accepted, Refused, Unknown
from core.brokers.dhan_broker import DhanBroker
from core.clock import SystemClock
from core.feed_line import FeedAccess, FeedSettings
from core.instrument_source import InstrumentSource
from core.model.errors import TokenError
from core.model.instrument import InstrumentKey, Segment
from core.model.orders import OrderIntent, OrderStatus, Refusal, Side
from core.model.position import HoldingKey, Product
from core.order_update_stream import OrderStreamLogin, OrderUpdateStream
from core.paper.exchange import LocalExchange
from core.price_cache import PriceCache
from core.websocket_manager import WebSocketManager
from tests.fakes.waiting import eventually

NIFTY = InstrumentKey(Segment.IDX_I, 13)


class Rig:
    def __init__(self, exchange):
        self.exchange = exchange
        self.clock = SystemClock()
        self.token = exchange.access_token
        self.broker = DhanBroker(exchange.api_url, exchange.client_id, lambda: self.token, self.clock)
        self.cache = PriceCache()
        self.quotes = []
        self.states = []
        self.reports = []
        self.reconciles = []
        self.feed = WebSocketManager(
            FeedAccess(exchange.feed_url, exchange.client_id, lambda: self.token),
            self.cache,
            self.quotes.append,
            self.states.append,
            self.clock,
            settings=FeedSettings(check_every_s=0.02),
        )
        self.updates = OrderUpdateStream(
            OrderStreamLogin(exchange.order_update_url, exchange.client_id, lambda: self.token),
            self.reports.append,
            lambda: self.reconciles.append(1),
            self.clock,
        )
        listed = [listing.instrument for listing in exchange.venue.instruments]
        self.options = [item for item in listed if item.underlying == "NIFTY" and item.right is not None][:150]

    @property
    def option(self):
        return self.options[20]

    async def priced(self):
        """Subscribe one option and return its first two-sided quote."""
        self.feed.set_wanted([NIFTY, self.option.key])
        await eventually(lambda: (quote := self.cache.quote(self.option.key)) is not None and quote.is_two_sided)
        return self.cache.quote(self.option.key)

    def intent(self, quote, side=Side.BUY, name="X-1"):
        price = quote.ask if side is Side.BUY else quote.bid
        holding = HoldingKey(self.option.key, Product.INTRADAY)
        return OrderIntent(name, holding, side, self.option.lot, price)


@contextlib.asynccontextmanager
async def rig():
    async with LocalExchange() as exchange:
        made = Rig(exchange)
        await made.broker.open()
        tasks = [asyncio.create_task(made.feed.run()), asyncio.create_task(made.updates.run())]
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await made.broker.close()


async def test_the_instrument_master_of_the_exchange_reads_as_it_was_written(tmp_path):
    async with LocalExchange() as exchange:
        listed = {listing.instrument.key: listing.instrument for listing in exchange.venue.instruments}
        master = (await InstrumentSource(exchange.instruments_url, tmp_path, SystemClock()).load(list(listed))).master
        assert master.bad_rows == 0
        assert set(master.instruments) == set(listed)
        for key, instrument in master.instruments.items():
            if instrument.right is not None:
                theirs = listed[key]
                assert (instrument.lot, instrument.tick, instrument.strike, instrument.expiry, instrument.right) == (
                    theirs.lot,
                    theirs.tick,
                    theirs.strike,
                    theirs.expiry,
                    theirs.right,
                )


async def test_many_instruments_are_priced_by_the_stream():
    async with rig() as r:
        keys = [NIFTY, *(item.key for item in r.options)]
        r.feed.set_wanted(keys)
        await eventually(lambda: all(r.cache.quote(key) is not None for key in keys))
        assert r.states == [True]
        assert r.feed.status.corrupt == 0
        for item in r.options:
            quote = r.cache.quote(item.key)
            assert quote.bid is None or quote.bid % item.tick == 0
            assert quote.ask is None or quote.ask % item.tick == 0


async def test_an_order_fills_and_every_witness_says_the_same():
    async with rig() as r:
        await eventually(lambda: r.reconciles)
        result = await r.broker.submit(r.intent(await r.priced()))
        assert isinstance(result.outcome, Accepted)
        await eventually(lambda: r.reports and r.reports[-1].is_terminal)
        by_name = await r.broker.find_order("X-1")
        assert by_name.order_id == result.outcome.order_id == r.reports[-1].order_id
        by_id = await r.broker.read_order(by_name.order_id)
        assert await r.broker.read_orders() == (by_id,)
        told = r.reports[-1]
        assert (by_id.status, by_id.filled, by_id.average_price) == (told.status, told.filled, told.average_price)
        trades = await r.broker.read_trades()
        assert sum(trade.quantity for trade in trades) == by_id.filled
        assert (await r.broker.read_positions()).net(by_id.holding) == by_id.filled


async def test_a_dropped_answer_is_unknown_and_the_order_is_found_by_its_name():
    async with rig() as r:
        quote = await r.priced()
        r.exchange.add_fault({"kind": "drop_response_after_accept", "where": {"nth": 1}})
        result = await r.broker.submit(r.intent(quote))
        assert isinstance(result.outcome, Unknown)
        assert result.sent_ns is not None
        for _ in range(200):
            if await r.broker.find_order("X-1") is not None:
                break
        assert (await r.broker.find_order("X-1")).correlation_id == "X-1"
        assert len(r.exchange.state()["orders"]) == 1


@pytest.mark.parametrize(
    ("fault", "orders"),
    [
        ({"kind": "lose_before_accept"}, 0),
        ({"kind": "http_5xx"}, 0),
        ({"kind": "http_5xx", "after_accept": True}, 1),
        ({"kind": "garbage_200"}, 1),
    ],
)
async def test_whatever_proves_nothing_is_unknown_and_is_never_posted_again(fault, orders):
    async with rig() as r:
        quote = await r.priced()
        r.exchange.add_fault({**fault, "where": {"method": "POST", "path": "/orders", "nth": 1}})
        result = await r.broker.submit(r.intent(quote))
        assert isinstance(result.outcome, Unknown), result
        assert len(r.exchange.state()["orders"]) == orders


async def test_an_order_off_its_lot_is_taken_and_then_rejected():
    async with rig() as r:
        intent = r.intent(await r.priced())
        odd = OrderIntent("X-2", intent.holding, intent.side, intent.quantity + 1, intent.price)
        result = await r.broker.submit(odd)
        assert isinstance(result.outcome, Accepted)
        await eventually(lambda: r.reports and r.reports[-1].is_terminal)
        assert r.reports[-1].status is OrderStatus.REJECTED
        assert r.reports[-1].reason


async def test_rest_quotes_agree_with_the_stream():
    async with rig() as r:
        streamed = await r.priced()
        (quote,) = await r.broker.read_quotes((r.option.key,))
        assert quote.key == streamed.key
        assert abs(quote.last - streamed.last) <= streamed.last // 10 + 10
        assert quote.is_two_sided


async def test_an_invalidated_token_is_refused_and_a_new_one_works():
    async with rig() as r:
        quote = await r.priced()
        r.exchange.add_fault({"kind": "token_invalidated"})
        with pytest.raises(TokenError):
            await r.broker.read_orders()
        result = await r.broker.submit(r.intent(quote))
        assert isinstance(result.outcome, Refused)
        assert result.outcome.refusal is Refusal.TOKEN
        r.token = r.exchange.access_token


@pytest.mark.parametrize("kind", ["feed_reset", "feed_disconnect"])
async def test_the_feed_comes_back_by_itself(kind):
    async with rig() as r:
        await r.priced()
        r.exchange.add_fault({"kind": kind})
        await eventually(lambda: r.feed.status.reconnects >= 1 and r.states[-1])
        assert r.states[:2] == [True, False]
