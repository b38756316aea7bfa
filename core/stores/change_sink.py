"""What a listener to changes tells a store. A change says where to look, never what is there: the store reads again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RowChange:
    """A row of `table` (name as in design/database.md) changed.

    `key` is its primary key, `strategy_id` what it belongs to; each None when the message does not say.
    """

    table: str
    key: int | None
    strategy_id: int | None


class ChangeSink(Protocol):
    """Every method returns at once and raises nothing."""

    def changed(self, change: RowChange) -> None: ...

    def confirmed(self) -> None:
        """Changes are delivered from now on. What happened before may have gone unseen: read everything."""

    def doubted(self, reason: str) -> None:
        """Changes may go unseen from now on, or have: read everything, and often, until `confirmed`."""
