"""The unmodified official client against the gateway: it works, and its known failures happen here too.

The numbers are those of the table of faults of realtime-py 2.34.1. Where the client stays dead for ever, the test gives
the gateway time to serve a change and shows that the client does not see it.
"""

import asyncio
import logging
import statistics
import time
from typing import Self

import asyncpg
import httpx
import pytest
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimePostgresChangesListenEvent
from supabase import AsyncClientOptions, create_async_client

from tests.fakes.waiting import eventually
from tests.gateway.server import SupabaseGateway

# The client itself asks for the deprecated code when a socket breaks. As an error the warning would end its listener.
pytestmark = pytest.mark.filterwarnings("ignore:ConnectionClosed.*is deprecated:DeprecationWarning")

DISCONNECT = (
    '{"ref": null, "event": "system", "topic": "realtime:t",'
    ' "payload": {"extension": "system", "status": "ok", "message": "Server requested disconnect"}}'
)
SERVED_S = 0.15
"""Long enough for the gateway to read a change and send it."""


class Watch:
    """One official client with one channel on the trades, and what its callbacks were told."""

    def __init__(self, gateway: SupabaseGateway, *, auto_reconnect: bool = True, max_retries: int = 5) -> None:
        self.client = AsyncRealtimeClient(
            f"{gateway.url}/realtime/v1",
            token=gateway.service_key,
            auto_reconnect=auto_reconnect,
            max_retries=max_retries,
            initial_backoff=0.02,
            timeout=2,
        )
        self.states: list[str] = []
        self.errors: list[str] = []
        self.systems: list[str] = []
        self.symbols: list[str] = []
        self.fails_at: str | None = None
        self.channel: AsyncRealtimeChannel = self.client.channel("t")
        # The first repeat of a join comes after 1 s, which is only waiting here.
        self.channel.rejoin_timer.timer_calc = lambda _: 0.05

    async def __aenter__(self) -> Self:
        self.channel.on_postgres_changes(RealtimePostgresChangesListenEvent.All, self._on_change, table="trades")
        self.channel.on_system(lambda payload: self.systems.append(payload.message))
        await self.channel.subscribe(self._on_state)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def live(self) -> None:
        await eventually(lambda: self.systems)

    def _on_state(self, state, error):
        self.states.append(state.value)
        if error is not None:
            self.errors.append(str(error))

    def _on_change(self, payload):
        symbol = payload["data"]["record"]["symbol"]
        self.symbols.append(symbol)
        if symbol == self.fails_at:
            raise ValueError(symbol)


@pytest.fixture
def database(emptied_database: str) -> str:
    return emptied_database


async def insert(sql: asyncpg.Connection, *symbols: str) -> None:
    for symbol in symbols:
        await sql.execute("insert into trades (symbol) values ($1)", symbol)


async def test_the_supabase_client_inserts_by_rest_and_hears_of_it(gateway):
    """Prints the time from the REST call to the callback."""
    heard: asyncio.Queue[int] = asyncio.Queue()
    confirmed = asyncio.Event()
    waits_ms = []
    gateway.faults.poll_s = gateway.faults.idle_poll_s = 0.1
    async with httpx.AsyncClient(timeout=5) as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        supabase = await create_async_client(gateway.url, gateway.service_key, options=options)
        channel = supabase.channel("t")
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.Insert,
            lambda payload: heard.put_nowait(payload["data"]["record"]["new_id"]),
            table="trades",
        )
        channel.on_system(lambda _: confirmed.set())
        await channel.subscribe()
        await asyncio.wait_for(confirmed.wait(), 5)
        for number in range(15):
            # At any point between two reads of the log, not always just after one.
            await asyncio.sleep(0.1 * number / 15)
            start = time.perf_counter()
            answer = await supabase.table("trades").insert({"symbol": "NIFTY", "quantity": number}).execute()
            assert await asyncio.wait_for(heard.get(), 5) == answer.data[0]["new_id"]
            waits_ms.append((time.perf_counter() - start) * 1000)
        await supabase.remove_all_channels()
    print(f"insert to callback: p50 {statistics.median(waits_ms):.0f} ms, worst {max(waits_ms):.0f} ms")  # noqa: T201
    assert statistics.median(waits_ms) < 250


async def test_1_an_exception_in_a_callback_kills_the_listener_in_silence(gateway, sql):
    async with Watch(gateway) as watch:
        await watch.live()
        watch.fails_at = "ONE"
        await insert(sql, "ONE", "TWO", "THREE")
        await asyncio.sleep(SERVED_S)
        assert watch.symbols == ["ONE"]
        assert watch.client.is_connected
        assert watch.channel.is_joined
        assert watch.client._listen_task.done()
        assert isinstance(watch.client._listen_task.exception(), ValueError)


