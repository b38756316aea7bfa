"""The real engine through a day's happenings, without sockets: its clock, its runner and its broker are here.

Every command is answered at once. Orders are filled whole at the bid or the ask, at the last price where that side is missing.
The clock is told at each deadline that the engine asks for, and four times a second where `has_beat`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import time

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.exits.judges import RuleSetup
from core.exits.restore import fold
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.journal_records import ExitStarted, JournalRecord
from core.model.market import Quote
from core.model.memory import NOTHING_REMEMBERED, PositionMemory
from core.model.orders import OrderIntent, OrderReport, OrderStatus, Side
from core.model.position import BrokerPosition, HoldingKey, Position, PositionReport
from core.model.signals import Mode, Signal
from core.position_backlog import Backlog
from core.position_cache_manager import PositionCacheManager
from tests.oracle.market import Shown
from tests.oracle.timeline import Decision, Doubted, FeedTold, Happening, Restarted, StoodStill, Told
from tests.replay.conversion import key_of

MS = 1_000_000
BEAT_MS = 250
START_NS = 10**15
AT_ONCE = DeskSettings(
    orders_per_second=1_000,
    attempts_per_leg_per_minute=1_000,
    attempts_per_leg_per_day=10_000,
    round_interval_ms=0,
    position_read_interval_ms=0,
    position_lag_ms=0,
    flat_confirm_ms=0,
    watch_interval_s=10**6,
    watch_near_ms=10**9,
    quote_max_age_ms=10**9,
    intraday_last_send=time.max,
)
STANDSTILL_MS = 1_000
BEHIND_MS = 2_000
TOO_MANY = 100
AT_MOST = 1_000


class NeverBehind(Backlog):
    """The time jumps from snapshot to snapshot, and nothing has waited meanwhile."""

    __slots__ = ()

    def begin(self, at_ns: int, lasted_ns: int) -> None:
        pass


def quote_of(shown: Shown, at_ns: int) -> Quote:
    return Quote(
        key_of(shown.key), shown.last, shown.bid, shown.ask, shown.bid_size, shown.ask_size, shown.traded_s, at_ns
    )


@dataclass
class EngineDay:
    """`book`: each position with its levels. `decisions`: what the engine decided, in order; `alerts`: what it said."""

    book: list[tuple[Position, ExitLevels]]
    has_beat: bool = True
    rules: RuleSetup = field(default_factory=RuleSetup)
    mode: Mode = Mode.SIMULATION
    decisions: list[Decision] = field(default_factory=list)
    alerts: list[cmd.Alert] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal: list[JournalRecord] = []
        self.nets: dict[HoldingKey, int] = {}
        for position, _ in self.book:
            for leg in position.legs:
                self.nets[leg.holding] = self.nets.get(leg.holding, 0) + leg.units
        self.orders: list[OrderReport] = []
        self.gone: set[int] = set()
        self.memories: dict[int, PositionMemory] = {}
        self.now_ms = 0
        self.base_ms: int | None = None
        self.behind_until_ms = 0
        self.session_open: bool | None = None
        self.feed_live = True
        self.engine = self._boot()

    # Time

    @property
    def now_ns(self) -> int:
        return self.ns_of(self.now_ms)

    def ns_of(self, at_ms: int) -> int:
        return START_NS + (at_ms - (self.base_ms or 0)) * MS

    def ms_of(self, at_ns: int) -> int:
        return (at_ns - START_NS) // MS + (self.base_ms or 0)

    def run(self, happenings: Iterable[Happening]) -> list[Decision]:
        for happening in happenings:
            if self.base_ms is None:
                self.base_ms = self.now_ms = happening.at_ms
                self._open()
            if not isinstance(happening, StoodStill):
                self._until(happening.at_ms)
            self.now_ms = happening.at_ms
            self._take(happening)
        self._until(self.now_ms + 2_000)
        return self.decisions

    def _until(self, end_ms: int) -> None:
        """Tell the time whenever it is due, up to and with `end_ms`."""
        while self.now_ms < end_ms:
            dues = [] if (wake := self.engine.next_wake_ns) is None else [self.ms_of(wake)]
            if self.has_beat:
                dues += [self.now_ms - self.now_ms % BEAT_MS + BEAT_MS, self.behind_until_ms]
            due = min((due for due in dues if self.now_ms < due <= end_ms), default=None)
            self.now_ms = end_ms if due is None else due
            if due is not None:
                self._tell_time()

    def _tell_time(self) -> None:
        """At the time that is it now, and again while the engine asks for more at once."""
        for _ in range(TOO_MANY):
            utc_ns = self.now_ms * MS
            self.tell(ev.TimePassed(self.now_ns, utc_ns, self.session_open, is_trading_day=True))
            wake = self.engine.next_wake_ns
            if wake is None or wake > self.now_ns:
                return
        raise AssertionError(f"the engine wants the same time again and again: {self.now_ms}")

    def _take(self, happening: Happening) -> None:
        match happening:
            case Shown():
                if self.engine.desk.exits:
                    # Whoever waits for a price has a young report at hand when it comes.
                    self.tell(self._positions())
                self._carry_out(self.engine.on_quote(quote_of(happening, self.now_ns)))
                self._look_again()
            case Told(session_open=session_open):
                self.session_open = session_open
                self._tell_time()
            case Doubted(keys=keys):
                self.tell(ev.PricesDoubted(tuple(map(key_of, keys)), "no packet", self.now_ns))
            case FeedTold(is_live=is_live):
                self.feed_live = is_live
                self.tell(ev.FeedStateChanged(is_live, self.now_ns))
                self._tell_time()
            case Restarted():
                self.engine = self._boot()
                self._open()
                self._tell_time()
            case StoodStill(lasted_ms=lasted_ms):
                if lasted_ms > STANDSTILL_MS:
                    self.behind_until_ms = self.now_ms + BEHIND_MS
                self._tell_time()

    def _look_again(self) -> None:
        """What an exit has left of a position is looked at when the clock is told next, which a monitor does at once."""
        wake = self.engine.next_wake_ns
        if wake is not None and wake <= self.now_ns:
            self._tell_time()

    # The engine's life

    def _boot(self) -> Engine:
        cache = PositionCacheManager()
        if not self.has_beat:
            cache.backlog = NeverBehind()
        engine = Engine(cache, GuardSettings(), AT_ONCE, self.mode, self.rules)
        tell_only = engine._tell_only

        def noted(signal: Signal, position: Position, at_ns: int) -> None:
            self._note(signal, closes=False)
            tell_only(signal, position, at_ns)

        engine._tell_only = noted  # type: ignore[method-assign]
        return engine

    def _open(self) -> None:
        self.engine.begin_at(self.now_ms * MS)
        restored = fold(self.journal, self.engine.desk, self.now_ns)
        self._carry_out(self.engine.restore(restored, self.now_ns))
        # A desk with a past sends nothing for a second. What is compared here are decisions, and every order is filled at once.
        self.engine.desk.second_budget.taken.clear()
        self.tell(ev.FeedStateChanged(self.feed_live, self.now_ns))
        for position, levels in self.book:
            if position.strategy_id not in self.gone:
                memory = self.memories.get(position.strategy_id, NOTHING_REMEMBERED)
                self.tell(ev.PositionOpened(position, levels, self.now_ns, memory))

    def tell(self, event: ev.Event) -> None:
        self._carry_out(self.engine.handle(event))

    def _carry_out(self, commands: tuple[cmd.Command, ...]) -> None:
        waiting = deque(commands)
        for _ in range(AT_MOST):
            if not waiting:
                return
            for event in self._answers(waiting.popleft()):
                waiting.extend(self.engine.handle(event))
        raise AssertionError(f"{AT_MOST} commands, and no end: {waiting}")

    def _answers(self, command: cmd.Command) -> list[ev.Event]:
        match command:
            case cmd.SubmitOrder(intent):
                return self._fill(intent)
            case cmd.ReadPositions():
                return [self._positions()]
            case cmd.ReadOrderBook():
                return [ev.OrderBookRead(tuple(self.orders), self.now_ns, self.now_ns)]
            case cmd.CloseRows(record):
                return self._close_rows(record)
            case _:
                self._keep(command)
                return []

    def _keep(self, command: cmd.Command) -> None:
        match command:
            case cmd.WriteJournal(record):
                self.journal.append(record)
                if isinstance(record, ExitStarted):
                    self._note(record.signal, closes=True)
            case cmd.Remember(strategy_id):
                memory = self.engine.memory_of(strategy_id)
                if memory is not None:
                    self.memories[strategy_id] = memory
            case cmd.Alert():
                self.alerts.append(command)
            case cmd.RecordExit() | cmd.RequestQuotes():
                pass
            case _:
                raise AssertionError(f"a day without faults has no need of {command}")

    def _note(self, signal: Signal, *, closes: bool) -> None:
        self.decisions.append(
            Decision(
                signal.strategy_id,
                self.ms_of(signal.decided_ns),
                signal.rule.value,
                signal.action.value,
                signal.threshold,
                signal.observed,
                signal.pnl,
                closes,
            )
        )

    # The broker

    def _positions(self) -> ev.PositionsRead:
        """Asked for after everything that was filled until now: time stands still here, and an equal time would prove nothing."""
        rows = tuple(BrokerPosition(holding, net, 0, 0) for holding, net in self.nets.items())
        return ev.PositionsRead(PositionReport(rows, self.now_ns + 1, self.now_ns + 1), self.now_ns)

    def _fill(self, intent: OrderIntent) -> list[ev.Event]:
        quote = self.engine.cache.market_quote_of(intent.holding.instrument)
        assert quote is not None
        side = quote.ask if intent.side is Side.BUY else quote.bid
        price = quote.last if side is None else side
        self.nets[intent.holding] += intent.side.sign * intent.quantity
        corr, at_ns = intent.correlation_id, self.now_ns
        report = OrderReport(
            f"id-{corr}", corr, intent.holding, intent.side, intent.quantity, intent.quantity, OrderStatus.TRADED, price
        )
        self.orders.append(report)
        return [
            ev.OrderPosted(corr, at_ns, at_ns),
            ev.OrderAccepted(corr, report.order_id, at_ns),
            ev.OrderReported(report, at_ns),
        ]

    def _close_rows(self, record) -> list[ev.Event]:
        events: list[ev.Event] = [ev.RowsClosed(record.exit_id, self.now_ns)]
        if not record.action.value.endswith("%"):
            self.gone.add(record.strategy_id)
            events.append(ev.PositionGone(record.strategy_id, self.now_ns))
        return events
