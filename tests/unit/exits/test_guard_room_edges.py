"""How many positions are asked in one beat, and how old a trade may be before a signal says so."""

from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest

from core.exits.engine_words import EngineCounts, with_prices
from core.exits.guard_room import GuardRoom
from core.exits.guard_settings import GuardSettings
from core.exits.judges import Moment
from core.exits.own_rules import ASKED_PER_BEAT, OwnRules
from core.model.exit_levels import ExitLevels
from core.model.memory import PositionMemory
from core.model.session_time import ist_datetime
from core.position_cache_manager import PositionCacheManager
from tests.unit.exits.builders import Desk as OneGuard
from tests.unit.exits.builders import S, amount, leg, position, quote

UTC_NS = int(datetime(2026, 11, 20, 6, 30, tzinfo=UTC).timestamp()) * S


def moment(at_ns: int) -> Moment:
    return Moment(
        at_ns=at_ns,
        utc_ns=UTC_NS,
        ist=ist_datetime(UTC_NS),
        session_open=True,
        is_trading_day=True,
        feed_live=True,
    )


@pytest.mark.parametrize(
    ("count", "asked"), [(100, 100), (256, 256), (600, 256), (1_020, 256), (1_024, 257), (2_000, 501)]
)
def test_a_beat_asks_256_guards_or_a_quarter_of_them(count, asked):
    room, cache = GuardRoom(GuardSettings()), PositionCacheManager()
    for number in range(1, count + 1):
        booked = cache.put(position(leg(number, 75, 100), strategy_id=number))
        room.guard(booked, ExitLevels(), None, 0)
    room.deadlines.clear()
    assert list(room.on_time(moment(S))) == []
    assert sum(guard.has_been_told for guard in room.guards.values()) == asked


def test_a_beat_asks_the_own_rules_of_256_positions():
    class Counting:
        name = "counting"

        def __init__(self):
            self.asked = []

        def judge(self, facts):
            self.asked.append(facts.position.strategy_id)

    rule, alerts = Counting(), []
    rules = OwnRules({"counting": rule}, alerts.append)
    for number in range(1, 601):
        one = OneGuard(leg(1, 75, 100), levels=ExitLevels(own_rules=("counting",)))
        one.tick(1, 100)
        one.guard.booked.position = replace(one.guard.booked.position, strategy_id=number)
        rules.opened(one.guard, PositionMemory())
    for expected in (256, 256, 88, 256):
        rule.asked.clear()
        assert list(rules.on_time(moment(S))) == []
        assert len(rule.asked) == expected
    assert ASKED_PER_BEAT == 256
    assert alerts == []


def test_nothing_is_counted_before_anything_happens():
    assert set(asdict(EngineCounts()).values()) == {0}


@pytest.mark.parametrize(("age_s", "is_told"), [(60, False), (61, True)])
def test_a_signal_tells_of_a_last_trade_that_is_more_than_a_minute_old(age_s, is_told):
    desk = OneGuard(leg(1, 75, 100), levels=ExitLevels(stop=amount(3_000)))
    signal = desk.tick(1, 60, exchange_time=UTC_NS // S - age_s)
    told = with_prices(signal, desk.booked, UTC_NS).reason
    assert ("counts at its last trade" in told) is is_told
    assert quote(1, 60).last == 6_000
