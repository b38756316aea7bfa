"""Ending: signals in the middle of an exit, bugs, kills, a broker that goes away; and what the next start makes of it."""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from core.clock import SystemClock
from core.model.errors import BugError, TransportError
from core.monitor import Monitor, run
from core.options import parse
from tests.integration.condor import (
    CALM,
    STOPPED,
    STRATEGY_ID,
    environment,
    hold,
    pick_condor,
    read_exits,
    read_trades,
    set_prices,
    settings_for,
    write_rows,
)
from tests.integration.processes import eventually, exchange_process, start_monitor
from tests.integration.test_condor_exit import Scene, check_finished, finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[asyncio.subprocess.Process]]]:
    """`start_monitor` that leaves no process behind when a test fails."""
    started: list[asyncio.subprocess.Process] = []

    async def begin(environment, *options):
        process = await start_monitor(environment, *options)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
async def scene(tmp_path, start) -> AsyncIterator[Scene]:
    async with exchange_process("--seed", "7") as exchange:
        legs = pick_condor()
        await exchange.hold(legs)
        await exchange.set_prices(legs, CALM)
        write_rows(tmp_path / "trades.db", legs)
        found = Scene(exchange, legs, tmp_path)
        found.start = functools.partial(start, found.env)  # type: ignore[method-assign]
        yield found


def journal_kinds(folder):
    journal = sqlite3.connect(folder / "state" / "exit_journal.db")
    try:
        assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [kind for (kind,) in journal.execute("SELECT kind FROM exit_records ORDER BY seq")]
    finally:
        journal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_in_the_middle_of_an_exit_sends_no_new_order_and_the_next_start_finishes(scene, number):
    slow = {"kind": "delay_response", "seconds": 1.0, "where": {"method": "POST", "path": "/orders", "every": 1}}
    await scene.exchange.post("fault", slow)
    monitor = await scene.start("--execute")
    await eventually(scene.is_watching)
    await scene.exchange.set_prices(scene.legs, STOPPED)

    async def has_begun():
        return await scene.exchange.placed()

    await eventually(has_begun)
    placed = len(await scene.exchange.placed())
    begun = time.monotonic()
    monitor.send_signal(number)
    out, _ = await monitor.communicate()
    assert time.monotonic() - begun < 30
    assert monitor.returncode == 3, out.decode()
    assert "NOT FINISHED" in out.decode()
    assert len(await scene.exchange.placed()) <= max(placed, 2)
    kinds = journal_kinds(scene.folder)
    assert kinds[0] == "ExitStarted"
    assert kinds.count("AttemptObserved") >= 1, "the answer of the order on the wire was waited for and written"
    assert "ExitFinished" not in kinds
    again = await scene.start("--execute")
    await eventually(scene.rows_closed, 40)
    code, out_again = await finish(again)
    assert code == 0, out_again
    await check_finished(scene)


async def test_a_signal_while_the_start_waits_for_the_broker_ends_it(scene):
    await scene.exchange.post("fault", {"kind": "delay_response", "seconds": 60, "where": {"path": "/profile"}})
    monitor = await scene.start("--execute")

    async def is_asking():
        return [line for line in await scene.exchange.get("log?event=request") if line["path"] == "/profile"]

    await eventually(is_asking)
    begun = time.monotonic()
    monitor.send_signal(signal.SIGTERM)
    out, _ = await monitor.communicate()
    assert monitor.returncode == 0, out.decode()
    assert time.monotonic() - begun < 30


async def test_a_second_monitor_is_sent_away_and_a_plan_is_not(scene):
    monitor = await scene.start("--execute")
    await eventually(scene.is_watching)
    begun = time.monotonic()
    second = await scene.start("--execute")
    out, _ = await second.communicate()
    assert second.returncode == 75, out.decode()
    assert time.monotonic() - begun < 30
    plan = await scene.start("--plan")
    out, _ = await plan.communicate()
    assert plan.returncode == 0, out.decode()
    assert f"#{STRATEGY_ID}" in out.decode()
    assert "stop_loss" in out.decode()
    code, out_first = await finish(monitor)
    assert code == 0, out_first


