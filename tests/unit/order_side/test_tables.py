"""The state tables: every row, and every pair that is in none."""

import itertools

import pytest

from core.exits.exit_lifecycle import (
    ATTEMPT_TRANSITIONS,
    EXIT_TRANSITIONS,
    LEG_TRANSITIONS,
    LIVE,
    AttemptState,
    AttemptTrigger,
    ExitState,
    ExitTrigger,
    LegState,
    LegTrigger,
    fire,
)
from core.model.errors import BugError

A, T = AttemptState, AttemptTrigger
# Written down anew, by the words of the exit protocol 2.2, columns in the order of AttemptTrigger.
ATTEMPT_ROWS = {
    A.PREPARED: (A.WORKING, A.REFUSED, A.UNKNOWN, A.WORKING, A.FILLED, A.DEAD, None),
    A.UNKNOWN: (A.WORKING, A.REFUSED, A.UNKNOWN, A.WORKING, A.FILLED, A.DEAD, A.ABSENT),
    A.WORKING: (A.WORKING, A.WORKING, A.WORKING, A.WORKING, A.FILLED, A.DEAD, None),
    A.FILLED: (A.FILLED, A.FILLED, A.FILLED, A.FILLED, A.FILLED, A.FILLED, None),
    A.DEAD: (A.DEAD, A.DEAD, A.DEAD, A.DEAD, A.FILLED, A.DEAD, None),
    A.REFUSED: (A.WORKING, None, None, A.WORKING, A.FILLED, A.DEAD, None),
    A.ABSENT: (A.WORKING, None, None, A.WORKING, A.FILLED, A.DEAD, None),
}
LEG_ROWS = {
    (LegState.WAITING, LegTrigger.SHORTS_FLAT): LegState.OPEN,
    (LegState.OPEN, LegTrigger.NOT_CLOSABLE): LegState.BLOCKED,
    (LegState.OPEN, LegTrigger.PROVED_FLAT): LegState.FLAT,
    (LegState.BLOCKED, LegTrigger.CLOSABLE): LegState.OPEN,
    (LegState.BLOCKED, LegTrigger.PROVED_FLAT): LegState.FLAT,
    (LegState.FLAT, LegTrigger.LATE_ORDER): LegState.OPEN,
    (LegState.FLAT, LegTrigger.WIDENED): LegState.OPEN,
}
EXIT_ROWS = {
    (ExitState.EXECUTING, ExitTrigger.HALT): ExitState.HALTED,
    (ExitState.EXECUTING, ExitTrigger.ALL_FLAT): ExitState.CLOSED,
    (ExitState.HALTED, ExitTrigger.ALL_FLAT): ExitState.CLOSED,
    (ExitState.EXECUTING, ExitTrigger.WIDENED): ExitState.EXECUTING,
    (ExitState.HALTED, ExitTrigger.WIDENED): ExitState.EXECUTING,
}
TABLES = [
    (
        ATTEMPT_TRANSITIONS,
        A,
        T,
        {(s, t): to for s, row in ATTEMPT_ROWS.items() for t, to in zip(T, row, strict=True) if to},
    ),
    (LEG_TRANSITIONS, LegState, LegTrigger, LEG_ROWS),
    (EXIT_TRANSITIONS, ExitState, ExitTrigger, EXIT_ROWS),
]
PAIRS = [
    pytest.param(table, state, trigger, rows.get((state, trigger)), id=f"{state} on {trigger}")
    for table, states, triggers, rows in TABLES
    for state, trigger in itertools.product(states, triggers)
]


@pytest.mark.parametrize(("table", "state", "trigger", "expected"), PAIRS)
def test_a_pair_goes_where_the_protocol_says_or_is_a_bug(table, state, trigger, expected):
    if expected is None:
        with pytest.raises(BugError, match="expected a transition"):
            fire(table, state, trigger)
    else:
        assert fire(table, state, trigger) is expected


def test_live_is_what_may_still_fill():
    assert frozenset({A.PREPARED, A.UNKNOWN, A.WORKING}) == LIVE


@pytest.mark.parametrize("state", sorted(set(A) - LIVE))
def test_an_end_is_only_left_for_what_the_broker_shows(state):
    left = {trigger for (start, trigger), end in ATTEMPT_TRANSITIONS.items() if start is state and end is not state}
    assert left <= {T.ACCEPTED, T.REPORTED_LIVE, T.REPORTED_FILLED, T.REPORTED_DEAD}
