"""The guards of all positions: whom a new guard believes, who hears of its changes, and who is asked when."""

import pytest

from core.exits.guard_room import GuardRoom
from core.exits.guard_settings import GuardSettings
from core.exits.judges import Moment
from core.model.exit_levels import ExitLevels, Rule
from core.position_cache_manager import OPEN_BOUND, PositionCacheManager
from tests.unit.exits.builders import MS, NOON, S, amount, days, key, leg, position, quote

STOP = ExitLevels(stop=amount(3_000))
"""75 bought at ₹100: the stop is at ₹60."""


def moment(at_ns, **told) -> Moment:
    known = {"session_open": True, "is_trading_day": True, "feed_live": True} | told
    return Moment(at_ns=at_ns, utc_ns=at_ns, ist=NOON, **known)


class Room:
    """A room with one guarded position, and a list of what is heard of it."""

    def __init__(self, levels=STOP, peak=None):
        self.cache = PositionCacheManager()
        self.room = GuardRoom(GuardSettings())
        self.heard = []
        self.room.on_decision = lambda guard, signal, at_ns: self.heard.append((guard, signal, at_ns))
        self.booked = self.cache.put(position(leg(1, 75, 100)))
        self.guard = self.room.guard(self.booked, levels, peak, 0)

    def beat(self, at_ns, **told):
        return list(self.room.on_time(moment(at_ns, **told)))

    def judge(self, last, at_ns, *, wide=False):
        """A quote that the cache lets through; a wide book is not believed at once."""
        book = {"bid": last, "ask": last + 25} if wide else {}
        arrived = quote(1, last, at=at_ns, **book)
        self.cache.apply(arrived)
        return self.booked.judge(arrived)


def test_an_empty_room_waits_for_nothing():
    room = GuardRoom(GuardSettings())
    assert not room.has_new_deadline
    assert list(room.on_time(moment(S))) == []


def test_a_new_guard_is_asked_at_the_next_beat():
    made = Room(levels=ExitLevels(dte=days(400)))
    assert made.room.has_new_deadline
    assert made.room.deadlines == {1: 0}
    made.judge(100, S)
    assert made.room.deadlines == {}


def test_a_new_guard_doubts_what_was_doubted_before_and_nothing_else():
    made = Room()
    made.judge(100, S)
    made.beat(2 * S)
    assert made.guard.stale_keys(3 * S) == ()
    slot = made.cache.slot_of(key(1))
    slot.doubted_ns = 4 * S
    assert slot.is_doubted
    again = made.room.guard(made.booked, STOP, None, 5 * S)
    made.beat(5 * S)
    assert again.stale_keys(5 * S) == (key(1),)
    made.judge(100, 6 * S)
    assert again.stale_keys(6 * S) == ()


def test_a_standstill_is_noticed_by_the_first_quote_after_it():
    made = Room()
    made.beat(S)
    made.booked.backlog.note_time(S)
    made.judge(59, 60 * S)
    assert made.booked.backlog.holds(made.booked.slots[0].quote)


def test_what_began_or_ended_without_a_signal_is_heard_with_its_time():
    made = Room()
    made.beat(0)
    assert made.judge(100, S) == ()
    assert made.heard == [], "nothing has changed"
    made.judge(59, 2 * S, wide=True)
    assert made.heard == [(made.guard, None, 2 * S)]
    made.heard.clear()
    made.beat(2 * S + MS)
    assert made.heard == [], "it waits as before"
    made.beat(2 * S + 2 * MS, session_open=False)
    assert made.heard == [(made.guard, None, 2 * S + 2 * MS)], "it is given up with the session"


def test_a_signal_is_heard_of_when_it_is_acted_on():
    made = Room()
    made.beat(0)
    (signal,) = made.judge(59, 2 * S)
    assert signal.rule is Rule.STOP_LOSS
    assert made.heard == []
    made.room.tell(signal, 3 * S)
    assert made.heard == [(made.guard, signal, 3 * S)]
    made.room.drop(1)
    made.room.tell(signal, 4 * S)
    assert len(made.heard) == 1


def test_a_signal_of_the_clock_is_not_heard_of_twice():
    made = Room()
    made.beat(0)
    made.judge(59, 2 * S, wide=True)
    made.heard.clear()
    signals = made.beat(3 * S)
    assert {signal.rule for signal in signals} == {Rule.STOP_LOSS}
    assert made.heard == []


def test_a_breach_that_waits_has_a_deadline():
    made = Room()
    made.beat(0)
    made.room.has_new_deadline = False
    made.judge(59, 2 * S, wide=True)
    assert made.room.has_new_deadline
    assert made.room.deadlines == {1: 2 * S + 100 * MS}
    made.judge(70, 2 * S + MS)
    assert made.room.deadlines == {}


def test_a_level_that_had_its_say_has_the_next_beat_ask_for_the_others():
    made = Room()
    made.beat(0)
    made.room.has_new_deadline = False
    made.room.keep_only(1, ExitLevels(), 7 * S)
    assert made.room.has_new_deadline
    assert made.room.deadlines == {1: 7 * S}
    assert made.guard.levels == ExitLevels()


def test_a_guard_that_is_dropped_lets_no_tick_through_and_is_asked_no_more():
    made = Room()
    made.beat(0)
    made.judge(59, 2 * S, wide=True)
    assert made.booked.lower > -OPEN_BOUND
    assert made.room.drop(1) is made.guard
    assert (made.booked.lower, made.booked.upper, made.booked.watched) == (-OPEN_BOUND, OPEN_BOUND, False)
    assert (made.room.guards, made.room.deadlines) == ({}, {})
    assert made.room.drop(1) is None
    assert made.beat(4 * S) == []


def test_a_peak_that_rose_is_remembered():
    made = Room(levels=ExitLevels(premium_trailing=amount(3_000)))
    made.beat(0)
    assert made.room.peaks == set()
    made.judge(101, 2 * S)
    assert made.room.peaks == {1}


@pytest.mark.parametrize("count", [1, 255, 256, 257, 300])
def test_the_sweep_goes_round(count):
    room, cache = GuardRoom(GuardSettings()), PositionCacheManager()
    for number in range(1, count + 1):
        room.guard(cache.put(position(leg(number, 75, 100), strategy_id=number)), STOP, None, 0)
    room.deadlines.clear()
    for beat in (1, 2):
        list(room.on_time(moment(beat * S)))
    assert {guard.started_ns for guard in room.guards.values()} <= {S, 2 * S}
    list(room.on_time(moment(3 * S)))
    asked = [guard for guard in room.guards.values() if guard.now_ns == 3 * S]
    assert len(asked) == min(count, 256)
