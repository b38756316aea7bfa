"""A position and its levels as plain facts: what the oracle judges. Imports nothing of the monitor.

Money is integer paise, units are signed (+ bought, - sold; lot size inside), levels are magnitudes of the whole position.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, time
from functools import reduce
from math import gcd

ACTIONS = (
    "CLOSE_IMMEDIATELY", "CLOSE_POSITION", "CLOSE_75%", "CLOSE_50%", "CLOSE_25%", "ADJUST", "MONITOR", "HOLD",
)  # fmt: skip
SHARES = {"CLOSE_75%": 75, "CLOSE_50%": 50, "CLOSE_25%": 25}
WHOLE = ("CLOSE_IMMEDIATELY", "CLOSE_POSITION")
RULES = (
    "stop_loss", "trailing_stop", "premium_trailing", "lock_profit",
    "strategy_limit", "underlying_limit", "account_limit", "portfolio_limit",
    "underlying_level", "greeks", "own_rule",
    "square_off", "dte_exit", "theta_exit", "losing_time_stop", "longest_holding",
    "profit_target", "scaling_target", "adjustment",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contract:
    """`right`: CE, PE, FUT or EQ. `strike` in paise, 0 where there is none. `index` is the key of its underlying."""

    key: str
    underlying: str
    right: str
    strike: int
    expiry: date | None
    lot: int
    index: str = ""


@dataclass(frozen=True, slots=True)
class Leg:
    """`entry` in paise, None while the executor has not written it."""

    row_id: int
    contract: Contract
    units: int
    entry: int | None
    opened_on: date | None = None

    @property
    def key(self) -> str:
        return self.contract.key


@dataclass(frozen=True, slots=True)
class Underlying:
    """`minutes`: the close of candles of this length counts; None: every believed tick."""

    price: int
    is_above: bool
    action: str = "CLOSE_POSITION"
    minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Greek:
    """As `GreekKind` of the rules: kind by name, threshold in its unit, reference None for the first one computed."""

    kind: str
    threshold: float
    action: str = "CLOSE_POSITION"
    reference: float | None = None


@dataclass(frozen=True, slots=True)
class Levels:
    """None and () are "not in force". `distance_share`: the trailing distance in per cent of the peak, instead of `distance`."""

    stop: int | None = None
    arm: int | None = None
    distance: int | None = None
    distance_share: int | None = None
    target: int | None = None
    target_action: str = "CLOSE_POSITION"
    dte: int | None = None
    theta: int | None = None
    square_off: time | None = None
    premium_trailing: int | None = None
    lock: tuple[tuple[int, int], ...] = ()
    scaling: tuple[tuple[int, str], ...] = ()
    losing_time: int | None = None
    holding: int | None = None
    adjustment: tuple[int, int] | None = None
    underlying: tuple[Underlying, ...] = ()
    greeks: tuple[Greek, ...] = ()


@dataclass(frozen=True, slots=True)
class Position:
    strategy_id: int
    legs: tuple[Leg, ...]
    levels: Levels = field(default_factory=Levels)

    @property
    def underlying(self) -> str:
        return self.legs[0].contract.underlying

    @property
    def expiry(self) -> date | None:
        return min((leg.contract.expiry for leg in self.legs if leg.contract.expiry), default=None)

    @property
    def premium(self) -> int | None:
        """Sold less bought: positive is a credit."""
        if any(leg.entry is None for leg in self.legs):
            return None
        return -sum(leg.units * (leg.entry or 0) for leg in self.legs)

    def share_to_close(self, percent: int, closed: dict[int, int]) -> tuple[int, ...] | None:
        """Units (unsigned) of each leg still to close so that `percent` of the original is gone; None when that cannot be.

        The legs shrink together by whole lots in their smallest common ratio. `closed`: units gone before, by row.
        """
        lots = [divmod(abs(leg.units), leg.contract.lot) for leg in self.legs]
        if any(odd for _, odd in lots):
            return None
        sets = reduce(gcd, (whole for whole, _ in lots))
        gone = sets * percent // 100
        units = tuple(gone * (abs(leg.units) // sets) - closed.get(leg.row_id, 0) for leg in self.legs)
        return units if min(units) > 0 else None

    def without(self, closed: dict[int, int]) -> tuple[Leg, ...]:
        """The legs that are left when `closed` units of each row are gone."""
        left = ((leg, abs(leg.units) - closed.get(leg.row_id, 0)) for leg in self.legs)
        return tuple(replace(leg, units=units if leg.units > 0 else -units) for leg, units in left if units > 0)
