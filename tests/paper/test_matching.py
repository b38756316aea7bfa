"""The matching engine, the checks and the books of the account without sockets, against plain arithmetic."""

from collections import deque
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.instrument import InstrumentKey, Segment
from core.model.orders import OrderStatus, Side, Validity
from core.model.position import Product
from core.paper import instruments as listed
from core.paper.accounts import Account, PaperPosition
from core.paper.event_log import EventLog
from core.paper.market import Market, MarketData
from core.paper.matching import Matching
from core.paper.options import ExchangeOptions
from core.paper.order_checks import protected_price
from core.paper.orders import LIMIT, BadRequestError, OrderRequest
from core.paper.rate_limits import RateClass, RateLimits

LISTED = listed.generate(date(2026, 11, 20), 2)
KEY = InstrumentKey(Segment.NSE_FNO, 40_005)
LOT = 65


class Clock:
    """Stands still."""

    def utc_ns(self):
        return 1_795_146_300_000_000_000

    def utc_s(self):
        return 1_795_146_300

    def ist_now(self):
        from core.model.session_time import ist_datetime  # noqa: PLC0415  only this fake needs it

        return ist_datetime(self.utc_ns())

    def ist_text(self):
        return "2026-11-20 10:15:00"


class Loop:
    """Runs what was scheduled when told to."""

    def __init__(self):
        self.due = deque()

    def call_soon(self, work, *arguments):
        self.due.append((work, arguments))

    def call_later(self, _delay, work, *arguments):
        self.due.append((work, arguments))

    def run(self):
        while self.due:
            work, arguments = self.due.popleft()
            work(*arguments)


class Floor:
    """One exchange floor: market, account, matching engine, and what was reported."""

    def __init__(self):
        clock = Clock()
        self.loop = Loop()
        self.market = Market(LISTED, clock.utc_s)
        self.account = Account("1100000042")
        options = ExchangeOptions(check_price_protection=False)
        self.matching = Matching(self.market, self.account, options, clock, EventLog(clock, 10_000, None), self.loop)
        self.reports = []
        self.matching.on_change = lambda order: self.reports.append((order.order_id, order.status, order.filled))

    def show(self, last, bids, asks):
        self.market.apply(MarketData(KEY, last, bids, asks, 1), every=True)

    def place(self, side, lots, price, validity=Validity.DAY):
        request = OrderRequest(
            "", KEY.segment, str(KEY.security_id), Product.MARGIN, side, LIMIT, validity, lots * LOT, price, 0
        )
        order = self.matching.place(request)
        self.loop.run()
        return order


ticks = st.integers(1_000, 4_000).map(lambda n: n * 5)
sides = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=5)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("book"), ticks, sides, sides),
        st.tuples(st.just("order"), st.sampled_from(Side), st.integers(1, 20), ticks, st.sampled_from(Validity)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
    ),
    max_size=30,
)


@given(steps)
def test_fills_trades_and_positions_agree_and_no_fill_is_worse_than_its_limit(history):
    floor = Floor()
    shown = {Side.BUY: 0, Side.SELL: 0}
    for kind, *facts in history:
        match kind:
            case "book":
                middle, bids, asks = facts
                bids = tuple((middle - 5 - 5 * n, lots * LOT) for n, (_, lots) in enumerate(bids))
                asks = tuple((middle + 5 + 5 * n, lots * LOT) for n, (_, lots) in enumerate(asks))
                shown[Side.BUY] += sum(size for _, size in asks)
                shown[Side.SELL] += sum(size for _, size in bids)
                floor.show(middle, bids, asks)
            case "order":
                floor.place(*facts)
            case _:
                orders = list(floor.account.orders.values())
                if facts[0] < len(orders):
                    try:
                        floor.matching.cancel(orders[facts[0]])
                    except BadRequestError:
                        assert not orders[facts[0]].is_live
    taken = {Side.BUY: 0, Side.SELL: 0}
    for order in floor.account.orders.values():
        trades = [trade for trade in floor.account.trades if trade.order is order]
        assert order.filled == sum(trade.quantity for trade in trades) <= order.quantity
        assert order.value == sum(trade.quantity * trade.price for trade in trades)
        assert all((order.price - trade.price) * order.side.sign >= 0 for trade in trades)
        assert (order.status is OrderStatus.TRADED) == (order.filled == order.quantity)
        assert order.validity is Validity.DAY or not order.is_live
        fills = [filled for order_id, _, filled in floor.reports if order_id == order.order_id]
        assert fills == sorted(fills)
        taken[order.side] += order.filled
    held = floor.account.position(KEY, Product.MARGIN)
    assert (held.bought, held.sold) == (taken[Side.BUY], taken[Side.SELL])
    assert all(taken[side] <= shown[side] for side in Side)


