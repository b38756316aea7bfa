"""A stop on a four-leg iron condor, end to end: real sockets, real files, real processes."""

from __future__ import annotations

import signal
import sqlite3
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.condor import (
    CALM,
    STOPPED,
    STRATEGY_ID,
    environment,
    pick_condor,
    read_exits,
    read_trades,
    write_rows,
)
from tests.integration.processes import ExchangeProcess, eventually, exchange_process, start_monitor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.condor import CondorLeg

"""Long call +975, short call −4,550, long put −975, short put +975: ₹−3,575 and past the stop of ₹−3,000."""


class Scene:
    def __init__(self, exchange: ExchangeProcess, legs: tuple[CondorLeg, ...], folder: Path) -> None:
        self.exchange = exchange
        self.legs = legs
        self.folder = folder
        self.env = environment(exchange.ready, folder)
        self.started: list[asyncio.subprocess.Process] = []

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        self.started.append(await start_monitor(self.env, *options))
        return self.started[-1]

    async def end(self) -> None:
        """Whatever a failed test left running."""
        for process in self.started:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def is_watching(self) -> bool:
        state = await self.exchange.get("state")
        return len(state["subscribed"]) == len(self.legs) + 1  # and the index that shows the feed is alive

    async def net(self) -> dict[int, int]:
        state = await self.exchange.get("state")
        return {int(key.split(":")[1]): units for key, units in state["net"].items()}

    def rows_closed(self) -> bool:
        return all(row["order_status"] == "closed" for row in read_trades(self.folder / "trades.db"))

    async def orders(self) -> list[dict[str, Any]]:
        return list(await self.exchange.get("log?event=order_accepted"))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with exchange_process("--seed", "7") as exchange:
        legs = pick_condor()
        await exchange.hold(legs)
        await exchange.set_prices(legs, CALM)
        write_rows(tmp_path / "trades.db", legs)
        scene = Scene(exchange, legs, tmp_path)
        yield scene
        await scene.end()


async def finish(process: asyncio.subprocess.Process) -> tuple[int, str]:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def check_finished(scene: Scene, mode: str = "LIVE") -> None:
    """Order book, positions, rows, JSON record and journal tell the same story, and it has four orders in it."""
    placed = await scene.exchange.placed()
    assert len(placed) == 4, placed
    assert len(await scene.orders()) == 4
    assert len({body["correlationId"] for body in placed}) == 4
    assert set((await scene.net()).values()) == {0}
    (record,) = read_exits(scene.folder)
    assert (record["strategy_id"], record["rule"], record["mode"]) == (STRATEGY_ID, "stop_loss", mode)
    by_id = {leg["security_id"]: leg for leg in record["legs"]}  # type: ignore[attr-defined]
    fills: dict[int, int] = {}
    for line in await scene.exchange.get("log?event=fill"):
        fills[line["order_id"]] = fills.get(line["order_id"], 0) + line["quantity"]
    for leg, row in zip(scene.legs, read_trades(scene.folder / "trades.db"), strict=True):
        executed = by_id[leg.security_id]
        assert executed["filled"] == executed["ordered"] == abs(leg.units)
        assert executed["side"] == ("BUY" if leg.units < 0 else "SELL")
        assert row["order_status"] == "closed"
        assert [row["exit_order_id"]] == executed["order_ids"]
        assert row["exit_price"] == executed["average_price"]
        since_s = time.time() - datetime.fromisoformat(row["exit_time"]).timestamp()
        assert 0 <= since_s < 120, "also when a restart found the exit finished"
        assert fills[row["exit_order_id"]] == abs(leg.units)
    expected = sum(leg.units * (by_id[leg.security_id]["average_price"] * 100 - leg.entry) for leg in scene.legs) / 100
    assert record["realised_pnl"] == pytest.approx(expected)
    journal = sqlite3.connect(scene.folder / "state" / "exit_journal.db")
    kinds = [kind for (kind,) in journal.execute("SELECT kind FROM exit_records ORDER BY seq")]
    journal.close()
    assert kinds[0] == "ExitStarted"
    assert kinds.index("ExitFinished") < kinds.index("RowsWritten")
    assert kinds.count("AttemptPrepared") == 4


