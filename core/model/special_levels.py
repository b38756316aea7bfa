"""Levels beyond stop, trail, target and time: locks, scaling, the underlying, Greeks, the adjustment warning."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from core.model.exit_levels import Action, LevelSource
    from core.model.money import Paise


TEN_THOUSAND: Final = 10_000


@dataclass(frozen=True, slots=True)
class LockStep:
    """Once P&L ≥ `trigger` was seen (paise > 0), the stop is at `floor` (paise, below the trigger; 0 is "at cost")."""

    trigger: Paise
    floor: Paise


@dataclass(frozen=True, slots=True)
class LockLevel:
    """Move to cost and lock profit: the highest floor of the steps that were reached counts. Triggers rise, and so do floors."""

    steps: tuple[LockStep, ...]
    source: LevelSource
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScalingLevel:
    """At P&L ≥ `amount` (paise > 0) the share of `action` (CLOSE_25, CLOSE_50, CLOSE_75) is to be gone in total, once."""

    amount: Paise
    action: Action
    source: LevelSource
    note: str = ""


@dataclass(frozen=True, slots=True)
class UnderlyingLevel:
    """Fires when the underlying's mark is at or beyond `price` (paise per unit): at or above it, or at or below it.

    `candle_minutes` is the length of the candles, aligned with the IST clock, whose close is compared; None: every tick.
    """

    price: Paise
    is_above: bool
    action: Action
    source: LevelSource
    note: str = ""
    candle_minutes: int | None = None

    @property
    def name(self) -> str:
        """Names the level in signals and records."""
        way = "above" if self.is_above else "below"
        return way if self.candle_minutes is None else f"{way}, close of {self.candle_minutes} min"


class GreekKind(StrEnum):
    """What is compared with the threshold, and its unit. Sums are of the whole position, by signed units.

    - DELTA: |delta| of the position per unit of its largest leg, a number (0.8).
    - GAMMA: |gamma| as a multiple of the reference (2 is doubled).
    - THETA: what a calendar day of decay costs, in per cent of the position's value; only a position that pays.
    - VEGA: |vega| per volatility point, in per cent of |net premium|.
    - IV_DOWN, IV_UP: change of the position's volatility from the reference, in per cent of it (20: from 0.25 to 0.20).
    - IV_BELOW, IV_ABOVE: the position's volatility in per cent a year (18.5).
    """

    DELTA = "delta"
    GAMMA = "gamma"
    THETA = "theta"
    VEGA = "vega"
    IV_DOWN = "iv_down"
    IV_UP = "iv_up"
    IV_BELOW = "iv_below"
    IV_ABOVE = "iv_above"


@dataclass(frozen=True, slots=True)
class GreekLevel:
    """Fires when the measure of `kind` is at or beyond `threshold` (> 0, unit by kind).

    `reference` is the entry's value (gamma of the whole position per rupee; volatility as a fraction of 1), None: the first
    one that could be computed counts, and is remembered across restarts.
    """

    kind: GreekKind
    threshold: float
    action: Action
    source: LevelSource
    note: str = ""
    reference: float | None = None

    @property
    def in_units(self) -> int:
        """The threshold as signals and records carry it: ten-thousandths."""
        return round(self.threshold * TEN_THOUSAND)


@dataclass(frozen=True, slots=True)
class AdjustmentLevel:
    """Warns once while −`last` ≤ P&L ≤ −`first` (paise, magnitudes, first < last). It closes nothing."""

    first: Paise
    last: Paise
    source: LevelSource
    note: str = ""


class Scope(StrEnum):
    """What a limit sums over: one position, all positions on an underlying, of an account, all that are guarded."""

    STRATEGY = "strategy"
    UNDERLYING = "underlying"
    ACCOUNT = "account"
    PORTFOLIO = "portfolio"


class LimitKind(StrEnum):
    """What of a scope is limited. The order is that in which limits which fire together are told."""

    MAX_LOSS = "max_loss"
    DAILY_LOSS = "daily_loss"
    MAX_PROFIT = "max_profit"


class ScopeKey(NamedTuple):
    """One scope. `name`: the strategy id as text, the underlying in capitals, "" for the account and the portfolio."""

    scope: Scope
    name: str = ""

    def __str__(self) -> str:
        return f"{self.scope.value} {self.name}" if self.name else self.scope.value


@dataclass(frozen=True, slots=True)
class ScopeLimit:
    """Limits of every scope of one kind, paise as magnitudes > 0, None: no such limit.

    `max_loss` and `max_profit` are of the P&L of the open positions since entry (shares already closed included).
    `daily_loss` is of today's change: open positions since the session's first mark (since entry when opened today) plus
    what exits of today have realised; it is kept across restarts. `name`: the one underlying (in capitals) that they hold
    for, before those of every underlying.
    """

    scope: Scope
    max_loss: Paise | None = None
    max_profit: Paise | None = None
    daily_loss: Paise | None = None
    name: str = ""
