"""A four-leg iron condor in a real SQLite file, held at the local exchange, with prices that the test sets."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.model.instrument import Right
from core.model.session_time import ist_datetime
from core.paper.instruments import generate
from core.paper.options import ExchangeOptions
from core.settings import Settings, load_settings
from core.stores.schema import create_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.paper.exchange import LocalExchange

STRATEGY_ID = 3359
UNITS = 65
CALM = [40_00, 90_00, 45_00, 95_00]
STOPPED = [55_00, 160_00, 30_00, 80_00]
"""Prices of the four legs in paise: at their entries, and beyond the stop."""


@dataclass(frozen=True, slots=True)
class CondorLeg:
    row_id: int
    security_id: int
    symbol: str
    right: str
    strike: int
    units: int
    entry: int  # paise


def pick_condor(first_row: int = 1) -> tuple[CondorLeg, ...]:
    """Sold 26,200 CE and 26,000 PE, bought 26,400 CE and 25,800 PE, of the last listed NIFTY expiry.

    The exchange lists the same contracts for a date however it is started.
    """
    wanted = [(Right.CALL, 26_400, UNITS, 40_00), (Right.CALL, 26_200, -UNITS, 90_00)]
    wanted += [(Right.PUT, 25_800, UNITS, 45_00), (Right.PUT, 26_000, -UNITS, 95_00)]
    today = ist_datetime(time.time_ns()).date()
    listed = [x.instrument for x in generate(today, ExchangeOptions().strikes_each_side)]
    options = [option for option in listed if option.underlying == "NIFTY" and option.right]
    expiry = max(option.expiry for option in options if option.expiry)
    legs = []
    for offset, (right, strike, units, entry) in enumerate(wanted):
        option = next(o for o in options if (o.right, o.strike, o.expiry) == (right, strike * 100, expiry))
        legs.append(
            CondorLeg(first_row + offset, option.key.security_id, option.symbol, right.value, strike, units, entry)
        )
    return tuple(legs)


def set_prices(exchange: LocalExchange, legs: Sequence[CondorLeg], prices: Sequence[int], size: int = 6_500) -> None:
    """Last = price (paise), bid one tick below, ask one tick above."""
    for leg, price in zip(legs, prices, strict=True):
        exchange.market.set_quote("NSE_FNO", leg.security_id, price, price - 5, price + 5, bid_size=size, ask_size=size)


def write_rows(
    database: Path,
    legs: Sequence[CondorLeg],
    strategy_id: int = STRATEGY_ID,
    stop_rupees: int = 3_000,
    name: str = "Iron Condor",
) -> None:
    if not database.exists():
        create_tables(database)
    with sqlite3.connect(database) as connection:
        for leg in legs:
            connection.execute(
                "INSERT INTO trades (new_id, strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy,"
                " action, quantity, price, strike_price, expiry_date, order_status, timestamp, product_type)"
                " VALUES (?, ?, ?, ?, 'NSE_FNO', 'NIFTY', ?, ?, ?, ?, ?, ?, NULL, 'open', '2026-11-19T10:00:00', 'MARGIN')",
                (
                    leg.row_id, strategy_id, f"E{leg.row_id}", leg.security_id, leg.right, name,
                    "BUY" if leg.units > 0 else "SELL", abs(leg.units), leg.entry / 100, leg.strike,
                ),
            )  # fmt: skip
        connection.execute(
            "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
            " VALUES (?, 'stop_loss', 'primary', ?, 'price', 'Close entire position')",
            (strategy_id, stop_rupees),
        )
        connection.execute(
            "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
            " VALUES (?, 'time_exit', 'primary', 1, 'dte', 'Close entire position')",
            (strategy_id,),
        )
    connection.close()


def hold(exchange: LocalExchange, legs: Sequence[CondorLeg]) -> None:
    for leg in legs:
        exchange.seed_position("NSE_FNO", leg.security_id, leg.units, leg.entry)


def environment(ready: dict[str, str], folder: Path) -> dict[str, str]:
    return {
        "DHAN_CLIENT_ID": ready["client_id"],
        "DHAN_ACCESS_TOKEN": ready["access_token"],
        "LIVE_TRADING_ACCOUNT": ready["client_id"],
        "DHAN_API_URL": ready["api_url"],
        "DHAN_FEED_URL": ready["feed_url"],
        "DHAN_ORDER_UPDATE_URL": ready["order_update_url"],
        "DHAN_AUTH_URL": ready["auth_url"],
        "DHAN_INSTRUMENTS": ready["instruments"],
        "TRADES_DB": str(folder / "trades.db"),
        "STATE_DIR": str(folder / "state"),
        "LOG_DIR": str(folder / "logs"),
        "MARKET_HOURS": "always",
    }


def settings_for(exchange: LocalExchange, folder: Path) -> Settings:
    return load_settings(environment(exchange.ready_line(), folder), None)


def read_trades(database: Path) -> list[sqlite3.Row]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("SELECT * FROM trades ORDER BY new_id").fetchall()
    finally:
        connection.close()


def read_exits(folder: Path) -> list[dict[str, object]]:
    path = folder / "logs" / "exit_executions.json"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
