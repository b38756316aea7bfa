"""Rows of the six tables as a store holds them, read into positions with their levels. Imports nothing of the monitor.

Written from design/database.md and design/exit_rules.md 3. Rows are plain dicts with the columns' names; numbers may be text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal

from tests.oracle.beside import BesideTables, beside_of
from tests.oracle.book import Contract, Leg, Position
from tests.oracle.levels import read_levels

Row = Mapping[str, object]


@dataclass(slots=True)
class Tables:
    trades: list[dict[str, object]] = field(default_factory=list)
    strategies: list[dict[str, object]] = field(default_factory=list)
    risks: list[dict[str, object]] = field(default_factory=list)
    levels: list[dict[str, object]] = field(default_factory=list)
    monitoring: list[dict[str, object]] = field(default_factory=list)
    details: list[dict[str, object]] = field(default_factory=list)


def paise(rupees: object) -> int:
    return int((Decimal(str(rupees)) * 100).to_integral_value(rounding=ROUND_HALF_EVEN))


def positions_of(tables: Tables, contracts: Mapping[str, Contract], settings: Mapping[str, str]) -> list[Position]:
    """`settings`: options of the monitor by name, as texts."""
    found: dict[int, list[Row]] = {}
    for row in tables.trades:
        found.setdefault(int(str(row["strategy_id"])), []).append(row)
    risks = {int(str(row["strategy_id"])): row for row in tables.risks}
    beside = BesideTables(tables.strategies, tables.risks, tables.monitoring, tables.details)
    square_off = time.fromisoformat(settings["SQUARE_OFF_INTRADAY"])
    positions = []
    for strategy_id, rows in found.items():
        legs = tuple(sorted((_leg(row, contracts) for row in rows), key=lambda leg: leg.row_id))
        levels = [row for row in tables.levels if int(str(row["strategy_id"])) == strategy_id]
        is_intraday = any(row["product_type"] == "INTRADAY" for row in rows)
        read = read_levels(
            legs,
            str(rows[0]["strategy"]),
            _sorted(levels),
            risks.get(strategy_id, {}),
            square_off if is_intraday else None,
            beside_of(strategy_id, beside, settings),
        )
        positions.append(Position(strategy_id, legs, read))
    return positions


def _sorted(levels: Sequence[Row]) -> list[Row]:
    """Primary first, then by id."""
    return sorted(levels, key=lambda row: (row["level_name"] != "primary", int(str(row["id"]))))


def _leg(row: Row, contracts: Mapping[str, Contract]) -> Leg:
    units = int(str(row["quantity"]))
    entry = paise(row["price"])
    return Leg(
        int(str(row["new_id"])),
        contracts[f"{row['exchange_segment']}:{row['security_id']}"],
        units if row["action"] == "BUY" else -units,
        entry or None,
        _day(row),
    )


def _day(row: Row) -> date | None:
    return datetime.fromisoformat(str(row["timestamp"])).date() if row["timestamp"] else None
