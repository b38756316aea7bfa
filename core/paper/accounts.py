"""One client's day: its orders, its trades, and its positions per (contract, product)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.model.orders import Side
from core.model.position import HoldingKey, Product

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.model.money import Paise
    from core.paper.orders import PaperOrder, Trade


@dataclass(slots=True)
class PaperPosition:
    """Quantities in units, values in paise x units (quantity x price)."""

    holding: HoldingKey
    day_bought: int = 0
    day_sold: int = 0
    day_buy_value: int = 0
    day_sell_value: int = 0
    carried_bought: int = 0
    carried_sold: int = 0
    carried_buy_value: int = 0
    carried_sell_value: int = 0

    @property
    def bought(self) -> int:
        return self.day_bought + self.carried_bought

    @property
    def sold(self) -> int:
        return self.day_sold + self.carried_sold

    @property
    def net(self) -> int:
        return self.bought - self.sold

    @property
    def buy_average(self) -> float:
        """Rupees per unit, 0.0 when nothing was bought."""
        return (self.day_buy_value + self.carried_buy_value) / self.bought / 100 if self.bought else 0.0

    @property
    def sell_average(self) -> float:
        """Rupees per unit, 0.0 when nothing was sold."""
        return (self.day_sell_value + self.carried_sell_value) / self.sold / 100 if self.sold else 0.0

    def add(self, side: Side, quantity: int, price: Paise) -> None:
        if side is Side.BUY:
            self.day_bought += quantity
            self.day_buy_value += quantity * price
        else:
            self.day_sold += quantity
            self.day_sell_value += quantity * price

    def carry(self, units: int, price: Paise) -> None:
        """Add holdings carried forward from an earlier day: `units` signed, `price` in paise per unit."""
        if units > 0:
            self.carried_bought += units
            self.carried_buy_value += units * price
        else:
            self.carried_sold -= units
            self.carried_sell_value -= units * price


@dataclass(slots=True)
class Account:
    client_id: str
    orders: dict[str, PaperOrder] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)
    positions: dict[HoldingKey, PaperPosition] = field(default_factory=dict)
    kill_switch: bool = False
    profit_and_loss_exit: dict[str, object] | None = None

    def position(self, key: InstrumentKey, product: Product) -> PaperPosition:
        return self.positions.setdefault(HoldingKey(key, product), PaperPosition(HoldingKey(key, product)))

    def by_correlation_id(self, correlation_id: str) -> PaperOrder | None:
        """The newest order with this id: nothing stops a client from posting one twice (dhan_v2_protocol 5.3)."""
        return next((o for o in reversed(self.orders.values()) if o.correlation_id == correlation_id), None)

    def book_trade(self, trade: Trade) -> None:
        order = trade.order
        self.trades.append(trade)
        self.position(order.key, order.product).add(order.side, trade.quantity, trade.price)

    def convert(self, key: InstrumentKey, source: Product, target: Product, quantity: int) -> bool:
        """Move units between products; False when the source does not hold that many."""
        held = self.position(key, source)
        if quantity <= 0 or quantity > abs(held.net):
            return False
        sign = 1 if held.net > 0 else -1
        average = held.buy_average if sign > 0 else held.sell_average
        price = round(average * 100)
        held.add(Side.SELL if sign > 0 else Side.BUY, quantity, price)
        self.position(key, target).add(Side.BUY if sign > 0 else Side.SELL, quantity, price)
        return True
