"""The listener with the official client against a server that misbehaves: what the store is told, and what is left behind."""

import asyncio
import gc
import logging
import time

import pytest

from core.realtime_changes import ANYTHING
from core.realtime_watch import NO_CANARY, SessionState, WatchLimits
from core.stores.change_sink import RowChange
from core.stores.supabase_access import SupabaseAccess, TableNames
from core.supabase_realtime import FACTS_PER_TURN, RealtimeSettings
from tests.fakes.waiting import eventually
from tests.unit.realtime.listening import KEY, ME, QUICK, ROLE_TOKEN, NotedSink, answered, listener, running
from tests.unit.realtime.phoenix import Phoenix

# The official client reads ConnectionClosed.code, which its websockets deprecates; as an error it would be another fault.
pytestmark = pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")

TABLES = ["trades", "strategies", "strategy_risk_management", "strategy_exit_levels"]


@pytest.fixture
async def server():
    async with Phoenix() as phoenix:
        yield phoenix


@pytest.fixture
def sink():
    return NotedSink()


def asked_tables(server):
    return [binding["table"] for binding in server.joins[-1]["config"]["postgres_changes"]]


async def test_live_only_after_the_change_subscription_is_confirmed(server, sink):
    server.confirms = False
    slow = RealtimeSettings(limits=WatchLimits(settle_s=30))
    listening = listener(server.url, sink, slow)
    async with running(listening.run()):
        await eventually(lambda: listening.state is SessionState.JOINED)
        await server.change("trades", {"new_id": 1, "strategy_id": 2})
        await eventually(lambda: sink.words)
        assert sink.words == [RowChange("trades", 1, 2)]
        await server.confirm()
        await eventually(lambda: sink.confirmations == 1)
        # The server's change worker came back: everything is to be read again.
        await server.confirm()
        await eventually(lambda: sink.confirmations == 2)
        assert sink.reasons == []
        assert listening.state is SessionState.LIVE


async def test_system_messages_of_other_extensions_confirm_nothing(server, sink):
    server.confirms = False
    async with running(listener(server.url, sink, RealtimeSettings()).run()):
        await eventually(lambda: server.joins)
        await server.say("system", {"message": "m", "status": "ok", "extension": "broadcast", "channel": "t"})
        await server.change("trades", {"new_id": 1, "strategy_id": 2})
        await eventually(lambda: sink.changes)
        assert sink.confirmations == 0


@pytest.mark.parametrize("role_token", [None, ROLE_TOKEN])
async def test_the_key_opens_the_gateway_and_the_token_asks_the_database(server, sink, role_token):
    async with running(listener(server.url, sink, role_token=role_token).run()):
        await eventually(lambda: sink.confirmations)
    assert server.joins[0]["access_token"] == (role_token or KEY)
    assert "apikey=sb_secret_K3y%2Bof%2Fthe%3Dgateway" in server.paths[0]
    assert asked_tables(server) == [*TABLES, "monitor_lease"]
    assert all("filter" not in binding for binding in server.joins[0]["config"]["postgres_changes"])


async def test_names_of_schema_and_tables_are_the_projects(server, sink):
    names = TableNames(schema="desk", trades="t", strategies="s", risks="r", levels="l")
    async with running(listener(server.url, sink, tables=names, canary=None).run()):
        await eventually(lambda: sink.words)
        await server.change("l", {"id": 4, "strategy_id": 9}, schema="desk")
        await eventually(lambda: sink.changes)
    assert asked_tables(server) == ["t", "s", "r", "l"]
    assert {binding["schema"] for binding in server.joins[0]["config"]["postgres_changes"]} == {"desk"}
    assert sink.changes == [RowChange("strategy_exit_levels", 4, 9)]


async def test_without_canary_the_store_goes_on_polling_and_changes_still_come(server, sink):
    listening = listener(server.url, sink, canary=None)
    async with running(listening.run()):
        await eventually(lambda: sink.words)
        assert sink.words == [("doubted", NO_CANARY)]
        await server.change("trades", None, "DELETE", old_record={"new_id": 3})
        await eventually(lambda: sink.changes)
        await server.confirm()
        await eventually(lambda: len(sink.reasons) == 2)
        assert sink.words == [("doubted", NO_CANARY), RowChange("trades", 3, None), ("doubted", NO_CANARY)]
        assert listening.state is SessionState.UNPROVEN
    assert asked_tables(server) == TABLES


