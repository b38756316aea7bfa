"""Which rule each row of strategy_exit_levels speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.exits.level_amounts import LevelAmounts
    from core.model.trade_rows import LevelRow


@dataclass(frozen=True, slots=True)
class RowsByKind:
    """Rows with a value, per rule: primary before the others (so an emergency stop is the last resort), then by id."""

    stops: tuple[LevelRow, ...]
    targets: tuple[LevelRow, ...]
    trailing: tuple[LevelRow, ...]
    days: tuple[LevelRow, ...]
    theta: tuple[LevelRow, ...]


def sort_rows(rows: tuple[LevelRow, ...], amounts: LevelAmounts) -> RowsByKind:
    """Rows by rule. A null or 0 is no level and is passed over; a row of no known rule is noted.

    A row named trailing, of a target or a stop, is the arming level of the trailing stop. A time_exit row whose name
    holds theta is the theta exit. Scaling rows are noted only.
    """
    found: dict[str, list[LevelRow]] = {"stops": [], "targets": [], "trailing": [], "days": [], "theta": []}
    for row in sorted(rows, key=lambda row: (row.level_name.strip().lower() != "primary", row.level_id)):
        if not row.value:
            continue
        kind = _kind(row)
        if kind in found:
            found[kind].append(row)
        else:
            amounts.note(f"{row.exit_type} row {row.level_id} ({row.level_name}) not used: {kind}")
    return RowsByKind(**{kind: tuple(of_kind) for kind, of_kind in found.items()})


def _kind(row: LevelRow) -> str:
    """The field of RowsByKind, or why it is none."""
    name = row.level_name.strip().lower()
    match row.exit_type.strip().lower():
        case "profit_target" | "stop_loss" if "trailing" in name:
            return "trailing"
        case "profit_target" if "scaling" in name or name.startswith("level_"):
            return "scaling targets are not in force"
        case "profit_target":
            return "targets"
        case "stop_loss":
            return "stops"
        case "time_exit" if row.trigger_type.strip().lower() != "dte" or (row.value or 0) < 1:
            return "not a number of days to expiry"
        case "time_exit":
            return "theta" if "theta" in name else "days"
        case _:
            return "no rule for this kind of row"
