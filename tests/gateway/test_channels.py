"""The messages of the channels, one by one, in the order the real server sends them."""

import asyncio
import json

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.fakes.waiting import eventually
from tests.gateway.raw_client import TRADES, raw_client
from tests.gateway.server import SupabaseGateway


@pytest.fixture
def database(emptied_database: str) -> str:
    return emptied_database


async def test_a_join_is_answered_as_recorded(gateway):
    async with raw_client(gateway) as client:
        ref = await client.join(TRADES)
        reply, presence, system = [await client.receive() for _ in range(3)]
    binding_id = reply["payload"]["response"]["postgres_changes"][0]["id"]
    assert isinstance(binding_id, int)
    assert reply == {
        "ref": ref,
        "event": "phx_reply",
        "topic": "realtime:t",
        "payload": {"status": "ok", "response": {"postgres_changes": [TRADES | {"id": binding_id}]}},
    }
    assert presence == {"ref": None, "event": "presence_state", "payload": {}, "topic": "realtime:t"}
    assert system == {
        "ref": None,
        "event": "system",
        "topic": "realtime:t",
        "payload": {
            "message": "Subscribed to PostgreSQL",
            "status": "ok",
            "extension": "postgres_changes",
            "channel": "t",
        },
    }


async def test_a_join_without_changes_gets_no_system_message(gateway):
    async with raw_client(gateway) as client:
        await client.join()
        assert await client.quiet() == ["phx_reply", "presence_state"]


async def test_a_heartbeat_is_answered(gateway):
    async with raw_client(gateway) as client:
        await client.socket.send(
            '{"event": "heartbeat", "payload": {}, "topic": "phoenix", "ref": null, "join_ref": null}'
        )
        assert await client.receive() == {
            "ref": None,
            "event": "phx_reply",
            "payload": {"status": "ok", "response": {}},
            "topic": "phoenix",
        }


async def test_leaving_is_answered_and_closed_and_ends_the_events(gateway, sql):
    async with raw_client(gateway) as client:
        join_ref = await client.join_live()
        ref = await client.send("realtime:t", "phx_leave", join_ref=join_ref)
        reply, close = await client.receive(), await client.receive()
        assert (reply["event"], reply["ref"], reply["payload"]["status"]) == ("phx_reply", ref, "ok")
        assert (close["event"], close["ref"], close["payload"]) == ("phx_close", join_ref, {})
        await sql.execute("insert into trades (symbol) values ('NIFTY')")
        assert await client.quiet() == []


async def test_a_second_join_closes_the_first_channel_after_its_own_answer(gateway, sql):
    async with raw_client(gateway) as client:
        first = await client.join_live()
        second = await client.join(TRADES)
        reply, close, presence, system = [await client.receive() for _ in range(4)]
        assert (reply["event"], reply["ref"]) == ("phx_reply", second)
        assert (close["event"], close["ref"]) == ("phx_close", first)
        assert (presence["event"], system["event"]) == ("presence_state", "system")
        await sql.execute("insert into trades (symbol) values ('NIFTY')")
        assert await client.quiet() == ["postgres_changes"]


async def test_a_replaced_channel_is_neither_confirmed_nor_expired(gateway):
    gateway.faults.confirm_delay_s = 0.05
    async with raw_client(gateway) as client:
        await client.join(TRADES, token=gateway.token("authenticated", 0.15))
        await client.join(TRADES)
        assert (await client.quiet(0.3)).count("system") == 1


async def test_topics_that_are_not_there_are_refused(gateway):
    async with raw_client(gateway) as client:
        for topic, event in (("elsewhere", "phx_join"), ("realtime:t", "broadcast")):
            ref = await client.send(topic, event)
            reply = await client.receive()
            assert (reply["ref"], reply["payload"]) == (
                ref,
                {"status": "error", "response": {"reason": "unmatched topic"}},
            )


@pytest.mark.parametrize("key", ["", "no.real.token", "expired", "foreign"])
async def test_a_bad_key_is_refused_at_the_upgrade(gateway, key):
    if key == "expired":
        key = gateway.token("anon", -5)
    elif key == "foreign":
        key = SupabaseGateway("postgresql://nowhere").anon_key
    with pytest.raises(InvalidStatus) as refused:
        async with raw_client(gateway, key):
            pass
    assert refused.value.response.status_code == 401
    assert gateway.requests[-1].status == 401


async def test_the_log_of_requests_shows_no_key(gateway):
    async with raw_client(gateway) as client:
        await client.join_live()
    async with aiohttp.ClientSession() as session:
        await session.get(gateway.url + f"/nowhere?apikey={gateway.anon_key}&a=1")
    upgrade, other = gateway.requests
    assert (upgrade.method, upgrade.path, upgrade.status) == ("GET", "/realtime/v1/websocket?vsn=1.0.0", 101)
    assert (other.path, other.status) == ("/nowhere?a=1", 404)
    assert not any(key in repr(gateway.requests) for key in (gateway.service_key, gateway.anon_key))


async def test_an_expired_token_at_the_join_is_an_error_reply(gateway):
    async with raw_client(gateway) as client:
        await client.join(TRADES, token=gateway.token("authenticated", -3))
        reply = await client.receive()
    assert reply["payload"]["status"] == "error"
    assert reply["payload"]["response"]["reason"] == "InvalidJWTToken: Token has expired 3 seconds ago"


async def test_a_channel_ends_with_its_token(gateway):
    async with raw_client(gateway) as client:
        join_ref = await client.join_live(token=gateway.token("authenticated", 0.3))
        error, close = await client.receive(), await client.receive()
    assert error["payload"] == {
        "message": "Token has expired 0 seconds ago",
        "status": "error",
        "extension": "system",
        "channel": "t",
    }
    assert (close["event"], close["ref"]) == ("phx_close", join_ref)


