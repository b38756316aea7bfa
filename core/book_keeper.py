"""Keeps the engine's positions equal to the store's: reads, compares, and tells the engine what opened, changed, went."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from core.model.commands import Alert, Severity
from core.model.errors import ConfigurationError, DecodeError, StoreError, TransportError
from core.model.events import PositionGone, PositionOpened
from core.model.session_time import ist_datetime
from core.position_book import Book, build_book, guarded_rows, wanted_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.clock import Clock
    from core.exit_runner import ExitRunner
    from core.instrument_source import InstrumentSource
    from core.model.errors import RowError
    from core.model.instrument import Instrument, InstrumentKey
    from core.model.position import Position
    from core.position_book import BookedPosition, BookRules
    from core.stores.base import TradeStore

_log = logging.getLogger(__name__)


def position_tag(position: Position) -> str:
    """Name under which a peak is remembered: the same rows, the same peak."""
    return f"{position.strategy_id}:{','.join(str(leg.row_id) for leg in position.legs)}"


class BookKeeper:
    """`read` is called at start and after every noticed change. An error leaves the book as it was.

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
        peaks: Mapping[str, int],
    ) -> None:
        self.known: dict[int, BookedPosition] = {}
        self.set_aside: tuple[RowError, ...] = ()
        self.changes_seen = 0
        self.is_reading = False
        self._store = store
        self._source = source
        self._runner = runner
        self._clock = clock
        self._rules = rules
        self._peaks = peaks
        self.on_positions: Callable[[tuple[Position, ...]], None] = lambda _: None
        self.on_read: Callable[[], None] = lambda: None
        self._turn = asyncio.Lock()
        self._told_error = ""
        self._instruments: dict[InstrumentKey, Instrument] = {}

    async def read(self) -> None:
        """Read everything open and tell the engine the difference.

        Raises StoreError or TransportError from the store, and DecodeError or TransportError from the instrument master.
        """
        async with self._turn:
            await self._read()

    async def _read(self) -> None:
        self.is_reading = False
        snapshot = await self._store.read_snapshot()
        missing = wanted_keys(snapshot.trades) - self._instruments.keys()
        if missing:
            loaded = await self._source.load(missing)
            self._instruments.update(loaded.master.instruments)
        today = ist_datetime(self._clock.utc_ns()).date()
        last_good = guarded_rows(booked.position for booked in self.known.values())
        self.is_reading = True
        self._take(build_book(snapshot, self._instruments, self._rules, today, last_good))

    async def follow(self) -> None:
        """Re-read after every change the store notices, for ever."""
        async for _ in self._store.changes():
            self.changes_seen += 1
            await self.read_or_keep()

    async def read_or_keep(self) -> None:
        """Read; on an error tell a person and keep the book as it was."""
        try:
            await self.read()
        except (StoreError, TransportError, DecodeError, ConfigurationError) as error:
            text = f"the positions stay as last read: {error}"
            if text != self._told_error:
                self._runner.carry_out((Alert(Severity.PAGE, "trades not readable", text),))
            self._told_error = text
        else:
            self._told_error = ""

    def _take(self, book: Book) -> None:
        self._tell_set_aside(book)
        now = self._clock.monotonic_ns()
        found = {booked.position.strategy_id: booked for booked in book.positions}
        # The paper account and the subscriptions learn of a position before its guard can fire.
        self.on_positions(tuple(booked.position for booked in book.positions))
        for strategy_id in self.known.keys() - found.keys():
            del self.known[strategy_id]
            self._runner.handle(PositionGone(strategy_id, now))
        for strategy_id, booked in found.items():
            if self.known.get(strategy_id) != booked:
                self.known[strategy_id] = booked
                _log.info("guarding %s", _described(booked))
                peak = self._peaks.get(position_tag(booked.position))
                self._runner.handle(PositionOpened(booked.position, booked.levels, now, peak))
        self.on_read()

    def _tell_set_aside(self, book: Book) -> None:
        told = {str(error) for error in self.set_aside}
        self.set_aside = book.set_aside
        for error in book.set_aside:
            if str(error) not in told:
                self._runner.carry_out(
                    (Alert(Severity.PAGE, "row set aside", f"{error}; mend the row, the other rows stay guarded"),)
                )


def _described(booked: BookedPosition) -> str:
    position = booked.position
    legs = ", ".join(f"{leg.units:+d} {leg.instrument.symbol}" for leg in position.legs)
    return f"{position.strategy_name} ({position.strategy_id}) on {position.underlying}: {legs}"
