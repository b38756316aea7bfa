"""Level rows that vanish all at once: somebody is writing them anew, and a default in the gap could close the position.

A strategy builder replaces levels by deleting them and inserting others. Over REST those are two transactions, and a change that
is noticed at once is read right between them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from core.model.session_time import NS_PER_S
from core.model.trade_rows import LevelRow, MonitoringRow, PlannedLeg, RiskRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.stores.base import Snapshot

GRACE_NS: Final = int(2.5 * NS_PER_S)
"""How long the last rows hold. An edit is live within 5 s, so this must be shorter."""

_Row = TypeVar("_Row", LevelRow, RiskRow, MonitoringRow, PlannedLeg)


class _Memory(Generic[_Row]):
    def __init__(self) -> None:
        self._rows: dict[int, tuple[_Row, ...]] = {}
        self._gone_ns: dict[int, int] = {}

    @property
    def gone_ns(self) -> Iterable[int]:
        return self._gone_ns.values()

    def settled(
        self, rows: Iterable[_Row], strategies: frozenset[int], now_ns: int
    ) -> tuple[tuple[_Row, ...], set[int]]:
        """The rows that hold now, and the strategies whose rows have been gone for too long."""
        found: dict[int, list[_Row]] = defaultdict(list)
        for row in rows:
            found[row.strategy_id].append(row)
        given_up = set()
        missing = (strategies & self._rows.keys()) - found.keys()
        for strategy_id in missing:
            if now_ns - self._gone_ns.setdefault(strategy_id, now_ns) < GRACE_NS:
                found[strategy_id].extend(self._rows[strategy_id])
            else:
                given_up.add(strategy_id)
        self._gone_ns = {
            each: since for each, since in self._gone_ns.items() if each in missing and each not in given_up
        }
        self._rows = {each: tuple(kept) for each, kept in found.items() if each in strategies}
        return tuple(row for kept in found.values() for row in kept), given_up


class LevelMemory:
    """Call `settled` with every snapshot; times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._levels: _Memory[LevelRow] = _Memory()
        self._risks: _Memory[RiskRow] = _Memory()
        self._monitoring: _Memory[MonitoringRow] = _Memory()
        self._details: _Memory[PlannedLeg] = _Memory()

    def settled(self, snapshot: Snapshot, now_ns: int) -> tuple[Snapshot, frozenset[int]]:
        """The snapshot with the rows that hold, and the strategies whose level or risk rows are gone for good.

        Defaults hold there now. What strategy_monitoring and strategy_details say has no default, so nobody is told of those.
        """
        strategies = frozenset(trade.strategy_id for trade in snapshot.trades)
        levels, without_levels = self._levels.settled(snapshot.levels, strategies, now_ns)
        risks, without_risks = self._risks.settled(snapshot.risks, strategies, now_ns)
        monitoring, _ = self._monitoring.settled(snapshot.monitoring, strategies, now_ns)
        details, _ = self._details.settled(snapshot.details, strategies, now_ns)
        settled = replace(snapshot, levels=levels, risks=risks, monitoring=monitoring, details=details)
        return settled, frozenset(without_levels | without_risks)

    def due_ns(self) -> int | None:
        """When the rows must be looked at again; None while nothing is missing."""
        memories = (self._levels, self._risks, self._monitoring, self._details)
        gone = [since for memory in memories for since in memory.gone_ns]
        return min(gone) + GRACE_NS if gone else None
