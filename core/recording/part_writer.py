"""The thread that writes a recording: blocks of at most a second, files of at most an hour, nothing on a full disk."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from core.model.errors import BugError
from core.model.events import TimePassed
from core.model.session_time import NS_PER_S, ist_datetime
from core.recording.facts import RecordingEnded, RecordingHeader, encode_fact
from core.recording.file_format import MAGIC, Kind, Record, pack_block, pack_time
from core.recording.reader import SUFFIX
from core.recording.recorder import ENTRY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.recording.recorder import Recorder, Taken

_WAKE_S: Final = 0.2
_STOP_WITHIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class PartLimits:
    """A block is written at `block_bytes` or `block_s`, a file is ended at `part_bytes` (as stored) or at the full hour (IST).

    With less than `least_free_bytes` on the disk nothing is written: the exit journal may live there too. After a failure
    the next file is tried `retry_s` later.
    """

    block_bytes: int = 1 << 20
    block_s: float = 1.0
    part_bytes: int = 1 << 29
    least_free_bytes: int = 1 << 30
    retry_s: float = 10.0


def open_part(path: Path) -> BinaryIO:
    """A new file that only this user can read. Raises OSError, also when it is there already."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb", buffering=0)


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


class PartWriter:
    """`start` after the recorder is made, `stop` (blocking for seconds at most) when nothing more comes.

    `opener` and `free` are the disk. A failing disk ends no program: it is told in the queue's `problem`.
    """

    def __init__(
        self,
        folder: Path,
        recorder: Recorder,
        header: RecordingHeader,
        clock: Clock,
        limits: PartLimits | None = None,
        *,
        opener: Callable[[Path], BinaryIO] = open_part,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._folder = folder
        self._queue = recorder.queue
        self._counts = recorder.counts
        self._header = header
        self._clock = clock
        self._limits = limits or PartLimits()
        self._opener = opener
        self._free = free
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._is_ending = threading.Event()
        self._file: BinaryIO | None = None
        self._stored = 0
        self._hour = 0
        self._records: list[Record] = []
        self._raw = 0
        self._since_ns = 0
        self._retry_ns = 0
        self.paths: list[Path] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what waits and close the file. What a dead disk has not taken by then is lost."""
        self._is_ending.set()
        self._thread.join(_STOP_WITHIN_S)

    def _run(self) -> None:
        is_sound = False
        try:
            while not self._is_ending.wait(_WAKE_S):
                self.work()
            self.work(is_last=True)
            is_sound = True
        finally:
            if not is_sound:
                # Whoever guards money goes on without a recording, and the queue's owner tells it.
                self._queue.problem = "a bug in this program ended the thread that writes"
                self._drop_file()

    def work(self, *, is_last: bool = False) -> None:
        """Take what waits and write what is due."""
        now = self._clock.monotonic_ns()
        if self._file is None and not self._may_open(now):
            return
        waiting, queue = self._queue.waiting, self._queue
        try:
            if self._file is None:
                self._open()
            while waiting:
                self._take(waiting[0])
                # Only what is in a block has left the queue: its bytes count until then.
                waiting.popleft()
                if self._raw >= self._limits.block_bytes:
                    self._write_block()
            if self._records and (is_last or now - self._since_ns >= self._limits.block_s * NS_PER_S):
                self._write_block()
            if is_last:
                self._end_part(goes_on=False)
            queue.problem = ""
        except OSError as error:
            self._fail(f"{self._folder}: {error.strerror or type(error).__name__}")

    def _take(self, taken: Taken) -> None:
        kind, line, at_ns, content = taken
        if isinstance(content, bytes):
            body = content
        elif isinstance(content, TimePassed):
            body = pack_time(content)
        else:
            body = encode_fact(content)
        if not self._records:
            self._since_ns = self._clock.monotonic_ns()
        self._records.append(Record(kind, line, at_ns, body))
        self._raw += len(body)
        self._queue.taken_bytes += ENTRY_BYTES + (len(body) if kind is Kind.FRAME else 0)

    def _write_block(self) -> None:
        utc_ns = self._clock.utc_ns()
        if self._stored >= self._limits.part_bytes or _hour_of(utc_ns) != self._hour:
            self._end_part(goes_on=True)
            self._open()
        self._write(pack_block(self._records, self._clock.monotonic_ns(), utc_ns))
        # Only now: what a failing disk has not taken goes into the next file.
        self._records, self._raw = [], 0

    def _may_open(self, now: int) -> bool:
        """Nothing is opened before there is something to write, nor soon after a failure."""
        if now < self._retry_ns or not (self._queue.waiting or self._records):
            return False
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            free = self._free(self._folder)
        except OSError as error:
            self._fail(f"{self._folder}: {error.strerror or type(error).__name__}")
            return False
        if free < self._limits.least_free_bytes:
            self._fail(f"{self._folder}: less than {self._limits.least_free_bytes >> 20} MiB are free on the disk")
            return False
        return True

    def _open(self) -> None:
        utc_ns = self._clock.utc_ns()
        part = self._counts.parts + 1
        header = replace(self._header, part=part, instruments=self._queue.instruments)
        path = self._folder / f"{ist_datetime(utc_ns):%Y-%m-%d-%H%M%S}-{header.run}-{part:04}{SUFFIX}"
        self._file = self._opener(path)
        self._counts.parts = part
        self.paths.append(path)
        self._stored, self._hour = 0, _hour_of(utc_ns)
        now = self._clock.monotonic_ns()
        self._write(MAGIC + pack_block([Record(Kind.FACT, 0, now, encode_fact(header))], now, utc_ns))
        self._queue.wants_state = part > 1

    def _end_part(self, *, goes_on: bool) -> None:
        if self._file is None:
            return
        now = self._clock.monotonic_ns()
        ended = Record(Kind.FACT, 0, now, encode_fact(RecordingEnded(goes_on)))
        self._write(pack_block([ended], now, self._clock.utc_ns()))
        file, self._file = self._file, None
        file.close()

    def _write(self, data: bytes) -> None:
        if self._file is None:
            raise BugError("expected an open file to write a block to")
        view = memoryview(data)
        while view:
            # An unbuffered file may take a part only: a disk that is nearly full does.
            view = view[self._file.write(view) :]
        self._stored += len(data)
        self._counts.bytes_written += len(data)

    def _fail(self, problem: str) -> None:
        self._queue.problem = problem
        self._retry_ns = self._clock.monotonic_ns() + int(self._limits.retry_s * NS_PER_S)
        self._drop_file()

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            # It is given up because it cannot be written, or because whoever writes it is gone.
            with suppress(OSError):
                file.close()


def _hour_of(utc_ns: int) -> int:
    moment = ist_datetime(utc_ns)
    return moment.toordinal() * 24 + moment.hour
