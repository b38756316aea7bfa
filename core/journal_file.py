"""The SQLite file of the exit journal: append, replay, and what to do when disk or file cannot be trusted.

Exactly one connection with locking_mode=EXCLUSIVE: SQLite before 3.51.3 can corrupt a WAL that two connections write or
checkpoint. Synchronous; every method is called from the journal's one thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.model.errors import StoreError, TransportError
from core.model.signals import Mode

_log = logging.getLogger(__name__)

FORMAT: Final = 2
"""2 remembers a position in one JSON text; 1 had only its peak, which is still read."""
_LOCK_WAIT_S: Final = 1.0
_FILE_IS_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_PRIMARY_CODE: Final = 0xFF

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS exit_records (
    seq INTEGER PRIMARY KEY, utc_ns INTEGER NOT NULL, mode TEXT NOT NULL, build TEXT NOT NULL,
    exit_id TEXT NOT NULL, kind TEXT NOT NULL, payload TEXT NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS damaged_records (
    seq INTEGER NOT NULL, utc_ns, mode, build, exit_id, kind, payload, crc
);
CREATE TABLE IF NOT EXISTS peaks (
    mode TEXT NOT NULL, strategy_key TEXT NOT NULL, peak INTEGER NOT NULL, armed INTEGER NOT NULL,
    utc_ns INTEGER NOT NULL, PRIMARY KEY (mode, strategy_key)
);
CREATE TABLE IF NOT EXISTS memories (
    mode TEXT NOT NULL, position_tag TEXT NOT NULL, memory TEXT NOT NULL, utc_ns INTEGER NOT NULL,
    PRIMARY KEY (mode, position_tag)
);
"""
_SET_ASIDE: Final = "Stop, compare the positions at the broker by hand, then move the file and its -wal away."


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored record. `payload` is the codec's text; `utc_ns` when it was written."""

    utc_ns: int
    mode: Mode
    build: str
    exit_id: str
    kind: str
    payload: str


