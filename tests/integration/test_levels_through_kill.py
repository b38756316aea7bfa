"""Scaling out and a locked profit through two kills -9: what was closed and what was reached is known afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.condor import STRATEGY_ID, UNITS, pick_condor, read_exits, read_trades, write_rows
from tests.integration.processes import eventually, exchange_process
from tests.integration.test_condor_exit import Scene, finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOTS = 4
ENTRY = 45_00
LEVELS = (
    ("profit_target", "primary", 90_000, "Close entire position"),
    ("profit_target", "scaling_25", 1_000, "Close 25%"),
    ("profit_target", "scaling_50", 2_000, "Close 50%"),
    ("stop_loss", "move_to_cost", 1_500, "Close entire position"),
)
"""Rupees for one lot; four are held: 25 % at ₹4,000 of P&L, 50 % at ₹8,000, the stop at cost from ₹6,000 on."""


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with exchange_process("--seed", "7") as exchange:
        legs = (replace(pick_condor()[2], units=LOTS * UNITS),)
        await exchange.hold(legs)
        await exchange.set_prices(legs, [ENTRY])
        write_rows(tmp_path / "trades.db", legs, stop_rupees=2_000, name="Long Put")
        with sqlite3.connect(tmp_path / "trades.db") as connection:
            connection.executemany(
                "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
                " VALUES (?, ?, ?, ?, 'price', ?)",
                [(STRATEGY_ID, *level) for level in LEVELS],
            )
        connection.close()
        scene = Scene(exchange, legs, tmp_path)
        yield scene
        await scene.end()


async def begin(scene: Scene) -> asyncio.subprocess.Process:
    monitor = await scene.start("--execute")
    await eventually(scene.is_watching)
    return monitor


async def kill(monitor: asyncio.subprocess.Process) -> None:
    monitor.kill()
    await monitor.communicate()


def actions(scene: Scene) -> list[tuple[object, object]]:
    return [(line["rule"], line["action"]) for line in read_exits(scene.folder)]


async def test_shares_and_a_locked_profit_outlive_two_kills(scene: Scene) -> None:
    monitor = await begin(scene)
    # In steps of less than a fifth: a jump is not believed at once.
    for price in (53_00, 62_00):
        await scene.exchange.set_prices(scene.legs, [price])
        await asyncio.sleep(1.1)
    await eventually(lambda: actions(scene) == [("scaling_target", "CLOSE_25%")])
    await kill(monitor)

    monitor = await begin(scene)
    await asyncio.sleep(1.5)
    assert actions(scene) == [("scaling_target", "CLOSE_25%")], "the quarter is not sold twice"
    for price in (71_00, 83_00):
        await scene.exchange.set_prices(scene.legs, [price])
        await asyncio.sleep(1.1)
    await eventually(lambda: len(actions(scene)) == 2)
    await kill(monitor)

    # While nobody looks the rest loses more than the shares have made. Only the memory knows that the profit was locked.
    await scene.exchange.set_prices(scene.legs, [15_00])
    monitor = await begin(scene)
    await eventually(lambda: len(actions(scene)) == 3)
    code, out = await finish(monitor)
    assert code == 0, out
    assert actions(scene) == [
        ("scaling_target", "CLOSE_25%"), ("scaling_target", "CLOSE_50%"), ("lock_profit", "CLOSE_POSITION"),
    ]  # fmt: skip
    sold = [order["quantity"] for order in await scene.exchange.placed()]
    assert sold == [UNITS, UNITS, 2 * UNITS]
    assert await scene.net() == {scene.legs[0].security_id: 0}
    assert [row["order_status"] for row in read_trades(scene.folder / "trades.db")] == ["closed"]
