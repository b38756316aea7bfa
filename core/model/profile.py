"""Exit levels as shares, for positions whose rows say nothing: the category defaults and the named sets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from core.model.exit_levels import Action

if TYPE_CHECKING:
    from datetime import time

    from core.model.special_levels import GreekKind


class Base(StrEnum):
    """What a number that is asked for counts.

    The first three are per cent: of the largest profit or loss at expiry (of the net premium where that is unlimited), of
    the net premium, of the net credit. STORED is paise as rows store them, per unit, per lot or for the whole position;
    POSITION is paise of the whole position.
    """

    PAYOFF = "payoff"
    PREMIUM = "premium"
    CREDIT = "credit"
    STORED = "stored"
    POSITION = "position"


@dataclass(frozen=True, slots=True)
class Asked:
    """An amount before anything is known of the position: a magnitude ≥ 0, and what it counts."""

    value: float
    base: Base = Base.PAYOFF


@dataclass(frozen=True, slots=True)
class ProfileGreek:
    """One Greek level of a set. The unit of `threshold` is by kind (`GreekKind`)."""

    kind: GreekKind
    threshold: float
    action: Action = Action.ADJUST


@dataclass(frozen=True, slots=True)
class Profile:
    """One set of defaults; None and () leave the value to the next source. Percentages are of the base named beside them.

    Base CREDIT is the net credit of the option legs, so that the stock of a covered call does not count; it is the net
    premium where the options were no credit. Trailing, lock and scaling percentages are of max profit, or of |net premium|
    where that is unlimited. `trailing_peak_percent` is the distance as a share of the peak, in place of the other one.

    `lock`: (trigger, floor), both rising; a floor of 0 moves the stop to cost. `scaling`: (per cent, CLOSE_25, CLOSE_50 or
    CLOSE_75), both rising; `is_scaling` without steps is 25/50/75 % for 25/50/75 %, and on unlimited or unknown profit
    +50 % of the premium for half and +100 % for three quarters. `own_rules` are names of `strategies.own_rules`.
    """

    name: str
    target_percent: float | None = None
    target_base: Base = Base.PAYOFF
    stop_percent: float | None = None
    stop_base: Base = Base.PAYOFF
    dte_days: int | None = None
    theta_days: int | None = None
    losing_time_days: int | None = None
    holding_days: int | None = None
    trailing_arm_percent: float | None = None
    trailing_distance_percent: float | None = None
    trailing_peak_percent: float | None = None
    premium_trailing_percent: float | None = None
    lock: tuple[tuple[float, float], ...] = ()
    is_scaling: bool = False
    scaling: tuple[tuple[float, Action], ...] = ()
    greeks: tuple[ProfileGreek, ...] = ()
    own_rules: tuple[str, ...] = ()
    square_off: time | None = None
