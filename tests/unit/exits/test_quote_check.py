import pytest

from core.exits.quote_check import is_clean, is_two_sided
from tests.unit.exits.builders import S, quote

TICK = 5


def clean(of, previous=None, age_ns=0):
    return is_clean(of, previous, age_ns, TICK)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (quote(1, 100), True),
        (quote(1, 100, book=False), False),
        (quote(1, 100, bid=99.95, book=False), False),
        (quote(1, 100, ask=100.05, book=False), False),
        (quote(1, 100, bid=0, ask=0.05), False),
        (quote(1, 100, bid=100.05, ask=99.95), False),
        (quote(1, 100, bid=100, ask=100), True),
        (quote(1, 100.01), False),
        (quote(1, 100, bid=99.99, ask=100.05), False),
        (quote(1, 100, bid=99.95, ask=100.01), False),
        # 10 % of the middle of the book, 100: exactly the limit, and one tick more.
        (quote(1, 100, bid=95, ask=105), True),
        (quote(1, 100, bid=95, ask=105.05), False),
        # Five ticks are fine on a cheap option, whatever per cent they are.
        (quote(1, 0.30, bid=0.20, ask=0.45), True),
        (quote(1, 0.30, bid=0.20, ask=0.50), False),
        # The last price within the book ± 1 tick.
        (quote(1, 100.10, bid=99.95, ask=100.05), True),
        (quote(1, 100.15, bid=99.95, ask=100.05), False),
        (quote(1, 99.90, bid=99.95, ask=100.05), True),
        (quote(1, 99.85, bid=99.95, ask=100.05), False),
        # Nobody bids for what is to be had for five ticks: between 0 and that it is. The limits are the same.
        (quote(1, 0.05, ask=0.25, book=False), True),
        (quote(1, 0.05, ask=0.30, book=False), False),
        (quote(1, 0.30, ask=0.25, book=False), True),
        (quote(1, 0.35, ask=0.25, book=False), False),
        (quote(1, 0.05, ask=0.07, book=False), False),
        (quote(1, 0.05, bid=0.05, book=False), False),
        (quote(1, 0.05, bid=0, ask=0.05), False),
    ],
)
def test_grid_book_spread_and_last(of, expected):
    assert clean(of) is expected


@pytest.mark.parametrize(
    ("last", "age_ns", "expected"),
    [(119.95, 0, True), (120, 0, False), (80.05, 0, True), (80, 0, False), (120, S - 1, False), (120, S, True)],
)
def test_a_jump_counts_against_a_young_previous_mark(last, age_ns, expected):
    assert clean(quote(1, last), previous=10_000, age_ns=age_ns) is expected


def test_a_jump_is_measured_by_the_mark_not_by_the_last_print():
    assert clean(quote(1, 120, bid=119.85, ask=119.95), previous=10_000)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (quote(1, 5), True),
        (quote(1, 5, bid=5, ask=5), True),
        (quote(1, 5, bid=5.05, ask=5), False),
        (quote(1, 5, bid=5, book=False), False),
        (quote(1, 5, ask=5, book=False), False),
    ],
)
def test_two_sided_is_both_sides_and_not_crossed(of, expected):
    assert is_two_sided(of) is expected
