"""Which rule each row of strategy_exit_levels speaks of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.model.exit_levels import FULL_EXITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.trade_rows import LevelRow

UNDERLYING_NAME: Final = re.compile(r"underlying_(above|below)(?:_close_(\d{1,3})m)?")
LOCK_NAME: Final = re.compile(r"move_to_cost|lock_profit_(\d{1,13}(?:\.\d{1,2})?)")
_SCALING_NAME: Final = re.compile(r"scaling.*|level_.*")
_OWN_WORDS: Final = ("underlying", "lock", "move_to_cost", "premium_trail")
"""A name that begins so is one of ours: when it is not spelled right it is no plain stop or target."""
_FIRST: Final = "primary"
_LAST: Final = "emergency"
_PLAIN: Final = frozenset({"", _FIRST, _LAST})


@dataclass(frozen=True, slots=True)
class RowsByKind:
    """Rows with a value, per rule: primary first, an emergency stop last, the others by id. `notes` name what is odd."""

    stops: tuple[LevelRow, ...] = ()
    targets: tuple[LevelRow, ...] = ()
    trailing: tuple[LevelRow, ...] = ()
    premium_trailing: tuple[LevelRow, ...] = ()
    locks: tuple[LevelRow, ...] = ()
    scaling: tuple[LevelRow, ...] = ()
    underlying: tuple[LevelRow, ...] = ()
    days: tuple[LevelRow, ...] = ()
    theta: tuple[LevelRow, ...] = ()
    losing: tuple[LevelRow, ...] = ()
    holding: tuple[LevelRow, ...] = ()
    greeks: tuple[LevelRow, ...] = ()
    notes: tuple[str, ...] = ()


def sort_rows(rows: Iterable[LevelRow]) -> RowsByKind:
    """Rows by rule. A null or 0 is no level and is passed over; a row of no known rule is named.

    What a row of a stop or a target is, its level name says: premium_trailing, move_to_cost, lock_profit_<floor>,
    underlying_above or underlying_below (with _close_<m>m for candles of m minutes), a name that holds trailing; of a target
    also scaling_… and level_…. Of a time_exit: theta…, losing… or time_stop, holding… or max_holding; else days to expiry.
    Any other name of a stop or a target is read as a plain one and named.
    """
    found: dict[str, list[LevelRow]] = {}
    notes = []
    for row in sorted(rows, key=_rank):
        if not row.value:
            continue
        kind, note = _kind(row, _name(row))
        if kind:
            found.setdefault(kind, []).append(row)
        if note:
            what = f"read as a plain {row.exit_type}" if kind else "not used"
            notes.append(f"{row.exit_type} row {row.level_id} ({row.level_name[:40]}) {what}: {note}")
    return RowsByKind(**{kind: tuple(of_kind) for kind, of_kind in found.items()}, notes=tuple(notes))


def _rank(row: LevelRow) -> tuple[int, int]:
    name = _name(row)
    return (0 if name == _FIRST else 2 if name == _LAST else 1), row.level_id


def _name(row: LevelRow) -> str:
    return row.level_name.strip().lower()


def _kind(row: LevelRow, name: str) -> tuple[str, str]:
    """The field of RowsByKind ("": none), and what is odd about the row ("": nothing)."""
    match row.exit_type:
        case "profit_target" | "stop_loss" as exit_type:
            return _amount_kind(row, name, "targets" if exit_type == "profit_target" else "stops")
        case "time_exit" if row.trigger_type != "dte" or (row.value or 0) < 1:
            return "", "not a number of days"
        case "time_exit":
            return _days_kind(name), ""
        case "greek_trigger":
            return "greeks", ""
        case _:
            return "", "no rule for this kind of row"


def _amount_kind(row: LevelRow, name: str, plain: str) -> tuple[str, str]:
    if UNDERLYING_NAME.fullmatch(name):
        return "underlying", ""
    if LOCK_NAME.fullmatch(name):
        return "locks", ""
    if name == "premium_trailing":
        return "premium_trailing", ""
    if name.startswith(_OWN_WORDS):
        return "", "a level name of this kind is spelled otherwise"
    if "trailing" in name:
        return "trailing", ""
    if plain == "targets" and _SCALING_NAME.fullmatch(name):
        # A step that closes everything is a target.
        return ("targets" if row.action in FULL_EXITS else "scaling"), ""
    return plain, "" if name in _PLAIN else "the level name is not known"


def _days_kind(name: str) -> str:
    if "theta" in name:
        return "theta"
    if name.startswith("losing") or name == "time_stop":
        return "losing"
    if name.startswith("holding") or name == "max_holding":
        return "holding"
    return "days"
