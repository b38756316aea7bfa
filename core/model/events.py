"""Facts the engine is told, in the past tense: a closed union. `at_ns` is always the monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from core.model.memory import NOTHING_REMEMBERED

if TYPE_CHECKING:
    from core.model.exit_levels import ExitLevels
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.memory import PositionMemory
    from core.model.orders import OrderReport, Refusal, TradeReport
    from core.model.position import Position, PositionReport


@dataclass(frozen=True, slots=True)
class QuoteArrived:
    """A price, for whoever replays events. The running monitor calls the engine's `on_quote` without making one."""

    quote: Quote


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The clock, told at every deadline the engine asked for and at least four times a second.

    `utc_ns` is the wall clock. `session_open` is the calendar's word: True, False, or None when it does not know.
    `is_trading_day` likewise, and `cash_open` for shares: their session is shorter.
    """

    at_ns: int
    utc_ns: int
    session_open: bool | None
    is_trading_day: bool | None
    cash_open: bool | None = True


@dataclass(frozen=True, slots=True)
class PositionOpened:
    """A position to guard: new, or changed in its rows or levels. Replaces what was known of the strategy_id.

    `memory` is what was remembered of it from before a restart.
    """

    position: Position
    levels: ExitLevels
    at_ns: int
    memory: PositionMemory = NOTHING_REMEMBERED


@dataclass(frozen=True, slots=True)
class PositionGone:
    """The store no longer lists any open row of the strategy."""

    strategy_id: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class FeedStateChanged:
    """`is_live`: some price connection delivers data. False makes marks older than the stale limit unusable.

    Which instruments a single dead connection leaves without news is told by PricesDoubted.
    """

    is_live: bool
    at_ns: int


@dataclass(frozen=True, slots=True)
class PricesDoubted:
    """Nothing shows any more that the prices of these instruments are still true: no packet, no answer over REST.

    They fire no price rule until a quote comes that was received after `at_ns`.
    """

    keys: tuple[InstrumentKey, ...]
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class LoopStalled:
    """The program or the machine stood still for `lasted_ns`, until `at_ns`: what is received now may have waited, and be old.

    The engine sees by itself when no time was told. This is for whoever knows of a sleep that the monotonic clock did not count.
    """

    at_ns: int
    lasted_ns: int


@dataclass(frozen=True, slots=True)
class OrderPosted:
    """The bytes of the order are on the wire. `durable_ns`: when its journal record was on disk."""

    correlation_id: str
    durable_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderAccepted:
    """The broker took the request (200 with an order id). Not yet the exchange."""

    correlation_id: str
    order_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderRefused:
    """The broker refused for certain: no order exists."""

    correlation_id: str
    refusal: Refusal
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderOutcomeUnknown:
    """Sent, and no answer that proves anything. Counts as live until it is found or proved absent."""

    correlation_id: str
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderReported:
    """The broker's word on one order, from any source: order by id, order book, order update."""

    report: OrderReport
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderAbsenceSeen:
    """One successful look-up by correlation id AND one successful read of the whole order book AND of the trade book found nothing.

    An error in any of the three is not this event. `unexplained_trades`: trades on the key that no known order explains.
    """

    correlation_id: str
    unexplained_trades: bool
    requested_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderBookRead:
    """The whole order book of the day as read in one call."""

    reports: tuple[OrderReport, ...]
    requested_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class TradeBookRead:
    trades: tuple[TradeReport, ...]
    requested_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class PositionsRead:
    report: PositionReport
    at_ns: int


@dataclass(frozen=True, slots=True)
class BrokerReadFailed:
    """A read gave no usable answer. Never "flat", never "absent". `what` is the command's class name."""

    what: str
    reason: str
    at_ns: int
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class RowsClosed:
    """The store confirmed that the rows of an exit are closed."""

    exit_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class OperatorExitRequested:
    """A person wants the position closed. Nothing sends this yet: the emergency tool comes with a later issue."""

    strategy_id: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """No new triggers from now on; running exits are left as they are."""

    at_ns: int


BrokerWord: TypeAlias = (
    OrderPosted
    | OrderAccepted
    | OrderRefused
    | OrderOutcomeUnknown
    | OrderReported
    | OrderAbsenceSeen
    | OrderBookRead
    | TradeBookRead
    | BrokerReadFailed
)
"""What the broker says of orders, and that he said nothing."""

Event: TypeAlias = (
    QuoteArrived
    | TimePassed
    | PositionOpened
    | PositionGone
    | FeedStateChanged
    | PricesDoubted
    | LoopStalled
    | BrokerWord
    | PositionsRead
    | RowsClosed
    | OperatorExitRequested
    | StopRequested
)
