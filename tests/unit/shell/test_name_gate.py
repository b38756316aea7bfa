"""The gate in front of every look-up of the project's host, with a resolver that the test holds open."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from core.clock import SystemClock
from core.model.errors import TransportError
from core.name_gate import FRESH_S, NameGate, NameNotFoundError
from core.realtime_session import Inbox, RealtimeSession, SessionEnded, safe_reason
from core.stores.supabase_access import SupabaseAccess
from core.stores.supabase_rest import SupabaseRest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually
from tests.unit.stores.test_supabase_rest import Server

HOST = "project.example"
KEY = "the-secret-key"


class Resolver:
    """Answers when it is `open`, with `error` if there is one. `asked`: the thread of each look-up."""

    def __init__(self, *, is_open=True, error=None):
        self.open = threading.Event()
        if is_open:
            self.open.set()
        self.error = error
        self.asked = []

    def __call__(self, host):
        self.asked.append(threading.current_thread())
        assert self.open.wait(20)
        if self.error is not None:
            raise self.error


@contextmanager
def hanging():
    resolver = Resolver(is_open=False)
    try:
        yield resolver
    finally:
        resolver.open.set()
        for thread in resolver.asked:
            thread.join(5)


async def refused(gate):
    """Why, and after how many seconds."""
    began = time.monotonic()
    with pytest.raises(NameNotFoundError) as caught:
        await gate.known(HOST)
    return str(caught.value), time.monotonic() - began


async def test_while_a_look_up_hangs_nobody_starts_another_and_nobody_waits():
    with hanging() as resolver:
        gate = NameGate(ManualClock(), patience_s=0.2, resolve=resolver)
        said, first_s = await refused(gate)
        assert said == "the name of the host in SUPABASE_URL is not found (no answer in time)"
        assert 0.15 < first_s < 1.0
        again = [await refused(gate) for _ in range(20)]
        assert sum(seconds for _, seconds in again) < 0.1
        assert len(resolver.asked) == 1
        assert resolver.asked[0].daemon
        # The resolver is back: what hung is the answer.
        resolver.open.set()
        await eventually(gate._asked.done)
        await gate.known(HOST)
        assert len(resolver.asked) == 1


async def test_who_comes_during_a_look_up_waits_for_the_same_answer():
    with hanging() as resolver:
        gate = NameGate(ManualClock(), patience_s=5.0, resolve=resolver)
        asking = [asyncio.create_task(gate.known(HOST)) for _ in range(5)]
        await eventually(lambda: resolver.asked)
        asking.pop().cancel()
        resolver.open.set()
        assert await asyncio.gather(*asking) == [None] * 4
        assert len(resolver.asked) == 1


async def test_a_success_is_good_for_a_while_by_the_clock():
    clock, resolver = ManualClock(), Resolver()
    gate = NameGate(clock, resolve=resolver)
    await gate.known(HOST)
    clock.pass_seconds(FRESH_S - 0.01)
    await gate.known(HOST)
    assert len(resolver.asked) == 1
    clock.pass_seconds(0.02)
    await gate.known(HOST)
    assert len(resolver.asked) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-3, "Temporary failure in name resolution"), "Temporary failure in name resolution"),
        (OSError(), "OSError"),
        (UnicodeError(f"label too long: {KEY}"), "UnicodeError"),
    ],
)
async def test_a_failure_is_told_without_the_name_and_is_not_kept(error, words):
    resolver = Resolver(error=error)
    gate = NameGate(ManualClock(), resolve=resolver)
    said, _ = await refused(gate)
    assert said == f"the name of the host in SUPABASE_URL is not found ({words})"
    resolver.error = None
    await gate.known(HOST)
    assert len(resolver.asked) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%eth0", "0.0.0.0", "localhost"])
async def test_an_address_is_not_looked_up(host):
    resolver = Resolver()
    await NameGate(ManualClock(), resolve=resolver).known(host)
    assert resolver.asked == []


def test_the_end_of_the_process_does_not_wait():
    program = (
        "import asyncio, time\n"
        "from core.clock import SystemClock\n"
        "from core.name_gate import NameGate\n"
        "try:\n"
        "    asyncio.run(NameGate(SystemClock(), patience_s=0.1, resolve=lambda host: time.sleep(60)).known('a.example'))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert "no answer in time" in ended.stdout
    assert ended.stderr == ""


def hold_look_ups(monkeypatch, resolver):
    """Every look-up of HOST hangs, by whatever way it is asked for; HOST is at 127.0.0.1."""
    real = socket.getaddrinfo

    def look_up(host, *more, **options):
        if host not in {HOST, HOST.encode()}:
            return real(host, *more, **options)
        resolver(HOST)
        return real("127.0.0.1", *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


async def test_a_request_to_a_name_that_hangs_fails_soon_and_leaves_the_shared_threads_free(monkeypatch):
    with hanging() as resolver:
        hold_look_ups(monkeypatch, resolver)
        rest = await SupabaseRest.connect(SupabaseAccess(f"https://{HOST}", KEY), 5.0)
        began = time.monotonic()
        for _ in range(10):
            with pytest.raises(TransportError, match=r"cannot be reached to read trades: the name .*no answer in time"):
                await rest.select("trades", "new_id", limit=1)
        assert time.monotonic() - began < 3.0
        began = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(int) for _ in range(10)))
        assert time.monotonic() - began < 0.5
        assert [thread.name for thread in resolver.asked] == ["name-gate"]
        await rest.close()


async def test_a_kept_connection_needs_no_name(monkeypatch):
    resolver = Resolver()
    hold_look_ups(monkeypatch, resolver)
    async with Server().running() as server:
        url = server.url.replace("127.0.0.1", HOST)
        rest = await SupabaseRest.connect(SupabaseAccess(url, KEY), 5.0)
        await rest.select("trades", "new_id", limit=1)
        assert resolver.asked[0].name == "name-gate"
        asked = len(resolver.asked)
        resolver.open.clear()
        await asyncio.sleep(FRESH_S + 0.1)
        assert await rest.select("trades", "new_id", limit=1) == []
        assert len(resolver.asked) == asked
        await rest.close()
        resolver.open.set()


async def test_a_session_ends_with_the_reason_and_asks_nobody_else(monkeypatch):
    with hanging() as resolver:
        hold_look_ups(monkeypatch, resolver)
        access = SupabaseAccess(f"https://{HOST}", KEY)
        gate = NameGate(SystemClock(), patience_s=0.2)
        for _ in range(3):
            inbox = Inbox()
            session = RealtimeSession(access, inbox, gate, has_canary=False, patience_s=1.0)
            session.start()
            await eventually(lambda inbox=inbox: inbox.facts)
            await session.close()
            (ended,) = inbox.facts
            assert isinstance(ended, SessionEnded)
            assert safe_reason(ended, access) == (
                "no connection: the name of the host in SUPABASE_URL is not found (no answer in time)"
            )
        assert [thread.name for thread in resolver.asked] == ["name-gate"]
