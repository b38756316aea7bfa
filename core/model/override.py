"""What the operator typed for one position: it comes before every row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import time

    from core.model.exit_levels import Action
    from core.model.money import Paise
    from core.model.profile import Asked


class Kind(StrEnum):
    """The kinds of levels that an override sets or switches off, by the words it is written with."""

    STOP = "stop"
    TRAIL = "trail"
    PREMIUM_TRAIL = "premium_trail"
    LOCK = "lock"
    TARGET = "target"
    SCALE = "scale"
    DTE = "dte"
    THETA = "theta"
    LOSING = "losing"
    HOLD = "hold"
    SQUARE_OFF = "square_off"
    UNDERLYING = "underlying"
    GREEKS = "greeks"
    ADJUST = "adjust"
    OWN_RULES = "own_rules"


@dataclass(frozen=True, slots=True)
class AskedTrail:
    """`distance` or `peak_percent`, one of them. `arm` None: armed from entry."""

    distance: Asked | None = None
    peak_percent: float | None = None
    arm: Asked | None = None


@dataclass(frozen=True, slots=True)
class AskedUnderlying:
    """Paise per unit of the underlying; `candle_minutes` None: every tick."""

    price: Paise
    is_above: bool
    candle_minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """None and () are "not said". `locks`: (trigger, floor). `off`: kinds that are not in force whatever a row says."""

    stop: Asked | None = None
    target: Asked | None = None
    trail: AskedTrail | None = None
    premium_trail: Asked | None = None
    locks: tuple[tuple[Asked, Asked], ...] = ()
    scale: tuple[tuple[Action, Asked], ...] = ()
    dte: int | None = None
    theta: int | None = None
    losing: int | None = None
    hold: int | None = None
    square_off: time | None = None
    underlying: tuple[AskedUnderlying, ...] = ()
    off: frozenset[Kind] = frozenset()