async def test_2_a_channel_that_the_server_ended_is_never_joined_again(gateway, sql):
    async with Watch(gateway) as watch:
        await watch.live()
        await gateway.expire_channels()
        await eventually(lambda: watch.states == ["SUBSCRIBED", "CHANNEL_ERROR", "CLOSED"])
        await insert(sql, "LOST")
        await asyncio.sleep(SERVED_S)
        assert watch.client.is_connected
        assert (watch.client.channels, watch.symbols) == ({}, [])


async def test_3_a_failed_change_subscription_kills_the_channel_by_its_own_repeat(gateway, sql):
    async with Watch(gateway) as watch:
        await watch.live()
        await gateway.fail_changes(retry_s=0.2)
        await eventually(lambda: watch.states == ["SUBSCRIBED", "CHANNEL_ERROR", "SUBSCRIBED", "CLOSED"])
        # The server's new channel is alive, and the client knows of none.
        await eventually(lambda: gateway.live_count == 1)
        await insert(sql, "LOST")
        await asyncio.sleep(SERVED_S)
        assert (watch.client.channels, watch.symbols) == ({}, [])
        # Fault 9: the error never reaches the system callbacks.
        assert watch.systems == ["Subscribed to PostgreSQL"]


async def test_4_what_is_written_while_the_server_is_away_is_lost(gateway, sql):
    async with Watch(gateway, max_retries=50) as watch:
        await watch.live()
        await gateway.stop()
        await insert(sql, "LOST")
        await gateway.start()
        await eventually(lambda: watch.states.count("SUBSCRIBED") == 2)
        await eventually(lambda: len(watch.systems) == 2)
        await insert(sql, "KEPT")
        await eventually(lambda: watch.symbols)
        assert watch.symbols == ["KEPT"]


async def test_5_a_longer_outage_ends_the_client_for_ever(gateway, sql):
    async with Watch(gateway) as watch:
        await watch.live()
        await gateway.stop()
        await eventually(watch.client._listen_task.done)
        assert isinstance(watch.client._listen_task.exception(), OSError)
        await gateway.start()
        await insert(sql, "LOST")
        await asyncio.sleep(SERVED_S)
        assert watch.states == ["SUBSCRIBED", "CHANNEL_ERROR"]
        assert watch.channel.is_errored
        assert not watch.client.is_connected


async def test_6_a_dead_channel_layer_is_not_noticed(gateway, sql):
    async with Watch(gateway) as watch:
        await watch.live()
        gateway.faults.freeze_channels = True
        await insert(sql, "LOST")
        await asyncio.sleep(SERVED_S)
        await asyncio.wait_for(await watch.client._ws_connection.ping(), 1)
        assert watch.client.is_connected
        assert watch.channel.is_joined
        assert (watch.states, watch.symbols) == (["SUBSCRIBED"], [])
        assert not watch.client._listen_task.done()


async def test_7_what_is_written_after_subscribed_and_before_the_confirmation_is_lost(gateway, sql):
    gateway.faults.confirm_delay_s = 0.2
    async with Watch(gateway) as watch:
        assert watch.states == ["SUBSCRIBED"]
        await insert(sql, "LOST")
        await watch.live()
        await insert(sql, "KEPT")
        await eventually(lambda: watch.symbols)
        assert watch.symbols == ["KEPT"]


async def test_8_a_callback_added_after_the_join_hears_nothing(gateway, sql):
    late: list[object] = []
    async with Watch(gateway) as watch:
        await watch.live()
        watch.channel.on_postgres_changes(RealtimePostgresChangesListenEvent.All, late.append, table="trades")
        await insert(sql, "NIFTY")
        await eventually(lambda: watch.symbols)
        assert late == []


@pytest.mark.parametrize(
    "text", [DISCONNECT, "{", '{"event": "news", "topic": "realtime:t", "payload": {}, "ref": null}']
)
async def test_10_messages_that_the_client_does_not_know_are_logged_and_dropped(gateway, sql, caplog, text):
    async with Watch(gateway) as watch:
        await watch.live()
        with caplog.at_level(logging.ERROR, "realtime"):
            gateway.send_raw(text)
            await insert(sql, "NIFTY")
            await eventually(lambda: watch.symbols)
        assert "Unrecognized message format" in caplog.text
        assert (watch.states, len(watch.systems)) == (["SUBSCRIBED"], 1)


async def test_an_event_without_a_time_is_rejected_by_the_client(gateway, sql, caplog):
    """Error 401 and 400 come without commit_timestamp: the official client never sees them."""
    await sql.execute("create table public.loose (symbol text)")
    await sql.execute("alter publication supabase_realtime add table public.loose")
    async with Watch(gateway) as watch:
        await watch.live()
        other = watch.client.channel("other")
        other.on_postgres_changes(RealtimePostgresChangesListenEvent.All, watch._on_change, table="loose")
        other.on_system(lambda payload: watch.systems.append(payload.message))
        await other.subscribe()
        await eventually(lambda: len(watch.systems) == 2)
        await sql.execute("insert into loose values ('LOST')")
        await eventually(lambda: "Unrecognized message format" in caplog.text)
        assert watch.symbols == []
    await sql.execute("drop table loose")
