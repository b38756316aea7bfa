"""Puts recorded decisions on disk, on a thread of its own: nobody waits for it, and whatever fails here stops nothing else."""

from __future__ import annotations

import json
import logging
import queue
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from core.decision_file import DecisionFile
from core.decision_record import iso, line_of
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.clock import Clock
    from core.decision_record import Kind
    from core.exits.explain_sighting import Sighting

_log = logging.getLogger(__name__)

MOST_WAITING: Final = 5_000
"""Entries in the box. A disk that stands still loses what comes on top; an exit goes on without its record here."""
_GATHER_S: Final = 0.02
"""What fires is on its way to the broker in this time: the words for it must not compete with that."""
_PAUSE_S: Final = 0.000_5
"""Between two entries, so that a tick waits for the words of one entry at most."""
_TRY_AGAIN_NS: Final = 5 * NS_PER_S
_CLOSE_S: Final = 2.0
_BATCH: Final = 200


Said: TypeAlias = "Mapping[str, object]"
"""A line about the recording itself."""


class Entry(NamedTuple):
    """`utc_ns`: when it was seen. `skipped`: changes of the position since its last entry that were not recorded."""

    sighting: Sighting
    kind: Kind
    utc_ns: int
    skipped: int


class DecisionWriter:
    """`put` never waits. `about` is written at the head of every file."""

    def __init__(self, folder: Path, kept_days: int, about: Mapping[str, object], clock: Clock) -> None:
        self._file = DecisionFile(folder, kept_days)
        self._folder = folder
        self._about = dict(about)
        self._clock = clock
        self._box: queue.SimpleQueue[Entry | Said | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="decisions", daemon=True)
        self._rest = threading.Event()
        self._refused = self._failed = self._told = 0
        self._is_failing = False
        self._not_before_ns = 0

    def start(self) -> None:
        self._thread.start()

    def put(self, entry: Entry | Said) -> bool:
        """False when the box is full and the entry is lost; the file will say how many were."""
        if self._box.qsize() >= MOST_WAITING:
            self._refused += 1
            return False
        self._box.put(entry)
        return True

    def close(self) -> None:
        """Write what waits and end the file. Gives up on a disk that stands still."""
        if self._thread.is_alive():
            self._box.put(None)
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        is_open = True
        while is_open:
            first = self._box.get()
            self._rest.wait(_GATHER_S)
            batch, is_open = self._gather(first)
            self._write(batch)
        try:
            self._file.close()
        except OSError as error:
            _log.warning("%s: the last file of decisions was not ended: %s", self._folder, error.strerror)

    def _gather(self, first: Entry | Said | None) -> tuple[list[Entry | Said], bool]:
        """What waits, up to a batch; False when the end was among it."""
        batch: list[Entry | Said] = []
        entry = first
        while entry is not None:
            batch.append(entry)
            if len(batch) == _BATCH or self._box.empty():
                return batch, True
            entry = self._box.get()
        return batch, False

    def _write(self, batch: Sequence[Entry | Said]) -> None:
        if not batch:
            return
        if self._clock.monotonic_ns() < self._not_before_ns:
            self._failed += len(batch)
            return
        lost = self._refused + self._failed
        try:
            lines = self._head(lost) if self._file.begin_if_due(self._clock.utc_ns()) else self._loss(lost)
            lines += [self._line(entry) for entry in batch]
            self._file.write(lines)
        except OSError as error:
            self._failed += len(batch)
            self._not_before_ns = self._clock.monotonic_ns() + _TRY_AGAIN_NS
            if not self._is_failing:
                self._is_failing = True
                text = "%s: decisions are not recorded (%s); tried again every few seconds, exits go on"
                _log.warning(text, self._folder, error.strerror)
        else:
            self._is_failing = False
            self._told = lost

    def _head(self, lost: int) -> list[bytes]:
        begun = {"kind": "begun", "time": iso(self._clock.utc_ns()), **self._about}
        return [_packed(begun), *self._loss(lost)]

    def _loss(self, lost: int) -> list[bytes]:
        """What could not be recorded since it was last said."""
        if lost == self._told:
            return []
        return [_packed({"kind": "lost", "time": iso(self._clock.utc_ns()), "records": lost - self._told})]

    def _line(self, entry: Entry | Said) -> bytes:
        if not isinstance(entry, Entry):
            return _packed(entry)
        line = line_of(entry.sighting, entry.kind, entry.utc_ns, entry.skipped)
        self._rest.wait(_PAUSE_S)
        return line


def _packed(line: Mapping[str, object]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode()