async def test_a_new_token_keeps_the_channel_and_is_confirmed_again(gateway, sql):
    async with raw_client(gateway) as client:
        old = gateway.token("authenticated", 0.4)
        await client.join_live(token=old)
        await client.send("realtime:t", "access_token", {"access_token": old})
        await client.send("realtime:t", "access_token", {"access_token": None})
        assert await client.quiet() == []
        await client.send("realtime:t", "access_token", {"access_token": gateway.token("authenticated")})
        assert await client.quiet(0.6) == ["system"]
        assert client.all[-1]["payload"]["status"] == "ok"
        await sql.execute("insert into trades (symbol) values ('NIFTY')")
        assert (await client.change())["record"]["symbol"] == "NIFTY"


async def test_a_bad_new_token_ends_the_channel(gateway):
    async with raw_client(gateway) as client:
        await client.join_live()
        await client.send("realtime:t", "access_token", {"access_token": gateway.token("anon", -9)})
        assert (await client.receive())["payload"]["message"] == "Token has expired 9 seconds ago"
        assert (await client.receive())["event"] == "phx_close"


@pytest.mark.parametrize(
    "binding",
    [
        {"event": "*", "schema": "public", "table": "strategy_details"},
        {"event": "*", "schema": "public", "table": "nowhere"},
        {"event": "*", "schema": "public", "table": "trades", "filter": "nowhere=eq.1"},
    ],
)
async def test_what_cannot_be_subscribed_is_a_system_error_without_a_retry(gateway, binding):
    gateway.faults.changes_retry_s = 0.05
    async with raw_client(gateway) as client:
        await client.join(TRADES, binding)
        error = await client.wait("system")
        assert error["payload"]["status"] == "error"
        assert error["payload"]["message"].startswith("Unable to subscribe to changes with given parameters. ")
        assert await client.quiet() == []


async def test_a_role_that_the_database_does_not_have_is_a_system_error(gateway):
    async with raw_client(gateway) as client:
        await client.join(TRADES, token=gateway.token("nobody_knows"))
        assert (await client.wait("system"))["payload"]["status"] == "error"


async def test_what_is_written_between_the_answer_and_the_confirmation_is_lost(gateway, sql):
    gateway.faults.confirm_delay_s = 0.15
    async with raw_client(gateway) as client:
        await client.join(TRADES)
        await client.wait("phx_reply")
        await sql.execute("insert into trades (symbol) values ('LOST')")
        await client.wait("system")
        await sql.execute("insert into trades (symbol) values ('KEPT')")
        assert (await client.change())["record"]["symbol"] == "KEPT"
        assert await client.quiet() == []


async def test_broadcasts_go_to_the_others_and_are_acknowledged(gateway):
    async with raw_client(gateway) as one, raw_client(gateway) as two:
        await one.join_live()
        await two.join_live()
        payload = {"type": "broadcast", "event": "ping", "payload": {"n": 1}}
        ref = await one.send("realtime:t", "broadcast", payload)
        reply = await one.receive()
        assert (reply["event"], reply["ref"], reply["payload"]["status"]) == ("phx_reply", ref, "ok")
        assert (await two.wait("broadcast"))["payload"] == payload


async def test_a_stopped_gateway_cuts_everything_and_comes_back_on_the_same_port(gateway, sql):
    address = gateway.url
    async with raw_client(gateway) as client:
        await client.join_live()
        await gateway.stop()
        with pytest.raises(ConnectionClosed) as cut:
            await client.receive()
        assert cut.value.rcvd is None
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            async with raw_client(gateway):
                pass
    assert await sql.fetchval("select count(*) from pg_replication_slots where database = current_database()") == 0
    await gateway.start()
    assert gateway.url == address
    async with raw_client(gateway) as client:
        await client.join_live()
        await sql.execute("insert into trades (symbol) values ('BACK')")
        assert (await client.change())["record"]["symbol"] == "BACK"


async def test_a_database_that_went_away_is_found_again_and_confirmed_again(gateway, sql):
    async with raw_client(gateway) as client:
        await client.join_live()
        await sql.execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where database = current_database()"
        )
        assert (await client.wait("system"))["payload"]["status"] == "ok"
        await sql.execute("insert into trades (symbol) values ('BACK')")
        assert (await client.change())["record"]["symbol"] == "BACK"


async def test_two_gateways_over_one_database_have_their_own_slots(gateway, database, sql):
    async with SupabaseGateway(database) as second, raw_client(gateway) as one, raw_client(second) as two:
        await one.join_live()
        await two.join_live()
        await sql.execute("insert into trades (symbol) values ('NIFTY')")
        assert (await one.change())["record"] == (await two.change())["record"]


async def test_sockets_are_counted(gateway):
    async with raw_client(gateway) as client:
        await client.join_live()
        assert (gateway.socket_count, gateway.live_count) == (1, 1)
    await eventually(lambda: gateway.socket_count == 0)
    assert gateway.live_count == 0


async def test_garbage_from_a_client_ends_its_socket_only(gateway):
    async with raw_client(gateway) as other, raw_client(gateway) as client:
        await client.socket.send("{")
        with pytest.raises(ConnectionClosed):
            await client.receive()
        await other.join_live()
        await other.socket.send(json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "9"}))
        assert (await other.wait("phx_reply"))["ref"] == "9"


async def test_the_channel_confirms_when_it_was_told_to(gateway):
    gateway.faults.confirm_delay_s = 0.25
    async with raw_client(gateway) as client:
        start = asyncio.get_running_loop().time()
        await client.join_live()
        assert 0.25 <= asyncio.get_running_loop().time() - start < 0.6
