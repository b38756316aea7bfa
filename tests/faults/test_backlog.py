"""F07: ticks that waited while the program stood still fire nothing by themselves."""

import asyncio
import json
import os
import signal
import sys
import time
from datetime import time as clock_time

import pytest

from core.exits.guard_settings import GuardSettings
from core.model import events as ev
from core.model.exit_levels import ClockLevel, ExitLevels, LevelSource
from core.model.journal_records import ExitStarted
from core.position_backlog import BACKLOG_NS, STANDSTILL_NS
from tests.fakes.feed_server import feed_server
from tests.fakes.waiting import eventually
from tests.faults.chain import full
from tests.unit.exits.builders import amount, trailing
from tests.unit.order_side.rig import MS, SHORT, SPREAD, Rig, S

STOP = ExitLevels(stop=amount(1_000))
"""SHORT was sold at 90.00: the stop of ₹1,000 is at 103.33."""
CONFIRM_S = GuardSettings().stop_confirm_max_ms / 1_000
STALL_S = 5.0


def resting(levels=STOP, held=SHORT, last=9_000):
    rig = Rig()
    rig.tell(ev.PositionOpened(held, levels, rig.now))
    for one in held.legs:
        rig.quote(one.instrument.key.security_id, last)
    rig.wait()
    rig.wait(0.25)
    return rig


def exits(rig):
    return [record.signal for record in rig.journal if isinstance(record, ExitStarted)]


def burst(rig, *lasts, security_id=501):
    for last in lasts:
        rig.now += MS // 10
        rig.quote(security_id, last)


def beats(rig, seconds):
    """The loop timer: at the engine's deadlines, and four times a second."""
    end = rig.now + round(seconds * S)
    while rig.now < end:
        due = rig.engine.next_wake_ns
        until = min(end, rig.now + 250 * MS, end if due is None or due <= rig.now else due)
        rig.wait((until - rig.now) / S)


def test_f07_a_dip_that_was_over_before_the_program_went_on_exits_nothing():
    rig = resting()
    rig.now += 5 * S
    burst(rig, 9_500, 10_400, 10_500, 10_450, 9_300, 9_000)
    beats(rig, 5)
    assert exits(rig) == []


def test_f07_without_a_standstill_the_same_dip_fires_at_once():
    rig = resting()
    rig.now += STANDSTILL_NS - 2 * MS
    burst(rig, 9_500)
    rig.wait()
    burst(rig, 10_400)
    assert len(exits(rig)) == 1


def test_f07_a_stop_that_is_still_breached_at_the_end_of_the_backlog_fires_within_a_second():
    rig = resting()
    rig.now += 5 * S
    went_on = rig.now
    burst(rig, 9_500, 9_000, 10_400, 10_450, 10_400)
    assert exits(rig) == [], "not by an old tick alone"
    beats(rig, CONFIRM_S - 0.01)
    assert exits(rig) == []
    beats(rig, 0.05)
    (signal_,) = exits(rig)
    assert signal_.decided_ns - went_on <= CONFIRM_S * S + 10 * MS


def test_f07_the_first_quote_from_after_the_backlog_fires_at_once():
    rig = resting()
    rig.now += 5 * S
    burst(rig, 9_500)
    rig.wait()
    beats(rig, BACKLOG_NS / S)
    burst(rig, 10_400)
    assert len(exits(rig)) == 1


@pytest.mark.parametrize("beat_comes", ["before the burst", "in the burst", "after it"])
def test_f07_every_leg_that_moved_in_the_backlog_is_suspect_whether_timer_or_socket_runs_first(beat_comes):
    """The first packets of the burst touch no band: they say nothing to the engine, and are judged later with the others."""
    rig = resting(held=SPREAD)
    rig.now += 5 * S
    if beat_comes == "before the burst":
        rig.wait()
    burst(rig, 9_100, 9_000, security_id=502)
    if beat_comes == "in the burst":
        rig.wait()
    burst(rig, 10_600, 10_500, security_id=501)
    burst(rig, 9_000, 9_050, security_id=502)
    assert exits(rig) == []
    burst(rig, 9_000, security_id=501)
    beats(rig, 3)
    assert exits(rig) == []


