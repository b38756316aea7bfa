"""Each fault does what it says, seen on the wire."""

import asyncio
import json

import asyncpg
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.fakes.waiting import eventually
from tests.gateway.raw_client import TRADES, raw_client

HEARTBEAT = json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": None, "join_ref": None})


@pytest.fixture
def database(emptied_database: str) -> str:
    return emptied_database


async def insert(sql: asyncpg.Connection, *symbols: str) -> None:
    """Each in its own transaction."""
    for symbol in symbols:
        await sql.execute("insert into trades (symbol) values ($1)", symbol)


async def symbols_of(client, count: int) -> list[str]:
    return [(await client.change())["record"]["symbol"] for _ in range(count)]


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_an_upgrade_can_be_refused(gateway, status):
    gateway.faults.refuse_upgrade = status
    with pytest.raises(InvalidStatus) as refused:
        async with raw_client(gateway):
            pass
    assert refused.value.response.status_code == status
    gateway.faults.refuse_upgrade = None
    async with raw_client(gateway) as client:
        await client.join_live()


async def test_expired_channels_end_as_by_their_token(gateway, sql):
    async with raw_client(gateway) as client:
        join_ref = await client.join_live()
        await gateway.expire_channels()
        error, close = await client.receive(), await client.receive()
        assert (error["event"], error["payload"]["extension"]) == ("system", "system")
        assert (close["event"], close["ref"]) == ("phx_close", join_ref)
        await insert(sql, "LOST")
        assert await client.quiet() == []


