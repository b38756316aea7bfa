"""What one replay is made of: the recording, the book that is guarded, the engine as the settings have it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from core.dhan.instrument_master import decode_master, parse_master
from core.exit_profiles import book_rules, desk_settings, guard_settings
from core.exits.engine import Engine
from core.exits.judges import RuleSetup
from core.market_calendar import TABLE, AlwaysOpen, load_calendar
from core.model.errors import ConfigurationError, DecodeError, StoreError, TransportError
from core.model.session_time import NS_PER_S, ist_datetime
from core.model.signals import Mode
from core.position_book import build_book, wanted_keys
from core.position_cache_manager import PositionCacheManager
from core.recording.player import RecordingPlayer, play_price_rows
from core.recording.price_rows import check_price_rows, instruments_beside, keys_in, read_price_rows
from core.recording.reader import is_recording, open_parts, with_header
from core.recording.silence import InstrumentSilence, LineSilence, NoSilence
from core.settings import MarketHours
from core.settings_limits import scope_limits
from core.stores.sqlite_store import SqliteStore
from strategies.own_rules import OWN_RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date
    from pathlib import Path

    from core.exits.desk_settings import DeskSettings
    from core.market_calendar import SessionCalendar
    from core.model.instrument import Instrument, InstrumentKey
    from core.position_book import Book
    from core.recording.player import Played
    from core.recording.price_rows import PriceRows
    from core.recording.reader import NothingRecordedError, Part
    from core.recording.replay_run import ReplayRun, Silence
    from core.settings import Settings
    from core.stores.base import Snapshot

SNAPSHOTS_MISSED: Final = 3
"""A price of a snapshot file is too old when so many snapshots have not brought a newer one."""
_MANY: Final = 1_000_000
_ASK_TRADES: Final = "Name the SQLite file with the rows: --trades-db PATH."


@dataclass(frozen=True, slots=True)
class ReplayWish:
    """`stale_after_s` None: by the recording's own rhythm. `only`: these strategies, None all."""

    paths: tuple[Path, ...]
    trades: Path | None = None
    master: Path | None = None
    only: frozenset[int] | None = None
    stale_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class ReplaySource:
    """What is played. Either `parts` (recordings of ours) or `rows`. `book` None: the positions are in the recording."""

    wish: ReplayWish
    settings: Settings
    parts: tuple[Part, ...]
    rows: PriceRows | None
    book: Book | None
    stale_after_s: float
    calendar: SessionCalendar
    is_told: bool
    empty: tuple[NothingRecordedError, ...] = ()

    @property
    def name(self) -> str:
        first, *others = (path.name for path in self.wish.paths)
        return f"{first} and {len(others)} more" if others else first

    def engine(self) -> Engine:
        rules = RuleSetup(scope_limits(self.settings), OWN_RULES)
        cache = PositionCacheManager()
        return Engine(cache, guard_settings(self.settings), _desk(self.settings), Mode.SIMULATION, rules)

    def silence(self, engine: Engine) -> Silence:
        """Who judges how old a price may be: nobody where the recording monitor has told what it doubted."""
        limit_ns = int(self.stale_after_s * NS_PER_S)
        if self.rows is not None:
            return InstrumentSilence(engine.cache, limit_ns)
        if self.is_told and self.wish.stale_after_s is None:
            return NoSilence()
        return LineSilence(engine.cache, limit_ns)

    def play(self, run: ReplayRun) -> Played:
        """Raises DecodeError for a recorded fact that this build does not know."""
        book = None if self.book is None else [(each.position, each.levels) for each in self.book.positions]
        if self.rows is not None:
            return play_price_rows(self.rows, book or (), run)
        return RecordingPlayer(self.parts, run, book).play()

    def problems(self) -> tuple[str, ...]:
        """Files in which nothing is recorded, and what of the rows could not be read."""
        rows = () if self.book is None else tuple(f"{error}; it is set aside" for error in self.book.set_aside)
        return (*(error.problem.rstrip(".") for error in self.empty), *rows)


def open_source(wish: ReplayWish, settings: Settings) -> ReplaySource:
    """Read what has to be known before the first price. Raises ConfigurationError for whatever is wrong with it."""
    kinds = {is_recording(path) for path in wish.paths}
    if kinds == {True}:
        return _of_recording(wish, settings)
    if len(wish.paths) > 1:
        odd = next(path for path in wish.paths if not is_recording(path))
        raise ConfigurationError(
            f"{odd} is no recording, and several files are recordings of one day.",
            "Leave it out; of price rows one file is replayed at a time.",
        )
    return _of_rows(wish, settings)