async def test_a_trailing_stop_keeps_its_peak_through_a_kill(scene):
    legs = scene.legs[2:3]
    database = scene.folder / "trades.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE trades SET order_status = 'closed' WHERE new_id <> ?", (legs[0].row_id,))
        connection.execute(
            "UPDATE trades SET strategy = 'Long Put', product_type = 'MARGIN' WHERE new_id = ?", (legs[0].row_id,)
        )
        connection.execute("DELETE FROM strategy_exit_levels")
        for kind, name, value, type_ in (
            ("stop_loss", "primary", 2_000, "price"),
            ("trailing_stop", "primary", 500, "price"),
            ("profit_target", "primary", 90_000, "price"),
            ("time_exit", "primary", 1, "dte"),
        ):
            connection.execute(
                "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
                " VALUES (?, ?, ?, ?, ?, 'Close entire position')",
                (STRATEGY_ID, kind, name, value, type_),
            )
        connection.execute(
            "INSERT INTO strategy_risk_management (strategy_id, trailing_stop, trailing_stop_activation)"
            " VALUES (?, 500, 1000)",
            (STRATEGY_ID,),
        )
    connection.close()
    monitor = await scene.start("--execute")

    async def is_watching():
        return len((await scene.exchange.get("state"))["subscribed"]) == 2

    await eventually(is_watching)
    await scene.exchange.set_prices(legs, [70_00])
    peak = legs[0].units * (70_00 - legs[0].entry)

    await asyncio.sleep(3)  # a jump is believed after a second; the file is held by the monitor and cannot be looked at
    monitor.kill()
    await monitor.communicate()
    connection = sqlite3.connect(scene.folder / "state" / "exit_journal.db")
    ((memory,),) = connection.execute("SELECT memory FROM memories").fetchall()
    assert json.loads(memory)["peak"] == peak
    connection.close()
    # While nobody looked it fell by more than the distance. Without the memory it would only be armed anew.
    await scene.exchange.set_prices(legs, [60_00])
    again = await scene.start("--execute")
    await eventually(lambda: read_exits(scene.folder))
    code, out = await finish(again)
    assert code == 0, out
    (record,) = read_exits(scene.folder)
    assert record["rule"] == "trailing_stop"
    assert record["threshold"] >= (peak - 500_00) / 100


async def test_the_broker_restarted_in_the_middle_of_the_day(tmp_path, start):
    legs = pick_condor()
    write_rows(tmp_path / "trades.db", legs)
    async with exchange_process("--seed", "7") as first:
        await first.hold(legs)
        await first.set_prices(legs, CALM)
        port = first.ready["api_url"].rsplit(":", 1)[1].split("/")[0]
        env = environment(first.ready, tmp_path)
        monitor = await start(env, "--execute")

        async def is_watching():
            return len((await first.get("state"))["subscribed"]) == 5

        await eventually(is_watching)
    await asyncio.sleep(0.5)
    async with exchange_process("--seed", "7", "--port", port) as second:
        await second.hold(legs)
        await second.set_prices(legs, CALM)

        async def is_watching_again():
            return len((await second.get("state"))["subscribed"]) == 5

        await eventually(is_watching_again, 40)
        await second.set_prices(legs, STOPPED)
        scene = Scene(second, legs, tmp_path)
        await eventually(scene.rows_closed, 40)
        code, out = await finish(monitor)
        assert code == 0, out
        await check_finished(scene)


@pytest.fixture
async def monitor(exchange, tmp_path):
    legs = pick_condor()
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(tmp_path / "trades.db", legs)
    return Monitor(parse(["--execute"]), settings_for(exchange, tmp_path), lambda _: None, SystemClock())


async def is_guarding(monitor):
    guards = monitor.parts.engine.guards
    await eventually(lambda: STRATEGY_ID in guards and guards[STRATEGY_ID].booked.pnl is not None)


def raise_bug(*_):
    raise BugError("never")


def break_tick(monitor):
    monitor.parts.engine.on_quote = raise_bug


def break_timer(monitor):
    monitor.parts.timer._tell = raise_bug


def break_task(monitor):
    monitor.parts.keeper.read_or_keep = raise_bug


def break_callback(monitor):
    asyncio.get_running_loop().call_soon(raise_bug)


@pytest.mark.parametrize("break_it", [break_tick, break_timer, break_task, break_callback])
async def test_a_bug_anywhere_ends_the_run_with_itself(exchange, monitor, tmp_path, break_it):
    task = asyncio.create_task(monitor.run())
    await is_guarding(monitor)
    break_it(monitor)
    set_prices(exchange, pick_condor(), [41_00, 91_00, 46_00, 96_00])
    with sqlite3.connect(tmp_path / "trades.db") as connection:
        connection.execute("UPDATE trades SET price = price + 1 WHERE new_id = 1")
    connection.close()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.timeout(30):
            await task
    assert caught.group_contains(BugError)


