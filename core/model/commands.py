"""What the engine wants done, in the imperative: a closed union.

Order matters: every `WriteJournal` of a batch is on disk before any other command of the batch is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.model.journal_records import JournalRecord
    from core.model.orders import OrderIntent
    from core.model.position import HoldingKey
    from core.model.signals import ExitRecord


class Severity(StrEnum):
    INFO = "INFO"
    WARNING = "WARNING"
    PAGE = "PAGE"


@dataclass(frozen=True, slots=True)
class WriteJournal:
    record: JournalRecord


@dataclass(frozen=True, slots=True)
class SubmitOrder:
    """Post once. The answer comes back as OrderAccepted, OrderRefused or OrderOutcomeUnknown, never as an exception."""

    intent: OrderIntent


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Ask for a cancel. Its answer proves nothing: the order's own report does."""

    order_id: str


@dataclass(frozen=True, slots=True)
class ReadOrder:
    """Read one order by id. Comes back as OrderReported or BrokerReadFailed with the correlation id."""

    order_id: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class ResolveOrder:
    """Look the order up by correlation id, and read the whole order book and the trade book.

    Comes back as OrderReported, OrderAbsenceSeen or BrokerReadFailed.
    """

    correlation_id: str
    holding: HoldingKey


@dataclass(frozen=True, slots=True)
class ReadOrderBook:
    pass


@dataclass(frozen=True, slots=True)
class ReadTradeBook:
    pass


@dataclass(frozen=True, slots=True)
class ReadPositions:
    pass


@dataclass(frozen=True, slots=True)
class RequestQuotes:
    """Ask REST for these prices: the feed's are missing or too old."""

    keys: tuple[InstrumentKey, ...]


@dataclass(frozen=True, slots=True)
class CloseRows:
    """Write the legs' rows as closed, with their fill prices, until it is confirmed. Idempotent by exit_id."""

    record: ExitRecord


@dataclass(frozen=True, slots=True)
class RecordExit:
    """Append one line to exit_executions.json."""

    record: ExitRecord


@dataclass(frozen=True, slots=True)
class Alert:
    severity: Severity
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Remember:
    """What is remembered of the position has changed: write it behind the ticks. Ask the engine for it then."""

    strategy_id: int


Command: TypeAlias = (
    WriteJournal
    | SubmitOrder
    | CancelOrder
    | ReadOrder
    | ResolveOrder
    | ReadOrderBook
    | ReadTradeBook
    | ReadPositions
    | RequestQuotes
    | CloseRows
    | RecordExit
    | Alert
    | Remember
)
