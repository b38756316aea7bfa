"""Trades in a Supabase project: rows put there by SQL, the monitor beside them, and both books to compare."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from core.clock import SystemClock
from core.model.session_time import ist_datetime
from core.monitor import Monitor
from core.options import parse
from core.paper.instruments import generate
from core.paper.options import ExchangeOptions
from core.settings import load_settings
from tests.integration.condor import environment
from tests.integration.processes import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.model.instrument import Instrument
    from core.paper.exchange import LocalExchange
    from tests.gateway.server import SupabaseGateway

MIGRATIONS = Path(__file__).resolve().parents[2] / "data_scripts" / "supabase_migrations"
ENTRY = 100_00  # paise
LOT = 65

Book = dict[int, tuple[frozenset[tuple[int, int, int, int]], int | None]]
"""strategy → (legs as (row, security, units, entry in paise), stop in paise or None where no level row says it)."""


def contracts(count: int) -> list[Instrument]:
    """That many NIFTY options of the last listed expiry: nothing expires during a test."""
    today = ist_datetime(time.time_ns()).date()
    listed = [x.instrument for x in generate(today, ExchangeOptions().strikes_each_side)]
    options = [option for option in listed if option.underlying == "NIFTY" and option.right]
    expiry = max(option.expiry for option in options if option.expiry)
    return sorted((o for o in options if o.expiry == expiry), key=lambda o: o.key.security_id)[:count]


def quote_all(exchange: LocalExchange, options: list[Instrument], price: int = ENTRY) -> None:
    for option in options:
        exchange.market.set_quote(
            "NSE_FNO", option.key.security_id, price, price - 5, price + 5, bid_size=6_500, ask_size=6_500
        )


@dataclass(slots=True)
class Project:
    """The tables as another program writes them: plain SQL on a connection of its own."""

    dsn: str
    sql: asyncpg.Connection = field(init=False)

    async def open(self, *, migrated: bool = True) -> None:
        self.sql = await asyncpg.connect(self.dsn)
        if migrated:
            for script in sorted(MIGRATIONS.glob("*.sql")):
                await self.sql.execute(script.read_text(encoding="utf-8"))

    async def insert_strategy(self, strategy_id: int, stop_rupees: int | None = 3_000) -> None:
        """A strategy with its stop (for one lot) and a day rule that is far away."""
        await self.sql.execute(
            "INSERT INTO strategies (id, stock_name, strategy_name, strategy_type, spread_type)"
            " VALUES ($1, 'NIFTY', 'Sold Call', 'Directional', 'NET_CREDIT')",
            strategy_id,
        )
        levels = [("time_exit", "dte", 1)]
        if stop_rupees is not None:
            levels.append(("stop_loss", "price", stop_rupees))
        for exit_type, trigger_type, value in levels:
            await self.sql.execute(
                "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
                " VALUES ($1, $2, 'primary', $3, $4, 'Close entire position')",
                strategy_id, exit_type, value, trigger_type,
            )  # fmt: skip

    async def insert_leg(
        self, strategy_id: int, option: Instrument, units: int = -LOT, entry: int = ENTRY, status: str = "open"
    ) -> int:
        """The new row's key."""
        return await self.sql.fetchval(
            "INSERT INTO trades (strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy, action,"
            " quantity, price, strike_price, expiry_date, order_status, timestamp, product_type)"
            " VALUES ($1, 'E1', $2, 'NSE_FNO', 'NIFTY', $3, 'Sold Call', $4, $5, $6, $7, NULL, $8,"
            " '2026-11-19T10:00:00', 'MARGIN') RETURNING new_id",
            strategy_id, option.key.security_id, option.right.value, "BUY" if units > 0 else "SELL", abs(units),
            Decimal(entry) / 100, Decimal(option.strike or 0) / 100, status,
        )  # fmt: skip

    async def book(self) -> Book:
        """What a monitor must guard, by the database alone."""
        legs: dict[int, set[tuple[int, int, int, int]]] = {}
        for row in await self.sql.fetch("SELECT * FROM trades WHERE order_status = 'open'"):
            units = row["quantity"] if row["action"] == "BUY" else -row["quantity"]
            leg = (row["new_id"], row["security_id"], units, int(row["price"] * 100))
            legs.setdefault(row["strategy_id"], set()).add(leg)
        stops = {
            row["strategy_id"]: int(row["trigger_value"] * 100)
            for row in await self.sql.fetch(
                "SELECT * FROM strategy_exit_levels WHERE exit_type = 'stop_loss' AND trigger_type = 'price'"
            )
        }
        return {strategy_id: (frozenset(found), stops.get(strategy_id)) for strategy_id, found in legs.items()}

    async def close(self) -> None:
        await self.sql.close()


def book_of(monitor: Monitor) -> Book:
    """What the monitor guards. Its stop is compared only where a level row gives it: defaults are another test's business."""
    book: Book = {}
    for strategy_id, guard in monitor.parts.engine.guards.items():
        position, stop = guard.booked.position, guard.levels.stop
        legs = frozenset((x.row_id, x.instrument.key.security_id, x.units, x.entry or 0) for x in position.legs)
        is_own = stop is not None and stop.source.value == "strategy_exit_levels"
        book[strategy_id] = (legs, stop.amount if stop is not None and is_own else None)
    return book


async def seconds_until_equal(monitor: Monitor, project: Project, limit_s: float) -> float:
    """How long it took until the monitor's book equalled the database's. Fails after `limit_s`, showing both."""
    began = time.monotonic()
    while True:
        wanted, found = await project.book(), book_of(monitor)
        if wanted == found:
            return time.monotonic() - began
        assert time.monotonic() - began < limit_s, f"expected {wanted}\nfound {found}"
        await asyncio.sleep(0.01)


def supabase_environment(ready: dict[str, str], folder: Path, gateway: SupabaseGateway) -> dict[str, str]:
    found = environment(ready, folder)
    del found["TRADES_DB"]
    return found | {"SUPABASE_URL": gateway.url, "SUPABASE_KEY": gateway.service_key}


@asynccontextmanager
async def monitor_on(
    gateway: SupabaseGateway, exchange: LocalExchange, folder: Path, *options: str, **settings: str
) -> AsyncIterator[Monitor]:
    """A monitor in this process, started and live on its change subscription."""
    loaded = load_settings(supabase_environment(exchange.ready_line(), folder, gateway) | settings, None)
    monitor = Monitor(parse(list(options) or ["--alert-only"]), loaded, lambda _: None, SystemClock())
    task = asyncio.create_task(monitor.run())
    try:
        await eventually(lambda: task.done() or monitor.parts.store.health().state.value == "live")
        yield monitor
    finally:
        monitor.stop()
        await task
