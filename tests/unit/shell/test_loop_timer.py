"""The timer that tells the engine the time, on a loop whose clock the test moves."""

from __future__ import annotations

import asyncio

import pytest

from core.loop_timer import BEAT_NS, LoopTimer
from core.market_calendar import AlwaysOpen
from tests.fakes.manual_clock import ManualClock

MS = 1_000_000


class Timers:
    """In place of the running loop: `call_later` only, fired by `run_until`."""

    def __init__(self, clock):
        self.clock = clock
        self.armed = []

    def call_later(self, delay, call):
        handle = Handle(self, self.clock.monotonic + round(delay * 1e9), call)
        self.armed.append(handle)
        return handle

    def run_until(self, end_ns):
        while self.armed and (due := min(self.armed, key=lambda handle: handle.due)).due <= end_ns:
            self.armed.remove(due)
            self.clock.monotonic = max(self.clock.monotonic, due.due)
            due.call()
        self.clock.monotonic = end_ns


class Handle:
    def __init__(self, timers, due, call):
        self.timers, self.due, self.call = timers, due, call

    def cancel(self):
        if self in self.timers.armed:
            self.timers.armed.remove(self)


class Rig:
    def __init__(self, monkeypatch):
        self.clock = ManualClock()
        self.start_ns = self.clock.monotonic
        self.timers = Timers(self.clock)
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self.timers)
        self.wake = None
        self.told = []
        self.on_told = lambda: None
        self.timer = LoopTimer(self.clock, AlwaysOpen(), lambda: self.wake, self.tell)

    def tell(self, now):
        self.told.append((now.at_ns - self.start_ns) // MS)
        self.on_told()

    def run(self, ms):
        self.timers.run_until(self.start_ns + ms * MS)

    def wake_at(self, ms):
        self.wake = self.start_ns + ms * MS
        self.timer.rearm()


@pytest.fixture
def rig(monkeypatch):
    return Rig(monkeypatch)


def test_the_time_is_told_at_once_and_four_times_a_second(rig):
    rig.timer.start()
    rig.run(1_100)
    assert rig.told == [0, 250, 500, 750, 1_000]


def test_an_earlier_deadline_moves_the_timer_forward_and_never_adds_a_second_one(rig):
    rig.timer.start()
    rig.wake_at(200)
    rig.wake_at(40)
    rig.wake_at(120)
    assert len(rig.timers.armed) == 1
    rig.on_told = lambda: setattr(rig, "wake", None)
    rig.run(300)
    assert rig.told == [0, 40, 290]


def test_a_late_deadline_never_postpones_the_beat(rig):
    rig.timer.start()
    rig.wake_at(10_000)
    rig.run(600)
    assert rig.told == [0, 250, 500]


def test_a_deadline_that_stays_in_the_past_does_not_spin(rig):
    rig.timer.start()
    rig.wake_at(-5_000)
    rig.run(1_000)
    assert len(rig.told) <= 110
    assert rig.told[1] <= 2, "the first look is still at once"


def test_rearming_within_the_telling_is_harmless(rig):
    rig.on_told = lambda: rig.wake_at(rig.told[-1] + 30)
    rig.timer.start()
    rig.run(100)
    assert rig.told == [0, 30, 60, 90]
    assert len(rig.timers.armed) == 1


def test_nothing_is_told_before_the_start_or_after_the_stop(rig):
    rig.timer.rearm()
    rig.wake_at(1)
    rig.timer.stop()
    assert rig.timers.armed == []
    rig.timer.start()
    rig.timer.stop()
    rig.wake_at(1)
    rig.run(1_000)
    assert rig.told == [0]


def test_the_beat_is_a_quarter_second():
    assert BEAT_NS == 250 * MS
