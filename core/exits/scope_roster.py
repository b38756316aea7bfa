"""Which positions are summed where: opened, on their way out, over; and from where their day counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.scope_belief import Member, hindrance_of
from core.exits.scope_lines import keys_of, lines_of, underlying_of
from core.exits.scope_pool import Pool
from core.model.special_levels import Scope, ScopeKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.exits.desk_state import DeskState
    from core.exits.guard_settings import GuardSettings
    from core.exits.position_guard import PositionGuard
    from core.exits.running_exit import RunningExit
    from core.exits.scope_ledger import LimitLedger
    from core.model.memory import PositionMemory
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.special_levels import ScopeLimit
    from core.position_cache_manager import PositionCacheManager

_SHARED: Final = frozenset({Scope.ACCOUNT, Scope.PORTFOLIO})
"""The monitor watches one account: both have the same positions, and one sum."""


class Over(NamedTuple):
    """A position that is counted in no more. `change` is what the day brought on it (paise), None when that is not known."""

    strategy_id: int
    underlying: str
    change: Paise | None


class Roster:
    """`members` are guarded, `leaving` have an exit under way that began here, `unbased` have no base of the day yet.

    A position that is dropped is looked for among the exits before anything is judged: until then it is `left`.
    """

    def __init__(
        self,
        limits: Sequence[ScopeLimit],
        cache: PositionCacheManager,
        settings: GuardSettings,
        ledger: LimitLedger,
        desk: DeskState,
        watch: Callable[[Pool], None],
        notice: Callable[[Pool], None],
    ) -> None:
        """`watch` is told of every new sum, so that its ticks are judged. `notice` as for a pool."""
        self.pools: dict[ScopeKey, Pool] = {}
        self.members: dict[int, Member] = {}
        self.leaving: dict[int, Member] = {}
        self.left: dict[int, Member] = {}
        self.unseen: dict[int, tuple[str, tuple[Pool, ...]]] = {}
        self.unbased: dict[int, Member] = {}
        self._limits = limits
        self._cache = cache
        self._settings = settings
        self._ledger = ledger
        self._desk = desk
        self._watch = watch
        self._notice = notice

    def counted(self, strategy_id: int) -> Member | None:
        """The position as it is summed now."""
        return self.members.get(strategy_id) or self.leaving.get(strategy_id)

    def pool_of(self, key: ScopeKey) -> Pool | None:
        """The sum of a scope, when it has, or today had, positions."""
        return self.pools.get(ScopeKey(Scope.ACCOUNT) if key.scope in _SHARED else key)

    def pools_of(self, strategy_id: int, underlying: str) -> tuple[Pool, ...]:
        """The sums that a position belongs to, each once."""
        keys = keys_of(strategy_id, underlying)
        pools = (self._pool(key, tuple(each for each in keys if each.scope in _SHARED)) for key in keys)
        return tuple(dict.fromkeys(pool for pool in pools if pool is not None))

    def open(self, guard: PositionGuard, memory: PositionMemory) -> Member:
        """Count a position in that is guarded from now on, in place of what was known of its strategy."""
        position = guard.booked.position
        member = Member(guard.booked, guard, self.pools_of(position.strategy_id, underlying_of(position)))
        member.day, member.day_base = memory.day, memory.day_base
        if position.strategy_id in self.unseen:
            # A restart came while a share of it was being closed.
            self._see(position.strategy_id)
        before = self._taken(position.strategy_id)
        if before is not None:
            if before.base is None:
                # It was edited before a beat has looked for its base.
                before.base = self.base_now(before)
            member.carried = before.carried if before.change is None else before.change
            if before.guard is not None and before.booked.position.legs != position.legs:
                # Rows that are edited change nothing of what the day has brought until then, whatever they were before.
                member.day = None
        self.members[member.strategy_id] = member
        self._want_base(member)
        for pool in member.pools:
            pool.add(member)
        return member

    def leave(self, strategy_id: int) -> None:
        """Count a position out that is not guarded any more."""
        member = self.members.pop(strategy_id, None)
        if member is not None:
            self._drop(member)
            self.left[strategy_id] = member

    def note_share(self, strategy_id: int) -> None:
        """A share of it has been closed, perhaps before anybody looked what became of it: its rows were not edited."""
        member = self.members.get(strategy_id) or self.left.get(strategy_id)
        if member is not None:
            member.guard = None

    def settle(self) -> list[Over]:
        """Find out what became of those that left: those with an exit under way count until it is over."""
        running = {each.strategy_id: each for each in self._desk.exits.values()}
        over = []
        for strategy_id, member in self.left.items():
            if self._cache.get(strategy_id) is not member.booked:
                over.append(self._over(member, None))
            elif strategy_id in running:
                member.guard = None
                self.leaving[strategy_id] = member
                for pool in member.pools:
                    pool.add(member)
            else:
                # Nothing is ordered (alert mode): what would be closed counts as closed at the marks of that moment.
                over.append(self._over(member, member.change))
        self.left.clear()
        for strategy_id, member in tuple(self.leaving.items()):
            if self._cache.get(strategy_id) is not member.booked:
                del self.leaving[strategy_id]
                self._drop(member)
                over.append(self._over(member, None))
        over.extend(self._look_for_unseen(running))
        return over

    def finish(self, strategy_id: int) -> Member | None:
        """The exit of a position is over. Returns the position as it was counted, None when it was not."""
        self.unbased.pop(strategy_id, None)
        if strategy_id in self.unseen:
            self._see(strategy_id)
        return self._taken(strategy_id)

    def base_now(self, member: Member) -> Paise | None:
        """The base of the day as far as it is known without a price: what was remembered, or 0 when opened today."""
        day = self._ledger.day
        if member.base is not None or day is None:
            return member.base
        if member.day == day and member.day_base is not None:
            return member.day_base
        return 0 if member.booked.position.opened_on == day else None

    def find_base(self, member: Member, at_ns: int) -> bool:
        """Try to know the base of a counted position: its P&L when all its marks are believed for the first time today."""
        base, pnl = self.base_now(member), member.booked.pnl
        if base is None and pnl is not None and hindrance_of(member, at_ns) is None:
            base = pnl - (member.carried or 0)
        if base is None:
            return False
        self._rebase(member, base)
        self.unbased.pop(member.strategy_id, None)
        return True

    def forget_bases(self) -> None:
        """Another day has begun."""
        for member in (*self.members.values(), *self.leaving.values()):
            self._rebase(member, None)
            member.carried = None
            self._want_base(member)
        for key in [key for key, pool in self.pools.items() if pool.is_empty]:
            del self.pools[key]

    def _pool(self, key: ScopeKey, shared: tuple[ScopeKey, ...]) -> Pool | None:
        keys = shared if key in shared else (key,)
        pool = self.pools.get(keys[0])
        if pool is None:
            lines = tuple(line for each in keys for line in lines_of(self._limits, each))
            if not lines:
                return None
            pool = self.pools[keys[0]] = Pool(lines, self._cache, self._settings, self._ledger, self._notice)
            self._watch(pool)
        return pool

    def _want_base(self, member: Member) -> None:
        if any(pool.has_daily for pool in member.pools):
            self.unbased[member.strategy_id] = member

    @staticmethod
    def _rebase(member: Member, base: Paise | None) -> None:
        for pool in member.pools:
            pool.rebase(member.base, base)
        member.base = base

    def _taken(self, strategy_id: int) -> Member | None:
        """What is counted of the strategy, or has just left, counted out."""
        for counted in (self.members, self.leaving):
            member = counted.pop(strategy_id, None)
            if member is not None:
                self._drop(member)
                return member
        return self.left.pop(strategy_id, None)

    def _drop(self, member: Member) -> None:
        for pool in member.pools:
            pool.drop(member)

    def _over(self, member: Member, change: Paise | None) -> Over:
        self.unbased.pop(member.strategy_id, None)
        return Over(member.strategy_id, underlying_of(member.booked.position), change)

    def _look_for_unseen(self, running: dict[int, RunningExit]) -> Iterable[Over]:
        """Exits that an earlier run began: nothing is known of their P&L until they are over."""
        for strategy_id, each in running.items():
            if self.counted(strategy_id) is None and strategy_id not in self.unseen:
                underlying = underlying_of(each.position)
                pools = self.pools_of(strategy_id, underlying)
                self.unseen[strategy_id] = underlying, pools
                for pool in pools:
                    pool.add_unseen(strategy_id, _name_of(each.position))
        for strategy_id in self.unseen.keys() - running.keys():
            yield Over(strategy_id, self._see(strategy_id), None)

    def _see(self, strategy_id: int) -> str:
        underlying, pools = self.unseen.pop(strategy_id)
        for pool in pools:
            pool.drop_unseen(strategy_id)
        return underlying


def _name_of(position: Position) -> str:
    return f"{position.strategy_name} ({position.strategy_id})"
