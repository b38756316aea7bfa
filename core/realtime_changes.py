"""A `postgres_changes` payload of the official client → where to look, or the echo of our own beat. Pure.

A change says where, never what: records come with floats, without unchanged TOAST columns, cut at 413, and with the key only
(supabase_and_redis 1.2 and 1.4). So only ids are read, and what a message does not say, or says oddly, is None: read all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.stores.change_sink import RowChange
from core.stores.columns import integer
from core.stores.rows import LEVELS, RISKS, STRATEGIES, TRADES
from core.stores.supabase_access import TableNames

LEASE_TABLE: Final = "monitor_lease"
"""In the same schema as the trade tables (our migration makes it there)."""

WATCHED: Final = (TRADES, STRATEGIES, RISKS, LEVELS)

ANYTHING: Final = RowChange(TRADES, None, None)
"""What a message that cannot be read may have said."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    TRADES: ("new_id", "id"),
    STRATEGIES: ("id",),
    RISKS: ("id",),
    LEVELS: ("id",),
}
_STRATEGY_COLUMN: Final[Mapping[str, str]] = {
    TRADES: "strategy_id",
    STRATEGIES: "id",
    RISKS: "strategy_id",
    LEVELS: "strategy_id",
}


@dataclass(frozen=True, slots=True)
class LeaseKey:
    """A row of monitor_lease and who we are in it. `holder` is of this process alone, so that an echo is provably ours."""

    name: str
    holder: str


@dataclass(frozen=True, slots=True)
class BeatEcho:
    """A row of monitor_lease as it came back through the change stream; perhaps another monitor's."""

    lease: LeaseKey
    beat: int


def read_change(payload: object, names: TableNames) -> RowChange | BeatEcho | None:
    """What one message means; None when it is about nothing of ours. Never raises.

    A message that does not even name its table is ANYTHING.
    """
    data = payload.get("data") if isinstance(payload, Mapping) else None
    if not isinstance(data, Mapping):
        return ANYTHING
    schema, table = data.get("schema"), data.get("table")
    if not isinstance(schema, str) or not isinstance(table, str):
        return ANYTHING
    if schema != names.schema:
        return None
    for ours in WATCHED:
        if names.of(ours) == table:
            return _row_change(ours, _record(data, "record"), _record(data, "old_record"))
    return _echo(_record(data, "record")) if table == LEASE_TABLE else None


def _record(data: Mapping[object, object], name: str) -> Mapping[str, object]:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def _row_change(table: str, new: Mapping[str, object], old: Mapping[str, object]) -> RowChange:
    # `old` has the key only, or the whole row where the table has REPLICA IDENTITY FULL; a DELETE has nothing else.
    key = next((found for column in _KEYS[table] if (found := _id(column, new, old)) is not None), None)
    column = _STRATEGY_COLUMN[table]
    strategy_id = _id(column, new, old)
    if strategy_id is None and column in new:
        # It belongs to nothing that can be named now. Its old owner alone would look as if the row were gone: read all.
        return RowChange(table, None, None)
    return RowChange(table, key, strategy_id)


def _id(column: str, new: Mapping[str, object], old: Mapping[str, object]) -> int | None:
    for row in (new, old):
        try:
            found = integer(row, column)
        except ValueError:
            # A key of another kind, such as a uuid: it leads nowhere.
            return None
        if found is not None or column in row:
            return found
    return None


def _echo(row: Mapping[str, object]) -> BeatEcho | None:
    name, holder = row.get("name"), row.get("holder")
    beat = _id("beat", row, {})
    if not isinstance(name, str) or not isinstance(holder, str) or beat is None:
        return None
    return BeatEcho(LeaseKey(name, holder), beat)
