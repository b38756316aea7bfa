"""The tables of the embedded store: what must be there, and the statements that make them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from core.stores.rows import DETAILS, LEVELS, MONITORING, RISKS, STRATEGIES, TRADES

REQUIRED: Final[Mapping[str, frozenset[str]]] = {
    TRADES: frozenset(
        {
            "strategy_id",
            "security_id",
            "symbol",
            "type",
            "action",
            "quantity",
            "price",
            "order_status",
            "timestamp",
            "product_type",
            "exit_order_id",
            "exit_price",
            "exit_time",
            "exit_reason",
        }
    ),
    STRATEGIES: frozenset({"id", "strategy_type"}),
    RISKS: frozenset({"strategy_id"}),
    LEVELS: frozenset({"id", "strategy_id", "exit_type", "trigger_type", "trigger_value", "action"}),
}
"""Tables of others, with the columns without which a row cannot be understood or closed. All other columns are optional."""

OPTIONAL_TABLES: Final[Mapping[str, frozenset[str]]] = {
    MONITORING: frozenset({"strategy_id"}),
    DETAILS: frozenset({"strategy_id"}),
}
"""Tables of others that may be absent, or closed to us: then they have no rows."""

TRADE_TABLES: Final = """
CREATE TABLE IF NOT EXISTS trades (
    new_id INTEGER PRIMARY KEY, strategy_id INTEGER, order_id TEXT, security_id INTEGER, exchange_segment TEXT,
    symbol TEXT, type TEXT, strategy TEXT, action TEXT, quantity INTEGER, price NUMERIC, strike_price NUMERIC,
    expiry_date TEXT, order_status TEXT, timestamp TEXT, product_type TEXT, account_id TEXT,
    exit_order_id TEXT, exit_price NUMERIC, exit_time TEXT, exit_reason TEXT
);
CREATE INDEX IF NOT EXISTS trades_open ON trades (order_status, timestamp);
CREATE TABLE IF NOT EXISTS strategies (
    id INTEGER PRIMARY KEY, stock_name TEXT, strategy_name TEXT, strategy_type TEXT, spread_type TEXT,
    net_premium NUMERIC, spot_price NUMERIC, execution_status TEXT, exit_profile TEXT
);
CREATE TABLE IF NOT EXISTS strategy_details (
    id INTEGER PRIMARY KEY, strategy_id INTEGER, setup_type TEXT, option_type TEXT, lots INTEGER, quantity INTEGER,
    strike_price NUMERIC, expiry_date TEXT, entry_price NUMERIC, delta REAL, gamma REAL, theta REAL, vega REAL,
    implied_volatility REAL
);
CREATE TABLE IF NOT EXISTS strategy_risk_management (
    id INTEGER PRIMARY KEY, strategy_id INTEGER, max_capital_at_risk NUMERIC, strategy_level_stop NUMERIC,
    trailing_stop NUMERIC, trailing_stop_activation NUMERIC, profit_target_primary NUMERIC, profit_target_pct NUMERIC,
    time_stop_dte INTEGER DEFAULT 7, scaling_exits TEXT, technical_stops TEXT, greek_triggers TEXT,
    adjustment_criteria TEXT, exit_conditions TEXT
);
CREATE TABLE IF NOT EXISTS strategy_exit_levels (
    id INTEGER PRIMARY KEY, strategy_id INTEGER, exit_type TEXT, level_name TEXT, trigger_value NUMERIC,
    trigger_type TEXT, action TEXT, reasoning TEXT
);
CREATE TABLE IF NOT EXISTS strategy_monitoring (
    id INTEGER PRIMARY KEY, strategy_id INTEGER, support_level NUMERIC, resistance_level NUMERIC, iv_upper_limit REAL,
    iv_lower_limit REAL, expected_move_1sd NUMERIC, expected_move_2sd NUMERIC
);
"""

MONITOR_TABLES: Final = """
CREATE TABLE IF NOT EXISTS risk_events (
    id INTEGER PRIMARY KEY, strategy_id INTEGER, execution_id TEXT UNIQUE, event_type TEXT, threshold_value NUMERIC,
    current_value NUMERIC, action_taken TEXT, exit_order_ids TEXT, triggered_at TEXT, notes TEXT
);
CREATE TABLE IF NOT EXISTS monitor_state (strategy_id INTEGER PRIMARY KEY, state TEXT, updated_at TEXT);
"""
"""Tables the monitor owns: made when absent."""


def create_tables(path: Path) -> None:
    """Make a new trades file with every table, or add the missing ones. For the demo, tests and a first start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(TRADE_TABLES + MONITOR_TABLES)


def missing(found: Mapping[str, frozenset[str]]) -> str | None:
    """The first table or column that is required and absent, in words; None when all are there.

    `found`: the columns of each table that exists.
    """
    for table, columns in REQUIRED.items():
        if table not in found:
            return f"has no table {table}"
        if absent := sorted(columns - found[table]):
            return f"lacks column {absent[0]} of table {table}"
        if table == TRADES and not found[table] & {"new_id", "id"}:
            return "lacks column new_id (or id) of table trades"
    return None
