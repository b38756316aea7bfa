"""A judge: closes or warns when the underlying of a position reaches a level, by every tick or by the close of candles.

One sight per underlying, a holder in the cache, serves every position that has levels of it, or needs it for its Greeks.
- **A tick** fires when the mark is at or beyond the level and the quote is clean, or a second, different one has come since, or the
  breach has stood `stop_confirm_max_ms`. A mark off the level ends the breach at once. Prices of the legs are not needed.
- **A close** is looked at when the clock is told, at the end of the candle; one that is a candle old is not looked at any more.
- Nothing fires unless the session is known to be open and the underlying is fresh and moves with its options.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from core.exits.partial_close import CLOSING
from core.exits.underlying_breach import is_reached
from core.exits.underlying_sight import UnderlyingSight
from core.exits.underlying_words import SightState, close_reason, close_text, tick_reason
from core.model.exit_levels import Rule, Urgency
from core.model.money import rupees_text
from core.model.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from core.exits.guard_settings import GuardSettings
    from core.exits.judges import Moment
    from core.exits.position_guard import PositionGuard
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.memory import PositionMemory
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord
    from core.model.special_levels import UnderlyingLevel
    from core.position_cache_manager import PositionCacheManager


class Spot(NamedTuple):
    """What another judge may compute with: `mark` in paise, believed. None: `why` says for want of what.

    `is_coming`: the newest quote is only suspect, and will be believed or replaced within a second or so.
    """

    mark: Paise | None
    why: str = ""
    is_coming: bool = False


class LevelSeen(NamedTuple):
    """How one level stands: `observed` (paise) is the mark, or the last candle's close; None when there is none.

    `age_ns`: of the quote that it comes from; `state` None where the position has no underlying that could be watched.
    """

    level: UnderlyingLevel
    observed: Paise | None
    age_ns: int | None
    state: SightState | None
    text: str


class UnderlyingWatch:
    """`wake` is called when it may have to be asked earlier than before."""

    def __init__(
        self, cache: PositionCacheManager, settings: GuardSettings, wake: Callable[[], None] = lambda: None
    ) -> None:
        self.news: set[int] = set()
        self._cache = cache
        self._settings = settings
        self._wake = wake
        self._sights: dict[InstrumentKey, UnderlyingSight] = {}
        self._seen_by: dict[int, UnderlyingSight] = {}
        self._unseen: dict[int, tuple[PositionGuard, str]] = {}
        self._moment: Moment | None = None

    @property
    def next_deadline_ns(self) -> int | None:
        moment = self._moment
        if moment is None:
            return None
        due = (at_ns for sight in self._sights.values() for at_ns in _due_ns(sight, moment))
        return min((at_ns for at_ns in due if at_ns > moment.at_ns), default=None)

    def opened(self, guard: PositionGuard, memory: PositionMemory) -> None:  # noqa: ARG002  the judges' door
        position, levels = guard.booked.position, guard.levels
        strategy_id = position.strategy_id
        self.gone(strategy_id)
        if not (levels.underlying or levels.greeks):
            return
        key = underlying_key_of(position)
        if isinstance(key, str):
            self._unseen[strategy_id] = guard, key
        else:
            sight = self._sights.get(key)
            if sight is None:
                sight = UnderlyingSight(key, position.underlying, self._cache, self._settings, guard.feed_down_ns)
                self._sights[key] = sight
                sight.judge = partial(self._judge, sight)
            sight.add(guard)
            self._seen_by[strategy_id] = sight
        if any(level.action in CLOSING for level in levels.underlying):
            guard.blind_spots.append(partial(self.blind_spot, strategy_id))

    def gone(self, strategy_id: int) -> None:
        # The sight stays until the next beat: an edited position must not lose the price of its underlying.
        self._unseen.pop(strategy_id, None)
        sight = self._seen_by.pop(strategy_id, None)
        if sight is not None:
            del sight.guards[strategy_id]

    def finished(self, record: ExitRecord) -> None:
        pass

    def doubted(self, keys: Iterable[InstrumentKey], at_ns: int) -> None:
        for key in keys:
            sight = self._sights.get(key)
            if sight is not None:
                sight.doubt(at_ns)

    def on_time(self, moment: Moment) -> Iterable[Signal]:
        self._moment = moment
        signals: list[Signal] = []
        for sight in tuple(self._sights.values()):
            if sight.guards:
                sight.tell(moment)
                self._roll(sight, moment.at_ns)
                signals.extend(self._by_close(sight, moment))
                signals.extend(self._by_tick(sight, moment.at_ns, None))
            else:
                self._cache.part(sight, (sight.key,))
                del self._sights[sight.key]
        return signals

    def remember(self, strategy_id: int, memory: PositionMemory) -> PositionMemory:  # noqa: ARG002  the judges' door
        return memory

    def spot_of(self, strategy_id: int, at_ns: int) -> Spot:
        """The underlying's price for whoever computes with it."""
        sight = self._seen_by.get(strategy_id)
        if sight is None:
            _, why = self._unseen.get(strategy_id, (None, "its underlying is not watched"))
            return Spot(None, why)
        mark = sight.mark_believed(at_ns)
        if mark is not None:
            return Spot(mark)
        why = sight.why_not_seen(at_ns)
        return Spot(None, why or f"the newest price of the underlying {sight.name} is not believed yet", not why)

    def blind_spot(self, strategy_id: int, at_ns: int) -> str | None:
        """Why no level of the underlying can fire now for the position; None when they can, or when the market is closed."""
        sight = self._seen_by.get(strategy_id)
        if sight is not None:
            return sight.blind_spot(at_ns)
        unseen = self._unseen.get(strategy_id)
        return None if unseen is None else _cannot_watch(*unseen)

    def sightings_of(self, strategy_id: int, at_ns: int) -> tuple[LevelSeen, ...]:
        """How each level of the position stands; () when it has none."""
        unseen = self._unseen.get(strategy_id)
        if unseen is not None:
            guard, why = unseen
            return tuple(LevelSeen(level, None, None, None, why) for level in guard.levels.underlying)
        sight = self._seen_by.get(strategy_id)
        if sight is None:
            return ()
        return tuple(_level_seen(sight, x, at_ns) for x in sight.guards[strategy_id].levels.underlying)

    def _judge(self, sight: UnderlyingSight, quote: Quote) -> Iterable[Signal]:
        at_ns = quote.received_ns
        self._cache.backlog.note_quote(at_ns)
        self._roll(sight, at_ns)
        sight.take(quote)
        signals = self._by_tick(sight, at_ns, at_ns)
        if sight.breaches:
            self._wake()
        return signals

    def _roll(self, sight: UnderlyingSight, at_ns: int) -> None:
        if self._moment is not None:
            sight.board.roll(at_ns, self._moment.utc_ns - self._moment.at_ns, sight.close_of)

    def _by_tick(self, sight: UnderlyingSight, at_ns: int, tick_ns: int | None) -> list[Signal]:
        mark, moment = sight.pnl, self._moment
        if mark is None or sight.lower < mark < sight.upper:
            sight.breaches.clear()
            return []
        is_open = moment is not None and moment.session_open is True
        newest = sight.shown(at_ns) if is_open else None
        if newest is None:
            sight.breaches.clear()
            return []
        signals: list[Signal] = []
        breached = set()
        for guard, level in sight.levels(None):
            if not is_reached(level, mark):
                continue
            breached.add((level.price, level.is_above))
            breach = sight.breach_of(level, newest, at_ns, tick_ns)
            how = sight.why_believed(breach, newest, at_ns)
            if how is not None:
                reason = tick_reason(sight.name, level, mark, at_ns - newest.quote.received_ns, how)
                signals.append(_signal(guard, level, mark, reason, at_ns, breach.tick_ns))
        for ended in sight.breaches.keys() - breached:
            del sight.breaches[ended]
        if not breached:
            sight.rearm_band()
        return signals

    def _by_close(self, sight: UnderlyingSight, moment: Moment) -> Iterator[Signal]:
        if moment.session_open is not True:
            return
        for minutes, close, seen in sight.board.fresh(moment.at_ns, moment.utc_ns):
            for guard, level in sight.levels(minutes):
                if is_reached(level, seen.mark):
                    reason = close_reason(sight.name, level, close, seen)
                    yield _signal(guard, level, seen.mark, reason, moment.at_ns, None)


