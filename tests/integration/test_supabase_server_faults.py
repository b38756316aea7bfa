"""What the servers of a Supabase project lose, refuse and hide, each under a live monitor.

After each the book equals the database within 5 s of the write, or of the return of a server that was away; a gap that nothing
shows is cured by the periodic re-read.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from core.model.commands import Severity
from core.realtime_watch import NO_CANARY
from tests.integration import supabase_faults
from tests.integration.processes import eventually
from tests.integration.supabase_faults import NO_ECHO, PUSHED_S, SILENT_GAP_S, Scene, Setting
from tests.integration.supabase_scene import Project, book_of, monitor_on

setting, scene = supabase_faults.setting, supabase_faults.scene
pytestmark = supabase_faults.allow_deprecated_code

# --- the server: changes that do not arrive ---


async def test_changes_are_muted_while_everything_else_answers(scene: Scene) -> None:
    scene.gateway.faults.mute_changes = True
    began = await scene.write()
    await scene.right("muted changes", began)
    assert scene.words[0] == NO_ECHO
    # The next session joins and is confirmed, as if all were well: its own canary has to die, too.
    await eventually(lambda: "confirmed" in scene.words)
    await scene.settled()
    began = await scene.write()
    await scene.right("muted changes, in the next session", began)
    assert scene.words[:3] == [NO_ECHO, "confirmed", NO_ECHO]
    scene.gateway.faults.mute_changes = False
    await scene.live_again()


async def test_the_change_worker_is_restarted(scene: Scene) -> None:
    restarting = asyncio.create_task(scene.gateway.restart_changes(0.5))
    await eventually(lambda: scene.gateway.live_count == 0)
    began = await scene.write()
    await restarting
    await scene.right("change worker restarted", began, PUSHED_S)
    # On the same channel: the server said `system ok` once more.
    assert (scene.listener.status.sessions, scene.words) == (1, ["confirmed"])
    await scene.live_again()


async def test_a_slot_lost_over_a_beat_is_noticed_by_the_next_one(scene: Scene) -> None:
    await scene.gateway.drop_slot()
    began = await scene.write()
    await asyncio.sleep(1.6)
    await scene.gateway.create_slot()
    await scene.right("slot lost over a beat", began)
    assert scene.listener.status.sessions == 1
    assert scene.words == ["confirmed"]
    await scene.live_again()


async def test_changes_are_skipped_for_a_project_over_its_rate_limit(scene: Scene) -> None:
    scene.gateway.faults.skip_changes = 1_000
    began = await scene.write()
    await scene.right("changes skipped over the rate limit", began)
    assert 0 < scene.gateway.faults.skip_changes < 1_000
    assert scene.words[0] == NO_ECHO
    scene.gateway.faults.skip_changes = 0
    await scene.live_again()


@pytest.mark.slow
async def test_gaps_between_two_beats_are_closed_by_the_periodic_re_read(scene: Scene) -> None:
    """The slot is made anew in silence, and a few changes are skipped: nothing in the world shows either."""
    await scene.proved()
    await scene.gateway.drop_slot()
    began = await scene.write()
    await scene.gateway.create_slot()
    await scene.proved()
    changes = scene.listener.status.changes
    scene.gateway.faults.skip_changes = 6
    await scene.write()
    await eventually(lambda: scene.gateway.faults.skip_changes == 0, 1.0)
    took_s = await scene.right("slot re-created in silence", began, SILENT_GAP_S)
    assert took_s > 10.0
    assert scene.listener.status.changes == changes
    assert (scene.listener.status.sessions, scene.words) == (1, [])


# --- the server: sockets ---


async def test_the_sockets_freeze_and_even_pongs_stop(scene: Scene) -> None:
    scene.gateway.faults.freeze_sockets = True
    began = await scene.write()
    await scene.right("frozen sockets", began)
    assert scene.words[0] == NO_ECHO
    scene.gateway.faults.freeze_sockets = False
    await scene.live_again()


@pytest.mark.parametrize("status", [429, 503])
async def test_new_sockets_are_refused(scene: Scene, status: int) -> None:
    scene.gateway.faults.refuse_upgrade = status
    scene.gateway.cut_sockets()
    await eventually(lambda: scene.listener.status.last_end == f"no connection: HTTP {status}")
    # The doubt made everything be read again at once. From here on it is polled.
    await scene.settled()
    began = await scene.write()
    await scene.right(f"sockets refused with {status}", began)
    assert scene.gateway.socket_count == 0
    scene.gateway.faults.refuse_upgrade = None
    await scene.live_again()


async def test_without_the_migration_the_rows_are_polled(setting: Setting) -> None:
    async with setting.scene(migrated=False) as scene:
        assert ("WARNING", "Supabase without the monitor's tables") in scene.alerts
        assert scene.store.health().detail == NO_CANARY
        began = await scene.write()
        await scene.right("no migration, changes arrive", began, PUSHED_S)
        scene.gateway.faults.mute_changes = True
        began = await scene.write()
        await scene.right("no migration, changes muted", began)
        assert scene.listener.status.echoes == 0


# --- the server: REST and what it shows ---


ERRORS = (
    (500, '{"code": "XX000", "message": "internal", "details": null, "hint": null}', "application/json"),
    (200, "<html>log in first</html>", "text/html"),
    (502, "<html>Bad Gateway</html>", "text/html"),
)


@pytest.mark.parametrize("kind", ["errors", "time-outs", "cut connections"])
async def test_rest_fails_for_seconds_and_the_book_stays(setting: Setting, kind: str) -> None:
    """`errors`: 500 as JSON, a login page, a gateway's page, in turn."""
    async with setting.scene(SUPABASE_TIMEOUT_S="1") as scene:
        before, faults = book_of(scene.monitor), scene.gateway.faults
        faults.rest_delay_s = 60.0 if kind == "time-outs" else 0.0
        faults.refuse_rest = kind == "cut connections"
        faults.rest_fail.extend(ERRORS * 200 if kind == "errors" else ())
        await scene.write()
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            await asyncio.sleep(0.05)
            assert book_of(scene.monitor) == before
        assert scene.store.health().state.value == "away"
        assert kind != "errors" or len(faults.rest_fail) < len(ERRORS) * 200
        faults.rest_delay_s, faults.refuse_rest = 0.0, False
        faults.rest_fail.clear()
        await scene.right(f"REST with {kind}, from its return", time.monotonic())
        await scene.live_again()


