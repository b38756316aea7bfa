"""Exit levels as shares, for positions whose rows say nothing: the category defaults and the named sets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import time


class Base(StrEnum):
    """What a share is of. PAYOFF is the largest profit or loss at expiry, or the net premium where that is unlimited."""

    PAYOFF = "payoff"
    PREMIUM = "premium"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True)
class Profile:
    """One set of defaults; None leaves the value to the next source. Percentages are of the base named beside them.

    Base CREDIT is the net credit of the option legs, so that the stock of a covered call does not count; it is the net
    premium where the options were no credit. Trailing percentages are of max profit, or of |net premium|.
    """

    name: str
    target_percent: float | None = None
    target_base: Base = Base.PAYOFF
    stop_percent: float | None = None
    stop_base: Base = Base.PAYOFF
    dte_days: int | None = None
    theta_days: int | None = None
    trailing_arm_percent: float | None = None
    trailing_distance_percent: float | None = None
    is_scaling: bool = False
    square_off: time | None = None
