"""The ten faults of the official realtime client (numbered as in supabase_and_redis 1.3), each under a live monitor.

After each the book equals the database within 5 s of the write, or of the return of a server that was away.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from core.realtime_session import ChangeSeen, Inbox, RealtimeSession
from core.realtime_watch import SessionState
from tests.gateway.channels import channels_of
from tests.integration import supabase_faults
from tests.integration.processes import eventually
from tests.integration.supabase_faults import NO_ECHO, PUSHED_S, Scene, Setting
from tests.integration.supabase_scene import book_of

if TYPE_CHECKING:
    from tests.gateway.postgres import Cluster
    from tests.gateway.server import SupabaseGateway

setting, scene = supabase_faults.setting, supabase_faults.scene
pytestmark = supabase_faults.allow_deprecated_code

DATABASE_DOWN = "Unable to connect to the project database"
WATCHED = {"trades", "strategies", "strategy_risk_management", "strategy_exit_levels", "monitor_lease"}
DISCONNECT = (
    '{"ref": null, "event": "system", "topic": "realtime:options-exit-monitor",'
    ' "payload": {"extension": "system", "status": "ok", "message": "Server requested disconnect"}}'
)
GARBAGE = (DISCONNECT, "{", "", "null", '{"event": "news", "topic": "realtime:options-exit-monitor", "payload": {}}')


def tables_bound(gateway: SupabaseGateway) -> list[set[str]]:
    """Of each channel that is joined now, what it was joined with."""
    return [{binding.table for binding in channel.bindings} for channel in channels_of(gateway._sockets)]


async def test_fault_01_a_store_that_raises_does_not_silence_the_listener(scene: Scene) -> None:
    changed, raised = scene.store.changed, []

    def fail_once(change: object) -> None:
        scene.store.changed = changed  # type: ignore[method-assign]
        raised.append(change)
        raise ValueError("a handler's bug")

    scene.store.changed = fail_once  # type: ignore[method-assign]
    began = await scene.write()
    await scene.right("fault 1 (the store raises)", began)
    assert len(raised) == 1
    assert scene.listener.status.last_end == "the store could not take a change"
    await scene.live_again()


async def test_fault_01_a_callback_that_raises_kills_the_client_and_is_noticed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, raised = Inbox.put, []

    def fail_once(inbox: Inbox, fact: object) -> None:
        if isinstance(fact, ChangeSeen) and not raised:
            raised.append(fact)
            raise ValueError("a callback's bug")
        put(inbox, fact)  # type: ignore[arg-type]

    monkeypatch.setattr(Inbox, "put", fail_once)
    began = await scene.write()
    await scene.right("fault 1 (a callback raises)", began)
    assert len(raised) == 1
    assert scene.listener.status.last_end == "listening ended: ValueError"
    await scene.live_again()


async def test_fault_02_the_server_ends_the_channel_for_an_expired_token(scene: Scene) -> None:
    await scene.gateway.expire_channels()
    assert scene.gateway.live_count == 0
    began = await scene.write()
    await scene.right("fault 2 (token expired)", began)
    assert scene.listener.status.last_end.startswith("channel C")
    await scene.live_again()
    assert scene.gateway.socket_count == 1


async def test_fault_03_the_database_is_down_for_the_change_worker(scene: Scene) -> None:
    """The server goes on by itself soon; the client would join again and lose both channels."""
    scene.gateway.faults.changes_error, scene.gateway.faults.changes_retry_s = DATABASE_DOWN, 0.3
    await scene.gateway.fail_changes(DATABASE_DOWN, retry_s=0.3)
    began = await scene.write()
    await scene.right("fault 3 (change worker without its database)", began)
    await eventually(lambda: scene.listener.status.sessions >= 3)
    scene.gateway.faults.changes_error = None
    await scene.live_again()
    assert scene.words[0] == f"channel CHANNEL_ERROR: {DATABASE_DOWN}"


async def test_fault_03_the_database_itself_is_down(scene: Scene, cluster: Cluster) -> None:
    before = book_of(scene.monitor)
    await scene.project.close()
    await cluster.stop()
    try:
        await asyncio.sleep(2.0)
        assert book_of(scene.monitor) == before
        assert scene.gateway.live_count == 0
        assert 503 in {request.status for request in scene.gateway.requests}
    finally:
        await cluster.start()
    began = time.monotonic()
    await scene.project.open(migrated=False)
    await scene.write()
    await scene.right("fault 3 (database down 2 s)", began)
    assert "confirmed" in scene.words
    await scene.live_again()


@pytest.mark.parametrize("away_s", [2.0, pytest.param(20.0, marks=pytest.mark.slow)])
async def test_fault_04_and_05_the_server_is_away(scene: Scene, away_s: float) -> None:
    """20 s is longer than the client's five tries."""
    before = book_of(scene.monitor)
    await scene.gateway.stop()
    began = time.monotonic()
    await scene.write()
    while time.monotonic() - began < away_s:
        await asyncio.sleep(0.1)
        assert book_of(scene.monitor) == before
    assert scene.store.health().state.value == "away"
    await scene.gateway.start()
    await scene.right(f"fault {4 if away_s < 10 else 5} (server away {away_s:g} s)", time.monotonic())
    assert ("WARNING", "trades not readable") in scene.alerts
    assert (("PAGE", "trades not readable") in scene.alerts) == (away_s > 15)
    assert ("INFO", "trades readable again") in scene.alerts
    await scene.live_again()


