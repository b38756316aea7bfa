"""One value of a row, read strictly: the type the column means, or a ValueError that says what kind of value came.

Numbers may be numbers or text; true and false are never numbers. Messages never say more of a value than 40 characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from core.model.money import MAX_PRICE_PAISE, PAISE_PER_RUPEE, Paise, paise_from_text

Row = Mapping[str, object]

# As many decimals as a float written out in full has: 97.18 comes back as 97.18000000000000682121026329696178436279296875.
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_LONGEST: Final = 440
_MAX_KEY: Final = 2**63 - 1
_MAX_WHOLE: Final = 10**30
_MAX_AMOUNT: Final = Decimal(10) ** 13
_SHOWN: Final = 40


def shown(value: object) -> str:
    """The kind of a value and its beginning, for a message."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"


def number(row: Row, column: str) -> Decimal | None:
    """The column as a finite decimal; None when it is absent, null or blank."""
    value = row.get(column)
    if type(value) is int and -_MAX_WHOLE < value < _MAX_WHOLE:
        return Decimal(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    is_number = isinstance(value, int | float | Decimal | str) and not isinstance(value, bool)
    digits = str(value).strip() if is_number else ""
    if len(digits) > _LONGEST or _NUMBER.fullmatch(digits) is None:
        raise ValueError(f"{column}: expected a number, received {shown(value)}")
    return Decimal(digits)


def integer(row: Row, column: str) -> int | None:
    """The column as a whole number of 64 bits; 65.0 is 65, 65.5 is an error."""
    value = number(row, column)
    if value is None:
        return None
    if abs(value) > _MAX_KEY or value != value.to_integral_value():
        raise ValueError(f"{column}: expected a whole number, received {shown(row.get(column))}")
    return int(value)


def required_integer(row: Row, column: str, minimum: int = 0) -> int:
    value = integer(row, column)
    if value is None or value < minimum:
        raise ValueError(f"{column}: expected a whole number of at least {minimum}, received {shown(row.get(column))}")
    return value


def price(row: Row, column: str) -> Paise | None:
    """Paise per unit; None when null or 0 (not patched yet). A negative or absurd price is an error."""
    value = number(row, column)
    if value is None:
        return None
    if value < 0 or value * PAISE_PER_RUPEE > MAX_PRICE_PAISE:
        raise ValueError(f"{column}: expected a price of 0 to ₹10,00,000, received {shown(row.get(column))}")
    return paise_from_text(value) or None


def amount(row: Row, column: str) -> Paise | None:
    """A magnitude in paise, whatever its sign; None when null or 0 ("no level")."""
    value = number(row, column)
    if value is None:
        return None
    if abs(value) > _MAX_AMOUNT:
        raise ValueError(f"{column}: expected an amount in rupees, received {shown(row.get(column))}")
    return abs(paise_from_text(value)) or None


def magnitude(row: Row, column: str) -> float | None:
    """A percentage, a count or a Greek without its sign; None when null or 0 ("no level")."""
    value = number(row, column)
    if value is None:
        return None
    if abs(value) > _MAX_AMOUNT:
        raise ValueError(f"{column}: expected a number below 10^13, received {shown(row.get(column))}")
    return abs(float(value)) or None


def text(row: Row, column: str) -> str:
    """The column as text without surrounding blanks; "" when absent or null. Numbers become their digits."""
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value).strip()
    raise ValueError(f"{column}: expected text, received {shown(value)}")


def json_text(row: Row, column: str) -> str | None:
    """JSON as its text, not read yet; None when absent, null or blank. Never raises: whoever reads it names what it is not."""
    value = row.get(column)
    if value is None:
        return None
    if isinstance(value, dict | list):
        value = json.dumps(value, default=str)
    return (value if isinstance(value, str) else str(value)).strip() or None


def one_of(row: Row, column: str, allowed: frozenset[str], default: str | None = None) -> str:
    """The column as one of `allowed` (upper case); `default` when it is null, an error when there is none."""
    value = text(row, column).upper()
    if not value and default is not None:
        return default
    if value not in allowed:
        expected = ", ".join(sorted(allowed - {""}))
        raise ValueError(f"{column}: expected one of {expected}, received {shown(row.get(column))}")
    return value


def day(row: Row, column: str) -> str | None:
    """YYYY-MM-DD from a date or a date with a time in ISO form; None when null or blank."""
    value = row.get(column)
    if isinstance(value, date):
        return value.isoformat()[:10]
    written = text(row, column)
    if not written:
        return None
    try:
        return datetime.fromisoformat(written).date().isoformat()
    except ValueError:
        raise ValueError(f"{column}: expected a date YYYY-MM-DD, received {shown(value)}") from None
