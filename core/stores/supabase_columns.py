"""Which columns of which table are asked for, and how: a first guess, and the next one when the server lacks a column. Pure.

Numbers with a fraction and JSON are asked for as text (`price::text`): JSON numbers become floats on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from core.stores.rows import DETAILS, LEVELS, MONITORING, RISKS, STRATEGIES, TRADES
from core.stores.schema import OPTIONAL_TABLES, REQUIRED

_NEEDED: Final = {**REQUIRED, **OPTIONAL_TABLES}
_AS_TEXT: Final[Mapping[str, frozenset[str]]] = {
    TRADES: frozenset({"price", "strike_price"}),
    STRATEGIES: frozenset({"spot_price"}),
    RISKS: frozenset(
        {
            "max_capital_at_risk",
            "strategy_level_stop",
            "trailing_stop",
            "trailing_stop_activation",
            "profit_target_primary",
            "profit_target_pct",
            "exit_conditions",
            "scaling_exits",
            "technical_stops",
            "greek_triggers",
            "adjustment_criteria",
        }
    ),
    LEVELS: frozenset({"trigger_value"}),
    MONITORING: frozenset({"support_level", "resistance_level", "iv_upper_limit", "iv_lower_limit"}),
    DETAILS: frozenset({"strike_price", "gamma", "vega", "implied_volatility"}),
}
_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    TRADES: ("strategy", "exchange_segment", "strike_price", "expiry_date", "account_id"),
    STRATEGIES: ("stock_name", "strategy_name", "spread_type", "spot_price", "exit_profile"),
    RISKS: (
        "max_capital_at_risk",
        "strategy_level_stop",
        "trailing_stop",
        "trailing_stop_activation",
        "profit_target_primary",
        "profit_target_pct",
        "time_stop_dte",
        "exit_conditions",
        "scaling_exits",
        "technical_stops",
        "greek_triggers",
        "adjustment_criteria",
        "exit_profile",
    ),
    LEVELS: ("level_name",),
    MONITORING: ("support_level", "resistance_level", "iv_upper_limit", "iv_lower_limit"),
    DETAILS: ("option_type", "strike_price", "expiry_date", "gamma", "vega", "implied_volatility"),
}
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    TRADES: ("new_id", "id"),
    STRATEGIES: ("id",),
    RISKS: ("id",),
    LEVELS: ("id",),
    MONITORING: ("id",),
    DETAILS: ("id",),
}
"""The first one that a table has is its key."""
_KEY_MAY_BE_ABSENT: Final = frozenset({RISKS, MONITORING, DETAILS})
_ONLY_WRITTEN: Final = frozenset({"exit_order_id", "exit_price", "exit_time", "exit_reason"})

STRATEGY_COLUMN: Final[Mapping[str, str]] = {
    TRADES: "strategy_id",
    STRATEGIES: "id",
    RISKS: "strategy_id",
    LEVELS: "strategy_id",
    MONITORING: "strategy_id",
    DETAILS: "strategy_id",
}
"""Which column says to what strategy a row belongs."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What is known of one table. `key`: by what pages are read and rows are named, None where the table has no such column."""

    table: str
    key: str | None
    names: tuple[str, ...]
    """Without the key."""

    @property
    def all(self) -> str:
        """The `select` that shows whether every column is there."""
        return self._select(self.names)

    @property
    def read(self) -> str:
        """The `select` that a row is understood by."""
        return self._select(name for name in self.names if name not in _ONLY_WRITTEN)

    @property
    def optional(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in _NEEDED[self.table])

    def _select(self, names: Iterable[str]) -> str:
        as_text = _AS_TEXT[self.table]
        asked = [f"{name}::text" if name in as_text else name for name in names]
        # The key is never cast: a server may then sort by the text, and pages would leave rows out.
        return ",".join(asked if self.key is None else [self.key, *asked])


def wanted(table: str) -> Columns:
    """Everything that could be used."""
    keys = _KEYS[table]
    required = sorted(_NEEDED[table] - set(keys))
    return Columns(table, keys[0], (*required, *_OPTIONAL[table]))


def without(columns: Columns, absent: str) -> Columns | None:
    """What to ask for when the server lacks a column; None when nothing can be done without it."""
    if absent == columns.key:
        return _with_next_key(columns)
    if absent not in columns.optional:
        return None
    return replace(columns, names=tuple(name for name in columns.names if name != absent))


def _with_next_key(columns: Columns) -> Columns | None:
    keys = _KEYS[columns.table]
    rest = keys[keys.index(columns.key or "") + 1 :]
    if rest:
        return replace(columns, key=rest[0])
    return replace(columns, key=None) if columns.table in _KEY_MAY_BE_ABSENT else None


def described(columns: Columns, absent: str) -> str:
    """The name of a missing column as a person should hear it."""
    keys = _KEYS[columns.table]
    return f"{keys[0]} (or {keys[-1]})" if absent in keys and len(keys) > 1 else absent
