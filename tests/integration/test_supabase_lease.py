"""Two monitors on one account, and what each mode may write into the project. Exchange and monitors are processes."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.condor import STOPPED, STRATEGY_ID, read_exits
from tests.integration.processes import eventually
from tests.integration.test_supabase_exit import LEASE_CALLS, check_finished, condor_scene, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.gateway.server import SupabaseGateway
    from tests.integration.test_supabase_exit import Running, Scene

TTL_S = 21.0
"""How long a lease lives that nobody renews, with the default SUPABASE_TIMEOUT_S."""
EXPIRE = "UPDATE monitor_lease SET expires_at = clock_timestamp()"


@pytest.fixture
async def scene(gateway: SupabaseGateway, database: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with condor_scene(gateway, database, tmp_path) as made:
        yield made


async def holder(scene: Scene) -> str:
    (row,) = await scene.fetch("SELECT * FROM monitor_lease WHERE name LIKE '%:LIVE'")
    return row["holder"]


def own_name(scene: Scene, name: str = "") -> str:
    return (scene.folder / name / "state" / "holder_id").read_text().strip()


async def refused(monitor: Running, by: str) -> None:
    code, out = await monitor.ended()
    assert code == 75, out
    (told,) = [line for line in out.splitlines() if line.startswith("Another monitor")]
    assert by in told
    assert "Traceback" not in out


@pytest.mark.parametrize("options", [("--alert-only",), (), ("--alert-only", "--once"), ("--once",)])
async def test_alert_only_and_simulation_write_nothing_but_their_lease(scene: Scene, options: tuple[str, ...]) -> None:
    if "--once" in options:
        await scene.exchange.set_prices(scene.legs, STOPPED)
        monitor = await scene.start(*options)
        code, out = await monitor.ended()
    else:
        monitor = await scene.start_guarding(*options)
        await scene.exchange.set_prices(scene.legs, STOPPED)
        await eventually(lambda: read_exits(scene.folder))
        code, out = await monitor.finish()
    assert code == 0, out
    assert set(scene.written_requests()) == LEASE_CALLS
    (record,) = read_exits(scene.folder)
    assert record["mode"] == ("ALERT" if "--alert-only" in options else "SIMULATION")
    assert await scene.exchange.order_side_requests() == []
    assert {row["order_status"] for row in await scene.rows()} == {"open"}
    assert await scene.fetch("SELECT * FROM risk_events") == []
    names = [row["name"] for row in await scene.fetch("SELECT * FROM monitor_lease")]
    assert len(names) == 1
    assert not names[0].endswith(":LIVE")


async def test_once_prints_the_position_with_its_prices(scene: Scene) -> None:
    code, out = await (await scene.start("--alert-only", "--once", "--json")).ended()
    assert code == 0, out
    (position,) = json.loads(out[out.index("\n{") :])["positions"]
    assert position["strategy_id"] == STRATEGY_ID
    assert position["pnl"] is not None
    assert set(scene.written_requests()) == LEASE_CALLS


async def test_a_plan_prints_the_position_and_writes_nothing_at_all(scene: Scene) -> None:
    live = await scene.start_guarding("--execute")
    before = len(scene.gateway.requests)
    code, out = await (await scene.start("--plan", "--json", name="plan")).ended()
    assert code == 0, out
    (position,) = json.loads(out[out.index("\n{") :])["positions"]
    assert position["strategy_id"] == STRATEGY_ID
    by_the_plan = scene.gateway.requests[before:]
    assert {r.method for r in by_the_plan if "/rpc/" not in r.path} == {"GET"}
    assert scene.gateway.socket_count == 1
    assert sorted(row["holder"] for row in await scene.fetch("SELECT * FROM monitor_lease")) == [await holder(scene)]
    # The day's instrument master is kept by whoever has to download it; it says nothing of the account.
    assert [x.name.partition("-")[0] for x in (scene.folder / "plan" / "state").iterdir()] == ["instruments"]
    code, out = await live.finish()
    assert code == 0, out


async def test_once_live_exits_and_says_so_in_the_rows(scene: Scene) -> None:
    await scene.exchange.set_prices(scene.legs, STOPPED)
    code, out = await (await scene.start("--execute", "--once")).ended()
    assert code == 0, out
    await check_finished(scene)


async def test_a_second_live_monitor_is_refused_and_one_that_only_alerts_runs_beside_it(scene: Scene) -> None:
    first = await scene.start_guarding("--execute")
    began = time.monotonic()
    await refused(await scene.start("--execute", name="second"), own_name(scene))
    assert time.monotonic() - began < TTL_S
    beside = await scene.start("--alert-only", name="beside")
    await eventually(lambda: "guarding 1 positions" in beside.text)
    await scene.exchange.set_prices(scene.legs, STOPPED)
    await eventually(scene.rows_closed)
    await eventually(lambda: read_exits(scene.folder))
    assert (await beside.finish())[0] == 0
    code, out = await first.finish()
    assert code == 0, out
    await check_finished(scene)


async def test_a_stopped_monitor_leaves_the_lease_at_once(scene: Scene) -> None:
    first = await scene.start_guarding("--execute")
    assert (await first.finish())[0] == 0
    second = await scene.start_guarding("--execute", name="second")
    assert own_name(scene, "second") in await holder(scene)
    assert (await second.finish())[0] == 0


async def test_after_a_kill_the_same_state_directory_goes_on_at_once_and_another_waits_for_the_end(
    scene: Scene,
) -> None:
    first = await scene.start_guarding("--execute")
    await first.kill()
    again = await scene.start_guarding("--execute")
    (lease,) = await scene.fetch("SELECT * FROM monitor_lease")
    assert lease["epoch"] == 1
    await again.kill()
    await refused(await scene.start("--execute", name="other"), own_name(scene))
    await scene.fetch(EXPIRE)
    other = await scene.start_guarding("--execute", name="other")
    assert own_name(scene, "other") in await holder(scene)
    assert (await other.finish())[0] == 0


async def test_a_monitor_that_slept_through_its_lease_ends_without_an_order(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other one takes the lease when its time is over, by the database's clock, and not before.

    The stop is hit while both sleep: the positions are still open, and their prices wait in the socket, when the first wakes up.
    """
    sleeper = await scene.start_guarding("--execute")
    await scene.until_live()
    sleeper.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    heir, tried = await first_that_gets_it(scene, "heir", by=own_name(scene))
    say(capsys, f"lease of a paused monitor taken {time.monotonic() - began:.1f} s after its pause, {tried} starts")
    assert tried > 1
    heir.process.send_signal(signal.SIGSTOP)
    await scene.stop_is_hit()
    # The way to a hosted project: a monitor that does not wait for the answer is sure to be quicker.
    scene.gateway.faults.rest_delay_s = 0.3
    sleeper.process.send_signal(signal.SIGCONT)
    await refused(sleeper, own_name(scene, "heir"))
    scene.gateway.faults.rest_delay_s = 0.0
    by_the_sleeper = await scene.exchange.placed()
    heir.process.send_signal(signal.SIGCONT)
    assert by_the_sleeper == [], "it sent orders though another monitor had the lease"
    await eventually(scene.rows_closed)
    await eventually(lambda: read_exits(scene.folder / "heir"))
    code, out = await heir.finish()
    assert code == 0, out
    assert len(await scene.exchange.placed()) == 4
    assert await scene.is_flat()
    assert read_exits(scene.folder) == []


async def first_that_gets_it(scene: Scene, name: str, by: str) -> tuple[Running, int]:
    """The monitor that was not refused, and how many were started for that."""
    began = time.monotonic()
    for tried in itertools.count(1):
        monitor = await scene.start("--execute", name=name)
        await eventually(is_ended_or_guarding(monitor))
        if monitor.process.returncode is None:
            return monitor, tried
        await refused(monitor, by)
        assert time.monotonic() - began < TTL_S + 10.0
        await asyncio.sleep(1.0)
    raise AssertionError


def is_ended_or_guarding(monitor: Running) -> Callable[[], bool]:
    return lambda: monitor.process.returncode is not None or "guarding 1 positions" in monitor.text
