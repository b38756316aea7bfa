"""The exchange's side of an order: arrival, checks, fills against the displayed book, cancel, modify.

Fills happen at the displayed opposite price and take its size until the next market update shows a new book. A
resting order therefore gets the price that reached it, never worse than its limit.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from core.model.instrument import InstrumentKey
from core.model.orders import OrderStatus, Side, Validity
from core.paper.options import StopLossMarket
from core.paper.order_checks import protected_price, protection_fault, rejection
from core.paper.orders import (
    CONFIRMED,
    LIMIT,
    MARKET,
    STOP_LOSS,
    STOP_LOSS_MARKET,
    BadRequestError,
    OrderRequest,
    PaperOrder,
    Trade,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from core.model.money import Paise
    from core.paper.accounts import Account
    from core.paper.event_log import EventLog
    from core.paper.market import Book, Market
    from core.paper.options import ExchangeOptions
    from core.paper.wall_clock import WallClock

MAX_MODIFICATIONS: Final = 25


class Matching:
    """`on_change` is told each order after each change of it: that is the order-update stream."""

    def __init__(
        self,
        market: Market,
        account: Account,
        options: ExchangeOptions,
        clock: WallClock,
        log: EventLog,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._market = market
        self._account = account
        self._options = options
        self._clock = clock
        self._log = log
        self._loop = loop
        self._working: defaultdict[InstrumentKey, list[PaperOrder]] = defaultdict(list)
        self._sequence = 0
        self.on_change: Callable[[PaperOrder], None] = lambda _order: None
        self.rejection_fault: Callable[[PaperOrder], str | None] = lambda _order: None
        """Asked at arrival for an injected rejection: its text, or None."""
        market.add_listener(self._on_book)

    def working_keys(self) -> list[InstrumentKey]:
        return [key for key, orders in self._working.items() if orders]

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def place(self, request: OrderRequest) -> PaperOrder:
        """Take the order into TRANSIT; the exchange sees it after the dwell.

        Raises:
            BadRequestError: the security is unknown, the kill switch is on, or STOP_LOSS_MARKET is refused.
        """
        key = self._market.instruments.find(request.segment.value, request.security_id)
        if key is None:
            raise BadRequestError("Invalid SecurityId")
        if self._account.kill_switch:
            raise BadRequestError("Kill Switch is active, trading is disabled for the day", "DH-906")
        if request.kind == STOP_LOSS_MARKET and self._options.stop_loss_market is StopLossMarket.REFUSED:
            raise BadRequestError("Trigger Price should be greater than Price", "DH-906")
        now = self._clock.ist_text()
        number = self._next()
        order = PaperOrder(
            f"11{self._clock.ist_now():%y%m%d}{number:05d}",
            request.correlation_id or f"{self._account.client_id}-{self._clock.utc_ns() // 1_000_000}",
            key,
            request.product,
            request.side,
            request.kind,
            request.validity,
            request.quantity,
            request.price,
            request.trigger,
            created_at=now,
            updated_at=now,
        )
        self._account.orders[order.order_id] = order
        self._log.add("order_accepted", order_id=order.order_id, correlation_id=order.correlation_id)
        self._changed(order)
        if self._options.transit_s > 0:
            self._loop.call_later(self._options.transit_s, self._arrive, order)
        else:
            self._loop.call_soon(self._arrive, order)
        return order

    def _arrive(self, order: PaperOrder) -> None:
        if order.status is not OrderStatus.TRANSIT:
            return
        book = self._market.quote(order.key)
        contract = self._market.instruments.by_key[order.key].instrument
        self._convert(order, book.last)
        text = self.rejection_fault(order) or rejection(
            order, contract, book.last, with_protection_range=self._options.check_price_protection
        )
        if text is not None:
            self._finish(order, OrderStatus.REJECTED, text)
            return
        order.status = OrderStatus.PENDING
        order.exchange_order_id = f"12{self._next():014d}"
        order.exchange_at = self._clock.ist_text()
        self._changed(order)
        self._working[order.key].append(order)
        self._match(order, book)
        if order.is_live and order.validity is Validity.IOC:
            self._finish(order, OrderStatus.CANCELLED, "IOC order cancelled: unmatched quantity")

    def _convert(self, order: PaperOrder, last: Paise) -> None:
        """MARKET is not allowed through the API: it becomes a protected limit whose rest stays (8.5)."""
        works = order.kind == STOP_LOSS_MARKET and self._options.stop_loss_market is StopLossMarket.WORKING
        if order.kind not in {MARKET, STOP_LOSS_MARKET} or last <= 0:
            return
        tick = self._market.instruments.by_key[order.key].instrument.tick
        if works:
            order.kind = STOP_LOSS
            order.price = protected_price(order.trigger, order.side, tick)
            return
        order.kind, order.trigger = LIMIT, 0
        order.price = protected_price(last, order.side, tick)

    def _on_book(self, book: Book, _every: bool) -> None:  # noqa: FBT001  the market calls its listeners by position
        for order in tuple(self._working.get(book.key, ())):
            self._match(order, book)

    def _match(self, order: PaperOrder, book: Book) -> None:
        if order.waits_for_trigger and not self._trigger(order, book):
            return
        levels = book.asks if order.side is Side.BUY else book.bids
        before = order.filled
        for level in levels:
            reached = level.price <= order.price if order.side is Side.BUY else level.price >= order.price
            if not reached or not order.left:
                break
            taken = min(order.left, level.size)
            if taken:
                level.size -= taken
                self._fill(order, taken, level.price)
        if order.filled != before:
            order.status = OrderStatus.PART_TRADED if order.left else OrderStatus.TRADED
            self._forget_if_done(order)
            self._changed(order)

    def _fill(self, order: PaperOrder, quantity: int, price: Paise) -> None:
        now = self._clock.ist_text()
        order.filled += quantity
        order.value += quantity * price
        order.last_fill = price
        trade = Trade(order, f"4{self._next():08d}", quantity, price, now)
        self._account.book_trade(trade)
        self._log.add(
            "fill", order_id=order.order_id, correlation_id=order.correlation_id, quantity=quantity, price=price / 100
        )

    def _trigger(self, order: PaperOrder, book: Book) -> bool:
        touched = (book.last - order.trigger) * order.side.sign >= 0 and book.last > 0
        if not touched:
            return False
        order.is_triggered = True
        self._log.add("order_triggered", order_id=order.order_id)
        contract = self._market.instruments.by_key[order.key].instrument
        text = protection_fault(order, contract, book.last) if self._options.check_price_protection else None
        if text is not None:
            self._finish(order, OrderStatus.REJECTED, f"RMS:{order.order_id}:{text}")
            return False
        self._changed(order)
        return True

    def cancel(self, order: PaperOrder) -> None:
        """Take a working order off the exchange.

        Raises:
            BadRequestError: DH-906 while the order is in TRANSIT, or when it is not live any more.
        """
        if order.status is OrderStatus.TRANSIT:
            raise BadRequestError("Order is in Transit state", "DH-906")
        if not order.is_live:
            raise BadRequestError(f"Order is already {order.status.value.title()}", "DH-906")
        self._finish(order, OrderStatus.CANCELLED, CONFIRMED)

    def modify(self, order: PaperOrder, kind: str, quantity: int, price: Paise, trigger: Paise) -> None:
        """Change a live order. `quantity` is the total, not the rest; 0 and "" keep what is there. TRANSIT is allowed.

        Raises:
            BadRequestError: DH-906 when the order is not live, already modified 25 times, or less than filled.
        """
        if not order.is_live:
            raise BadRequestError(f"Order is already {order.status.value.title()}", "DH-906")
        if order.modifications >= MAX_MODIFICATIONS:
            raise BadRequestError("Maximum modifications of the order reached", "DH-906")
        if quantity and quantity <= order.filled:
            raise BadRequestError("Quantity is below the traded quantity", "DH-906")
        order.modifications += 1
        order.kind = kind or order.kind
        order.quantity = quantity or order.quantity
        order.price = price or order.price
        order.trigger = trigger or order.trigger
        if order.status is OrderStatus.TRANSIT:
            return
        self._loop.call_later(self._options.transit_s, self._arrive_modified, order)

    def _arrive_modified(self, order: PaperOrder) -> None:
        if not order.is_live:
            return
        book = self._market.quote(order.key)
        contract = self._market.instruments.by_key[order.key].instrument
        self._convert(order, book.last)
        text = rejection(order, contract, book.last, with_protection_range=self._options.check_price_protection)
        if text is not None:
            self._finish(order, OrderStatus.REJECTED, text)
            return
        self._changed(order)
        self._match(order, book)

    def _finish(self, order: PaperOrder, status: OrderStatus, reason: str) -> None:
        order.status, order.reason = status, reason
        self._forget_if_done(order)
        event = {OrderStatus.REJECTED: "order_rejected", OrderStatus.CANCELLED: "order_cancelled"}
        self._log.add(event.get(status, "order_ended"), order_id=order.order_id, reason=reason, filled=order.filled)
        self._changed(order)

    def _forget_if_done(self, order: PaperOrder) -> None:
        if not order.is_live and order in self._working[order.key]:
            self._working[order.key].remove(order)

    def _changed(self, order: PaperOrder) -> None:
        order.updated_at = self._clock.ist_text()
        self.on_change(order)
