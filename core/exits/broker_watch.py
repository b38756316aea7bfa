"""Looking at the broker's positions while nothing is being closed: how often, and what they give away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.reconcile import OutsideWatch, netted_holdings, shortfalls
from core.model.commands import Alert, ReadPositions, Severity
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.position_cache_manager import OPEN_BOUND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.exits.desk_settings import DeskSettings
    from core.exits.desk_state import DeskState
    from core.model.position import HoldingKey, Position, PositionReport
    from core.position_cache_manager import BookedPosition, PositionCacheManager

# Near a level: less than this share of the way left. A fresh position report is then at hand when the level is hit.
_NEAR_STOP: Final = 0.4
_NEAR_TARGET: Final = 0.2
COMPARE_EVERY_NS: Final = NS_PER_S
"""Somebody else's closes are news of seconds. Exits under way look at every report."""


class BrokerWatch:
    """Keeps a position report at hand: slowly while all is quiet, quickly while some position is near a level."""

    def __init__(self, settings: DeskSettings) -> None:
        self.outside = OutsideWatch(settings)
        self.command: Final = ReadPositions()
        self._settings = settings
        self.uncompared: PositionReport | None = None
        self._compared_ns: int | None = None
        self._told: set[HoldingKey] = set()

    def is_due(self, desk: DeskState, cache: PositionCacheManager, at_ns: int) -> bool:
        held = desk.holdings
        if held.is_reading(at_ns) or not cache.keys():
            return False
        if held.last_asked_ns is None:
            return True
        age = at_ns - held.last_asked_ns
        if age >= self._settings.watch_interval_s * NS_PER_S:
            return True
        near_ns = self._settings.watch_near_ms * NS_PER_MS
        return desk.session_open is True and age >= near_ns and any(_is_near(booked) for booked in cache.booked())

    def compare(
        self, desk: DeskState, cache: PositionCacheManager, untouched: Iterable[Position], at_ns: int
    ) -> list[Position]:
        """Hold the positions that no exit works on against the newest report, when it is time. Those that others have closed."""
        report = self.uncompared
        if report is None or not self.may_compare(at_ns):
            return []
        self.uncompared, positions = None, list(untouched)
        desk.out.extend(self.shortfall_alerts(positions, report))
        return self.closed_outside(positions, cache, report, desk.utc_ns)

    def may_compare(self, at_ns: int) -> bool:
        """Whether it is time to hold the whole book against a report again: that costs milliseconds on a large one."""
        if self._compared_ns is not None and at_ns - self._compared_ns < COMPARE_EVERY_NS:
            return False
        self._compared_ns = at_ns
        return True

    def shortfall_alerts(self, positions: list[Position], report: PositionReport) -> list[Alert]:
        """One alert per contract of which the broker holds less than the rows say; told again after it was whole."""
        short = {found.holding: found for found in shortfalls(positions, report)}
        self._told &= short.keys()
        fresh = [found for holding, found in short.items() if holding not in self._told]
        self._told |= short.keys()
        return [
            Alert(
                Severity.WARNING,
                f"{found.holding} is smaller at the broker",
                f"the rows say {found.rows:+d} units, the broker holds {found.broker:+d}: only what he holds is protected",
            )
            for found in fresh
        ]

    def closed_outside(
        self, guarded: list[Position], cache: PositionCacheManager, report: PositionReport, utc_ns: int
    ) -> list[Position]:
        """Positions that somebody else has closed. One whose contract others of ours hold as well cannot be told apart."""
        netted = netted_holdings([booked.position for booked in cache.booked()])
        return [
            position
            for position in guarded
            if netted.isdisjoint(leg.holding for leg in position.legs)
            and self.outside.is_closed_outside(position, report, utc_ns)
        ]

    def forget(self, strategy_id: int) -> None:
        self.outside.forget(strategy_id)


def _is_near(booked: BookedPosition) -> bool:
    pnl = booked.pnl
    if pnl is None:
        return False
    if booked.watched:
        return True
    near_stop = booked.lower > -OPEN_BOUND and pnl - booked.lower <= _NEAR_STOP * abs(booked.lower)
    return near_stop or (booked.upper < OPEN_BOUND and booked.upper - pnl <= _NEAR_TARGET * abs(booked.upper))
