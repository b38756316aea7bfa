"""The embedded store: trades in a SQLite file that other programs write."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from core.model.errors import StoreError, TransportError
from core.model.exit_levels import FULL_EXITS
from core.model.signals import ExitRecord, LegExecution
from core.stores.base import RowOutcome, Snapshot, StoreHealth, StoreState
from core.stores.row_closing import JUDGED_BY, RISK_EVENT_KEY, closing_values, outcome_of, risk_event_values
from core.stores.rows import DETAILS, LEVELS, MONITORING, RISKS, STRATEGIES, TRADES, key_column, snapshot_of
from core.stores.schema import MONITOR_TABLES, OPTIONAL_TABLES, REQUIRED, missing
from core.stores.sqlite_watch import SqliteWatch, file_uri

_T = TypeVar("_T")

_BUSY_S: Final = 2.0
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_SCHEMA,
    }
)
"""SQLite's codes for what may be over in a moment. Everything else needs a person."""

_OPEN_TRADES: Final = "SELECT * FROM trades WHERE order_status = 'open' ORDER BY timestamp"
# Casts, because one table may hold a strategy's id as a number and another as text.
_OF_OPEN: Final = (
    "SELECT * FROM {table} WHERE CAST({column} AS INTEGER) IN "
    "(SELECT CAST(strategy_id AS INTEGER) FROM trades WHERE order_status = 'open')"
)


