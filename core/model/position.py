"""What we guard: legs grouped into positions, and what the broker says is net."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from core.model.session_time import IST

if TYPE_CHECKING:
    from core.model.instrument import Instrument, InstrumentKey
    from core.model.money import Paise


class Product(StrEnum):
    CNC = "CNC"
    INTRADAY = "INTRADAY"
    MARGIN = "MARGIN"
    MTF = "MTF"

    # As for `Segment`: each leg is looked up by its holding a few times a second.
    __hash__ = str.__hash__


class HoldingKey(NamedTuple):
    """One row of the broker's positions: the same contract held in two products is two holdings."""

    instrument: InstrumentKey
    product: Product

    def __str__(self) -> str:
        return f"{self.instrument}:{self.product.value}"


@dataclass(frozen=True, slots=True)
class Leg:
    """One open trade row. `units` is signed (+ bought, − sold; lot size inside). `entry` is paise per unit.

    `entry` is None until the executor has patched the row's price: a leg with an unknown entry has no P&L. `opened_at` is
    the row's ISO text; without an offset it is Indian time.
    """

    row_id: int
    instrument: Instrument
    product: Product
    units: int
    entry: Paise | None
    opened_at: str = ""

    @property
    def holding(self) -> HoldingKey:
        return HoldingKey(self.instrument.key, self.product)


@dataclass(frozen=True, slots=True)
class Position:
    """All open legs of one strategy_id. `underlying` as the rows name it, e.g. NIFTY."""

    strategy_id: int
    strategy_name: str
    underlying: str
    legs: tuple[Leg, ...]

    @property
    def net_premium(self) -> Paise | None:
        """Sold − bought at entry, in paise: positive is a credit. None while an entry price is unknown."""
        total = 0
        for leg in self.legs:
            if leg.entry is None:
                return None
            total -= leg.units * leg.entry
        return total

    @property
    def opened_on(self) -> date | None:
        """The IST date on which the first leg was opened; None while no leg says."""
        return min((opened for leg in self.legs if (opened := _date_of(leg.opened_at)) is not None), default=None)

    @property
    def earliest_expiry(self) -> date | None:
        return min((leg.instrument.expiry for leg in self.legs if leg.instrument.expiry is not None), default=None)


def _date_of(text: str) -> date | None:
    try:
        opened = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return (opened if opened.tzinfo is None else opened.astimezone(IST)).date()


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """One row of the broker's position report. `net` in signed units; a closed row stays with net 0."""

    holding: HoldingKey
    net: int
    buy_average: Paise
    sell_average: Paise


@dataclass(frozen=True)
class PositionReport:
    """The broker's whole position list as read in one call. A failed read never becomes one of these.

    `requested_ns` and `received_ns` are monotonic: what happened after `requested_ns` may be missing.
    """

    rows: tuple[BrokerPosition, ...]
    requested_ns: int
    received_ns: int

    def net(self, holding: HoldingKey) -> int:
        """Signed units the broker reports for the holding; 0 when a successful read does not list it."""
        return self._nets.get(holding, 0)

    @cached_property
    def _nets(self) -> dict[HoldingKey, int]:
        nets: dict[HoldingKey, int] = {}
        for row in self.rows:
            nets[row.holding] = nets.get(row.holding, 0) + row.net
        return nets
