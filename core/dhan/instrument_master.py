"""The instrument master, Dhan's scrip master CSV: detailed or compact, read by header name (dhan_v2_protocol 7)."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from core.dhan.master_columns import NONE_WORDS, USUAL_STARTS, Places, places_of
from core.dhan.segments import SEGMENT_OF_EXCHANGE
from core.dhan.underlyings import EXCHANGE_OF, INDEX, SHARE, SPOT_PREFIXES, Underlyings, with_underlyings
from core.model.errors import DecodeError
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.money import paise_from_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from collections.abc import Set as AbstractSet

    from core.model.money import Paise

_GZIP_MAGIC: Final = b"\x1f\x8b"
_NAMED_PROBLEMS: Final = 20
_FEW: Final = 16
_SPOT: Final = frozenset({INDEX, SHARE})
_NUMBER: Final = re.compile(r"[+-]?\d{1,12}(\.\d{0,12})?", re.ASCII)
_PLACES_OF: Final = {
    segment: [place for place, found in SEGMENT_OF_EXCHANGE.items() if found is segment] for segment in Segment
}


@dataclass(frozen=True, slots=True)
class InstrumentMaster:
    """What a master file holds. `bad_rows` counts the rows that could not be read, `problems` names the first of them.

    `skipped_rows` are in segments this program does not know.
    """

    instruments: dict[InstrumentKey, Instrument]
    bad_rows: int
    skipped_rows: int
    problems: tuple[str, ...]
    underlyings: Underlyings = field(default_factory=Underlyings, compare=False, repr=False)


def decode_master(data: bytes) -> str:
    """The text of a master file, plain or gzip.

    Raises:
        DecodeError: the gzip stream is broken or cut off.
    """
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DecodeError(
                f"instrument master: expected a whole gzip file, received a broken one: {error}"
            ) from None
    return data.decode("utf-8-sig", errors="replace")


def parse_master(text: str, wanted: Collection[InstrumentKey] | None = None) -> InstrumentMaster:
    """The instruments of a master file; with `wanted` only those, which is much faster, and a few of them faster still.

    A row that cannot be read is counted and named, and the others are kept. Where a few wanted ones are all found, only the
    rows that may be about them were read and counted.

    Raises:
        DecodeError: the header lacks a required column, which the message names.
    """
    if wanted is not None and len(wanted) <= _FEW and text.startswith(USUAL_STARTS):
        found = _parsed(_lines_about(text, wanted), wanted)
        if found.instruments.keys() >= set(wanted):
            names = {x.underlying for x in found.instruments.values() if x.key.segment in EXCHANGE_OF}
            spot = _parsed(_header(text) + "".join(spot_lines(text, names)), ())
            return replace(found, instruments=with_underlyings(found.instruments, spot.underlyings))
    found = _parsed(text, wanted)
    return replace(found, instruments=with_underlyings(found.instruments, found.underlyings))


def _lines_about(text: str, wanted: Collection[InstrumentKey]) -> str:
    """The header and every line about one of the keys. Looking for text is much faster than taking it apart.

    A new contract must not wait for 250,000 rows: they take some 2 s.
    """
    needles = [
        f"{exchange},{letter},{key.security_id}," for key in wanted for exchange, letter in _PLACES_OF[key.segment]
    ]
    starts = sorted({start for needle in needles for start in _line_starts(text, needle)})
    return _header(text) + "".join(_line_from(text, start) for start in starts)


def spot_lines(text: str, names: AbstractSet[str] | None = None) -> Iterator[str]:
    """The lines of indices and shares, where the file has the usual order; with `names` those that hold one as a field."""
    for prefix in SPOT_PREFIXES if names is None or names else ():
        for start in _line_starts(text, prefix):
            line = _line_from(text, start)
            if names is None or not names.isdisjoint(line.split(",")):
                yield line


def _line_starts(text: str, prefix: str) -> Iterator[int]:
    needle = f"\n{prefix}"
    at = text.find(needle)
    while at >= 0:
        yield at + 1
        at = text.find(needle, at + 1)


def _header(text: str) -> str:
    return _line_from(text, 0)


def _line_from(text: str, start: int) -> str:
    end = text.find("\n", start)
    return text[start:] if end < 0 else text[start : end + 1]


def _parsed(text: str, wanted: Collection[InstrumentKey] | None) -> InstrumentMaster:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        places = places_of(next(reader, []))
        return _read(reader, places, None if wanted is None else frozenset(wanted))
    except csv.Error as error:
        raise DecodeError(f"instrument master: expected CSV, failed at line {reader.line_num}: {error}") from None


def _read(rows: Iterator[list[str]], places: Places, wanted: frozenset[InstrumentKey] | None) -> InstrumentMaster:
    instruments: dict[InstrumentKey, Instrument] = {}
    problems: list[str] = []
    underlyings = Underlyings()
    bad = skipped = 0
    exchange_at, segment_at, id_at = places.exchange, places.segment, places.security_id
    wanted_ids = None if wanted is None else {str(key.security_id) for key in wanted}
    for number, row in enumerate(rows, start=2):
        try:
            if row[segment_at] in _SPOT:
                _note_spot(underlyings, row, places)
            if wanted_ids is not None and row[id_at] not in wanted_ids:
                continue
            segment = SEGMENT_OF_EXCHANGE.get((row[exchange_at], row[segment_at]))
            if segment is None:
                skipped += 1
                continue
            key = InstrumentKey(segment, int(row[id_at]))
            if wanted is None or key in wanted:
                instruments[key] = _instrument(key, row, places)
        except (ValueError, IndexError) as error:
            if not row:
                continue
            bad += 1
            if len(problems) < _NAMED_PROBLEMS:
                what = error if isinstance(error, ValueError) else f"expected all columns, received {len(row)}"
                problems.append(f"row {number}: {what}")
    return InstrumentMaster(instruments, bad, skipped, tuple(problems), underlyings)


def _note_spot(underlyings: Underlyings, row: list[str], places: Places) -> None:
    """An index or a share, which a derivative may name as its underlying. Rows with too few columns are no use."""
    if len(row) <= max(place for place in places[:6] if place is not None):
        return
    names = (row[places.symbol].strip(), "" if places.underlying is None else row[places.underlying].strip())
    place = (row[places.exchange], row[places.segment], row[places.security_id])
    series = row[places.series].strip() if places.series is not None and places.series < len(row) else ""
    underlyings.note(place, tuple(name for name in names if name not in NONE_WORDS), series)


def _instrument(key: InstrumentKey, row: list[str], places: Places) -> Instrument:
    right = _right(row[places.right])
    symbol = row[places.symbol].strip()
    is_index = key.segment is Segment.IDX_I
    strike = _amount(row, places.strike)
    return Instrument(
        key=key,
        symbol=symbol,
        underlying=_underlying(row, places, symbol),
        # An index is priced, never ordered: its lot and tick may be empty.
        lot=1 if is_index else _positive("lot", row[places.lot]),
        tick=1 if is_index else _positive("tick", row[places.tick]),
        freeze_quantity=_freeze(row, places.freeze),
        strike=strike if right is not None else None,
        expiry=_expiry(row[places.expiry]),
        right=right,
        lower_limit=_amount(row, places.lower_limit),
        upper_limit=_amount(row, places.upper_limit),
    )


def _right(word: str) -> Right | None:
    match word.strip():
        case "CE":
            return Right.CALL
        case "PE":
            return Right.PUT
        case _:
            return None


def _underlying(row: list[str], places: Places, symbol: str) -> str:
    """The underlying's name: its own column, or the trading symbol without month, strike and right."""
    if places.underlying is not None and (named := row[places.underlying].strip()) not in NONE_WORDS:
        return named
    kind = row[places.instrument].strip()
    if kind.startswith("OPT"):
        return symbol.rsplit("-", 3)[0]
    return symbol.rsplit("-", 2)[0] if kind.startswith("FUT") else symbol


