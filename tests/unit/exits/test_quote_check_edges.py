"""A quote's cleanness at the paisa: books from nothing upwards, the grid, and the jump of the mark."""

import pytest

from core.exits.quote_check import QuoteLimits, is_clean, is_two_sided
from core.model.market import Quote
from tests.unit.exits.builders import MS, S, key


def seen(last, bid, ask):
    return Quote(key(1), last, bid, ask, 75, 75, None, 0)


@pytest.mark.parametrize(
    ("bid", "ask", "expected"),
    [(0, 5, False), (1, 5, True), (5, 5, True), (6, 5, False), (None, 5, False), (5, None, False)],
)
def test_both_sides_are_there_from_one_paisa_on(bid, ask, expected):
    assert is_two_sided(seen(5, bid, ask)) is expected


@pytest.mark.parametrize(("bid", "ask", "expected"), [(0, 2, False), (1, 2, True), (2, 1, False), (-1, 2, False)])
def test_a_clean_book_has_a_bid_of_at_least_a_paisa(bid, ask, expected):
    assert is_clean(seen(2, bid, ask), None, 0, 1) is expected


@pytest.mark.parametrize(
    ("last", "bid", "ask"), [(10_002, 10_000, 10_005), (10_000, 9_998, 10_005), (10_000, 9_995, 10_003)]
)
def test_each_price_must_be_on_the_grid(last, bid, ask):
    assert not is_clean(seen(last, bid, ask), None, 0, 5)


@pytest.mark.parametrize(("before", "expected"), [(8_345, False), (8_346, True), (12_519, False), (12_518, True)])
def test_the_jump_is_that_of_the_mark_and_a_fifth_is_too_far(before, expected):
    """The mark is the last price inside the book, 100.15 here: a fifth of 83.45 is 16.69, and 16.70 is more."""
    assert is_clean(seen(10_015, 10_000, 10_020), before, 0, 5) is expected


def test_a_mark_from_a_second_ago_no_longer_matters():
    assert not is_clean(seen(10_000, 9_995, 10_005), 5_000, S - 1, 5)
    assert is_clean(seen(10_000, 9_995, 10_005), 5_000, S, 5)


def test_the_limits_are_those_of_the_exit_rules():
    assert QuoteLimits() == QuoteLimits(
        spread_ticks=5, spread_percent=10, last_outside_ticks=1, jump_percent=20, jump_window_ms=S // MS
    )
