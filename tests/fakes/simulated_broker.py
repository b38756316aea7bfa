"""A broker in virtual time: what is true at the exchange, and what a reader is shown of it.

Everything random comes from one seeded generator. Times are nanoseconds of the simulation.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.model.orders import OrderIntent, OrderReport, OrderStatus, Side, TradeReport, Validity
from core.model.position import BrokerPosition, PositionReport

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from core.model.position import HoldingKey

MS = 1_000_000
S = 1_000 * MS


class Loop:
    """Virtual time: callbacks in order of their time, first come first served within one instant."""

    def __init__(self) -> None:
        self.now = 1_000 * S
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._seq = 0

    def at(self, when: int, call: Callable[[], None]) -> None:
        self._seq += 1
        heapq.heappush(self._heap, (max(when, self.now), self._seq, call))

    def after(self, delay: int, call: Callable[[], None]) -> None:
        self.at(self.now + delay, call)

    def run_until(self, end: int, is_done: Callable[[], bool]) -> None:
        while self._heap and self._heap[0][0] <= end and not is_done():
            when, _, call = heapq.heappop(self._heap)
            self.now = when
            call()


@dataclass(frozen=True)
class Faults:
    """Chances from 0 to 1, in force until `until`."""

    until: int
    refused: float = 0.0
    rate_limited: float = 0.0
    not_sent: float = 0.0
    lost_before: float = 0.0
    lost_after: float = 0.0
    late: float = 0.0
    server_error: float = 0.0
    account: float = 0.0
    rejected: float = 0.0
    partial: float = 0.0
    no_fill: float = 0.0
    hangs: float = 0.0
    read_fails: float = 0.0
    positions_fail: float = 0.0
    update_lost: float = 0.0
    update_twice: float = 0.0
    crash: float = 0.0
    empty_positions: float = 0.0


@dataclass
class SimOrder:
    order_id: str
    intent: OrderIntent
    is_ours: bool
    filled: int = 0
    value: int = 0
    status: OrderStatus = OrderStatus.TRANSIT
    history: list[tuple[int, OrderReport]] = field(default_factory=list)

    @property
    def is_live(self) -> bool:
        return self.status in (OrderStatus.TRANSIT, OrderStatus.PENDING, OrderStatus.PART_TRADED)

    @property
    def leaves(self) -> int:
        return self.intent.quantity - self.filled if self.is_live else 0

    def report(self) -> OrderReport:
        average = round(self.value / self.filled) if self.filled else None
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
        )

    def seen_at(self, when: int) -> OrderReport | None:
        found = None
        for time, report in self.history:
            if time <= when:
                found = report
        return found


class SimBroker:
    """`on_update` gets every change of an order, `on_fill` every execution before it counts (order, units)."""

    def __init__(self, loop: Loop, rng: Random, faults: Faults, nets: dict[HoldingKey, int]) -> None:
        self.loop = loop
        self.rng = rng
        self.faults = faults
        self.nets = dict(nets)
        self.net_history: dict[HoldingKey, list[tuple[int, int]]] = {h: [(0, n)] for h, n in nets.items()}
        self.orders: dict[str, SimOrder] = {}
        self.trades: list[tuple[int, TradeReport]] = []
        self.on_update: Callable[[OrderReport], None] = lambda report: None
        self.on_fill: Callable[[SimOrder, int], None] = lambda order, units: None
        self.counts: Counter[str] = Counter()
        self.foreign_fills: list[tuple[int, HoldingKey]] = []

    def chance(self, probability: float) -> bool:
        return self.loop.now < self.faults.until and self.rng.random() < probability

    def lag(self) -> int:
        return self.rng.randrange(0, 1_000) * MS if self.loop.now < self.faults.until else 0

    def accept(self, intent: OrderIntent, *, is_ours: bool = True) -> SimOrder:
        """Take an order: it has an id from now on, and reaches the exchange a moment later."""
        order = SimOrder(f"{100_000 + len(self.orders)}", intent, is_ours)
        self.orders[order.order_id] = order
        self._changed(order)
        self.loop.after(self.rng.randrange(1, 50) * MS, lambda: self._reach_exchange(order))
        return order

    def cancel(self, order_id: str) -> None:
        order = self.orders[order_id]
        if order.is_live:
            if self.chance(0.4):
                self.counts["fills racing a cancel"] += 1
                self._fill(order, self.rng.randint(1, order.leaves))
            if order.is_live:
                order.status = OrderStatus.CANCELLED
                self._changed(order)

    def trade_by_hand(self, holding: HoldingKey, side: Side, quantity: int) -> None:
        """Somebody else's order: accepted and filled within a moment."""
        self.counts["foreign orders"] += 1
        intent = OrderIntent("", holding, side, quantity, 10_000, validity=Validity.DAY)
        order = self.accept(intent, is_ours=False)
        order.status = OrderStatus.PENDING

    def _reach_exchange(self, order: SimOrder) -> None:
        if not order.is_live:
            return
        if order.is_ours and self.chance(self.faults.rejected):
            self.counts["rejects after accept"] += 1
            order.status = OrderStatus.REJECTED
            self._changed(order)
        elif not order.is_ours:
            self._fill(order, order.intent.quantity)
        elif order.intent.validity is Validity.IOC:
            self._match_ioc(order)
        else:
            order.status = OrderStatus.PENDING
            self._changed(order)
            self._match_day(order)

    def _match_ioc(self, order: SimOrder) -> None:
        quantity = order.intent.quantity
        if self.chance(self.faults.hangs):
            self.counts["hanging orders"] += 1
            order.status = OrderStatus.PENDING
            self._changed(order)
            self.loop.after(self.rng.randrange(1, 6_000) * MS, lambda: self._end_ioc(order))
            return
        filled = quantity
        if self.chance(self.faults.no_fill):
            filled = 0
        elif self.chance(self.faults.partial) and quantity > 1:
            self.counts["partial fills"] += 1
            filled = self.rng.randint(1, quantity - 1)
        if filled:
            self._fill(order, filled)
        self._end_ioc(order)

    def _end_ioc(self, order: SimOrder) -> None:
        if order.is_live:
            order.status = OrderStatus.CANCELLED
            self._changed(order)

    def _match_day(self, order: SimOrder) -> None:
        if not order.is_live:
            return
        if self.chance(self.faults.no_fill):
            self.loop.after(S, lambda: self._match_day(order))
            return
        part = order.leaves
        if self.chance(self.faults.partial):
            part = self.rng.randint(1, part)
        self._fill(order, part)
        self.loop.after(S, lambda: self._match_day(order))

    def _fill(self, order: SimOrder, units: int) -> None:
        holding, side = order.intent.holding, order.intent.side
        if order.is_ours:
            self.on_fill(order, units)
        else:
            self.foreign_fills.append((self.loop.now, holding))
        price = order.intent.price - side.sign * self.rng.randrange(0, 3) * 5
        order.filled += units
        order.value += units * price
        order.status = OrderStatus.TRADED if order.filled == order.intent.quantity else OrderStatus.PART_TRADED
        self.nets[holding] = self.nets.get(holding, 0) + side.sign * units
        self.net_history.setdefault(holding, [(0, 0)]).append((self.loop.now, self.nets[holding]))
        trade = TradeReport(order.order_id, f"t{len(self.trades)}", holding, side, units, price)
        self.trades.append((self.loop.now, trade))
        self._changed(order)

    def _changed(self, order: SimOrder) -> None:
        report = order.report()
        order.history.append((self.loop.now, report))
        if not self.chance(self.faults.update_lost):
            self.on_update(report)
        if self.chance(self.faults.update_twice):
            self.counts["repeated updates"] += 1
            self.on_update(report)

    def order_as_seen(self, order_id: str) -> OrderReport | None:
        return self.orders[order_id].seen_at(self.loop.now - self.lag())

    def book_as_seen(self) -> tuple[OrderReport, ...]:
        when = self.loop.now - self.lag()
        return tuple(report for order in self.orders.values() if (report := order.seen_at(when)) is not None)

    def trades_as_seen(self) -> tuple[TradeReport, ...]:
        when = self.loop.now - self.lag()
        return tuple(trade for time, trade in self.trades if time <= when)

    def positions_as_seen(self, requested_ns: int) -> PositionReport:
        if self.chance(self.faults.empty_positions):
            self.counts["empty position reports"] += 1
            return PositionReport((), requested_ns, self.loop.now)
        when = requested_ns - self.lag()
        rows = []
        for holding, history in self.net_history.items():
            net = [n for time, n in history if time <= when][-1]
            rows.append(BrokerPosition(holding, net, 0, 0))
        return PositionReport(tuple(rows), requested_ns, self.loop.now)
