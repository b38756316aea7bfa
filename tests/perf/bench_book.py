"""The bench's own trades, as files that the real readers read: SQLite rows and an instrument master.

Single-leg positions come first: they are the ones a breaching tick can close. The other legs are spread evenly.
"""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from time import time_ns
from typing import TYPE_CHECKING, Final

from core.model.session_time import ist_datetime
from core.stores.schema import create_tables

if TYPE_CHECKING:
    from pathlib import Path

FIRST_ID: Final = 40_000
UNITS: Final = 65
ENTRY_RUPEES: Final = 100.0
STOP_PERCENT: Final = 10
"""Of the premium: a long at 100.00 is stopped at 90.00."""
NEAR_RUPEES: Final = 93.0
"""Less than 40 % of the way to the stop is left: the monitor keeps the broker's positions fresh (core.exits.broker_watch)."""
BREACH_RUPEES: Final = 89.0
SEGMENT_CODE: Final = 2

_MASTER_COLUMNS: Final = (
    "EXCH_ID", "SEGMENT", "SECURITY_ID", "SYMBOL_NAME", "INSTRUMENT", "UNDERLYING_SYMBOL", "LOT_SIZE", "TICK_SIZE",
    "SM_EXPIRY_DATE", "STRIKE_PRICE", "OPTION_TYPE", "SM_UPPER_LIMIT", "SM_LOWER_LIMIT", "SM_FREEZE_QTY",
)  # fmt: skip
_TRADE: Final = (
    "INSERT INTO trades (strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy, action, quantity,"
    " price, strike_price, expiry_date, order_status, timestamp, product_type)"
    " VALUES (?, ?, ?, 'NSE_FNO', 'NIFTY', 'CE', ?, 'BUY', ?, ?, ?, NULL, 'open', ?, 'MARGIN')"
)
_LEVEL: Final = (
    "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
    " VALUES (?, 'stop_loss', 'primary', ?, 'percentage', 'Close entire position')"
)


@dataclass(frozen=True, slots=True)
class BenchBook:
    """Security ids of the legs of each position; strategy ids count from 1."""

    positions: tuple[tuple[int, ...], ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(security_id for legs in self.positions for security_id in legs)

    @property
    def singles(self) -> tuple[int, ...]:
        return tuple(legs[0] for legs in self.positions if len(legs) == 1)


def make_book(positions: int, instruments: int, singles: int) -> BenchBook:
    ids = list(range(FIRST_ID, FIRST_ID + instruments))
    found = [(security_id,) for security_id in ids[:singles]]
    rest, baskets = ids[singles:], positions - singles
    found += [tuple(rest[number::baskets]) for number in range(baskets)]
    return BenchBook(tuple(found))


def write_book(book: BenchBook, database: Path, master: Path) -> None:
    now = ist_datetime(time_ns())
    opened = (now - timedelta(days=1)).strftime("%Y-%m-%dT10:00:00")
    expiry = (now + timedelta(days=120)).strftime("%Y-%m-%d")
    with master.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(_MASTER_COLUMNS)
        for security_id in book.ids:
            strike = _strike(security_id)
            symbol = f"NIFTY-BENCH-{strike}-CE"
            lines.writerow(
                ("NSE", "D", security_id, symbol, "OPTIDX", "NIFTY", UNITS, 5.0, expiry, strike, "CE", 900, 0.05, 1801)
            )
    create_tables(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        for strategy_id, legs in enumerate(book.positions, start=1):
            name = "Long Call" if len(legs) == 1 else "Call Basket"
            connection.executemany(
                _TRADE,
                [
                    (strategy_id, f"E{leg}", leg, name, UNITS, ENTRY_RUPEES, _strike(leg), opened)
                    for leg in legs
                ],
            )  # fmt: skip
            connection.execute(_LEVEL, (strategy_id, STOP_PERCENT if len(legs) == 1 else 50))


def _strike(security_id: int) -> int:
    return 20_000 + security_id - FIRST_ID
