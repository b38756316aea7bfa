"""Price rows of other sources, in the local exchange's replay format → quotes.

    ts_ms,exchange_segment,security_id,ltp,bid,ask,bid_qty,ask_qty,volume,oi

`ts_ms` is true UTC milliseconds, prices are rupees, quantities units; plain or gzip. Missing columns are derived as the local
exchange does it: a side that a row lacks is one tick beside the last price, 20 lots deep; indices have no book.
"""

from __future__ import annotations

import csv
import gzip
import statistics
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from core.model.errors import ConfigurationError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote
from core.model.money import paise_from_text
from core.model.session_time import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from core.model.instrument import Instrument
    from core.model.money import Paise

NEEDED: Final = ("ts_ms", "exchange_segment", "security_id", "ltp")
_DEFAULT_LOTS: Final = 20
_MS_PER_S: Final = 1_000
_FORMAT: Final = (
    "Name a .feedrec file, or price rows: CSV, plain or gzip, with the columns "
    "ts_ms,exchange_segment,security_id,ltp,bid,ask,bid_qty,ask_qty,volume,oi in its first line."
)
_SHOWN: Final = 80


class PriceRows(NamedTuple):
    """`quotes` in file order; `received_ns` of each is the row's own time in UTC ns. `rhythm_s`: the usual time from one
    update of an instrument to its next, 0 when there is none.
    """

    quotes: tuple[Quote, ...]
    rhythm_s: float
    unlisted: int


def instruments_beside(recording: Path) -> Path:
    """The usual place of a file's instrument master: `nse_DATE_instruments.csv.gz` beside `nse_DATE_*.csv.gz`."""
    exchange, _, rest = recording.name.partition("_")
    day = rest.partition("_")[0]
    suffix = ".csv.gz" if recording.name.endswith(".gz") else ".csv"
    return recording.with_name(f"{exchange}_{day}_instruments{suffix}")


def check_price_rows(path: Path) -> None:
    """Raise ConfigurationError when the file does not begin as price rows, or holds none."""
    if next(_rows(path), None) is None:
        raise ConfigurationError(f"{path} has a line of columns and no price.", "Name a file with rows.")


def keys_in(path: Path) -> frozenset[InstrumentKey]:
    """Every instrument of the file. Raises ConfigurationError like `read_price_rows`."""
    return frozenset(key for key, _ in _rows(path))


def read_price_rows(path: Path, instruments: Mapping[InstrumentKey, Instrument]) -> PriceRows:
    """All quotes of the file. Rows of unlisted instruments are counted and left out, and so are rows without a price.

    Raises ConfigurationError: the file cannot be read, lacks a column, goes back in time, or a number makes no sense (the
    message names the row).
    """
    quotes: list[Quote] = []
    unlisted = 0
    for number, (key, row) in enumerate(_rows(path), start=2):
        contract = instruments.get(key)
        if contract is None:
            unlisted += 1
            continue
        try:
            quote = _quote(row, contract)
        except (ValueError, OverflowError) as error:
            raise ConfigurationError(f"{path.name} row {number}: {error}.", "Correct or remove the row.") from None
        if quotes and quote.received_ns < quotes[-1].received_ns:
            raise ConfigurationError(f"{path.name} row {number} is earlier than the row before.", "Sort by ts_ms.")
        if quote.last > 0:
            quotes.append(quote)
    return PriceRows(tuple(quotes), _rhythm_s(quotes), unlisted)


def _rows(path: Path) -> Iterator[tuple[InstrumentKey, dict[str, str]]]:
    try:
        with _opened(path) as file:
            reader = csv.DictReader(file)
            if missing := [name for name in NEEDED if name not in (reader.fieldnames or ())]:
                raise _neither(path, f"the column {missing[0]}", _first_line(reader.fieldnames))
            yield from _keyed(path, reader)
    except (UnicodeDecodeError, csv.Error):
        raise _neither(path, "text in UTF-8", "other bytes") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _neither(path, "a whole gzip file", f"a damaged one ({error})") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}).", _FORMAT) from None


def _neither(path: Path, expected: str, came: str) -> ConfigurationError:
    problem = f"{path} is neither a recording nor price rows: expected {expected}, received {came}."
    return ConfigurationError(problem, _FORMAT)


def _first_line(names: Sequence[str] | None) -> str:
    text = ",".join(names or ())
    if not text:
        return "an empty file"
    return f"the columns {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}"


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    if is_packed:
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _keyed(path: Path, reader: Iterable[dict[str, str]]) -> Iterator[tuple[InstrumentKey, dict[str, str]]]:
    for number, row in enumerate(reader, start=2):
        try:
            yield InstrumentKey(Segment(row["exchange_segment"]), int(row["security_id"])), row
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"{path.name} row {number}: {error}.", "Correct or remove the row.") from None


def _quote(row: Mapping[str, str], contract: Instrument) -> Quote:
    at_ms = int(row["ts_ms"])
    last = paise_from_text(row["ltp"])
    bid, bid_size = _side(row, "bid", last - contract.tick, contract)
    ask, ask_size = _side(row, "ask", last + contract.tick, contract)
    return Quote(contract.key, last, bid, ask, bid_size, ask_size, at_ms // _MS_PER_S, at_ms * NS_PER_MS)


def _side(row: Mapping[str, str], name: str, derived: Paise, contract: Instrument) -> tuple[Paise | None, int]:
    if contract.key.segment is Segment.IDX_I:
        return None, 0
    price_text, size_text = row.get(name), row.get(f"{name}_qty")
    price = paise_from_text(price_text) if price_text else derived
    size = int(float(size_text)) if size_text else _DEFAULT_LOTS * contract.lot
    return (price, size) if price > 0 and size > 0 else (None, 0)


def _rhythm_s(quotes: Sequence[Quote]) -> float:
    before: dict[InstrumentKey, int] = {}
    gaps: list[int] = []
    for quote in quotes:
        earlier = before.get(quote.key)
        if earlier is not None and quote.received_ns > earlier:
            gaps.append(quote.received_ns - earlier)
        before[quote.key] = quote.received_ns
    return statistics.median(gaps) / (_MS_PER_S * NS_PER_MS) if gaps else 0.0
