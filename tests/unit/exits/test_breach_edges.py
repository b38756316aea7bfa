"""What a backlog leaves of quotes, and whose witness counts."""

from core.exits.breach import Breach, pnl_at_best_side, suspect_legs
from core.exits.quote_check import QuoteLimits
from core.position_cache_manager import PositionCacheManager
from tests.unit.exits.builders import MS, S, key, leg, position, quote

LIMITS = QuoteLimits()
START = 100 * S


class Pair:
    """Long at ₹100 and short at ₹50, both quoted with a tight book."""

    def __init__(self):
        self.cache = PositionCacheManager()
        self.booked = self.cache.put(position(leg(1, 75, 100), leg(2, -75, 50)))

    def quote(self, security_id, last, at, **terms):
        self.cache.apply(quote(security_id, last, at=at, **terms))


def quoted() -> Pair:
    pair = Pair()
    pair.quote(1, 100, START)
    pair.quote(2, 50, START)
    return pair


def test_the_best_sides_are_known_when_every_book_is_and_none_is_out_of_a_backlog():
    pair = Pair()
    pair.quote(1, 100, START)
    assert pnl_at_best_side(pair.booked) is None, "the other leg has no quote"
    pair.quote(2, 50, START)
    assert pnl_at_best_side(pair.booked) == 75 * 5 + 75 * 5
    pair.booked.backlog.begin(START, S)
    assert pnl_at_best_side(pair.booked) is None


def test_a_clean_quote_out_of_a_backlog_is_suspect():
    pair = quoted()
    assert suspect_legs(pair.booked, LIMITS) == ()
    pair.booked.backlog.begin(START, S)
    assert suspect_legs(pair.booked, LIMITS) == (0, 1)


def test_a_jump_counts_within_a_second_of_the_quote_before_however_long_the_machine_runs():
    for after_ns, expected in ((999 * MS, (0,)), (S, ())):
        pair = quoted()
        pair.quote(1, 130, START + after_ns)
        assert suspect_legs(pair.booked, LIMITS) == expected


def witnessed(*security_ids, backlog=False) -> Breach:
    """A breach of both legs, after which some have shown another price."""
    pair = quoted()
    breach = Breach(pair.booked, START, key(1))
    for security_id in security_ids:
        pair.quote(security_id, 90, START + S)
    breach.note_updates()
    if backlog:
        pair.booked.backlog.begin(START + S, S)
    return breach


def test_every_suspect_leg_needs_a_witness_of_its_own():
    assert witnessed(1, 2).is_repeated((0, 1))
    assert not witnessed(1).is_repeated((0, 1))
    assert witnessed(1).is_repeated((0,))
    assert not witnessed(1).is_repeated((1,))


def test_what_came_out_of_a_backlog_is_no_witness():
    assert not witnessed(1, 2, backlog=True).is_repeated((0, 1))
