"""The open positions as the monitor would read them, for a recording that is made without one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from core.exit_profiles import book_rules
from core.instrument_source import InstrumentSource
from core.model.events import PositionGone, PositionOpened
from core.model.session_time import ist_datetime
from core.options import Options
from core.position_book import build_book, guarded_rows, wanted_keys
from core.trades_source import trades_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.clock import Clock
    from core.model.instrument import Instrument, InstrumentKey
    from core.position_book import BookedPosition
    from core.recording.facts import Fact
    from core.settings import Settings


class RecordedBook:
    """`known` by strategy id. `only` reads these strategies, None all. Writes nothing."""

    def __init__(self, settings: Settings, clock: Clock, only: frozenset[int] | None) -> None:
        self.known: dict[int, BookedPosition] = {}
        self._settings = settings
        self._rules = book_rules(settings, only)
        self._clock = clock
        # As for --plan: neither a lease nor a listener.
        self._store = trades_source(settings, Options(plan=True), self._clock).store
        self._source = InstrumentSource(
            settings.dhan_instruments,
            settings.state_dir,
            self._clock,
            max_age_days=settings.instruments_max_age_days,
            keeps=False,
        )
        self._instruments: dict[InstrumentKey, Instrument] = {}

    async def open(self) -> None:
        # Opening a SQLite file makes the monitor's own tables in it, and nothing is to be written here.
        if self._settings.supabase_url is not None:
            await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def read(self) -> list[Fact]:
        """What has changed since the last read. Raises StoreError, TransportError, DecodeError, ConfigurationError."""
        snapshot = await self._store.read_snapshot()
        missing = wanted_keys(snapshot.trades) - self._instruments.keys()
        if missing:
            self._instruments.update((await self._source.load(missing)).master.instruments)
        today = ist_datetime(self._clock.utc_ns()).date()
        last_good = guarded_rows(each.position for each in self.known.values())
        book = await asyncio.to_thread(build_book, snapshot, self._instruments, self._rules, today, last_good)
        now = self._clock.monotonic_ns()
        found = {each.position.strategy_id: each for each in book.positions}
        facts: list[Fact] = [PositionGone(gone, now) for gone in self.known.keys() - found.keys()]
        for strategy_id, booked in found.items():
            if self.known.get(strategy_id) != booked:
                facts.append(PositionOpened(booked.position, booked.levels, now))
        self.known = found
        return facts

    def keys(self) -> list[InstrumentKey]:
        """Legs first, then what is behind them: as the monitor wants them."""
        legs = [leg.instrument for each in self.known.values() for leg in each.position.legs]
        behind = [leg.underlying_key for leg in legs if leg.underlying_key is not None]
        return list(dict.fromkeys((*(leg.key for leg in legs), *behind)))

    def state(self) -> Iterator[Fact]:
        now = self._clock.monotonic_ns()
        for booked in self.known.values():
            yield PositionOpened(booked.position, booked.levels, now)
