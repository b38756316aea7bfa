"""Reading Dhan's JSON: exact decimals, numbers that come as text, and an error that names the field."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from core.dhan.segments import FOREIGN_SEGMENTS
from core.model.errors import DecodeError
from core.model.instrument import InstrumentKey, Segment
from core.model.money import PAISE_PER_RUPEE
from core.model.orders import Side
from core.model.position import HoldingKey, Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.model.money import Paise

Fields: TypeAlias = dict[str, object]

_MOST_UNITS: Final = 10**12
_MOST_RUPEES: Final = 10**12
_SHOWN: Final = 80
_SHOWN_BODY: Final = 12
_SPACES: Final = re.compile(r"[ \t\n\r]*")
_NO_TEXT: Final = frozenset({"", "NA", "null"})
FOREIGN_PRODUCTS: Final = frozenset({"CO", "BO"})
"""Products with legs of their own (dhan_v2_protocol 5.3): nothing this program guards can be in one."""


def loads(body: bytes | str) -> object:
    """Parse JSON with decimals kept exact.

    Raises:
        DecodeError: not JSON, NaN or Infinity, or nested beyond reason.
    """
    try:
        parsed: object = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, InvalidOperation):
        # Only the start: a broken answer of the token service may hold a token further on.
        raise DecodeError(f"expected JSON, received {len(body)} characters starting {body[:_SHOWN_BODY]!r}") from None
    return parsed


def array_elements(body: bytes) -> Iterator[object]:
    """The elements of a JSON array, one parsed at a time: a large answer need not hold up the event loop.

    Raises DecodeError like `loads`, also for anything but an array; what was yielded before is no whole answer then.
    """
    try:
        content = body.decode()
        at = _after(content, 0, "[")
        is_closed = content[at : at + 1] == "]"
        at = _after(content, at, "]") if is_closed else at
        while not is_closed:
            element, at = _DECODER.raw_decode(content, at)
            yield element
            at = _SPACES.match(content, at).end()  # type: ignore[union-attr]  # the pattern matches anywhere
            is_closed = content[at : at + 1] == "]"
            at = _after(content, at, "]" if is_closed else ",")
        _refuse_rest(content[at:])
    except (ValueError, RecursionError, InvalidOperation):
        raise DecodeError(
            f"expected a JSON array, received {len(body)} bytes starting {body[:_SHOWN_BODY]!r}"
        ) from None


def _after(content: str, at: int, sign: str) -> int:
    """Where the text goes on behind `sign`, blanks skipped on both sides."""
    start = _SPACES.match(content, at).end()  # type: ignore[union-attr]  # the pattern matches anywhere
    if content[start : start + 1] != sign:
        raise ValueError(sign)
    return _SPACES.match(content, start + 1).end()  # type: ignore[union-attr]


def _refuse_rest(content: str) -> None:
    if content:
        raise ValueError(content)


def fields_of(value: object, what: str) -> Fields:
    """`value` as a JSON object. Raises DecodeError."""
    if not isinstance(value, dict):
        raise DecodeError(f"{what}: expected an object, received {_shown(value)}")
    return value


def rows_of(value: object, what: str) -> list[object]:
    """`value` as a JSON array; one object counts as an array of one. Raises DecodeError."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise DecodeError(f"{what}: expected an array, received {_shown(value)}")
    return value


def text(row: Fields, name: str, what: str) -> str:
    """A text that must be there. Raises DecodeError."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise DecodeError(f"{what}: {name}: expected text, received {_shown(value)}")
    return str(value).strip()


def optional_text(row: Fields, name: str) -> str:
    """A text, "" where Dhan writes null, NA or nothing."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    stripped = str(value).strip()
    return "" if stripped in _NO_TEXT else stripped


def units(row: Fields, name: str, what: str) -> int:
    """A whole number, signed, also as text or as 65.0. Raises DecodeError."""
    found = row.get(name)
    if type(found) is int and -_MOST_UNITS <= found <= _MOST_UNITS:
        return found
    value = _number(found)
    if value is None or not -_MOST_UNITS <= value <= _MOST_UNITS or value != value.to_integral_value():
        raise DecodeError(f"{what}: {name}: expected a whole number, received {_shown(row.get(name))}")
    return int(value)


def count(row: Fields, name: str, what: str) -> int:
    """A whole number ≥ 0. Raises DecodeError."""
    value = units(row, name, what)
    if value < 0:
        raise DecodeError(f"{what}: {name}: expected no negative number, received {value}")
    return value


def paise(row: Fields, name: str, what: str) -> Paise:
    """Rupees, to the nearest paisa (half to even). Raises DecodeError."""
    value = _number(row.get(name))
    if value is None or not -_MOST_RUPEES <= value <= _MOST_RUPEES:
        raise DecodeError(f"{what}: {name}: expected rupees, received {_shown(row.get(name))}")
    return int((value * PAISE_PER_RUPEE).to_integral_value())


def optional_paise(row: Fields, name: str, what: str) -> Paise | None:
    """Positive rupees in paise; None for null, nothing, zero or less. Raises DecodeError for what is no number."""
    if row.get(name) in (None, ""):
        return None
    value = paise(row, name, what)
    return value if value > 0 else None


def side(row: Fields, name: str, what: str) -> Side:
    """BUY or SELL, also as B or S (order updates). Raises DecodeError."""
    word = text(row, name, what).upper()
    match word:
        case "BUY" | "B":
            return Side.BUY
        case "SELL" | "S":
            return Side.SELL
        case _:
            raise DecodeError(f"{what}: {name}: expected BUY or SELL, received {_shown(word)}")


def holding(row: Fields, what: str) -> HoldingKey | None:
    """Segment, security id and product of an order, trade or position.

    None for a segment or product that this program never trades. Such a row is a holding of its own and cannot be one
    of ours. Raises DecodeError for a word Dhan does not document: then nobody knows what the row holds.
    """
    segment = text(row, "exchangeSegment", what)
    product = text(row, "productType", what)
    if segment in FOREIGN_SEGMENTS or product in FOREIGN_PRODUCTS:
        return None
    if segment not in Segment.__members__:
        raise DecodeError(f"{what}: exchangeSegment: expected a known segment, received {_shown(segment)}")
    if product not in Product.__members__:
        raise DecodeError(f"{what}: productType: expected a known product, received {_shown(product)}")
    return _holding_key(segment, count(row, "securityId", what), product)


@lru_cache(maxsize=20_000)
def _holding_key(segment: str, security_id: int, product: str) -> HoldingKey:
    return HoldingKey(InstrumentKey(Segment(segment), security_id), Product(product))


def _number(value: object) -> Decimal | None:
    if type(value) is Decimal:
        return value if value.is_finite() else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)


_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)
