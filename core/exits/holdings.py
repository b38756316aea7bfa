"""What the broker holds, as two independent accounts of it: his report, and our own arithmetic since."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.exits.desk_settings import DeskSettings
    from core.model.orders import OrderReport
    from core.model.position import HoldingKey, PositionReport


@dataclass(slots=True)
class _Base:
    """A broker net taken at a quiet moment, and what had been filled by then."""

    net: int
    own_filled: int
    foreign_filled: int


@dataclass(slots=True)
class Holdings:
    """Newest position report, own fills and other people's orders, per holding.

    All quantities are signed units. The model of a holding is: broker net at the start of the first exit on it, moved by
    every own fill and by every foreign fill seen since. It protects against a position report that lags our fills.
    """

    report: PositionReport | None = None
    read_in_flight: bool = False
    last_asked_ns: int | None = None
    failing_since_ns: int | None = None
    own_filled: dict[HoldingKey, int] = field(default_factory=dict)
    foreign: dict[str, OrderReport] = field(default_factory=dict)
    bases: dict[HoldingKey, _Base] = field(default_factory=dict)

    def take_report(self, report: PositionReport) -> None:
        self.read_in_flight = False
        self.failing_since_ns = None
        if self.report is None or report.requested_ns >= self.report.requested_ns:
            self.report = report

    def take_failure(self, at_ns: int) -> None:
        self.read_in_flight = False
        if self.failing_since_ns is None:
            self.failing_since_ns = at_ns

    def add_own_fill(self, holding: HoldingKey, signed_units: int) -> None:
        self.own_filled[holding] = self.own_filled.get(holding, 0) + signed_units

    def take_foreign(self, report: OrderReport) -> None:
        known = self.foreign.get(report.order_id)
        if known is None or report.filled > known.filled or report.is_terminal:
            self.foreign[report.order_id] = report

    def foreign_filled(self, holding: HoldingKey) -> int:
        return sum(o.side.sign * o.filled for o in self.foreign.values() if o.holding == holding)

    def foreign_leaves(self, holding: HoldingKey, sign: int) -> int:
        """Units of other people's live orders on the holding and side: reserved like our own."""
        return sum(o.leaves for o in self.foreign.values() if o.holding == holding and o.side.sign == sign)

    def rebase(self, holding: HoldingKey, net: int) -> None:
        """Take the broker's net as the new starting point. Only while none of our orders on the holding is live."""
        self.bases[holding] = _Base(net, self.own_filled.get(holding, 0), self.foreign_filled(holding))

    def model_net(self, holding: HoldingKey) -> int | None:
        """Expected net in signed units; None before the holding has a base."""
        base = self.bases.get(holding)
        if base is None:
            return None
        own = self.own_filled.get(holding, 0) - base.own_filled
        return base.net + own + self.foreign_filled(holding) - base.foreign_filled

    def is_fresh(self, after_ns: int, at_ns: int, settings: DeskSettings) -> bool:
        """The report was asked for after `after_ns` and is young enough to order by."""
        report = self.report
        return (
            report is not None
            and report.requested_ns >= after_ns
            and at_ns - report.received_ns <= settings.position_max_age_ms * 1_000_000
        )

    def usable_when_unreadable(self, at_ns: int, settings: DeskSettings) -> bool:
        """Positions could not be read for long, but the last good report is young enough to go on with."""
        report, failing = self.report, self.failing_since_ns
        return (
            report is not None
            and failing is not None
            and at_ns - failing >= settings.positions_unreadable_s * 1_000_000_000
            and at_ns - report.received_ns <= settings.last_good_positions_s * 1_000_000_000
        )
