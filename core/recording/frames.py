"""Many frames of a recording at once → quotes, exactly those that the feed line and the price cache would have made.

Full packets (what the monitor subscribes to) are taken apart in arrays. Whatever else a frame may hold goes through
`core.dhan.feed_packets`, one by one.
"""

from __future__ import annotations

from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from core.dhan.feed_packets import (
    FULL,
    FULL_SIZE,
    DecodeCounts,
    FullPacket,
    QuotePacket,
    Ticker,
    decode_message,
    to_quote,
)
from core.dhan.packet_facts import LEAST_RUPEES, MOST_RUPEES
from core.dhan.segments import feed_id_of
from core.model.errors import DecodeError
from core.model.market import Quote, QuoteSource
from core.model.session_time import IST_OFFSET_S
from core.recording.file_format import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from core.model.instrument import InstrumentKey
    from core.recording.file_format import Block

_HEADS: Final = np.dtype([("kind", "u1"), ("line", "u1"), ("size", "<u4"), ("since", "<i8")])
_FULL: Final = np.dtype(
    {
        "names": ["code", "length", "segment", "id", "last", "time", "bid_size", "ask_size", "bid", "ask"],
        "formats": ["u1", "<u2", "u1", "<u4", "<f4", "<u4", "<u4", "<u4", "<f4", "<f4"],
        "offsets": [0, 1, 3, 4, 8, 14, 62, 66, 74, 78],
        "itemsize": FULL_SIZE,
    }
)
_FIRST_REAL_TIME: Final = 946_684_800
_SEGMENT_SHIFT: Final = 32
_new_quote: Final = partial(tuple.__new__, Quote)
_position: Final = itemgetter(0)


class Frames(NamedTuple):
    """Frames that follow each other. `at_ns` monotonic, `start` and `size` say where each is in `bodies`."""

    line: NDArray[np.uint8]
    at_ns: NDArray[np.int64]
    size: NDArray[np.int64]
    start: NDArray[np.int64]
    bodies: bytes

    def __bool__(self) -> bool:
        return self.size.size > 0


