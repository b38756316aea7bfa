"""One simulated day: the engine, a runner that may die between any two commands, and the broker's truth beside them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.exits.restore import fold
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.journal_records import AttemptPrepared, ExitFinished, ExitHalted
from core.model.market import Quote
from core.model.orders import Refusal, Side
from core.model.signals import Mode
from core.position_cache_manager import PositionCacheManager
from tests.fakes.simulated_broker import MS, Faults, Loop, S, SimBroker, SimOrder

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.model.instrument import InstrumentKey
    from core.model.journal_records import JournalRecord
    from core.model.orders import OrderIntent, OrderReport
    from core.model.position import HoldingKey, Position, PositionReport

UTC = 1_795_000_000_000_000_000
EXCUSED_NS = 3 * S
"""Nobody can know of another person's trade before it is visible: crossings that follow one this closely are not ours."""


class ViolationError(AssertionError):
    pass


@dataclass(frozen=True)
class Scenario:
    """`exits`: when each strategy is told to close, in ns from the start. `by_hand`: (when, holding, side, units)."""

    positions: tuple[Position, ...]
    nets: dict[HoldingKey, int]
    exits: dict[int, int]
    faults: Faults
    beat: bool = False
    by_hand: tuple[tuple[int, HoldingKey, Side, int], ...] = ()


