"""The exits under way by position, what a signal does to one of them, and which guard stands beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.exits.exit_desk import start_exit, widen
from core.model.commands import Severity
from core.model.exit_levels import FULL_EXITS, Rule, Urgency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.exits.desk_state import DeskState
    from core.exits.guard_room import GuardRoom
    from core.exits.judges import Judge
    from core.exits.running_exit import RunningExit
    from core.model.events import PositionOpened
    from core.model.exit_levels import ExitLevels
    from core.model.position import Position
    from core.model.signals import Signal


class RunningExits:
    """One exit per position. The exit of a share has the whole position guarded beside it; a whole exit that may become more
    urgent has the position's own guard for an escort, and the other judges count the position as leaving."""

    def __init__(self, desk: DeskState, room: GuardRoom, judges: Sequence[Judge]) -> None:
        self.of: dict[int, RunningExit] = {}
        self.edited: dict[int, PositionOpened] = {}
        self._desk = desk
        self._room = room
        self._judges = judges

    def start(
        self, signal: Signal, position: Position, generation: int, at_ns: int, row_units: tuple[int, ...] = ()
    ) -> None:
        """Begin the exit of `position`; its other arguments are as in `exit_desk.start_exit`."""
        running = start_exit(self._desk, signal, position, generation, at_ns, row_units)
        self.of[position.strategy_id] = running
        self.stand_by(running, at_ns)

    def press(self, running: RunningExit, signal: Signal, whole: Position, at_ns: int) -> bool:
        """Let a signal act on the exit under way; True when that has changed it. `whole` is the position as it is guarded."""
        if not press(self._desk, running, signal, whole):
            return False
        self._room.tell(signal, at_ns)
        self.stand_by(running, at_ns)
        return True

    def hold_back(self, event: PositionOpened, known: PositionOpened | None) -> PositionOpened:
        """What counts of it now. While a share is being closed the rows are those that it is closed of; `edited` ones wait."""
        strategy_id = event.position.strategy_id
        running = self.of.get(strategy_id)
        self.edited.pop(strategy_id, None)
        if running is None or not running.is_share:
            return event
        if event.position != running.rows:
            self.edited[strategy_id] = event
        return replace(event, position=running.rows, memory=event.memory if known is None else known.memory)

    def stand_by(self, running: RunningExit, at_ns: int) -> None:
        """Of the guard beside an exit that is new, or has changed, keep what may still change it."""
        strategy_id, room = running.strategy_id, self._room
        guard = room.guards.get(strategy_id)
        if guard is not None and keeps_guard(running):
            room.keep_only(strategy_id, levels_beside(running, guard.levels), at_ns)
            if running.is_share:
                return
            room.escort(strategy_id)
            for judge in self._judges:
                judge.gone(strategy_id)
        else:
            self.unguard(strategy_id)

    def unguard(self, strategy_id: int) -> None:
        """No level of the position has a say any more. One that is not guarded is fine."""
        self._room.drop(strategy_id)
        for judge in self._judges:
            judge.gone(strategy_id)

    def untouched(self) -> Iterator[Position]:
        """Guarded positions that no exit works on."""
        return (guard.booked.position for each, guard in self._room.guards.items() if each not in self.of)

    def wants_guard(self, running: RunningExit) -> bool:
        """Whether the position has to be guarded, or guarded anew, beside its exit."""
        return keeps_guard(running) and running.strategy_id not in self._room.escorts

    def over(self) -> list[RunningExit]:
        """Those that have left the desk."""
        return [running for running in self.of.values() if running.exit_id not in self._desk.exits]


def press(desk: DeskState, running: RunningExit, signal: Signal, whole: Position) -> bool:
    """Let a signal act on the exit under way; True when that has changed. `whole` is the position as it is guarded.

    The exit of a share becomes one of the whole; one of the whole can only become more urgent. A second share is not begun: its
    level fires again when this one is over.
    """
    if signal.action not in FULL_EXITS:
        return False
    if running.is_share and (running.may_widen or not running.halted_reason):
        widen(desk, running, signal, whole)
        return True
    if running.halted_reason:
        text = f"{signal.reason}; no order is sent, close what is left by hand: {running.halted_reason}"
        desk.alert(running, Severity.PAGE, f"{signal.rule.value} fired, but the exit is halted", text)
    if not _may_be_pressed(running) or signal.urgency is not Urgency.HIGH:
        return False
    running.signal = replace(running.signal, urgency=Urgency.HIGH)
    desk.alert(running, Severity.WARNING, f"{signal.rule.value}: the exit is urgent now", signal.reason)
    return True


def _may_be_pressed(running: RunningExit) -> bool:
    return running.signal.urgency is not Urgency.HIGH and running.signal.rule is not Rule.CLOSED_OUTSIDE


def keeps_guard(running: RunningExit) -> bool:
    """Whether a level of the position may still change something about its exit."""
    return running.is_share or _may_be_pressed(running)


def is_of(running: RunningExit, position: Position | None) -> bool:
    """Whether the guarded position is the one that the exit closes, or closes a share of: the rows were not edited meanwhile."""
    if position is None or not running.is_share:
        return position is not None and position.legs == running.position.legs
    return [leg.row_id for leg in position.legs] == [leg.row_id for leg in running.position.legs]


def levels_beside(running: RunningExit, levels: ExitLevels) -> ExitLevels:
    """What may still fire: beside a share whatever closes the whole; beside a whole exit what may be more urgent than that."""
    levels = replace(
        levels,
        target=levels.target if levels.target_action in FULL_EXITS and running.is_share else None,
        scaling=tuple(level for level in levels.scaling if level.action in FULL_EXITS),
        underlying=tuple(level for level in levels.underlying if level.action in FULL_EXITS),
        greeks=tuple(level for level in levels.greeks if level.action in FULL_EXITS),
        adjustment=None,
    )
    return levels if running.is_share else replace(levels, scaling=(), theta=None, losing_time=None)
