"""What can be held and priced: the key of an instrument, and its contract terms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from core.model.money import Paise


class Segment(StrEnum):
    """Exchange segments by Dhan's names (dhan_v2_protocol 2.11)."""

    IDX_I = "IDX_I"
    NSE_EQ = "NSE_EQ"
    NSE_FNO = "NSE_FNO"
    NSE_CURRENCY = "NSE_CURRENCY"
    BSE_EQ = "BSE_EQ"
    MCX_COMM = "MCX_COMM"
    BSE_CURRENCY = "BSE_CURRENCY"
    BSE_FNO = "BSE_FNO"

    @property
    def is_cash(self) -> bool:
        """Shares, not what is derived from them."""
        return self is Segment.NSE_EQ or self is Segment.BSE_EQ

    # Keys are hashed on every tick; Enum's own hash is a Python call, this one is the interned string's.
    __hash__ = str.__hash__


class Right(StrEnum):
    CALL = "CE"
    PUT = "PE"


class InstrumentKey(NamedTuple):
    """Identity of an instrument. A security id alone is not: ids repeat across segments."""

    segment: Segment
    security_id: int

    def __str__(self) -> str:
        return f"{self.segment.value}:{self.security_id}"


@dataclass(frozen=True, slots=True)
class Instrument:
    """Contract terms from the instrument master.

    `lot` in units, `tick` in paise. `freeze_quantity` is the first quantity the exchange refuses (units), None when
    the master has none. `lower_limit` and `upper_limit` are the day's price band in paise, None when unknown.
    `right`, `strike` (paise) and `expiry` (IST date) are None for what has none. `underlying_key` is the index or share
    behind a derivative, None when the master does not say which.
    """

    key: InstrumentKey
    symbol: str
    underlying: str
    lot: int
    tick: Paise
    freeze_quantity: int | None = None
    strike: Paise | None = None
    expiry: date | None = None
    right: Right | None = None
    lower_limit: Paise | None = None
    upper_limit: Paise | None = None
    underlying_key: InstrumentKey | None = None

    @property
    def behind(self) -> InstrumentKey | None:
        """The index or share that its price hangs on: of a share itself, None where the master does not say."""
        return self.key if self.expiry is None else self.underlying_key

    @property
    def dated_symbol(self) -> str:
        """For a reader: Dhan's symbols name the month only, so the weekly legs of a calendar would look alike."""
        return self.symbol if self.expiry is None else f"{self.symbol} (expiry {self.expiry.isoformat()})"

    @property
    def max_order_quantity(self) -> int | None:
        """Largest whole-lot quantity one order may carry, in units; None when no freeze quantity is known."""
        if self.freeze_quantity is None:
            return None
        return max((self.freeze_quantity - 1) // self.lot, 1) * self.lot
