"""Keeps the engine's positions equal to the store's: reads, compares, and tells the engine what opened, changed, went."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from core.level_memory import LevelMemory
from core.model.commands import Alert, Severity
from core.model.errors import ConfigurationError, DecodeError, StoreError, TransportError
from core.model.events import PositionGone, PositionOpened
from core.model.memory import NOTHING_REMEMBERED
from core.model.session_time import NS_PER_S, ist_datetime
from core.position_book import Book, build_book, guarded_rows, wanted_keys
from core.read_trouble import ReadTrouble
from core.reading_pace import ReadingPace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.clock import Clock
    from core.exit_runner import ExitRunner
    from core.instrument_source import InstrumentSource
    from core.model.errors import RowError
    from core.model.instrument import Instrument, InstrumentKey
    from core.model.memory import PositionMemory
    from core.model.position import Position
    from core.position_book import BookedPosition, BookRules
    from core.stores.base import TradeStore

_log = logging.getLogger(__name__)
_TOLD_ONE_BY_ONE: Final = 5
_ASK_AGAIN_NS: Final = 60 * NS_PER_S
"""An instrument that the master does not hold is looked for again after this: the master is large, and read whole."""


def position_tag(position: Position) -> str:
    """Name under which a position is remembered: the same units at the same entry, the same peak."""
    legs = ",".join(f"{leg.row_id}/{leg.units:+d}/{leg.entry}" for leg in position.legs)
    return f"{position.strategy_id}:{legs}"


class BookKeeper:
    """`read` is called at start and after every noticed change. An error leaves the book as it was.

    `is_reading`: the newest read came to a book.

    `unseen`: strategies that were asked for by id (`BookRules.only`) and that no read has brought yet.

    `on_positions` hears of the positions before the engine does, `on_read` is called after it has heard of all.
    """

    def __init__(
        self,
        *,
        store: TradeStore,
        source: InstrumentSource,
        runner: ExitRunner,
        clock: Clock,
        rules: BookRules,
        memories: Mapping[str, PositionMemory],
    ) -> None:
        self.known: dict[int, BookedPosition] = {}
        self.set_aside: tuple[RowError, ...] = ()
        self.unseen = rules.only or frozenset()
        self.changes_seen = 0
        self.is_reading = False
        self._store = store
        self._source = source
        self._runner = runner
        self._clock = clock
        self._rules = rules
        self._memories = memories
        self.on_positions: Callable[[tuple[Position, ...]], None] = lambda _: None
        self.on_read: Callable[[], None] = lambda: None
        self._turn = asyncio.Lock()
        self._trouble = ReadTrouble()
        self._is_master_told = False
        self._worked_ns = 0
        self._levels = LevelMemory()
        self._instruments: dict[InstrumentKey, Instrument] = {}
        self._missed_ns: dict[InstrumentKey, int] = {}

    def position_of(self, strategy_id: int) -> Position | None:
        """As its rows have it."""
        booked = self.known.get(strategy_id)
        return None if booked is None else booked.position

    async def read(self) -> None:
        """Read everything open and tell the engine the difference.

        Raises StoreError or TransportError from the store, and DecodeError or TransportError from the instrument master.
        """
        async with self._turn:
            has_read = False
            try:
                await self._read()
                has_read = True
            finally:
                self.is_reading = has_read

    async def _read(self) -> None:
        snapshot, without_levels = self._levels.settled(await self._store.read_snapshot(), self._clock.monotonic_ns())
        await self._load_instruments(wanted_keys(snapshot.trades))
        began_ns = self._clock.monotonic_ns()
        today = ist_datetime(self._clock.utc_ns()).date()
        last_good = guarded_rows(booked.position for booked in self.known.values())
        # In a thread: a thousand positions take some fifty milliseconds, and the ticks must not wait for them.
        book = await asyncio.to_thread(
            build_book, snapshot, self._instruments, self._rules, today, last_good, dict(self.known)
        )
        self._take(book)
        self._worked_ns = self._clock.monotonic_ns() - began_ns
        self._tell_defaults(without_levels)
        self._say(self._trouble.succeeded(snapshot.stale, self._clock.monotonic_ns()))

    async def _load_instruments(self, wanted: frozenset[InstrumentKey]) -> None:
        """Look up what is not known yet. While something is known, a missing master sets new rows aside and no more."""
        now = self._clock.monotonic_ns()
        self._missed_ns = {key: missed for key, missed in self._missed_ns.items() if key in wanted}
        missing = {key for key in wanted - self._instruments.keys() if self._is_due(key, now)}
        if not missing:
            return
        try:
            loaded = await self._source.load(missing)
        except (TransportError, DecodeError, ConfigurationError) as error:
            if not self._instruments:
                raise
            self._tell_master(error)
        else:
            self._instruments.update(loaded.master.instruments)
            self._is_master_told = False
        for key in missing:
            if key in self._instruments:
                self._missed_ns.pop(key, None)
            else:
                self._missed_ns[key] = now

    def has_missing_due(self) -> bool:
        """Whether it is time to look again: for an instrument that the master did not hold, or for level rows that vanished."""
        now = self._clock.monotonic_ns()
        levels_due_ns = self._levels.due_ns()
        if levels_due_ns is not None and now >= levels_due_ns:
            return True
        return any(self._is_due(key, now) for key in self._missed_ns)

    def _is_due(self, key: InstrumentKey, now_ns: int) -> bool:
        missed_ns = self._missed_ns.get(key)
        return missed_ns is None or now_ns - missed_ns >= _ASK_AGAIN_NS

    async def follow(self) -> None:
        """Re-read after every change the store notices, for ever, at a pace that leaves the machine to the ticks."""
        pace = ReadingPace()
        async for _ in self._store.changes():
            self.changes_seen += 1
            self._worked_ns = 0
            await self.read_or_keep()
            # Waiting for a far store costs nothing. Taking its rows apart costs about as much as building the book of them.
            pause_ns = pace.pause_ns(2 * self._worked_ns, self._clock.monotonic_ns())
            if pause_ns:
                await asyncio.sleep(pause_ns / NS_PER_S)

    async def read_or_keep(self) -> None:
        """Read; on an error tell a person and keep the book as it was."""
        try:
            await self.read()
        except (StoreError, TransportError, DecodeError, ConfigurationError) as error:
            alert = self._trouble.failed(error, self._clock.monotonic_ns())
            self._say(alert)
            if alert is None:
                _log.debug("the trades cannot be read: %s", error)

    def _say(self, alert: Alert | None) -> None:
        if alert is not None:
            self._runner.carry_out((alert,))

    def _tell_defaults(self, strategies: frozenset[int]) -> None:
        for strategy_id in sorted(strategies & self.known.keys()):
            name = f"{self.known[strategy_id].position.strategy_name} ({strategy_id})"
            text = "its level or risk rows are gone; what they said is replaced by the defaults of its category, see --plan"
            self._say(Alert(Severity.WARNING, f"levels of {name} are gone", text))

    def _tell_master(self, error: Exception) -> None:
        """Page once until it is over."""
        if not self._is_master_told:
            self._is_master_told = True
            text = f"rows of new contracts cannot be guarded: {error}"
            self._say(Alert(Severity.PAGE, "instrument master not readable", text))

    def _take(self, book: Book) -> None:
        self._tell_set_aside(book)
        now = self._clock.monotonic_ns()
        found = {booked.position.strategy_id: booked for booked in book.positions}
        self.unseen -= found.keys()
        # The paper account and the subscriptions learn of a position before its guard can fire.
        self.on_positions(tuple(booked.position for booked in book.positions))
        for strategy_id in self.known.keys() - found.keys():
            position = self.known.pop(strategy_id).position
            _log.info("no open row of %s (%d) any more", position.strategy_name, strategy_id)
            self._runner.handle(PositionGone(strategy_id, now))
        for strategy_id, booked in found.items():
            if self.known.get(strategy_id) != booked:
                self.known[strategy_id] = booked
                _log.info("guarding %s", _described(booked))
                memory = self._memories.get(position_tag(booked.position), NOTHING_REMEMBERED)
                self._runner.handle(PositionOpened(booked.position, booked.levels, now, memory))
        self.on_read()

    def _tell_set_aside(self, book: Book) -> None:
        told = {str(error) for error in self.set_aside}
        self.set_aside = book.set_aside
        new = [str(error) for error in book.set_aside if str(error) not in told]
        if len(new) > _TOLD_ONE_BY_ONE:
            text = f"{'; '.join(new[:_TOLD_ONE_BY_ONE])} and others, all in the list of rows set aside"
            self._runner.carry_out((Alert(Severity.PAGE, f"{len(new)} rows set aside", text),))
            return
        for error in new:
            text = f"{error}; mend the row, the other rows stay guarded"
            self._runner.carry_out((Alert(Severity.PAGE, "row set aside", text),))


def _described(booked: BookedPosition) -> str:
    position = booked.position
    legs = ", ".join(f"{leg.units:+d} {leg.instrument.dated_symbol}" for leg in position.legs)
    return f"{position.strategy_name} ({position.strategy_id}) on {position.underlying}: {legs}"