async def test_fault_06_channel_dead_while_pongs_go_on(scene: Scene) -> None:
    scene.gateway.freeze_open_channels()
    began = await scene.write()
    await scene.right("fault 6 (channel dead, pongs go on)", began)
    # The socket was there to the end: nothing but the missing echo told of it.
    assert scene.words[0] == NO_ECHO
    await scene.live_again()


async def test_fault_07_a_write_between_join_and_confirmation(scene: Scene) -> None:
    """Just before the confirmation: whatever was read for other reasons was read before."""
    scene.gateway.faults.confirm_delay_s = 1.0
    scene.gateway.cut_sockets()
    await eventually(lambda: scene.listener.state is SessionState.JOINED)
    await asyncio.sleep(0.4)
    assert scene.gateway.live_count == 0
    began = await scene.write()
    assert scene.listener.state is SessionState.JOINED
    changes = scene.listener.status.changes
    took_s = await scene.right("fault 7 (write between join and confirmation)", began, PUSHED_S)
    assert took_s > 0.2
    assert scene.listener.status.changes == changes, "the rows were to be lost for the change stream"
    await scene.live_again()


async def test_fault_08_all_tables_are_bound_before_each_join(scene: Scene) -> None:
    sql = scene.project.sql
    for session in (1, 2):
        assert tables_bound(scene.gateway) == [WATCHED]
        began = await scene.write()
        await scene.right(f"fault 8 (bindings of session {session})", began, PUSHED_S)
        changes = scene.listener.status.changes
        await sql.execute("UPDATE strategies SET spread_type = 'NET_DEBIT' WHERE id = 3")
        await sql.execute("INSERT INTO strategy_risk_management (strategy_id) VALUES (3)")
        await eventually(lambda at_least=changes + 2: scene.listener.status.changes >= at_least, PUSHED_S)
        if session == 1:
            scene.gateway.cut_sockets()
            await eventually(lambda: scene.listener.status.sessions == 2)
            await eventually(scene.is_live)


async def test_fault_09_a_system_error_never_reaches_the_system_callback(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server will not try again within the test: only the way through the subscribe callback is left."""
    heard: list[object] = []
    on_system = RealtimeSession._on_system

    def note(session: RealtimeSession, message: object) -> None:
        heard.append(getattr(message, "status", None))
        on_system(session, message)

    monkeypatch.setattr(RealtimeSession, "_on_system", note)
    async with setting.scene() as scene:
        await scene.gateway.fail_changes(DATABASE_DOWN, retry_s=60.0)
        began = await scene.write()
        await scene.right("fault 9 (system error past on_system)", began)
        assert scene.words[0] == f"channel CHANNEL_ERROR: {DATABASE_DOWN}"
        await scene.live_again()
        assert set(heard) == {"ok"}


async def test_fault_10_messages_that_the_client_cannot_read(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    for text in GARBAGE:
        scene.gateway.send_raw(text)
    began = await scene.write()
    await scene.right("fault 10 (garbage)", began, PUSHED_S)
    assert "Unrecognized message format" in caplog.text
    assert (scene.listener.status.sessions, scene.words) == (1, [])
    # The server means it: it closes the socket after the message that the client could not read.
    scene.gateway.send_raw(DISCONNECT)
    scene.gateway.close_sockets(1000)
    began = await scene.write()
    await scene.right("fault 10 (disconnected by the server)", began)
    await eventually(lambda: scene.listener.status.sessions == 2)
    await scene.live_again()
