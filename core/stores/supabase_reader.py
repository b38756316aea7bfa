"""Reads the trade tables: first which columns there are, then the open trades, then what belongs to them.

In this order: a trade is never read without the levels that were written before it. Optional tables that are not there, or
closed to us, have no rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from core.model.errors import RowError, StoreError
from core.stores.row_closing import OPEN
from core.stores.row_mirror import TABLES, RowMirror, Tables, strategies_of
from core.stores.rows import TRADES
from core.stores.schema import OPTIONAL_TABLES
from core.stores.supabase_columns import STRATEGY_COLUMN, Columns, described, wanted, without
from core.stores.supabase_errors import Meaning, RefusedRequest, emptied, lacks, worst_of
from core.stores.supabase_rest import IDS, SupabaseRest, one_of

if TYPE_CHECKING:
    from core.stores.columns import Row
    from core.stores.supabase_access import SupabaseAccess

_T = TypeVar("_T")

_AT_ONCE: Final = 8
_CHANGED_SHAPE: Final = frozenset({Meaning.NO_COLUMN, Meaning.NO_TABLE})
_UNREADABLE_COLUMN: Final = frozenset({Meaning.NO_COLUMN, Meaning.DENIED})
_NOT_OURS: Final = frozenset({Meaning.NO_TABLE, Meaning.DENIED})


@dataclass(frozen=True, slots=True)
class ReadRows:
    """`problems`: by table, what is odd about it as a whole."""

    tables: Tables
    problems: Mapping[str, RowError] = field(default_factory=dict)


class SupabaseReader:
    """Every method raises StoreError naming what is missing or denied, or TransportError."""

    def __init__(self, rest: SupabaseRest, access: SupabaseAccess) -> None:
        self._rest = rest
        self._access = access
        self._columns: dict[str, Columns] = {}
        self.shows_trades = False
        """At the probe there was at least one row of trades, open or not."""
        self.absent: dict[str, str] = {}
        """The optional tables that are not read, and why."""

    async def trades_key(self) -> str:
        """The column that names a trades row."""
        if not self._columns:
            await self.probe()
        return self._columns[TRADES].key or ""

    async def probe(self) -> None:
        """Find out which columns there are. A column that was there before must still be."""
        self.absent = {}
        probed = await together([partial(self._probed_or_absent, table) for table in TABLES])
        found = {columns.table: columns for columns in probed if columns is not None}
        for table, before in self._columns.items():
            gone = [name for name in before.names if table in found and name not in found[table].names]
            if gone and table not in OPTIONAL_TABLES:
                # What was read until now is not done without in silence: a stop or an account may have stood there.
                raise lacks(self._access, table, described(before, gone[0]))
        self._columns = found

    async def read(self, strategies: frozenset[int] | None, mirror: RowMirror) -> ReadRows:
        """The open trades of these strategies, or of all when None, and what belongs to them. `mirror` is what was there before."""
        if self._columns:
            try:
                return await self._read(strategies, mirror)
            except RefusedRequest as error:
                if error.meaning not in _CHANGED_SHAPE:
                    raise
        await self.probe()
        return await self._read(strategies, mirror)

    async def _read(self, strategies: frozenset[int] | None, mirror: RowMirror) -> ReadRows:
        is_whole = strategies is None
        if is_whole:
            self._rest.largest_page = 0
        trades = await self._rows(TRADES, strategies)
        if not trades and mirror.has_rows(TRADES, strategies) and not await self._shows_any(TRADES):
            raise emptied(self._access, TRADES)
        found = strategies_of(trades)
        others = [table for table in self._columns if table != TRADES]
        rows = await together([partial(self._rows_or_none, table, found, is_whole=is_whole) for table in others])
        tables: dict[str, Sequence[Row]] = {TRADES: trades, **dict(zip(others, rows, strict=True))}
        problems = {}
        for table in others:
            if table not in self.absent and not tables[table] and await self._is_hidden(table, found, mirror):
                # New trades must go on to be seen, so this table alone stays as it was.
                tables[table] = mirror.rows_of(table, found)
                problems[table] = RowError(table, "*", f"they stay as last read. {emptied(self._access, table)}")
        return ReadRows(tables, problems)

    async def _rows_or_none(self, table: str, strategies: Collection[int], *, is_whole: bool) -> list[Row]:
        """An optional table whose rights were taken away while we read has no rows from now on."""
        try:
            return await self._rows(table, strategies, is_whole=is_whole)
        except RefusedRequest as error:
            if table not in OPTIONAL_TABLES or error.meaning is not Meaning.DENIED:
                raise
            self._leave_out(table, error)
            return []

    def _leave_out(self, table: str, error: StoreError) -> None:
        self._columns.pop(table, None)
        self.absent[table] = error.refusal.words if isinstance(error, RefusedRequest) else str(error)

    async def _rows(self, table: str, strategies: Collection[int] | None, *, is_whole: bool | None = None) -> list[Row]:
        columns = self._columns[table]
        is_open = [("order_status", "eq", OPEN)] if table == TRADES else []
        until_empty = strategies is None if is_whole is None else is_whole
        if strategies is None:
            return await self._rest.select_all(table, columns.read, is_open, key=columns.key)
        ids = sorted(strategies)
        lists = [one_of(STRATEGY_COLUMN[table], ids[start : start + IDS]) for start in range(0, len(ids), IDS)]
        parts = await together(
            [
                partial(
                    self._rest.select_all,
                    table,
                    columns.read,
                    [*is_open, chunk],
                    key=columns.key,
                    until_empty=until_empty,
                )
                for chunk in lists
            ]
        )
        return [row for part in parts for row in part]

    async def _is_hidden(self, table: str, strategies: frozenset[int], mirror: RowMirror) -> bool:
        """No row any more where there were some, and none of anybody else's either."""
        return mirror.has_rows(table, strategies) and not await self._shows_any(table)

    async def _shows_any(self, table: str) -> bool:
        columns = self._columns[table]
        return bool(await self._rest.select(table, columns.read, limit=1))

    async def _probed_or_absent(self, table: str) -> Columns | None:
        try:
            return await self._probed(table)
        except StoreError as error:
            is_refused_otherwise = isinstance(error, RefusedRequest) and error.meaning not in _NOT_OURS
            if table not in OPTIONAL_TABLES or is_refused_otherwise:
                raise
            self._leave_out(table, error)
            return None

    async def _probed(self, table: str) -> Columns:
        columns = wanted(table)
        while True:
            try:
                rows = await self._rest.select(table, columns.all, limit=1)
            except RefusedRequest as error:
                if error.meaning not in _UNREADABLE_COLUMN or (table in OPTIONAL_TABLES and error.meaning in _NOT_OURS):
                    raise
                absent = error.refusal.column
                if absent is None or absent not in {columns.key, *columns.names}:
                    return await self._probed_one_by_one(columns)
                columns = self._without(columns, absent)
            else:
                if table == TRADES:
                    self.shows_trades = bool(rows)
                return columns

    async def _probed_one_by_one(self, columns: Columns) -> Columns:
        """The server does not say which column it means, or denies some column without naming it."""
        for name in [columns.key, *columns.optional]:
            try:
                await self._rest.select(columns.table, name or "", limit=1)
            except RefusedRequest as error:
                if error.meaning not in _UNREADABLE_COLUMN:
                    raise
                columns = without(columns, name or "") or columns
        await self._rest.select(columns.table, columns.all, limit=1)
        return columns

    def _without(self, columns: Columns, absent: str) -> Columns:
        smaller = without(columns, absent)
        if smaller is None:
            raise lacks(self._access, columns.table, described(columns, absent))
        return smaller


async def together(work: Collection[Callable[[], Awaitable[_T]]]) -> list[_T]:
    """The results, in order, some at once. All come to their end before the worst error is raised."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(begin: Callable[[], Awaitable[_T]]) -> _T:
        async with free:
            return await begin()

    results = await asyncio.gather(*(one(begin) for begin in work), return_exceptions=True)
    worst = worst_of(result for result in results if isinstance(result, BaseException))
    if worst is not None:
        raise worst
    return [result for result in results if not isinstance(result, BaseException)]
