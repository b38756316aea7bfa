"""F10: unusable prices cost the connection, but never again and again."""

from hypothesis import given
from hypothesis import strategies as st

from core.dhan.bad_prices import BadPricePolicy, BadPriceWatch

S = 1_000_000_000


def test_f10_three_in_ten_seconds_are_borne_and_the_fourth_is_not():
    watch = BadPriceWatch()
    assert [watch.is_too_many(bad, bad * S) for bad in (0, 1, 2, 3)] == [False] * 4
    assert watch.is_too_many(4, 11 * S)


def test_f10_four_in_more_than_ten_seconds_are_borne():
    watch = BadPriceWatch()
    assert not any(watch.is_too_many(bad, bad * 4 * S) for bad in range(1, 50))


def test_f10_many_at_once_count_each():
    assert BadPriceWatch().is_too_many(4, 0)
    assert not BadPriceWatch().is_too_many(3, 0)
    assert BadPriceWatch().is_too_many(5_000, 0)


def test_f10_a_new_connection_starts_without_blame():
    watch = BadPriceWatch()
    watch.is_too_many(3, 0)
    watch.connected()
    assert not watch.is_too_many(3, 1)
    assert not watch.is_too_many(6, 1)
    assert watch.is_too_many(7, 1)


def drops(seconds, per_second=10):
    """Seconds at which the connection is given up while bad prices never end."""
    watch = BadPriceWatch()
    found = []
    for second in range(seconds):
        if watch.is_too_many((second + 1) * per_second, second * S):
            found.append(second)
            watch.connected()
    return found


def test_f10_what_is_wrong_for_hours_costs_a_connection_every_ten_minutes_at_most():
    assert drops(3_000) == [0, 60, 180, 420, 900, 1_500, 2_100, 2_700]


def test_f10_after_ten_quiet_minutes_the_patience_is_short_again():
    watch = BadPriceWatch()
    assert watch.is_too_many(10, 0)
    assert watch.is_too_many(20, 60 * S)
    assert watch.is_too_many(30, (180 + 600) * S)
    assert watch.is_too_many(40, (780 + 60) * S)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 20 * S)), max_size=60))
def test_f10_the_first_drop_is_where_a_naive_count_says(steps):
    watch, policy = BadPriceWatch(), BadPricePolicy()
    now = total = 0
    times = []
    for new, gap in steps:
        now += gap
        total += new
        times += [now] * new
        naive = new > 0 and sum(now - at <= policy.within_ns for at in times) > policy.most
        assert watch.is_too_many(total, now) is naive
        if naive:
            return