async def test_echoes_keep_a_session_alive_and_silence_ends_it(server, sink):
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: sink.confirmations)
        for number in range(1, 8):
            listening.beat_answered(answered(number))
            await server.echo(number)
            await asyncio.sleep(0.1)
        assert (sink.words, listening.status.echoes) == (["confirmed"], 7)
        began = time.monotonic()
        listening.beat_answered(answered(8))
        await eventually(lambda: sink.reasons)
        assert 0.25 < time.monotonic() - began < 0.6
        assert sink.reasons == ["a written beat did not come back within 0.3 s"]
        await eventually(lambda: sink.confirmations == 2)
    assert server.connections == 2


async def test_a_beat_of_another_monitor_proves_nothing(server, sink):
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: sink.confirmations)
        listening.beat_answered(answered(1))
        await server.echo(1, holder="somebody else")
        await eventually(lambda: sink.reasons)


async def test_without_beats_the_session_is_kept_but_not_believed(server, sink):
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: sink.reasons)
        assert listening.state is SessionState.UNPROVEN
        listening.beat_answered(answered(1))
        await server.echo(1)
        await eventually(lambda: sink.confirmations == 2)
        assert listening.state is SessionState.LIVE
    assert server.connections == 1


FAULTS = {
    "closed by the server (1000)": lambda server: server.close_sockets(1000),
    "going away (1001)": lambda server: server.close_sockets(1001),
    "server error (1011)": lambda server: server.close_sockets(1011),
    "too big (1009)": lambda server: server.say_raw(" " * (2**20 + 1)),
    "phx_close": lambda server: server.say("phx_close", {}, "1"),
    "phx_error": lambda server: server.say("phx_error", {"reason": "channel_crash"}, "1"),
    "system error": lambda server: server.fail("Unable to connect to the project database"),
    "token expired": lambda server: server.say(
        "system", {"extension": "system", "status": "error", "message": "Token has expired", "channel": "t"}
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_end_is_noticed_at_once_and_cured(server, sink, fault):
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: sink.confirmations == 1)
        await FAULTS[fault](server)
        await eventually(lambda: sink.confirmations == 2, within_s=0.5)
        await server.change("trades", {"new_id": 1, "strategy_id": 2})
        await eventually(lambda: sink.changes)
    kinds = [word[0] if isinstance(word, tuple) else word for word in sink.words]
    assert kinds == ["confirmed", "doubted", "confirmed", RowChange("trades", 1, 2)]
    assert server.connections == 2


async def test_a_cut_connection_is_noticed(server, sink):
    async with running(listener(server.url, sink).run()):
        await eventually(lambda: sink.confirmations == 1)
        server.cut()
        await eventually(lambda: sink.confirmations == 2, within_s=0.5)


async def test_a_dead_task_of_the_client_is_noticed(server, sink, monkeypatch):
    """Fault 1: an exception in the read loop ends it, and the client says nothing."""
    monkeypatch.setattr(
        "realtime._async.channel.AsyncRealtimePresence._on_state_event", lambda *_: {}["absent"], raising=True
    )
    async with running(listener(server.url, sink).run()):
        await eventually(lambda: sink.confirmations == 1)
        await server.say("presence_state", {})
        await eventually(lambda: sink.confirmations == 2, within_s=0.5)
    assert sink.reasons == ["listening ended: KeyError"]


def refused(server):
    server.upgrade_status = 401


def join_refused(server):
    server.reply, server.reason = "error", "InvalidJWTToken: expired"


def join_unanswered(server):
    server.reply = "silence"


def never_confirmed(server):
    server.confirms = False


def error_before_the_reply(server):
    server.says_before_reply = "error"


def confirmed_before_the_reply(server):
    server.says_before_reply = "ok"


def bindings_swapped(server):
    server.swaps_bindings = True


@pytest.mark.parametrize(
    ("set_up", "words"),
    [
        (refused, "no connection: HTTP 401"),
        (join_refused, "channel CHANNEL_ERROR: InvalidJWTToken: expired"),
        (join_unanswered, "the channel was not joined within 0.4 s"),
        (never_confirmed, "the change subscription was not confirmed within 0.4 s"),
        (error_before_the_reply, "channel CHANNEL_ERROR: Subscribed to PostgreSQL"),
        (confirmed_before_the_reply, "the change subscription was confirmed while joining"),
        (bindings_swapped, "channel CHANNEL_ERROR: mismatch between server and client bindings for postgres changes"),
    ],
)
async def test_a_session_that_does_not_come_about_is_told_once_and_tried_for_ever(server, sink, set_up, words):
    set_up(server)
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: listening.status.sessions >= 4)
        assert sink.words == [("doubted", words)]
        server.upgrade_status, server.reply, server.confirms = None, "ok", True
        server.says_before_reply, server.swaps_bindings = "", False
        await eventually(lambda: sink.confirmations == 1)


