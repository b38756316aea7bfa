"""Notices that another connection changed a SQLite file, within one poll."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

_RETRY_S: Final = 0.5
_START_S: Final = 2.0


def file_uri(path: Path, mode: str) -> str:
    """The URI that opens an existing file and never makes one."""
    return f"{path.absolute().as_uri()}?mode={mode}"


class SqliteWatch:
    """Polls `PRAGMA data_version` on a connection of its own, in a thread of its own.

    A poll costs 5 to 15 µs, but it touches the file: on the event loop it could wait behind another program's fsync.
    `on_change` is called in the thread. A file that was replaced, or that cannot be read, counts as changed, so that the
    reader finds out what happened.
    """

    def __init__(self, path: Path, interval_s: float, on_change: Callable[[], None]) -> None:
        self._path = path
        self._interval_s = interval_s
        self._on_change = on_change
        self._stop = threading.Event()
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trades-watch", daemon=True)

    def start(self) -> None:
        """Return once changes are noticed. Call it before the first read, so that nothing falls between.

        While another program holds the file it returns after two seconds and the change is reported later.
        """
        self._thread.start()
        self._watching.wait(_START_S)
        self._watching.set()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with contextlib.closing(self._connected()) as connection:
                    self._watch(connection)
            except (sqlite3.Error, OSError) as error:
                _log.warning("%s cannot be watched: %s", self._path, error)
                self._watching.set()
                self._on_change()
                self._stop.wait(_RETRY_S)

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(file_uri(self._path, "ro"), uri=True, timeout=0, isolation_level=None)
        connection.execute("PRAGMA query_only=1")
        return connection

    def _watch(self, connection: sqlite3.Connection) -> None:
        identity = self._identity()
        version: int | None = None
        while not self._stop.is_set():
            newest = self._version(connection)
            if newest is not None and newest != version:
                # A first number after start() has returned: what happened before it may have gone unseen.
                if self._watching.is_set():
                    self._on_change()
                version = newest
                self._watching.set()
            if self._identity() != identity:
                self._on_change()
                return
            self._stop.wait(self._interval_s)

    def _identity(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int | None:
        """The file's change number, None while a writer of another program holds the file."""
        try:
            (version,) = connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                return None
            raise
        return int(version)
