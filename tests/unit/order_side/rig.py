"""An engine in a test's hands: the test is its clock, its runner and its broker."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.exits.judges import RuleSetup
from core.exits.restore import fold
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.market import Quote
from core.model.orders import OrderIntent, OrderReport, OrderStatus, Refusal, Side
from core.model.position import BrokerPosition, HoldingKey, Leg, Position, PositionReport, Product
from core.model.signals import Mode
from core.position_cache_manager import PositionCacheManager

MS = 1_000_000
S = 1_000 * MS
NOON = int(datetime(2026, 11, 20, 6, 30, tzinfo=UTC).timestamp()) * S


def instrument(security_id: int = 501, **changes) -> Instrument:
    key = InstrumentKey(Segment.NSE_FNO, security_id)
    made = Instrument(key, f"OPT-{security_id}", "NIFTY", 75, 5, 1_801, 2_400_000, None, Right.CALL)
    return replace(made, **changes)


def leg(row: int, security_id: int, units: int, product: Product = Product.MARGIN, **changes) -> Leg:
    return Leg(row, instrument(security_id, **changes), product, units, 9_000, "2026-11-19T10:00:00")


def position(strategy_id: int, *legs: Leg) -> Position:
    return Position(strategy_id, f"S{strategy_id}", "NIFTY", legs)


def holding(security_id: int = 501, product: Product = Product.MARGIN) -> HoldingKey:
    return HoldingKey(InstrumentKey(Segment.NSE_FNO, security_id), product)


SHORT = position(1, leg(11, 501, -75))
SPREAD = position(1, leg(11, 501, -75), leg(12, 502, 75))


def report_of(intent: OrderIntent, status: OrderStatus, filled: int = 0, order_id: str = "", **changes) -> OrderReport:
    made = OrderReport(
        order_id or f"id-{intent.correlation_id}",
        intent.correlation_id,
        intent.holding,
        intent.side,
        intent.quantity,
        filled,
        status,
        intent.price if filled else None,
    )
    return replace(made, **changes)


@dataclass
class Rig:
    """`out` holds the commands since the last `take`; `journal` every record ever written."""

    settings: DeskSettings = field(default_factory=DeskSettings)
    mode: Mode = Mode.LIVE
    now: int = 1_000 * S
    utc_at_start: int = NOON
    session_open: bool | None = True
    cash_open: bool | None = True
    rules: RuleSetup = field(default_factory=RuleSetup)

    def __post_init__(self) -> None:
        self.start = self.now
        self.engine = Engine(PositionCacheManager(), GuardSettings(), self.settings, self.mode, self.rules)
        self.out: list[cmd.Command] = []
        self.journal: list = []
        self.alerts: list[cmd.Alert] = []
        self.engine.desk.feed_live = True

    @property
    def desk(self):
        return self.engine.desk

    def tell(self, event: ev.Event) -> None:
        self.keep(self.engine.handle(event))

    def keep(self, commands) -> None:
        self.out.extend(commands)
        self.journal.extend(c.record for c in commands if isinstance(c, cmd.WriteJournal))
        self.alerts.extend(c for c in commands if isinstance(c, cmd.Alert))

    def take(self, kind: type = object) -> list:
        found = [command for command in self.out if isinstance(command, kind)]
        self.out.clear()
        return found

    def wait(self, seconds: float = 0.0) -> None:
        self.now += round(seconds * S)
        utc = self.utc_at_start + self.now - self.start
        self.tell(ev.TimePassed(self.now, utc, self.session_open, True, self.cash_open))

    def open(self, *positions: Position, levels: ExitLevels | None = None) -> None:
        for one in positions:
            self.tell(ev.PositionOpened(one, levels or ExitLevels(), self.now))
            for held in one.legs:
                self.quote(held.instrument.key.security_id)

    def quote(self, security_id: int = 501, last: int = 10_000) -> None:
        key = InstrumentKey(Segment.NSE_FNO, security_id)
        quote = Quote(key, last, last - 5, last + 5, 75, 75, None, self.now)
        self.tell(ev.QuoteArrived(quote))

    def positions(self, nets: dict[int, int], requested: int | None = None, product: Product = Product.MARGIN) -> None:
        rows = tuple(BrokerPosition(holding(i, product), net, 0, 0) for i, net in nets.items())
        asked = self.now if requested is None else requested
        self.tell(ev.PositionsRead(PositionReport(rows, asked, self.now), self.now))

    def exit(self, strategy_id: int = 1) -> None:
        self.tell(ev.OperatorExitRequested(strategy_id, self.now))

    def begin(self, *positions: Position, nets: dict[int, int]) -> None:
        """Open, tell the time, read positions, and start an exit of every position."""
        self.open(*positions)
        self.wait()
        self.positions(nets)
        for one in positions:
            self.exit(one.strategy_id)

    def submitted(self) -> list[OrderIntent]:
        return [command.intent for command in self.take(cmd.SubmitOrder)]

    def accept(self, intent: OrderIntent, order_id: str = "") -> None:
        corr = intent.correlation_id
        self.tell(ev.OrderPosted(corr, self.now, self.now))
        self.tell(ev.OrderAccepted(corr, order_id or f"id-{corr}", self.now))

    def refuse(self, intent: OrderIntent, refusal: Refusal, reason: str = "no") -> None:
        self.tell(ev.OrderRefused(intent.correlation_id, refusal, reason, self.now))

    def lose(self, intent: OrderIntent) -> None:
        self.tell(ev.OrderOutcomeUnknown(intent.correlation_id, "time-out", self.now))

    def report(self, intent: OrderIntent, status: OrderStatus, filled: int = 0, **changes) -> None:
        self.tell(ev.OrderReported(report_of(intent, status, filled, **changes), self.now))

    def fill(self, intent: OrderIntent) -> None:
        self.accept(intent)
        self.report(intent, OrderStatus.TRADED, intent.quantity)

    def absent(self, intent: OrderIntent, *, unexplained: bool = False, requested: int | None = None) -> None:
        asked = self.now if requested is None else requested
        self.tell(ev.OrderAbsenceSeen(intent.correlation_id, unexplained, asked, self.now))

    def foreign(
        self, side: Side, quantity: int, filled: int, status: OrderStatus, order_id: str = "f1", security_id: int = 501
    ) -> OrderReport:
        average = 10_000 if filled else None
        report = OrderReport(order_id, "", holding(security_id), side, quantity, filled, status, average)
        self.tell(ev.OrderReported(report, self.now))
        return report

    def failed(self, what: str, corr: str = "") -> None:
        self.tell(ev.BrokerReadFailed(what, "503", self.now, corr))

    def subjects(self) -> list[str]:
        return [alert.subject for alert in self.alerts]

    def running(self, strategy_id: int = 1):
        return next((r for r in self.desk.exits.values() if r.strategy_id == strategy_id), None)

    def reborn(self, seconds: float = 1.0) -> Rig:
        """The program after a crash: everything in memory is lost, the journal is not."""
        after = Rig(self.settings, self.mode, self.now + round(seconds * S), self.utc_at_start, rules=self.rules)
        after.journal = list(self.journal)
        restored = fold(self.journal, after.desk, after.now)
        after.keep(after.engine.restore(restored, after.now))
        after.engine.desk.feed_live = True
        return after