async def test_a_server_that_is_away_is_tried_until_it_is_back(server, sink):
    url = server.url
    async with running(listener(url, sink).run()):
        await eventually(lambda: sink.confirmations == 1)
        await server.stop()
        await eventually(lambda: len(sink.reasons) == 2)
        await asyncio.sleep(0.2)
        await server.start()
        await eventually(lambda: sink.confirmations == 2)
    # A cut connection first, then nobody listens; the second reason is told once however often it is tried.
    assert sink.reasons[1] == "no connection: ConnectionRefusedError"
    assert len(sink.reasons) == 2


async def test_a_server_that_never_answers_the_upgrade_is_given_up(sink):
    left = []

    async def mute(reader, writer):
        await reader.read()
        left.append(writer)
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    listening = listener(f"http://127.0.0.1:{port}", sink)
    async with server:
        async with running(listening.run()):
            await eventually(lambda: sink.reasons)
        await eventually(lambda: len(left) == listening.status.sessions)
        await asyncio.sleep(0)
    assert sink.reasons == ["no connection within 0.4 s"]


async def test_a_frozen_server_is_noticed_and_left_without_waiting_for_it(server, sink):
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: sink.confirmations == 1)
        server.freeze()
        began = time.monotonic()
        listening.beat_answered(answered(1))
        await eventually(lambda: sink.confirmations == 2)
        assert time.monotonic() - began < 1.5, "it waited for the dead server"


async def test_unreadable_messages_are_skipped_and_the_session_goes_on(server, sink):
    async with running(listener(server.url, sink).run()):
        await eventually(lambda: sink.confirmations == 1)
        for text in ("no json", "[]", '{"event":"system","payload":{"status":"error"},"ref":null,"topic":"t"}'):
            await server.say_raw(text)
        # The official client lets this through: its record says nothing that helps.
        await server.change("trades", {"new_id": "x", "strategy_id": [1]}, errors=["Error 413: Payload Too Large"])
        await server.change("strategies", {"id": 5})
        await eventually(lambda: len(sink.changes) == 2)
    assert sink.words == ["confirmed", ANYTHING, RowChange("strategies", 5, 5)]


async def test_a_message_without_data_means_read_everything(server, sink):
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: sink.confirmations == 1)
        from core.realtime_session import ChangeSeen  # noqa: PLC0415 - one test looks inside

        listening._inbox.put(ChangeSeen({"ids": [1]}))
        listening._inbox.put(ChangeSeen(None))
        await eventually(lambda: len(sink.changes) == 2)
    assert sink.words == ["confirmed", ANYTHING, ANYTHING]


async def test_changes_of_other_tables_and_schemas_are_ignored(server, sink):
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: sink.confirmations == 1)
        await server.change("trades", {"new_id": 1}, schema="archive")
        await eventually(lambda: listening.status.ignored == 1)
    assert sink.changes == []


async def test_a_flood_is_passed_on_in_order_while_the_loop_stays_free(server, sink):
    async with running(listener(server.url, sink).run()):
        await eventually(lambda: sink.confirmations == 1)
        count = 5 * FACTS_PER_TURN
        for number in range(count):
            await server.change("strategies", {"id": number})
        await eventually(lambda: len(sink.changes) == count)
    assert [change.key for change in sink.changes] == list(range(count))


class FailingSink(NotedSink):
    """Fails at the first call of `method`, or at every one."""

    def __init__(self, method, times):
        super().__init__()
        self.left = times
        self.method = method

    def _fail(self, method):
        if method == self.method and self.left:
            self.left -= 1
            raise RuntimeError("a handler failed")

    def changed(self, change):
        self._fail("changed")
        super().changed(change)

    def confirmed(self):
        self._fail("confirmed")
        super().confirmed()

    def doubted(self, reason):
        self._fail("doubted")
        super().doubted(reason)


