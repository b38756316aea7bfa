"""The day of limits over positions: what the journal held, what exits have brought, when a session of another day begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits import scope_words as words
from core.exits.partial_close import PERCENT_OF
from core.exits.scope_blindness import unknown_days
from core.exits.scope_ledger import ist_date
from core.exits.scope_lines import lines_of
from core.model.journal_records import DayCounted, LimitReset, LimitTripped
from core.model.session_time import NS_PER_S
from core.model.signals import Mode
from core.model.special_levels import LimitKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

    from core.exits.desk_state import DeskState
    from core.exits.judges import Moment
    from core.exits.scope_belief import Member
    from core.exits.scope_ledger import LimitLedger
    from core.exits.scope_roster import Over, Roster
    from core.model.journal_records import LimitRecord
    from core.model.memory import PositionMemory
    from core.model.money import Paise
    from core.model.signals import ExitRecord
    from core.model.special_levels import ScopeKey, ScopeLimit

_SAVED_LATE_NS: Final = 5 * NS_PER_S
"""What is remembered of a position may reach the disk a little after its end was counted."""


class ScopeDay:
    """Writes the ledger and the journal. Whoever calls sets the bands anew afterwards.

    `memory_of` gives what the engine remembers of a position, None when it does not know it any more; `realised_of` what closed
    shares have brought that its rows still count (paise), None when that is not known.
    """

    def __init__(
        self,
        limits: Sequence[ScopeLimit],
        ledger: LimitLedger,
        roster: Roster,
        desk: DeskState,
        memory_of: Callable[[int], PositionMemory | None],
        realised_of: Callable[[int], Paise | None],
    ) -> None:
        self._limits = limits
        self._ledger = ledger
        self._roster = roster
        self._desk = desk
        self._memory_of = memory_of
        self._realised_of = realised_of
        self._told_unknown: set[ScopeKey] = set()
        self._has_daily = any(limit.daily_loss is not None for limit in limits)
        self._begun: date | None = None

    def adopt(self) -> None:
        """Take over what the journal held, once it is known what time it is."""
        desk, ledger = self._desk, self._ledger
        if not desk.utc_ns:
            return
        if ledger.day is None:
            ledger.day = ist_date(desk.utc_ns)
        for record in desk.limit_records:
            # A scope without limits any more has nothing to be latched.
            if not isinstance(record, LimitTripped) or lines_of(self._limits, record.key):
                ledger.take(record, ledger.day)
        desk.limit_records.clear()

    def keep(self, record: LimitRecord) -> None:
        """Take a new fact in, and write it down. Alert mode writes nothing."""
        self._ledger.take(record, self._today)
        if self._desk.mode is not Mode.ALERT:
            self._desk.record(record)

    def turn(self, moment: Moment) -> bool:
        """Begin the day of a session. True when something has changed with it."""
        ledger, day = self._ledger, moment.ist.date()
        if moment.session_open is not True:
            return False
        self._begun = day
        if not ledger.is_over(day):
            return False
        is_new = ledger.day != day
        over = ledger.begin(day)
        for latch in over:
            self.keep(LimitReset(latch.scope, latch.name, 0, moment.utc_ns))
        if over:
            self._desk.say(words.in_force_alert(over))
        if is_new:
            self._told_unknown.clear()
            self._roster.forget_bases()
        return True

    def finished(self, record: ExitRecord) -> None:
        """Count an exit, or a share: what a share has brought is in the P&L of the rest, when it is known."""
        if record.action not in PERCENT_OF:
            self._count_exit(record, self._brought(record, self._roster.finish(record.strategy_id)))
            return
        self._roster.note_share(record.strategy_id)
        if record.realised_pnl is None:
            self._count_exit(record, None)

    def count_over(self, over: Over) -> None:
        """Count a position that is over without an exit of ours."""
        self._count(DayCounted("", over.strategy_id, over.underlying, over.change, self._desk.utc_ns))

    def lose(self, strategy_id: int, memory: PositionMemory, seen_ns: int) -> None:
        """Nobody knows what a position brought that was seen today and changed in a downtime, unless its end was counted."""
        is_counted = self._ledger.over_ns.get(strategy_id, 0) + _SAVED_LATE_NS >= seen_ns
        # A whole exit counts at its end. That of a share counts nothing, and its rest begins a day of its own.
        is_exiting = any(each.strategy_id == strategy_id and not each.is_share for each in self._desk.exits.values())
        if memory.day == self._ledger.day and not is_counted and not is_exiting:
            self._count(DayCounted("", strategy_id, memory.underlying, None, self._desk.utc_ns))

    def reset(self, key: ScopeKey, forgiven: Paise) -> None:
        self._told_unknown.discard(key)
        self.keep(LimitReset(key.scope, key.name, forgiven, self._desk.utc_ns))

    def tell_unknown(self) -> None:
        """Page each day of a scope that has become unknown, once."""
        new = []
        for key, names in self._ledger.unknown.items():
            is_limited = any(line.kind is LimitKind.DAILY_LOSS for line in lines_of(self._limits, key))
            if is_limited and key not in self._told_unknown:
                self._told_unknown.add(key)
                new.append((key, names))
        if new:
            self._desk.say(unknown_days(new))

    @property
    def _today(self) -> date:
        return self._ledger.day or ist_date(self._desk.utc_ns)

    def _brought(self, record: ExitRecord, member: Member | None) -> Paise | None:
        """What the day has brought on a position whose exit is over, shares closed before included."""
        if record.realised_pnl is None:
            return None
        if member is not None:
            base, earlier = self._roster.base_now(member), member.booked.realised
        else:
            memory = self._memory_of(record.strategy_id)
            base = memory.day_base if memory is not None and memory.day == self._today else None
            earlier = self._realised_of(record.strategy_id)
        return None if base is None or earlier is None else record.realised_pnl + earlier - base

    def _count_exit(self, record: ExitRecord, change: Paise | None) -> None:
        if ist_date(record.finished_at_ns) == self._today and record.exit_id not in self._ledger.counted:
            underlying = record.symbol.strip().upper()
            self._count(DayCounted(record.exit_id, record.strategy_id, underlying, change, record.finished_at_ns))

    def _count(self, record: DayCounted) -> None:
        """What ends before anybody could trade today brings nothing: rows of yesterday that are cleared up."""
        is_before_session = self._desk.session_open is False and self._begun != ist_date(self._desk.utc_ns)
        if self._has_daily and not is_before_session:
            self.keep(record)
