"""The timer that tells the engine the time, on a loop whose clock the test moves."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from core.loop_timer import BEAT_NS, LoopTimer
from core.market_calendar import AlwaysOpen, load_calendar
from core.model.session_time import IST
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


class Day:
    """The timer at the calendar's own hours; the wall clock can be set apart from the monotonic one."""

    def __init__(self, monkeypatch, ist):
        self.clock = ManualClock(utc=int(datetime.fromisoformat(ist).replace(tzinfo=IST).timestamp()) * 1_000_000_000)
        self.slept_s = 0
        self.timers = Timers(self.clock)
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self.timers)
        self.offset = self.clock.utc - self.clock.monotonic
        monkeypatch.setattr(self.clock, "utc_ns", lambda: self.clock.monotonic + self.offset)
        self.told, self.alerts, self.slept, self.old_prices = [], [], [], []
        boot = lambda: self.clock.monotonic + self.slept_s * 1_000 * MS  # noqa: E731
        self.timer = LoopTimer(self.clock, load_calendar(), lambda: None, self.told.append, boot_ns=boot)
        self.timer.on_alert = self.alerts.append
        self.timer.on_slept = self.slept.append
        self.timer.on_old_prices = lambda why, at_ns: self.old_prices.append((why, at_ns, len(self.told)))
        self.timer.start()

    def run(self, seconds, *, step=0, slept=0):
        self.offset += (step + slept) * 1_000 * MS
        self.slept_s += slept
        self.timers.run_until(self.clock.monotonic + round(seconds * 1_000) * MS)
        return self.told[-1]


def ist(told):
    return f"{datetime.fromtimestamp(told.utc_ns / 1e9, IST):%H:%M:%S}"


def test_f24_a_correction_in_mid_session_blinds_nothing_and_time_goes_on_without_a_jump(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 11:00:00")
    day.run(1)
    told = day.run(1, step=3)
    assert (told.session_open, told.is_trading_day, ist(told)) == (True, True, "11:00:02")
    told = day.run(9.5)
    assert ist(told) == "11:00:14", "believed after ten seconds"
    assert {each.session_open for each in day.told} == {True}
    assert len(day.alerts) == 1


@pytest.mark.parametrize(
    ("start", "cash"), [("15:14:58", True), ("15:15:00", None), ("15:34:58", None), ("15:35:00", False)]
)
def test_shares_are_told_apart_from_derivatives(monkeypatch, start, cash):
    told = Day(monkeypatch, f"2026-11-20 {start}").run(1)
    assert (told.session_open, told.cash_open) == (True, cash)


def test_while_two_clocks_disagree_shares_are_not_known_to_be_open_where_only_one_says_so(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 14:50:00")
    told = day.run(1, step=1_800)
    assert (told.session_open, told.cash_open) == (True, None)


@pytest.mark.parametrize(
    ("start", "step", "during", "after"),
    [
        ("2026-11-20 14:50:00", 3_600, None, False),
        ("2026-11-20 15:50:00", -3_600, None, True),
        ("2026-11-20 13:00:00", 3_600, True, True),
        ("2026-11-20 08:00:00", 3_600, False, False),
        ("2026-11-20 23:30:00", 3_600, False, False),
    ],
)
def test_f24_after_an_hours_step_only_what_both_clocks_say_is_known_for_ten_seconds(
    monkeypatch, start, step, during, after
):
    day = Day(monkeypatch, start)
    day.run(1)
    before = ist(day.told[-1])
    assert day.run(0.25, step=step).session_open is during, "at the next beat"
    assert day.run(9).session_open is during
    assert before[:5] == ist(day.told[-1])[:5], "time rules still see the old time"
    assert day.run(1.5).session_open is after
    assert ist(day.told[-1])[:2] != before[:2]


def test_f24_a_step_over_midnight_leaves_the_day_unknown(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 23:59:00")
    day.run(1)
    assert day.run(1, step=3_600).is_trading_day is None, "a Friday by one clock, a Saturday by the other"
    assert day.run(11).is_trading_day is False


def test_p16_sleep_is_told_before_the_time_is_and_orders_wait_from_the_first_moment(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 11:00:00")
    day.run(1)
    order = []
    day.timer.on_slept = lambda ns: order.append(("slept", ns // (1_000 * MS)))
    monkeypatch.setattr(day.timer, "_tell", lambda _: order.append(("told", day.timer.is_awake())))
    assert day.timer.is_awake()
    day.offset += 180_000 * MS
    day.slept_s += 180
    assert not day.timer.is_awake(), "packets that waited in the kernel are read before the timer's beat"
    day.run(0.25)
    assert order == [("slept", 180), ("told", True)]


def test_f28_prices_of_the_pre_open_are_old_from_the_opening_on_and_later_ones_are_not(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 09:14:58.000")
    day.run(0.1)
    started = day.told[0].at_ns
    # Beats fall between the full seconds: the opening is found inside the interval.
    day.timer.stop()
    day.timer.start()
    day.run(5)
    [(why, at_ns, before)] = day.old_prices
    assert why == "the session has just opened"
    assert 0 <= at_ns - (started + 2_000 * MS) <= MS
    assert not day.told[before - 1].session_open
    assert day.told[before].session_open


def test_f28_a_start_in_mid_session_doubts_no_price_and_a_second_window_does(monkeypatch):
    day = Day(monkeypatch, "2024-03-02 09:59:50")
    day.run(1)
    assert day.old_prices == []
    day.run(5_410)
    assert len(day.old_prices) == 1
    assert day.run(1).session_open is True


def test_f28_an_opening_by_a_step_of_the_clock_doubts_all_that_came_before(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 08:30:00")
    day.run(1)
    day.run(12, step=3_600)
    [(_, at_ns, before)] = day.old_prices
    assert at_ns == day.told[before].at_ns