@pytest.mark.parametrize("method", ["changed", "confirmed", "doubted"])
async def test_a_sink_that_fails_does_not_end_the_listener(server, caplog, method):
    sink = FailingSink(method, 1)
    async with running(listener(server.url, sink).run()) as task:
        await eventually(lambda: server.joins)
        await asyncio.sleep(0.05)
        if method != "confirmed":
            await server.change("trades", {"new_id": 1, "strategy_id": 2})
        if method == "doubted":
            server.cut()
        await eventually(lambda: len(server.joins) == 2 and sink.confirmations >= 1)
        await server.change("trades", {"new_id": 3, "strategy_id": 4})
        await eventually(lambda: RowChange("trades", 3, 4) in sink.changes)
        assert not task.done()
    assert "the store failed" in caplog.text
    if method != "doubted":
        assert sink.reasons == [f"the store could not take a {'change' if method == 'changed' else 'confirmation'}"]


async def test_a_sink_that_always_fails_does_not_end_the_listener(server):
    sink = FailingSink("changed", 10**9)
    listening = listener(server.url, sink)
    async with running(listening.run()) as task:
        for session in range(1, 4):
            await eventually(lambda session=session: sink.confirmations == session)
            await server.change("trades", {"new_id": 1, "strategy_id": 2})
        await eventually(lambda: sink.confirmations == 4)
        assert not task.done()


async def test_a_lease_table_that_is_not_published_costs_the_canary_not_the_changes(server, sink):
    server.reply = "ok"
    server.confirms = False
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: server.joins)
        await server.fail(
            "Unable to subscribe to changes with given parameters. [schema: public, table: monitor_lease]"
        )
        server.confirms = True
        await eventually(lambda: len(server.joins) == 2)
        await eventually(lambda: NO_CANARY in sink.reasons)
        assert asked_tables(server) == TABLES
        await server.change("trades", {"new_id": 1, "strategy_id": 2})
        await eventually(lambda: sink.changes)


async def test_a_lease_table_that_is_published_meanwhile_is_the_canary_again(server, sink, monkeypatch):
    monkeypatch.setattr("core.supabase_realtime.DEAF_NS", 300_000_000)
    server.reply, server.confirms = "ok", False
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: server.joins)
        await server.fail(
            "Unable to subscribe to changes with given parameters. [schema: public, table: monitor_lease]"
        )
        server.confirms = True
        await eventually(lambda: NO_CANARY in sink.reasons)
        assert asked_tables(server) == TABLES
        listening.set_canary(ME)
        assert listening.state is SessionState.UNPROVEN, "it is not asked for again at every beat"
        await asyncio.sleep(0.35)
        listening.set_canary(ME)
        await eventually(lambda: sink.confirmations == 1)
        assert asked_tables(server) == [*TABLES, "monitor_lease"]


async def test_a_canary_that_comes_later_gets_a_session_that_listens_to_it(server, sink):
    listening = listener(server.url, sink, canary=None)
    async with running(listening.run()):
        await eventually(lambda: sink.reasons == [NO_CANARY])
        listening.set_canary(ME)
        listening.set_canary(ME)
        await eventually(lambda: sink.confirmations == 1)
        assert asked_tables(server) == [*TABLES, "monitor_lease"]
        listening.set_canary(None)
        assert sink.reasons[-1] == NO_CANARY
        listening.set_canary(ME)
        listening.beat_answered(answered(1))
        await server.echo(1)
        await eventually(lambda: sink.confirmations == 2)
    assert server.connections == 2


async def test_a_held_up_loop_does_not_condemn_a_healthy_session(server, sink):
    listening = listener(server.url, sink)
    async with running(listening.run()):
        await eventually(lambda: sink.confirmations == 1)
        listening.beat_answered(answered(1))
        await asyncio.sleep(0.01)
        await server.echo(1)
        time.sleep(0.5)  # noqa: ASYNC251 - the fault itself: the loop stands still, the echo lies in the socket
        await eventually(lambda: listening.status.echoes == 1)
        await asyncio.sleep(0.1)
        assert sink.words == ["confirmed"]


