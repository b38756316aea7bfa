"""The levels at which one position is closed: typed, validated, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import time

    from core.model.money import Paise


class Rule(StrEnum):
    """Rule kinds. The order is the tie-break of exit_rules 3: stop, trailing, time, target."""

    STOP_LOSS = "stop_loss"
    TRAILING_STOP = "trailing_stop"
    SQUARE_OFF = "square_off"
    DTE_EXIT = "dte_exit"
    THETA_EXIT = "theta_exit"
    PROFIT_TARGET = "profit_target"
    OPERATOR = "operator"
    CLOSED_OUTSIDE = "closed_outside"


class Action(StrEnum):
    """What is to be done, most pressing first (exit_rules 3, precedence)."""

    CLOSE_IMMEDIATELY = "CLOSE_IMMEDIATELY"
    CLOSE_POSITION = "CLOSE_POSITION"
    CLOSE_75 = "CLOSE_75%"
    CLOSE_50 = "CLOSE_50%"
    CLOSE_25 = "CLOSE_25%"
    ADJUST = "ADJUST"
    MONITOR = "MONITOR"
    HOLD = "HOLD"


FULL_EXITS: Final = frozenset({Action.CLOSE_IMMEDIATELY, Action.CLOSE_POSITION})


class Urgency(StrEnum):
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    NORMAL = "NORMAL"


class LevelSource(StrEnum):
    """Where a level came from; the first that has one wins (exit_rules 3)."""

    LEVEL_ROW = "strategy_exit_levels"
    RISK_COLUMN = "strategy_risk_management"
    PROFILE = "profile"
    CATEGORY_DEFAULT = "category default"


@dataclass(frozen=True, slots=True)
class AmountLevel:
    """A P&L threshold of the whole position in paise, as a magnitude > 0, with how it was read."""

    amount: Paise
    source: LevelSource
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrailingLevel:
    """Arms when P&L ≥ `arm` (paise, 0 = from entry); then the stop is peak − `distance` (paise > 0) and only rises."""

    arm: Paise
    distance: Paise
    source: LevelSource
    note: str = ""


@dataclass(frozen=True, slots=True)
class DaysLevel:
    """Fires when days to the earliest expiry ≤ `days`."""

    days: int
    source: LevelSource
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClockLevel:
    """Fires when the IST wall clock reaches `at` on a trading day."""

    at: time
    source: LevelSource
    note: str = ""


@dataclass(frozen=True, slots=True)
class ExitLevels:
    """Every level of one position. None is "this rule is not in force". `notes` name what was read oddly or replaced.

    `max_profit` and `max_loss` are the legs' own expiry payoff in paise as magnitudes; None is unlimited or unknown.
    """

    stop: AmountLevel | None = None
    trailing: TrailingLevel | None = None
    target: AmountLevel | None = None
    target_action: Action = Action.CLOSE_POSITION
    dte: DaysLevel | None = None
    theta: DaysLevel | None = None
    square_off: ClockLevel | None = None
    max_profit: Paise | None = None
    max_loss: Paise | None = None
    notes: tuple[str, ...] = ()
