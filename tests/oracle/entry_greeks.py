"""Gamma and volatility of a position as it was planned, from `strategy_details`. Imports nothing of the monitor."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from tests.oracle.amounts import Row, number, stored_paise
from tests.oracle.book import Leg

LEAST_PER_CENT = 3
"""A volatility below is a fraction: nobody plans with 3 % a year."""


class Entry(NamedTuple):
    """Of the whole position: |gamma| per rupee, volatility as a fraction of 1. None: no plan, or not of every option."""

    gamma: float | None = None
    volatility: float | None = None


def entry_of(legs: Sequence[Leg], planned: Sequence[Row]) -> Entry:
    pairs = []
    for leg in legs:
        if leg.contract.right in {"CE", "PE"}:
            row = next((row for row in planned if _is_plan_of(row, leg)), None)
            if row is None:
                return Entry()
            pairs.append((leg.units, row))
    return Entry(_gamma(pairs), _volatility(pairs))


def _is_plan_of(row: Row, leg: Leg) -> bool:
    contract = leg.contract
    if row["option_type"] != contract.right or stored_paise(row["strike_price"]) != contract.strike:
        return False
    return not row["expiry_date"] or contract.expiry is None or row["expiry_date"] == contract.expiry.isoformat()


def _gamma(pairs: Sequence[tuple[int, Row]]) -> float | None:
    if not all(number(row["gamma"]) for _, row in pairs):
        return None
    return abs(float(sum(units * number(row["gamma"]) for units, row in pairs))) or None


def _volatility(pairs: Sequence[tuple[int, Row]]) -> float | None:
    """Weighted by vega as that of the day is, by units where not every leg has one."""
    if not pairs or not all(number(row["implied_volatility"]) for _, row in pairs):
        return None
    has_vegas = all(number(row["vega"]) for _, row in pairs)
    weights = [abs(units) * (number(row["vega"]) if has_vegas else 1) for units, row in pairs]
    told = [fraction_of(row["implied_volatility"]) for _, row in pairs]
    return float(sum(weight * each for weight, each in zip(weights, told, strict=True)) / sum(weights))


def fraction_of(volatility: object) -> Fraction:
    stored = number(volatility)
    return stored if stored < LEAST_PER_CENT else stored / 100
