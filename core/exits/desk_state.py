"""What the order side knows and has yet to say: one mutable object with one owner, the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from core.exits.holdings import Holdings
from core.exits.order_gate import RollingBudget, per_second
from core.model.commands import Alert, Command, Severity, WriteJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import time

    from core.exits.desk_settings import DeskSettings
    from core.exits.running_exit import Attempt, RunningExit, RunningLeg
    from core.model.instrument import InstrumentKey
    from core.model.journal_records import JournalRecord
    from core.model.market import Quote
    from core.model.orders import TradeReport
    from core.model.position import HoldingKey
    from core.model.signals import ExitRecord, Mode


class AttemptRef(NamedTuple):
    running: RunningExit
    leg: RunningLeg
    attempt: Attempt


@dataclass(slots=True)
class TradeBook:
    """The last trade book read, for the prices of what others closed."""

    trades: tuple[TradeReport, ...] = ()
    requested_ns: int | None = None
    read_in_flight: bool = False
    failures: int = 0


@dataclass(slots=True)
class DeskState:
    """`out` collects the commands of the event being handled; `wake_ns` is the earliest time something falls due."""

    settings: DeskSettings
    mode: Mode
    quote_of: Callable[[InstrumentKey], Quote | None]
    holdings: Holdings = field(default_factory=Holdings)
    exits: dict[str, RunningExit] = field(default_factory=dict)
    unwritten: dict[str, ExitRecord] = field(default_factory=dict)
    attempts: dict[str, AttemptRef] = field(default_factory=dict)
    correlation_by_order: dict[str, str] = field(default_factory=dict)
    used_correlation_ids: set[str] = field(default_factory=set)
    trade_book: TradeBook = field(default_factory=TradeBook)
    second_budget: RollingBudget = field(init=False)
    session_open: bool | None = None
    ist_time: time | None = None
    utc_ns: int = 0
    feed_live: bool = False
    stopping: bool = False
    positions_wanted: bool = False
    awaited_keys: set[InstrumentKey] = field(default_factory=set)
    out: list[Command] = field(default_factory=list)
    wake_ns: int | None = None

    def __post_init__(self) -> None:
        self.second_budget = per_second(self.settings.orders_per_second)

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

    def attempts_on(self, holding: HoldingKey) -> Iterator[Attempt]:
        """Own attempts of every running exit on the holding."""
        for running in self.exits.values():
            for leg in running.legs:
                if leg.leg.holding == holding:
                    yield from leg.attempts

    def has_live(self, holding: HoldingKey) -> bool:
        return any(attempt.is_live for attempt in self.attempts_on(holding))

    def last_ended_ns(self, holding: HoldingKey) -> int:
        """When an own attempt on the holding last ended; 0 when none has."""
        return max((attempt.ended_ns or 0 for attempt in self.attempts_on(holding)), default=0)

    def reserved(self, holding: HoldingKey, sign: int) -> int:
        """Unfilled units of every live or unknown order of this side on the holding, own and foreign."""
        own = sum(a.leaves for a in self.attempts_on(holding) if a.intent.side.sign == sign)
        return own + self.holdings.foreign_leaves(holding, sign)
