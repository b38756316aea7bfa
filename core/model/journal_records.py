"""What is durable of an exit: facts, in the order they became true. Replaying them is a pure fold, never an order to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from core.model.orders import OrderIntent, OrderStatus
    from core.model.position import Position
    from core.model.signals import ExitRecord, Signal


@dataclass(frozen=True, slots=True)
class ExitStarted:
    """A signal became an exit. `position` is frozen here: later edits of the rows do not change what is closed.

    `row_units`: signed units of each leg's row in the database, given when the exit closes only a share of them.
    """

    exit_id: str
    generation: int
    signal: Signal
    position: Position
    row_units: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptPrepared:
    """Durable before the first byte of the order. Without an end record it is UNKNOWN after a restart.

    `leg` is the index into the exit's position legs, `number` the attempt's, counted per leg from 1.
    """

    exit_id: str
    leg: int
    number: int
    intent: OrderIntent


@dataclass(frozen=True, slots=True)
class AttemptObserved:
    """The broker's word on an attempt. `order_id` "" while unknown; `filled` cumulative units; `average_price` paise."""

    exit_id: str
    correlation_id: str
    order_id: str
    status: OrderStatus
    filled: int
    average_price: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRefused:
    exit_id: str
    correlation_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptAbsent:
    """Proved never to have reached the broker."""

    exit_id: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class ExitHalted:
    exit_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ExitFinished:
    """Every leg is flat by the broker's positions. The rows still have to be written."""

    exit_id: str
    record: ExitRecord


@dataclass(frozen=True, slots=True)
class RowsWritten:
    exit_id: str


JournalRecord: TypeAlias = (
    ExitStarted
    | AttemptPrepared
    | AttemptObserved
    | AttemptRefused
    | AttemptAbsent
    | ExitHalted
    | ExitFinished
    | RowsWritten
)
