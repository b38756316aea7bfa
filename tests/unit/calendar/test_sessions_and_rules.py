"""The engine at the calendar's hours: when a price or the clock may close a position, minute by minute."""

import asyncio
from datetime import datetime, time

import pytest

from core.loop_timer import LoopTimer
from core.market_calendar import load_calendar
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import AmountLevel, ClockLevel, ExitLevels, LevelSource, Rule
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote
from core.model.session_time import IST, ist_datetime
from tests.fakes.manual_clock import ManualClock
from tests.unit.order_side.rig import SHORT, Rig
from tests.unit.shell.test_loop_timer import Timers

MS = 1_000_000
KEY = InstrumentKey(Segment.NSE_FNO, 501)
CALM, FREAK = 9_000, 90_000
STOP = ExitLevels(stop=AmountLevel(100_000, LevelSource.PROFILE))
SQUARE_OFF = ExitLevels(square_off=ClockLevel(time(15, 10), LevelSource.PROFILE))


class Day:
    """The engine and its timer, joined as the monitor joins them, from a moment in Indian time."""

    def __init__(self, monkeypatch, ist, levels=STOP, *, calendar=None, price=CALM):
        utc = int(datetime.fromisoformat(ist).replace(tzinfo=IST).timestamp() * 1_000) * MS
        self.rig = Rig(utc_at_start=utc)
        self.clock = ManualClock(self.rig.now, utc)
        self.timers = Timers(self.clock)
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self.timers)
        self.set_by_ns = 0
        monkeypatch.setattr(self.clock, "utc_ns", lambda: utc + self.clock.monotonic - self.rig.start + self.set_by_ns)
        engine = self.rig.engine
        self.timer = LoopTimer(self.clock, calendar or load_calendar(), lambda: engine.next_wake_ns, self.rig.tell)
        self.timer.on_old_prices = self.doubt
        self.timer.on_alert = self.rig.alerts.append
        self.rig.tell(ev.PositionOpened(SHORT, levels, self.clock.monotonic))
        self.quote(price)
        self.timer.start()

    def doubt(self, why, at_ns):
        self.rig.tell(ev.PricesDoubted(tuple(self.rig.engine.cache.keys()), why, at_ns))

    def quote(self, last, *, two_sided=True):
        side = 5 if two_sided else None
        bid, ask = (last - side, last + side) if side else (None, None)
        size = 75 if side else None
        quote = Quote(KEY, last, bid, ask, size, size, None, self.clock.monotonic)
        self.rig.keep(self.rig.engine.on_quote(quote))
        self.timer.rearm()

    def until(self, ist):
        """Run to a time of the wall clock."""
        now = ist_datetime(self.clock.utc_ns())
        end = datetime.combine(now.date(), time.fromisoformat(ist), IST)
        self.run((end - now).total_seconds())

    def run(self, seconds):
        self.timers.run_until(self.clock.monotonic + round(seconds * 1_000) * MS)

    @property
    def exits(self):
        return [running.signal.rule for running in self.rig.desk.exits.values()]

    @property
    def orders(self):
        return [command for command in self.rig.out if isinstance(command, cmd.SubmitOrder)]


@pytest.mark.parametrize("two_sided", [True, False])
def test_f28_freak_prices_of_the_pre_open_fire_nothing_before_or_at_the_opening(monkeypatch, two_sided):
    day = Day(monkeypatch, "2026-11-20 09:00:00")
    while ist_datetime(day.clock.utc_ns()).time() < time(9, 14, 59):
        day.quote(FREAK, two_sided=two_sided)
        day.run(1.013)
    day.until("09:14:59.900")
    day.quote(FREAK, two_sided=two_sided)
    day.until("09:15:30")
    assert day.exits == [], "no executable quote has come yet"
    day.quote(CALM)
    day.run(5)
    assert day.exits == []


