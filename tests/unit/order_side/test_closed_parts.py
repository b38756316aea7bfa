"""What earlier exits have closed: shares, their P&L, and the levels that have had their say."""

from dataclasses import replace

import pytest

from core.exits.closed_parts import ClosedParts, row_units_of, said_by, take_finished
from core.exits.exit_finish import alert_record
from core.exits.partial_close import to_close
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource, Rule, Urgency
from core.model.memory import ToldLevel
from core.model.signals import Signal
from core.model.special_levels import AdjustmentLevel, ScalingLevel
from tests.unit.order_side.rig import SHORT, Rig, leg, position
from tests.unit.order_side.test_orders_under_way import send

ROW = LevelSource.LEVEL_ROW
FOUR = position(1, leg(11, 501, -300), leg(12, 502, 300))
SCALING = tuple(
    ScalingLevel(amount, action, ROW)
    for amount, action in ((100, Action.CLOSE_25), (200, Action.CLOSE_50), (300, Action.CLOSE_75))
)
LEVELS = ExitLevels(scaling=SCALING)
LEFT = position(1, leg(11, 501, -75), leg(12, 502, 75))


def signal(rule=Rule.SCALING_TARGET, action=Action.CLOSE_50, threshold=200, observed=250) -> Signal:
    return Signal(1, rule, action, Urgency.NORMAL, threshold, observed, observed, "test", 1)


def share(filled=150, pnl=1_000, action=Action.CLOSE_50, held=FOUR, **changes):
    """The record of an exit that closed a share of every leg."""
    record = alert_record("1-1-a", signal(action=action, **changes), held, 1)
    return replace(record, legs=tuple(replace(one, filled=filled) for one in record.legs), realised_pnl=pnl)


def units(held):
    return {one.row_id: one.units for one in held.legs}


def test_only_an_exit_of_a_share_has_row_units():
    assert row_units_of(None) == {}
    rig = Rig()
    rig.begin(SHORT, nets={501: -75})
    send(rig)
    assert row_units_of(rig.running()) == {}
    rig.running().row_units = (-300,)
    assert row_units_of(rig.running()) == {11: -300}


@pytest.mark.parametrize(
    ("told", "levels"),
    [
        (signal(observed=250), {200, 100}),
        (signal(observed=200), {200, 100}),
        (signal(observed=300), {200, 100, 300}),
        (signal(observed=None), {200}),
        (signal(rule=Rule.PROFIT_TARGET, observed=250), {200}),
    ],
)
def test_a_scaling_level_that_closed_nothing_has_spoken_for_those_that_it_overtook(told, levels):
    found = set(said_by(told, LEVELS))
    assert found == {ToldLevel(told.rule, "", amount) for amount in levels}


def test_a_share_is_gone_from_what_is_left_until_somebody_edits_the_row():
    closed = ClosedParts()
    closed.take(share(), units(FOUR))
    assert closed.closed_of(FOUR) == {11: 150, 12: 150}
    assert [one.units for one in closed.left_of(FOUR).legs] == [-150, 150]
    edited = position(1, leg(11, 501, -225), leg(12, 502, 300))
    assert closed.closed_of(edited) == {12: 150}
    closed.take(share(filled=75), units(edited))
    assert closed.closed_of(edited) == {11: 75, 12: 225}, "the edited row begins anew, the other one goes on"


def test_a_share_of_which_the_rows_are_not_known_belongs_to_no_row():
    closed, one_unit = ClosedParts(), position(1, leg(11, 501, -1, lot=1), leg(12, 502, 1, lot=1))
    closed.take(share(filled=1, held=one_unit), {})
    assert closed.closed_of(one_unit) == {}


def test_the_pnl_of_shares_adds_up_and_counts_once_for_the_position():
    closed = ClosedParts()
    closed.take(share(pnl=1_000), units(FOUR))
    closed.take(share(pnl=-300), units(FOUR))
    assert closed.realised_of(FOUR) == 700
    swapped = position(1, FOUR.legs[1], FOUR.legs[0])
    assert closed.realised_of(swapped) == 700
    turned = share(pnl=500)
    closed.take(replace(turned, legs=turned.legs[::-1]), units(FOUR))
    assert closed.realised_of(FOUR) == 1_200, "whichever row an exit names first"
    first_gone = position(1, leg(11, 501, -75), FOUR.legs[1])
    assert closed.realised_of(first_gone) == 500, "the row that it was booked on says something else now"


