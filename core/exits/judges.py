"""The door of the judges beside the position's own guard: what they are told, and what they answer with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from core.exits.position_guard import PositionGuard
    from core.model.instrument import InstrumentKey
    from core.model.memory import PositionMemory
    from core.model.own_rule import OwnRule
    from core.model.signals import ExitRecord, Signal
    from core.model.special_levels import ScopeLimit


class Moment(NamedTuple):
    """What the clock says, with the calendar's word as in TimePassed. `at_ns` monotonic, `ist` aware.

    `feed_live`: some price connection delivers data.
    """

    at_ns: int
    utc_ns: int
    ist: datetime
    session_open: bool | None
    is_trading_day: bool | None
    feed_live: bool


class Judge(Protocol):
    """Owned by the engine. On ticks it is asked through the holders that it has put into the cache (`Holder.judge`).

    `news` are strategy ids of which something is to be remembered; the engine takes them out.
    """

    news: set[int]

    @property
    def next_deadline_ns(self) -> int | None:
        """Monotonic time at which it has to be asked at the latest; None when the beat is enough."""

    def opened(self, guard: PositionGuard, memory: PositionMemory) -> None:
        """A position is guarded, anew or with other rows or levels: `guard.levels` are those that are left."""

    def gone(self, strategy_id: int) -> None:
        """The position is not guarded any more: it is being closed, or has gone. Unknown ids are fine."""

    def finished(self, record: ExitRecord) -> None:
        """An exit, or a share of one, is finished; also told at the start of those that the journal holds."""

    def doubted(self, keys: Iterable[InstrumentKey], at_ns: int) -> None:
        """Nothing shows that these prices are still true, until a quote comes that was received after `at_ns`."""

    def on_time(self, moment: Moment) -> Iterable[Signal]:
        """Told at every TimePassed, after the guards. What fires by the clock."""

    def remember(self, strategy_id: int, memory: PositionMemory) -> PositionMemory:
        """`memory` with what this judge knows of the position filled in."""


@dataclass(frozen=True, slots=True)
class RuleSetup:
    """What the operator has set up beside the positions' levels. `own_rules`: by the names that levels use.

    `stopwatch` (monotonic ns) is the one clock in the decisions: it tells nothing but how long an own rule took. None: not timed.
    """

    limits: tuple[ScopeLimit, ...] = ()
    own_rules: Mapping[str, OwnRule] = field(default_factory=dict)
    stopwatch: Callable[[], int] | None = None