def test_f28_the_first_executable_quote_of_the_session_fires(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 09:14:00")
    day.quote(FREAK)
    day.until("09:15:02")
    assert day.exits == []
    day.quote(FREAK)
    day.run(1.5)
    assert day.exits == [Rule.STOP_LOSS]


def test_f28_a_quote_between_the_opening_and_the_next_beat_counts(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 09:14:59.870")
    day.until("09:15:00.010")
    assert day.rig.desk.session_open is False, "the beat is due at 15:00.120"
    day.quote(FREAK)
    day.until("09:15:01.500")
    assert day.exits == [Rule.STOP_LOSS]


@pytest.mark.parametrize(
    "start", ["2026-11-24 10:00:00", "2026-11-21 10:00:00", "2026-11-20 15:40:00", "2026-11-20 08:00:00"]
)
@pytest.mark.parametrize("levels", [STOP, SQUARE_OFF])
def test_f26_nothing_is_closed_on_a_holiday_a_saturday_or_after_hours(monkeypatch, start, levels):
    day = Day(monkeypatch, start, levels)
    for _ in range(30):
        day.quote(FREAK)
        day.run(10)
    assert day.exits == []
    assert day.rig.alerts == []
    assert not any(isinstance(command, cmd.RequestQuotes) for command in day.rig.out)


def test_f26_an_exit_that_a_person_asks_for_sends_no_order_while_the_market_is_closed(monkeypatch):
    day = Day(monkeypatch, "2026-11-24 10:00:00")
    day.run(1)
    day.rig.tell(ev.OperatorExitRequested(1, day.clock.monotonic))
    day.run(30)
    assert day.orders == []
    assert "exit waits for the market" in day.rig.subjects()


def test_f27_a_day_whose_hours_nobody_knows_fires_nothing(monkeypatch):
    day = Day(monkeypatch, "2026-11-08 18:15:00")
    day.quote(FREAK)
    day.run(600)
    assert day.exits == []


def test_f27_two_windows_of_a_saturday_are_two_sessions(monkeypatch):
    day = Day(monkeypatch, "2024-03-02 09:30:00")
    day.run(1)
    day.until("10:00:01")
    day.quote(FREAK)
    day.until("11:30:05")
    assert day.exits == [], "neither between the windows, nor by a price of then"
    day.quote(FREAK)
    day.run(1.5)
    assert day.exits == [Rule.STOP_LOSS]


@pytest.mark.parametrize(
    ("line", "inside", "outside"),
    [
        ("2026-11-08,special,18:00,19:00,Muhurat", "2026-11-08 18:30:00", "2026-11-08 17:59:00"),
        ("2026-11-14,special,11:30,12:30,Saturday", "2026-11-14 12:00:00", "2026-11-14 12:30:00"),
        ("2026-11-20,special,09:15,13:00,closes early", "2026-11-20 12:59:00", "2026-11-20 13:00:00"),
    ],
)
def test_f27_a_file_of_ones_own_decides(monkeypatch, tmp_path, line, inside, outside):
    path = tmp_path / "calendar.csv"
    path.write_text(f"date,kind,open,close,note\n2026-01-01,first,,,\n2026-12-31,last,,,\n{line}\n", encoding="utf-8")
    calendar = load_calendar(path)
    open_day = Day(monkeypatch, inside, calendar=calendar)
    open_day.quote(FREAK)
    open_day.run(1.5)
    assert open_day.exits == [Rule.STOP_LOSS]
    closed_day = Day(monkeypatch, outside, calendar=calendar)
    closed_day.quote(FREAK)
    closed_day.run(30)
    assert closed_day.exits == []


def test_f24_a_clock_set_an_hour_ahead_closes_nothing_by_time_if_it_is_set_right_within_ten_seconds(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 14:12:00", SQUARE_OFF)
    day.run(1)
    day.set_by_ns = 3_600_000 * MS
    day.run(8)
    assert day.exits == []
    day.set_by_ns = 0
    day.run(60)
    assert day.exits == []
    assert [alert.subject for alert in day.rig.alerts if "clock" in alert.subject] == [
        "the clock was set forward",
        "the clock was set back",
    ]
    day.until("15:10:01")
    assert day.exits == [Rule.SQUARE_OFF]


def test_f24_a_clock_that_was_an_hour_behind_is_believed_after_ten_seconds(monkeypatch):
    day = Day(monkeypatch, "2026-11-20 14:12:00", SQUARE_OFF)
    day.run(1)
    day.set_by_ns = 3_600_000 * MS
    day.run(9)
    assert day.exits == []
    day.run(2)
    assert day.exits == [Rule.SQUARE_OFF]


@pytest.mark.parametrize("step_s", [3, -3, 3_600, -3_600])
def test_f24_a_stop_fires_within_the_ten_seconds_and_only_once(monkeypatch, step_s):
    day = Day(monkeypatch, "2026-11-20 12:00:00")
    day.run(1)
    day.set_by_ns = step_s * 1_000 * MS
    day.run(1)
    assert day.exits == [], "a jump makes no price stale and no rule fire"
    day.quote(FREAK)
    day.run(1.5)
    assert day.exits == [Rule.STOP_LOSS]
    day.set_by_ns = 0
    day.run(30)
    assert [running.generation for running in day.rig.desk.exits.values()] == [1]
