"""One answer to "may this position be acted on by its prices?", and what it says when not."""

import pytest

from core.exits.safe_to_trade import SAFE, Hindrance, MarkTrust, Reason, safe_to_trade
from core.model.market import QuoteSource
from core.position_cache_manager import PositionCacheManager
from tests.unit.exits.builders import S, key, leg, position, quote


def booked(*legs, quotes=()):
    cache = PositionCacheManager()
    made = cache.put(position(*legs))
    for one in quotes:
        cache.apply(one)
    return made


PAIR = (leg(1, 75, 100), leg(2, -75, 50))
BOTH = (quote(1, 100, at=1), quote(2, 50, at=2))


def test_everything_known_and_believed_is_safe():
    assert safe_to_trade(booked(*PAIR, quotes=BOTH), (), session_open=True) is SAFE


@pytest.mark.parametrize(("session_open", "why"), [(False, Hindrance.CLOSED), (None, Hindrance.UNKNOWN_SESSION)])
def test_a_session_that_is_not_known_to_be_open_comes_first(session_open, why):
    safe = safe_to_trade(booked(*PAIR, quotes=BOTH[:1]), (), session_open=session_open)
    assert (safe.is_safe, safe.is_session_open) == (False, False)
    assert safe.reasons == (Reason(why), Reason(Hindrance.NO_PRICE, key(2)))


def test_each_hindrance_is_named_once_with_its_instrument():
    held = booked(leg(1, 75, None), leg(2, 75, 1), leg(2, -75, 2), leg(3, 75, 1), leg(4, 75, 1), quotes=(
        quote(1, 100, at=1), quote(2, 50, at=2), quote(3, 50, at=3, source=QuoteSource.CACHE),
    ))  # fmt: skip
    safe = safe_to_trade(held, (key(2), key(3)), session_open=True)
    assert safe.reasons == (
        Reason(Hindrance.NO_ENTRY, key(1), 1),
        Reason(Hindrance.STALE, key(2), 2),
        Reason(Hindrance.SAVED_PRICE, key(3), 3),
        Reason(Hindrance.NO_PRICE, key(4)),
    )
    assert (safe.is_safe, safe.is_session_open) == (False, True), "time rules go on"


def test_marks_are_believed_while_the_feed_lives_however_old():
    held, marks = booked(*PAIR, quotes=BOTH), MarkTrust(5)
    marks.feed(0, is_live=True)
    assert marks.stale_keys(held, 10_000 * S) == ()
    marks.feed(10_000 * S, is_live=False)
    marks.feed(10_001 * S, is_live=False)
    assert marks.stale_keys(held, 10_005 * S) == ()
    assert marks.stale_keys(held, 10_005 * S + 1) == (key(1), key(2))


def test_a_feed_that_never_lived_vouches_for_nothing():
    held, marks = booked(*PAIR, quotes=BOTH), MarkTrust(5)
    marks.feed(100 * S, is_live=False)
    assert marks.stale_keys(held, 5 * S + 2) == (key(1),)


def test_a_doubt_ends_with_a_quote_received_after_it():
    cache, marks = PositionCacheManager(), MarkTrust(5)
    held = cache.put(position(*PAIR))
    marks.feed(0, is_live=True)
    for one in BOTH:
        cache.apply(one)
    assert not marks.has_doubts
    marks.doubt(key(1), 7)
    assert marks.stale_keys(held, 8) == (key(1),)
    cache.apply(quote(1, 100, at=7))
    assert marks.stale_keys(held, 8) == (key(1),)
    cache.apply(quote(1, 100, at=8))
    assert marks.stale_keys(held, 8) == ()
    assert not marks.has_doubts


def test_a_saved_price_is_never_believed():
    held, marks = booked(leg(1, 75, 100), quotes=(quote(1, 100, at=5, source=QuoteSource.CACHE),)), MarkTrust(5)
    marks.feed(0, is_live=True)
    assert held.pnl == 0
    assert marks.stale_keys(held, 6) == (key(1),)
