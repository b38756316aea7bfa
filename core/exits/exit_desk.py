"""The order side of the engine: takes the broker's words in, decides what every running exit does next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.attempt_chaser import chase
from core.exits.desk_settings import READ_DUE_NS
from core.exits.desk_state import ClosedExit, DeskState
from core.exits.exit_finish import is_overfilled, judge_leg, release_longs, try_finish
from core.exits.exit_lifecycle import ExitState, LegState
from core.exits.leg_sender import halt, send_leg, take_base
from core.exits.order_gate import per_minute
from core.exits.order_plan import exit_id_of
from core.exits.running_exit import RunningExit, start_legs
from core.model.commands import (
    CloseRows,
    Command,
    ReadOrderBook,
    ReadPositions,
    RecordExit,
    Severity,
)
from core.model.exit_levels import Rule, Urgency
from core.model.journal_records import ExitStarted
from core.model.session_time import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from core.exits.running_exit import RunningLeg
    from core.model.position import Position
    from core.model.signals import Signal

_SLOW_READS_AFTER_NS = 5 * NS_PER_S
_SLOW_READ_NS = NS_PER_S
_KEEP_CLOSED_NS = 24 * 3_600 * NS_PER_S


def start_exit(
    desk: DeskState,
    signal: Signal,
    position: Position,
    generation: int,
    at_ns: int,
    row_units: tuple[int, ...] = (),
) -> RunningExit:
    """Make a signal a durable exit of `position`. Its orders follow from `advance`. `row_units` as in ExitStarted."""
    limit = desk.settings.attempts_per_leg_per_minute
    running = RunningExit(
        exit_id=exit_id_of(position, generation),
        generation=generation,
        signal=signal,
        position=position,
        legs=start_legs(position, tuple(per_minute(limit) for _ in position.legs)),
        started_ns=at_ns,
        row_units=row_units,
    )
    desk.exits[running.exit_id] = running
    if signal.rule is not Rule.CLOSED_OUTSIDE:
        desk.record(ExitStarted(running.exit_id, generation, signal, position, row_units))
    return running


def widen(desk: DeskState, running: RunningExit, signal: Signal, whole: Position) -> None:
    """Make of the exit of a share, durably, one of all that was left of the position when it began."""
    running.widen(signal, whole)
    desk.record(ExitStarted(running.exit_id, running.generation, signal, whole))


def advance(desk: DeskState, at_ns: int) -> None:
    """Let every running exit do what is due: chase orders, judge legs, release longs, send, finish, read positions."""
    desk.wake_ns = None
    desk.positions_wanted = desk.order_book_wanted = False
    desk.awaited_keys.clear()
    running_exits = sorted(desk.exits.values(), key=_pressing)
    for running in running_exits:
        for leg in running.legs:
            for attempt in leg.live:
                chase(desk, running, attempt, at_ns)
            _judge(desk, running, leg, at_ns)
        for leg in release_longs(desk, running, at_ns):
            # After a restart its orders may be over already, and then no event would come to have it judged.
            _judge(desk, running, leg, at_ns)
    _chase_strays(desk, at_ns)
    _send(desk, running_exits, at_ns)
    for running in running_exits:
        try_finish(desk, running, at_ns)
        if running.state is ExitState.CLOSED or running.abandoned:
            _forget(desk, running, at_ns)
    if desk.positions_wanted:
        _read_positions(desk, at_ns)
    if desk.order_book_wanted:
        _read_order_book(desk, at_ns)
    desk.drop_old(at_ns - _KEEP_CLOSED_NS)


def _send(desk: DeskState, running_exits: list[RunningExit], at_ns: int) -> None:
    # Shorts of every exit before any long: the margin they free and the risk they carry come first.
    for buys_back in (True, False):
        for running in running_exits:
            for leg in running.legs:
                if running.state is ExitState.EXECUTING and (leg.leg.units < 0) is buys_back:
                    send_leg(desk, running, leg, at_ns)


def _chase_strays(desk: DeskState, at_ns: int) -> None:
    """Orders that turned up after their exit was over: cancelled, and their units reserved until they end."""
    for corr, ref in list(desk.strays.items()):
        if ref.attempt.is_live:
            chase(desk, ref.running, ref.attempt, at_ns)
        else:
            del desk.strays[corr]


def _pressing(running: RunningExit) -> tuple[bool, int]:
    return (running.signal.urgency is not Urgency.HIGH, running.signal.pnl or 0)


def _judge(desk: DeskState, running: RunningExit, leg: RunningLeg, at_ns: int) -> None:
    if leg.state is LegState.OPEN or leg.state is LegState.BLOCKED:
        if desk.holdings.is_fresh(desk.last_ended_ns(leg.leg.holding), at_ns, desk.settings):
            take_base(desk, leg)
        judge_leg(desk, running, leg, at_ns)
    if is_overfilled(leg):
        reason = f"{leg.leg.instrument.symbol}: filled {leg.filled} of {abs(leg.leg.units)}"
        halt(desk, running, reason, may_widen=True)


def _forget(desk: DeskState, running: RunningExit, at_ns: int) -> None:
    # The attempts stay known by their ids: a late report must find its exit, not look like somebody else's order.
    del desk.exits[running.exit_id]
    desk.closed.append(ClosedExit(running, at_ns))


def _read_positions(desk: DeskState, at_ns: int) -> None:
    held = desk.holdings
    if held.last_asked_ns is not None and held.is_reading(at_ns):
        desk.wake_at(held.last_asked_ns + READ_DUE_NS)
        return
    interval = desk.settings.position_read_interval_ms * NS_PER_MS
    newest = max((max(r.started_ns, *(leg.last_change_ns for leg in r.legs)) for r in desk.exits.values()), default=0)
    if at_ns - newest > _SLOW_READS_AFTER_NS:
        interval = _SLOW_READ_NS
    due = 0 if held.last_asked_ns is None else held.last_asked_ns + interval
    if at_ns < due:
        desk.wake_at(due)
        return
    held.ask(at_ns)
    desk.wake_at(at_ns + READ_DUE_NS)
    desk.say(ReadPositions())


def _read_order_book(desk: DeskState, at_ns: int) -> None:
    book = desk.order_book
    if book.asked_ns is not None:
        interval = READ_DUE_NS if book.in_flight else desk.settings.order_book_interval_ms * NS_PER_MS
        if at_ns < book.asked_ns + interval:
            desk.wake_at(book.asked_ns + interval)
            return
    book.ask(at_ns)
    desk.wake_at(at_ns + READ_DUE_NS)
    desk.say(ReadOrderBook())


def resume(desk: DeskState) -> tuple[Command, ...]:
    """First commands after a restart: read everything, page what is halted, have finished exits written down.

    A crash may have come between the journal and the record file: a line that is there is not written again.
    """
    for running in desk.exits.values():
        if running.halted_reason:
            desk.alert(running, Severity.PAGE, "exit halted", running.halted_reason)
    finished = desk.unwritten.values()
    written = [command for record in finished for command in (RecordExit(record), CloseRows(record))]
    return (ReadOrderBook(), ReadPositions(), *written)
