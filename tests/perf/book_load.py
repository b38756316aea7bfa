"""Loading a book as the monitor does (rows, master, levels, guards), and what it takes in time and memory.

`python -m tests.perf.book_load '{"positions": 1000}'` measures one size in a fresh process and prints it as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from core.clock import SystemClock
from core.dhan.instrument_master import decode_master, parse_master
from core.exit_profiles import profiles_by
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.model.events import PositionOpened
from core.model.session_time import ist_datetime
from core.model.signals import Mode
from core.position_book import BookRules, build_book, wanted_keys
from core.position_cache_manager import PositionCacheManager
from core.price_cache import PriceCache
from core.settings import load_settings
from core.stores.sqlite_store import SqliteStore
from tests.perf.bench_book import make_book, write_book

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.stores.base import Snapshot
    from tests.perf.bench_book import BenchBook

LEGS_EACH = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """Seconds of each step. `keys` are the instruments the positions need."""

    read_rows_s: float
    read_master_s: float
    build_s: float
    guard_s: float
    keys: tuple[InstrumentKey, ...]
    kept: object

    @property
    def total_s(self) -> float:
        return self.read_rows_s + self.read_master_s + self.build_s + self.guard_s


def load_book(folder: Path, book: BenchBook, engine: Engine) -> Loaded:
    database, master = folder / "trades.db", folder / "instruments.csv"
    write_book(book, database, master)
    clock = SystemClock()
    at = [time.perf_counter()]
    snapshot = asyncio.run(_read(database))
    at.append(time.perf_counter())
    found = parse_master(decode_master(master.read_bytes()), wanted_keys(snapshot.trades)).instruments
    at.append(time.perf_counter())
    rules = BookRules(profiles_by(load_settings({}, None)))
    built = build_book(snapshot, found, rules, ist_datetime(clock.utc_ns()).date())
    at.append(time.perf_counter())
    for booked in built.positions:
        engine.handle(PositionOpened(booked.position, booked.levels, clock.monotonic_ns()))
    at.append(time.perf_counter())
    steps = [later - earlier for earlier, later in pairwise(at)]
    if len(built.positions) != len(book.positions):
        raise RuntimeError(f"expected {len(book.positions)} positions, {len(built.positions)} were read")
    # As the book keeper: the book is kept for the comparison with the next read, the rows are not.
    return Loaded(*steps, keys=tuple(engine.cache.keys()), kept=(built, found))


async def _read(database: Path) -> Snapshot:
    store = SqliteStore(database)
    await store.open()
    try:
        return await store.read_snapshot()
    finally:
        await store.close()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(plan: dict[str, Any]) -> None:
    positions = plan["positions"]
    book = make_book(positions, positions * LEGS_EACH, 0)
    with TemporaryDirectory(prefix="bench-") as name:
        cache = PositionCacheManager()
        engine = Engine(cache, GuardSettings(), DeskSettings(), Mode.LIVE)
        # A book of one first: what is loaded once is not a position's cost.
        small = Path(name) / "small"
        small.mkdir()
        load_book(small, make_book(1, 1, 1), Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.LIVE))
        gc.collect()
        before = _resident_bytes()
        loaded = load_book(Path(name), book, engine)
        prices = PriceCache()
        prices.watch(loaded.keys)
        gc.collect()
        grown = _resident_bytes() - before
    told = {
        "positions": positions,
        "legs_each": LEGS_EACH,
        "bytes_per_position": grown / positions,
        "load_s": loaded.total_s,
        "read_rows_s": loaded.read_rows_s,
        "read_master_s": loaded.read_master_s,
        "build_s": loaded.build_s,
        "guard_s": loaded.guard_s,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
