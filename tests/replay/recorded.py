"""What the replay tests share that is no judgement: a recorded row, a position as its rows say it, the recording's file.

Written without a look at core, which it does not import: the oracle builds on it. Money is integer paise, time is UTC
milliseconds of the recording cut to the second, as the wire carries it. A row without bid or ask has the last price one tick
down or up, 20 lots deep; a side without price or size is no side.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from pathlib import Path

TICK = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded update. Sides are None where there is none."""

    at_ms: int
    security_id: int
    last: int
    bid: int | None
    ask: int | None
    bid_size: int
    ask_size: int


@dataclass(frozen=True, slots=True)
class Leg:
    """`units` signed, `strike` and `entry` in paise."""

    row_id: int
    security_id: int
    right: str
    strike: int
    units: int
    lot: int
    entry: int


@dataclass(frozen=True, slots=True)
class Level:
    """One row of strategy_exit_levels as stored: rupees, per cent or days."""

    exit_type: str
    level_name: str
    trigger_type: str
    value: Decimal
    action: str = "Close entire position"


@dataclass(frozen=True, slots=True)
class Risk:
    """Columns of strategy_risk_management as stored. `basis` is not stored: what the book's maker had in mind."""

    max_capital_at_risk: Decimal | None = None
    strategy_level_stop: Decimal | None = None
    trailing_stop: Decimal | None = None
    profit_target_pct: Decimal | None = None
    basis: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    strategy_id: int
    name: str
    style: str
    expiry: date
    legs: tuple[Leg, ...]
    levels: tuple[Level, ...] = ()
    risk: Risk | None = None
    product: str = "MARGIN"


def read_rows(path: Path, lots: dict[int, int]) -> list[Row]:
    """The rows of the contracts in `lots` (lot sizes in units), in file order."""
    rows = []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for raw in csv.DictReader(file):
            if raw["exchange_segment"] != "NSE_FNO" or int(raw["security_id"]) not in lots:
                continue
            last, deep = paise(raw["ltp"]), 20 * lots[int(raw["security_id"])]
            bid = paise(raw["bid"]) if raw["bid"] else last - TICK
            ask = paise(raw["ask"]) if raw["ask"] else last + TICK
            bid_size = int(float(raw["bid_qty"])) if raw["bid_qty"] else deep
            ask_size = int(float(raw["ask_qty"])) if raw["ask_qty"] else deep
            at_ms = int(raw["ts_ms"]) // 1_000 * 1_000
            rows.append(
                Row(
                    at_ms,
                    int(raw["security_id"]),
                    last,
                    bid if bid > 0 and bid_size > 0 else None,
                    ask if ask > 0 and ask_size > 0 else None,
                    bid_size,
                    ask_size,
                )
            )
    return rows


def paise(rupees: str | Decimal) -> int:
    return int((Decimal(rupees) * 100).to_integral_value(rounding=ROUND_HALF_EVEN))


def mark_of(row: Row) -> int:
    """The last price clamped into the book where it has two sides (exit_rules 1)."""
    if row.bid is None or row.ask is None or row.bid > row.ask:
        return row.last
    return min(max(row.last, row.bid), row.ask)
