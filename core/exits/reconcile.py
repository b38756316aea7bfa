"""What the rows say we hold × what the broker reports: closed by somebody else, or smaller than the rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from core.exits.order_gate import reducible
from core.exits.order_plan import closing_side
from core.model.session_time import IST, NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.exits.desk_settings import DeskSettings
    from core.model.position import HoldingKey, Leg, Position, PositionReport


@dataclass(frozen=True, slots=True)
class Shortfall:
    """The broker holds less of the contract than the rows of all its strategies say, or the opposite. Units signed."""

    holding: HoldingKey
    rows: int
    broker: int


@dataclass(slots=True)
class OutsideWatch:
    """Notices positions that somebody else has closed.

    One report is not enough, and a row is often written before its entry has filled: a position counts as closed outside
    when every leg is absent in good reports spanning `outside_confirm_s`, and was seen held before or is an old row.
    A net of the other sign is not "closed": somebody holds the opposite, and a person has to look.
    """

    settings: DeskSettings
    seen_held: set[int] = field(default_factory=set)
    flat_since_ns: dict[int, int] = field(default_factory=dict)

    def is_closed_outside(self, position: Position, report: PositionReport, utc_ns: int) -> bool:
        """Feed one good report for one position that no exit is working on."""
        if any(report.net(leg.holding) for leg in position.legs):
            self.seen_held.add(position.strategy_id)
            self.flat_since_ns.pop(position.strategy_id, None)
            return False
        since = self.flat_since_ns.setdefault(position.strategy_id, report.received_ns)
        if report.received_ns - since < self.settings.outside_confirm_s * NS_PER_S:
            return False
        return position.strategy_id in self.seen_held or self._is_old(position, utc_ns)

    def forget(self, strategy_id: int) -> None:
        self.seen_held.discard(strategy_id)
        self.flat_since_ns.pop(strategy_id, None)

    def _is_old(self, position: Position, utc_ns: int) -> bool:
        return all(_age_s(leg, utc_ns) >= self.settings.new_row_grace_s for leg in position.legs)


def _age_s(leg: Leg, utc_ns: int) -> float:
    """Seconds since the row's entry time, which is naive Indian time; 0 when it cannot be read, so that it counts as new."""
    try:
        opened = datetime.fromisoformat(leg.opened_at)
    except ValueError:
        return 0.0
    opened = opened.replace(tzinfo=IST) if opened.tzinfo is None else opened
    return (ist_datetime(utc_ns) - opened).total_seconds()


def netted_holdings(positions: list[Position]) -> frozenset[HoldingKey]:
    """Contracts that one row holds long and another short: the broker's net of 0 then says nothing about either."""
    signs: dict[HoldingKey, bool] = {}
    netted: set[HoldingKey] = set()
    for position in positions:
        for leg in position.legs:
            if signs.setdefault(leg.holding, leg.units > 0) is not (leg.units > 0):
                netted.add(leg.holding)
    return frozenset(netted)


def netting_with(leg: Leg, strategy_id: int, positions: Iterable[Position]) -> list[Position]:
    """Other strategies that hold the opposite of the leg's contract: a small net then does not say that the leg is gone."""
    return [
        other
        for other in positions
        if other.strategy_id != strategy_id
        and any(held.holding == leg.holding and held.units * leg.units < 0 for held in other.legs)
    ]


def shortfalls(positions: list[Position], report: PositionReport) -> tuple[Shortfall, ...]:
    """Contracts of which the broker holds less than all rows together, or the other way round, but not nothing."""
    wanted: dict[HoldingKey, int] = {}
    for position in positions:
        for leg in position.legs:
            wanted[leg.holding] = wanted.get(leg.holding, 0) + leg.units
    found = []
    for holding, units in wanted.items():
        net = report.net(holding)
        if units and net and reducible(closing_side(units), net) < abs(units):
            found.append(Shortfall(holding, units, net))
    return tuple(found)
