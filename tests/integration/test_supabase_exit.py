"""A stop on a four-leg iron condor in Supabase, end to end: exchange and monitor as processes, rows in a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.integration.condor import CALM, STOPPED, STRATEGY_ID, pick_condor, read_exits
from tests.integration.processes import ROOT, ExchangeProcess, eventually, exchange_process
from tests.integration.supabase_scene import Project, supabase_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.gateway.postgres import Cluster
    from tests.gateway.server import SupabaseGateway
    from tests.integration.condor import CondorLeg

PROMISE_S = 5.0
"""Rows are right within this after Supabase is back."""
SLOW_ORDERS = {"kind": "delay_response", "seconds": 0.5, "where": {"method": "POST", "path": "/orders", "every": 1}}
"""Answers that take half a second leave time to die between them."""


@dataclass(slots=True)
class Running:
    """One monitor process. What it prints goes to a file: a pipe that nobody reads would hold it up."""

    process: asyncio.subprocess.Process
    printed: Path

    @property
    def text(self) -> str:
        return self.printed.read_text(errors="replace")

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def finish(self) -> tuple[int, str]:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self, within_s: float = 30.0) -> tuple[int, str]:
        async with asyncio.timeout(within_s):
            code = await self.process.wait()
        return code, self.text


@dataclass(slots=True)
class Scene:
    """`folder` holds STATE_DIR and LOG_DIR of the monitor that is started without another name."""

    exchange: ExchangeProcess
    gateway: SupabaseGateway
    dsn: str
    legs: tuple[CondorLeg, ...]
    folder: Path
    started: list[Running] = field(default_factory=list)

    async def start(self, *options: str, name: str = "", **settings: str) -> Running:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DHAN_", "SUPABASE_", "STATE_"))}
        printed = place / f"printed-{len(self.started)}.txt"
        with printed.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "realtime_automated_monitor.py",
                *options,
                cwd=ROOT,
                env=clean | supabase_environment(self.exchange.ready, place, self.gateway) | settings,
                stdout=stream,
                stderr=asyncio.subprocess.STDOUT,
            )
        self.started.append(Running(process, printed))
        return self.started[-1]

    async def start_guarding(self, *options: str, name: str = "", **settings: str) -> Running:
        """Started, with the position under guard and its prices subscribed."""
        monitor = await self.start(*options, name=name, **settings)
        await eventually(lambda: monitor.process.returncode is not None or "guarding 1 positions" in monitor.text)
        assert monitor.process.returncode is None, monitor.text
        await eventually(self.is_watching)
        return monitor

    async def is_watching(self) -> bool:
        state = await self.exchange.get("state")
        return len(state["subscribed"]) == len(self.legs) + 1  # and the index that shows the feed is alive

    async def until_live(self) -> None:
        await eventually(lambda: self.gateway.live_count == 1)

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """On a connection of its own: the database may have been away in between."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(query, *values))
        finally:
            await connection.close()

    async def rows(self) -> list[Any]:
        return await self.fetch("SELECT * FROM trades ORDER BY new_id")

    async def rows_closed(self) -> bool:
        return all(row["order_status"] == "closed" for row in await self.rows())

    async def net(self) -> dict[int, int]:
        state = await self.exchange.get("state")
        return {int(key.split(":")[1]): units for key, units in state["net"].items()}

    async def is_flat(self) -> bool:
        return set((await self.net()).values()) == {0}

    async def stop_is_hit(self) -> None:
        await self.exchange.set_prices(self.legs, STOPPED)

    def journal_kinds(self) -> list[str]:
        """Read from a copy: the monitor keeps its journal locked. The copy is what a kill would leave."""
        look = Path(tempfile.mkdtemp(dir=self.folder))
        for part in (self.folder / "state").glob("exit_journal.db*"):
            shutil.copy(part, look)
        journal = sqlite3.connect(look / "exit_journal.db")
        try:
            return [kind for (kind,) in journal.execute("SELECT kind FROM exit_records ORDER BY seq")]
        finally:
            journal.close()
            shutil.rmtree(look)

    async def exit_finished(self) -> bool:
        return await self.is_flat() and "ExitFinished" in self.journal_kinds()

    def has_placed(self, count: int) -> Callable[[], Awaitable[bool]]:
        async def is_so() -> bool:
            return len(await self.exchange.placed()) >= count

        return is_so

    def written_requests(self) -> list[str]:
        """Every request of the gateway's log that may have changed something in the project."""
        return [
            f"{r.method} {r.path.partition('?')[0]}" for r in self.gateway.requests if r.method not in {"GET", "HEAD"}
        ]

    async def seconds_until_right(self) -> float:
        """From now until every row is closed; fails after PROMISE_S."""
        began = time.monotonic()
        await eventually(self.rows_closed, PROMISE_S)
        return time.monotonic() - began


