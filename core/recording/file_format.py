"""The bytes of a recording: what the feed delivered and what the monitor was told, in the order in which it came.

    file    MAGIC, then blocks, one after the other
    block   head (see `_BLOCK`), CRC-32 of head and content, content
    content zlib of: a record head for each record (see `RECORD`), then the records' bodies, in the same order

All numbers are little-endian. The head of a block has the times (ns) of one instant on the monotonic clock and in UTC; a
record's time is the monotonic one plus its `since`, its UTC time the other plus the same. A block stands for itself: of a
file that was cut off by a crash everything up to the last whole block is read.

Bodies by `Kind`: FRAME is one message of the feed as it came, `line` the number of the connection (from 1). TIME is what the
engine was told of clock and session (see `pack_time`). FACT and STATE are JSON (`core.recording.facts`): FACT when it
happened, STATE what held already where the file begins.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from core.model.errors import DecodeError
from core.model.events import TimePassed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAGIC: Final = b"EXITREC1"
"""The last character is the version of this layout."""
BLOCK_MARK: Final = b"BLK1"
MOST_BLOCK_BYTES: Final = 1 << 28
"""No writer makes such a block: a larger size in a head is damage."""

_BLOCK: Final = Struct("<4sIIIqq")
"""Mark, bytes of the content as stored, bytes of it unpacked, number of records, monotonic ns, UTC ns."""
_CRC: Final = Struct("<I")
BLOCK_HEAD_SIZE: Final = _BLOCK.size + _CRC.size
RECORD: Final = Struct("<BBIq")
"""Kind, line (0 where none), bytes of the body, ns since the instant in the block's head (may be negative)."""
_TIME: Final = Struct("<qB")
_LEVEL: Final = 1
"""Of zlib: the writer shares the machine with what guards money."""

_THREE: Final = (None, False, True)
_WORDS: Final = tuple((session, day, cash) for cash in (True, None, False) for session in _THREE for day in _THREE)
"""Session open, trading day, shares open, by the byte that says all. Nine bytes are as in files from before the third."""


class Kind(IntEnum):
    FRAME = 1
    TIME = 2
    FACT = 3
    STATE = 4


class Record(NamedTuple):
    """`at_ns` monotonic. `line` is 0 for what no connection brought."""

    kind: int
    line: int
    at_ns: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """`heads` are `count` times `RECORD`, `bodies` what they announce, without a gap. Times in ns."""

    monotonic_ns: int
    utc_ns: int
    count: int
    heads: bytes
    bodies: bytes

    def records(self) -> Iterator[Record]:
        at, base = 0, self.monotonic_ns
        for kind, line, size, since in RECORD.iter_unpack(self.heads):
            yield Record(kind, line, base + since, self.bodies[at : at + size])
            at += size


def pack_block(records: Sequence[Record], monotonic_ns: int, utc_ns: int) -> bytes:
    """One block. Both times are of the same instant, near those of the records."""
    heads = [RECORD.pack(kind, line, len(body), at_ns - monotonic_ns) for kind, line, at_ns, body in records]
    raw = b"".join((*heads, *(record.body for record in records)))
    stored = zlib.compress(raw, _LEVEL)
    head = _BLOCK.pack(BLOCK_MARK, len(stored), len(raw), len(records), monotonic_ns, utc_ns)
    return b"".join((head, _CRC.pack(zlib.crc32(stored, zlib.crc32(head))), stored))


def stored_size(head: bytes) -> int | None:
    """Bytes of content that follow a block's head; None when it is no head."""
    if len(head) < BLOCK_HEAD_SIZE:
        return None
    mark, stored, raw, *_ = _BLOCK.unpack_from(head)
    return stored if mark == BLOCK_MARK and max(stored, raw) <= MOST_BLOCK_BYTES else None


def unpack_block(head: bytes, stored: bytes) -> Block:
    """The block of a head for which `stored_size` gave a size. Raises DecodeError unless every byte is as it was written."""
    _, size, raw_size, count, monotonic_ns, utc_ns = _BLOCK.unpack_from(head)
    (crc,) = _CRC.unpack_from(head, _BLOCK.size)
    if len(stored) != size or zlib.crc32(stored, zlib.crc32(head[: _BLOCK.size])) != crc:
        raise DecodeError(f"expected a block of {size} bytes with its checksum, received {len(stored)} other bytes")
    try:
        raw = zlib.decompress(stored, bufsize=raw_size or 1)
    except zlib.error as error:
        raise DecodeError(f"expected a zlib block, received another one: {error}") from None
    if len(raw) != raw_size or len(raw) < count * RECORD.size:
        raise DecodeError(f"expected {count} records in {raw_size} bytes, received {len(raw)} bytes")
    return Block(monotonic_ns, utc_ns, count, raw[: count * RECORD.size], raw[count * RECORD.size :])


def pack_time(told: TimePassed) -> bytes:
    return _TIME.pack(told.utc_ns, _WORDS.index((told.session_open, told.is_trading_day, told.cash_open)))


def unpack_time(at_ns: int, body: bytes) -> TimePassed:
    """Raises DecodeError for what `pack_time` has not made."""
    if len(body) != _TIME.size or not 0 <= body[-1] < len(_WORDS):
        raise DecodeError(f"expected a record of the time in {_TIME.size} bytes, received {len(body)} others")
    utc_ns, words = _TIME.unpack(body)
    return TimePassed(at_ns, utc_ns, *_WORDS[words])
