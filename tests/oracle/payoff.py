"""The most that legs can make and lose at their (first) expiry, by their own quantities. Imports nothing of the monitor.

A sum over every bend of the payoff. Of legs of several underlyings nothing is known. Of legs with several expiries only the
long calendar is read here: of each right sold near against bought far. The far option is worth at least what the near one
costs, so its loss is that of legs that all end together; its profit is not known without a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.oracle.book import Leg


@dataclass(frozen=True, slots=True)
class Bounds:
    """Magnitudes in paise; None is unlimited where `is_…_unlimited` says so, unknown otherwise."""

    profit: int | None
    loss: int | None
    is_profit_unlimited: bool
    is_loss_unlimited: bool

    @property
    def is_known(self) -> bool:
        """Whether anything is said of the profit or the loss."""
        return self != Bounds(None, None, False, False)


def bounds_of(legs: Sequence[Leg]) -> Bounds:
    """Needs every entry."""
    if len({_moves_with(leg) for leg in legs}) > 1:
        return Bounds(None, None, False, False)
    slope = sum(leg.units for leg in legs if leg.contract.right != "PE")
    results = [_at_expiry(legs, price) for price in (0, *(leg.contract.strike for leg in legs))]
    profit, loss = max(0, *results), max(0, *(-result for result in results))
    is_calendar = len({leg.contract.expiry for leg in legs if leg.contract.expiry is not None}) > 1
    if is_calendar:
        _check_calendar(legs)
    return Bounds(
        profit=None if slope > 0 or is_calendar else profit,
        loss=None if slope < 0 else loss,
        is_profit_unlimited=slope > 0,
        is_loss_unlimited=slope < 0,
    )


def _moves_with(leg: Leg) -> str:
    """The index or share whose price it hangs on: by its key, else by its name."""
    contract = leg.contract
    return contract.key if contract.right == "EQ" else contract.index or contract.underlying


def _check_calendar(legs: Sequence[Leg]) -> None:
    near = min(leg.contract.expiry for leg in legs if leg.contract.expiry is not None)
    if any((leg.contract.expiry == near) == (leg.units > 0) for leg in legs):
        raise ValueError(
            "of several expiries only long calendars are read: expected near legs sold and far legs bought"
        )


def _at_expiry(legs: Sequence[Leg], price: int) -> int:
    total = 0
    for leg in legs:
        contract = leg.contract
        worth = {"CE": max(price - contract.strike, 0), "PE": max(contract.strike - price, 0)}.get(
            contract.right, price
        )
        total += leg.units * (worth - (leg.entry or 0))
    return total