@dataclass
class World:
    """`log` is the trace of everything observable, for comparing two runs of one seed."""

    seed: int
    scenario: Scenario
    settings: DeskSettings = field(default_factory=DeskSettings)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.loop = Loop()
        self.start = self.loop.now
        self.broker = SimBroker(self.loop, self.rng, self.scenario.faults, self.scenario.nets)
        self.broker.on_update = self._stream
        self.broker.on_fill = self._check_fill
        self.counts: Counter[str] = self.broker.counts
        self.durable: list[JournalRecord] = []
        self.alerts: list[cmd.Alert] = []
        self.posted: dict[str, OrderIntent] = {}
        self.post_times: list[int] = []
        self.in_transit: dict[str, OrderIntent] = {}
        self.prepared_at: dict[str, int] = {}
        self.closed_strategies: set[int] = set()
        self.triggered: set[int] = set()
        self.halted: set[int] = set()
        self.paged: set[str] = set()
        self.incarnation = 0
        self.log: list[tuple[int, object]] = []
        self.leg_of: dict[str, tuple[str, int]] = {}
        self.engine = self._boot()

    # Life

    def run(self, seconds: int) -> None:
        for strategy_id, delay in self.scenario.exits.items():
            self.loop.after(delay, self._trigger(strategy_id))
        for delay, holding, side, units in self.scenario.by_hand:
            self.loop.after(delay, self._trade(holding, side, units))
        self.loop.run_until(self.start + seconds * S, self.is_done)

    def is_done(self) -> bool:
        paged = {number for number in self.halted if f"S{number} ({number})" in self.paged}
        return set(self.scenario.exits) <= self.closed_strategies | paged

    def _trade(self, holding: HoldingKey, side: Side, units: int) -> Callable[[], None]:
        def trade() -> None:
            net = self.broker.nets.get(holding, 0)
            quantity = min(units, max(-side.sign * net, 0))
            if quantity:
                self.broker.trade_by_hand(holding, side, quantity)

        return trade

    def _trigger(self, strategy_id: int) -> Callable[[], None]:
        def trigger() -> None:
            self.triggered.add(strategy_id)
            if self.alive:
                self.tell(ev.OperatorExitRequested(strategy_id, self.loop.now))

        return trigger

    def _boot(self) -> Engine:
        self.alive = True
        self.written_at = self.loop.now
        self.wakes: set[int] = set()
        engine = Engine(PositionCacheManager(), GuardSettings(), self.settings, Mode.LIVE)
        self.engine = engine
        now = self.loop.now
        restored = fold(self.durable, engine.desk, now)
        self._carry_out(engine.restore(restored, now))
        self.tell(ev.FeedStateChanged(is_live=True, at_ns=now))
        self._tell_time()
        for position in self.scenario.positions:
            if position.strategy_id not in self.closed_strategies:
                self.tell(ev.PositionOpened(position, ExitLevels(), now))
                for leg in position.legs:
                    self._quote(leg.instrument.key)
        for strategy_id in sorted(self.triggered):
            self.tell(ev.OperatorExitRequested(strategy_id, now))
        if self.scenario.beat:
            self._later(250 * MS, self._beat)
        return engine

    def _beat(self) -> None:
        self._tell_time()
        self._later(250 * MS, self._beat)

    def crash(self, where: str) -> None:
        self.counts[f"crashes: {where}"] += 1
        self.log.append((self.loop.now, f"crash {where}"))
        self.alive = False
        self.incarnation += 1
        self.loop.after(self.rng.randrange(100, 3_000) * MS, self._boot_again)

    def _boot_again(self) -> None:
        self._boot()

    def _later(self, delay: int, call: Callable[[], None]) -> None:
        """Run later, unless this life of the program has ended by then. The dead hear nothing."""
        if not self.alive:
            return
        life = self.incarnation

        def guarded() -> None:
            if life == self.incarnation:
                call()

        self.loop.after(delay, guarded)

    # To the engine

    def tell(self, event: ev.Event) -> None:
        life = self.incarnation
        self.log.append((self.loop.now, event))
        commands = self.engine.handle(event)
        self._carry_out(commands)
        if life == self.incarnation:
            self._schedule_wake()

    def _tell_time(self) -> None:
        self.tell(ev.TimePassed(self.loop.now, UTC + self.loop.now, session_open=True, is_trading_day=True))

    def _schedule_wake(self) -> None:
        wake = self.engine.next_wake_ns
        if wake is None:
            return
        when = max(wake, self.loop.now + MS)
        if not any(known <= when for known in self.wakes):
            self.wakes.add(when)
            self._later(when - self.loop.now, lambda: self._wake(when))

    def _wake(self, when: int) -> None:
        self.wakes.discard(when)
        self._tell_time()

    def _stream(self, report: OrderReport) -> None:
        """The order update stream: delays differ, so updates overtake one another."""
        self._later(self.rng.randrange(1, 300) * MS, lambda: self.tell(ev.OrderReported(report, self.loop.now)))

    def _quote(self, key: InstrumentKey) -> None:
        self.tell(ev.QuoteArrived(Quote(key, 10_000, 9_995, 10_005, 75, 75, None, self.loop.now)))

    # From the engine

    def _carry_out(self, commands: tuple[cmd.Command, ...]) -> None:
        if not commands:
            return
        delay = self.rng.randrange(0, 20) * MS if any(isinstance(c, cmd.WriteJournal) for c in commands) else 0
        journal = [c for c in commands if isinstance(c, cmd.WriteJournal)]
        others = [c for c in commands if not isinstance(c, cmd.WriteJournal)]
        # One journal, one writer: batches become durable in the order in which they were given.
        when = self.loop.now
        if journal:
            when = self.written_at = max(when + delay, self.written_at)
        self._later(when - self.loop.now, lambda: self._step(journal, others))

    def _step(self, journal: list[cmd.WriteJournal], others: list[cmd.Command]) -> None:
        for position, write in enumerate(journal):
            if self.broker.chance(self.broker.faults.crash):
                self.crash(f"before journal record {min(position, 2)} of a batch")
                return
            self._write(write.record)
        for command in others:
            if self.broker.chance(self.broker.faults.crash):
                self.crash(f"before {type(command).__name__}")
                return
            self._do(command)

    def _write(self, record: JournalRecord) -> None:
        self.durable.append(record)
        self.log.append((self.loop.now, record))
        if isinstance(record, AttemptPrepared):
            self.prepared_at.setdefault(record.intent.correlation_id, self.loop.now)
            self.leg_of[record.intent.correlation_id] = (record.exit_id, record.leg)
        elif isinstance(record, ExitHalted):
            self.halted.add(self._strategy_of(record.exit_id))
            self.counts["halted"] += 1
        elif isinstance(record, ExitFinished):
            self._check_record(record)

    @staticmethod
    def _strategy_of(exit_id: str) -> int:
        return int(exit_id.split("-", maxsplit=1)[0])

    def _do(self, command: cmd.Command) -> None:
        match command:
            case cmd.SubmitOrder(intent):
                self._submit(intent)
            case cmd.Alert():
                self.alerts.append(command)
                if command.subject == "exit halted":
                    self.paged.add(command.text.split(":")[0])
            case cmd.CloseRows(record):
                self._later(
                    self.rng.randrange(1, 200) * MS, lambda: self._rows_closed(record.strategy_id, record.exit_id)
                )
            case cmd.RequestQuotes(keys):
                for key in keys:
                    self._later(self.rng.randrange(50, 800) * MS, lambda key=key: self._quote(key))
            case cmd.CancelOrder(order_id):
                if not self.broker.chance(0.2):
                    self.loop.after(self.rng.randrange(5, 100) * MS, lambda: self.broker.cancel(order_id))
            case cmd.RecordExit():
                pass
            case _:
                self._later(self.rng.randrange(5, 150) * MS, lambda: self._read(command, self.loop.now))

    def _rows_closed(self, strategy_id: int, exit_id: str) -> None:
        self.closed_strategies.add(strategy_id)
        self.tell(ev.RowsClosed(exit_id, self.loop.now))
        self.tell(ev.PositionGone(strategy_id, self.loop.now))

    def _submit(self, intent: OrderIntent) -> None:
        faults, broker, corr = self.broker.faults, self.broker, intent.correlation_id
        if broker.chance(faults.not_sent):
            self.counts["not sent"] += 1
            self._answer(5, Refusal.NOT_SENT, corr)
            return
        self._check_post(intent)
        answer_ms = self.rng.randrange(10, 250)
        if self._is_too_fast() or broker.chance(faults.rate_limited):
            self.counts["rate limited"] += 1
            self._answer(answer_ms, Refusal.RATE_LIMITED, corr)
        elif broker.chance(faults.refused):
            self.counts["refused"] += 1
            self._answer(answer_ms, Refusal.VALIDATION, corr)
        elif broker.chance(faults.account):
            self.counts["refused: token"] += 1
            self._answer(answer_ms, Refusal.TOKEN, corr)
        elif broker.chance(faults.lost_before):
            self.counts["lost before effect"] += 1
            self._lose(2_500, corr)
        elif broker.chance(faults.lost_after):
            self.counts["lost after effect"] += 1
            self._arrive(answer_ms, intent, answers=False)
            self._lose(2_500, corr)
        elif broker.chance(faults.late):
            self.counts["late arrivals"] += 1
            self._arrive(2_500 + self.rng.randrange(100, 6_500), intent, answers=False)
            self._lose(2_500, corr)
        elif broker.chance(faults.server_error):
            self.counts["server errors"] += 1
            if broker.chance(0.5):
                self._arrive(answer_ms, intent, answers=False)
            self._lose(answer_ms, corr)
        else:
            self._arrive(answer_ms, intent, answers=True)

    def _is_too_fast(self) -> bool:
        return sum(t > self.loop.now - S for t in self.post_times) > 10

    def _arrive(self, delay_ms: int, intent: OrderIntent, *, answers: bool) -> None:
        self.in_transit[intent.correlation_id] = intent
        life = self.incarnation

        def arrive() -> None:
            del self.in_transit[intent.correlation_id]
            order = self.broker.accept(intent)
            if answers and life == self.incarnation:
                self._later(self.rng.randrange(1, 100) * MS, lambda: self._accepted(order))

        self.loop.after(delay_ms * MS, arrive)

    def _accepted(self, order: SimOrder) -> None:
        corr = order.intent.correlation_id
        self.tell(ev.OrderPosted(corr, self.prepared_at[corr], self.post_times[-1]))
        if self.alive:
            self.tell(ev.OrderAccepted(corr, order.order_id, self.loop.now))

    def _lose(self, delay_ms: int, corr: str) -> None:
        self._later(delay_ms * MS, lambda: self.tell(ev.OrderOutcomeUnknown(corr, "time-out", self.loop.now)))

    def _answer(self, delay_ms: int, refusal: Refusal, corr: str) -> None:
        self._later(delay_ms * MS, lambda: self.tell(ev.OrderRefused(corr, refusal, "no", self.loop.now)))

    def _read(self, command: cmd.Command, requested: int) -> None:
        """As the runner does it: one event for every question, an error never turned into an answer."""
        broker, corr = self.broker, getattr(command, "correlation_id", "")
        fails = broker.faults.read_fails
        if isinstance(command, cmd.ReadPositions):
            fails = broker.faults.positions_fail
        delay = self.rng.randrange(5, 150) * MS
        if broker.chance(fails):
            self.counts[f"failed {type(command).__name__}"] += 1
            what = type(command).__name__
            self._later(delay, lambda: self.tell(ev.BrokerReadFailed(what, "503", self.loop.now, corr)))
            return
        match command:
            case cmd.ReadPositions():
                report = broker.positions_as_seen(requested)
                self._later(delay, lambda: self.tell(ev.PositionsRead(_received(report, self.loop.now), self.loop.now)))
            case cmd.ReadOrder(order_id, _):
                seen = broker.order_as_seen(order_id)
                if seen is None:
                    failed = ev.BrokerReadFailed("ReadOrder", "not found", self.loop.now + delay, corr)
                    self._later(delay, lambda: self.tell(failed))
                else:
                    self._later(delay, lambda: self.tell(ev.OrderReported(seen, self.loop.now)))
            case cmd.ReadOrderBook():
                book = broker.book_as_seen()
                self._later(delay, lambda: self.tell(ev.OrderBookRead(book, requested, self.loop.now)))
            case cmd.ReadTradeBook():
                trades = broker.trades_as_seen()
                self._later(delay, lambda: self.tell(ev.TradeBookRead(trades, requested, self.loop.now)))
            case cmd.ResolveOrder():
                self._later(delay, lambda: self._resolve(command, requested))
            case _:
                raise TypeError(f"expected a read, received {command}")

    def _resolve(self, command: cmd.ResolveOrder, requested: int) -> None:
        corr, broker = command.correlation_id, self.broker
        book = broker.book_as_seen()
        found = next((report for report in book if report.correlation_id == corr), None)
        if found is not None:
            self.tell(ev.OrderReported(found, self.loop.now))
            return
        book = broker.book_as_seen()
        self.tell(ev.OrderBookRead(book, requested, self.loop.now))
        if not self.alive or any(report.correlation_id == corr for report in book):
            return
        known = {report.order_id for report in book}
        trades = broker.trades_as_seen()
        unexplained = any(t.holding == command.holding and t.order_id not in known for t in trades)
        self.counts["negatives"] += 1
        self.tell(ev.OrderAbsenceSeen(corr, unexplained, requested, self.loop.now))

    # Invariants, from the broker's truth

    def _check_post(self, intent: OrderIntent) -> None:
        corr, now = intent.correlation_id, self.loop.now
        if corr in self.posted:
            raise ViolationError(f"I3: {corr} posted twice")
        if corr not in self.prepared_at:
            raise ViolationError(f"I4: {corr} posted without a durable record")
        self.posted[corr] = intent
        self.post_times.append(now)
        self.counts["posts"] += 1
        recent = sum(time > now - S for time in self.post_times)
        if recent > 10:
            raise ViolationError(f"I6: {recent} orders within a second")
        leaves = self._live_leaves(intent.holding, intent.side) + intent.quantity
        net = self.broker.nets.get(intent.holding, 0)
        if leaves > max(-intent.side.sign * net, 0) and not self._excused(intent):
            raise ViolationError(f"I2: {leaves} live units to {intent.side} against a net of {net}")
        if intent.side is Side.SELL:
            self._check_shorts_closed(corr)

    def _live_leaves(self, holding: HoldingKey, side: Side) -> int:
        live = [o.leaves for o in self.broker.orders.values() if (o.intent.holding, o.intent.side) == (holding, side)]
        moving = [i.quantity for i in self.in_transit.values() if (i.holding, i.side) == (holding, side)]
        return sum(live) + sum(moving)

    def _excused(self, intent: OrderIntent) -> bool:
        prepared = self.prepared_at[intent.correlation_id]
        foreign = self.broker.foreign_fills
        return any(holding == intent.holding and time > prepared - EXCUSED_NS for time, holding in foreign) or any(
            not order.is_ours and order.is_live for order in self.broker.orders.values()
        )

    def _exit_of(self, corr: str) -> tuple[str, int]:
        if corr not in self.leg_of:
            raise ViolationError(f"I4: {corr} is in no durable record")
        return self.leg_of[corr]

    def _orders_of(self, exit_id: str, leg: int) -> list[SimOrder]:
        orders = self.broker.orders.values()
        return [order for order in orders if self.leg_of.get(order.intent.correlation_id) == (exit_id, leg)]

    def _position_of(self, exit_id: str) -> Position:
        return next(p for p in self.scenario.positions if p.strategy_id == self._strategy_of(exit_id))

    def _check_shorts_closed(self, corr: str) -> None:
        exit_id, _ = self._exit_of(corr)
        for index, leg in enumerate(self._position_of(exit_id).legs):
            if leg.units > 0:
                continue
            orders = self._orders_of(exit_id, index)
            moving = {i for i in self.in_transit if self._exit_of(i) == (exit_id, index)}
            if moving or any(order.is_live for order in orders):
                raise ViolationError(f"I5: {corr} sells a long while an order of a short is live")
            missing = -leg.units - sum(order.filled for order in orders)
            if missing > 0 and self.broker.nets[leg.holding] + self._others_short(exit_id, leg.holding) < 0:
                raise ViolationError(f"I5: {corr} sells a long while {missing} units of a short are open")

    def _others_short(self, exit_id: str, holding: HoldingKey) -> int:
        """Units of the contract that rows of other strategies say are short."""
        mine = self._strategy_of(exit_id)
        total: dict[int, int] = defaultdict(int)
        for position in self.scenario.positions:
            for leg in position.legs:
                if leg.holding == holding and leg.units < 0 and position.strategy_id != mine:
                    total[position.strategy_id] -= leg.units
        return sum(total.values())

    def _check_fill(self, order: SimOrder, units: int) -> None:
        intent = order.intent
        net = self.broker.nets.get(intent.holding, 0)
        self.counts["fills"] += 1
        if units > max(-intent.side.sign * net, 0):
            self.counts["excused crossings"] += 1
            if not self._excused(intent):
                raise ViolationError(f"I1: {intent.side} {units} crosses a net of {net}")
        exit_id, leg = self._exit_of(intent.correlation_id)
        filled = units + sum(o.filled for o in self._orders_of(exit_id, leg))
        planned = abs(self._position_of(exit_id).legs[leg].units)
        if filled > planned:
            raise ViolationError(f"I8: {filled} units filled of {planned} planned")

    def _check_record(self, record: ExitFinished) -> None:
        self.counts["closed"] += 1
        for index, leg in enumerate(record.record.legs):
            orders = self._orders_of(record.exit_id, index)
            filled = sum(order.filled for order in orders)
            if leg.filled != filled:
                raise ViolationError(f"the record says {leg.filled} filled, the broker {filled}")
            if filled and (
                leg.average_price is None or abs(leg.average_price - sum(o.value for o in orders) / filled) > 1
            ):
                raise ViolationError(
                    f"the record says {leg.average_price}, the broker {sum(o.value for o in orders) / filled}"
                )
            if any(order.is_live for order in orders):
                raise ViolationError("the exit is recorded as finished while an order of it is live")


def _received(report: PositionReport, at_ns: int) -> PositionReport:
    return replace(report, received_ns=at_ns)
