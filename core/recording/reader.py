"""Reads recordings: one file or many, in the order in which they were written, each up to its last whole block."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, BinaryIO, Final

from core.model.errors import ConfigurationError, DecodeError
from core.recording.facts import RecordingEnded, RecordingHeader, decode_fact
from core.recording.file_format import BLOCK_HEAD_SIZE, MAGIC, Kind, stored_size, unpack_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from core.recording.file_format import Block

SUFFIX: Final = ".feedrec"
_NAME: Final = MAGIC[:-1]


class NothingRecordedError(ConfigurationError):
    """The file is shorter than its header: its writer has just made it, or ended before it wrote anything."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: nothing is recorded in it yet; it is shorter than the header of a recording.",
            "Wait for the first seconds of the recording, or leave the file out.",
        )


@dataclass(slots=True)
class Part:
    """One file. `damage`: why it ends before its end, "" when it was closed; known when it was read to there.

    `monotonic_ns` and `utc_ns` are of its beginning.
    """

    path: Path
    header: RecordingHeader
    monotonic_ns: int
    utc_ns: int
    damage: str = "not read to its end"

    def blocks(self) -> Iterator[Block]:
        """Every whole block. What comes after is told in `damage`, never raised: a crash must not take the day away."""
        self.damage = "it was cut off: the recording program was killed, or it is still being written"
        with self.path.open("rb") as file:
            file.seek(len(MAGIC))
            last: Block | None = None
            try:
                while (block := _next_block(file)) is not None:
                    last = block
                    yield block
            except DecodeError as error:
                self.damage = f"damaged at byte {file.tell()}: {error}"
                return
        if last is not None and _is_end(last):
            self.damage = ""


def open_parts(paths: Iterable[Path]) -> tuple[Part, ...]:
    """The files in the order of their time.

    Raises ConfigurationError: a file cannot be read or is no recording of this version, two are the same part, or the clock
    that ages are measured with began anew between them (the machine was started in between).
    """
    parts = sorted((open_part(path) for path in paths), key=lambda part: (part.utc_ns, part.header.part))
    for before, after in pairwise(parts):
        if (before.header.run, before.header.part) == (after.header.run, after.header.part):
            raise ConfigurationError(
                f"{before.path.name} and {after.path.name} are the same part of a recording.", "Name each file once."
            )
        if after.monotonic_ns < before.monotonic_ns:
            raise ConfigurationError(
                f"Between {before.path.name} and {after.path.name} the machine was started anew.",
                "Replay them one by one.",
            )
    return tuple(parts)


def is_recording(path: Path) -> bool:
    """Whether the file begins as one of ours, whatever its version. Raises ConfigurationError when it cannot be read."""
    start = _start_of(path)
    return start.startswith(_NAME) or (path.suffix == SUFFIX and MAGIC.startswith(start))


def with_header(paths: Iterable[Path]) -> tuple[tuple[Path, ...], tuple[NothingRecordedError, ...]]:
    """The files in which something is recorded, and those in which nothing is yet. Raises ConfigurationError like `open_part`."""
    begun, empty = [], []
    for path in paths:
        try:
            open_part(path)
        except NothingRecordedError as error:
            empty.append(error)
        else:
            begun.append(path)
    return tuple(begun), tuple(empty)


def open_part(path: Path) -> Part:
    """Read the header. Raises ConfigurationError, NothingRecordedError of a file that is shorter than that."""
    start = _start_of(path)
    if len(start) < len(MAGIC) and MAGIC.startswith(start):
        raise NothingRecordedError(path)
    if start != MAGIC:
        what = "of another version" if start.startswith(_NAME) else "no recording"
        raise ConfigurationError(f"{path} is {what}.", f"A recording begins with {MAGIC.decode()}.")
    with path.open("rb") as file:
        file.seek(len(MAGIC))
        try:
            block = _next_block(file)
            first = next(block.records(), None) if block is not None else None
            fact = None if first is None else decode_fact(first.body)
        except DecodeError as error:
            raise ConfigurationError(f"{path} has no readable header: {error}.", "Leave it out.") from None
    if block is None:
        raise NothingRecordedError(path)
    if not isinstance(fact, RecordingHeader):
        raise ConfigurationError(f"{path} does not begin with the header of a recording.", "Leave it out.")
    return Part(path, fact, block.monotonic_ns, block.utc_ns)


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except IsADirectoryError:
        raise ConfigurationError(
            f"{path} is a directory: expected files.", f"Name the recordings in it: {path}/*{SUFFIX}"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.strerror}).", "Name a recording that is there, and that this user may read."
        ) from None


def _next_block(file: BinaryIO) -> Block | None:
    """None at the end, also where the last block is not whole. Raises DecodeError for damage."""
    head = file.read(BLOCK_HEAD_SIZE)
    if len(head) < BLOCK_HEAD_SIZE:
        return None
    size = stored_size(head)
    if size is None:
        raise DecodeError("expected the head of a block")
    stored = file.read(size)
    return None if len(stored) < size else unpack_block(head, stored)


def _is_end(block: Block) -> bool:
    *_, last = block.records()
    return last.kind == Kind.FACT and isinstance(decode_fact(last.body), RecordingEnded)
