"""Recordings in a test's hands: positions, packets, files, and a monitor's clock that stands where the test puts it."""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING, Any

from core.model.exit_levels import AmountLevel, ExitLevels, LevelSource
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.market import Quote
from core.model.position import Leg, Position, Product
from core.model.session_time import IST, IST_OFFSET_S
from core.recording.facts import RecordingEnded, RecordingHeader, encode_fact
from core.recording.file_format import MAGIC, Kind, Record, pack_block
from core.stores.schema import create_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

S = 1_000_000_000
MS = 1_000_000
DAY = date(2026, 11, 20)
LOT = 75
SOURCE = LevelSource.LEVEL_ROW


def utc_ns(clock: str, day: date = DAY) -> int:
    """IST wall clock hh:mm:ss of a trading day."""
    return int(datetime.combine(day, datetime.strptime(clock, "%H:%M:%S").time(), IST).timestamp()) * S  # noqa: DTZ007


def key(security_id: int) -> InstrumentKey:
    return InstrumentKey(Segment.NSE_FNO, security_id)


def option(security_id: int, **changes: Any) -> Instrument:
    terms = {"lot": LOT, "tick": 5, "strike": 24_000_00, "expiry": date(2026, 12, 29), "right": Right.CALL, **changes}
    return Instrument(key(security_id), f"OPT-{security_id}", "NIFTY", **terms)


def position(strategy_id: int, *legs: tuple[int, int, int]) -> Position:
    """`legs`: security id, signed units, entry in paise."""
    held = tuple(
        Leg(strategy_id * 100 + number, option(security_id), Product.MARGIN, units, entry, "2026-11-19T10:00:00")
        for number, (security_id, units, entry) in enumerate(legs)
    )
    return Position(strategy_id, f"S{strategy_id}", "NIFTY", held)


def stop_at(paise: int, **changes: Any) -> ExitLevels:
    return ExitLevels(stop=AmountLevel(paise, SOURCE), **changes)


def quote(security_id: int, last: int, at_ns: int, **changes: Any) -> Quote:
    made = Quote(key(security_id), last, last - 5, last + 5, LOT, LOT, None, at_ns)
    return made._replace(**changes)


def full_packet(security_id: int, rupees: float, utc_s: int, **changes: Any) -> bytes:
    """A Full packet as Dhan lays it out, written without the code under test."""
    bid, ask = changes.get("bid", rupees - 0.05), changes.get("ask", rupees + 0.05)
    bid_size, ask_size = changes.get("bid_size", 75), changes.get("ask_size", 75)
    head = pack(
        "<BHBIfHIfIIIIIIffff", 8, 162, 2, security_id, rupees, 75, utc_s + IST_OFFSET_S, rupees, *[0] * 6, *[0.0] * 4
    )
    levels = pack("<IIHHff", bid_size, ask_size, 1, 1, bid, ask) + bytes(80)
    return head + levels


def header(part: int = 1, run: str = "aaaa", source: str = "record_feed", **changes: Any) -> RecordingHeader:
    return RecordingHeader(run, part, DAY.isoformat(), "0", source, **{"is_always_open": True, **changes})


def fact(at_ns: int, content: Any, kind: Kind = Kind.FACT) -> Record:
    return Record(kind, 0, at_ns, encode_fact(content))


def frame(at_ns: int, message: bytes, line: int = 1) -> Record:
    return Record(Kind.FRAME, line, at_ns, message)


def write_part(
    path: Path,
    head: RecordingHeader,
    records: Iterable[Record],
    *,
    offset_ns: int,
    is_ended: bool = True,
    block: int = 50,
) -> Path:
    """A file of `records`, some in a block. `offset_ns`: UTC minus monotonic."""
    found = list(records)
    start = found[0].at_ns
    blocks = [[fact(start, head)], *(found[at : at + block] for at in range(0, len(found), block))]
    if is_ended:
        blocks.append([fact(found[-1].at_ns, RecordingEnded(goes_on=False))])
    packed = (pack_block(each, each[0].at_ns, each[0].at_ns + offset_ns) for each in blocks)
    path.write_bytes(MAGIC + b"".join(packed))
    return path


PRICE_COLUMNS = ("ts_ms", "exchange_segment", "security_id", "ltp", "bid", "ask", "bid_qty", "ask_qty", "volume", "oi")
MASTER = (
    "EXCH_ID", "SEGMENT", "SECURITY_ID", "INSTRUMENT", "UNDERLYING_SECURITY_ID", "UNDERLYING_SYMBOL", "SYMBOL_NAME",
    "DISPLAY_NAME", "INSTRUMENT_TYPE", "LOT_SIZE", "SM_EXPIRY_DATE", "STRIKE_PRICE", "OPTION_TYPE", "TICK_SIZE",
    "SM_FREEZE_QTY", "SM_UPPER_LIMIT", "SM_LOWER_LIMIT",
)  # fmt: skip


def write_master(path: Path, security_ids: Iterable[int]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(MASTER)
        lines.writerow(("NSE", "I", 13, "INDEX", "", "NIFTY", "NIFTY", "NIFTY", "INDEX", 1, "", "", "", 5, "", "", ""))
        for security_id in security_ids:
            name = f"NIFTY-Dec2026-{security_id}-CE"
            terms = (name, name, "OP", LOT, "2026-12-29", security_id, "CE", 5, 1801, "", "")
            lines.writerow(("NSE", "D", security_id, "OPTIDX", 13, "NIFTY", *terms))
    return path


def write_prices(path: Path, rows: Sequence[tuple[str, int, float]]) -> Path:
    """`rows`: IST clock, security id, last price; the sides are derived."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(PRICE_COLUMNS)
        for clock, security_id, last in rows:
            lines.writerow((utc_ns(clock) // MS, "NSE_FNO", security_id, last, "", "", "", "", "", ""))
    return path


def write_trades(
    path: Path, held: dict[int, tuple[int, int, float]], levels: dict[int, dict[str, tuple[float, str]]]
) -> Path:
    """`held` by strategy id: security id, signed units, entry in rupees. `levels`: exit_type → (rupees per lot, action)."""
    create_tables(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        for strategy_id, (security_id, units, entry) in held.items():
            connection.execute(
                "INSERT INTO trades (new_id, strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy, action,"
                " quantity, price, strike_price, expiry_date, order_status, timestamp, product_type)"
                " VALUES (?, ?, ?, ?, 'NSE_FNO', 'NIFTY', 'CE', 'Long Call', ?, ?, ?, ?, '2026-12-29', 'open', ?, 'MARGIN')",
                (
                    strategy_id, strategy_id, f"E{strategy_id}", security_id, "BUY" if units > 0 else "SELL", abs(units), entry,
                    security_id, "2026-11-19T10:00:00",
                ),
            )  # fmt: skip
            for exit_type, (value, action) in levels.get(strategy_id, {}).items():
                connection.execute(
                    "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
                    " VALUES (?, ?, 'primary', ?, 'price', ?)",
                    (strategy_id, exit_type, value, action),
                )
    return path
