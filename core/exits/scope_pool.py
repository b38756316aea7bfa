"""Positions that are summed together, the limits on the sum, and the breaches of them that wait to be believed."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.scope_belief import Hindered, hindrance_of, look_at
from core.model.session_time import NS_PER_MS
from core.model.special_levels import LimitKind, Scope
from core.position_cache_manager import OPEN_BOUND
from core.position_tally import OwnTally, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from core.exits.guard_settings import GuardSettings
    from core.exits.scope_belief import Look, Member
    from core.exits.scope_ledger import LimitLedger
    from core.exits.scope_lines import Line
    from core.model.money import Paise
    from core.model.special_levels import ScopeKey
    from core.position_cache_manager import PositionCacheManager

_LOOK_NS: Final = 50 * NS_PER_MS
_LOOK_NS_PER_LEG: Final = 50_000
"""Looking at all legs of a scope takes some microseconds a leg: in a large book it is done less often, so that ticks go first."""


class Standing(NamedTuple):
    """A breach that waits. Monotonic: when it began, and the receipt of the tick that began it, None when the clock found it."""

    since_ns: int
    tick_ns: int | None


class Trip(NamedTuple):
    """A limit that fires. `observed` is paise: the scope's P&L, of a daily loss that of the day."""

    line: Line
    observed: Paise
    tick_ns: int | None


