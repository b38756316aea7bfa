"""The exit journal of a plan: it reads a copy, so that it may run beside a monitor, and it writes nothing.

The running monitor holds the file for itself, and appends to its write-ahead log. The file itself only changes at a
checkpoint, which also begins the log anew: a copy of both is whole when neither of that happened in between.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.exit_journal import ExitJournal
from core.model.errors import StoreError, TransportError
from core.model.journal_records import DayCounted, ExitFinished, ExitStarted, LimitReset, LimitTripped, RowsWritten
from core.model.signals import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from core.clock import Clock
    from core.model.journal_records import JournalRecord
    from core.model.memory import PositionMemory

_log = logging.getLogger(__name__)
_TRIES: Final = 5
_LOG_HEADER_BYTES: Final = 32
_TABLES: Final = ("exit_records", "memories", "peaks")


class PlanJournal(ExitJournal):
    """Remembers what the live monitor does; where there is none what the simulation does, or the alert mode.

    Of its records only finished exits and limits are given, and those as if all rows were written: nothing goes on in a plan.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        super().__init__(path, Mode.SIMULATION, clock=clock)
        self._source = path
        self._own_clock = clock
        self._memories: dict[str, PositionMemory] = {}

    async def open(self) -> tuple[JournalRecord, ...]:
        """Raises nothing: what cannot be read is said in the log, and the plan goes without it."""
        with tempfile.TemporaryDirectory(prefix="exit-monitor-plan-") as folder:
            path = Path(folder) / self._source.name
            if not copied(self._source, path):
                _log.warning("%s could not be copied: peaks and closed shares are not in this plan", self._source)
                return ()
            if not path.exists():
                return ()
            mode = mode_of(path)
            copy = ExitJournal(path, mode, clock=self._own_clock)
            try:
                records = await copy.open()
                self._memories = await copy.load_memories()
            except (StoreError, TransportError) as error:
                _log.warning("peaks and closed shares are not in this plan: %s", error)
                return ()
            finally:
                await copy.close()
        return _settled(records) if mode is Mode.LIVE else ()

    async def write(self, records: Sequence[JournalRecord]) -> int:  # noqa: ARG002  nothing is written
        return self._own_clock.monotonic_ns()

    async def save_memories(self, memories: Mapping[str, PositionMemory]) -> None:
        """A plan remembers nothing."""

    async def load_memories(self) -> dict[str, PositionMemory]:
        return dict(self._memories)


def copied(source: Path, target: Path) -> bool:
    """Copy the file and its write-ahead log as of one moment. True also when there is nothing to copy."""
    for _ in range(_TRIES):
        before = _state_of(source)
        if before is None:
            return True
        try:
            shutil.copyfile(source, target)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(_log_of(source), _log_of(target))
        except OSError:
            break
        if _state_of(source) == before:
            return True
    for path in (target, _log_of(target)):
        path.unlink(missing_ok=True)
    return False


def mode_of(path: Path) -> Mode:
    """The first mode that has anything in the file. A file that is no journal is left to who opens it."""
    found: set[str] = set()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table in _TABLES:
            with contextlib.suppress(sqlite3.Error):
                found |= {mode for (mode,) in connection.execute(f"SELECT DISTINCT mode FROM {table}")}  # noqa: S608
    return next((mode for mode in Mode if mode.value in found), Mode.SIMULATION)


def _settled(records: Sequence[JournalRecord]) -> tuple[JournalRecord, ...]:
    finished = {record.exit_id for record in records if isinstance(record, ExitFinished)}
    running = sorted({record.exit_id for record in records if isinstance(record, ExitStarted)} - finished)
    if running:
        _log.warning(
            "exits under way are not in this plan, their positions stand in it as before: %s", ", ".join(running)
        )
    kept = [
        record
        for record in records
        if isinstance(record, LimitTripped | LimitReset | DayCounted) or record.exit_id in finished
    ]
    return (*kept, *(RowsWritten(exit_id) for exit_id in sorted(finished)))


def _state_of(source: Path) -> tuple[int, int, bytes] | None:
    """What a checkpoint changes; None when there is no file."""
    try:
        found = source.stat()
    except OSError:
        return None
    header = b""
    with contextlib.suppress(OSError), _log_of(source).open("rb") as stream:
        header = stream.read(_LOG_HEADER_BYTES)
    return found.st_mtime_ns, found.st_size, header


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")
