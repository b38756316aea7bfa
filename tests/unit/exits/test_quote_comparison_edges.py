"""Feed against REST, where a second, a nanosecond or a paisa decides."""

import pytest

from core.exits.quote_comparison import (
    brackets,
    contradicts,
    differs,
    is_cached,
    is_comparable,
    is_from_before,
    is_overtaken,
    later_s,
)
from core.model.market import Quote, QuoteSource
from tests.unit.exits.builders import S, key

T = 1_795_000_000
HOUR = 3_600


def feed(last=10_000, bid=9_995, ask=10_005, *, at=100 * S, time=T):
    return Quote(key(1), last, bid, ask, 75, 75, time, at)


def rest(last=10_000, bid=9_995, ask=10_005, *, at=101 * S, time=T):
    return Quote(key(1), last, bid, ask, 75, 75, time, at, QuoteSource.REST)


def test_the_time_between_two_answers_needs_both_times():
    assert later_s(rest(time=T), rest(time=T - 7)) == -7
    assert later_s(None, rest()) == 0
    assert later_s(rest(time=None), rest()) == 0
    assert later_s(rest(), rest(time=None)) == 0


def test_a_memory_of_rest_is_less_than_thirty_seconds_old_and_says_something_else():
    known = feed(at=100 * S)
    assert is_cached(known, rest(9_000), 130 * S - 1)
    assert not is_cached(known, rest(9_000), 130 * S)
    assert not is_cached(known, rest(), 101 * S)
    assert not is_cached(None, rest(), 101 * S)


@pytest.mark.parametrize(
    ("late_s", "is_before"), [(0, False), (-1, True), (-HOUR + 1, True), (-HOUR, False), (1, False)]
)
def test_rest_shows_the_market_of_before_within_an_hour(late_s, is_before):
    assert is_from_before(feed(), rest(9_000), late_s) is is_before
    assert not is_from_before(feed(), rest(), late_s), "the same price is no other market"
    assert not is_from_before(None, rest(9_000), late_s)


@pytest.mark.parametrize(
    ("silent_ns", "late_s", "can_tell"),
    [
        (2 * S, None, True),
        (2 * S - 1, None, False),
        (S, 0, False),
        (S, 1, True),
        (0, 1, True),
        (-1, 1, False),  # A packet came after the request.
        (-1, 2, True),
        (S, 2, True),
    ],
)
def test_rest_can_tell_of_the_feed_after_two_seconds_of_silence_or_by_a_later_trade(silent_ns, late_s, can_tell):
    assert is_comparable(feed(at=100 * S), late_s, 100 * S + silent_ns) is can_tell


def test_rest_can_tell_of_a_feed_that_has_brought_nothing():
    assert is_comparable(None, None, 100 * S)


@pytest.mark.parametrize(
    ("silent_ns", "late_s", "is_old"),
    [(S - 1, None, True), (S, None, False), (0, 0, True), (0, -1, True), (0, 1, False), (-S, None, True)],
)
def test_an_answer_is_overtaken_by_a_packet_of_the_second_before_the_request(silent_ns, late_s, is_old):
    assert is_overtaken(feed(at=100 * S), rest(9_000), late_s, 100 * S + silent_ns) is is_old
    assert not is_overtaken(feed(at=100 * S), rest(), late_s, 100 * S + silent_ns)
    assert not is_overtaken(None, rest(), late_s, 100 * S)


@pytest.mark.parametrize(
    ("base", "other", "expected"),
    [
        (feed(), rest(), False),
        (feed(), rest(10_001), True),
        (feed(), rest(bid=9_990), True),
        (feed(), rest(ask=10_010), True),
        (feed(bid=None, ask=None), rest(), False),  # An index has no book.
        (feed(), rest(bid=None, ask=None), False),
        (feed(bid=9_995, ask=None), rest(bid=9_995, ask=None), False),
        (feed(bid=9_995, ask=None), rest(bid=9_990, ask=None), True),
        (feed(bid=None, ask=10_005), rest(bid=None, ask=10_010), True),
        (feed(bid=9_995, ask=None), rest(bid=None, ask=10_005), True),
    ],
)
def test_what_another_quote_is(base, other, expected):
    assert differs(base, other) is expected
    assert differs(other, base) is expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (feed(), True),
        (feed(9_995), True),
        (feed(9_994), False),
        (feed(10_006), False),
        (feed(bid=None), False),
        (feed(bid=10_010), False),  # Crossed.
    ],
)
def test_a_book_brackets_its_last_price(seen, expected):
    assert brackets(seen) is expected


def against(other, late_s=None, *, is_settled=False, known=None):
    return contradicts(known or feed(), other, late_s, is_settled=is_settled)


def test_prices_contradict_when_they_are_more_than_five_percent_apart():
    wide = {"bid": None, "ask": None}
    assert not against(rest(10_500, **wide))
    assert against(rest(10_501, **wide))
    assert not against(rest(9_500, **wide))
    assert against(rest(9_499, **wide))


def test_on_a_cheap_option_they_must_be_more_than_five_ticks_apart():
    cheap = feed(100, 95, 105)
    assert not against(rest(125, None, None), known=cheap)
    assert against(rest(126, None, None), known=cheap)


def test_a_price_is_the_last_one_inside_the_book_and_the_books_side_outside_of_it():
    assert not against(rest(12_000, 10_000, 10_100)), "the book has come back"
    assert against(rest(10_000, 11_900, 12_100)), "the book has left"
    assert not against(rest(10_480, 9_000, 12_000)), "a wide book says nothing against its last price"
    assert not against(rest(10_000, 9_995, 10_005), known=feed(12_000, 9_995, 10_005))
    assert not against(rest(10_480, None, None), known=feed(10_400, 9_500, 12_000))


def test_the_two_must_be_of_the_same_two_seconds():
    assert against(rest(12_000, None, None, at=102 * S))
    assert not against(rest(12_000, None, None, at=102 * S + 1))


def test_one_trade_has_one_price_for_half_a_minute_once_its_second_is_over():
    late = rest(12_000, None, None, at=130 * S)
    assert against(late, 0, is_settled=True)
    assert not against(rest(12_000, None, None, at=130 * S + 1), 0, is_settled=True)
    assert not against(late, 0, is_settled=False)
    assert not against(late, None, is_settled=True), "nobody knows whether it is the same trade"
    assert not against(late, 1, is_settled=True), "it is a later one"
    assert not against(rest(10_000, 11_900, 12_100, at=130 * S), 0, is_settled=True), "only the book has moved"


def test_a_later_trade_or_a_feed_without_a_book_contradicts_nothing():
    assert against(rest(12_000, None, None), 1)
    assert not against(rest(12_000, None, None), 2)
    assert not against(rest(12_000), known=feed(bid=None))
    assert not contradicts(None, rest(12_000), None, is_settled=True)