def test_a_large_order_walks_the_levels_it_reaches_and_no_further():
    floor = Floor()
    floor.show(10_000, (), ((10_005, 65), (10_010, 65), (10_015, 650)))
    order = floor.place(Side.BUY, 4, 10_010)
    assert [(trade.price, trade.quantity) for trade in floor.account.trades] == [(10_005, 65), (10_010, 65)]
    assert (order.status, order.left) == (OrderStatus.PART_TRADED, 130)


def test_earlier_orders_are_served_first():
    floor = Floor()
    floor.show(10_000, (), ())
    first, second = floor.place(Side.BUY, 1, 10_010), floor.place(Side.BUY, 1, 10_010)
    floor.show(10_000, (), ((10_005, 65),))
    assert (first.status, second.status) == (OrderStatus.TRADED, OrderStatus.PENDING)


def test_a_modification_during_transit_is_taken_along():
    floor = Floor()
    floor.show(10_000, (), ((10_005, 650),))
    request = OrderRequest(
        "", KEY.segment, str(KEY.security_id), Product.MARGIN, Side.BUY, LIMIT, Validity.DAY, LOT, 9_000, 0
    )
    order = floor.matching.place(request)
    floor.matching.modify(order, LIMIT, 2 * LOT, 10_010, 0)
    floor.loop.run()
    assert (order.status, order.filled) == (OrderStatus.TRADED, 2 * LOT)


def test_a_modification_below_the_filled_quantity_is_refused():
    floor = Floor()
    floor.show(10_000, (), ((10_005, 65),))
    order = floor.place(Side.BUY, 2, 10_010)
    with pytest.raises(BadRequestError):
        floor.matching.modify(order, LIMIT, LOT, 10_010, 0)


@pytest.mark.parametrize(
    ("last", "side", "limit"),
    [
        (4_000, Side.BUY, 4_800),
        (4_000, Side.SELL, 3_200),
        (5_000, Side.BUY, 6_000),
        (5_005, Side.BUY, 5_505),
        (26_410, Side.SELL, 25_090),  # seen live: trigger 264.10 became limit 250.90
        (150_000, Side.BUY, 153_000),
        (5, Side.SELL, 5),
    ],
)
def test_a_market_order_is_protected_by_the_published_slabs(last, side, limit):
    assert protected_price(last, side, 5) == limit


def test_a_position_that_was_carried_and_traded_has_averages_over_both():
    held = PaperPosition((KEY, Product.MARGIN))
    held.carry(-100, 20_000)
    held.add(Side.SELL, 100, 10_000)
    held.add(Side.BUY, 50, 5_000)
    assert (held.net, held.sell_average, held.buy_average) == (-150, 150.0, 50.0)


def test_rate_limits_refill_by_the_second_and_stop_at_the_minute():
    now = [0.0]
    limits = RateLimits(lambda: now[0])
    assert [limits.allows(RateClass.ORDER) for _ in range(11)] == [True] * 10 + [False]
    taken = 10
    for second in range(1, 60):
        now[0] = float(second)
        taken += sum(limits.allows(RateClass.ORDER) for _ in range(20))
    assert 250 <= taken <= 500  # the bucket of a minute also refills while the minute runs
    now[0] = 1_000.0
    assert limits.allows(RateClass.QUOTE)
    assert not limits.allows(RateClass.QUOTE)
    assert all(limits.allows(RateClass.FREE) for _ in range(100))