def missing_notes(only: frozenset[int] | None, known: Iterable[int]) -> tuple[str, ...]:
    """The wanted strategies that are not there, in words. Raises ConfigurationError when none is left to play."""
    found = set(known)
    missing = ", ".join(map(str, sorted((only or frozenset()) - found)))
    if found:
        return (f"There is no open position of strategy {missing}",) if missing else ()
    if missing:
        raise ConfigurationError(
            f"There is no open position of strategy {missing}.", "Without --positions all that there are are replayed."
        )
    raise ConfigurationError("There is no position to replay.", _ASK_TRADES)


def _of_recording(wish: ReplayWish, settings: Settings) -> ReplaySource:
    paths, empty = with_header(wish.paths)
    if not paths:
        raise empty[0]
    parts = open_parts(paths)
    first = parts[0]
    book = None
    if wish.trades is not None:
        if wish.master is None:
            raise ConfigurationError(
                "--trades-db needs the contracts that its rows name.", "Name the instrument master: --instruments FILE."
            )
        snapshot = _snapshot(wish.trades)
        instruments = _instruments(wish.master, wanted_keys(snapshot.trades))
        book = _book(snapshot, instruments, wish, settings, ist_datetime(first.utc_ns).date())
    is_told = first.header.source == "monitor" and book is None
    calendar = AlwaysOpen() if first.header.is_always_open else _calendar(settings)
    stale_after_s = wish.stale_after_s or settings.mark_stale_s
    return ReplaySource(wish, settings, parts, None, book, stale_after_s, calendar, is_told, empty)


def _of_rows(wish: ReplayWish, settings: Settings) -> ReplaySource:
    [path] = wish.paths
    check_price_rows(path)
    if wish.trades is None:
        raise ConfigurationError(f"{path.name} holds prices and no positions.", _ASK_TRADES)
    master = wish.master or instruments_beside(path)
    if wish.master is None and not master.exists():
        raise ConfigurationError(
            f"There is no {master.name} beside {path.name}.", "Name the instrument master: --instruments FILE."
        )
    snapshot = _snapshot(wish.trades)
    instruments = _instruments(master, keys_in(path) | wanted_keys(snapshot.trades))
    rows = read_price_rows(path, instruments)
    if not rows.quotes:
        raise ConfigurationError(f"{path.name} has no price of an instrument in {master.name}.", "Name its own master.")
    day = ist_datetime(rows.quotes[0].received_ns).date()
    book = _book(snapshot, instruments, wish, settings, day)
    rhythm_s = max(SNAPSHOTS_MISSED * rows.rhythm_s, settings.mark_stale_s)
    stale_after_s = wish.stale_after_s or rhythm_s
    return ReplaySource(wish, settings, (), rows, book, stale_after_s, _calendar(settings), is_told=False)


def _book(
    snapshot: Snapshot,
    instruments: Mapping[InstrumentKey, Instrument],
    wish: ReplayWish,
    settings: Settings,
    day: date,
) -> Book:
    # Whosever rows they are: a replay closes nothing.
    rules = replace(book_rules(settings, wish.only), account=None)
    book = build_book(snapshot, instruments, rules, day)
    missing_notes(wish.only, [each.position.strategy_id for each in book.positions])
    return book


def _snapshot(path: Path) -> Snapshot:
    async def read() -> Snapshot:
        # Not opened: that would make the monitor's own tables in the file, and nothing is to be written here.
        store = SqliteStore(path)
        try:
            return await store.read_snapshot()
        finally:
            await store.close()

    if not path.is_file():
        raise ConfigurationError(f"There is no file {path}.", _ASK_TRADES)
    try:
        return asyncio.run(read())
    except (StoreError, TransportError) as error:
        raise ConfigurationError(f"{path} cannot be used: {error}.", _ASK_TRADES) from None


def _instruments(path: Path, wanted: frozenset[InstrumentKey]) -> Mapping[InstrumentKey, Instrument]:
    try:
        return parse_master(decode_master(path.read_bytes()), wanted).instruments
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}).", "Name the instrument master.") from None
    except DecodeError as error:
        raise ConfigurationError(
            f"{path}: {error}.", "Name the instrument master, a CSV file of Dhan's layout."
        ) from None


def _calendar(settings: Settings) -> SessionCalendar:
    if settings.market_hours is MarketHours.ALWAYS:
        return AlwaysOpen()
    return load_calendar(settings.market_calendar or TABLE)


def _desk(settings: Settings) -> DeskSettings:
    """As in the settings, but without the pace of a broker: the account of a replay has none."""
    return replace(
        desk_settings(settings),
        orders_per_second=_MANY,
        attempts_per_leg_per_minute=_MANY,
        attempts_per_leg_per_day=_MANY,
        position_read_interval_ms=0,
    )