class SqliteStore:
    """A TradeStore. All reads and writes happen on one thread, so the event loop never waits for the file."""

    def __init__(self, path: Path, poll_ms: int = 50) -> None:
        self._path = path
        self._poll_s = poll_ms / 1_000
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trades")
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._changed = asyncio.Event()
        self._watch: SqliteWatch | None = None

    async def open(self) -> None:
        """Check the tables, make the monitor's own, and begin to watch for changes.

        Raises StoreError naming what is missing and its remedy.
        """
        await self._on_thread(self._prepare)
        loop = asyncio.get_running_loop()

        def notice() -> None:
            # The loop may be closed before the watch has stopped.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._changed.set)

        self._watch = SqliteWatch(self._path, self._poll_s, notice)
        await asyncio.to_thread(self._watch.start)

    async def read_snapshot(self) -> Snapshot:
        """All open trades with their strategies, in one read transaction. Raises StoreError or TransportError."""
        return await self._on_thread(self._read)

    async def changes(self) -> AsyncIterator[None]:
        """One item per noticed change; changes that arrive while the reader is busy are one. For one reader."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            yield None

    async def close_rows(self, record: ExitRecord) -> Mapping[int, RowOutcome]:
        """Close every row of a full exit, all or none. After a partial exit, and where others closed the row, nothing changes."""
        return await self._on_thread(lambda: self._close_rows(record))

    async def record_risk_event(self, record: ExitRecord) -> None:
        """Append to risk_events, once per exit, in the columns that the table has."""
        await self._on_thread(lambda: self._record_risk_event(record))

    def health(self) -> StoreHealth:
        """The file is polled many times a second, which is as good as being told. Whether it can be read, a read says."""
        return StoreHealth(StoreState.LIVE)

    def doubts(self) -> str:
        return ""

    async def close(self) -> None:
        if self._watch is not None:
            await asyncio.to_thread(self._watch.stop)
            self._watch = None
        await self._on_thread(self._disconnect)
        self._thread.shutdown(wait=False)

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            with self._translated():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)

    def _prepare(self) -> None:
        connection = self._connected()
        self._check(connection)
        try:
            connection.executescript(MONITOR_TABLES)
        except sqlite3.OperationalError as error:
            # A file that may only be read is enough to watch; closing rows will say what is wrong.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise

    def _read(self) -> Snapshot:
        connection = self._connected()
        connection.execute("BEGIN")
        try:
            self._check(connection)
            trades = self._rows(connection, _OPEN_TRADES)
            strategies = self._rows(connection, _OF_OPEN.format(table=STRATEGIES, column="id"))
            risks = self._rows(connection, _OF_OPEN.format(table=RISKS, column="strategy_id"))
            levels = self._rows(connection, _OF_OPEN.format(table=LEVELS, column="strategy_id"))
            monitoring, details = (self._optional_rows(connection, table) for table in (MONITORING, DETAILS))
        finally:
            connection.execute("ROLLBACK")
        return snapshot_of(trades, strategies, risks, levels, monitoring, details)

    def _optional_rows(self, connection: sqlite3.Connection, table: str) -> list[dict[str, object]]:
        """None where the table is absent, or no row of it can be told apart from another strategy's."""
        if not OPTIONAL_TABLES[table] <= _columns(connection, table):
            return []
        return self._rows(connection, _OF_OPEN.format(table=table, column="strategy_id"))

    def _close_rows(self, record: ExitRecord) -> dict[int, RowOutcome]:
        # A finished full exit is flat by the broker's positions, whoever closed which part of it; a share leaves rows open.
        if record.action not in FULL_EXITS:
            return {}
        connection = self._connected()
        key = key_column(_columns(connection, TRADES))
        with _transaction(connection):
            return {leg.row_id: self._close_row(connection, key, record, leg) for leg in record.legs}

    @staticmethod
    def _close_row(connection: sqlite3.Connection, key: str, record: ExitRecord, leg: LegExecution) -> RowOutcome:
        values = closing_values(record, leg)
        assignments = ", ".join(f"{column}=?" for column in values)
        update = f"UPDATE trades SET {assignments} WHERE {key}=? AND order_status='open'"  # noqa: S608  names are constants
        if connection.execute(update, [*values.values(), leg.row_id]).rowcount == 1:
            return RowOutcome.CLOSED
        read = f"SELECT {', '.join(JUDGED_BY)} FROM trades WHERE {key}=?"  # noqa: S608  the same
        row = connection.execute(read, (leg.row_id,)).fetchone()
        return outcome_of(None if row is None else dict(row), record, leg)

    def _record_risk_event(self, record: ExitRecord) -> None:
        connection = self._connected()
        values = risk_event_values(record)
        found = _columns(connection, "risk_events")
        names = [name for name in values if name in found]
        if RISK_EVENT_KEY not in names:
            return
        statement = (
            f"INSERT INTO risk_events ({', '.join(names)}) SELECT {', '.join('?' for _ in names)} "  # noqa: S608  names are constants above
            f"WHERE NOT EXISTS (SELECT 1 FROM risk_events WHERE {RISK_EVENT_KEY}=?)"
        )
        with _transaction(connection):
            connection.execute(statement, [*(values[name] for name in names), record.exit_id])

    def _check(self, connection: sqlite3.Connection) -> None:
        found = {table: _columns(connection, table) for table in REQUIRED}
        problem = missing({table: columns for table, columns in found.items() if columns})
        if problem is not None:
            raise StoreError(f"{self._path} {problem}. Point TRADES_DB at the file that the strategy builder writes.")

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._file_was_replaced():
            self._disconnect()
        if self._connection is None:
            if not self._path.exists():
                raise StoreError(
                    f"The trades file {self._path} does not exist. "
                    "Point TRADES_DB at the file that the strategy builder writes."
                )
            if self._path.is_dir():
                raise StoreError(f"TRADES_DB {self._path} is a folder. Name the file in it.")
            connection = sqlite3.connect(file_uri(self._path, "rw"), uri=True, timeout=_BUSY_S, isolation_level=None)
            connection.row_factory = sqlite3.Row
            # One row with broken text must not make the whole table unreadable.
            connection.text_factory = _lenient_text
            try:
                connection.execute("PRAGMA synchronous=FULL")
            except sqlite3.Error:
                connection.close()
                raise
            self._inode = self._path.stat().st_ino
            self._connection = connection
        return self._connection

    def _file_was_replaced(self) -> bool:
        return not self._path.exists() or self._path.stat().st_ino != self._inode

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @staticmethod
    def _rows(connection: sqlite3.Connection, query: str) -> list[dict[str, object]]:
        return [dict(row) for row in connection.execute(query)]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._disconnect()
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code in _PASSING:
                raise TransportError(f"{self._path}: {error}") from error
            raise StoreError(f"{self._path} cannot be used: {error}. Check TRADES_DB and the file.") from error
        except OSError as error:
            raise TransportError(f"{self._path}: {error.strerror}") from error


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _columns(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    return frozenset(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
