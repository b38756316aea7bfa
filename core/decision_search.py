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
from core.record_troubles import RecordTroubles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, time
    from pathlib import Path

    from core.decision_file import Segment

LOOKED_AT: Final = 16


@dataclass(frozen=True, slots=True)
class Recorded:
    """One record, as it was written, and when (IST)."""

    at: datetime
    line: Mapping[str, object]


class DecisionSearch:
    """The records of one strategy in one folder. What cannot be read is told to `troubles`, and the rest is used."""

    def __init__(self, folder: Path, strategy_id: int, troubles: RecordTroubles | None = None) -> None:
        self._folder = folder
        self._first = first_part(strategy_id)
        self._troubles = troubles or RecordTroubles()

    def newest(self) -> Recorded | None:
        """The last record of the strategy; None when there is none."""
        for segment in reversed(self._segments()):
            # The last lines of a file may be damaged; more than a few of them are not.
            for number, line in reversed(deque(self._lines(segment), LOOKED_AT)):
                record = self._parsed(segment, number, line)
                if record is not None:
                    return record
        return None

    def newest_day_at(self, clock: time) -> date | None:
        """The newest day that has a record at or before this Indian clock time; None when no day has one."""
        days: dict[date, list[Segment]] = {}
        for segment in self._segments():
            days.setdefault(segment.begun.date(), []).append(segment)
        for day in sorted(days, reverse=True):
            first = next((record for segment in days[day] for record in self._records(segment)), None)
            if first is not None and first.at.time() <= clock:
                return day
        return None

    def days(self) -> list[date]:
        """Every day that has a record, oldest first."""
        segments = self._segments()
        days = sorted({segment.begun.date() for segment in segments})
        return [
            day
            for day in days
            if any(True for each in segments if each.begun.date() == day for _ in self._records(each))
        ]

    def near(self, moment: datetime) -> list[Recorded]:
        """The records of the files that lie around `moment`, in order: always the nearest one of its day among them."""
        of_day = [each for each in self._segments() if each.begun.date() == moment.date()]
        here = max(sum(each.begun <= moment for each in of_day) - 1, 0)
        # The next file may begin before the nearest record of this one, and so may the one before end after it.
        near, far = of_day[max(here - 1, 0) : here + 2], [*reversed(of_day[: max(here - 1, 0)]), *of_day[here + 2 :]]
        found = [record for segment in near for record in self._records(segment)]
        for segment in sorted(far, key=lambda each: abs(each.begun - moment)):
            if found:
                break
            found = list(self._records(segment))
        return sorted(found, key=lambda each: each.at)

    def _segments(self) -> list[Segment]:
        try:
            return segments(self._folder)
        except OSError as error:
            self._troubles.unreadable(self._folder, error)
            return []

    def _records(self, segment: Segment) -> Iterator[Recorded]:
        for number, line in self._lines(segment):
            record = self._parsed(segment, number, line)
            if record is not None:
                yield record

    def _lines(self, segment: Segment) -> Iterator[tuple[int, bytes]]:
        try:
            for number, line in enumerate(read_lines(segment.path, self._troubles), start=1):
                if line.startswith(self._first):
                    yield number, line
                elif not line.startswith(b"{"):
                    self._troubles.line(segment.path, number)
        except FileNotFoundError:
            # A monitor that has just begun a new file has removed one that was too old.
            return
        except OSError as error:
            self._troubles.unreadable(segment.path, error)

    def _parsed(self, segment: Segment, number: int, line: bytes) -> Recorded | None:
        """None for a line that is damaged."""
        try:
            content = json.loads(line, parse_float=Decimal)
        except (ValueError, RecursionError):
            content = None
        at = time_of(content.get("time")) if isinstance(content, dict) else None
        if at is None:
            self._troubles.line(segment.path, number)
            return None
        return Recorded(at, content)


def time_of(value: object) -> datetime | None:
    """An ISO time as it is written here, in IST; None for anything else."""
    try:
        at = datetime.fromisoformat(str(value))
        return at.astimezone(IST) if at.tzinfo is not None else at.replace(tzinfo=IST)
    except (ValueError, OverflowError):
        return None
