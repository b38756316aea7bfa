"""The lease at start and while it is held: who may exit on this account, and what a person is told."""

from __future__ import annotations

import asyncio

import pytest

from core.model.commands import Severity
from core.model.errors import AlreadyRunningError, StoreError, TransportError
from core.model.signals import Mode
from core.options import parse
from core.realtime_changes import LeaseKey
from core.settings import load_settings
from core.stores.sqlite_store import SqliteStore
from core.stores.supabase_access import SupabaseAccess
from core.stores.supabase_errors import Refusal, error_of
from core.supabase_lease import LeaseSettings, SupabaseLease
from core.trades_source import TradesSource, trades_source
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually

OURS = LeaseKey("1100003626:LIVE", "here/1")
SUPABASE = {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "k", "DHAN_CLIENT_ID": "1100003626"}


class Database:
    """Answers lease calls as it is told."""

    def __init__(self):
        self.holder = OURS.holder
        self.problem = None
        self.calls = []

    async def rpc(self, name, arguments):
        self.calls.append(name)
        if self.problem is not None:
            raise self.problem
        answer = {
            "holder": self.holder,
            "epoch": 1,
            "beat": 1,
            "expires_at": "2026-11-20T06:30:00.5+00:00",
            "is_mine": self.holder == OURS.holder,
        }
        return [answer]


class Listener:
    def __init__(self):
        self.canaries = []
        self.beats = []

    def set_canary(self, canary):
        self.canaries.append(canary)

    def beat_answered(self, beat):
        self.beats.append(beat.number)

    async def run(self):
        await asyncio.Event().wait()


@pytest.fixture
def database():
    return Database()


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def source(database, listener):
    settings = LeaseSettings(every_s=0.005, beat_timeout_s=1.0)
    lease = SupabaseLease(database.rpc, OURS, "test", ManualClock(), settings=settings)
    return TradesSource(None, listener, lease)


def names(source):
    tasks = source.tasks()
    for work, _ in tasks:
        work.close()
    return [name for _, name in tasks]


async def test_a_lease_of_ours_is_the_canary(source, listener):
    assert await source.take_lease(Mode.LIVE) is None
    assert listener.canaries == [OURS]
    assert names(source) == ["trades realtime", "trades lease"]


async def test_a_second_live_monitor_is_refused_with_the_name_of_the_first(source, database):
    database.holder = "there/2"
    with pytest.raises(AlreadyRunningError, match=r"there/2.*12:00.*--alert-only"):
        await source.take_lease(Mode.LIVE)
    await source.release()
    assert database.calls == ["beat_monitor_lease"], "what was not taken is not given back"


async def test_whoever_only_watches_is_not_refused(source, database):
    database.holder = "there/2"
    assert await source.take_lease(Mode.ALERT) is None


async def test_without_the_migration_there_is_no_lease_and_a_person_knows(source, database, listener):
    database.problem = no_such_function()
    alert = await source.take_lease(Mode.LIVE)
    assert alert.severity is Severity.WARNING
    assert "supabase_migrations" in alert.text
    assert names(source) == ["trades realtime"]
    assert listener.canaries == []


def no_such_function():
    refusal = Refusal(404, "PGRST202", "Could not find the function")
    return error_of(refusal, SupabaseAccess("http://x", "k"), "beat_monitor_lease", "call")


@pytest.mark.parametrize("problem", [TransportError("away"), StoreError("denied")])
async def test_a_lease_that_cannot_be_asked_for_stops_nobody_and_is_taken_later(source, database, listener, problem):
    database.problem = problem
    alert = await source.take_lease(Mode.LIVE)
    assert alert.severity is Severity.PAGE, "another live monitor may be at work"
    assert str(problem) in alert.text
    assert listener.canaries == []
    database.problem = None
    tasks = [asyncio.create_task(work) for work, _ in source.tasks()]
    await eventually(lambda: listener.beats)
    assert listener.canaries[0] == OURS
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_live_monitor_that_has_lost_its_lease_ends(source, database):
    await source.take_lease(Mode.LIVE)
    (listening, _), (renewing, _) = source.tasks()
    listening.close()
    database.holder = "there/2"
    source.unfinished = lambda: " NOT FINISHED here: Iron Condor (31)."
    with pytest.raises(AlreadyRunningError, match=r"there/2.*Iron Condor \(31\)"):
        await asyncio.wait_for(renewing, 5)


@pytest.mark.parametrize(("mode", "may"), [(Mode.LIVE, False), (Mode.ALERT, True), (Mode.SIMULATION, True)])
async def test_after_a_sleep_a_live_monitor_asks_for_its_lease_before_it_orders(database, listener, mode, may):
    clock = ManualClock()
    source = TradesSource(None, listener, SupabaseLease(database.rpc, OURS, "test", clock))
    await source.take_lease(mode)
    assert source.may_order()
    clock.pass_seconds(15)
    assert source.may_order() is may


def test_without_a_lease_nothing_keeps_an_order_back():
    assert TradesSource(None).may_order()


async def test_a_clean_end_gives_the_lease_back(source, database):
    await source.take_lease(Mode.LIVE)
    await source.release()
    assert database.calls[-1] == "release_monitor_lease"


def built(tmp_path, *options, **environ):
    settings = load_settings({"STATE_DIR": str(tmp_path), **environ}, None)
    return trades_source(settings, parse(list(options)), ManualClock())


def test_without_a_project_the_trades_are_in_the_file(tmp_path):
    source = built(tmp_path)
    assert isinstance(source.store, SqliteStore)
    assert source.tasks() == ()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["trades realtime", "trades lease"]),
        (["--execute"], ["trades realtime", "trades lease"]),
        (["--once"], ["trades lease"]),
        (["--plan"], []),
    ],
)
def test_a_plan_claims_nothing_and_a_run_for_cron_does_not_listen(tmp_path, options, expected):
    source = built(tmp_path, *options, **SUPABASE)
    assert names(source) == expected
    assert (tmp_path / "holder_id").exists() is bool(expected), "a plan writes nothing"


def test_the_lease_is_asked_for_as_patiently_as_the_rows(tmp_path):
    """A monitor that can read its rows and not its lease would go live beside another one."""
    lease = built(tmp_path, "--execute", SUPABASE_TIMEOUT_S="10", **SUPABASE)._lease
    assert lease._settings.beat_timeout_s >= 10
    assert lease._settings.ttl_s >= 3 * 10


def test_only_a_live_monitor_claims_the_account(tmp_path):
    live, other = built(tmp_path, "--execute", **SUPABASE), built(tmp_path, "--alert-only", **SUPABASE)
    assert live._lease.key.name == "1100003626:LIVE"
    assert other._lease.key.name == f"1100003626:ALERT:{other._lease.key.holder}"
