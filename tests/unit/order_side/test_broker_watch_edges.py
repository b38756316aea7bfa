"""How near is near: when the broker's positions are read while nothing is being closed."""

import pytest

from core.exits.broker_watch import BrokerWatch
from core.exits.desk_settings import DeskSettings
from core.exits.desk_state import DeskState
from core.model.position import BrokerPosition, PositionReport
from core.model.signals import Mode
from core.position_cache_manager import OPEN_BOUND, PositionCacheManager
from tests.unit.exits.builders import position as held
from tests.unit.exits.builders import quote, stock
from tests.unit.order_side.rig import MS, SHORT, S, holding

NOW = 1_000 * S


class Watched:
    """Positions of one share each, entry ₹100, and a desk that has asked for positions at `NOW`."""

    def __init__(self, *pnls, session_open=True, lower=-OPEN_BOUND, upper=OPEN_BOUND):
        self.cache = PositionCacheManager()
        self.desk = DeskState(DeskSettings(), Mode.LIVE, lambda key: None, lambda key: False)
        self.desk.session_open = session_open
        self.desk.holdings.last_asked_ns = NOW
        self.watch = BrokerWatch(DeskSettings())
        self.booked = []
        for number, pnl in enumerate(pnls, start=1):
            booked = self.cache.put(held(stock(number, 1, 100), strategy_id=number))
            if pnl is not None:
                self.cache.apply(quote(number, 100 + pnl / 100, book=False))
                assert booked.pnl == pnl
            booked.lower, booked.upper, booked.watched = lower, upper, False
            self.booked.append(booked)

    def is_due(self, after_ns):
        return self.watch.is_due(self.desk, self.cache, NOW + after_ns)


@pytest.mark.parametrize(
    ("pnl", "is_near"), [(-600, True), (-599, False), (-1_000, True), (-2_000, True), (0, False), (None, False)]
)
def test_the_last_two_fifths_of_the_way_to_a_stop_are_near(pnl, is_near):
    """The stop is at a loss of ₹10."""
    assert Watched(pnl, lower=-1_000).is_due(400 * MS) is is_near


@pytest.mark.parametrize(("pnl", "is_near"), [(800, True), (799, False), (1_000, True), (1_500, True), (0, False)])
def test_the_last_fifth_of_the_way_to_a_target_is_near(pnl, is_near):
    assert Watched(pnl, upper=1_000).is_due(400 * MS) is is_near


@pytest.mark.parametrize(("pnl", "is_near"), [(-1_200, True), (-1_201, False)])
def test_a_target_below_zero_has_its_neighbourhood_too(pnl, is_near):
    assert Watched(pnl, upper=-1_000).is_due(400 * MS) is is_near


def test_a_position_without_any_level_is_never_near():
    assert not Watched(-5_000).is_due(400 * MS)
    assert not Watched(5_000).is_due(400 * MS)


def test_one_position_near_its_level_among_many_is_enough():
    watched = Watched(0, -900, 0, lower=-1_000)
    assert watched.is_due(400 * MS)
    assert not watched.is_due(400 * MS - 1)


def test_a_position_that_waits_for_a_second_look_is_near():
    watched = Watched(0, lower=-1_000)
    assert not watched.is_due(400 * MS)
    watched.booked[0].watched = True
    assert watched.is_due(400 * MS)


@pytest.mark.parametrize("session_open", [False, None])
def test_nothing_is_near_while_the_market_is_not_known_to_be_open(session_open):
    watched = Watched(-900, lower=-1_000, session_open=session_open)
    assert not watched.is_due(5 * S - 1)
    assert watched.is_due(5 * S)


def test_positions_are_read_every_five_seconds_and_at_once_when_they_never_were():
    watched = Watched(0)
    assert not watched.is_due(5 * S - 1)
    assert watched.is_due(5 * S)
    watched.desk.holdings.last_asked_ns = None
    assert watched.is_due(0)
    watched.desk.holdings.ask(NOW)
    assert not watched.is_due(14 * S), "the read is under way"
    assert not Watched().is_due(5 * S), "there is nothing to look at"


def test_the_book_is_held_against_a_report_once_a_second():
    watch = BrokerWatch(DeskSettings())
    times = [at for at in range(0, 3 * S + 1, 100 * MS) if watch.may_compare(NOW + at)]
    assert times == [0, S, 2 * S, 3 * S]


def report(net):
    return PositionReport((BrokerPosition(holding(), net, 0, 0),), NOW, NOW)


def test_a_shortfall_is_told_once_until_it_was_whole():
    watch = BrokerWatch(DeskSettings())
    told = [len(watch.shortfall_alerts([SHORT], report(net))) for net in (-75, -50, -50, -25, -75, -50)]
    assert told == [0, 1, 0, 0, 0, 1]


def test_a_strategy_that_is_forgotten_must_be_seen_held_again():
    watch = BrokerWatch(DeskSettings())
    watch.outside.is_closed_outside(SHORT, report(-75), 0)
    assert watch.outside.seen_held == {1}
    watch.forget(1)
    assert watch.outside.seen_held == set()