class JournalFile:
    """`last_seq` is the number of the newest record that is known to be on disk."""

    def __init__(self, path: Path, connect: Callable[..., sqlite3.Connection] = sqlite3.connect) -> None:
        self._path = path
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self.last_seq = 0

    def open(self) -> tuple[list[Entry], list[Entry]]:
        """Read everything: (good entries in order, damaged entries that were cut off the end).

        Raises StoreError when the file is corrupt, of a newer format, or held by another process; TransportError when
        the disk fails.
        """
        with self._translated("opened"):
            self._create_file()
            self._connection = self._connected()
            return self._read_all()

    def append(self, entries: Sequence[Entry]) -> None:
        """Write all or none, and return when they are on disk.

        Raises TransportError when they are not (a later call tries again from a fresh connection), StoreError when the
        file is corrupt.
        """
        with self._translated("written"):
            connection = self._trusted()
            numbered = [self._row(self.last_seq + i, entry) for i, entry in enumerate(entries, start=1)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO exit_records VALUES (?,?,?,?,?,?,?,?)", numbered)
            connection.execute("COMMIT")
            self.last_seq += len(entries)

    def save_memories(self, mode: Mode, memories: Mapping[str, str], utc_ns: int) -> None:
        """JSON texts by position tag."""
        rows = [(mode.value, tag, memory, utc_ns) for tag, memory in memories.items()]
        with self._translated("written"):
            connection = self._trusted()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO memories VALUES (?,?,?,?)", rows)
            connection.execute("COMMIT")

    def load_memories(self, mode: Mode, since_utc_ns: int) -> list[tuple[str, str, int]]:
        """Tag, text and time of those written since then; older ones are forgotten for good."""
        with self._translated("read"):
            connection = self._trusted()
            connection.execute("DELETE FROM memories WHERE utc_ns < ?", (since_utc_ns,))
            query = "SELECT position_tag, memory, utc_ns FROM memories WHERE mode=?"
            return connection.execute(query, (mode.value,)).fetchall()

    def load_peaks(self, mode: Mode) -> dict[str, int]:
        """What format 1 remembered: the peaks of trailing stops that had armed."""
        with self._translated("read"):
            query = "SELECT strategy_key, peak FROM peaks WHERE mode=? AND armed=1"
            return dict(self._trusted().execute(query, (mode.value,)).fetchall())

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _create_file(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _connected(self) -> sqlite3.Connection:
        connection = self._connect(self._path, timeout=_LOCK_WAIT_S, isolation_level=None)
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            # Takes the file lock now, for good: the first write must not be the one that finds another holder.
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found > FORMAT:
            raise StoreError(f"{self._path} was written by a newer build (format {found}). Run that build.")
        if found < FORMAT:
            connection.executescript(f"{_TABLES} PRAGMA user_version={FORMAT};")

    def _trusted(self) -> sqlite3.Connection:
        """The connection, or a new one that has made everything before it durable again.

        After a failed fsync the kernel may have dropped the unwritten pages and calls them clean: the WAL could hold a hole
        below later commits. A complete checkpoint copies every page into the main file and syncs it, so nothing
        depends on that WAL any more.
        """
        if self._connection is not None:
            return self._connection
        connection = self._connected()
        try:
            self._make_whole(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _make_whole(self, connection: sqlite3.Connection) -> None:
        # A commit that was reported as failed may still be in the WAL. The caller was told it is not there.
        connection.execute("DELETE FROM exit_records WHERE seq > ?", (self.last_seq,))
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise TransportError(f"{self._path}: the write-ahead log could not be checkpointed after a disk error")
        (count,) = connection.execute("SELECT count(*) FROM exit_records").fetchone()
        if count != self.last_seq:
            raise StoreError(f"{self._path} holds {count} of {self.last_seq} durable records. {_SET_ASIDE}")

    def _read_all(self) -> tuple[list[Entry], list[Entry]]:
        assert self._connection is not None  # noqa: S101  set by open(), for the type checker
        (health,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise StoreError(f"{self._path} is corrupt ({health}). {_SET_ASIDE}")
        rows = self._connection.execute("SELECT * FROM exit_records ORDER BY seq").fetchall()
        is_intact = [row[-1] == _checksum(row[:-1]) for row in rows]
        good = next((i for i, row in enumerate(rows) if row[0] != i + 1 or not is_intact[i]), len(rows))
        if any(is_intact[good:]):
            raise StoreError(f"{self._path} record {good + 1} is damaged and later ones are not. {_SET_ASIDE}")
        self.last_seq = good
        if good < len(rows):
            self._cut_off(rows[good:])
        return [_entry(row) for row in rows[:good]], [_damaged_entry(row) for row in rows[good:]]

    def _cut_off(self, rows: Sequence[tuple[object, ...]]) -> None:
        assert self._connection is not None  # noqa: S101  set by open(), for the type checker
        _log.warning("%s: %d damaged records at the end were set aside", self._path, len(rows))
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO damaged_records VALUES (?,?,?,?,?,?,?,?)", rows)
        self._connection.execute("DELETE FROM exit_records WHERE seq > ?", (self.last_seq,))
        self._connection.execute("COMMIT")

    @staticmethod
    def _row(seq: int, entry: Entry) -> tuple[object, ...]:
        row = (seq, entry.utc_ns, entry.mode.value, entry.build, entry.exit_id, entry.kind, entry.payload)
        return (*row, _checksum(row))

    @contextlib.contextmanager
    def _translated(self, verb: str):  # type: ignore[no-untyped-def]  # a generator context manager
        try:
            yield
        except sqlite3.Error as error:
            self.close()
            raise self._explained(error, verb) from error
        except OSError as error:
            self.close()
            raise TransportError(f"{self._path} could not be {verb}: {error.strerror}") from error
        except (StoreError, TransportError):
            self.close()
            raise

    def _explained(self, error: sqlite3.Error, verb: str) -> StoreError | TransportError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE
        if code in _FILE_IS_BROKEN:
            return StoreError(f"{self._path} is corrupt ({error}). {_SET_ASIDE}")
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreError(f"{self._path} is held by another process. Stop it, or choose another STATE_DIR.")
        return TransportError(f"{self._path} could not be {verb}: {error}")


def _checksum(row: Sequence[object]) -> int:
    return zlib.crc32("\x1f".join(map(str, row)).encode("utf-8", "surrogatepass"))


def _entry(row: Sequence[object]) -> Entry:
    _, utc_ns, mode, build, exit_id, kind, payload, _ = row
    if not isinstance(utc_ns, int):
        raise StoreError(f"expected an integer time in the journal, received {type(utc_ns).__name__}. {_SET_ASIDE}")
    return Entry(utc_ns, Mode(str(mode)), str(build), str(exit_id), str(kind), str(payload))


def _damaged_entry(row: Sequence[object]) -> Entry:
    _, _, mode, build, exit_id, kind, payload, _ = row
    known = Mode(str(mode)) if mode in set(Mode) else Mode.LIVE
    return Entry(0, known, str(build), str(exit_id), str(kind), str(payload))
