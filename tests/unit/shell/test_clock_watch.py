"""Steps of the wall clock and sleep of the machine, by three clocks that the test sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import SystemClock, boot_ns
from core.clock_watch import UNSURE_NS, ClockReading, ClockWatch
from core.model.commands import Severity

S = 1_000_000_000
START = ClockReading(1_000 * S, 1_795_000_000 * S, 2_000 * S)


class Clocks:
    def __init__(self, *, has_boot=True):
        self.watch = ClockWatch()
        self.at, self.utc, self.boot = START.at_ns, START.utc_ns, START.boot_ns
        self.has_boot = has_boot
        self.beat()

    @property
    def reading(self):
        return ClockReading(self.at, self.utc, self.boot if self.has_boot else None)

    def beat(self):
        return self.watch.beat(self.reading)

    def run(self, seconds=0.25, *, step=0.0, slept=0.0):
        """Time passes; the wall clock is set by `step`; the machine is suspended for `slept`."""
        self.at += round(seconds * S)
        self.boot += round((seconds + slept) * S)
        self.utc += round((seconds + slept + step) * S)
        return self.beat()


def of(news):
    return [(alert.severity, alert.subject) for alert in news.alerts]


@pytest.mark.parametrize("has_boot", [True, False])
@pytest.mark.parametrize(
    ("step", "severity", "way"),
    [
        (3, Severity.WARNING, "forward"),
        (-3, Severity.WARNING, "back"),
        (59, Severity.WARNING, "forward"),
        (3_600, Severity.PAGE, "forward"),
        (-3_600, Severity.PAGE, "back"),
    ],
)
def test_f24_a_step_is_told_once_with_size_and_direction(step, severity, way, has_boot):
    clocks = Clocks(has_boot=has_boot)
    news = clocks.run(step=step)
    assert of(news)[0] == (severity, f"the clock was set {way}")
    assert f"by {abs(step)}.0 s" in news.alerts[0].text
    assert [clocks.run() for _ in range(100)] == [clocks.run()] * 100
    assert clocks.run().alerts == ()


def test_f24_the_page_says_from_when_to_when():
    clocks = Clocks()
    text = clocks.run(step=3_600).alerts[0].text
    assert text.startswith(
        "by 3600.0 s, from 16:36:40 to 17:36:40 IST; in 10 s sessions and time rules go by the new time"
    )


@pytest.mark.parametrize("step", [0, 1.9, -1.9])
def test_f24_a_small_correction_is_no_step_but_several_are(step):
    clocks = Clocks()
    assert clocks.run(step=step).alerts == ()
    assert clocks.watch.old_utc_ns(clocks.reading) is None
    assert bool(clocks.run(step=step).alerts) is bool(step)


@given(st.lists(st.floats(-0.4, 0.4), max_size=5), st.floats(0.001, 29))
def test_f24_no_false_step_whatever_the_beat(noise, seconds):
    """Up to two seconds of all corrections together, and beats as late as they like, are no news."""
    clocks = Clocks()
    for step in noise:
        assert clocks.run(seconds, step=step).alerts == ()


def test_f24_the_old_clock_goes_on_for_ten_seconds_by_the_monotonic_one():
    clocks = Clocks()
    clocks.run(step=3_600)
    assert clocks.watch.old_utc_ns(clocks.reading) == clocks.utc - 3_600 * S
    clocks.run(UNSURE_NS / S - 0.001)
    assert clocks.watch.old_utc_ns(clocks.reading) == clocks.utc - 3_600 * S
    late = clocks.reading
    assert clocks.watch.old_utc_ns(ClockReading(late.at_ns + S, late.utc_ns, late.boot_ns)) is None
    clocks.run(0.001)
    assert clocks.watch.old_utc_ns(clocks.reading) is None


def test_f24_a_step_back_within_the_ten_seconds_is_told_and_the_first_clock_stays_the_witness():
    clocks = Clocks()
    clocks.run(step=3_600)
    assert of(clocks.run(5, step=-3_600)) == [(Severity.PAGE, "the clock was set back")]
    assert clocks.watch.old_utc_ns(clocks.reading) == clocks.utc
    clocks.run(9)
    assert clocks.watch.old_utc_ns(clocks.reading) == clocks.utc
    clocks.run(1)
    assert clocks.watch.old_utc_ns(clocks.reading) is None


def test_p16_a_suspended_machine_is_no_step_of_the_clock():
    news = Clocks().run(slept=180)
    assert of(news) == [(Severity.PAGE, "the machine or the program slept")]
    assert news.slept_ns == 180.25 * S


def test_p16_without_a_clock_that_counts_sleep_it_is_both():
    news = Clocks(has_boot=False).run(slept=180)
    assert of(news) == [
        (Severity.PAGE, "the clock was set forward"),
        (Severity.PAGE, "the machine or the program slept"),
    ]
    assert news.slept_ns == 180 * S


def test_p16_a_stopped_process_slept_too_and_a_slow_loop_did_not():
    assert Clocks().run(180).slept_ns == 180 * S
    assert Clocks().run(30).slept_ns == 0
    assert Clocks().run(step=-3_600).slept_ns == 0


def test_p16_before_the_next_beat_the_gap_is_seen_by_the_clock_that_counts_sleep():
    watch = ClockWatch()
    assert watch.gap_ns(START) == 0
    watch.beat(START)
    assert watch.gap_ns(ClockReading(START.at_ns + S, START.utc_ns, START.boot_ns + 181 * S)) == 181 * S
    assert watch.gap_ns(ClockReading(START.at_ns + 40 * S, START.utc_ns, None)) == 40 * S


def test_the_systems_clock_that_counts_sleep_never_goes_back_and_is_not_behind():
    first = boot_ns()
    assert first <= boot_ns()
    assert boot_ns() >= SystemClock().monotonic_ns() - S
