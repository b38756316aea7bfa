"""The recorded decisions on disk: JSON lines, compressed as they come.

Every write ends with a flush of the compressor, so that whoever reads while it is written, or after kill -9, finds every
whole line written until then. A file never goes on after a restart: each start, each hour and each day begins a new one.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.model.session_time import IST, ist_datetime
from core.record_troubles import RecordTroubles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER: Final = "decisions"
SUFFIX: Final = ".jsonl.gz"
LARGEST_BYTES: Final = 64_000_000
"""Of the lines, before they are compressed."""
_NAME: Final = "%Y-%m-%d_%H%M%S.%f"
_HOUR: Final = timedelta(hours=1)
_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 6
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Segment:
    """One file. `begun`: IST, from its name."""

    path: Path
    begun: datetime


class DecisionFile:
    """Synchronous; every method is called from one thread. `kept_days` are calendar days, today included."""

    def __init__(self, folder: Path, kept_days: int) -> None:
        self._folder = folder
        self._kept_days = kept_days
        self._descriptor: int | None = None
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._begun: datetime | None = None
        self._bytes = 0

    @property
    def is_open(self) -> bool:
        return self._descriptor is not None

    def begin_if_due(self, utc_ns: int) -> bool:
        """Begin a new file when there is none, or when the last one is old or large enough. Raises OSError."""
        now = ist_datetime(utc_ns)
        if self._descriptor is not None and self._begun is not None:
            is_current = now.date() == self._begun.date() and abs(now - self._begun) < _HOUR
            if is_current and self._bytes < LARGEST_BYTES:
                return False
            self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        remove_old(self._folder, now.date(), self._kept_days)
        path = self._folder / f"{now:{_NAME}}{SUFFIX}"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._begun, self._bytes = now, 0
        return True

    def write(self, lines: Sequence[bytes]) -> None:
        """Append the lines; when it returns they survive the death of this process. Raises OSError: the file is closed then."""
        if self._descriptor is None:
            raise OSError("expected a file of decisions that was begun")
        content = b"".join(line + b"\n" for line in lines)
        packed = self._packer.compress(content) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._bytes += len(content)
        try:
            self._put(packed)
        except OSError:
            # Half of it may be there: nothing written after it could be read.
            self.drop()
            raise

    def close(self) -> None:
        """End the file properly; does nothing without one. Raises OSError."""
        if self._descriptor is not None:
            try:
                self._put(self._packer.flush(zlib.Z_FINISH))
            finally:
                self.drop()

    def drop(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None

    def _put(self, packed: bytes) -> None:
        left = memoryview(packed)
        while left and self._descriptor is not None:
            left = left[os.write(self._descriptor, left) :]


def segments(folder: Path) -> list[Segment]:
    """The files of the folder, oldest first; [] when there is none. Other files in it are left alone.

    Raises OSError when the folder is there and cannot be listed.
    """
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    found = [Segment(path, begun) for path in paths if (begun := _begun(path.name)) is not None]
    return sorted(found, key=lambda each: each.begun)


def remove_old(folder: Path, today: date, kept_days: int) -> None:
    """Files of days before the kept ones. One that cannot be removed stays; it is tried again with the next file."""
    with contextlib.suppress(OSError):
        for each in segments(folder):
            if (today - each.begun.date()).days >= kept_days:
                with contextlib.suppress(OSError):
                    each.path.unlink()


def read_lines(path: Path, troubles: RecordTroubles | None = None) -> Iterator[bytes]:
    """Every whole line. What is damaged, or not written to its end, ends the file: everything before it counts.

    Damage is told to `troubles`. That a file has no end is none: it is being written, or its monitor was killed.
    Raises OSError when the file cannot be read.
    """
    troubles = troubles or RecordTroubles()
    unpacker = zlib.decompressobj(_GZIP)
    rest = b""
    with path.open("rb") as stream:
        while packed := stream.read(_READ_BYTES):
            try:
                content = rest + unpacker.decompress(packed)
            except zlib.error as error:
                troubles.damaged(path, f"is damaged before byte {stream.tell()} ({error})")
                return
            *lines, rest = content.split(b"\n")
            yield from lines
    if rest:
        troubles.damaged(path, "ends within a line (it is being written, or was cut off)")


def _begun(name: str) -> datetime | None:
    if not name.endswith(SUFFIX):
        return None
    try:
        return datetime.strptime(name.removesuffix(SUFFIX), _NAME).replace(tzinfo=IST)
    except ValueError:
        return None
