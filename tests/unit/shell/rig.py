"""An exit runner in a test's hands: the engine only listens, and journal, broker, store and records do as they are told."""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace

from core.brokers.base import Accepted, SubmitResult
from core.exit_runner import ExitRunner
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, Rule
from core.model.journal_records import AttemptPrepared
from core.model.orders import OrderIntent, OrderReport, OrderStatus, Side, TradeReport
from core.model.position import PositionReport
from core.model.signals import ExitRecord, Latency, LegExecution, Mode
from core.stores.base import RowOutcome
from tests.fakes.manual_clock import ManualClock
from tests.unit.journal.records import HOLDING


def intent(corr: str = "X1") -> OrderIntent:
    return OrderIntent(corr, HOLDING, Side.BUY, 65, 100_00)


def prepared(corr: str = "X1") -> AttemptPrepared:
    return AttemptPrepared("42-1-abc", 0, 1, intent(corr))


def order(corr: str = "X1") -> tuple[cmd.Command, ...]:
    """What the engine says for one order: its record, then the order."""
    return (cmd.WriteJournal(prepared(corr)), cmd.SubmitOrder(intent(corr)))


def report(order_id: str = "1", corr: str = "X1") -> OrderReport:
    return OrderReport(order_id, corr, HOLDING, Side.BUY, 65, 65, OrderStatus.TRADED, 100_00)


def trade(order_id: str) -> TradeReport:
    return TradeReport(order_id, "t", HOLDING, Side.BUY, 65, 100_00)


def exit_record(mode: Mode = Mode.LIVE, exit_id: str = "42-1-abc") -> ExitRecord:
    leg = LegExecution(7, 49081, "NIFTY", Side.BUY, 65, 65, 100_00, ("1",))
    return ExitRecord(
        exit_id, 42, "NIFTY", "Iron Condor", Action.CLOSE_IMMEDIATELY, "stop", Rule.STOP_LOSS, 1, 2, (leg,), 3, Latency(),
        mode, 1_795_000_000_000_000_000,
    )  # fmt: skip


class Engine:
    """Listens. `answers` gives the commands of an event's class."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []
        self.answers: dict[type, deque[tuple[cmd.Command, ...]]] = {}
        self.desk = SimpleNamespace(stopping=False, session_open=True)
        self.has_new_deadline = False
        self.decided: list[tuple[str, int]] = []

    def handle(self, event: ev.Event) -> tuple[cmd.Command, ...]:
        self.events.append(event)
        waiting = self.answers.get(type(event))
        return waiting.popleft() if waiting else ()

    def on_quote(self, quote):
        return self.answers["quote"].popleft() if self.answers.get("quote") else ()  # type: ignore[call-overload]

    def note_decided(self, exit_id: str, at_ns: int) -> None:
        self.decided.append((exit_id, at_ns))

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


class Journal:
    """Writes what it is given, unless `problems` holds an error for the next call. `gate` holds writes up while clear."""

    def __init__(self, clock: ManualClock, log: list[object]) -> None:
        self.on_disk: list[object] = []
        self.batches: list[list[object]] = []
        self.problems: deque[Exception] = deque()
        self.is_broken: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._clock = clock
        self._log = log

    async def write(self, records):
        self.batches.append(list(records))
        await self.gate.wait()
        if self.is_broken is not None:
            raise self.is_broken
        if self.problems:
            raise self.problems.popleft()
        self.on_disk.extend(records)
        self._log.extend(("disk", record) for record in records)
        return self._clock.monotonic_ns()


class Broker:
    """Answers with `outcome` (a SubmitResult, or an exception to raise); reads give `found`, `book`, `trades`."""

    def __init__(self, log: list[object]) -> None:
        self.outcome: object = SubmitResult(Accepted("1"), 5)
        self.found: object = None
        self.book: object = ()
        self.trades: object = ()
        self.positions: object = PositionReport((), 1, 2)
        self.order: object = None
        self.cancelled: object = None
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._log = log

    async def _give(self, what: str, answer: object):
        self.asked.append(what)
        await asyncio.sleep(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def submit(self, wanted):
        self._log.append(("post", wanted.correlation_id))
        await self.gate.wait()
        return await self._give("submit", self.outcome)

    async def cancel(self, order_id):
        await self._give("cancel", self.cancelled)

    async def read_order(self, order_id):
        return await self._give("order", self.order)

    async def find_order(self, correlation_id):
        return await self._give("find", self.found)

    async def read_orders(self):
        return await self._give("book", self.book)

    async def read_trades(self):
        return await self._give("trades", self.trades)

    async def read_positions(self):
        return await self._give("positions", self.positions)


class Sink:
    """A store, or the file of records: each call fails while `problems` lasts."""

    def __init__(self) -> None:
        self.problems: deque[Exception] = deque()
        self.event_problems: deque[Exception] = deque()
        self.closed: list[str] = []
        self.events: list[str] = []
        self.appended: list[str] = []
        self.outcomes: dict[int, RowOutcome] = {7: RowOutcome.CLOSED}

    async def close_rows(self, record):
        if self.problems:
            raise self.problems.popleft()
        self.closed.append(record.exit_id)
        return self.outcomes

    async def record_risk_event(self, record):
        if self.event_problems:
            raise self.event_problems.popleft()
        self.events.append(record.exit_id)

    async def append(self, record):
        if self.problems:
            raise self.problems.popleft()
        self.appended.append(record.exit_id)


class Rig:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.log: list[object] = []
        self.engine = Engine()
        self.journal = Journal(self.clock, self.log)
        self.broker = Broker(self.log)
        self.store = Sink()
        self.records = Sink()
        self.tasks: list[asyncio.Task[None]] = []
        self.runner = ExitRunner(
            engine=self.engine,  # type: ignore[arg-type]
            broker=self.broker,  # type: ignore[arg-type]
            journal=self.journal,  # type: ignore[arg-type]
            store=self.store,  # type: ignore[arg-type]
            records=self.records,  # type: ignore[arg-type]
            clock=self.clock,
            spawn=self.spawn,
        )

    def spawn(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.append(task)
        return task

    async def settle(self) -> None:
        """Run until every task has ended, also those begun meanwhile. Raises what a task raised."""
        while waiting := [task for task in self.tasks if not task.done()]:
            await asyncio.wait(waiting)
        for task in self.tasks:
            task.result()

    async def turn(self, times: int = 20) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    def posted(self) -> list[str]:
        return [what for kind, what in self.log if kind == "post"]  # type: ignore[misc]

    def subjects(self) -> list[str]:
        return [alert.subject for alert in self.runner.alerts]
