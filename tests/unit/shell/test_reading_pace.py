"""Changes that come alone are read at once; a storm of them takes a fifth of the time."""

from hypothesis import given
from hypothesis import strategies as st

from core.reading_pace import ReadingPace

MS = 1_000_000
SECOND = 1_000 * MS


def storm(pace, took_ns, for_ns):
    """Reads one after another, as often as the pace allows: how many there were."""
    now, reads = 0, 0
    while now < for_ns:
        now += took_ns + pace.pause_ns(now, now + took_ns)
        reads += 1
    return reads


def test_a_handful_of_changes_in_a_row_waits_for_nothing():
    pace = ReadingPace()
    assert [pace.pause_ns(at * 100 * MS, (at * 100 + 50) * MS) for at in range(5)] == [0] * 5


def test_changes_now_and_then_never_wait():
    pace = ReadingPace()
    assert {pace.pause_ns(at * 300 * MS, (at * 300 + 50) * MS) for at in range(1_000)} == {0}


def test_a_storm_takes_a_fifth_of_the_time():
    for took_ms in (5, 50, 200):
        share = storm(ReadingPace(), took_ms * MS, 60 * SECOND) * took_ms * MS / (60 * SECOND)
        assert 0.2 <= share <= 0.23, took_ms


def test_a_store_that_takes_long_is_still_asked_every_second_or_so():
    pace = ReadingPace()
    assert [pace.pause_ns(at * 10 * SECOND, (at * 10 + 7) * SECOND) for at in range(5)] == [SECOND] * 5


@given(st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(0, 10 * SECOND)), max_size=50))
def test_no_pause_is_longer_than_a_second(steps):
    pace, now = ReadingPace(), 0
    for idle_ns, took_ns in steps:
        now += idle_ns
        pause = pace.pause_ns(now, now + took_ns)
        assert 0 <= pause <= SECOND
        now += took_ns + pause
