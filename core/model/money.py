"""Money as integer paise: reading it from wires and rows, writing it as rupees, snapping it to a tick grid."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

Paise: TypeAlias = int
"""Whole paise. A price per unit, or an amount; the name of the field says which. Negative is a loss or a debit."""

PAISE_PER_RUPEE = 100
MAX_PRICE_PAISE: Paise = 100_000_000
"""₹10,00,000 a unit. Nothing traded on NSE, BSE or MCX costs more; a larger wire price is noise."""


def paise_from_wire(price: float) -> Paise | None:
    """Recover whole paise from a float price in rupees, as feeds and REST bodies carry it.

    Rounded, never truncated: a float32 is exact to the paisa below ₹1,31,072, which no option, share or index reaches
    today (dhan_v2_protocol 2.5). None when the value is not a finite number or beyond any real price.
    """
    if not math.isfinite(price) or abs(price) * PAISE_PER_RUPEE > MAX_PRICE_PAISE:
        return None
    return round(price * PAISE_PER_RUPEE)


def paise_from_text(value: str | float | Decimal) -> Paise:
    """Read an amount in rupees from a row or a setting, to the nearest paisa (half to even).

    Raises:
        ValueError: the value is not a finite number. The message names the value.
    """
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"expected an amount in rupees, received {value!r}") from None
    if not amount.is_finite():
        raise ValueError(f"expected a finite amount in rupees, received {value!r}")
    return int((amount * PAISE_PER_RUPEE).to_integral_value())


def rupees(amount: Paise) -> Decimal:
    """The amount in rupees with exactly two decimals, for rows and JSON bodies."""
    return Decimal(amount).scaleb(-2)


def rupees_text(amount: Paise) -> str:
    """The amount as a trader reads it: `₹-1,020.00`."""
    whole, paise = divmod(abs(amount), PAISE_PER_RUPEE)
    return f"₹{'-' if amount < 0 else ''}{whole:,}.{paise:02d}"


def snap_down(price: Paise, tick: Paise) -> Paise:
    """The highest price on the tick grid that is not above `price`."""
    return price - price % tick


def snap_up(price: Paise, tick: Paise) -> Paise:
    """The lowest price on the tick grid that is not below `price`."""
    return price + -price % tick


def is_on_grid(price: Paise, tick: Paise) -> bool:
    return price % tick == 0
