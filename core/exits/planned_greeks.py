"""Gamma and volatility of the position at entry, from the legs as strategy_details planned them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model.position import Leg, Position
    from core.model.trade_rows import PlannedLeg

FRACTION_BELOW: Final = 3
"""A volatility below this is a fraction of 1, else per cent: nothing trades at 3 % a year, and hardly anything at 300 %."""


class Planned(NamedTuple):
    value: float
    note: str


class PlannedEntry(NamedTuple):
    """`gamma` of the whole position for each rupee, > 0. `volatility` as a fraction of 1. None: not known, or 0."""

    gamma: Planned | None = None
    volatility: Planned | None = None


def planned_entry(position: Position, planned: Sequence[PlannedLeg]) -> PlannedEntry:
    """|gamma| is the planned one of a unit of each option leg, signed by its units. The volatility is the average of the
    legs', weighted by the size of each leg's vega; by its units where a vega is missing. Nothing while a leg has no plan.
    """
    pairs = _paired(position, planned)
    return PlannedEntry() if pairs is None else PlannedEntry(_gamma(pairs), _volatility(pairs))


def _gamma(pairs: list[tuple[Leg, PlannedLeg]]) -> Planned | None:
    known = [held.units * leg.gamma for held, leg in pairs if leg.gamma is not None]
    if len(known) < len(pairs):
        return None
    total = abs(sum(known))
    return Planned(total, "entry's gamma from strategy_details") if total else None


def _volatility(pairs: list[tuple[Leg, PlannedLeg]]) -> Planned | None:
    volatilities = [_fraction(leg.volatility) for _, leg in pairs if leg.volatility is not None]
    if len(volatilities) < len(pairs):
        return None
    vegas = [abs(held.units) * leg.vega for held, leg in pairs if leg.vega is not None]
    has_vegas = len(vegas) == len(pairs)
    weights = vegas if has_vegas else [abs(held.units) for held, _ in pairs]
    average = sum(map(operator.mul, weights, volatilities)) / sum(weights)
    how = "" if has_vegas else ", by units: not every leg has a vega"
    return Planned(average, f"entry's volatility {average * 100:.1f} % from strategy_details{how}")


def _fraction(volatility: float) -> float:
    return volatility if volatility < FRACTION_BELOW else volatility / 100


def _paired(position: Position, planned: Sequence[PlannedLeg]) -> list[tuple[Leg, PlannedLeg]] | None:
    """Each option leg with its plan; None when one has none, or when there is no option leg."""
    if not planned:
        return None
    plans = {(plan.option_type, plan.strike): plan for plan in planned}
    dated = {(plan.option_type, plan.strike, plan.expiry): plan for plan in planned}
    pairs = []
    for leg in position.legs:
        right, expiry = leg.instrument.right, leg.instrument.expiry
        if right is None:
            continue
        key = right.value, leg.instrument.strike
        undated = plans.get(key)
        found = dated.get((*key, None if expiry is None else expiry.isoformat()))
        if found is None and undated is not None and undated.expiry is None:
            found = undated
        if found is None:
            return None
        pairs.append((leg, found))
    return pairs or None
