"""The raw rows of the tables as last read, and what of them is doubted. Pure.

Rows are held by strategy, because a strategy is what is read again. A row without a readable strategy is held too: it must be
named as a problem, and only reading everything replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.stores.change_sink import RowChange
from core.stores.columns import Row, integer
from core.stores.rows import DETAILS, LEVELS, MONITORING, RISKS, STRATEGIES, TRADES, key_column
from core.stores.supabase_columns import STRATEGY_COLUMN

TABLES: Final = (TRADES, STRATEGIES, RISKS, LEVELS, MONITORING, DETAILS)
"""In the order of the arguments of `snapshot_of`."""
MANY: Final = 200
"""Above this many doubted strategies, reading everything is cheaper."""

Tables = Mapping[str, Sequence[Row]]
"""Rows by table."""


@dataclass(frozen=True, slots=True)
class Doubts:
    """What must be read again: everything, or the rows of some strategies, or nothing."""

    everything: bool = False
    strategies: frozenset[int] = frozenset()

    def __or__(self, other: Doubts) -> Doubts:
        return Doubts(self.everything or other.everything, self.strategies | other.strategies)


class RowMirror:
    """Starts empty, with everything in doubt."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int | None, tuple[Row, ...]]] = {table: {} for table in TABLES}
        self._owners: dict[str, dict[int, int | None]] = {table: {} for table in TABLES}
        self._doubts = Doubts(everything=True)

    def rows(self) -> dict[str, list[Row]]:
        """Every row by table; trades by their time, as the embedded store reads them."""
        found = {table: [row for rows in self._rows[table].values() for row in rows] for table in TABLES}
        found[TRADES].sort(key=lambda row: str(row.get("timestamp") or ""))
        return found

    def strategies(self) -> frozenset[int]:
        """Those with an open trade."""
        return frozenset(owner for owner in self._rows[TRADES] if owner is not None)

    def has_rows(self, table: str, strategies: Iterable[int] | None) -> bool:
        """Whether there are rows of these strategies, or of any when None."""
        held = self._rows[table]
        return bool(held) if strategies is None else any(strategy in held for strategy in strategies)

    def rows_of(self, table: str, strategies: Iterable[int]) -> list[Row]:
        held = self._rows[table]
        return [row for strategy in sorted(set(strategies)) for row in held.get(strategy, ())]

    # --- what is doubted ---

    def doubt_everything(self) -> None:
        self._doubts |= Doubts(everything=True)

    def doubt(self, strategies: Iterable[int]) -> None:
        self._doubts |= Doubts(strategies=frozenset(strategies))

    def note(self, change: RowChange) -> None:
        """Doubt the strategy that the message names, and the one that the row belonged to: it may have moved."""
        if change.table not in self._rows:
            return
        named = change.strategy_id
        if named is None and change.table == STRATEGIES:
            named = change.key
        owner = None if change.key is None else self._owners[change.table].get(change.key)
        found = {strategy for strategy in (named, owner) if strategy is not None}
        if found:
            self.doubt(found)
        else:
            self.doubt_everything()

    def take_doubts(self) -> Doubts:
        """What is doubted now; from here on it counts as being read, and later messages are doubts of their own."""
        taken, self._doubts = self._doubts, Doubts()
        return Doubts(everything=True) if taken.everything or len(taken.strategies) > MANY else taken

    def give_back(self, doubts: Doubts) -> None:
        """The read failed."""
        self._doubts |= doubts

    # --- new rows ---

    def replace_all(self, tables: Tables) -> None:
        for table in TABLES:
            self._rows[table], self._owners[table] = {}, {}
            self._add(table, tables.get(table, ()))

    def replace(self, strategies: Iterable[int], tables: Tables) -> None:
        """Put the rows of these strategies in the place of those that were held.

        A row that was held under another strategy has moved: what is read now is newer.
        """
        asked = set(strategies)
        for table in TABLES:
            self._take_out(table, tables.get(table, ()), asked)
            gone = asked & self._rows[table].keys()
            for strategy in gone:
                del self._rows[table][strategy]
            if gone:
                self._owners[table] = {key: owner for key, owner in self._owners[table].items() if owner not in gone}
            self._add(table, tables.get(table, ()))

    def _take_out(self, table: str, rows: Iterable[Row], asked: set[int]) -> None:
        owners = self._owners[table]
        moved: dict[int | None, set[int]] = {}
        for row in rows:
            key = _number(row, key_column(row))
            if key in owners and owners[key] not in asked:
                moved.setdefault(owners[key], set()).add(key)
        for owner, keys in moved.items():
            rest = tuple(row for row in self._rows[table][owner] if _number(row, key_column(row)) not in keys)
            self._rows[table].pop(owner)
            if rest:
                self._rows[table][owner] = rest

    def _add(self, table: str, rows: Iterable[Row]) -> None:
        groups: dict[int | None, list[Row]] = {}
        for row in rows:
            strategy = strategy_of(table, row)
            groups.setdefault(strategy, []).append(row)
            key = _number(row, key_column(row))
            if key is not None:
                self._owners[table][key] = strategy
        for strategy, group in groups.items():
            self._rows[table][strategy] = tuple(group)


def strategy_of(table: str, row: Row) -> int | None:
    """The strategy that a row belongs to; None when it cannot be read."""
    return _number(row, STRATEGY_COLUMN[table])


def strategies_of(trades: Iterable[Row]) -> frozenset[int]:
    return frozenset(found for row in trades if (found := strategy_of(TRADES, row)) is not None)


def _number(row: Row, column: str) -> int | None:
    try:
        return integer(row, column)
    except ValueError:
        return None
