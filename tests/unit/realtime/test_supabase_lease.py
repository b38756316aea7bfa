"""The lease against a database that answers by a script: taken, held, absent, away; and what a beat tells the listener."""

import asyncio

import pytest

from core.clock import SystemClock
from core.model.errors import StoreError, TransportError
from core.realtime_changes import LeaseKey
from core.stores.supabase_errors import Refusal, RefusedRequest
from core.supabase_lease import LeaseAbsent, LeaseHeld, LeaseMine, LeaseSettings, SupabaseLease
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually
from tests.unit.realtime.listening import running

KEY = LeaseKey("exit-monitor", "host-1-4711")
UNTIL = "2026-11-20T10:04:29.039+00:00"
QUICK = LeaseSettings(ttl_s=15, every_s=0.01, beat_timeout_s=0.05)


def mine(epoch=1):
    return [{"holder": KEY.holder, "epoch": epoch, "beat": 1, "expires_at": UNTIL, "is_mine": True}]


def held(by="host-2-9"):
    return [{"holder": by, "epoch": 4, "beat": 8, "expires_at": UNTIL, "is_mine": False}]


def refused(code, status=404):
    return RefusedRequest("the words of the server", Refusal(status, code, "could not find the function"))


class Database:
    """Answers in order; the last answer is repeated. An exception is raised, a number of seconds is waited."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    async def __call__(self, name, arguments):
        self.calls.append((name, arguments))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return mine()
        if isinstance(answer, Exception):
            raise answer
        return answer


def lease(database, settings=QUICK):
    return SupabaseLease(database, KEY, "1.2.0", SystemClock(), settings=settings)


async def test_a_free_lease_is_taken():
    database = Database(mine(3))
    assert await lease(database).take() == LeaseMine(3, UNTIL)
    arguments = {"p_name": "exit-monitor", "p_holder": "host-1-4711", "p_beat": 1, "p_build": "1.2.0", "p_ttl_s": 15}
    assert database.calls == [("beat_monitor_lease", arguments)]


async def test_a_lease_of_another_monitor_is_named():
    assert await lease(Database(held())).take() == LeaseHeld("host-2-9", UNTIL)


@pytest.mark.parametrize("code", ["PGRST202", "42883"])
async def test_without_the_migration_there_is_no_lease(code):
    assert await lease(Database(refused(code))).take() == LeaseAbsent()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (TransportError("nobody there"), TransportError),
        (0.2, TransportError),
        (refused("42501", 403), StoreError),
        ([], StoreError),
        ([{}], StoreError),
        (mine() + mine(), StoreError),
        ([mine()[0] | {"is_mine": "yes"}], StoreError),
        ([mine()[0] | {"holder": None}], StoreError),
        ([mine()[0] | {"expires_at": 5}], StoreError),
        ([mine()[0] | {"epoch": "x"}], StoreError),
    ],
)
async def test_every_other_answer_is_an_error(answer, error):
    with pytest.raises(error):
        await lease(Database(answer)).take()


async def test_beats_are_numbered_and_timed():
    began = SystemClock().monotonic_ns()
    database, beats = Database(mine()), []
    taken = lease(database)
    await taken.take()
    async with running(taken.run(beats.append, pytest.fail)):
        await eventually(lambda: len(beats) >= 3)
    assert [beat.number for beat in beats[:3]] == [2, 3, 4]
    assert [call[1]["p_beat"] for call in database.calls[:4]] == [1, 2, 3, 4]
    times = [at for beat in beats for at in (beat.sent_ns, beat.answered_ns)]
    assert began < times[0]
    assert times == sorted(times)


async def test_beats_keep_their_pace_however_long_an_answer_takes():
    database, beats = Database(0.03), []
    async with running(lease(database, LeaseSettings(every_s=0.05)).run(beats.append, pytest.fail)):
        await eventually(lambda: len(beats) >= 6)
    pace_s = (beats[5].sent_ns - beats[0].sent_ns) / 5e9
    assert 0.049 < pace_s < 0.075


async def test_failing_beats_are_repeated_and_told_to_nobody(caplog):
    database = Database(mine(), TransportError("away"), 0.2, refused("42501", 403), refused("PGRST202"), [], mine())
    beats = []
    beating = lease(database)
    async with running(beating.run(beats.append, pytest.fail)) as task:
        await eventually(lambda: beating.failures == 3)
        await eventually(lambda: len(beats) >= 3)
        assert not task.done()
    assert [beat.number for beat in beats[:2]] == [1, 7]
    assert beating.failures == 0
    # Once for each row of failures.
    assert caplog.text.count("a beat failed") == 2


async def test_a_lost_lease_is_told_once_and_taken_back_when_free():
    database = Database(mine(), held("b"), held("b"), TransportError("away"), held("b"), mine(3), held("c"), mine(5))
    heard = []
    beating = lease(database)
    async with running(
        beating.run(lambda beat: heard.append(beat.number), lambda holder: heard.append(f"lost to {holder}"))
    ):
        await eventually(lambda: 8 in heard)
    assert heard[:5] == [1, "lost to b", 6, "lost to c", 8]
    assert beating.state == LeaseMine(5, UNTIL)


async def test_what_on_lost_raises_ends_the_beats():
    def stop(holder):
        raise ZeroDivisionError(holder)

    with pytest.raises(ZeroDivisionError):
        await lease(Database(held())).run(pytest.fail, stop)


async def test_a_lease_is_released_by_name_and_holder():
    database = Database([])
    await lease(database).release()
    assert database.calls == [("release_monitor_lease", {"p_name": "exit-monitor", "p_holder": "host-1-4711"})]


@pytest.mark.parametrize("answer", [TransportError("away"), refused("PGRST202"), 30.0])
async def test_a_release_that_fails_is_left(answer):
    await asyncio.wait_for(lease(Database(answer)).release(), 3)


# --- a monitor that slept ---


def slept(clock, *, monotonic_s=0.0, utc_s=0.0):
    clock.monotonic += int(monotonic_s * 1e9)
    clock.utc += int(utc_s * 1e9)


@pytest.mark.parametrize(
    "nap", [{"monotonic_s": 15, "utc_s": 15}, {"utc_s": 15}, {"monotonic_s": 15}], ids=["both", "suspended", "set back"]
)
async def test_a_monitor_that_slept_for_a_lease_may_have_lost_it(nap):
    clock = ManualClock()
    ours = SupabaseLease(Database(mine()), KEY, "1.2.0", clock, settings=QUICK)
    assert not ours.is_overslept, "never asked for: there is nothing to lose"
    await ours.take()
    slept(clock, monotonic_s=14.9, utc_s=14.9)
    assert not ours.is_overslept
    await ours.take()
    slept(clock, **nap)
    assert ours.is_overslept
    await ours.take()
    assert not ours.is_overslept


async def test_an_answer_from_before_the_sleep_proves_nothing():
    clock = ManualClock()

    class Slow(Database):
        async def __call__(self, name, arguments):
            slept(clock, monotonic_s=20, utc_s=20)
            return mine()

    ours = SupabaseLease(Slow(mine()), KEY, "1.2.0", clock, settings=QUICK)
    await ours.take()
    assert ours.is_overslept


async def test_a_database_that_is_away_is_no_sleep():
    """An exit goes on without Supabase: only that nobody asked counts."""
    clock = ManualClock()
    ours = SupabaseLease(Database(mine(), TransportError("away")), KEY, "1.2.0", clock, settings=QUICK)
    await ours.take()
    slept(clock, monotonic_s=60, utc_s=60)
    with pytest.raises(TransportError):
        await ours.take()
    assert not ours.is_overslept
