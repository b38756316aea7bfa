"""What the order side knows and has yet to say: one mutable object with one owner, the engine."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from core.exits.desk_settings import READ_DUE_NS
from core.exits.holdings import Holdings
from core.exits.order_gate import RollingBudget, per_second
from core.model.commands import Alert, Command, Severity, WriteJournal
from core.model.session_time import NS_PER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import time

    from core.exits.desk_settings import DeskSettings
    from core.exits.running_exit import Attempt, RunningExit, RunningLeg
    from core.model.instrument import InstrumentKey
    from core.model.journal_records import JournalRecord, LimitRecord
    from core.model.market import Quote
    from core.model.orders import TradeReport
    from core.model.position import HoldingKey, Position
    from core.model.signals import ExitRecord, Mode


class AttemptRef(NamedTuple):
    running: RunningExit
    leg: RunningLeg
    attempt: Attempt


@dataclass(slots=True)
class BookRead:
    """A read of one of the broker's books: when it was last asked for, and whether the answer is still due."""

    asked_ns: int | None = None
    in_flight: bool = False

    def ask(self, at_ns: int) -> None:
        self.asked_ns, self.in_flight = at_ns, True

    def is_reading(self, at_ns: int) -> bool:
        return self.in_flight and self.asked_ns is not None and at_ns - self.asked_ns < READ_DUE_NS


@dataclass(slots=True)
class TradeBook:
    """The last trade book read, for the prices of what others closed."""

    trades: tuple[TradeReport, ...] = ()
    requested_ns: int | None = None
    read: BookRead = field(default_factory=BookRead)
    failures: int = 0


class ClosedExit(NamedTuple):
    running: RunningExit
    closed_ns: int


@dataclass(slots=True)
class DeskState:
    """`out` collects the commands of the event being handled; `wake_ns` is the earliest time something falls due.

    `strays` are live orders of exits that are over. `unposted` are orders of which we do not know yet when they went out.
    `ended_ns` says per holding when an own order on it last ended or filled, of exits that are over too. `limit_records` are
    what the journal held of the limits over positions, until their judge takes them. `held` gives what no exit has closed yet
    of every position that the rows say is open, those under way included.
    """

    settings: DeskSettings
    mode: Mode
    quote_of: Callable[[InstrumentKey], Quote | None]
    is_doubted: Callable[[InstrumentKey], bool]
    held: Callable[[], Iterable[Position]] = tuple
    holdings: Holdings = field(init=False)
    exits: dict[str, RunningExit] = field(default_factory=dict)
    closed: deque[ClosedExit] = field(default_factory=deque)
    unwritten: dict[str, ExitRecord] = field(default_factory=dict)
    attempts: dict[str, AttemptRef] = field(default_factory=dict)
    strays: dict[str, AttemptRef] = field(default_factory=dict)
    attempts_on: dict[HoldingKey, list[Attempt]] = field(default_factory=dict)
    ended_ns: dict[HoldingKey, int] = field(default_factory=dict)
    correlation_by_order: dict[str, str] = field(default_factory=dict)
    used_correlation_ids: set[str] = field(default_factory=set)
    unposted: set[str] = field(default_factory=set)
    trade_book: TradeBook = field(default_factory=TradeBook)
    order_book: BookRead = field(default_factory=BookRead)
    second_budget: RollingBudget = field(init=False)
    session_open: bool | None = None
    cash_open: bool | None = None
    ist_time: time | None = None
    utc_ns: int = 0
    feed_live: bool = False
    stopping: bool = False
    positions_wanted: bool = False
    order_book_wanted: bool = False
    awaited_keys: set[InstrumentKey] = field(default_factory=set)
    limit_records: list[LimitRecord] = field(default_factory=list)
    out: list[Command] = field(default_factory=list)
    wake_ns: int | None = None

    def __post_init__(self) -> None:
        self.second_budget = per_second(self.settings.orders_per_second)
        self.holdings = Holdings(self.settings.position_lag_ms * NS_PER_MS)

    @property
    def is_busy(self) -> bool:
        """Something is under way that `advance` has to look at."""
        return bool(self.exits or self.strays or self.wake_ns is not None)

    def say(self, command: Command) -> None:
        self.out.append(command)

    def record(self, record: JournalRecord) -> None:
        self.out.append(WriteJournal(record))

    def alert(self, running: RunningExit, severity: Severity, subject: str, text: str) -> None:
        """Tell a person, once per exit and subject."""
        if subject not in running.alerted:
            running.alerted.add(subject)
            self.out.append(
                Alert(severity, subject, f"{running.position.strategy_name} ({running.strategy_id}): {text}")
            )

    def wake_at(self, at_ns: int) -> None:
        if self.wake_ns is None or at_ns < self.wake_ns:
            self.wake_ns = at_ns

    def add_attempt(self, ref: AttemptRef) -> None:
        """Know an own order by its correlation id and its holding."""
        intent = ref.attempt.intent
        self.attempts[intent.correlation_id] = ref
        self.used_correlation_ids.add(intent.correlation_id)
        self.attempts_on.setdefault(intent.holding, []).append(ref.attempt)

    def note_sent(self, correlation_id: str, at_ns: int) -> None:
        """Start the second-budget's clock for one order: when it went out, or when its end says that it may have."""
        if correlation_id in self.unposted:
            self.unposted.remove(correlation_id)
            self.second_budget.take(at_ns)

    def has_live(self, holding: HoldingKey) -> bool:
        return any(attempt.is_live for attempt in self.attempts_on.get(holding, ()))

    def note_end(self, holding: HoldingKey, at_ns: int) -> None:
        self.ended_ns[holding] = max(self.ended_ns.get(holding, 0), at_ns)

    def last_ended_ns(self, holding: HoldingKey) -> int:
        """When an own order on the holding last ended or filled; 0 when none has."""
        return self.ended_ns.get(holding, 0)

    def reserved(self, holding: HoldingKey, sign: int) -> int:
        """Unfilled units of every live or unknown order of this side on the holding, own and foreign."""
        own = sum(a.leaves for a in self.attempts_on.get(holding, ()) if a.intent.side.sign == sign)
        return own + self.holdings.foreign_leaves(holding, sign)

    def drop_old(self, before_ns: int) -> None:
        """Forget the orders of exits that ended before that time, and other people's orders of then."""
        if not self.closed or self.closed[0].closed_ns >= before_ns:
            return
        while self.closed and self.closed[0].closed_ns < before_ns:
            for attempt in self.closed.popleft().running.attempts:
                self.attempts.pop(attempt.intent.correlation_id)
                self.used_correlation_ids.discard(attempt.intent.correlation_id)
                self.correlation_by_order.pop(attempt.order_id, None)
                self.attempts_on[attempt.intent.holding].remove(attempt)
        self.holdings.drop_old(before_ns)
