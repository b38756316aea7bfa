"""Levels that are edited while a breach waits for its witness: what waits at a line that has not moved waits on."""

from dataclasses import replace

import pytest

from core.exits.price_lines import start_peak
from core.model import events as ev
from core.model.exit_levels import AmountLevel, ExitLevels, LevelSource, Rule
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote
from tests.unit.order_side.rig import MS, Rig, leg, position

ROW = LevelSource.LEVEL_ROW
STOP = ExitLevels(stop=AmountLevel(75_000, ROW))
LONG = position(1, leg(11, 501, 75))
"""Bought at ₹90: ₹80 is its stop."""


def crossed(levels=STOP) -> Rig:
    """The stop is crossed by a print with one side of the book, and waits for a second one, or for a second."""
    rig = Rig()
    rig.open(LONG, levels=levels)
    rig.wait(0.25)
    rig.positions({501: 75})
    key = InstrumentKey(Segment.NSE_FNO, 501)
    rig.tell(ev.QuoteArrived(Quote(key, 7_900, 7_895, None, 75, 75, None, rig.now)))
    assert rig.running() is None
    assert Rule.STOP_LOSS in rig.engine.guards[1].breaches
    return rig


def edit(rig: Rig, levels, held=LONG) -> None:
    rig.now += 900 * MS
    rig.tell(ev.PositionOpened(held, levels, rig.now))


def test_a_stop_that_stays_where_it_was_fires_when_its_wait_is_over():
    rig = crossed()
    edit(rig, replace(STOP, target=AmountLevel(90_000, ROW)))
    assert rig.engine.guards[1].levels.target is not None
    assert rig.running() is None
    rig.wait(0.1)
    assert rig.running().signal.rule is Rule.STOP_LOSS


def test_a_second_print_right_after_the_edit_is_a_witness():
    rig = crossed()
    edit(rig, replace(STOP, target=AmountLevel(90_000, ROW)))
    key = InstrumentKey(Segment.NSE_FNO, 501)
    rig.tell(ev.QuoteArrived(Quote(key, 7_890, 7_885, None, 75, 75, None, rig.now)))
    assert rig.running().signal.rule is Rule.STOP_LOSS


@pytest.mark.parametrize(
    "levels", [ExitLevels(stop=AmountLevel(75_001, ROW)), ExitLevels(target=AmountLevel(90_000, ROW))]
)
def test_a_stop_that_was_moved_or_taken_away_begins_anew(levels):
    rig = crossed()
    edit(rig, levels)
    rig.wait(0.1)
    assert rig.running() is None


def test_rows_that_were_edited_begin_anew():
    rig = crossed()
    edit(rig, STOP, position(1, leg(11, 501, 75, lot=25), leg(12, 501, 75)))
    rig.wait(0.1)
    assert rig.running() is None


def test_it_is_over_when_the_price_comes_back():
    rig = crossed()
    edit(rig, replace(STOP, target=AmountLevel(90_000, ROW)))
    rig.quote(501, 9_000)
    rig.wait(0.1)
    assert rig.running() is None
    assert dict(rig.engine.guards[1].breaches) == {}
    assert start_peak(STOP, None) == rig.engine.guards[1].peak