async def test_failed_changes_come_back_by_themselves_and_have_a_gap(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        await gateway.fail_changes("the database is tired", retry_s=0.1)
        error = await client.receive()
        assert error["payload"] == {
            "message": "the database is tired",
            "status": "error",
            "extension": "postgres_changes",
            "channel": "t",
        }
        await insert(sql, "LOST")
        assert (await client.receive())["payload"]["status"] == "ok"
        await insert(sql, "KEPT")
        assert await symbols_of(client, 1) == ["KEPT"]


async def test_changes_can_refuse_to_start_for_a_while(gateway, sql):
    gateway.faults.changes_error = "not now"
    gateway.faults.changes_retry_s = 0.05
    async with raw_client(gateway) as client:
        await client.join(TRADES)
        for _ in range(2):
            assert (await client.wait("system"))["payload"]["message"] == "not now"
        gateway.faults.changes_error = None
        while (await client.wait("system"))["payload"]["status"] != "ok":
            pass
        await insert(sql, "KEPT")
        assert await symbols_of(client, 1) == ["KEPT"]


async def test_muted_changes_are_lost_while_everything_else_goes_on(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        gateway.faults.mute_changes = True
        await insert(sql, "LOST")
        await client.join_live(topic="realtime:other")
        await client.socket.send(HEARTBEAT)
        assert await client.quiet() == ["phx_reply"]
        assert "postgres_changes" not in {message["event"] for message in client.all}
        gateway.faults.mute_changes = False
        await insert(sql, "KEPT")
        assert await symbols_of(client, 1) == ["KEPT"]


async def test_a_frozen_channel_layer_answers_nothing_but_pings(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        gateway.faults.freeze_channels = True
        await insert(sql, "LOST")
        await client.socket.send(HEARTBEAT)
        await client.join(topic="realtime:other")
        assert await client.quiet() == []
        await asyncio.wait_for(await client.socket.ping(), 1)
        async with raw_client(gateway) as late:
            await late.join(TRADES)
            assert await late.quiet() == []
            assert gateway.live_count == 1


async def test_the_open_channels_alone_can_be_frozen(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        gateway.freeze_open_channels()
        async with raw_client(gateway) as late:
            await late.join_live()
            await insert(sql, "NIFTY")
            assert await symbols_of(late, 1) == ["NIFTY"]
        await client.socket.send(HEARTBEAT)
        assert await client.quiet(0.1) == []
        await asyncio.wait_for(await client.socket.ping(), 1)


async def test_frozen_sockets_keep_the_connection_and_say_nothing(gateway, sql):
    async with raw_client(gateway) as client, raw_client(gateway) as other:
        await client.join_live()
        gateway.faults.freeze_sockets = True
        pong = await client.socket.ping()
        await insert(sql, "LATE")
        await client.socket.send(HEARTBEAT)
        assert await client.quiet() == []
        assert not pong.done()
        assert gateway.socket_count == 2
        start = asyncio.get_running_loop().time()
        await other.socket.close()  # It gives up after 0.2 s without an answer.
        assert asyncio.get_running_loop().time() - start > 0.15
        opening = asyncio.create_task(raw_client(gateway).__aenter__())
        await asyncio.sleep(0.1)
        assert not opening.done()
        opening.cancel()
        gateway.faults.freeze_sockets = False
        await asyncio.wait_for(pong, 1)
        assert sorted(await client.quiet()) == ["phx_reply", "postgres_changes"]


async def test_a_recreated_slot_loses_what_was_not_read(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        await gateway.drop_slot()
        await insert(sql, "LOST")
        await asyncio.sleep(0.06)
        await gateway.create_slot()
        await insert(sql, "KEPT")
        assert await symbols_of(client, 1) == ["KEPT"]
        await gateway.recreate_slot()
        await insert(sql, "KEPT TOO")
        assert await client.quiet() == ["postgres_changes"]


async def test_skipped_changes_are_the_next_ones(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        gateway.faults.skip_changes = 2
        await insert(sql, "LOST", "LOST", "KEPT")
        assert await symbols_of(client, 1) == ["KEPT"]


async def test_a_restarted_worker_confirms_again_and_has_a_gap(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        restart = asyncio.create_task(gateway.restart_changes(0.1))
        await eventually(lambda: gateway.live_count == 0)
        await insert(sql, "LOST")
        await restart
        assert (await client.receive())["payload"]["status"] == "ok"
        await insert(sql, "KEPT")
        assert await symbols_of(client, 1) == ["KEPT"]


async def test_a_crashed_channel_says_so(gateway):
    async with raw_client(gateway) as client:
        join_ref = await client.join_live()
        gateway.crash_channels()
        message = await client.receive()
        assert (message["event"], message["ref"]) == ("phx_error", join_ref)
        assert message["payload"] == {"reason": "channel_crash"}
        assert gateway.live_count == 0
        await client.join_live()


async def test_cut_sockets_see_no_close_frame(gateway):
    async with raw_client(gateway) as client:
        await client.join_live()
        gateway.cut_sockets()
        with pytest.raises(ConnectionClosed) as cut:
            await client.receive()
    assert cut.value.rcvd is None


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4003])
async def test_closed_sockets_see_the_code(gateway, code):
    async with raw_client(gateway) as client:
        await client.join_live()
        gateway.close_sockets(code)
        with pytest.raises(ConnectionClosed) as closed:
            await client.receive()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code


async def test_a_silent_client_is_cut(gateway):
    gateway.faults.silence_limit_s = 0.1
    async with raw_client(gateway) as client:
        with pytest.raises(ConnectionClosed):
            await client.receive()


async def test_raw_text_reaches_every_socket(gateway):
    async with raw_client(gateway) as one, raw_client(gateway) as two:
        await eventually(lambda: gateway.socket_count == 2)
        gateway.send_raw("no json")
        assert [await one.socket.recv(), await two.socket.recv()] == ["no json"] * 2


async def test_events_can_be_repeated_reversed_and_late(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        gateway.faults.repeat_events = True
        await insert(sql, "A")
        assert await symbols_of(client, 2) == ["A", "A"]
        gateway.faults.repeat_events = False
        gateway.faults.reverse_events = True
        async with sql.transaction():
            await insert(sql, "B", "C")
        assert await symbols_of(client, 2) == ["C", "B"]
        gateway.faults.reverse_events = False
        gateway.faults.delay_events_s = 0.2
        await insert(sql, "D")
        assert await client.quiet(0.12) == []
        assert await symbols_of(client, 1) == ["D"]
