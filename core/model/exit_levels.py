"""The levels at which one position is closed: typed, validated, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import time

    from core.model.money import Paise
    from core.model.special_levels import (
        AdjustmentLevel,
        GreekLevel,
        LockLevel,
        ScalingLevel,
        UnderlyingLevel,
    )


class Rule(StrEnum):
    """Rule kinds. The order is the tie-break of exit_rules 3: stops, trailing, limits, time, target.

    Levels of the underlying, Greeks and a user's own rules stand between limits and time.
    """

    STOP_LOSS = "stop_loss"
    TRAILING_STOP = "trailing_stop"
    PREMIUM_TRAILING = "premium_trailing"
    LOCK_PROFIT = "lock_profit"
    STRATEGY_LIMIT = "strategy_limit"
    UNDERLYING_LIMIT = "underlying_limit"
    ACCOUNT_LIMIT = "account_limit"
    PORTFOLIO_LIMIT = "portfolio_limit"
    UNDERLYING_LEVEL = "underlying_level"
    GREEKS = "greeks"
    OWN_RULE = "own_rule"
    SQUARE_OFF = "square_off"
    DTE_EXIT = "dte_exit"
    THETA_EXIT = "theta_exit"
    LOSING_TIME = "losing_time_stop"
    LONGEST_HOLDING = "longest_holding"
    PROFIT_TARGET = "profit_target"
    SCALING_TARGET = "scaling_target"
    ADJUSTMENT = "adjustment"
    OPERATOR = "operator"
    CLOSED_OUTSIDE = "closed_outside"


class Unit(StrEnum):
    """What the `threshold` and `observed` of a signal count. They are whole numbers, so that records compare exactly."""

    PAISE = "paise"
    DAYS = "days"
    TEN_THOUSANDTHS = "ten-thousandths"
    NONE = "none"


UNITS: Final = {
    Rule.DTE_EXIT: Unit.DAYS,
    Rule.LONGEST_HOLDING: Unit.DAYS,
    Rule.GREEKS: Unit.TEN_THOUSANDTHS,
    Rule.SQUARE_OFF: Unit.NONE,
    Rule.OWN_RULE: Unit.NONE,
    Rule.OPERATOR: Unit.NONE,
    Rule.CLOSED_OUTSIDE: Unit.NONE,
}
"""The unit of each rule's numbers; paise for every rule that is not listed (of an underlying level: its price)."""


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

    OPERATOR = "operator's override"
    LEVEL_ROW = "strategy_exit_levels"
    RISK_COLUMN = "strategy_risk_management"
    CONDITIONS = "exit_conditions"
    MONITORING = "strategy_monitoring"
    PROFILE = "profile"
    SETTING = "setting"
    CATEGORY_DEFAULT = "category default"


@dataclass(frozen=True, slots=True)
class AmountLevel:
    """A P&L threshold of the whole position in paise, as a magnitude > 0, with how it was read."""

    amount: Paise
    source: LevelSource
    note: str = ""


@dataclass(frozen=True, slots=True)
class TrailingLevel:
    """Arms when P&L ≥ `arm` (paise, 0 = from entry); then the stop is peak − distance and only rises.

    The distance is `distance` (paise > 0), or `percent_of_peak` (above 0, below 100) of the peak where that is given.
    """

    arm: Paise
    distance: Paise
    source: LevelSource
    note: str = ""
    percent_of_peak: float | None = None

    def distance_at(self, peak: Paise) -> Paise:
        """How far below the peak (paise ≥ 0) the stop is."""
        if self.percent_of_peak is None:
            return self.distance
        return round(peak * self.percent_of_peak / 100)


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
    """Every level of one position. None and () are "this rule is not in force". `notes` name what was read oddly or replaced.

    `premium_trailing` is the distance of the premium trailing stop (|net premium| × share, or an amount). `losing_time`:
    half the stop while DTE is below these days. `holding`: days since the first leg was opened. `own_rules` are names
    of `strategies.own_rules`. `max_profit` and `max_loss` are the legs' own expiry payoff in paise as magnitudes; None is
    unlimited or unknown.
    """

    stop: AmountLevel | None = None
    trailing: TrailingLevel | None = None
    target: AmountLevel | None = None
    target_action: Action = Action.CLOSE_POSITION
    dte: DaysLevel | None = None
    theta: DaysLevel | None = None
    square_off: ClockLevel | None = None
    premium_trailing: AmountLevel | None = None
    lock: LockLevel | None = None
    scaling: tuple[ScalingLevel, ...] = ()
    losing_time: DaysLevel | None = None
    holding: DaysLevel | None = None
    underlying: tuple[UnderlyingLevel, ...] = ()
    greeks: tuple[GreekLevel, ...] = ()
    adjustment: AdjustmentLevel | None = None
    own_rules: tuple[str, ...] = ()
    max_profit: Paise | None = None
    max_loss: Paise | None = None
    notes: tuple[str, ...] = ()
