"""Signals that no level has fired: what an operator asks for, and what others have done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.exit_levels import Action, Rule, Urgency
from core.model.signals import Signal

if TYPE_CHECKING:
    from core.model.money import Paise

OUTSIDE_TEXT: Final = "the broker holds nothing of it any more"


def operator_signal(strategy_id: int, pnl: Paise | None, at_ns: int) -> Signal:
    return Signal(
        strategy_id=strategy_id,
        rule=Rule.OPERATOR,
        action=Action.CLOSE_IMMEDIATELY,
        urgency=Urgency.HIGH,
        threshold=None,
        observed=None,
        pnl=pnl,
        reason="operator asked for it",
        decided_ns=at_ns,
    )


def outside_signal(strategy_id: int, at_ns: int) -> Signal:
    """Somebody else has closed the position: the rows are to be written, nothing is to be ordered."""
    return Signal(
        strategy_id=strategy_id,
        rule=Rule.CLOSED_OUTSIDE,
        action=Action.CLOSE_POSITION,
        urgency=Urgency.NORMAL,
        threshold=None,
        observed=None,
        pnl=None,
        reason=OUTSIDE_TEXT,
        decided_ns=at_ns,
    )
