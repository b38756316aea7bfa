"""Finds the recorded comparisons of one position, also while they are being written."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from core.decision_file import read_lines, segments
from core.decision_record import first_part
from core.model.session_time import IST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from core.decision_file import Segment

LOOKED_AT: Final = 16


@dataclass(frozen=True, slots=True)
class Recorded:
    """One record, as it was written, and when (IST)."""

    at: datetime
    line: Mapping[str, object]


def newest(folder: Path, strategy_id: int) -> Recorded | None:
    """The last record of the strategy; None when there is none."""
    for segment in reversed(segments(folder)):
        # The last lines of a file may be damaged; more than a few of them are not.
        for line in reversed(deque(_lines(segment, strategy_id), LOOKED_AT)):
            record = _parsed(line)
            if record is not None:
                return record
    return None


def records_near(folder: Path, strategy_id: int, moment: datetime) -> list[Recorded]:
    """The records of the files that lie around `moment`, in order: always the nearest one of its day among them."""
    of_day = [each for each in segments(folder) if each.begun.date() == moment.date()]
    here = max(sum(each.begun <= moment for each in of_day) - 1, 0)
    # The next file may begin before the nearest record of this one, and so may the one before end after it.
    near, far = of_day[max(here - 1, 0) : here + 2], [*reversed(of_day[: max(here - 1, 0)]), *of_day[here + 2 :]]
    found = [record for segment in near for record in _records(segment, strategy_id)]
    for segment in sorted(far, key=lambda each: abs(each.begun - moment)):
        if found:
            break
        found = list(_records(segment, strategy_id))
    return sorted(found, key=lambda each: each.at)


def time_of(value: object) -> datetime | None:
    """An ISO time as it is written here, in IST; None for anything else."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at.astimezone(IST) if at.tzinfo is not None else at.replace(tzinfo=IST)


def _records(segment: Segment, strategy_id: int) -> Iterator[Recorded]:
    for line in _lines(segment, strategy_id):
        record = _parsed(line)
        if record is not None:
            yield record


def _lines(segment: Segment, strategy_id: int) -> Iterator[bytes]:
    first = first_part(strategy_id)
    try:
        for line in read_lines(segment.path):
            if line.startswith(first):
                yield line
    except FileNotFoundError:
        # A monitor that has just begun a new file has removed one that was too old.
        return


def _parsed(line: bytes) -> Recorded | None:
    """None for a line that is damaged."""
    try:
        content = json.loads(line, parse_float=Decimal)
    except ValueError:
        return None
    at = time_of(content.get("time")) if isinstance(content, dict) else None
    return None if at is None else Recorded(at, content)
