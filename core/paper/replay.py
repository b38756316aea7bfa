"""Plays a recording: each row updates the book, in order, and every row of a subscribed instrument is sent."""

from __future__ import annotations

import asyncio
import csv
import gzip
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.model.instrument import InstrumentKey, Segment
from core.model.money import paise_from_text
from core.paper.market import DEFAULT_LOTS, Market, MarketData
from core.paper.options import ReplayTime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from core.paper.instruments import Instruments
    from core.paper.options import ExchangeOptions
    from core.paper.wall_clock import WallClock

MS_PER_S = 1_000
ROWS_BETWEEN_YIELDS = 200


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """`at_ms` is true UTC milliseconds."""

    at_ms: int
    data: MarketData


def instruments_beside(recording: Path) -> Path:
    """The master of a recording: `nse_DATE_instruments.csv.gz` beside `nse_DATE_*.csv.gz`."""
    exchange, day, *_rest = recording.name.split("_")
    return recording.with_name(f"{exchange}_{day}_instruments.csv.gz")


def read_rows(path: Path, instruments: Instruments) -> Iterator[RecordedRow]:
    """Rows in file order. A side the recording lacks is a tick beside the last price, 20 lots deep; indices have no
    book. Rows of unlisted instruments are skipped.

    Raises:
        ValueError: a number cannot be read; the message names the row.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                key = InstrumentKey(Segment(row["exchange_segment"]), int(row["security_id"]))
                listing = instruments.by_key.get(key)
                if listing is not None:
                    contract = listing.instrument
                    yield _row(row, key, contract.tick, contract.lot)
            except (ValueError, KeyError) as error:
                raise ValueError(f"{path.name} row {number}: {error}") from error


def _row(row: dict[str, str], key: InstrumentKey, tick: int, lot: int) -> RecordedRow:
    at_ms = int(row["ts_ms"])
    last = paise_from_text(row["ltp"])
    bids: tuple[tuple[int, int], ...] = ()
    asks: tuple[tuple[int, int], ...] = ()
    if key.segment is not Segment.IDX_I:
        bid = paise_from_text(row["bid"]) if row.get("bid") else last - tick
        ask = paise_from_text(row["ask"]) if row.get("ask") else last + tick
        bid_size = _whole(row.get("bid_qty"), DEFAULT_LOTS * lot) or 0
        ask_size = _whole(row.get("ask_qty"), DEFAULT_LOTS * lot) or 0
        bids = ((bid, bid_size),) if bid > 0 and bid_size else ()
        asks = ((ask, ask_size),) if ask > 0 and ask_size else ()
    volume = _whole(row.get("volume"), None)
    open_interest = _whole(row.get("oi"), None)
    return RecordedRow(at_ms, MarketData(key, last, bids, asks, at_ms // MS_PER_S, volume, open_interest, lot))


def _whole(text: str | None, default: int | None) -> int | None:
    return int(float(text)) if text else default


async def _let_others_run() -> None:
    await asyncio.sleep(0)


class Replay:
    """`speed` 1 as recorded, 60 an hour in a minute, 0 as fast as the slowest client takes it. `position` counts rows.

    At `speed` 0 every row reaches every client, and all wait for the slowest. At a speed the rows keep their times: a
    client that does not take them gets the newest only, and nobody else waits for it, as on a real feed.
    Trade times: `ReplayTime`. Recorded ones run `speed` times as fast as the wall clock, so a row sent t wall seconds
    after the first has the trade time first + t x speed, on the feed and over REST alike.
    """

    def __init__(self, rows: Iterator[RecordedRow], market: Market, options: ExchangeOptions, clock: WallClock) -> None:
        self._rows = rows
        self._market = market
        self._speed = options.speed
        self._options = options
        self._clock = clock
        self.position = 0
        self.finished = asyncio.Event()

    async def run(self, wait_for_clients: Callable[[], Awaitable[None]]) -> None:
        """Play to the end. `wait_for_clients` returns when no client's socket is full."""
        loop = asyncio.get_running_loop()
        pause = wait_for_clients if self._speed == 0 else _let_others_run
        started: float | None = None
        first_ms = 0
        for row in self._rows:
            if started is None:
                started, first_ms = loop.time(), row.at_ms
            if self._speed > 0:
                due = started + (row.at_ms - first_ms) / MS_PER_S / self._speed
                if due > loop.time():
                    await asyncio.sleep(due - loop.time())
            self.position += 1
            data = row.data
            if self._options.replay_time is ReplayTime.NOW:
                data = replace(data, traded_at_s=self._clock.utc_s())
            self._market.apply(data, every=self._speed == 0)
            if self.position % ROWS_BETWEEN_YIELDS == 0:
                await pause()
        await pause()
        self.finished.set()