class Pool:
    """One sum for every scope that has the same positions: the account's and the portfolio's are one.

    `guarded` and `leaving` (an exit of theirs is under way) are counted; `unseen` are exits that an earlier run began, whose
    P&L nobody can say until they are over. `is_own`: its scope is one position. `unsafe` are those that were last found not to
    be believed, `found` is what the last judgement came upon.
    """

    def __init__(
        self,
        lines: tuple[Line, ...],
        cache: PositionCacheManager,
        settings: GuardSettings,
        ledger: LimitLedger,
        notice: Callable[[Pool], None],
    ) -> None:
        """`notice` is told when the sum is at or beyond a limit without a tick of its own: nobody would judge it."""
        self.lines = lines
        self.has_daily = any(line.kind is LimitKind.DAILY_LOSS for line in lines)
        self.is_own = all(line.key.scope is Scope.STRATEGY for line in lines)
        self.tally = OwnTally(cache) if self.is_own else Tally(cache)
        self.guarded: dict[int, Member] = {}
        self.leaving: dict[int, Member] = {}
        self.unseen: dict[int, str] = {}
        self.unsafe: dict[int, Hindered] = {}
        self.found: Hindered | None = None
        self._bases: Paise = 0
        self._unbased = 0
        self._places: tuple[tuple[Line, Paise], ...] = ()
        self._standing: dict[Line, Standing] = {}
        self._looked_ns: int | None = None
        self._is_behind = False
        self._settings = settings
        self._settle_ns = settings.leg_settle_ms * NS_PER_MS
        self._confirm_ns = settings.stop_confirm_max_ms * NS_PER_MS
        self._ledger = ledger
        self._notice = notice

    @property
    def keys(self) -> tuple[ScopeKey, ...]:
        return tuple(dict.fromkeys(line.key for line in self.lines))

    @property
    def members(self) -> Iterator[Member]:
        return chain(self.guarded.values(), self.leaving.values())

    @property
    def is_empty(self) -> bool:
        return not (self.guarded or self.leaving or self.unseen)

    @property
    def next_deadline_ns(self) -> int | None:
        """When a waiting breach has to be looked at again; None when nothing waits."""
        looked_ns = self._looked_ns
        if looked_ns is None:
            return None
        due: list[int] = []
        for standing in self._standing.values():
            waits = (standing.since_ns + self._settle_ns, standing.since_ns + self._confirm_ns)
            due.extend(at_ns for at_ns in waits if at_ns > looked_ns)
        if self._is_behind and self._standing:
            due.append(looked_ns + self._pause_ns)
        return min(due, default=None)

    def add(self, member: Member) -> None:
        """Count the position in, with the marks that the cache has now."""
        (self.leaving if member.guard is None else self.guarded)[member.strategy_id] = member
        self.tally.add(member.booked)
        self._add_base(member.base, 1)
        self.rearm()

    def drop(self, member: Member) -> None:
        """Count it out. The next tick of the scope asks the judge: what became of the position has to be found out first."""
        strategy_id = member.strategy_id
        self.guarded.pop(strategy_id, None)
        self.leaving.pop(strategy_id, None)
        self.unsafe.pop(strategy_id, None)
        self.tally.drop(member.booked)
        self._add_base(member.base, -1)
        self.rearm()
        self.tally.watch(is_on=True)

    def add_unseen(self, strategy_id: int, name: str) -> None:
        self.unseen[strategy_id] = name
        self.rearm()

    def drop_unseen(self, strategy_id: int) -> None:
        self.unseen.pop(strategy_id, None)
        self.rearm()

    def rebase(self, before: Paise | None, base: Paise | None) -> None:
        """The day of a counted position counts from another P&L than before."""
        self._add_base(before, -1)
        self._add_base(base, 1)
        self.rearm()

    def recounted(self, member: Member, before: Paise | None) -> None:
        self.tally.recounted(member.booked, before)
        self.rearm()

    @property
    def pnl(self) -> Paise | None:
        """The scope's P&L of what is open; None while it is not known."""
        return None if self._is_partial else self.tally.total

    def change(self, key: ScopeKey) -> Paise | None:
        """The scope's P&L of the day; None while it is not known."""
        offset = self._offset(key)
        return None if offset is None or self._is_partial else self.tally.total - offset

    def open_change(self) -> Paise:
        """What the day has brought so far on the counted positions of which that is known."""
        return sum(change for member in self.members if (change := member.change) is not None)

    def rearm(self) -> None:
        """Set the band so that a sum inside it can fire nothing."""
        places = [(line, place) for line in self.lines if (place := self._place(line)) is not None]
        self._places = tuple(places)
        tally = self.tally
        tally.arm(
            max((place for line, place in places if line.is_loss), default=-OPEN_BOUND),
            min((place for line, place in places if not line.is_loss), default=OPEN_BOUND),
        )
        if not tally.lower < tally.total < tally.upper:
            self._notice(self)

    def forget(self) -> None:
        """Nothing waits any more."""
        self._standing.clear()
        self.tally.watch(is_on=False)

    def judge(self, at_ns: int, tick_ns: int | None) -> Sequence[Trip]:
        """What fires at `at_ns` (monotonic), when it is safe to trade at all. `tick_ns`: receipt of the tick that asks."""
        self.found = None
        total = self.tally.total
        breached = {line: place for line, place in self._places if line.is_breached(total, place)}
        if not breached:
            self.forget()
            return ()
        self.tally.watch(is_on=True)
        if not self._is_known(at_ns):
            # No breach stands of a sum that is not known.
            self._standing.clear()
            return ()
        self._keep_standing(breached, Standing(at_ns, tick_ns))
        self._is_behind = not self._is_due(at_ns)
        if self._is_behind:
            return ()
        self._looked_ns = at_ns
        look = look_at(self.members, total, at_ns, self._settings.quote_limits)
        if isinstance(look, Hindered):
            self.unsafe[look.member.strategy_id] = self.found = look
            return ()
        return [
            Trip(line, self._observed(line), self._standing[line].tick_ns)
            for line, place in breached.items()
            if self._may_fire(line, place, look, at_ns)
        ]

    def _is_known(self, at_ns: int) -> bool:
        """Whether those that were found not to be believed are believed again. One look, while the first is not."""
        while self.unsafe:
            hindered = next(iter(self.unsafe.values()))
            if hindrance_of(hindered.member, at_ns) is not None:
                return False
            del self.unsafe[hindered.member.strategy_id]
        return True

    def _keep_standing(self, breached: Mapping[Line, Paise], new: Standing) -> None:
        for line in self._standing.keys() - breached.keys():
            del self._standing[line]
        for line in breached.keys() - self._standing.keys():
            self._standing[line] = new

    @property
    def _is_partial(self) -> bool:
        return bool(self.tally.missing or self.unseen)

    @property
    def _pause_ns(self) -> int:
        return max(_LOOK_NS, self.tally.legs * _LOOK_NS_PER_LEG)

    def _add_base(self, base: Paise | None, sign: int) -> None:
        if base is None:
            self._unbased += sign
        else:
            self._bases += sign * base

    def _offset(self, key: ScopeKey) -> Paise | None:
        """By how much the day's P&L is below the sum; None while it is not known."""
        if self._unbased or key in self._ledger.unknown:
            return None
        return self._bases - self._ledger.counts(key)

    def _place(self, line: Line) -> Paise | None:
        """Where the limit is on the scale of the sum; None while it is not judged."""
        if self._is_partial or line.key in self._ledger.latches:
            return None
        if line.kind is not LimitKind.DAILY_LOSS:
            return line.threshold
        offset = self._offset(line.key)
        return None if offset is None else line.threshold + offset

    def _observed(self, line: Line) -> Paise:
        change = self.change(line.key) if line.kind is LimitKind.DAILY_LOSS else None
        return self.tally.total if change is None else change

    def _is_due(self, at_ns: int) -> bool:
        """Whether to look at every leg: not at each tick of a breach that stands, but whenever a wait is over."""
        if self._looked_ns is None or at_ns - self._looked_ns >= self._pause_ns:
            return True
        deadline_ns = self.next_deadline_ns
        return deadline_ns is not None and at_ns >= deadline_ns

    def _may_fire(self, line: Line, place: Paise, look: Look, at_ns: int) -> bool:
        waited_ns = at_ns - self._standing[line].since_ns
        is_settled = self.tally.legs == 1 or waited_ns >= self._settle_ns
        if not line.is_loss:
            return is_settled and not look.has_suspects
        hard = place - line.threshold + line.threshold * self._settings.hard_stop_multiple
        if self.tally.total <= hard and look.best is not None and look.best <= place:
            return True
        is_confirmed = look.least is not None and look.least <= place
        return is_settled and (is_confirmed or waited_ns >= self._confirm_ns)
