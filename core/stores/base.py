"""The port to where trades live. SQLite now, Supabase by the same contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from core.model.trade_rows import LevelRow, RiskRow, StrategyRow, TradeRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.model.errors import RowError
    from core.model.signals import ExitRecord

__all__ = ["LevelRow", "RiskRow", "Snapshot", "StrategyRow", "TradeRow", "TradeStore"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything open at one instant, and the rows that could not be read.

    `problems` name bad rows; the strategies of bad *trade* rows are in `damaged` (the good legs of those are still listed).
    """

    trades: tuple[TradeRow, ...]
    strategies: tuple[StrategyRow, ...]
    risks: tuple[RiskRow, ...]
    levels: tuple[LevelRow, ...]
    problems: tuple[RowError, ...]
    damaged: frozenset[int]


class TradeStore(Protocol):
    """Where trades live. Every method may raise StoreError (unusable) or TransportError (try again)."""

    async def open(self) -> None:
        """Connect and check the tables. Raises StoreError naming a missing table or column and its remedy."""

    async def read_snapshot(self) -> Snapshot:
        """Read all open trades with their strategies and levels, consistently."""

    def changes(self) -> AsyncIterator[None]:
        """Yield once for every noticed change (coalesced). A hint: the reader re-reads the snapshot."""

    async def close_rows(self, record: ExitRecord) -> None:
        """Mark the rows of a finished exit closed: order id, price, time, reason in one update each. Idempotent.

        A row that somebody else has closed meanwhile is left as it is.
        """

    async def record_risk_event(self, record: ExitRecord) -> None:
        """Append to `risk_events` where the table exists; does nothing where it does not."""

    async def close(self) -> None: ...
