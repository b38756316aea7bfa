"""From journal records back to the exits they describe: a pure fold. Nothing is ever sent because a record says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from core.exits.closed_parts import ClosedParts, take_finished
from core.exits.desk_state import AttemptRef
from core.exits.exit_lifecycle import AttemptState, AttemptTrigger, ExitState
from core.exits.order_gate import per_minute
from core.exits.running_exit import Attempt, RunningExit, start_legs
from core.model.journal_records import (
    AttemptAbsent,
    AttemptObserved,
    AttemptPrepared,
    AttemptRefused,
    DayCounted,
    ExitFinished,
    ExitHalted,
    ExitStarted,
    JournalRecord,
    LimitRecord,
    LimitReset,
    LimitTripped,
    RowsWritten,
)
from core.model.orders import OrderReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.exits.desk_state import DeskState
    from core.model.position import HoldingKey
    from core.model.signals import ExitRecord


@dataclass(slots=True)
class Restored:
    """What the journal says: exits to go on with, rows still to be written, and what was closed before.

    `generations`: newest generation per strategy id. `closed`: what finished exits have closed at the broker.
    `ordered`: holdings on which an exit, finished or not, has sent orders. `finished`: every finished exit, oldest first.
    `limits`: what is known of the limits over positions, oldest first; their judge makes sense of it.
    """

    running: dict[str, RunningExit] = field(default_factory=dict)
    unwritten: dict[str, ExitRecord] = field(default_factory=dict)
    generations: dict[int, int] = field(default_factory=dict)
    closed: ClosedParts = field(default_factory=ClosedParts)
    correlation_ids: set[str] = field(default_factory=set)
    ordered: set[HoldingKey] = field(default_factory=set)
    finished: list[ExitRecord] = field(default_factory=list)
    limits: list[LimitRecord] = field(default_factory=list)


def fold(records: Iterable[JournalRecord], desk: DeskState, at_ns: int) -> Restored:
    """Replay the journal. An attempt without an end is UNKNOWN from now on, or WORKING when its order id is known."""
    restored = Restored()
    for record in records:
        _apply(restored, record, desk, at_ns)
    for running in restored.running.values():
        for attempt in running.attempts:
            attempt.answered = True
            if attempt.state is AttemptState.PREPARED:
                attempt.fire(AttemptTrigger.OUTCOME_LOST, at_ns)
    return restored


def _apply(restored: Restored, record: JournalRecord, desk: DeskState, at_ns: int) -> None:
    match record:
        case ExitStarted():
            _start(restored, record, desk, at_ns)
        case AttemptPrepared():
            _prepare(restored, record, at_ns)
        case AttemptObserved():
            _observe(restored, record, at_ns)
        case AttemptRefused(exit_id, correlation_id, _):
            _end(restored, exit_id, correlation_id, (AttemptTrigger.REFUSED,), at_ns)
        case AttemptAbsent(exit_id, correlation_id):
            _end(restored, exit_id, correlation_id, (AttemptTrigger.OUTCOME_LOST, AttemptTrigger.PROVED_ABSENT), at_ns)
        case ExitHalted():
            _halt(restored, record)
        case ExitFinished():
            _finish(restored, record)
        case RowsWritten(exit_id):
            restored.unwritten.pop(exit_id, None)
        case LimitTripped() | LimitReset() | DayCounted():
            restored.limits.append(record)
        case _ as unreachable:
            assert_never(unreachable)


def _start(restored: Restored, record: ExitStarted, desk: DeskState, at_ns: int) -> None:
    running = restored.running.get(record.exit_id)
    if running is not None:
        # The exit of a share has become one of the whole.
        running.widen(record.signal, record.position)
        return
    budgets = tuple(per_minute(desk.settings.attempts_per_leg_per_minute) for _ in record.position.legs)
    strategy_id = record.position.strategy_id
    restored.generations[strategy_id] = max(restored.generations.get(strategy_id, 0), record.generation)
    restored.running[record.exit_id] = RunningExit(
        exit_id=record.exit_id,
        generation=record.generation,
        signal=record.signal,
        position=record.position,
        legs=start_legs(record.position, budgets),
        started_ns=at_ns,
        row_units=record.row_units,
    )


def _halt(restored: Restored, record: ExitHalted) -> None:
    running = restored.running.get(record.exit_id)
    if running is not None:
        running.state = ExitState.HALTED
        running.halted_reason, running.may_widen = record.reason, record.may_widen


def _finish(restored: Restored, record: ExitFinished) -> None:
    finished = restored.running.pop(record.exit_id, None)
    restored.unwritten[record.exit_id] = record.record
    restored.finished.append(record.record)
    take_finished(restored.closed, record.record, finished)


def _prepare(restored: Restored, record: AttemptPrepared, at_ns: int) -> None:
    restored.correlation_ids.add(record.intent.correlation_id)
    restored.ordered.add(record.intent.holding)
    running = restored.running.get(record.exit_id)
    if running is not None:
        leg = running.legs[record.leg]
        leg.attempts.append(Attempt(record.intent, record.number, at_ns, leg.round_of_next()))


def _find(restored: Restored, exit_id: str, correlation_id: str) -> Attempt | None:
    running = restored.running.get(exit_id)
    if running is None:
        return None
    return next((a for a in running.attempts if a.intent.correlation_id == correlation_id), None)


def _observe(restored: Restored, record: AttemptObserved, at_ns: int) -> None:
    attempt = _find(restored, record.exit_id, record.correlation_id)
    if attempt is None:
        return
    intent = attempt.intent
    attempt.fold(
        OrderReport(
            order_id=record.order_id,
            correlation_id=record.correlation_id,
            holding=intent.holding,
            side=intent.side,
            quantity=intent.quantity,
            filled=record.filled,
            status=record.status,
            average_price=record.average_price,
            reason=record.reason,
        ),
        at_ns,
    )


def _end(
    restored: Restored, exit_id: str, correlation_id: str, triggers: tuple[AttemptTrigger, ...], at_ns: int
) -> None:
    attempt = _find(restored, exit_id, correlation_id)
    if attempt is not None:
        for trigger in triggers:
            attempt.fire(trigger, at_ns)


def adopt(desk: DeskState, restored: Restored, at_ns: int) -> None:
    """Put the restored exits into an empty desk.

    The orders of the last run may be a moment old: the second budget starts used up, and positions are believed only when
    they are younger than the restart by more than they lag.
    """
    for holding in restored.ordered:
        desk.note_end(holding, at_ns)
    if restored.ordered:
        for _ in range(desk.settings.orders_per_second):
            desk.second_budget.take(at_ns)
    desk.exits.update(restored.running)
    desk.unwritten.update(restored.unwritten)
    desk.limit_records.extend(restored.limits)
    desk.used_correlation_ids |= restored.correlation_ids
    for running in restored.running.values():
        for leg in running.legs:
            for attempt in leg.attempts:
                corr = attempt.intent.correlation_id
                desk.add_attempt(AttemptRef(running, leg, attempt))
                if attempt.order_id:
                    desk.correlation_by_order[attempt.order_id] = corr
                if attempt.filled:
                    desk.holdings.add_own_fill(attempt.intent.holding, attempt.intent.side.sign * attempt.filled)
