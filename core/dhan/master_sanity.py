"""Is a downloaded instrument master to be believed? Counted first, judged second (fault C08; dhan_v2_protocol 7).

A wrong master makes lots, ticks and contracts wrong all at once, so a doubtful one is not used while an older good one is
there. Small files of the operator's own must pass: what a file cannot show is not held against it.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.dhan.instrument_master import parse_master, spot_lines
from core.dhan.master_columns import USUAL_STARTS
from core.model.errors import DecodeError
from core.model.instrument import InstrumentKey, Segment

if TYPE_CHECKING:
    from datetime import date

NIFTY: Final = InstrumentKey(Segment.IDX_I, 13)
"""The row that every list of the NSE has, under the same id for years (dhan_v2_protocol 7.3)."""
NIFTY_NAMES: Final = frozenset({"NIFTY", "NIFTY 50", "NIFTY50"})
WHOLE_LIST_ROWS: Final = 10_000
"""A file of so many rows with shares and derivatives of the NSE claims to be its whole list. A list of one segment does not."""
MOST_BAD_SHARE: Final = 0.01
FEW_BAD_ROWS: Final = 5
"""In a small file one slip of the pen is more than 1 %."""
LEAST_SHARE_OF_LAST: Final = 0.5
_SAMPLED_ROWS: Final = 20_000

_WHOLE_NSE: Final = frozenset({Segment.NSE_EQ, Segment.NSE_FNO})
_DERIVATIVES: Final = frozenset({Segment.NSE_FNO, Segment.BSE_FNO})


@dataclass(frozen=True, slots=True)
class MasterFigures:
    """`rows` without the header. `looked_at` of them were read, evenly spread over a large file; `bad` of those could not be.

    `nifty`: what index 13 is called, None when no row has that id. `segments`: those of the rows. `derivatives` and
    `expired` of NSE and BSE, among the rows that were looked at. `is_cut`: the last line is not whole.
    """

    rows: int
    looked_at: int
    bad: int
    nifty: str | None
    segments: frozenset[Segment]
    derivatives: int
    expired: int
    is_cut: bool


def count_rows(text: str) -> int:
    """Lines after the header, a last one without an end included."""
    return max(text.count("\n") - text.endswith("\n"), 0)


def measure(text: str, today: date) -> MasterFigures:
    """What can be told of a file without reading all of a large one: that takes seconds. `today` is the Indian date.

    Raises:
        DecodeError: no instrument master at all: no header, a required column is missing, no row.
    """
    rows = count_rows(text)
    if rows == 0:
        # The header may say what the file is instead.
        parse_master(text, ())
        raise DecodeError("instrument master: expected rows, received a header alone")
    sample = _sample(text, rows)
    master = parse_master(sample)
    listed = master.instruments.values()
    derivatives = [each.expiry for each in listed if each.key.segment in _DERIVATIVES and each.expiry is not None]
    nifty = master.instruments.get(NIFTY)
    return MasterFigures(
        rows=rows,
        looked_at=count_rows(sample),
        bad=master.bad_rows,
        nifty=None if nifty is None else nifty.symbol,
        segments=frozenset(each.key.segment for each in listed),
        derivatives=len(derivatives),
        expired=sum(expiry < today for expiry in derivatives),
        is_cut=_is_cut(text),
    )


def doubts(figures: MasterFigures, last_rows: int | None) -> tuple[str, ...]:
    """Why the file is not to be believed; () when it is. `last_rows`: of the last good copy, None when there is none."""
    found = []
    if figures.is_cut:
        found.append("its last line is cut off")
    if figures.bad > max(FEW_BAD_ROWS, MOST_BAD_SHARE * figures.looked_at):
        found.append(f"{figures.bad} of {figures.looked_at} rows cannot be read, at most 1 % are expected")
    if figures.nifty is not None and figures.nifty.upper() not in NIFTY_NAMES:
        found.append(f"NSE index 13 is {figures.nifty!r}, expected NIFTY: its ids are not Dhan's")
    if figures.nifty is None and figures.rows >= WHOLE_LIST_ROWS and figures.segments >= _WHOLE_NSE:
        found.append("it lists the whole NSE without index 13, NIFTY")
    if last_rows is not None and figures.rows < LEAST_SHARE_OF_LAST * last_rows:
        found.append(f"it has {figures.rows} rows, the last good copy has {last_rows}")
    if is_all_expired(figures):
        found.append("every contract in it has expired: it is an old file")
    return tuple(found)


def is_all_expired(figures: MasterFigures) -> bool:
    return 0 < figures.derivatives == figures.expired


def _sample(text: str, rows: int) -> str:
    """All of a small file; else the header, the indices and shares, and every n-th line."""
    if rows <= _SAMPLED_ROWS or not text.startswith(USUAL_STARTS):
        return text
    lines = text.splitlines(keepends=True)
    every = rows // _SAMPLED_ROWS + 1
    indices = (line for line in spot_lines(text) if ",I," in line[:6])
    return "".join((lines[0], *lines[1::every], *indices))


def _is_cut(text: str) -> bool:
    """Whether the last line has fewer fields than the one before. A file may lack the last line's end and be whole."""
    if text.endswith("\n"):
        return False
    *before, last = csv.reader(io.StringIO(text[text.rfind("\n", 0, text.rfind("\n")) + 1 :], newline=""))
    return len(last) < max((len(row) for row in before), default=0)
