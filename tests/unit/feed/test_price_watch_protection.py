"""Unprotected positions: each is told once, in time, and never a thousand pages at once."""

from __future__ import annotations

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.model import events as ev
from core.model.commands import Severity
from core.model.exit_levels import ExitLevels
from core.model.market import QuoteSource
from core.model.signals import Mode
from core.position_cache_manager import PositionCacheManager
from core.protection_watch import ProtectionWatch
from tests.fakes.manual_clock import ManualClock
from tests.unit.exits.builders import amount, call, key, position, put, quote

LEVELS = ExitLevels(stop=amount(1_000))


class Rig:
    def __init__(self, count):
        self.clock = ManualClock()
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.ALERT)
        self.alerts = []
        self.is_open = True
        for number in range(count):
            first = 4 * number
            legs = (
                call(first + 1, 75, 26_400, 40), call(first + 2, -75, 26_200, 90),
                put(first + 3, 75, 25_800, 45), put(first + 4, -75, 26_000, 95),
            )  # fmt: skip
            self.engine.handle(ev.PositionOpened(position(*legs, strategy_id=number + 1), LEVELS, 0))
        self.watch = ProtectionWatch(lambda: self.engine.guards, self.alerts.extend, self.clock.monotonic)
        self.pass_seconds(6)

    def pass_seconds(self, seconds):
        self.clock.pass_seconds(seconds)
        for _ in range(5):
            told = ev.TimePassed(self.clock.monotonic, self.clock.utc, session_open=True, is_trading_day=True)
            self.engine.handle(told)

    def price(self, strategy_id, first=40):
        for leg, price in enumerate((first, 90, 45, 95), 1):
            self.engine.on_quote(quote(4 * (strategy_id - 1) + leg, price, at=self.clock.monotonic))

    def look(self):
        """One round; the number of its steps."""
        return sum(1 for _ in self.watch.look(self.clock.monotonic, is_open=self.is_open))


def test_a_saved_price_waits_for_the_market_like_no_price_at_all():
    """A start that took long (token, instrument master) shows Redis' prices some moments before the feed is there."""
    rig = Rig(1)
    for leg, price in enumerate((40, 90, 45, 95), 1):
        rig.engine.on_quote(quote(leg, price, at=rig.clock.monotonic, source=QuoteSource.CACHE))
    rig.look()
    rig.pass_seconds(1)
    rig.look()
    assert rig.alerts == []
    rig.pass_seconds(2)
    rig.look()
    assert [alert.subject for alert in rig.alerts] == ["Iron Condor (1) is unprotected"]
    assert "only a saved price" in rig.alerts[0].text


def test_each_of_a_few_unprotected_positions_is_paged_once():
    rig = Rig(2)
    for _ in range(10):
        rig.look()
    assert rig.alerts == [], "their first prices are on the way"
    rig.pass_seconds(2)
    for _ in range(10):
        rig.look()
    assert [alert.subject for alert in rig.alerts] == [f"Iron Condor ({n}) is unprotected" for n in (1, 2)]
    assert rig.alerts[0].text.startswith("no price for NSE_FNO:1")


def test_a_new_position_is_paged_only_when_its_first_price_does_not_come():
    rig = Rig(1)
    rig.price(1)
    rig.look()
    rig.pass_seconds(2)
    rig.price(1)
    rig.look()
    assert rig.alerts == []


def test_a_dead_feed_is_one_page_and_not_a_thousand_and_the_round_is_made_in_steps():
    rig = Rig(1_000)
    assert rig.look() == 10
    rig.pass_seconds(2)
    rig.look()
    (alert,) = rig.alerts
    assert alert.subject == "1000 positions are unprotected"
    assert " 20 and 980 more" in alert.text


def test_whoever_was_paged_hears_that_it_is_over_and_of_the_next_time_at_once():
    rig = Rig(1)
    rig.engine.desk.feed_live = True
    rig.price(1)
    rig.pass_seconds(1)
    said = []
    for _ in range(2):
        rig.alerts.clear()
        rig.engine.desk.feed_live = False
        for _ in range(8):
            rig.pass_seconds(1)
            rig.look()
        said.append([alert.severity for alert in rig.alerts])
        rig.alerts.clear()
        rig.engine.desk.feed_live = True
        for _ in range(8):
            rig.price(1)
            rig.pass_seconds(1)
            rig.look()
        said.append([alert.subject for alert in rig.alerts])
    assert [said[0], said[2]] == [[Severity.PAGE], [Severity.PAGE]]
    assert all(subjects and subjects[-1].endswith("is protected again") for subjects in (said[1], said[3]))


def test_a_flapping_price_is_not_paged_at_every_turn_and_a_lasting_one_again_after_a_while():
    rig = Rig(1)
    rig.engine.desk.feed_live = False
    for _ in range(10):
        rig.price(1)
        rig.look()
        rig.pass_seconds(7)
        rig.look()
    assert len(rig.alerts) == 1
    rig.pass_seconds(300)
    rig.look()
    assert len(rig.alerts) == 2
    assert rig.alerts[1].text.startswith("no fresh price for NSE_FNO:1 for ")


def test_nothing_is_said_of_missing_prices_in_the_first_seconds():
    rig = Rig(1)
    rig.watch = ProtectionWatch(lambda: rig.engine.guards, rig.alerts.extend, rig.clock.monotonic)
    for _ in range(3):
        rig.look()
        rig.pass_seconds(1.5)
    assert rig.alerts == []


def test_f26_a_closed_or_unknown_market_pages_nobody_and_the_wait_begins_at_the_opening():
    rig = Rig(1)
    for rig.is_open in (False, None, False):
        rig.look()
        rig.pass_seconds(60)
    rig.is_open = True
    rig.look()
    assert rig.alerts == []
    rig.pass_seconds(2)
    rig.look()
    assert len(rig.alerts) == 1


def test_a_guard_that_knows_nothing_yet_is_not_called_blind():
    """A position edited in a quiet hour: its price is old, its guard new."""
    rig = Rig(1)
    rig.engine.handle(ev.FeedStateChanged(is_live=True, at_ns=rig.clock.monotonic))
    rig.price(1)
    rig.pass_seconds(20)
    rig.engine.guards[1] = type(rig.engine.guards[1])(rig.engine.guards[1].booked, LEVELS, GuardSettings())
    assert not rig.engine.guards[1].has_been_told
    rig.look()
    assert rig.alerts == []


def test_what_is_near_its_stop_is_known():
    rig = Rig(3)
    rig.price(1)
    rig.price(2, first=31)
    rig.look()
    assert rig.watch.near == {key(n) for n in (5, 6, 7, 8)}
