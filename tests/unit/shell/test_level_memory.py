"""Level rows that are deleted and written anew: no default may hold in the gap, and none may be kept for ever."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.level_memory import GRACE_NS, LevelMemory
from core.model.exit_levels import Action
from core.model.trade_rows import LevelRow, MonitoringRow, PlannedLeg, RiskRow, TradeRow
from core.stores.base import Snapshot


def level(level_id, strategy_id=7, value=1_000_00):
    return LevelRow(level_id, strategy_id, "stop_loss", "primary", value, "price", Action.CLOSE_POSITION, "Close")


def trade(strategy_id=7):
    return TradeRow(
        strategy_id,
        strategy_id,
        "",
        "NIFTY",
        501,
        "NSE_FNO",
        "CE",
        True,
        65,
        None,
        None,
        None,
        "MARGIN",
        "",
    )


def snapshot(*levels, risks=(), strategies=(7,)):
    return Snapshot(tuple(trade(each) for each in strategies), (), tuple(risks), tuple(levels), (), frozenset())


def test_rows_that_are_written_anew_leave_no_gap():
    memory = LevelMemory()
    memory.settled(snapshot(level(1), level(2)), 0)
    between, lost = memory.settled(snapshot(), 10)
    assert (between.levels, lost) == ((level(1), level(2)), frozenset())
    assert memory.due_ns() == 10 + GRACE_NS
    after, lost = memory.settled(snapshot(level(3)), 20)
    assert (after.levels, lost) == ((level(3),), frozenset())
    assert memory.due_ns() is None


def test_rows_that_stay_away_are_given_up_and_told_once():
    memory = LevelMemory()
    memory.settled(snapshot(level(1), risks=[RiskRow(7)]), 0)
    assert memory.settled(snapshot(), 5)[0].risks == (RiskRow(7),)
    assert memory.settled(snapshot(), 5 + GRACE_NS - 1)[1] == frozenset()
    gone, lost = memory.settled(snapshot(), 5 + GRACE_NS)
    assert (gone.levels, gone.risks, lost) == ((), (), {7})
    assert memory.settled(snapshot(), 6 + GRACE_NS) == (snapshot(), frozenset())
    assert memory.due_ns() is None


@pytest.mark.parametrize(
    ("table", "rows"), [("monitoring", (MonitoringRow(7, support=23_900_00),)), ("details", (PlannedLeg(7, "CE"),))]
)
def test_rows_of_the_optional_tables_hold_too_and_nobody_is_told_when_they_go(table, rows):
    memory = LevelMemory()
    memory.settled(replace(snapshot(), **{table: rows}), 0)
    between, lost = memory.settled(snapshot(), 10)
    assert (getattr(between, table), lost) == (rows, frozenset())
    assert memory.due_ns() == 10 + GRACE_NS
    gone, lost = memory.settled(snapshot(), 10 + GRACE_NS)
    assert (getattr(gone, table), lost) == ((), frozenset())
    assert memory.due_ns() is None


def test_a_second_gap_has_its_own_time():
    memory = LevelMemory()
    memory.settled(snapshot(level(1)), 0)
    memory.settled(snapshot(), 1)
    memory.settled(snapshot(level(1)), 2)
    assert memory.settled(snapshot(), GRACE_NS + 1)[0].levels == (level(1),)


def test_some_rows_that_go_are_an_edit():
    memory = LevelMemory()
    memory.settled(snapshot(level(1), level(2)), 0)
    assert memory.settled(snapshot(level(2)), 1)[0].levels == (level(2),)


def test_a_strategy_that_is_closed_is_forgotten():
    memory = LevelMemory()
    memory.settled(snapshot(level(1)), 0)
    memory.settled(snapshot(strategies=()), 1)
    assert memory.settled(snapshot(), 2)[0].levels == ()


@given(st.lists(st.tuples(st.integers(0, GRACE_NS), st.sets(st.sampled_from([1, 2, 3, 4]))), max_size=30))
def test_what_holds_is_what_is_there_or_what_was_there_last(steps):
    """Strategy 7 has the odd rows, 8 the even ones. An independent account: time since each was last seen with rows."""
    memory, now, last = LevelMemory(), 0, {7: (set(), None), 8: (set(), None)}
    for wait, ids in steps:
        now += wait
        found, _ = memory.settled(snapshot(*(level(i, 7 if i % 2 else 8) for i in sorted(ids)), strategies=(7, 8)), now)
        for strategy_id in (7, 8):
            here = {i for i in ids if (7 if i % 2 else 8) == strategy_id}
            held = {row.level_id for row in found.levels if row.strategy_id == strategy_id}
            rows, missed_at = last[strategy_id]
            if here:
                last[strategy_id] = (here, None)
                assert held == here
            elif rows:
                missed_at = now if missed_at is None else missed_at
                is_kept = now - missed_at < GRACE_NS
                assert held == (rows if is_kept else set())
                last[strategy_id] = (rows, missed_at) if is_kept else (set(), None)
            else:
                assert held == set()
