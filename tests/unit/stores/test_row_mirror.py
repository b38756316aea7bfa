"""What is held of the rows, and which messages put what of it in doubt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.stores.change_sink import RowChange
from core.stores.row_mirror import MANY, TABLES, Doubts, RowMirror, strategies_of
from core.stores.rows import LEVELS, RISKS, STRATEGIES, TRADES


def trade(key, strategy_id, **other):
    return {"new_id": key, "strategy_id": strategy_id} | other


def level(key, strategy_id):
    return {"id": key, "strategy_id": strategy_id}


def filled():
    """Strategies 1 (two legs, one level) and 2 (one leg), nothing in doubt."""
    mirror = RowMirror()
    mirror.replace_all(
        {
            TRADES: [trade(10, 1), trade(11, "1"), trade(20, 2)],
            STRATEGIES: [{"id": 1}, {"id": 2}],
            RISKS: [{"strategy_id": 1}],
            LEVELS: [level(5, 1)],
        }
    )
    mirror.take_doubts()
    return mirror


def keys(mirror, table=TRADES):
    return sorted(row.get("new_id", row.get("id")) for row in mirror.rows()[table])


def test_at_first_everything_is_doubted():
    assert RowMirror().take_doubts() == Doubts(everything=True)


def test_the_rows_of_some_strategies_are_replaced_and_the_others_stay():
    mirror = filled()
    mirror.replace({1}, {TRADES: [trade(12, 1)], STRATEGIES: [{"id": 1}], LEVELS: [level(6, 1), level(7, 1)]})
    assert keys(mirror) == [12, 20]
    assert keys(mirror, LEVELS) == [6, 7]
    assert keys(mirror, STRATEGIES) == [1, 2]
    assert mirror.rows()[RISKS] == []
    assert mirror.strategies() == {1, 2}


def test_a_row_that_moved_is_held_once_also_where_its_old_strategy_was_not_asked_for():
    mirror = filled()
    mirror.replace({2}, {TRADES: [trade(20, 2), trade(11, 2)]})
    assert keys(mirror) == [10, 11, 20]
    mirror.replace({3}, {TRADES: [trade(20, 3), trade(11, 3), trade(30, 3)]})
    assert keys(mirror) == [10, 11, 20, 30]
    assert mirror.strategies() == {1, 3}


def test_a_strategy_without_rows_is_gone():
    mirror = filled()
    mirror.replace({1}, {})
    assert keys(mirror) == [20]
    assert mirror.strategies() == {2}


def test_rows_whose_strategy_cannot_be_read_are_held_until_everything_is_read():
    mirror = RowMirror()
    mirror.replace_all({TRADES: [trade(1, None), trade(2, "x"), trade(3, 7)]})
    mirror.replace({7}, {})
    assert keys(mirror) == [1, 2]
    assert mirror.strategies() == frozenset()
    mirror.replace_all({})
    assert keys(mirror) == []


def test_a_key_that_occurs_twice_is_held_twice():
    mirror = RowMirror()
    mirror.replace_all({TRADES: [trade(1, 7), trade(1, 7)]})
    assert len(mirror.rows()[TRADES]) == 2


def test_trades_come_by_their_time():
    mirror = RowMirror()
    mirror.replace_all({TRADES: [trade(1, 7, timestamp="10:00"), trade(2, 8, timestamp="09:00"), trade(3, 9)]})
    assert [row["new_id"] for row in mirror.rows()[TRADES]] == [3, 2, 1]


@pytest.mark.parametrize(
    ("change", "doubts"),
    [
        (RowChange(TRADES, 99, 3), Doubts(strategies=frozenset({3}))),
        (RowChange(TRADES, 11, None), Doubts(strategies=frozenset({1}))),
        # The row moved from strategy 2 to strategy 1: both have changed.
        (RowChange(TRADES, 20, 1), Doubts(strategies=frozenset({1, 2}))),
        (RowChange(LEVELS, 5, None), Doubts(strategies=frozenset({1}))),
        (RowChange(STRATEGIES, 2, None), Doubts(strategies=frozenset({2}))),
        (RowChange(STRATEGIES, 77, None), Doubts(strategies=frozenset({77}))),
        (RowChange(RISKS, 99, None), Doubts(everything=True)),
        (RowChange(TRADES, None, None), Doubts(everything=True)),
        (RowChange("monitor_lease", 1, None), Doubts()),
    ],
)
def test_what_a_message_puts_in_doubt(change, doubts):
    mirror = filled()
    mirror.note(change)
    assert mirror.take_doubts() == doubts


def test_the_owner_of_a_row_is_the_one_it_was_last_read_with():
    mirror = filled()
    mirror.replace({1, 2}, {TRADES: [trade(20, 1)]})
    mirror.note(RowChange(TRADES, 20, None))
    mirror.note(RowChange(LEVELS, 5, None))
    # The level is not held any more: whose it is now is not known.
    assert mirror.take_doubts() == Doubts(everything=True)
    mirror.note(RowChange(TRADES, 20, None))
    assert mirror.take_doubts() == Doubts(strategies=frozenset({1}))


def test_doubts_taken_are_over_and_those_given_back_join_the_newer_ones():
    mirror = filled()
    mirror.doubt({1})
    taken = mirror.take_doubts()
    assert mirror.take_doubts() == Doubts()
    mirror.doubt({2})
    mirror.give_back(taken)
    assert mirror.take_doubts() == Doubts(strategies=frozenset({1, 2}))
    mirror.doubt_everything()
    assert mirror.take_doubts().everything


def test_very_many_doubted_strategies_are_everything():
    mirror = filled()
    mirror.doubt(range(MANY))
    assert mirror.take_doubts() == Doubts(strategies=frozenset(range(MANY)))
    mirror.doubt(range(MANY + 1))
    assert mirror.take_doubts() == Doubts(everything=True)


def test_whether_there_are_rows_of_a_strategy():
    mirror = filled()
    assert mirror.has_rows(TRADES, None)
    assert mirror.has_rows(TRADES, {2, 3})
    assert not mirror.has_rows(TRADES, {3})
    assert not mirror.has_rows(LEVELS, {2})
    assert mirror.rows_of(LEVELS, {2, 1}) == [level(5, 1)]
    assert not RowMirror().has_rows(TRADES, None)


def test_strategies_of_trades_are_those_that_can_be_read():
    assert strategies_of([trade(1, "4"), trade(2, None), trade(3, 5.0), trade(4, "a")]) == {4, 5}


@given(
    st.dictionaries(st.integers(1, 9), st.integers(1, 4)),
    st.lists(st.tuples(st.sets(st.integers(1, 4)), st.dictionaries(st.integers(1, 9), st.integers(1, 4))), max_size=6),
)
def test_replacing_part_by_part_equals_the_rows_as_they_are(first, steps):
    """Oracle: key → strategy. What is read of some strategies takes out what was known of them and of these keys."""
    mirror, plain = RowMirror(), dict(first)
    mirror.replace_all({TRADES: [trade(key, strategy) for key, strategy in first.items()]})
    for asked, found in steps:
        new = {key: strategy for key, strategy in found.items() if strategy in asked}
        mirror.replace(asked, {TRADES: [trade(key, strategy) for key, strategy in new.items()]})
        plain = {key: strategy for key, strategy in plain.items() if strategy not in asked} | new
    held = mirror.rows()[TRADES]
    assert sorted((row["new_id"], row["strategy_id"]) for row in held) == sorted(plain.items())
    assert mirror.strategies() == set(plain.values())
    assert set(mirror.rows()) == set(TABLES)
