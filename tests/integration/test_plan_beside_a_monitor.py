"""A plan shows what a running monitor remembers, begins nothing, and leaves no trace."""

from __future__ import annotations

import sqlite3

import pytest

from core.book_keeper import position_tag
from core.clock import SystemClock
from core.exit_journal import ExitJournal
from core.model.exit_levels import Rule
from core.model.memory import PositionMemory, ToldLevel
from core.model.signals import Mode
from core.monitor import Monitor
from core.options import parse
from tests.integration.condor import (
    CALM,
    STOPPED,
    STRATEGY_ID,
    hold,
    pick_condor,
    set_prices,
    settings_for,
    write_rows,
)


@pytest.fixture
def condor(exchange, tmp_path):
    """A condor with a trailing stop that arms at ₹1,000 and follows at ₹600."""
    legs = pick_condor()
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(tmp_path / "trades.db", legs)
    with sqlite3.connect(tmp_path / "trades.db") as connection:
        connection.execute(
            "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
            " VALUES (?, 'profit_target', 'trailing', 1000, 'price', 'Close entire position')",
            (STRATEGY_ID,),
        )
        connection.execute(
            "INSERT INTO strategy_risk_management (strategy_id, trailing_stop) VALUES (?, 600)", (STRATEGY_ID,)
        )
    connection.close()
    return legs


async def plan(exchange, folder):
    """The plan of the only position, and the position."""
    shown = []
    monitor = Monitor(parse(["--plan"]), settings_for(exchange, folder), shown.append, SystemClock())
    assert await monitor.run() == 0
    assert monitor.parts.engine.unresolved == ()
    (only,) = shown[-1].positions
    return only.plan, monitor.parts.keeper.known[STRATEGY_ID].position


def trail(found):
    (line,) = [line for line in found.rules if line.rule == Rule.TRAILING_STOP]
    return line


async def test_the_peak_of_the_monitor_beside_it_is_in_the_plan(exchange, condor, tmp_path):
    found, position = await plan(exchange, tmp_path)
    assert (trail(found).pnl, trail(found).now) == (None, "not armed: no peak is remembered yet")
    assert found.shocks.problem == "", "it has waited for the underlying"
    assert not list((tmp_path / "state").glob("exit_journal*")), "a plan makes no journal"
    assert not (tmp_path / "state" / "decisions").exists()

    journal = ExitJournal(tmp_path / "state" / "exit_journal.db", Mode.LIVE)
    await journal.open()
    memory = PositionMemory(peak=150_000, told=(ToldLevel(Rule.ADJUSTMENT, "", -91_00 * 65),))
    await journal.save_memories({position_tag(position): memory})
    before = {each.name: each.read_bytes() for each in (tmp_path / "state").glob("exit_journal*")}
    try:
        found, _ = await plan(exchange, tmp_path)
    finally:
        after = {each.name: each.read_bytes() for each in (tmp_path / "state").glob("exit_journal*")}
        await journal.close()
    assert trail(found).pnl == 150_000 - 60_000
    assert trail(found).level == "P&L ≤ ₹900.00 (peak ₹1,500.00 − ₹600.00)"
    assert found.told == (f"adjustment at ₹{-91 * 65:,.2f}",)
    assert after == before


async def test_a_plan_beyond_a_stop_orders_nothing(exchange, condor, tmp_path):
    set_prices(exchange, condor, STOPPED)
    found, _ = await plan(exchange, tmp_path)
    (stop,) = [line for line in found.rules if line.rule == Rule.STOP_LOSS]
    assert stop.state == "breached"
    assert exchange.venue.account.orders == {}
