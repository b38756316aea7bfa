"""The port to where trades live: a SQLite file or a Supabase project, by one contract (tests/contract)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from core.model.trade_rows import LevelRow, MonitoringRow, PlannedLeg, RiskRow, StrategyRow, TradeRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from core.model.errors import RowError
    from core.model.signals import ExitRecord

__all__ = [
    "LevelRow",
    "MonitoringRow",
    "PlannedLeg",
    "RiskRow",
    "RowOutcome",
    "Snapshot",
    "StoreHealth",
    "StoreState",
    "StrategyRow",
    "TradeRow",
    "TradeStore",
]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything open at one instant, and the rows that could not be read.

    `problems` name bad rows; the strategies of bad *trade* rows are in `damaged` (the good legs of those are still listed).
    `stale`: "" when the rows were read now, else why they are of an earlier time. `monitoring` and `details` are of optional
    tables: () where there are none.
    """

    trades: tuple[TradeRow, ...]
    strategies: tuple[StrategyRow, ...]
    risks: tuple[RiskRow, ...]
    levels: tuple[LevelRow, ...]
    problems: tuple[RowError, ...]
    damaged: frozenset[int]
    stale: str = ""
    monitoring: tuple[MonitoringRow, ...] = ()
    details: tuple[PlannedLeg, ...] = ()


class RowOutcome(StrEnum):
    """What became of one row that an exit wanted to close. The update is a claim: of many, one wins."""

    CLOSED = "closed"
    """It was open and this call closed it."""
    OURS = "ours"
    """The same exit had closed it before: the answer to an earlier try was lost."""
    OTHERS = "others"
    """Somebody else closed it first; it is left as it is."""
    GONE = "gone"
    """There is no such row any more."""


class StoreState(StrEnum):
    """How soon a change of the rows is noticed."""

    LIVE = "live"
    """At once, and that is being proved."""
    POLLING = "polling"
    """By reading again every few seconds."""
    AWAY = "away"
    """Not at all: the store does not answer."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """`detail` in words for the screen, "" when there is nothing to say."""

    state: StoreState
    detail: str = ""


class TradeStore(Protocol):
    """Where trades live. Every method may raise StoreError (unusable) or TransportError (try again)."""

    async def open(self) -> None:
        """Connect and check the tables. Raises StoreError naming a missing table or column and its remedy."""

    async def read_snapshot(self) -> Snapshot:
        """Read all open trades with their strategies and levels. A trade is never read without levels that came with it."""

    def changes(self) -> AsyncIterator[None]:
        """Yield once for every noticed change (coalesced). A hint: the reader re-reads the snapshot."""

    async def close_rows(self, record: ExitRecord) -> Mapping[int, RowOutcome]:
        """Mark the rows of a finished full exit closed: order id, price, time, reason. Idempotent; {} after a partial exit.

        The result is by row id. A row that somebody else has closed meanwhile is left as it is. Raises StoreError when the
        store denies the update, TransportError when it is not known whether it took effect: calling again is right.
        """

    async def record_risk_event(self, record: ExitRecord) -> None:
        """Append to `risk_events` where the table exists, once per exit; does nothing where it does not."""

    def health(self) -> StoreHealth: ...

    def doubts(self) -> str:
        """What a person should look at after `open`, "" when nothing. Not an error: it may be meant."""

    async def close(self) -> None: ...
