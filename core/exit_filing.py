"""What is written down of a finished exit: its rows in the store, its line in exit_executions.json, its risk event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from core.model.commands import Alert, Severity
from core.model.errors import StoreError, TransportError
from core.model.exit_levels import Rule
from core.model.signals import Mode
from core.stores.base import RowOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.exit_records import ExitRecords
    from core.model.signals import ExitRecord
    from core.stores.base import TradeStore

RETRY_S: Final = (0.2, 0.5, 1.0, 2.0)
"""Pauses between tries; the last one is repeated."""
_LASTING_TRIES: Final = 9
"""Some 14 s of pauses."""
_RISK_EVENT_TRIES: Final = 3
_LOST: Final = frozenset({RowOutcome.OTHERS, RowOutcome.GONE})


class ExitFiling:
    """Every method returns when rows and line are written, however long that takes; tried again, nothing is in twice.

    `tell` gets an alert when the first try of something has failed.
    """

    def __init__(self, store: TradeStore, records: ExitRecords, tell: Callable[[Alert], None]) -> None:
        self._store = store
        self._records = records
        self._tell = tell
        self._told: set[str] = set()

    async def close(self, record: ExitRecord) -> None:
        """Everything that a finished exit leaves behind. Simulation leaves the rows alone.

        The exit's line is written here too: after a restart nobody else would.
        """
        if record.mode is Mode.LIVE:
            await self._close_rows(record)
            await self._record_risk_event(record)
        await self.write_line(record)

    async def write_line(self, record: ExitRecord) -> None:
        """The exit's line in exit_executions.json."""
        tries = 0
        while True:
            try:
                await self._records.append(record)
            except TransportError as error:
                self._tell_once(f"exit record of {record.exit_id} not written", str(error))
                await _pause(tries)
                tries += 1
            else:
                return

    async def _close_rows(self, record: ExitRecord) -> None:
        tries = 0
        while True:
            try:
                outcomes = await self._store.close_rows(record)
            except (StoreError, TransportError) as error:
                self._tell_unwritten(record, error, tries)
                await _pause(tries)
                tries += 1
            else:
                if tries:
                    self._tell(Alert(Severity.INFO, f"rows of {record.exit_id} written", "the store takes them again"))
                self._tell_lost(record, outcomes)
                return

    def _tell_unwritten(self, record: ExitRecord, error: StoreError | TransportError, tries: int) -> None:
        """A warning for what may be over in a moment; a page when waiting does not mend it, or has not."""
        is_grave = isinstance(error, StoreError) or tries >= _LASTING_TRIES
        text = f"the position is closed at the broker; the rows follow when the store takes them: {error}"
        if is_grave:
            self._tell_once(f"rows of {record.exit_id} still not written", text, Severity.PAGE)
        else:
            self._tell_once(f"rows of {record.exit_id} not written", text)

    def _tell_lost(self, record: ExitRecord, outcomes: Mapping[int, RowOutcome]) -> None:
        """Rows that somebody else closed or deleted first keep what he wrote; the record file has our prices."""
        lost = [f"{row_id} ({outcome.value})" for row_id, outcome in outcomes.items() if outcome in _LOST]
        if lost and record.rule is not Rule.CLOSED_OUTSIDE:
            text = f"row {', '.join(lost)}: not written by us; our fills are in exit_executions.json"
            self._tell(Alert(Severity.WARNING, f"rows of {record.exit_id} closed by somebody else", text))

    async def _record_risk_event(self, record: ExitRecord) -> None:
        """A table for reports, which must not keep a closed exit open: after a few failures a person is told instead."""
        problem = ""
        for tries in range(_RISK_EVENT_TRIES):
            try:
                await self._store.record_risk_event(record)
            except (StoreError, TransportError) as error:
                problem = str(error)
                await _pause(tries)
            else:
                return
        self._tell_once(f"risk event of {record.exit_id} not written", problem)

    def _tell_once(self, subject: str, text: str, severity: Severity = Severity.WARNING) -> None:
        if subject not in self._told:
            self._told.add(subject)
            self._tell(Alert(severity, subject, text))


async def _pause(tries: int) -> None:
    await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