async def test_the_back_off_grows_until_a_session_was_steady(server, sink):
    settings = RealtimeSettings(limits=QUICK.limits, backoff_first_s=0.001, backoff_cap_s=0.002, steady_s=0.2)
    server.upgrade_status = 503
    listening = listener(server.url, sink, settings, canary=None)
    async with running(listening.run()):
        await eventually(lambda: listening._backoff.attempts >= 3)
        server.upgrade_status = None
        await eventually(lambda: NO_CANARY in sink.reasons)
        server.cut()
        await eventually(lambda: listening._backoff.attempts >= 4)
        await eventually(lambda: server.open_sockets == 1 and listening.state is SessionState.UNPROVEN)
        await asyncio.sleep(0.25)
        server.cut()
        await eventually(lambda: listening._backoff.attempts == 1)


@pytest.fixture
async def loose_ends():
    """Everything that the loop complains about, and the tasks that were there before."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    return complaints


async def test_two_hundred_sessions_leave_no_task_and_no_socket(server, sink, loose_ends):
    before = asyncio.all_tasks()
    quickest = RealtimeSettings(limits=QUICK.limits, backoff_first_s=0.0005, backoff_cap_s=0.001)
    listening = listener(server.url, sink, quickest)
    ends = list(FAULTS.values())
    async with running(listening.run()):
        for number in range(200):
            await eventually(lambda number=number: sink.confirmations == number + 1)
            if number % 10 == 9:
                server.cut()
            else:
                await ends[number % len(ends)](server)
            gc.collect() if number % 50 == 0 else None
            # Our own tasks: the listener, and those of the one session that is ending or beginning.
            ours = {task for task in asyncio.all_tasks() - before if "websockets" not in repr(task.get_coro())}
            assert len(ours) < 20, ours
    await eventually(lambda: server.open_sockets == 0)
    await eventually(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()}, within_s=0.5)
    gc.collect()
    assert loose_ends == []
    assert listening.status.sessions >= 200


@pytest.mark.parametrize("after_s", [0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.02, 0.1])
@pytest.mark.parametrize("frozen", [False, True])
async def test_it_ends_quickly_when_cancelled_at_any_moment(server, sink, loose_ends, after_s, frozen):
    before = asyncio.all_tasks()
    task = asyncio.create_task(listener(server.url, sink).run())
    await asyncio.sleep(after_s)
    if frozen:
        server.freeze()
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 0.5
    server.cut()
    await eventually(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()}, within_s=0.5)
    gc.collect()
    assert loose_ends == []


@pytest.mark.parametrize("url", ["ftp://nothing", "http://", "not a url"])
async def test_an_unusable_address_is_said_without_the_key(sink, caplog, url):
    logging.getLogger("realtime").disabled = False
    with caplog.at_level(logging.DEBUG, logger="core"):
        listening = listener(url, sink, role_token=ROLE_TOKEN)
        async with running(listening.run()):
            await eventually(lambda: sink.reasons)
    assert sink.reasons[0].startswith("no connection: ")
    _assert_clean(sink, caplog, listening)


@pytest.mark.parametrize("form", [KEY, "sb_secret_K3y%2Bof%2Fthe%3Dgateway", ROLE_TOKEN])
async def test_a_server_that_repeats_the_key_does_not_get_it_into_a_message(server, sink, caplog, form):
    server.reply, server.reason = "error", f"InvalidJWTToken: {form} is\nnot valid"
    with caplog.at_level(logging.DEBUG, logger="core"):
        listening = listener(server.url, sink, role_token=ROLE_TOKEN)
        async with running(listening.run()):
            await eventually(lambda: sink.reasons)
            await eventually(lambda: listening.status.sessions >= 3)
    assert sink.reasons == ["channel CHANNEL_ERROR: InvalidJWTToken: *** is not valid"]
    _assert_clean(sink, caplog, listening)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 429, 500, 503])
async def test_a_refused_upgrade_is_said_by_its_status_only(server, sink, caplog, status):
    server.upgrade_status = status
    with caplog.at_level(logging.DEBUG, logger="core"):
        listening = listener(server.url, sink)
        async with running(listening.run()):
            await eventually(lambda: sink.reasons)
    assert sink.reasons == [f"no connection: HTTP {status}"]
    _assert_clean(sink, caplog, listening)


def _assert_clean(sink, caplog, listening):
    said = [*map(str, sink.words), listening.status.last_end, repr(listening.status), repr(listening)]
    said += [repr(SupabaseAccess("u", KEY, ROLE_TOKEN)), repr(listening._inbox.facts)]
    said += [record.getMessage() for record in caplog.records if record.name.startswith("core")]
    for secret in ("K3y", "t0ken"):
        assert all(secret not in text for text in said)