def test_the_pnl_is_not_known_with_a_share_whose_price_is_not_until_its_row_is_corrected():
    closed = ClosedParts()
    for pnl in (1_000, None, -300):
        closed.take(share(filled=75, pnl=pnl), units(FOUR))
        assert closed.realised_of(FOUR) == (1_000 if pnl == 1_000 else None)
    assert closed.realised_of(LEFT) == 0


def test_rows_corrected_to_what_was_left_go_on_as_the_rest_of_the_original():
    closed = ClosedParts()
    closed.take(share(filled=75, action=Action.CLOSE_25, threshold=100), units(FOUR))
    three = position(1, leg(11, 501, -225), leg(12, 502, 225))
    assert closed.left_of(three) == three
    assert closed.closed_of(three) == {11: 0, 12: 0}
    assert closed.whole_of(three) == (FOUR, {11: 75, 12: 75})
    scaled = ExitLevels(scaling=tuple(replace(level, amount=level.amount * 3 // 4) for level in SCALING))
    assert [level.amount for level in closed.levels_left(three, scaled).scaling] == [150, 225], "25 % are gone"
    # The next share is the one that makes half of the original, and its P&L is all that the corrected rows count.
    part, row_units = to_close(Action.CLOSE_50, three, three, closed.whole_of)
    assert ([one.units for one in part.legs], row_units) == ([-75, 75], (-225, 225))
    closed.take(share(filled=75, pnl=400, threshold=150), units(three))
    assert closed.realised_of(three) == 400
    assert [one.units for one in closed.left_of(three).legs] == [-150, 150]
    assert closed.whole_of(three) == (FOUR, {11: 150, 12: 150})
    assert closed.whole_of(FOUR) == (FOUR, {}), "rows written back to the original are a new position"


def test_rows_of_which_everything_was_closed_are_written_anew_as_a_new_position():
    closed = ClosedParts()
    closed.take(share(filled=300), units(FOUR))
    assert closed.whole_of(LEFT) == (LEFT, {})


def test_levels_whose_share_is_gone_or_that_have_fired_are_left_out():
    closed = ClosedParts()
    assert closed.levels_left(FOUR, LEVELS) is not None
    assert closed.levels_left(FOUR, LEVELS).scaling == SCALING
    closed.take(share(), units(FOUR))
    assert [level.amount for level in closed.levels_left(FOUR, LEVELS).scaling] == [300]
    moved = ExitLevels(scaling=(ScalingLevel(150, Action.CLOSE_50, ROW), ScalingLevel(250, Action.CLOSE_75, ROW)))
    assert [level.amount for level in closed.levels_left(FOUR, moved).scaling] == [250]


def test_the_largest_share_of_any_leg_counts():
    closed = ClosedParts()
    closed.take(share(), units(FOUR))
    quarter = share(action=Action.CLOSE_25, threshold=100)
    closed.take(replace(quarter, legs=quarter.legs[:1]), {11: -300})
    closed.shares[12] = closed.shares[12]._replace(percent=25)
    assert [level.amount for level in closed.levels_left(FOUR, LEVELS).scaling] == [300]


def test_a_target_and_a_warning_that_were_told_are_told_no_more_until_they_are_moved():
    closed = ClosedParts()
    levels = ExitLevels(target=AmountLevel(500, ROW), adjustment=AdjustmentLevel(100, 200, ROW))
    closed.mark_fired([11], ToldLevel(Rule.PROFIT_TARGET, "", 500))
    closed.mark_fired([12], ToldLevel(Rule.ADJUSTMENT, "", -100))
    left = closed.levels_left(FOUR, levels)
    assert (left.target, left.adjustment) == (None, None)
    moved = ExitLevels(target=AmountLevel(501, ROW), adjustment=AdjustmentLevel(101, 200, ROW))
    assert closed.levels_left(FOUR, moved) == moved
    assert closed.levels_left(SHORT, levels).adjustment is not None, "the other row's warning is not this position's"


def test_a_whole_exit_leaves_nothing_of_its_rows():
    closed = ClosedParts()
    closed.take(share(action=Action.CLOSE_POSITION), {})
    assert closed.left_of(FOUR) is None
    more = position(1, *FOUR.legs, leg(13, 503, -75))
    assert [one.row_id for one in closed.left_of(more).legs] == [13]


def test_of_an_exit_whose_beginning_is_not_known_no_level_has_fired():
    closed = ClosedParts()
    take_finished(closed, share(), None)
    assert closed.told_of(FOUR) == frozenset()
    assert closed.left_of(FOUR) == FOUR
