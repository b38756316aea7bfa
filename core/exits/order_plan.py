"""How a position is closed: which legs first, in which slices, at which price."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.model.market import mark_of
from core.model.money import snap_down, snap_up
from core.model.orders import Side

if TYPE_CHECKING:
    from core.model.instrument import Instrument
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import Position

_BPS = 10_000
# Limit price protection of the exchange for options (dhan_v2_protocol 8.3): ±₹20 up to ₹50 of premium, ±40 % above.
_LPP_SMALL_PREMIUM: Paise = 50_00
_LPP_SMALL_RANGE: Paise = 20_00
_LPP_LARGE_BPS = 4_000


@dataclass(frozen=True, slots=True)
class LadderSettings:
    """`rungs_bps`: how far beyond the best opposite price each round goes, in basis points; at least one tick always.

    After `ioc_rounds` rounds of IOC the rest goes out as a DAY limit at the widest allowed price.
    """

    rungs_bps: tuple[int, ...] = (0, 50, 150, 400, 1_000)
    ioc_rounds: int = 6


def closing_side(units: int) -> Side:
    """The side that closes signed units: BUY closes a short."""
    return Side.BUY if units < 0 else Side.SELL


def short_legs(position: Position) -> tuple[int, ...]:
    """Indices of the legs that are bought back first. A long is never sold while one of these is open."""
    return tuple(i for i, leg in enumerate(position.legs) if leg.units < 0)


def has_other_side(side: Side, quote: Quote) -> bool:
    """Somebody offers what an order of this side would take: an ask for BUY, a bid for SELL."""
    return (quote.ask if side is Side.BUY else quote.bid) is not None


def slice_quantity(wanted: int, instrument: Instrument) -> int:
    """The next order's quantity in units: at most the freeze limit, whole lots unless the rest is smaller than a lot.

    A rest below one lot can only come from a row whose quantity is no multiple of today's lot: it is sent as it is and the
    exchange decides, because keeping it silently would leave it unprotected.
    """
    largest = instrument.max_order_quantity
    quantity = wanted if largest is None else min(wanted, largest)
    whole = quantity - quantity % instrument.lot
    return whole or quantity


def price_limits(instrument: Instrument, mark: Paise) -> tuple[Paise, Paise | None]:
    """Lowest and highest price (paise, on the tick grid) that band and price protection let through, one tick inside.

    The exchange's reference is a one-minute average that nobody publishes; the mark stands in for it.
    """
    tick = instrument.tick
    low, high = tick, instrument.upper_limit
    if instrument.lower_limit is not None:
        low = max(low, instrument.lower_limit)
    if instrument.right is not None:
        reach = _LPP_SMALL_RANGE if mark <= _LPP_SMALL_PREMIUM else mark * _LPP_LARGE_BPS // _BPS
        low = max(low, snap_up(mark - reach, tick) + tick)
        protected = snap_down(mark + reach, tick) - tick
        high = protected if high is None else min(high, protected)
    return low, high


def limit_price(side: Side, quote: Quote, instrument: Instrument, round_number: int, ladder: LadderSettings) -> Paise:
    """Price of the next order in paise, on the tick grid, inside the limits of the exchange.

    `round_number` counts from 0. Beyond the last rung the price stays at the widest allowed one.
    """
    tick = instrument.tick
    mark = mark_of(quote.last, quote.bid, quote.ask)
    low, high = price_limits(instrument, mark)
    if round_number >= len(ladder.rungs_bps) and high is not None:
        price = high if side is Side.BUY else low
    else:
        bps = ladder.rungs_bps[min(round_number, len(ladder.rungs_bps) - 1)]
        price = _beyond_best(side, quote, mark, bps, tick)
    if high is not None:
        price = min(price, snap_down(high, tick))
    return max(price, snap_up(low, tick), tick)


def _beyond_best(side: Side, quote: Quote, mark: Paise, bps: int, tick: Paise) -> Paise:
    if side is Side.BUY:
        best = mark if quote.ask is None else quote.ask
        return snap_up(best + max(tick, best * bps // _BPS), tick)
    best = mark if quote.bid is None else quote.bid
    return snap_down(best - max(tick, best * bps // _BPS), tick)


def exit_id_of(position: Position, generation: int) -> str:
    """Stable name of one exit: the same rows and generation give the same id after any restart."""
    rows = ",".join(str(leg.row_id) for leg in position.legs)
    digest = hashlib.blake2s(f"{position.strategy_id}|{generation}|{rows}".encode(), digest_size=5).hexdigest()
    return f"{position.strategy_id}-{generation}-{digest}"


def correlation_id_of(exit_id: str, row_id: int, attempt: int) -> str:
    """Search key of one order attempt: 21 characters, deterministic, posted once ever (exit protocol 2.3)."""
    digest = hashlib.blake2s(f"{exit_id}|{row_id}|{attempt}".encode(), digest_size=13).digest()
    return "X" + base64.b32encode(digest).decode()[:20]
