"""What the broker's risk system and the exchange refuse after Dhan has already answered 200 (dhan_v2_protocol 5.3, 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.instrument import Segment
from core.model.money import rupees
from core.model.orders import Side
from core.model.position import Product
from core.paper.orders import STOP_LOSS, PaperOrder

if TYPE_CHECKING:
    from core.model.instrument import Instrument
    from core.model.money import Paise

PROTECTION_SLABS: Final = ((50_00, 20), (200_00, 10), (1_000_00, 5), (10**9, 2))
"""(premium up to, percent): Dhan's published market price protection for options (dhan_v2_protocol 8.5)."""
SMALL_PREMIUM: Final = 50_00
SMALL_PREMIUM_RANGE: Final = 20_00
LARGE_PREMIUM_PERCENT: Final = 40
DERIVATIVES: Final = frozenset({Segment.NSE_FNO, Segment.BSE_FNO})


def protected_price(last: Paise, side: Side, tick: Paise) -> Paise:
    """The limit a MARKET order becomes: the last price plus or minus its slab, to the nearest tick, at least a tick."""
    percent = next(percent for limit, percent in PROTECTION_SLABS if last <= limit)
    raw = last * (100 + side.sign * percent)
    return max(round(raw / 100 / tick) * tick, tick)


def rejection(order: PaperOrder, contract: Instrument, last: Paise, *, with_protection_range: bool) -> str | None:
    """Why the order is rejected, as omsErrorDescription says it; None when it is taken. `last` 0 when never traded."""
    text = _quantity_fault(order, contract) or _price_fault(order, contract)
    if text is None and with_protection_range and not order.waits_for_trigger:
        text = protection_fault(order, contract, last)
    return text and f"RMS:{order.order_id}:{text}"


def _quantity_fault(order: PaperOrder, contract: Instrument) -> str | None:
    if contract.key.segment is Segment.IDX_I:
        return "Instrument is not tradable"
    if contract.key.segment in DERIVATIVES and order.product is Product.CNC:
        return "Product CNC is not allowed for derivatives"
    if order.quantity % contract.lot:
        return f"Order quantity {order.quantity} is not a multiple of the lot size {contract.lot}"
    if contract.freeze_quantity is not None and order.quantity >= contract.freeze_quantity:
        return f"Order quantity {order.quantity} exceeds the freeze quantity of the scrip"
    return None


def _price_fault(order: PaperOrder, contract: Instrument) -> str | None:
    if order.price % contract.tick or order.trigger % contract.tick:
        return f"Price is not a multiple of the tick size {rupees(contract.tick)}"
    low, high = contract.lower_limit, contract.upper_limit
    if low is not None and high is not None and not low <= order.price <= high:
        return f"Order Price needs to be Circuit Limits of {rupees(low)} to {rupees(high)}"
    if order.kind == STOP_LOSS and (order.trigger - order.price) * order.side.sign > 0:
        wanted = "greater" if order.side is Side.SELL else "less"
        return f"Trigger Price should be {wanted} than Price"
    return None


def protection_fault(order: PaperOrder, contract: Instrument, last: Paise) -> str | None:
    """Limit price protection of options: only the side that pays too much is refused (dhan_v2_protocol 8.3)."""
    if contract.right is None or last <= 0:
        return None
    reach = SMALL_PREMIUM_RANGE if last <= SMALL_PREMIUM else last * LARGE_PREMIUM_PERCENT // 100
    low, high = max(last - reach, 0), last + reach
    if (order.side is Side.BUY and order.price > high) or (order.side is Side.SELL and order.price < low):
        return f"Order Price is out of the Limit Price Protection range of {rupees(low)} to {rupees(high)}"
    return None