def _positive(name: str, word: str) -> int:
    """A whole number above 0, written as 65.0 or 5.0000. The tick is in paise already."""
    value = _decimal(word)
    if value is None or value <= 0 or value != value.to_integral_value():
        raise ValueError(f"{name}: expected a whole number above 0, received {word!r}")
    return int(value)


def _freeze(row: list[str], place: int | None) -> int | None:
    value = None if place is None else _decimal(row[place])
    return int(value) if value is not None and value > 0 else None


def _amount(row: list[str], place: int | None) -> Paise | None:
    """Rupees in paise; None where the column is absent, empty or not positive (a strike of −0.01 is none)."""
    value = None if place is None else _decimal(row[place])
    return paise_from_text(value) if value is not None and value > 0 else None


def _decimal(word: str) -> Decimal | None:
    """A plain number; None for an empty or placeholder cell. Raises ValueError for anything else."""
    stripped = word.strip()
    if stripped in NONE_WORDS:
        return None
    if _NUMBER.fullmatch(stripped) is None:
        raise ValueError(f"expected a number, received {stripped[:20]!r}")
    return Decimal(stripped)


def _expiry(word: str) -> date | None:
    """The day of "2026-11-24" or "2026-11-24 14:30:00". The time is not the end of trading (7.2)."""
    stripped = word.strip()
    return None if stripped in NONE_WORDS else date.fromisoformat(stripped[:10])