def underlying_key_of(position: Position) -> InstrumentKey | str:
    """The index or share behind all legs; a share is behind itself. A text says why there is no such one."""
    found: dict[InstrumentKey, None] = {}
    for leg in position.legs:
        instrument = leg.instrument
        key = instrument.behind
        if key is None:
            return f"the instrument master does not say what is behind {instrument.symbol}"
        found[key] = None
    if len(found) > 1:
        return f"its legs have different underlyings: {', '.join(map(str, found))}"
    return next(iter(found))


def _due_ns(sight: UnderlyingSight, moment: Moment) -> Iterator[int]:
    yield from sight.due_ns()
    yield from sight.board.ends_ns(moment.utc_ns - moment.at_ns)


def _cannot_watch(guard: PositionGuard, why: str) -> str:
    levels = ", ".join(f"{level.name} {rupees_text(level.price)}" for level in guard.levels.underlying)
    return f"its level of the underlying ({levels}) cannot be watched: {why}"


def _level_seen(sight: UnderlyingSight, level: UnderlyingLevel, at_ns: int) -> LevelSeen:
    state = sight.state(at_ns)
    if level.candle_minutes is None:
        mark, age_ns, why = sight.mark_believed(at_ns), sight.age_ns(at_ns), sight.why_not_seen(at_ns)
        text = why or ("its newest quote is not believed yet" if mark is None else f"{sight.name} {rupees_text(mark)}")
        return LevelSeen(level, mark, age_ns, state, text)
    close = sight.board.closes.get(level.candle_minutes)
    if close is None:
        return LevelSeen(level, None, None, state, "no candle has ended yet")
    if close.seen is None:
        return LevelSeen(level, None, None, state, close_text(close))
    return LevelSeen(level, close.seen.mark, at_ns - close.seen.received_ns, state, close_text(close))


def _signal(
    guard: PositionGuard, level: UnderlyingLevel, mark: Paise, reason: str, at_ns: int, tick_ns: int | None
) -> Signal:
    return Signal(
        strategy_id=guard.booked.position.strategy_id,
        rule=Rule.UNDERLYING_LEVEL,
        action=level.action,
        urgency=Urgency.HIGH if level.action in CLOSING else Urgency.NORMAL,
        threshold=level.price,
        observed=mark,
        pnl=guard.booked.pnl,
        reason=reason,
        decided_ns=at_ns,
        tick_received_ns=tick_ns,
        level=level.name,
    )
