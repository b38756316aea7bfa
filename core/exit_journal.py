"""The durable record of every exit, written before each order. The only thing that must survive a crash.

All disk work happens on one thread of its own, so an fsync never holds up the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from core.clock import Clock, SystemClock
from core.journal_codec import decode, decode_memory, encode, encode_memory
from core.journal_file import Entry, JournalFile
from core.model.errors import DecodeError, StoreError
from core.model.exit_levels import FULL_EXITS
from core.model.journal_records import (
    DayCounted,
    ExitFinished,
    ExitHalted,
    ExitStarted,
    JournalRecord,
    LimitReset,
    LimitTripped,
    RowsWritten,
)
from core.model.memory import PositionMemory
from core.model.session_time import NS_PER_S
from core.model.signals import Mode

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

KEPT_NS: Final = 7 * 86_400 * NS_PER_S
"""Settled exits whose last record is older are not replayed."""

REMEMBERED_NS: Final = 400 * 86_400 * NS_PER_S
"""No position is held for longer without a new peak, a new day or anything else to remember."""

# The broker or the database can be asked again for what these said. A lost AttemptPrepared or ExitStarted cannot be.
_RECOVERABLE: Final = frozenset({"AttemptObserved", "AttemptRefused", "AttemptAbsent", "ExitFinished", "RowsWritten"})
_OF_LIMITS: Final = (LimitTripped, LimitReset, DayCounted)
_LIMIT_KINDS: Final = frozenset(kind.__name__ for kind in _OF_LIMITS)


class ExitJournal:
    """One journal for one mode: LIVE, SIMULATION and ALERT share the file and never see each other's records.

    `generations`: the highest generation ever started of each strategy_id in this mode; filled by `open`.
    """

    def __init__(
        self,
        path: Path,
        mode: Mode,
        *,
        build: str = "",
        clock: Clock | None = None,
        connect: Callable[..., sqlite3.Connection] = sqlite3.connect,
    ) -> None:
        self._file = JournalFile(path, connect)
        self._path = path
        self._mode = mode
        self._build = build
        self._clock = clock or SystemClock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="exit-journal")
        self.generations: Mapping[int, int] = {}
        self.saved_ns: dict[str, int] = {}
        """When each memory was written (UTC), by position tag, as of `load_memories`."""

    async def open(self) -> tuple[JournalRecord, ...]:
        """Records to replay, oldest first: every exit not yet settled, and the settled ones of the last seven days.

        Exits that closed a share are kept for good: their rows still say the old quantity. What concerns limits over positions
        is a matter of its day, and is left out after those seven days.

        Always whole exits. Raises StoreError (corrupt, newer format, held by another process) or TransportError (disk).
        """
        return await self._on_thread(self._open)

    async def write(self, records: Sequence[JournalRecord]) -> int:
        """Append in one transaction; the monotonic ns at which they were on disk.

        Raises TransportError when they are not on disk, and then none of them is: calling again with the same records is
        right. StoreError when the file is corrupt. Cancelling does not undo a write that has begun.
        """
        return await self._on_thread(lambda: self._write(records))

    async def save_memories(self, memories: Mapping[str, PositionMemory]) -> None:
        """Remember positions by their tags. Raises like `write`."""
        texts = {tag: encode_memory(memory) for tag, memory in memories.items()}
        await self._on_thread(lambda: self._file.save_memories(self._mode, texts, self._clock.utc_ns()))

    async def load_memories(self) -> dict[str, PositionMemory]:
        """Everything remembered of positions in this mode, also of those that are gone. One that cannot be read is left out."""
        return await self._on_thread(self._load_memories)

    async def close(self) -> None:
        """Wait for the writes that have begun, then release the file."""
        await self._on_thread(self._file.close)
        self._thread.shutdown(wait=False)

    async def _on_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _write(self, records: Sequence[JournalRecord]) -> int:
        if records:
            self._file.append([self._as_entry(record) for record in records])
        return self._clock.monotonic_ns()

    def _as_entry(self, record: JournalRecord) -> Entry:
        kind = type(record).__name__
        return Entry(self._clock.utc_ns(), self._mode, self._build, record.exit_id, kind, encode(record))

    def _load_memories(self) -> dict[str, PositionMemory]:
        peaks = self._file.load_peaks(self._mode)
        found = {tag: PositionMemory(peak=peak) for tag, peak in peaks.items()}
        since_ns = self._clock.utc_ns() - REMEMBERED_NS
        for tag, text, utc_ns in self._file.load_memories(self._mode, since_ns):
            try:
                found[tag] = decode_memory(text)
                self.saved_ns[tag] = utc_ns
            except DecodeError as error:
                _log.warning("what was remembered of %s is not readable, its peak starts anew: %s", tag, error)
        return found

    def _open(self) -> tuple[JournalRecord, ...]:
        entries, damaged = self._file.open()
        try:
            self._halt_damaged(damaged, known={entry.exit_id for entry in entries}, entries=entries)
            mine = [(entry, self._decoded(entry)) for entry in entries if entry.mode is self._mode]
        except StoreError:
            self._file.close()
            raise
        self.generations = _highest_generations(record for _, record in mine)
        newest = {entry.exit_id: entry.utc_ns for entry, _ in mine}
        settled = {entry.exit_id for entry, record in mine if isinstance(record, RowsWritten)}
        oldest_kept = self._clock.utc_ns() - KEPT_NS
        shares = {entry.exit_id for entry, record in mine if isinstance(record, ExitFinished) and _is_share(record)}
        dropped = {exit_id for exit_id in settled - shares if newest[exit_id] < oldest_kept}
        return tuple(
            record
            for entry, record in mine
            if entry.exit_id not in dropped and (entry.utc_ns >= oldest_kept or not isinstance(record, _OF_LIMITS))
        )

    def _halt_damaged(self, damaged: Sequence[Entry], known: set[str], entries: list[Entry]) -> None:
        """A damaged record may have allowed an order. Its exit stops until a person has looked at it."""
        for entry in damaged:
            if entry.kind in _RECOVERABLE and entry.exit_id in known:
                continue
            if entry.kind in _LIMIT_KINDS:
                # It holds no order back. Refusing to start would leave every stop unguarded for the sake of one limit.
                _log.critical(
                    "%s: a damaged %s was cut off: a limit that fired today may not be latched any more, and the daily loss "
                    "may lack an exit. Look before you open positions.",
                    self._path,
                    entry.kind,
                )
                continue
            if entry.exit_id not in known:
                raise StoreError(
                    f"{self._path}: a damaged record belongs to an exit that cannot be named. "
                    "Compare orders and positions at the broker by hand, then move the file and its -wal away."
                )
            reason = f"a damaged {entry.kind} record of this exit was cut off the journal"
            halted = self._as_entry(ExitHalted(entry.exit_id, reason))
            halted = Entry(halted.utc_ns, entry.mode, halted.build, halted.exit_id, halted.kind, halted.payload)
            self._file.append([halted])
            entries.append(halted)

    def _decoded(self, entry: Entry) -> JournalRecord:
        try:
            return decode(entry.payload)
        except DecodeError as error:
            raise StoreError(f"{self._path}: {error}. It was written by build {entry.build!r}; run that one.") from None


def _is_share(record: ExitFinished) -> bool:
    return record.record.action not in FULL_EXITS


def _highest_generations(records: Iterable[JournalRecord]) -> dict[int, int]:
    highest: dict[int, int] = {}
    for record in records:
        if isinstance(record, ExitStarted):
            strategy_id = record.position.strategy_id
            highest[strategy_id] = max(record.generation, highest.get(strategy_id, record.generation))
    return highest
