"""Limits over several positions: of a strategy, an underlying, the account, the portfolio. One owner: the engine.

How exit_rules 3 is read here:
- **What is summed**: the P&L of the guarded positions, and of those whose exit is under way until it is over (at their marks):
  an exit in the making must not look like a loss, or hide one. A position that an earlier run began to close is not known
  before it is over, and then neither is the sum.
- **Known** is a sum when every position in it is safe to trade. Else no breach stands, nothing fires; it is paged after
  5 s, and is a blind spot of every position in the scope.
- **Believed** is a loss limit when its breach has stood `leg_settle_ms` (a scope of one leg does not wait), and then at once when
  the sum with every suspect leg at the side of its book that flatters it is breached too, else after `stop_confirm_max_ms`.
  At or beyond the hard multiple of the limit, with the sum of all legs at their best sides breached as well, nothing is waited
  for. A profit limit needs every leg clean, and the same settling. All legs are looked at when a breach begins, when a wait
  is over, and in between at most every 50 ms, less often in a large book.
- **The day** of a position counts from its P&L at the first believed marks of the session that this monitor has seen (`day_base`
  in its memory); from 0 when its first leg was opened today. Rows that are edited change nothing of what the day has brought
  until then. An exit brings what it has realised, shares closed before included, minus that base; it is in the journal
  together with the end of the exit. What nobody knows (a price unknown, an exit from before the limit was set, rows closed by
  others before the broker showed it, rows edited or gone while no monitor ran) makes the day of its scopes unknown: paged, and the
  daily limit rests until it is reset.
  What ends before the session begins brings nothing.
- **Latched**: a limit that fired closes whatever is opened in its scope while the session is open, without a look at prices,
  until a session of another IST day begins or an operator resets it. Other limits of the same scope rest meanwhile.
- **A reset** also lets the daily loss count from what the day has brought until then. `max_loss` and `max_profit` are of what is
  open: a scope that is still beyond one of them fires again.
- **Alert mode** keeps everything in memory and writes nothing; what would be closed counts as closed at its marks of that moment.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from core.exits import scope_words as words
from core.exits.scope_blindness import ScopeBlindness, next_share
from core.exits.scope_day import ScopeDay
from core.exits.scope_ledger import LimitLedger
from core.exits.scope_lines import lines_of, underlying_of
from core.exits.scope_roster import Roster
from core.exits.scope_state import LimitState, state_of
from core.model.journal_records import LimitTripped
from core.model.special_levels import LimitKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.exits.desk_state import DeskState
    from core.exits.guard_room import GuardRoom
    from core.exits.guard_settings import GuardSettings
    from core.exits.judges import Judge, Moment
    from core.exits.position_guard import PositionGuard
    from core.exits.scope_belief import Member
    from core.exits.scope_pool import Pool, Trip
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.memory import PositionMemory
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord, Signal
    from core.model.special_levels import Scope, ScopeLimit
    from core.position_cache_manager import PositionCacheManager


class ScopeLimits:
    """A judge. `memory_of` and `realised_of` as for the day."""

    def __init__(
        self,
        limits: Sequence[ScopeLimit],
        cache: PositionCacheManager,
        settings: GuardSettings,
        desk: DeskState,
        room: GuardRoom,
        memory_of: Callable[[int], PositionMemory | None],
        realised_of: Callable[[int], Paise | None],
    ) -> None:
        self.news: set[int] = set()
        self._limits = limits
        self._cache = cache
        self._desk = desk
        self._room = room
        self._ledger = LimitLedger()
        self._roster = Roster(limits, cache, settings, self._ledger, desk, self._watch, self._notice)
        self._day = ScopeDay(limits, self._ledger, self._roster, desk, memory_of, realised_of)
        self._blindness = ScopeBlindness(desk.say)
        self._outside: dict[Pool, None] = {}

    @property
    def next_deadline_ns(self) -> int | None:
        due = (pool.next_deadline_ns for pool in self._outside)
        return min((at_ns for at_ns in due if at_ns is not None), default=None)

    def opened(self, guard: PositionGuard, memory: PositionMemory) -> None:
        member = self._roster.open(guard, memory)
        guard.booked.on_recount = partial(self._recounted, member)
        for pool in member.pools:
            if pool.is_own:
                guard.booked.judge = partial(self._on_own_quote, guard.booked.judge, pool)
        guard.blind_spots.append(partial(self._blind_spot, member))
        self._blindness.doubtful[member.strategy_id] = member

    def gone(self, strategy_id: int) -> None:
        self._blindness.doubtful.pop(strategy_id, None)
        self._roster.leave(strategy_id)

    def finished(self, record: ExitRecord) -> None:
        self._day.adopt()
        self._day.finished(record)
        self._rearm(record.strategy_id, record.symbol.strip().upper())

    def doubted(self, keys: Iterable[InstrumentKey], at_ns: int) -> None:
        for key in keys:
            slot = self._cache.slot_of(key)
            for booked in () if slot is None else slot.positions:
                member = self._roster.counted(booked.position.strategy_id)
                if member is not None:
                    self._blindness.look_at(member, at_ns)

    def on_time(self, moment: Moment) -> Iterable[Signal]:
        at_ns = moment.at_ns
        self._day.adopt()
        if self._day.turn(moment):
            self._rearm_all()
        self._settle(at_ns)
        self._find_bases(at_ns)
        if moment.session_open is not True:
            self._blindness.forget()
            for pool in self._outside:
                pool.forget()
            return ()
        self._day.tell_unknown()
        self._blindness.look(self._roster.members, at_ns, feed_live=moment.feed_live)
        signals = self._late(at_ns)
        for pool in tuple(self._outside):
            signals += self._judged(pool, at_ns, None)
        self._blindness.tell(at_ns)
        return signals

    def remember(self, strategy_id: int, memory: PositionMemory) -> PositionMemory:
        member = self._roster.counted(strategy_id)
        if member is None or member.base is None:
            return memory
        underlying = underlying_of(member.booked.position)
        return replace(memory, day=self._ledger.day, day_base=member.base, underlying=underlying)

    def lose_day(self, strategy_id: int, memory: PositionMemory, seen_ns: int) -> None:
        """The rows of a position that was last seen at `seen_ns` (UTC) were edited, or went, while no monitor ran."""
        self._day.adopt()
        self._day.lose(strategy_id, memory, seen_ns)
        self._rearm(strategy_id, memory.underlying)

    def reset(self, scope: Scope | None = None, name: str = "") -> tuple[str, ...]:
        """Let scopes go on that have fired, or whose day is unknown: all, those of a kind, or one. What was reset, in words."""
        self._day.adopt()
        ledger, texts = self._ledger, []
        for key in dict.fromkeys((*ledger.latches, *ledger.unknown)):
            if scope in {None, key.scope} and name in {"", key.name} and lines_of(self._limits, key):
                latch, pool = ledger.latches.get(key), self._roster.pool_of(key)
                forgiven = ledger.brought(key) + (0 if pool is None else pool.open_change())
                self._day.reset(key, forgiven)
                texts.append(words.reset_text(key, latch, forgiven))
        if texts:
            self._rearm_all()
            self._desk.say(words.reset_alert(texts))
        return tuple(texts)

    def state(self) -> tuple[LimitState, ...]:
        """Every limit whose scope has, or today had, positions."""
        return self._states(self._roster.pools.values())

    def states_of(self, position: Position) -> tuple[LimitState, ...]:
        """The limits that hold for one position; () for one that is not counted."""
        member = self._roster.counted(position.strategy_id)
        return self._states(() if member is None else member.pools)

    def _states(self, pools: Iterable[Pool]) -> tuple[LimitState, ...]:
        return tuple(state_of(pool, line, self._ledger) for pool in pools for line in pool.lines)

    def _watch(self, pool: Pool) -> None:
        pool.tally.judge = partial(self._on_quote, pool)

    def _on_quote(self, pool: Pool, quote: Quote) -> Iterable[Signal]:
        self._cache.backlog.note_quote(quote.received_ns)
        if self._roster.left:
            self._settle(quote.received_ns)
        before = pool.next_deadline_ns
        signals = self._judged(pool, quote.received_ns, quote.received_ns)
        if pool.next_deadline_ns != before:
            self._room.look_again()
        return signals

    def _on_own_quote(self, judge: Callable[[Quote], Iterable[Signal]], pool: Pool, quote: Quote) -> Iterable[Signal]:
        """A position with a limit of its own is out of its band: its guard may mean it, or the limit."""
        signals = judge(quote)
        return (*signals, *self._on_quote(pool, quote)) if pool.tally.wants_look else signals

    def _judged(self, pool: Pool, at_ns: int, tick_ns: int | None) -> Sequence[Signal]:
        self._outside[pool] = None
        if self._desk.stopping or self._desk.session_open is not True:
            return ()
        signals = self._fired(pool, pool.judge(at_ns, tick_ns), at_ns)
        if pool.found is not None:
            self._blindness.look_at(pool.found.member, at_ns)
        if not pool.tally.watched:
            del self._outside[pool]
        return signals

    def _fired(self, pool: Pool, trips: Iterable[Trip], at_ns: int) -> list[Signal]:
        signals = []
        for trip in trips:
            line = trip.line
            if line.key in self._ledger.latches:
                # Another limit of the same scope has fired on this very tick.
                continue
            latch = LimitTripped(*line.key, line.kind, line.threshold, trip.observed, self._desk.utc_ns)
            reason = words.trip_reason(trip, pool.members)
            self._day.keep(latch)
            self._desk.say(words.tripped_alert(latch, reason))
            # An exit that is under way may become more urgent.
            signals += [words.limit_signal(member, latch, reason, at_ns, trip.tick_ns) for member in pool.members]
            pool.rearm()
        return signals

    def _late(self, at_ns: int) -> list[Signal]:
        """What is open in a scope whose limit has fired."""
        signals = []
        for key, latch in self._ledger.latches.items():
            pool = self._roster.pool_of(key)
            reason = words.latched_reason(latch)
            members = () if pool is None else pool.members
            signals += [words.limit_signal(member, latch, reason, at_ns, None) for member in members]
        return signals

    def _settle(self, at_ns: int) -> None:
        for over in self._roster.settle():
            self._day.count_over(over)
            self._rearm(over.strategy_id, over.underlying)
        for _, pools in self._roster.unseen.values():
            for pool in pools:
                self._blindness.note(pool, at_ns)

    def _find_bases(self, at_ns: int) -> None:
        for member in next_share(self._roster.unbased):
            if self._roster.find_base(member, at_ns):
                self.news.add(member.strategy_id)

    def _recounted(self, member: Member, before: Paise | None) -> None:
        if self._roster.counted(member.strategy_id) is member:
            for pool in member.pools:
                pool.recounted(member, before)

    def _notice(self, pool: Pool) -> None:
        """What is beyond a limit without a tick of its own is judged by the clock."""
        self._outside[pool] = None

    def _rearm(self, strategy_id: int, underlying: str) -> None:
        for pool in self._roster.pools_of(strategy_id, underlying):
            pool.rearm()

    def _rearm_all(self) -> None:
        self._outside.clear()
        for pool in self._roster.pools.values():
            pool.rearm()

    def _blind_spot(self, member: Member, _at_ns: int) -> str | None:
        if self._desk.session_open is not True:
            return None
        for pool in member.pools:
            why = self._blindness.why(pool)
            if why is not None:
                return why
            for line in pool.lines:
                names = self._ledger.unknown.get(line.key)
                if names is not None and line.kind is LimitKind.DAILY_LOSS:
                    return words.unknown_text(line.key, names)
        return None


def limits_among(judges: Iterable[Judge]) -> ScopeLimits | None:
    """The judge of limits over positions; None where no limit is set."""
    return next((judge for judge in judges if isinstance(judge, ScopeLimits)), None)
