"""The account of simulation mode: fills at the executable side of the newest quote, in this process, without a socket.

What it cannot show (queues, slippage beyond the best price, rejections) is in `core.paper`, the local exchange.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.brokers.base import Accepted, SubmitResult
from core.model.errors import RefusedError
from core.model.orders import OrderIntent, OrderReport, OrderStatus, Side, TradeReport, Validity
from core.model.position import BrokerPosition, HoldingKey, PositionReport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.clock import Clock
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import Position


@dataclass(slots=True)
class _Holding:
    """`net` in signed units; bought and sold in units and in paise of value, for the averages."""

    net: int = 0
    bought: int = 0
    bought_value: Paise = 0
    sold: int = 0
    sold_value: Paise = 0


@dataclass(slots=True)
class _PaperOrder:
    order_id: str
    intent: OrderIntent
    status: OrderStatus = OrderStatus.TRANSIT
    filled: int = 0
    value: Paise = 0
    reason: str = ""
    trades: list[TradeReport] = field(default_factory=list)

    @property
    def leaves(self) -> int:
        return self.intent.quantity - self.filled

    def report(self) -> OrderReport:
        average = (self.value + self.filled // 2) // self.filled if self.filled else None
        intent = self.intent
        return OrderReport(
            self.order_id,
            intent.correlation_id,
            intent.holding,
            intent.side,
            intent.quantity,
            self.filled,
            self.status,
            average,
            self.reason,
        )


class PaperBroker:
    """Keeps the contract of `core.brokers.base.Broker`.

    `quote_of` gives the newest price of an instrument, `quotes_from` asks the real market by REST, `on_report` gets
    each change of an order as the broker's order updates would bring it.
    """

    def __init__(
        self,
        clock: Clock,
        quote_of: Callable[[InstrumentKey], Quote | None],
        quotes_from: Callable[[Sequence[InstrumentKey]], Awaitable[tuple[Quote, ...]]],
        on_report: Callable[[OrderReport], None] | None = None,
    ) -> None:
        self._clock = clock
        self._quote_of = quote_of
        self._quotes_from = quotes_from
        self._on_report = on_report
        self._held: dict[int, dict[HoldingKey, int]] = {}
        self._holdings: dict[HoldingKey, _Holding] = {}
        self._orders: dict[str, _PaperOrder] = {}
        self._resting: dict[InstrumentKey, list[_PaperOrder]] = {}

    def hold(self, position: Position) -> None:
        """Own the legs of an open position. Called again after its rows changed, it books the difference."""
        units: dict[HoldingKey, int] = {}
        for leg in position.legs:
            units[leg.holding] = units.get(leg.holding, 0) + leg.units
        known = self._held.get(position.strategy_id, {})
        for key in units.keys() | known.keys():
            self._holding(key).net += units.get(key, 0) - known.get(key, 0)
        self._held[position.strategy_id] = units

    def release(self, strategy_id: int) -> None:
        """The rows of a position are gone: give up what its exits have not already closed, never crossing zero."""
        for key, units in self._held.pop(strategy_id, {}).items():
            holding = self._holding(key)
            if units > 0:
                holding.net -= min(units, max(holding.net, 0))
            else:
                holding.net -= max(units, min(holding.net, 0))

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def submit(self, intent: OrderIntent) -> SubmitResult:
        sent_ns = self._clock.monotonic_ns()
        order = _PaperOrder(f"PAPER-{len(self._orders) + 1}", intent)
        self._orders[order.order_id] = order
        # The answer and the fill come in later turns of the loop, as they do from a broker.
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(self._work, order)
        return SubmitResult(Accepted(order.order_id), sent_ns)

    def on_quote(self, quote: Quote) -> None:
        """Let resting orders trade against a new price."""
        resting = self._resting.get(quote.key)
        if not resting:
            return
        for order in resting:
            self._match(order, quote)
        self._resting[quote.key] = [order for order in resting if not order.report().is_terminal]

    async def cancel(self, order_id: str) -> None:
        order = self._orders.get(order_id)
        if order is None or order.report().is_terminal:
            raise RefusedError(f"order {order_id} is not there or no longer open", "DH-906")
        self._end(order, "cancelled on request")
        resting = self._resting.get(order.intent.holding.instrument, [])
        if order in resting:
            resting.remove(order)

    async def read_order(self, order_id: str) -> OrderReport | None:
        order = self._orders.get(order_id)
        return None if order is None else order.report()

    async def find_order(self, correlation_id: str) -> OrderReport | None:
        for order in self._orders.values():
            if order.intent.correlation_id == correlation_id:
                return order.report()
        return None

    async def read_orders(self) -> tuple[OrderReport, ...]:
        return tuple(order.report() for order in self._orders.values())

    async def read_trades(self) -> tuple[TradeReport, ...]:
        return tuple(trade for order in self._orders.values() for trade in order.trades)

    async def read_positions(self) -> PositionReport:
        now_ns = self._clock.monotonic_ns()
        rows = tuple(
            BrokerPosition(
                key,
                holding.net,
                holding.bought_value // holding.bought if holding.bought else 0,
                holding.sold_value // holding.sold if holding.sold else 0,
            )
            for key, holding in self._holdings.items()
        )
        return PositionReport(rows, now_ns, now_ns)

    async def read_quotes(self, keys: Sequence[InstrumentKey]) -> tuple[Quote, ...]:
        return await self._quotes_from(keys)

    def _holding(self, key: HoldingKey) -> _Holding:
        return self._holdings.setdefault(key, _Holding())

    def _work(self, order: _PaperOrder) -> None:
        key = order.intent.holding.instrument
        quote = self._quote_of(key)
        if quote is not None:
            self._match(order, quote)
        if order.leaves == 0:
            return
        if order.intent.validity is Validity.IOC:
            self._end(order, "no price is known" if quote is None else "nothing more at this price")
            return
        if order.status is OrderStatus.TRANSIT:
            order.status = OrderStatus.PENDING
            self._tell(order)
        self._resting.setdefault(key, []).append(order)

    def _match(self, order: _PaperOrder, quote: Quote) -> None:
        price, size = _executable(quote, order.intent.side)
        if price is None or (order.intent.price - price) * order.intent.side.sign < 0:
            return
        # A known price without a size (REST and index quotes) is taken to be good for the whole order.
        quantity = min(order.leaves, size) if size > 0 else order.leaves
        self._fill(order, quantity, price)

    def _fill(self, order: _PaperOrder, quantity: int, price: Paise) -> None:
        intent = order.intent
        order.filled += quantity
        order.value += quantity * price
        order.status = OrderStatus.PART_TRADED if order.leaves else OrderStatus.TRADED
        trade_id = f"{order.order_id}-{len(order.trades) + 1}"
        order.trades.append(TradeReport(order.order_id, trade_id, intent.holding, intent.side, quantity, price))
        holding = self._holding(intent.holding)
        holding.net += intent.side.sign * quantity
        if intent.side is Side.BUY:
            holding.bought += quantity
            holding.bought_value += quantity * price
        else:
            holding.sold += quantity
            holding.sold_value += quantity * price
        self._tell(order)

    def _end(self, order: _PaperOrder, reason: str) -> None:
        order.status = OrderStatus.CANCELLED
        order.reason = reason
        self._tell(order)

    def _tell(self, order: _PaperOrder) -> None:
        if self._on_report is not None:
            self._on_report(order.report())


def _executable(quote: Quote, side: Side) -> tuple[Paise | None, int]:
    """The price that a taker gets and the size shown there. Without any book, the last price."""
    if quote.bid is None and quote.ask is None:
        return quote.last, 0
    return (quote.ask, quote.ask_size) if side is Side.BUY else (quote.bid, quote.bid_size)
