"""Recorded market days as quotes, and the contracts that they quote. Imports nothing of the monitor.

Prices in paise, time in milliseconds of UTC. Where a row has no bid or ask the local exchange shows the last price one tick
down or up, 20 lots deep; `with_sides` False leaves such a quote without a book. A side without price or size is no side.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from tests.oracle.book import Contract
from tests.oracle.market import TICK, Shown
from tests.oracle.rows import paise

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "replay"


@dataclass(frozen=True, slots=True)
class Recording:
    name: str
    day: date
    stem: str
    master_stem: str

    @property
    def rows(self) -> Path:
        return FOLDER / f"{self.stem}.csv.gz"

    @property
    def master(self) -> Path:
        return FOLDER / f"{self.master_stem}.csv.gz"


NORMAL_DAY = Recording("normal day", date(2025, 8, 29), "nse_2025-08-29_normal_day", "nse_2025-08-29_instruments")
EXPIRY_DAY = Recording("expiry day", date(2026, 8, 18), "nse_2026-08-18_expiry_day", "nse_2026-08-18_instruments")


def read_contracts(recording: Recording) -> dict[str, Contract]:
    """Options by their key."""
    with gzip.open(recording.master, "rt", encoding="utf-8", newline="") as file:
        return {
            f"NSE_FNO:{row['SECURITY_ID']}": Contract(
                f"NSE_FNO:{row['SECURITY_ID']}",
                row["UNDERLYING_SYMBOL"],
                row["OPTION_TYPE"],
                int(Decimal(row["STRIKE_PRICE"]) * 100),
                date.fromisoformat(row["SM_EXPIRY_DATE"]),
                int(row["LOT_SIZE"]),
                f"IDX_I:{row['UNDERLYING_SECURITY_ID']}",
            )
            for row in csv.DictReader(file)
            if row["OPTION_TYPE"] in {"CE", "PE"}
        }


def read_quotes(recording: Recording, contracts: dict[str, Contract], *, with_sides: bool = True) -> list[Shown]:
    """Of these contracts and of the indices, in the order of the file. A price of 0 is no quote."""
    with gzip.open(recording.rows, "rt", encoding="utf-8", newline="") as file:
        return list(_quotes(csv.DictReader(file), contracts, with_sides=with_sides))


def _quotes(rows: Iterator[dict[str, str]], contracts: dict[str, Contract], *, with_sides: bool) -> Iterator[Shown]:
    for row in rows:
        key, last, at_ms = f"{row['exchange_segment']}:{row['security_id']}", paise(row["ltp"]), int(row["ts_ms"])
        if last <= 0:
            continue
        if key not in contracts:
            yield Shown(at_ms, key, last, None, None, 0, 0)
            continue
        deep = 20 * contracts[key].lot
        if not with_sides:
            yield Shown(at_ms, key, last, None, None, 0, 0)
            continue
        bid = paise(row["bid"]) if row["bid"] else last - TICK
        ask = paise(row["ask"]) if row["ask"] else last + TICK
        bid_size = int(float(row["bid_qty"])) if row["bid_qty"] else deep
        ask_size = int(float(row["ask_qty"])) if row["ask_qty"] else deep
        yield Shown(
            at_ms,
            key,
            last,
            bid if bid > 0 and bid_size > 0 else None,
            ask if ask > 0 and ask_size > 0 else None,
            bid_size,
            ask_size,
        )
