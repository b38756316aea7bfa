"""A share that waits in a replay, and becomes the exit of the whole: decided twice, each of its fills told once."""

from dataclasses import replace

from core.model import events as ev
from core.model.exit_levels import Action, Rule
from core.model.instrument import InstrumentKey, Segment
from core.model.special_levels import UnderlyingLevel
from tests.unit.recording.scene import SOURCE, S, position, quote, stop_at
from tests.unit.recording.test_replay_run import NOON, begun, decisions, outcome, prices

INDEX = InstrumentKey(Segment.IDX_I, 13)
[LEG] = position(7, (501, 150, 100_00)).legs
LONG = replace(
    position(7, (501, 150, 100_00)),
    legs=(replace(LEG, instrument=replace(LEG.instrument, underlying_key=INDEX)),),
)
LEVELS = stop_at(1_500_00, underlying=(UnderlyingLevel(24_000_00, False, Action.CLOSE_50, SOURCE),))


def index(run, last, after_s):
    made = quote(501, last, NOON + round(after_s * S), bid=None, ask=None)
    run.quotes([made._replace(key=INDEX)])


def share_under_way():
    """Nobody bids for the option while the underlying falls below its level."""
    run = begun((LONG, LEVELS))
    prices(run, (501, 100_00, 1))
    index(run, 24_100_00, 1)
    run.quotes([quote(501, 100_00, NOON + 2 * S, bid=None)])
    index(run, 24_000_00, 2.1)
    index(run, 23_999_00, 2.2)
    return run


def test_a_stop_makes_it_the_exit_of_the_whole_which_is_sold_once():
    run = share_under_way()
    prices(run, (501, 90_00, 4), (501, 89_00, 5))
    assert [rule for rule, *_ in decisions(run)] == [Rule.UNDERLYING_LEVEL, Rule.STOP_LOSS]
    found = outcome(run)
    assert [sum(fill.units for fill in seen.fills) for seen in found.exits] == [0, 150]
    assert found.exits[0].finished_utc_ns is None
    assert found.realised == found.result
    assert not found.is_open


def test_rows_that_go_while_it_waits_leave_it_what_it_has_to_sell():
    run = share_under_way()
    run.fact(NOON + 3 * S, ev.PositionGone(7, NOON + 3 * S))
    prices(run, (501, 99_00, 4), (501, 99_00, 5))
    [seen] = outcome(run).exits
    assert [fill.units for fill in seen.fills] == [75]
