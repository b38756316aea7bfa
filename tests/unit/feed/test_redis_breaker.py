"""When a failed Redis is tried again."""

import pytest

from core.redis_breaker import RedisBreaker

MS = 1_000_000
S = 1_000 * MS


def waits(breaker, jitter, count, now=0):
    """How long each of `count` failures in a row keeps it open, found by asking every millisecond."""
    found = []
    for _ in range(count):
        breaker.failed(now, jitter)
        wait = next(ms for ms in range(10_001) if breaker.may_try(now + ms * MS))
        found.append(wait)
        now += wait * MS
    return found


def test_it_is_used_until_it_fails():
    breaker = RedisBreaker()
    assert not breaker.is_open
    assert breaker.may_try(0)


def test_the_wait_doubles_from_a_quarter_to_five_seconds():
    assert waits(RedisBreaker(), 1.0, 8) == [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]


@pytest.mark.parametrize(("jitter", "first", "last"), [(0.0, 125, 2_500), (0.5, 188, 3_750)])
def test_jitter_takes_off_up_to_half(jitter, first, last):
    found = waits(RedisBreaker(), jitter, 8)
    assert (found[0], found[-1]) == (first, last)


def test_an_outage_is_one_episode_with_one_beginning_and_one_end():
    breaker = RedisBreaker()
    assert breaker.worked(0) is None
    assert [breaker.failed(at * S, 1.0) for at in (10, 11, 12)] == [True, False, False]
    assert breaker.is_open
    assert breaker.worked(13 * S) == 3 * S
    assert breaker.worked(14 * S) is None
    assert breaker.failed(15 * S, 1.0)


def test_who_works_steadily_is_tried_again_at_once():
    breaker = RedisBreaker()
    waits(breaker, 1.0, 6)
    breaker.worked(100 * S)
    breaker.worked(104 * S)
    assert waits(breaker, 1.0, 1, now=105 * S) == [250]


def test_who_comes_and_goes_is_left_alone_for_longer():
    breaker = RedisBreaker()
    waits(breaker, 1.0, 3)
    breaker.worked(100 * S)
    assert waits(breaker, 1.0, 1, now=105 * S - 1) == [2_000]


def test_a_first_failure_waits_for_a_quarter_of_a_second_however_soon_it_comes():
    breaker = RedisBreaker()
    breaker.worked(0)
    assert waits(breaker, 1.0, 1, now=1) == [250]