async def test_changes_that_come_twice_late_and_in_the_wrong_order(scene: Scene) -> None:
    faults = scene.gateway.faults
    faults.repeat_events, faults.reverse_events, faults.delay_events_s = True, True, 1.0
    changes = scene.listener.status.changes
    for _ in range(3):
        began = await scene.write()
        await scene.right("changes twice, 1 s late, reversed", began)
    # At least: rows of a strategy, two levels, a leg, an edit, a close; each twice.
    await eventually(lambda: scene.listener.status.changes >= changes + 3 * 2 * 6)
    assert (scene.listener.status.sessions, scene.words) == (1, [])


async def test_row_level_security_hides_every_trade_and_the_book_stays(setting: Setting) -> None:
    role = setting.gateway.token("exit_monitor")
    async with setting.scene(SUPABASE_ROLE_TOKEN=role) as scene:
        before, sql = book_of(scene.monitor), scene.project.sql
        await sql.execute("DROP POLICY exit_monitor_reads ON trades")
        await sql.execute("ALTER TABLE trades ENABLE ROW LEVEL SECURITY")
        # No event tells of it: the next full read meets it.
        scene.gateway.cut_sockets()
        await eventually(lambda: ("PAGE", "trades not readable") in scene.alerts, 5.0)
        await scene.write()
        for _ in range(20):
            await asyncio.sleep(0.05)
            assert book_of(scene.monitor) == before
        await sql.execute("ALTER TABLE trades DISABLE ROW LEVEL SECURITY")
        await scene.right("every trade hidden, from their return", time.monotonic())
        await scene.live_again()


async def test_hidden_levels_stay_as_they_were_and_trades_go_on(setting: Setting) -> None:
    role = setting.gateway.token("exit_monitor")
    async with setting.scene(SUPABASE_ROLE_TOKEN=role) as scene:
        sql = scene.project.sql
        await sql.execute("DROP POLICY exit_monitor_reads ON strategy_exit_levels")
        await sql.execute("ALTER TABLE strategy_exit_levels ENABLE ROW LEVEL SECURITY")
        scene.gateway.cut_sockets()
        await eventually(lambda: ("PAGE", "row set aside") in scene.alerts, 5.0)
        began = time.monotonic()
        await sql.execute("UPDATE trades SET price = 101 WHERE strategy_id = 1")
        # Equal: the stop of each strategy is still that of its row, though nobody can read it.
        await scene.right("levels hidden", began)
        assert len(book_of(scene.monitor)) == 3
        await sql.execute("ALTER TABLE strategy_exit_levels DISABLE ROW LEVEL SECURITY")
        await scene.write()
        await scene.right("levels hidden, from their return", time.monotonic())


async def test_a_project_that_shows_no_trade_at_all_is_paged_at_start(gateway, database, exchange, tmp_path) -> None:
    """The newcomer's trap: the public key and row-level security. It looks like a quiet day."""
    project = Project(database)
    await project.open()
    async with monitor_on(gateway, exchange, tmp_path) as monitor:
        (page,) = (alert for alert in monitor.parts.runner.alerts if alert.subject == "no trades to be seen")
        assert page.severity is Severity.PAGE
        assert "row-level security" in page.text
    await project.close()
