import math
from datetime import UTC, date, datetime, time

import pytest

from core.pricing.expiry_time import expiry_moment_ns, years_to_expiry
from core.pricing.forward import (
    StrikePair,
    best_pair,
    discount_of,
    forward_of_pairs,
    parity_forward,
    spot_forward,
)


def pair(strike, call, put, *, is_clean=True, spread=0.0):
    return StrikePair(strike, call, put, is_clean, spread)


def test_the_forward_is_carried_from_the_spot():
    assert spot_forward(24_000, 0.5, 0.06, 0.01) == pytest.approx(24_000 * math.exp(0.025))
    assert (spot_forward(24_000, -1, 0.06), discount_of(-1, 0.06)) == (24_000, 1)
    assert spot_forward(24_000, 0.5) == 24_000
    assert discount_of(2, 0.06) == pytest.approx(math.exp(-0.12))


def test_the_forward_is_where_call_and_put_cost_the_same():
    assert parity_forward(120, 80, 24_000) == 24_040
    assert parity_forward(120, 80, 24_000, 0.5) == 24_080
    assert parity_forward(0, 120, 24_000) == 23_880


def test_the_best_pair_is_clean_and_nearest_the_money():
    far, near = pair(23_000, 1_050, 40), pair(24_000, 130, 110)
    nearest_but_dirty = pair(24_010, 120, 120, is_clean=False)
    assert best_pair([far, nearest_but_dirty, near]) == near
    assert best_pair([near, pair(24_500, 10, 100)]) == near
    assert forward_of_pairs([far, nearest_but_dirty, near], 0.5) == 24_040
    assert forward_of_pairs([near]) == 24_020
    wide = pair(24_040, 110, 130, spread=4)
    assert best_pair([wide, pair(24_100, 110, 130, spread=2), near]) == near
    narrow = pair(24_040, 110, 130, spread=2)
    assert best_pair([pair(24_000, 130, 110, spread=4), wide, narrow]) == narrow


def test_without_a_clean_pair_there_is_no_forward():
    assert best_pair([]) is None
    assert forward_of_pairs([pair(24_000, 130, 110, is_clean=False)]) is None
    assert forward_of_pairs([pair(1, 0.25, 0.75)]) == 0.5
    assert StrikePair(1, 2, 3, is_clean=True).spread == 0
    # A put worth more than its strike: one of the prices is wrong.
    assert forward_of_pairs([pair(100, 5, 105)]) is None


def test_an_option_ends_when_the_caller_says():
    half_past_three = expiry_moment_ns(date(2026, 12, 24), time(15, 30))
    assert half_past_three == int(datetime(2026, 12, 24, 10, tzinfo=UTC).timestamp()) * 1_000_000_000
    assert expiry_moment_ns(date(2026, 12, 24), time(15, 40)) - half_past_three == 600 * 1_000_000_000
    assert expiry_moment_ns(date(1970, 1, 1), time(5, 30, 0, 7)) == 7_000


def test_time_to_expiry_is_calendar_time_and_never_negative():
    end = expiry_moment_ns(date(2026, 12, 24), time(15, 30))
    assert years_to_expiry(end - 365 * 86_400 * 1_000_000_000, end) == 1
    assert years_to_expiry(end - 60 * 1_000_000_000, end) == pytest.approx(1 / 525_600, rel=1e-15)
    assert (years_to_expiry(end, end), years_to_expiry(end + 1, end)) == (0, 0)