async def test_a_bug_is_the_exit_code_1_of_the_program(exchange, monitor, tmp_path, monkeypatch):
    def raise_with_cause(*_):
        raise BugError("never") from ValueError("what led to it")

    monkeypatch.setattr("core.exits.engine.Engine.on_quote", raise_with_cause)
    with pytest.raises(BugError) as caught:
        async with asyncio.timeout(30):
            await run(parse(["--execute"]), settings_for(exchange, tmp_path), lambda _: None)
    assert isinstance(caught.value.__cause__, ValueError), "the trace in the log has to say it"


async def test_an_error_while_closing_hides_neither_the_end_nor_its_cause(exchange, monitor, monkeypatch):
    async def fail():
        raise TransportError("too late")

    for part in (monitor.parts.store, monitor.parts.journal):
        monkeypatch.setattr(part, "close", fail)
    task = asyncio.create_task(monitor.run())
    await is_guarding(monitor)
    monitor.stop()
    assert await task == 0


async def test_the_answer_of_an_order_on_the_wire_is_waited_for_and_written(exchange, monitor, tmp_path):
    exchange.add_fault(
        {"kind": "delay_response", "seconds": 2, "where": {"method": "POST", "path": "/orders", "every": 1}}
    )
    task = asyncio.create_task(monitor.run())
    await is_guarding(monitor)
    # Only the answer itself can say what became of the order.
    exchange.add_fault({"kind": "order_updates_silence", "seconds": 60})
    set_prices(exchange, pick_condor(), STOPPED)
    placed = lambda: [x for x in exchange.venue.log.of("request") if (x["method"], x["path"]) == ("POST", "/orders")]  # noqa: E731
    await eventually(placed)
    monitor.stop()
    assert await task == 3
    accepted = [line["order_id"] for line in exchange.venue.log.of("order_accepted")]
    journal = sqlite3.connect(tmp_path / "state" / "exit_journal.db")
    observed = [
        json.loads(text)
        for (text,) in journal.execute("SELECT payload FROM exit_records WHERE kind = 'AttemptObserved'")
    ]
    journal.close()
    assert len(placed()) == len(accepted) == 2
    assert set(accepted) == {str(each["order_id"]) for each in observed}


async def test_after_the_end_nothing_is_asked_of_the_broker_any_more(exchange, monitor):
    """The sockets that close call back, and an unfinished exit would go on asking for ever."""
    exchange.add_fault({"kind": "delay_response", "seconds": 0.3, "where": {"path": "/positions", "every": 1}})
    refuse = {
        "kind": "refuse",
        "status": 400,
        "code": "DH-905",
        "message": "no",
        "where": {"path": "/orders", "method": "POST"},
    }
    exchange.add_fault(refuse)
    task = asyncio.create_task(monitor.run())
    await is_guarding(monitor)
    set_prices(exchange, pick_condor(), STOPPED)
    await eventually(lambda: monitor.parts.engine.unresolved)
    begun = time.monotonic()
    monitor.stop()
    assert await task == 3
    assert time.monotonic() - begun < 30


async def test_rows_that_cannot_be_written_at_the_end_are_written_by_the_next_start(exchange, monitor, tmp_path):
    locker = sqlite3.connect(tmp_path / "trades.db", isolation_level=None)
    task = asyncio.create_task(monitor.run())
    await is_guarding(monitor)
    locker.execute("BEGIN IMMEDIATE")
    set_prices(exchange, pick_condor(), STOPPED)
    await eventually(lambda: monitor.parts.engine.finished)
    begun = time.monotonic()
    monitor.stop()
    await task
    assert time.monotonic() - begun < 30
    locker.execute("ROLLBACK")
    locker.close()
    assert {row["order_status"] for row in read_trades(tmp_path / "trades.db")} == {"open"}
    code = await run(parse(["--execute", "--once"]), settings_for(exchange, tmp_path), lambda _: None)
    assert code == 0
    assert {row["order_status"] for row in read_trades(tmp_path / "trades.db")} == {"closed"}
    assert len(read_exits(tmp_path)) == 1
    assert len(exchange.venue.log.of("order_accepted")) == 4