async def write_condor(dsn: str, legs: tuple[CondorLeg, ...]) -> None:
    project = Project(dsn)
    await project.open()
    await project.sql.execute(
        "INSERT INTO strategies (id, stock_name, strategy_name, strategy_type, spread_type)"
        " VALUES ($1, 'NIFTY', 'Iron Condor', 'Neutral', 'NET_CREDIT')",
        STRATEGY_ID,
    )
    for exit_type, trigger_type, value in (("stop_loss", "price", 3_000), ("time_exit", "dte", 1)):
        await project.sql.execute(
            "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
            " VALUES ($1, $2, 'primary', $3, $4, 'Close entire position')",
            STRATEGY_ID, exit_type, value, trigger_type,
        )  # fmt: skip
    for leg in legs:
        await project.sql.execute(
            "INSERT INTO trades (new_id, strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy, action,"
            " quantity, price, strike_price, order_status, timestamp, product_type) VALUES ($1, $2, $3, $4, 'NSE_FNO',"
            " 'NIFTY', $5, 'Iron Condor', $6, $7, $8, $9, 'open', '2026-11-19T10:00:00', 'MARGIN')",
            leg.row_id, STRATEGY_ID, f"E{leg.row_id}", leg.security_id, leg.right, "BUY" if leg.units > 0 else "SELL",
            abs(leg.units), Decimal(leg.entry) / 100, leg.strike,
        )  # fmt: skip
    await project.close()


@asynccontextmanager
async def condor_scene(gateway: SupabaseGateway, dsn: str, folder: Path) -> AsyncIterator[Scene]:
    """The condor is held at the exchange and open in Supabase; no monitor runs yet, none runs afterwards."""
    async with exchange_process("--seed", "7") as exchange:
        legs = pick_condor()
        await exchange.hold(legs)
        await exchange.set_prices(legs, CALM)
        await write_condor(dsn, legs)
        made = Scene(exchange, gateway, dsn, legs, folder)
        try:
            yield made
        finally:
            for each in made.started:
                await each.kill()


