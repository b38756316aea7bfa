"""What a monitor that sees true prices, but sees some of them late, may do and must do. Imports nothing of core.

Whoever is told each price up to `window_s` late knows of each leg some price of the last `window_s`. So the P&L that it believes
lies between the worst and the best mix of those. A rule **may** fire where the worst (for a target: the best) mix is beyond
its line, and **must** have fired where every mix is, also with the peak that the trailing stop must at least have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from tests.replay.oracle_levels import amounts_of
from tests.replay.recorded import TICK, Plan

STEP_S = 0.25
"""Real time between two prices of one instrument, whatever the speed."""
REACTION_S = 5.5
"""The stated 5 s until a dead or mute feed is seen and REST has brought the price, and what a look and an answer take."""


@dataclass(frozen=True, slots=True)
class Price:
    """Paise. `bid` and `ask` are 0 for an index."""

    last: int
    bid: int
    ask: int


@dataclass(frozen=True, slots=True)
class Reach:
    """`low[k]` and `high[k]`: the P&L (paise) of the worst and the best mix. `clean[k]`: no quote in the window is suspect."""

    low: Sequence[int]
    high: Sequence[int]
    clean: Sequence[bool]


def reach_of(plan: Plan, prices: dict[int, list[Price]], window_s: float) -> Reach:
    back = round(window_s / STEP_S)
    count = len(prices[plan.legs[0].security_id])
    low, high, clean = [0] * count, [0] * count, [True] * count
    for leg in plan.legs:
        line = prices[leg.security_id]
        worth = [leg.units * (price.last - leg.entry) for price in line]
        good = [_is_clean(price) for price in line]
        for k in range(count):
            begin = max(k - back, 0)
            low[k] += min(worth[begin : k + 1])
            high[k] += max(worth[begin : k + 1])
            clean[k] = clean[k] and all(good[begin : k + 1])
    return Reach(low, high, clean)


def _is_clean(price: Price) -> bool:
    """exit_rules 2. The last price is inside the book and on the grid here, and no step is a jump."""
    return price.ask - price.bid <= max(5 * TICK, (price.bid + price.ask) / 20)


def may_fire(plan: Plan, today: date, reach: Reach) -> dict[str, list[bool]]:
    """For each rule of prices: at which steps it may fire."""
    levels, count = amounts_of(plan), len(reach.low)
    may: dict[str, list[bool]] = {}
    if levels.stop is not None:
        may["stop_loss"] = [pnl <= -levels.stop for pnl in reach.low]
    if levels.target is not None:
        may["profit_target"] = [pnl >= levels.target for pnl in reach.high]
    if levels.theta is not None and (plan.expiry - today).days <= levels.theta:
        may["theta_exit"] = [pnl <= 0 for pnl in reach.low]
    if levels.arm is not None and levels.distance is not None:
        peak, found = 0 if levels.arm == 0 else None, []
        for k in range(count):
            peak = _raised(peak, reach.high[k], levels.arm)
            found.append(peak is not None and reach.low[k] <= peak - levels.distance)
        may["trailing_stop"] = found
    return may


def must_fire(plan: Plan, today: date, reach: Reach) -> int | None:
    """The first step at which some rule must have fired, however the prices were seen; None when none must."""
    levels = amounts_of(plan)
    peak = 0 if levels.arm == 0 else None
    for k, (low, high, clean) in enumerate(zip(reach.low, reach.high, reach.clean, strict=True)):
        if levels.stop is not None and high <= -levels.stop:
            return k
        if levels.target is not None and clean and low >= levels.target:
            return k
        if levels.theta is not None and (plan.expiry - today).days <= levels.theta and high <= 0:
            return k
        if levels.arm is not None and levels.distance is not None:
            peak = _raised(peak, low, levels.arm) if clean else peak
            if peak is not None and high <= peak - levels.distance:
                return k
    return None


def _raised(peak: int | None, pnl: int, arm: int) -> int | None:
    if peak is None:
        return pnl if pnl >= arm else None
    return max(peak, pnl)
