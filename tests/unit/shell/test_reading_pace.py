"""Changes that come alone are read at once; a storm of them takes a fifth of our time, however far the store is."""

from hypothesis import given
from hypothesis import strategies as st

from core.reading_pace import ReadingPace

MS = 1_000_000
SECOND = 1_000 * MS


def storm(work_ns, for_ns, wait_ns=0):
    """Reads one after another, as often as the pace allows: how many there were."""
    pace, now, reads = ReadingPace(), 0, 0
    while now < for_ns:
        now += wait_ns + work_ns
        now += pace.pause_ns(work_ns, now)
        reads += 1
    return reads


def test_a_handful_of_changes_in_a_row_waits_for_nothing():
    pace = ReadingPace()
    assert [pace.pause_ns(50 * MS, (at + 1) * 60 * MS) for at in range(5)] == [0] * 5


def test_changes_now_and_then_never_wait():
    pace = ReadingPace()
    assert {pace.pause_ns(50 * MS, (at + 1) * 300 * MS) for at in range(1_000)} == {0}


def test_a_storm_takes_a_fifth_of_the_time():
    for work_ms in (5, 50, 200):
        share = storm(work_ms * MS, 60 * SECOND) * work_ms * MS / (60 * SECOND)
        assert 0.2 <= share <= 0.23, work_ms


def test_waiting_for_a_far_store_is_not_work():
    assert storm(5 * MS, 60 * SECOND, wait_ns=200 * MS) == 60_000 // 205 + 1


def test_a_book_that_takes_long_to_build_is_still_read_every_few_seconds():
    pace = ReadingPace()
    assert [pace.pause_ns(7 * SECOND, (at + 1) * 10 * SECOND) for at in range(5)] == [SECOND] * 5


@given(st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(0, 10 * SECOND)), max_size=50))
def test_no_pause_is_longer_than_a_second(steps):
    pace, now = ReadingPace(), 0
    for idle_ns, worked_ns in steps:
        now += idle_ns + worked_ns
        pause = pace.pause_ns(worked_ns, now)
        assert 0 <= pause <= SECOND
        now += pause