@pytest.fixture
async def scene(gateway: SupabaseGateway, database: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with condor_scene(gateway, database, tmp_path) as made:
        yield made


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Print a figure also when the test succeeds."""
    with capsys.disabled():
        print(f"\n  {text}")  # noqa: T201


async def check_finished(scene: Scene, not_ours: tuple[int, ...] = ()) -> None:
    """Order book, positions, rows, risk event, JSON record and journal tell the same story, and it has four orders in it."""
    placed = await scene.exchange.placed()
    assert len(placed) == 4, placed
    assert len(await scene.exchange.get("log?event=order_accepted")) == 4
    assert len({body["correlationId"] for body in placed}) == 4
    assert await scene.is_flat()
    (record,) = read_exits(scene.folder)
    assert (record["strategy_id"], record["rule"], record["mode"]) == (STRATEGY_ID, "stop_loss", "LIVE")
    by_id = {leg["security_id"]: leg for leg in record["legs"]}
    fills: dict[str, int] = {}
    for line in await scene.exchange.get("log?event=fill"):
        fills[str(line["order_id"])] = fills.get(str(line["order_id"]), 0) + line["quantity"]
    for leg, row in zip(scene.legs, await scene.rows(), strict=True):
        executed = by_id[leg.security_id]
        assert executed["filled"] == executed["ordered"] == abs(leg.units)
        assert executed["side"] == ("BUY" if leg.units < 0 else "SELL")
        assert row["order_status"] == "closed"
        (order_id,) = executed["order_ids"]
        assert fills[str(order_id)] == abs(leg.units)
        if leg.row_id in not_ours:
            continue
        assert row["exit_order_id"] == str(order_id)
        assert row["exit_price"] == Decimal(str(executed["average_price"]))
        assert row["exit_reason"] == record["reason"]
        assert row["exit_time"] == record["timestamp"]
    (event,) = await scene.fetch("SELECT * FROM risk_events")
    assert (event["strategy_id"], event["event_type"]) == (STRATEGY_ID, "stop_loss")
    assert event["execution_id"] == record["exit_id"]
    assert event["threshold_value"] == Decimal(str(record["threshold"]))
    assert sorted(event["exit_order_ids"].split(",")) == sorted(fills)
    assert event["triggered_at"] == datetime.fromisoformat(record["timestamp"])
    kinds = scene.journal_kinds()
    assert kinds[0] == "ExitStarted"
    assert kinds.index("ExitFinished") < kinds.index("RowsWritten")
    assert (kinds.count("ExitStarted"), kinds.count("AttemptPrepared")) == (1, 4)


async def test_the_shorts_are_bought_back_first_and_the_rows_say_what_was_filled(scene: Scene) -> None:
    monitor = await scene.start_guarding("--execute")
    await scene.stop_is_hit()
    await eventually(scene.rows_closed)
    await eventually(lambda: read_exits(scene.folder))
    code, out = await monitor.finish()
    assert code == 0, out
    await check_finished(scene)
    log = await scene.exchange.get("log")
    filled_buys = [i for i, line in enumerate(log) if line["event"] == "fill"][:2]
    sells = [
        i
        for i, line in enumerate(log)
        if line["event"] == "request" and (line.get("body") or {}).get("transactionType") == "SELL"
    ]
    assert max(filled_buys) < min(sells), "a long was sold while a short was open"
    assert [body["transactionType"] for body in await scene.exchange.placed()] == ["BUY", "BUY", "SELL", "SELL"]


@asynccontextmanager
async def gateway_away(scene: Scene, cluster: Cluster) -> AsyncIterator[None]:
    """Nothing listens at the project's address any more."""
    await scene.gateway.stop()
    try:
        yield
    finally:
        await scene.gateway.start()


@asynccontextmanager
async def database_away(scene: Scene, cluster: Cluster) -> AsyncIterator[None]:
    """The project answers, with 503."""
    await cluster.stop()
    try:
        yield
    finally:
        await cluster.start()


AWAY = [gateway_away, database_away]


@pytest.mark.parametrize("away", AWAY, ids=lambda way: way.__name__)
async def test_supabase_stops_during_the_exit(
    scene: Scene, cluster: Cluster, away: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor = await scene.start_guarding("--execute")
    await scene.until_live()
    async with away(scene, cluster):
        await scene.stop_is_hit()
        await eventually(scene.exit_finished)
        await eventually(lambda: "rows follow when the store takes them" in monitor.text)
        # Long enough for the longest pause between two tries.
        await asyncio.sleep(3.0)
        assert "RowsWritten" not in scene.journal_kinds()
    say(capsys, f"{away.__name__}: rows right {await scene.seconds_until_right():.2f} s after its return")
    await eventually(lambda: read_exits(scene.folder))
    code, out = await monitor.finish()
    assert code == 0, out
    await check_finished(scene)


@pytest.mark.parametrize("is_back", [False, True], ids=["restarted while away", "restarted after its return"])
@pytest.mark.parametrize("moment", ["mid-exit", "exit finished"])
async def test_killed_while_supabase_is_away(
    scene: Scene, cluster: Cluster, moment: str, is_back: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if moment == "mid-exit":
        await scene.exchange.post("fault", SLOW_ORDERS)
    monitor = await scene.start_guarding("--execute")
    await scene.until_live()
    async with gateway_away(scene, cluster):
        await scene.stop_is_hit()
        if moment == "mid-exit":
            await eventually(scene.has_placed(2))
        else:
            await eventually(scene.exit_finished)
        await monitor.kill()
        assert "RowsWritten" not in scene.journal_kinds()
        if not is_back:
            again = await scene.start("--execute")
            await eventually(lambda: "trades of an earlier time" in again.text)
            await eventually(scene.exit_finished)
            await asyncio.sleep(1.0)
            assert again.process.returncode is None, again.text
    if is_back:
        again = await scene.start("--execute")
        await eventually(scene.rows_closed)
    else:
        say(
            capsys,
            f"killed {moment}, restarted while away: right {await scene.seconds_until_right():.2f} s after its return",
        )
        await eventually(lambda: "trades readable again" in again.text)
    await eventually(lambda: read_exits(scene.folder))
    code, out = await again.finish()
    assert code == 0, out
    await check_finished(scene)


async def test_saved_rows_older_than_the_exit_send_no_order_and_change_no_row(scene: Scene, cluster: Cluster) -> None:
    """Killed between the rows' closing and the saving of what was read after it."""
    monitor = await scene.start_guarding("--execute")
    saved = scene.folder / "state" / "last_rows.json"
    await eventually(saved.exists)
    shutil.copy(saved, scene.folder / "old.json")
    await scene.stop_is_hit()
    await eventually(scene.rows_closed)
    await eventually(lambda: "RowsWritten" in scene.journal_kinds())
    await monitor.kill()
    await check_finished(scene)
    rows = await scene.rows()
    async with gateway_away(scene, cluster):
        shutil.copy(scene.folder / "old.json", saved)
        again = await scene.start("--execute")
        await eventually(lambda: "trades of an earlier time" in again.text)
        await asyncio.sleep(3.0)
        assert again.process.returncode is None, again.text
    await eventually(lambda: "trades readable again" in again.text, PROMISE_S)
    code, out = await again.finish()
    assert code == 0, out
    assert await scene.rows() == rows
    await check_finished(scene)


async def test_the_answers_of_the_updates_are_lost_after_their_commit(scene: Scene) -> None:
    monitor = await scene.start_guarding("--execute")
    scene.gateway.faults.drop_after_commit = 1_000
    await scene.stop_is_hit()
    await eventually(lambda: scene.written_requests().count("PATCH /rest/v1/trades") >= 4)
    assert await scene.rows_closed()
    scene.gateway.faults.drop_after_commit = 0
    await eventually(lambda: "RowsWritten" in scene.journal_kinds())
    code, out = await monitor.finish()
    assert code == 0, out
    assert "closed by somebody else" not in out
    await check_finished(scene)
    written = scene.written_requests()
    assert written.count("PATCH /rest/v1/trades") >= 8, "the updates were never asked again"
    assert set(written) == {"PATCH /rest/v1/trades", "POST /rest/v1/risk_events", *LEASE_CALLS}


LEASE_CALLS = {"POST /rest/v1/rpc/beat_monitor_lease", "POST /rest/v1/rpc/release_monitor_lease"}


async def test_a_row_that_somebody_else_closes_first_keeps_what_he_wrote(scene: Scene, cluster: Cluster) -> None:
    monitor = await scene.start_guarding("--execute")
    await scene.until_live()
    theirs = scene.legs[1].row_id
    async with gateway_away(scene, cluster):
        await scene.stop_is_hit()
        await eventually(scene.exit_finished)
        await scene.fetch(
            "UPDATE trades SET order_status = 'closed', exit_order_id = 'HIS', exit_price = 1.5, exit_reason = 'by hand'"
            " WHERE new_id = $1",
            theirs,
        )
    await scene.seconds_until_right()
    await eventually(lambda: "RowsWritten" in scene.journal_kinds())
    code, out = await monitor.finish()
    assert code == 0, out
    assert "closed by somebody else" in out
    assert f"row {theirs} (others): not written by us" in out
    (his,) = await scene.fetch("SELECT * FROM trades WHERE new_id = $1", theirs)
    assert (his["exit_order_id"], his["exit_price"], his["exit_reason"]) == ("HIS", Decimal("1.5"), "by hand")
    assert his["exit_time"] is None
    await check_finished(scene, not_ours=(theirs,))


async def test_a_policy_that_denies_the_update_is_told_and_the_rows_follow_once_it_is_mended(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    await scene.fetch("ALTER TABLE trades ENABLE ROW LEVEL SECURITY")
    (policy,) = await scene.fetch("SELECT * FROM pg_policies WHERE policyname = 'exit_monitor_closes'")
    await scene.fetch("DROP POLICY exit_monitor_closes ON trades")
    role = {"SUPABASE_KEY": scene.gateway.anon_key, "SUPABASE_ROLE_TOKEN": scene.gateway.token("exit_monitor")}
    monitor = await scene.start_guarding("--execute", **role)
    await scene.stop_is_hit()
    await eventually(scene.exit_finished)
    await eventually(lambda: "row-level security policy for UPDATE" in monitor.text)
    tried = scene.written_requests().count("PATCH /rest/v1/trades")
    await eventually(lambda: scene.written_requests().count("PATCH /rest/v1/trades") > tried)
    assert {row["order_status"] for row in await scene.rows()} == {"open"}
    await scene.fetch(
        "CREATE POLICY exit_monitor_closes ON trades FOR UPDATE TO exit_monitor"
        f" USING ({policy['qual']}) WITH CHECK ({policy['with_check']})"
    )
    say(capsys, f"policy mended: rows right after {await scene.seconds_until_right():.2f} s")
    await eventually(lambda: "RowsWritten" in scene.journal_kinds())
    code, out = await monitor.finish()
    assert code == 0, out
    told = [line for line in out.splitlines() if "CRITICAL core.exit_runner" in line and "still not written" in line]
    assert len(told) == 1, "the README promises a page"
    assert "row-level security policy for UPDATE" in told[0]
    await check_finished(scene)


@pytest.mark.parametrize("way", AWAY, ids=lambda way: way.__name__)
async def test_without_saved_rows_a_start_without_supabase_is_refused(scene: Scene, cluster: Cluster, way: Any) -> None:
    async with way(scene, cluster):
        code, out = await (await scene.start("--execute")).ended()
    assert code == 4
    told = out.strip().splitlines()[-2:]
    assert told[0].startswith("No connection: Supabase c"), out
    assert "start again" in told[1]
    assert "Traceback" not in out
    assert await scene.exchange.order_side_requests() == []