class Wanted:
    """The instruments whose quotes are taken. `lines`: the only connection an instrument is taken from; absent: any."""

    def __init__(self, keys: Iterable[InstrumentKey], lines: Mapping[InstrumentKey, int]) -> None:
        self.of_id = {feed_id_of(key): key for key in keys}
        ids = sorted(self.of_id)
        self.line_of = {feed_id: lines.get(self.of_id[feed_id], 0) for feed_id in ids}
        self._ids = np.array(ids, dtype=np.int64)
        self._lines = np.array([self.line_of[feed_id] for feed_id in ids], dtype=np.int64)
        self._keys = np.empty(len(ids), dtype=object)
        self._keys[:] = [self.of_id[feed_id] for feed_id in ids] if ids else []

    def places(self, ids: NDArray[np.int64], line: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which of the ids are taken from that line, and where each of those is in `keys_at`."""
        if not self._ids.size:
            return np.zeros(ids.size, dtype=bool), np.zeros(0, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._ids, ids), self._ids.size - 1)
        owner = self._lines[place]
        taken = (self._ids[place] == ids) & ((owner == 0) | (owner == line))
        return taken, place[taken]

    def keys_at(self, places: NDArray[np.int64]) -> list[InstrumentKey]:
        found: list[InstrumentKey] = self._keys[places].tolist()
        return found


def runs_of(block: Block) -> list[Frames | int]:
    """A block as runs of frames and, in between, the numbers of its other records. Raises DecodeError for untrue sizes."""
    heads = np.frombuffer(block.heads, dtype=_HEADS, count=block.count)
    size = heads["size"].astype(np.int64)
    if size.sum() != len(block.bodies):
        raise DecodeError(f"expected records of {size.sum()} bytes in a block, received {len(block.bodies)}")
    start = np.cumsum(size) - size
    at_ns = heads["since"] + block.monotonic_ns
    found: list[Frames | int] = []
    begin = 0
    for number in [*np.flatnonzero(heads["kind"] != Kind.FRAME).tolist(), block.count]:
        if begin < number:
            part = slice(begin, number)
            found.append(Frames(heads["line"][part], at_ns[part], size[part], start[part], block.bodies))
        if number < block.count:
            found.append(number)
        begin = number + 1
    return found


def quotes_of(frames: Frames, wanted: Wanted, counts: DecodeCounts) -> list[Quote]:
    """In the order of receipt. `counts.packets` counts what was looked at; bad prices are counted only where one by one."""
    is_full, rows = _full_rows(frames)
    ids = rows["segment"].astype(np.int64) << _SEGMENT_SHIFT | rows["id"]
    taken, places = wanted.places(ids, frames.line[is_full])
    counts.packets += len(rows)
    last = rows["last"].astype(np.float64)
    priced = _is_price(last)
    keep = taken & priced
    quotes = _full_quotes(rows[keep], wanted.keys_at(places[priced[taken]]), frames.at_ns[is_full][keep])
    if is_full.all():
        return quotes
    numbers = np.flatnonzero(is_full)[keep].tolist()
    merged = list(zip(numbers, quotes, strict=True))
    for number in np.flatnonzero(~is_full).tolist():
        merged.extend((number, quote) for quote in _other_quotes(frames, number, wanted, counts))
    merged.sort(key=_position)
    return [quote for _, quote in merged]


def _full_rows(frames: Frames) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    is_full = frames.size == FULL_SIZE
    if is_full.all():
        rows = np.frombuffer(frames.bodies, dtype=_FULL, count=is_full.size, offset=int(frames.start[0]))
    else:
        places = frames.start[is_full][:, None] + np.arange(FULL_SIZE)
        rows = np.frombuffer(frames.bodies, dtype=np.uint8)[places].view(_FULL).reshape(-1)
    real = (rows["code"] == FULL) & (rows["length"] == FULL_SIZE)
    if not real.all():
        is_full = is_full.copy()
        is_full[np.flatnonzero(is_full)[~real]] = False
        rows = rows[real]
    return is_full, rows


def _full_quotes(rows: NDArray[Any], keys: list[InstrumentKey], at_ns: NDArray[np.int64]) -> list[Quote]:
    bid_size, bid = _side(rows["bid_size"], rows["bid"])
    ask_size, ask = _side(rows["ask_size"], rows["ask"])
    time = rows["time"].astype(np.int64)
    times = _with_none(time - IST_OFFSET_S, time >= _FIRST_REAL_TIME)
    last = _paise(rows["last"].astype(np.float64)).tolist()
    source = repeat(QuoteSource.FEED)
    columns = zip(keys, last, bid, ask, bid_size, ask_size, times, at_ns.tolist(), source, strict=False)
    return list(map(_new_quote, columns))


def _side(size: NDArray[np.uint32], rupees: NDArray[np.float32]) -> tuple[list[int], list[int | None]]:
    price = rupees.astype(np.float64)
    there = (size > 0) & _is_price(price)
    return np.where(there, size, 0).tolist(), _with_none(_paise(np.where(there, price, 0.0)), there)


def _is_price(rupees: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (rupees > LEAST_RUPEES) & (rupees <= MOST_RUPEES)


def _paise(rupees: NDArray[np.float64]) -> NDArray[np.int64]:
    # Half to even, as Python's round does it.
    return np.rint(rupees * 100).astype(np.int64)


def _with_none(values: NDArray[np.int64], there: NDArray[np.bool_]) -> list[int | None]:
    found: list[int | None] = values.tolist()
    if not there.all():
        for number in np.flatnonzero(~there).tolist():
            found[number] = None
    return found


def _other_quotes(frames: Frames, number: int, wanted: Wanted, counts: DecodeCounts) -> list[Quote]:
    start, line, at_ns = int(frames.start[number]), int(frames.line[number]), int(frames.at_ns[number])
    found = []
    for packet in decode_message(frames.bodies[start : start + int(frames.size[number])], counts):
        key = wanted.of_id.get(packet[0])
        if key is None or not isinstance(packet, Ticker | QuotePacket | FullPacket):
            continue
        if wanted.line_of[packet[0]] in {0, line}:
            quote = to_quote(packet, key, at_ns)
            if quote is not None:
                found.append(quote)
    return found
