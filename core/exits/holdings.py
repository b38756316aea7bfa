"""What the broker holds, as two independent accounts of it: his report, and our own arithmetic since."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from core.exits.desk_settings import READ_DUE_NS
from core.exits.order_gate import reducible
from core.model.orders import Side
from core.model.session_time import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from core.exits.desk_settings import DeskSettings
    from core.model.orders import OrderReport
    from core.model.position import HoldingKey, PositionReport


class ForeignOrder(NamedTuple):
    """Somebody else's order as last seen, with our fills of it merged: filled only grows, the end is sticky."""

    report: OrderReport
    seen_ns: int


class Movement(NamedTuple):
    """A foreign fill: signed units that were traded between two sights of the order (`since_ns` 0: never seen before)."""

    since_ns: int
    seen_ns: int
    units: int


class NetRange(NamedTuple):
    """Signed units between which the net must be, by our arithmetic. Both are equal while nothing is in doubt."""

    lowest: int
    highest: int

    def worst(self, side: Side) -> int:
        """The net that leaves the least for an order of this side to close."""
        return self.highest if side is Side.BUY else self.lowest

    def best(self, side: Side) -> int:
        return self.lowest if side is Side.BUY else self.highest


class _Base(NamedTuple):
    """A broker net taken at a quiet moment, when it came, and what we had filled by then."""

    net: int
    own_filled: int
    received_ns: int


def is_listed(report: PositionReport, holding: HoldingKey) -> bool:
    """The report has a row for the holding. Rows closed today stay listed with net 0."""
    return any(row.holding == holding for row in report.rows)


@dataclass(slots=True)
class Holdings:
    """Newest position report, own fills and other people's orders, per holding.

    All quantities are signed units. The model of a holding is: broker net at the start of the first exit on it, moved by
    every own fill and by every foreign fill seen since. It protects against a position report that lags our fills.
    A foreign fill of which we cannot say whether the base already held it widens the range instead of moving it.
    """

    lag_ns: int
    report: PositionReport | None = None
    read_in_flight: bool = False
    last_asked_ns: int | None = None
    failing_since_ns: int | None = None
    own_filled: dict[HoldingKey, int] = field(default_factory=dict)
    foreign: dict[HoldingKey, dict[str, ForeignOrder]] = field(default_factory=dict)
    movements: dict[HoldingKey, list[Movement]] = field(default_factory=dict)
    bases: dict[HoldingKey, _Base] = field(default_factory=dict)

    def ask(self, at_ns: int) -> None:
        """Note that a read was sent."""
        self.read_in_flight = True
        self.last_asked_ns = at_ns

    def is_reading(self, at_ns: int) -> bool:
        """A read is under way and may still be answered."""
        return self.read_in_flight and self.last_asked_ns is not None and at_ns - self.last_asked_ns < READ_DUE_NS

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

    def take_foreign(self, report: OrderReport, at_ns: int) -> None:
        """Remember somebody else's order. Repeated and overtaken reports change nothing."""
        orders = self.foreign.setdefault(report.holding, {})
        known = orders.get(report.order_id)
        before, since_ns = (0, 0) if known is None else (known.report.filled, known.seen_ns)
        if report.filled > before:
            units = report.side.sign * (report.filled - before)
            self.movements.setdefault(report.holding, []).append(Movement(since_ns, at_ns, units))
        filled = max(report.filled, before)
        if known is not None and known.report.is_terminal and not report.is_terminal:
            report = known.report
        orders[report.order_id] = ForeignOrder(replace(report, filled=filled), at_ns)

    def foreign_leaves(self, holding: HoldingKey, sign: int) -> int:
        """Units of other people's live orders on the holding and side: reserved like our own."""
        orders = self.foreign.get(holding, {}).values()
        return sum(order.report.leaves for order in orders if order.report.side.sign == sign)

    def rebase(self, holding: HoldingKey, report: PositionReport) -> None:
        """Take the broker's net as the new starting point. Only while none of our orders on the holding is live."""
        net, own = report.net(holding), self.own_filled.get(holding, 0)
        self.bases[holding] = _Base(net, own, report.received_ns)
        moved = self.movements.get(holding, [])
        self.movements[holding] = [m for m in moved if m.seen_ns > report.requested_ns - self.lag_ns]

    def admit_less(self, holding: HoldingKey, side: Side, report: PositionReport) -> None:
        """Lower the model to what the broker reports, when he holds less for this side to close than we think.

        Only while none of our orders is live: a report may lack our newest fills, it never holds one that we have not seen.
        So less than our arithmetic is somebody else's doing of which we were not told. Without this, his next report that
        lags behind our own fill would agree with the wrong model. A row that is missing altogether is no such word.
        """
        model, base = self.model(holding), self.bases.get(holding)
        if model is None or base is None or not is_listed(report, holding):
            return
        excess = reducible(side, model.worst(side)) - reducible(side, report.net(holding))
        if excess > 0:
            # His order may be reported later: from here on it is in doubt whether this report held its fill already.
            net = base.net + side.sign * excess
            self.bases[holding] = base._replace(net=net, received_ns=report.received_ns)

    def model(self, holding: HoldingKey) -> NetRange | None:
        """Expected net; None before the holding has a base."""
        base = self.bases.get(holding)
        if base is None:
            return None
        lowest = highest = base.net + self.own_filled.get(holding, 0) - base.own_filled
        for movement in self.movements.get(holding, ()):
            is_new = movement.since_ns > base.received_ns + self.lag_ns
            lowest += movement.units if is_new else min(movement.units, 0)
            highest += movement.units if is_new else max(movement.units, 0)
        return NetRange(lowest, highest)

    def is_fresh(self, after_ns: int, at_ns: int, settings: DeskSettings) -> bool:
        """The report was asked for after `after_ns` and is young enough to order by."""
        report = self.report
        return (
            report is not None
            and report.requested_ns >= after_ns
            and at_ns - report.received_ns <= settings.position_max_age_ms * NS_PER_MS
        )

    def unreadable(self, at_ns: int, settings: DeskSettings) -> bool:
        """Positions could not be read for so long that a person must know."""
        failing = self.failing_since_ns
        return failing is not None and at_ns - failing >= settings.positions_unreadable_s * NS_PER_S

    def usable_when_unreadable(self, at_ns: int, settings: DeskSettings) -> bool:
        """Positions could not be read for long, but the last good report is young enough to go on with."""
        report = self.report
        return (
            report is not None
            and self.unreadable(at_ns, settings)
            and at_ns - report.received_ns <= settings.last_good_positions_s * NS_PER_S
        )

    def drop_old(self, before_ns: int) -> None:
        """Forget other people's ended orders that were last seen before that time."""
        for holding, orders in self.foreign.items():
            kept = {i: o for i, o in orders.items() if o.seen_ns >= before_ns or not o.report.is_terminal}
            self.foreign[holding] = kept
