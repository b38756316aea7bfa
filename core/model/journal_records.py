"""What is durable of exits and limits: facts, in the order they became true. A replay is a pure fold, never an order to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from core.model.special_levels import ScopeKey

if TYPE_CHECKING:
    from core.model.money import Paise
    from core.model.orders import OrderIntent, OrderStatus
    from core.model.position import Position
    from core.model.signals import ExitRecord, Signal
    from core.model.special_levels import LimitKind, Scope


@dataclass(frozen=True, slots=True)
class ExitStarted:
    """A signal became an exit. `position` is frozen here: later edits of the rows do not change what is closed.

    `row_units`: signed units of each leg's row in the database, given when the exit closes only a share of them. A second record
    of the same `exit_id` makes of such an exit one of all units of `position`: its orders so far go on, and count.
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
    """`may_widen`: its attempts are spent, or it sold more than was to go. Of a share the whole may be closed all the same."""

    exit_id: str
    reason: str
    may_widen: bool = False


@dataclass(frozen=True, slots=True)
class ExitFinished:
    """Every leg is flat by the broker's positions. The rows still have to be written."""

    exit_id: str
    record: ExitRecord


@dataclass(frozen=True, slots=True)
class RowsWritten:
    exit_id: str


@dataclass(frozen=True, slots=True)
class LimitTripped:
    """A limit over positions fired: from now on what is opened in its scope is closed, until the next session or a reset.

    `limit` and `observed` are paise, signed; of a daily loss they count the day. `utc_ns` is the wall clock.
    """

    scope: Scope
    name: str
    kind: LimitKind
    limit: Paise
    observed: Paise
    utc_ns: int

    @property
    def key(self) -> ScopeKey:
        return ScopeKey(self.scope, self.name)

    @property
    def exit_id(self) -> str:
        """No exit's: what the journal files it under."""
        return f"limit {self.key}"


@dataclass(frozen=True, slots=True)
class LimitReset:
    """An operator let a scope go on. `forgiven` is its P&L of the day then (paise): the daily loss counts from there."""

    scope: Scope
    name: str
    forgiven: Paise
    utc_ns: int

    @property
    def key(self) -> ScopeKey:
        return ScopeKey(self.scope, self.name)

    @property
    def exit_id(self) -> str:
        """No exit's: what the journal files it under."""
        return f"limit {self.key}"


@dataclass(frozen=True, slots=True)
class DayCounted:
    """What the day brought on a position that is over: paise, None when that is not known.

    `exit_id` is the exit that ended it, "" when it went without one of ours. `underlying` in capitals.
    """

    exit_id: str
    strategy_id: int
    underlying: str
    change: Paise | None
    utc_ns: int


LimitRecord: TypeAlias = LimitTripped | LimitReset | DayCounted

JournalRecord: TypeAlias = (
    ExitStarted
    | AttemptPrepared
    | AttemptObserved
    | AttemptRefused
    | AttemptAbsent
    | ExitHalted
    | ExitFinished
    | RowsWritten
    | LimitRecord
)
