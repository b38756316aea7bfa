"""Rows that change, rows that make no sense, and a broker that changed hands: the real monitor against the local exchange."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from core.clock import SystemClock
from core.model.commands import Severity
from core.monitor import Monitor
from core.options import parse
from core.paper.exchange import LocalExchange
from tests.integration.condor import (
    CALM,
    STOPPED,
    STRATEGY_ID,
    hold,
    pick_condor,
    read_exits,
    read_trades,
    set_prices,
    settings_for,
    write_rows,
)
from tests.integration.processes import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def running(exchange: LocalExchange, folder: Path, *options: str) -> AsyncIterator[Monitor]:
    monitor = Monitor(parse(["--execute", *options]), settings_for(exchange, folder), lambda _: None, SystemClock())
    task = asyncio.create_task(monitor.run())
    try:
        await eventually(lambda: task.done() or monitor.parts.engine.guards or monitor.parts.keeper.set_aside)
        yield monitor
    finally:
        monitor.stop()
        await task


def execute(database: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(statement, values)
    connection.close()


BAD_ROWS = {
    "null quantity": {"quantity": None},
    "text where a number belongs": {"price": "ninety"},
    "unknown security id": {"security_id": 999_999},
    "expired contract's id of a foreign segment": {"exchange_segment": "NSE_MOON"},
    "unknown side": {"action": "HODL"},
    "contract and strike disagree": {"strike_price": 12_345},
    "another account's row": {"account_id": "9999999999"},
}


@pytest.mark.parametrize("change", BAD_ROWS.values(), ids=BAD_ROWS.keys())
async def test_a_bad_row_is_named_and_every_other_position_stays_protected(
    exchange: LocalExchange, tmp_path: Path, change: dict[str, object]
) -> None:
    database, legs, bad = tmp_path / "trades.db", pick_condor(), pick_condor(first_row=11)
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(database, legs)
    write_rows(database, bad[:1], strategy_id=77, name="Long Call")
    ((column, value),) = change.items()
    execute(database, f"UPDATE trades SET {column} = ? WHERE new_id = 11", value)  # noqa: S608  names from this file
    async with running(exchange, tmp_path) as monitor:
        await eventually(lambda: STRATEGY_ID in monitor.parts.engine.guards)
        assert 77 not in monitor.parts.engine.guards
        (problem,) = monitor.parts.keeper.set_aside
        assert "11" in str(problem)
        assert column in str(problem) or str(value) in str(problem)
        pages = [alert for alert in monitor.parts.runner.alerts if alert.subject == "row set aside"]
        assert [alert.severity for alert in pages] == [Severity.PAGE]
        await eventually(lambda: monitor.parts.engine.guards[STRATEGY_ID].booked.pnl is not None)
        set_prices(exchange, legs, STOPPED)
        await eventually(lambda: monitor.parts.engine.finished and monitor.parts.engine.is_idle)
    assert [row["order_status"] for row in read_trades(database)] == ["closed"] * 4 + ["open"]


async def test_a_guarded_row_that_turns_bad_stays_guarded_as_it_was(exchange: LocalExchange, tmp_path: Path) -> None:
    database, legs = tmp_path / "trades.db", pick_condor()
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(database, legs)
    async with running(exchange, tmp_path) as monitor:
        await eventually(lambda: STRATEGY_ID in monitor.parts.engine.guards)
        execute(database, "UPDATE trades SET quantity = 'many' WHERE new_id = 2")
        await eventually(lambda: monitor.parts.keeper.set_aside)
        held = monitor.parts.engine.guards[STRATEGY_ID].booked.position
        assert [leg.units for leg in held.legs] == [65, -65, 65, -65]


async def test_inserted_edited_and_closed_rows_change_what_is_guarded(exchange: LocalExchange, tmp_path: Path) -> None:
    database, legs, later = tmp_path / "trades.db", pick_condor(), pick_condor(first_row=11)
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(database, legs)
    async with running(exchange, tmp_path) as monitor:
        guards = monitor.parts.engine.guards
        await eventually(lambda: STRATEGY_ID in guards)
        write_rows(database, later[2:3], strategy_id=88, name="Long Put")
        await eventually(lambda: 88 in guards)
        execute(
            database,
            "UPDATE strategy_exit_levels SET trigger_value = 1234 WHERE exit_type = 'stop_loss' AND strategy_id = 88",
        )
        await eventually(lambda: guards[88].levels.stop is not None and guards[88].levels.stop.amount == 123_400)
        execute(database, "UPDATE trades SET order_status = 'closed' WHERE strategy_id = 88")
        await eventually(lambda: 88 not in guards)
        assert STRATEGY_ID in guards


async def test_a_position_that_others_closed_is_written_down_and_nothing_is_ordered(
    exchange: LocalExchange, tmp_path: Path
) -> None:
    database, legs = tmp_path / "trades.db", pick_condor()
    hold(exchange, legs)
    hold(exchange, [replace(leg, units=-leg.units) for leg in legs])
    set_prices(exchange, legs, STOPPED)
    write_rows(database, legs)
    async with running(exchange, tmp_path) as monitor:
        await eventually(lambda: monitor.parts.engine.finished and monitor.parts.engine.is_idle)
    assert exchange.state()["orders"] == []
    for row in read_trades(database):
        assert (row["order_status"], row["exit_price"]) == ("closed", None)
        assert row["exit_reason"] == "closed outside the monitor"
    (record,) = read_exits(tmp_path)
    assert record["rule"] == "closed_outside"
    assert record["realised_pnl"] is None


async def test_a_target_is_hit_without_the_websocket_by_rest_prices_alone(
    exchange: LocalExchange, tmp_path: Path
) -> None:
    database, legs = tmp_path / "trades.db", pick_condor()
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(database, legs)
    async with running(exchange, tmp_path, "--no-websocket") as monitor:
        await eventually(lambda: monitor.parts.engine.guards[STRATEGY_ID].booked.pnl is not None)
        set_prices(exchange, legs, [30_00, 60_00, 35_00, 60_00])
        await eventually(lambda: monitor.parts.engine.finished and monitor.parts.engine.is_idle)
    (record,) = read_exits(tmp_path)
    assert record["rule"] == "profit_target"


async def test_an_index_shows_that_the_feed_lives_while_the_positions_are_quiet(
    exchange: LocalExchange, tmp_path: Path
) -> None:
    database, legs = tmp_path / "trades.db", pick_condor()
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(database, legs)
    async with running(exchange, tmp_path) as monitor:
        await eventually(lambda: "IDX_I:13" in exchange.state()["subscribed"])
        assert "IDX_I:13" not in {str(key) for key in monitor.parts.cache.keys()}  # noqa: SIM118  a method, not a dict
        execute(database, "UPDATE trades SET order_status = 'closed'")
        await eventually(lambda: exchange.state()["subscribed"] == [])
