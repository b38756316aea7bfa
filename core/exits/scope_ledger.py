"""What limits over positions remember of their day: which have fired, and what positions that are over have brought."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from core.exits.scope_lines import keys_of
from core.model.journal_records import DayCounted, LimitReset, LimitTripped
from core.model.session_time import ist_datetime

if TYPE_CHECKING:
    from datetime import date

    from core.model.journal_records import LimitRecord
    from core.model.money import Paise
    from core.model.special_levels import ScopeKey


def ist_date(utc_ns: int) -> date:
    return ist_datetime(utc_ns).date()


class LimitLedger:
    """A fold over records, live or replayed. `day` is the IST date of the session that counts, None before the first time told.

    `latches` are the limits that have fired, by scope. `counted` are the exits whose day's result is in. `unknown` names, by
    scope, what has brought today nobody knows how much. `over_ns` is when a strategy was last counted (UTC).
    """

    def __init__(self) -> None:
        self.day: date | None = None
        self.latches: dict[ScopeKey, LimitTripped] = {}
        self.counted: set[str] = set()
        self.over_ns: dict[int, int] = {}
        self.unknown: dict[ScopeKey, tuple[str, ...]] = {}
        self._brought: dict[ScopeKey, Paise] = {}
        self._forgiven: dict[ScopeKey, Paise] = {}

    def take(self, record: LimitRecord, today: date) -> None:
        """What an earlier day brought is not counted. A limit that fired then stays latched until a session begins."""
        is_today = ist_date(record.utc_ns) == today
        match record:
            case LimitTripped():
                self.latches[record.key] = record
            case LimitReset(forgiven=forgiven):
                self.latches.pop(record.key, None)
                if is_today:
                    self._forgiven[record.key] = forgiven
                    self.unknown.pop(record.key, None)
            case DayCounted():
                self.counted.add(record.exit_id)
                self.over_ns[record.strategy_id] = record.utc_ns
                if is_today:
                    self._count(record)
            case _ as unreachable:
                assert_never(unreachable)

    def _count(self, record: DayCounted) -> None:
        for key in keys_of(record.strategy_id, record.underlying):
            if record.change is None:
                name = record.exit_id or f"strategy {record.strategy_id}"
                self.unknown[key] = (*self.unknown.get(key, ()), name)
            else:
                self._brought[key] = self.brought(key) + record.change

    def brought(self, key: ScopeKey) -> Paise:
        """What the positions of the scope that are over have brought today, those included that an operator forgave."""
        return self._brought.get(key, 0)

    def counts(self, key: ScopeKey) -> Paise:
        """The same as the daily loss counts it."""
        return self.brought(key) - self._forgiven.get(key, 0)

    def is_over(self, day: date) -> bool:
        """Whether something of another day is still in force."""
        return self.day != day or bool(self._old_latches(day))

    def begin(self, day: date) -> tuple[LimitTripped, ...]:
        """The session of that day counts from now on. Returns the limits that are to be in force again."""
        if self.day not in {None, day}:
            self._brought.clear()
            self._forgiven.clear()
            self.unknown.clear()
        self.day = day
        return self._old_latches(day)

    def _old_latches(self, day: date) -> tuple[LimitTripped, ...]:
        return tuple(trip for trip in self.latches.values() if ist_date(trip.utc_ns) != day)
