"""What a user's own rule is asked, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from core.model.exit_levels import Urgency

if TYPE_CHECKING:
    from datetime import datetime

    from core.model.exit_levels import Action, ExitLevels
    from core.model.money import Paise
    from core.model.position import Position


class PositionFacts(NamedTuple):
    """What an own rule may look at. All marks are believed when it is asked.

    `pnl` is paise, shares already closed included; `pnl_percent` of |net premium|, None where that is 0. `peak` is the
    highest P&L that a trailing rule has seen, None before. `marks` are paise per unit, by leg, in the order of
    `position.legs`. `days` is DTE, None when no leg expires; `ist` is now.
    """

    position: Position
    levels: ExitLevels
    pnl: Paise
    pnl_percent: float | None
    peak: Paise | None
    marks: tuple[Paise, ...]
    days: int | None
    ist: datetime


class Wish(NamedTuple):
    """What an own rule wants done, and why, in one line for the trader. ADJUST only warns; MONITOR and HOLD do nothing."""

    action: Action
    reason: str
    urgency: Urgency = Urgency.HIGH


class OwnRule(Protocol):
    """One small class. `judge` is asked while the session is open and every price is believed: four times a second, with
    many hundred positions less often.

    It must answer at once and from its argument alone: no clock, no file, no network. Instances serve all positions.
    """

    @property
    def name(self) -> str: ...

    def judge(self, facts: PositionFacts) -> Wish | None: ...