async def test_both_shorts_are_bought_back_and_filled_before_any_long_is_sold(scene: Scene) -> None:
    monitor = await scene.start("--execute")
    await eventually(scene.is_watching)
    await scene.exchange.set_prices(scene.legs, STOPPED)
    await eventually(scene.rows_closed)
    code, out = await finish(monitor)
    assert code == 0, out
    await check_finished(scene)
    log = await scene.exchange.get("log")
    filled_buys = [i for i, line in enumerate(log) if line["event"] == "fill"][:2]
    sell_requests = [
        i
        for i, line in enumerate(log)
        if line["event"] == "request" and (line.get("body") or {}).get("transactionType") == "SELL"
    ]
    assert max(filled_buys) < min(sell_requests), "a long was sold while a short was open"
    sides = [body["transactionType"] for body in await scene.exchange.placed()]
    assert sides == ["BUY", "BUY", "SELL", "SELL"]


async def test_a_response_dropped_after_acceptance_leaves_exactly_four_orders(scene: Scene) -> None:
    fault = {"kind": "drop_response_after_accept", "where": {"method": "POST", "path": "/orders", "nth": 1}}
    await scene.exchange.post("fault", fault)
    monitor = await scene.start("--execute")
    await eventually(scene.is_watching)
    await scene.exchange.set_prices(scene.legs, STOPPED)
    await eventually(scene.rows_closed, 30)
    code, out = await finish(monitor)
    assert code == 0, out
    assert len(await scene.exchange.get("log?event=fault")) == 1, "the response was never dropped"
    await check_finished(scene)


@pytest.mark.parametrize("after_orders", [1, 2, 3])
async def test_killed_in_the_middle_of_the_exit_it_is_finished_by_the_next_start(
    scene: Scene, after_orders: int
) -> None:
    # Answers that take half a second leave time to die between them.
    await scene.exchange.post(
        "fault", {"kind": "delay_response", "seconds": 0.5, "where": {"method": "POST", "path": "/orders", "every": 1}}
    )
    monitor = await scene.start("--execute")
    await eventually(scene.is_watching)
    await scene.exchange.set_prices(scene.legs, STOPPED)

    async def enough() -> bool:
        return len(await scene.exchange.placed()) >= after_orders

    await eventually(enough)
    monitor.kill()
    await monitor.communicate()
    assert not scene.rows_closed()
    again = await scene.start("--execute")
    await eventually(scene.rows_closed, 40)
    code, out = await finish(again)
    assert code == 0, out
    await check_finished(scene)


@pytest.mark.parametrize("options", [("--alert-only",), (), ("--alert-only", "--once"), ("--once",)])
async def test_alert_only_and_simulation_send_no_order(scene: Scene, options: tuple[str, ...]) -> None:
    if "--once" in options:
        await scene.exchange.set_prices(scene.legs, STOPPED)
        monitor = await scene.start(*options)
        await monitor.wait()
    else:
        monitor = await scene.start(*options)
        await eventually(scene.is_watching)
        await scene.exchange.set_prices(scene.legs, STOPPED)
        await eventually(lambda: read_exits(scene.folder))
    code, out = await finish(monitor)
    assert code == 0, out
    assert await scene.exchange.order_side_requests() == []
    (record,) = read_exits(scene.folder)
    assert record["rule"] == "stop_loss"
    assert record["mode"] == ("ALERT" if "--alert-only" in options else "SIMULATION")
    filled = [leg["filled"] for leg in record["legs"]]  # type: ignore[attr-defined]
    assert filled == ([0] * 4 if "--alert-only" in options else [65] * 4)
    assert all(row["order_status"] == "open" for row in read_trades(scene.folder / "trades.db"))
    assert {abs(units) for units in (await scene.net()).values()} == {65}
