"""Trades in a Supabase project, over REST. Works by polling alone; a listener to changes (`ChangeSink`) makes it quicker.

A change says where to look, never what is there: rows come from reads only, exact and in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from core.model.errors import BugError, StoreError, TransportError
from core.model.exit_levels import FULL_EXITS
from core.model.session_time import NS_PER_S, ist_datetime
from core.stores.base import Snapshot, StoreHealth, StoreState
from core.stores.change_sink import RowChange
from core.stores.last_rows import LastRows, LastRowsFile, project_digest
from core.stores.row_mirror import Doubts, RowMirror
from core.stores.rows import TRADES, snapshot_of
from core.stores.supabase_errors import emptied
from core.stores.supabase_reader import ReadRows, SupabaseReader, together
from core.stores.supabase_rest import SupabaseRest
from core.stores.supabase_writer import append_risk_event, close_row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from core.clock import Clock
    from core.model.errors import RowError
    from core.model.signals import ExitRecord
    from core.stores.base import RowOutcome
    from core.stores.columns import Row
    from core.stores.supabase_access import SupabaseAccess

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S: Final = 1.0
_SLICE_S: Final = 1.0
_LATE_S: Final = 5.0
_SAVE_AGAIN_NS: Final = 10 * NS_PER_S
_NOT_LISTENING: Final = "changes are not listened to yet"


class SupabaseStore:
    """A TradeStore and a ChangeSink. `changes` is for one reader.

    While changes are confirmed to arrive, everything is read every `reread_s`, else every `poll_s`. `saved` is the file with
    the last good rows, None for none; `keeps=False` reads it only.
    """

    def __init__(
        self,
        access: SupabaseAccess,
        clock: Clock,
        *,
        timeout_s: float = 5.0,
        reread_s: float = 30.0,
        poll_s: float = 3.0,
        saved: Path | None = None,
        keeps: bool = True,
    ) -> None:
        self._access = access
        self._clock = clock
        self._timeout_s = timeout_s
        self._reread_ns = int(reread_s * NS_PER_S)
        self._poll_ns = int(poll_s * NS_PER_S)
        self._saved = None if saved is None else LastRowsFile(saved, project_digest(access))
        self._keeps = keeps
        self._rest: SupabaseRest | None = None
        self._reader: SupabaseReader | None = None
        self._mirror = RowMirror()
        self._turn = asyncio.Lock()
        self._hint = asyncio.Event()
        self._why_polling = _NOT_LISTENING
        """ "" while changes are confirmed to arrive."""
        self._problems: dict[str, RowError] = {}
        self._saved_rows_of_ns: int | None = None
        """UTC, while the rows held are the saved ones."""
        self._began_ns: int | None = None
        """Monotonic: when the newest full read that succeeded began."""
        self._answered_utc_ns: int | None = None
        self._shows_trades = True
        self._failure = ""
        """Why the newest read failed, "" when it did not."""
        self._failures = 0
        self._next_try_ns = 0
        self._absent_told: set[str] = set()
        self._written_ns: int | None = None
        self._written_trades: frozenset[int] = frozenset()

    # --- TradeStore ---

    async def open(self) -> None:
        """Check key, tables and columns. Where nothing answers, saved rows of the last day are used until something does.

        Raises StoreError with the remedy, TransportError when the project does not answer and there are no saved rows.
        """
        self._rest = await SupabaseRest.connect(self._access, self._timeout_s)
        self._reader = SupabaseReader(self._rest, self._access)
        is_usable = False
        began_ns = self._clock.monotonic_ns()
        try:
            await self._reader.probe()
            self._tell_absent(self._reader)
            self._shows_trades = self._reader.shows_trades
            if not self._shows_trades:
                await self._refuse_if_rows_were_seen()
            is_usable = True
        except TransportError as error:
            is_usable = await self._take_saved_rows()
            if not is_usable:
                raise
            self._note_failure(error, began_ns)
        finally:
            if not is_usable:
                await self.close()

    async def read_snapshot(self) -> Snapshot:
        """What is open. Only what changes named is asked for; everything when they named nothing, or it is time to.

        Raises StoreError or TransportError and keeps in doubt what was. Saved rows are given out until the project answers.
        """
        async with self._turn:
            began_ns = self._clock.monotonic_ns()
            if self._saved_rows_of_ns is None or began_ns >= self._next_try_ns:
                try:
                    await self._read(began_ns)
                except TransportError:
                    if self._saved_rows_of_ns is None:
                        raise
            rows, stale, problems = self._mirror.rows(), self._stale(), tuple(self._problems.values())
            # In a thread: a thousand positions take tens of milliseconds, and the ticks must not wait for them.
            found = await asyncio.to_thread(snapshot_of, *rows.values())
            await self._save()
        return Snapshot(
            trades=found.trades,
            strategies=found.strategies,
            risks=found.risks,
            levels=found.levels,
            monitoring=found.monitoring,
            details=found.details,
            problems=(*problems, *found.problems),
            damaged=found.damaged,
            stale=stale,
        )

    async def changes(self) -> AsyncIterator[None]:
        """One item per noticed change, and one when it is time to read again. After a failed read, not before its pause."""
        while True:
            now = self._clock.monotonic_ns()
            due_ns = self._next_try_ns if self._failure else self._due_ns()
            if now >= due_ns or (self._hint.is_set() and not self._failure):
                self._hint.clear()
                yield None
            else:
                await self._wait(due_ns - now)

    async def close_rows(self, record: ExitRecord) -> Mapping[int, RowOutcome]:
        """Close the rows of a full exit, each by a conditional update that only one can win."""
        # A finished full exit is flat by the broker's positions, whoever closed which part of it; a share leaves rows open.
        if record.action not in FULL_EXITS:
            return {}
        key = await self._reading().trades_key()
        try:
            outcomes = await together([partial(close_row, self._asking(), key, record, leg) for leg in record.legs])
        finally:
            for leg in record.legs:
                self.changed(RowChange(TRADES, leg.row_id, record.strategy_id))
        return {leg.row_id: outcome for leg, outcome in zip(record.legs, outcomes, strict=True)}

    async def record_risk_event(self, record: ExitRecord) -> None:
        """Append to risk_events, once per exit, in the columns that the table has."""
        await append_risk_event(self._asking(), record)

    async def rpc(self, function: str, arguments: dict[str, object]) -> Sequence[Row]:
        """The rows that a function of the database gives; none from a function without a result.

        Sent once. Raises StoreError, with the server's `code`, or TransportError when it is not known whether it took effect.
        """
        return await self._asking().call(function, arguments)

    def health(self) -> StoreHealth:
        if self._failure:
            return StoreHealth(StoreState.AWAY, self._failure)
        if self._began_ns is None:
            return StoreHealth(StoreState.AWAY, "not read yet")
        if self._why_polling:
            return StoreHealth(StoreState.POLLING, self._why_polling)
        age_ns = self._clock.monotonic_ns() - self._began_ns
        if age_ns > self._reread_ns + int((self._timeout_s + _LATE_S) * NS_PER_S):
            return StoreHealth(StoreState.POLLING, f"not read again since {_hour(self._answered_utc_ns or 0)}")
        return StoreHealth(StoreState.LIVE)

    def doubts(self) -> str:
        """An empty table looks like one that row-level security hides from the key."""
        if self._shows_trades:
            return ""
        return (
            "Supabase shows no row of trades at all, open or closed. If there are any, row-level security hides them from "
            "this key: use the secret key or SUPABASE_ROLE_TOKEN, and run data_scripts/check_supabase.py."
        )

    async def close(self) -> None:
        if self._rest is not None:
            rest, self._rest, self._reader = self._rest, None, None
            await rest.close()

    # --- ChangeSink ---

    def changed(self, change: RowChange) -> None:
        self._mirror.note(change)
        self._hint.set()

    def confirmed(self) -> None:
        self._why_polling = ""
        self._doubt_everything()

    def doubted(self, reason: str) -> None:
        # While it is polled anyway, one reason more is no news: a listener that fails over and over must not hammer the project.
        is_news = not self._why_polling
        self._why_polling = reason or "changes may go unseen"
        if is_news:
            self._doubt_everything()

    # --- reading ---

    def _doubt_everything(self) -> None:
        self._mirror.doubt_everything()
        # Whoever listens has just heard from the project, or lost it: either way it is worth a try.
        self._next_try_ns = min(self._next_try_ns, self._clock.monotonic_ns())
        self._hint.set()

    async def _read(self, began_ns: int) -> None:
        """Bring the mirror up to date."""
        doubts = self._mirror.take_doubts()
        is_some = bool(doubts.strategies) and not doubts.everything and began_ns < self._due_ns()
        is_read = False
        try:
            found = await self._reading().read(doubts.strategies if is_some else None, self._mirror)
            is_read = True
        except (StoreError, TransportError) as error:
            self._note_failure(error, began_ns)
            raise
        finally:
            if not is_read:
                self._mirror.give_back(doubts if is_some else Doubts(everything=True))
        self._take(found, doubts.strategies if is_some else None, began_ns)

    def _tell_absent(self, reader: SupabaseReader) -> None:
        """Once for each: without an optional table there are fewer levels, and nothing is wrong."""
        for table in reader.absent.keys() - self._absent_told:
            _log.info("table %s is not read, nothing of it is in force: %s", table, reader.absent[table])
        self._absent_told.update(reader.absent)

    def _take(self, found: ReadRows, strategies: frozenset[int] | None, began_ns: int) -> None:
        if strategies is None:
            self._mirror.replace_all(found.tables)
            self._problems = dict(found.problems)
            self._began_ns = began_ns
        else:
            self._mirror.replace(strategies, found.tables)
            self._problems.update(found.problems)
        self._tell_absent(self._reading())
        self._saved_rows_of_ns = None
        self._answered_utc_ns = self._clock.utc_ns()
        self._failure, self._failures, self._next_try_ns = "", 0, 0

    def _note_failure(self, error: StoreError | TransportError, began_ns: int) -> None:
        """Pauses count from the beginning of the try: one that ran into its time limit has waited long enough."""
        since = "never read" if self._answered_utc_ns is None else f"last read {_hour(self._answered_utc_ns)}"
        self._failure = f"{since}: {error}"
        pause_ns = min(self._poll_ns, int(_FIRST_PAUSE_S * NS_PER_S) << min(self._failures, 10))
        self._failures += 1
        self._next_try_ns = began_ns + pause_ns

    def _due_ns(self) -> int:
        if self._began_ns is None:
            return 0
        return self._began_ns + (self._poll_ns if self._why_polling else self._reread_ns)

    async def _wait(self, remaining_ns: int) -> None:
        """Until a hint, or for at most the remaining time. In slices: what is due may have changed meanwhile."""
        if self._failure:
            # The next try reads what was hinted at, too.
            self._hint.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(_SLICE_S, max(remaining_ns / NS_PER_S, 0.001))):
                await self._hint.wait()

    # --- the last good rows ---

    async def _refuse_if_rows_were_seen(self) -> None:
        """The table looks empty at start. Raises StoreError when the last run saw open rows in it today or yesterday."""
        last = None if self._saved is None else await asyncio.to_thread(self._saved.load, self._clock.utc_ns())
        if last is not None and last.tables[TRADES]:
            _log.warning("%d rows of trades were open at %s", len(last.tables[TRADES]), _hour(last.read_at_ns))
            raise emptied(self._access, TRADES)

    async def _take_saved_rows(self) -> bool:
        if self._saved is None:
            return False
        last = await asyncio.to_thread(self._saved.load, self._clock.utc_ns())
        if last is None:
            return False
        self._mirror.replace_all(last.tables)
        self._saved_rows_of_ns = self._answered_utc_ns = last.read_at_ns
        return True

    def _stale(self) -> str:
        if self._saved_rows_of_ns is None:
            return ""
        return f"Supabase does not answer; rows as read at {_hour(self._saved_rows_of_ns)}"

    async def _save(self) -> None:
        """At once when trades came or went, else now and then. A copy that cannot be written is told of and no more."""
        if (
            self._saved is None
            or not self._keeps
            or self._saved_rows_of_ns is not None
            or self._answered_utc_ns is None
        ):
            return
        now, trades = self._clock.monotonic_ns(), self._mirror.strategies()
        is_old = self._written_ns is None or now - self._written_ns >= _SAVE_AGAIN_NS
        if not is_old and trades == self._written_trades:
            return
        self._written_ns, self._written_trades = now, trades
        try:
            await asyncio.to_thread(self._saved.save, LastRows(self._answered_utc_ns, self._mirror.rows()))
        except OSError as error:
            _log.warning("the last good rows could not be kept: %s", error.strerror)

    def _asking(self) -> SupabaseRest:
        if self._rest is None:
            raise BugError("the Supabase store is used before it is opened, or after it is closed")
        return self._rest

    def _reading(self) -> SupabaseReader:
        if self._reader is None:
            raise BugError("the Supabase store is used before it is opened, or after it is closed")
        return self._reader


def _hour(utc_ns: int) -> str:
    return f"{ist_datetime(utc_ns):%H:%M:%S}"
