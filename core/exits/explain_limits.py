"""The lines of the limits over several positions that hold for one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.explain_line import Threshold
from core.exits.scope_lines import RULE_OF
from core.exits.scope_words import KIND_WORDS
from core.model.exit_levels import LevelSource
from core.model.money import rupees_text
from core.model.session_time import ist_datetime
from core.model.special_levels import LimitKind, ScopeKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.exits.scope_state import LimitState
    from core.model.money import Paise


def limit_lines(states: Iterable[LimitState], pnl: Paise | None) -> tuple[Threshold, ...]:
    """`pnl` is the position's, paise. That of a line is where the position takes its scope to the limit, the others as they are."""
    return tuple(_line(state, pnl) for state in states)


def _line(state: LimitState, pnl: Paise | None) -> Threshold:
    is_daily, is_profit = state.kind is LimitKind.DAILY_LOSS, state.kind is LimitKind.MAX_PROFIT
    key = ScopeKey(state.scope, state.name)
    observed = state.day_pnl if is_daily else state.open_pnl
    waits = state.blind or _rests(state)
    return Threshold(
        rule=RULE_OF[state.scope],
        level=f"P&L{' of the day' if is_daily else ''} of {key} {'≥' if is_profit else '≤'} {rupees_text(state.limit)}",
        pnl=None if waits or pnl is None or observed is None else pnl + state.limit - observed,
        source=LevelSource.SETTING,
        threshold=state.limit,
        observed=observed,
        now=f"{key} {_amount(state.open_pnl)}, of the day {_amount(state.day_pnl)}",
        waits=waits,
        is_above=is_profit,
        name=state.kind.value,
    )


def _rests(state: LimitState) -> str:
    """A scope of which a limit has fired is closed as it is: its limits wait for the next session, or for a reset."""
    if state.latched_ns is None or state.latched_by is None:
        return ""
    at = f"{ist_datetime(state.latched_ns):%d %b %H:%M:%S} IST"
    return f"the {KIND_WORDS[state.latched_by]} of its scope fired at {at}: what is open in it is closed at once"


def _amount(amount: Paise | None) -> str:
    return "not known" if amount is None else rupees_text(amount)
