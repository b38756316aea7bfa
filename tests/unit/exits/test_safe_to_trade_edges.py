"""What is not known of a position hides nothing else, and a price that is not there is not an old one."""

from core.exits.safe_to_trade import Hindrance, MarkTrust, Reason, safe_to_trade
from core.position_cache_manager import PositionCacheManager
from tests.unit.exits.builders import S, key, leg, position, quote


def booked(*legs, quotes=()):
    cache = PositionCacheManager()
    made = cache.put(position(*legs))
    for one in quotes:
        cache.apply(one)
    return made


def test_a_leg_without_price_and_entry_is_named_for_its_price():
    held = booked(leg(1, 75, None), leg(2, 75, 50), quotes=(quote(2, 50, at=2),))
    assert safe_to_trade(held, (key(1), key(2)), session_open=True).reasons == (
        Reason(Hindrance.NO_PRICE, key(1)),
        Reason(Hindrance.STALE, key(2), 2),
    )


def test_an_instrument_without_any_price_is_not_stale():
    marks = MarkTrust(5)
    held = booked(leg(1, 75, 100), leg(2, 75, 50), quotes=(quote(2, 50, at=0),))
    assert marks.stale_keys(held, 100 * S) == (key(2),)


def test_doubts_are_there_until_a_newer_price_comes():
    marks = MarkTrust(5)
    held = booked(leg(1, 75, 100), quotes=(quote(1, 100, at=5),))
    marks.feed(0, is_live=True)
    marks.doubt(key(1), 3)
    assert marks.has_doubts
    assert marks.stale_keys(held, 6) == ()
    assert not marks.has_doubts
