"""State tables of an exit, of one of its legs, and of one order attempt (exit protocol 2.2).

Rules
1. A pair that is not in a table is a bug: `fire` raises and nothing changes.
2. An attempt is live from the moment it is durable (PREPARED) until the broker's own word ends it, or its absence is proved.
3. FILLED is sticky. Every other end can still be overturned by the broker's report of a fill or of a live order.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from core.model.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Mapping


class AttemptState(StrEnum):
    PREPARED = "PREPARED"
    UNKNOWN = "UNKNOWN"
    WORKING = "WORKING"
    FILLED = "FILLED"
    DEAD = "DEAD"
    REFUSED = "REFUSED"
    ABSENT = "ABSENT"


class AttemptTrigger(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    OUTCOME_LOST = "outcome lost"
    REPORTED_LIVE = "reported live"
    REPORTED_FILLED = "reported filled"
    REPORTED_DEAD = "reported dead"
    PROVED_ABSENT = "proved absent"


LIVE: Final = frozenset({AttemptState.PREPARED, AttemptState.UNKNOWN, AttemptState.WORKING})
"""Their unfilled quantity is reserved: a second order for it could double the exit."""

_A, _T = AttemptState, AttemptTrigger

ATTEMPT_TRANSITIONS: Final[Mapping[tuple[AttemptState, AttemptTrigger], AttemptState]] = {
    (_A.PREPARED, _T.ACCEPTED): _A.WORKING,
    (_A.PREPARED, _T.REFUSED): _A.REFUSED,
    (_A.PREPARED, _T.OUTCOME_LOST): _A.UNKNOWN,
    # The order update overtakes the answer of the POST.
    (_A.PREPARED, _T.REPORTED_LIVE): _A.WORKING,
    (_A.PREPARED, _T.REPORTED_FILLED): _A.FILLED,
    (_A.PREPARED, _T.REPORTED_DEAD): _A.DEAD,
    (_A.UNKNOWN, _T.ACCEPTED): _A.WORKING,
    (_A.UNKNOWN, _T.REFUSED): _A.REFUSED,
    (_A.UNKNOWN, _T.OUTCOME_LOST): _A.UNKNOWN,
    (_A.UNKNOWN, _T.REPORTED_LIVE): _A.WORKING,
    (_A.UNKNOWN, _T.REPORTED_FILLED): _A.FILLED,
    (_A.UNKNOWN, _T.REPORTED_DEAD): _A.DEAD,
    (_A.UNKNOWN, _T.PROVED_ABSENT): _A.ABSENT,
    (_A.WORKING, _T.ACCEPTED): _A.WORKING,
    (_A.WORKING, _T.REPORTED_LIVE): _A.WORKING,
    (_A.WORKING, _T.REPORTED_FILLED): _A.FILLED,
    (_A.WORKING, _T.REPORTED_DEAD): _A.DEAD,
    # The update told us the order lives before the answer was lost, or before an answer that contradicts it.
    (_A.WORKING, _T.OUTCOME_LOST): _A.WORKING,
    (_A.WORKING, _T.REFUSED): _A.WORKING,
    # Nothing ends a fill.
    **{(_A.FILLED, trigger): _A.FILLED for trigger in _T if trigger is not _T.PROVED_ABSENT},
    # A fill that raced the cancel; an answer or an update that comes late.
    (_A.DEAD, _T.REPORTED_FILLED): _A.FILLED,
    (_A.DEAD, _T.REPORTED_LIVE): _A.DEAD,
    (_A.DEAD, _T.REPORTED_DEAD): _A.DEAD,
    (_A.DEAD, _T.ACCEPTED): _A.DEAD,
    (_A.DEAD, _T.OUTCOME_LOST): _A.DEAD,
    (_A.DEAD, _T.REFUSED): _A.DEAD,
    # The broker shows an order that it refused, or that we had proved absent (assumption A1 broken): it is real.
    **{
        (state, trigger): target
        for state in (_A.REFUSED, _A.ABSENT)
        for trigger, target in (
            (_T.ACCEPTED, _A.WORKING),
            (_T.REPORTED_LIVE, _A.WORKING),
            (_T.REPORTED_FILLED, _A.FILLED),
            (_T.REPORTED_DEAD, _A.DEAD),
        )
    },
}


class LegState(StrEnum):
    WAITING = "WAITING"
    OPEN = "OPEN"
    BLOCKED = "BLOCKED"
    FLAT = "FLAT"


class LegTrigger(StrEnum):
    SHORTS_FLAT = "shorts flat"
    NOT_CLOSABLE = "not closable"
    CLOSABLE = "closable"
    PROVED_FLAT = "proved flat"
    LATE_ORDER = "late order"
    WIDENED = "widened"


LEG_TRANSITIONS: Final[Mapping[tuple[LegState, LegTrigger], LegState]] = {
    (LegState.WAITING, LegTrigger.SHORTS_FLAT): LegState.OPEN,
    (LegState.OPEN, LegTrigger.NOT_CLOSABLE): LegState.BLOCKED,
    (LegState.OPEN, LegTrigger.PROVED_FLAT): LegState.FLAT,
    (LegState.BLOCKED, LegTrigger.CLOSABLE): LegState.OPEN,
    (LegState.BLOCKED, LegTrigger.PROVED_FLAT): LegState.FLAT,
    # An order thought absent appears after the leg was proved flat.
    (LegState.FLAT, LegTrigger.LATE_ORDER): LegState.OPEN,
    # The share of it is closed, and now the rest is to be closed as well.
    (LegState.FLAT, LegTrigger.WIDENED): LegState.OPEN,
}


class ExitState(StrEnum):
    EXECUTING = "EXECUTING"
    HALTED = "HALTED"
    CLOSED = "CLOSED"


class ExitTrigger(StrEnum):
    HALT = "halt"
    ALL_FLAT = "all flat"
    WIDENED = "widened"


EXIT_TRANSITIONS: Final[Mapping[tuple[ExitState, ExitTrigger], ExitState]] = {
    (ExitState.EXECUTING, ExitTrigger.HALT): ExitState.HALTED,
    (ExitState.EXECUTING, ExitTrigger.ALL_FLAT): ExitState.CLOSED,
    # A person closed it by hand, or told us to go on.
    (ExitState.HALTED, ExitTrigger.ALL_FLAT): ExitState.CLOSED,
    # The exit of a share becomes one of the whole.
    (ExitState.EXECUTING, ExitTrigger.WIDENED): ExitState.EXECUTING,
    (ExitState.HALTED, ExitTrigger.WIDENED): ExitState.EXECUTING,
}

_State = TypeVar("_State", AttemptState, LegState, ExitState)
_Trigger = TypeVar("_Trigger", AttemptTrigger, LegTrigger, ExitTrigger)


def fire(table: Mapping[tuple[_State, _Trigger], _State], state: _State, trigger: _Trigger) -> _State:
    """The state after `trigger`.

    Raises:
        BugError: the table has no such row. The caller's state is untouched.
    """
    try:
        return table[state, trigger]
    except KeyError:
        raise BugError(f"expected a transition from {state} on '{trigger}', the table has none") from None