def test_f07_a_told_standstill_holds_what_was_received_since_it_began():
    rig = resting()
    rig.now += 500 * MS
    rig.tell(ev.LoopStalled(rig.now, 400 * MS))
    burst(rig, 10_400, 10_500)
    rig.tell(ev.LoopStalled(rig.now, 300 * MS))
    burst(rig, 10_400)
    assert exits(rig) == []
    burst(rig, 9_000)
    beats(rig, 3)
    burst(rig, 10_400)
    assert len(exits(rig)) == 1


def test_f07_a_breach_far_beyond_the_stop_waits_too_in_a_backlog():
    rig = resting()
    rig.now += 5 * S
    burst(rig, 20_000, 9_000)
    beats(rig, 3)
    assert exits(rig) == []


def test_f07_time_rules_and_operators_do_not_wait_for_the_backlog():
    levels = ExitLevels(stop=amount(1_000), square_off=ClockLevel(clock_time(12, 0, 2), LevelSource.PROFILE))
    rig = resting(levels)
    rig.now += 5 * S
    burst(rig, 10_400)
    rig.wait()
    assert [one.rule.value for one in exits(rig)] == ["square_off"]
    rig = resting()
    rig.now += 5 * S
    burst(rig, 10_400)
    rig.exit()
    assert [one.rule.value for one in exits(rig)] == ["operator"]


def test_f07_a_peak_of_the_backlog_does_not_lift_the_trailing_stop_and_a_target_waits():
    levels = ExitLevels(trailing=trailing(0, 500), target=amount(2_000))
    rig = resting(levels)
    rig.now += 5 * S
    burst(rig, 8_500, 7_600, 8_500)
    assert rig.engine.guards[1].peak == 0
    beats(rig, 1.5)
    assert exits(rig) == []
    beats(rig, 2)
    assert rig.engine.guards[1].peak == 75 * 500, "the newest of the backlog is what the market says since"
    rig = resting(levels)
    rig.now += 5 * S
    burst(rig, 6_000)
    beats(rig, 1.9)
    assert exits(rig) == []
    beats(rig, 1.5)
    assert [one.rule.value for one in exits(rig)] == ["profit_target"]


class Stopped:
    """The monitor in its own process. `lines` are what it said."""

    def __init__(self, process):
        self.process = process
        self.lines = []

    async def read(self):
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))


@pytest.mark.slow
async def test_f07_a_stopped_process_that_goes_on_fires_what_stands_and_nothing_that_is_over():
    async with feed_server() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.stalled_monitor", server.url, stdout=asyncio.subprocess.PIPE
        )
        watched = Stopped(process)
        reader = asyncio.create_task(watched.read())
        try:
            await eventually(lambda: len(server.subscribed()) >= 3)
            await server.send(*(full(one, 100) for one in (1, 2, 3)))
            await eventually(lambda: watched.lines)
            await asyncio.sleep(0.6)
            os.kill(process.pid, signal.SIGSTOP)
            flood = [full(3, 100 + n % 3 * 0.05) for n in range(3_000)]
            await server.send(*flood[:1_000], full(1, 50), full(2, 50), *flood[1_000:], full(1, 100), *flood[:100])
            await asyncio.sleep(STALL_S)
            went_on = time.monotonic_ns()
            os.kill(process.pid, signal.SIGCONT)
            await eventually(lambda: len(watched.lines) > 1)
            await asyncio.sleep(2.5)
            said = watched.lines[1:]
            assert [one["strategy"] for one in said] == [2]
            assert said[0]["pnl"] == 75 * (5_000 - 10_000)
            assert 0.9 <= (said[0]["at_ns"] - went_on) / S <= 2.5
        finally:
            process.kill()
            await process.wait()
            await reader
