"""What one underlying shows: its newest mark, whether that is believed, and whether it stands still while its options move.

How the readings of the house are carried out:
- **Clean**, believed at once: a book is judged like a leg's; a quote without one must be less than `index_jump_percent` away
  from the quote before it, received less than `jump_window_ms` earlier. A repeated packet is judged as the one it repeats.
  What came out of a backlog is not clean.
- **Believed**: clean; or another print than the one before, as near to it; or a print that has stood `stop_confirm_max_ms`.
- **Fresh**: as a leg's price (`MarkTrust`): not saved, not doubted, and not too old while no feed is live.
- **Still**: the price or the book of the underlying last changed so and so long before a leg of its positions moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.exits.quote_check import is_clean
from core.exits.safe_to_trade import MarkTrust
from core.exits.underlying_breach import Stillness, UnderlyingBreach, print_of
from core.exits.underlying_candles import CandleBoard, Close, LastSeen
from core.exits.underlying_words import SightState, why_not_seen
from core.model.market import QuoteSource, mark_of
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.position_cache_manager import OPEN_BOUND, Holder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.exits.guard_settings import GuardSettings
    from core.exits.judges import Moment
    from core.exits.position_guard import PositionGuard
    from core.exits.underlying_candles import Candle
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.special_levels import UnderlyingLevel
    from core.position_cache_manager import PositionCacheManager

TICK: Final[Paise] = 1
"""Indices move by the paisa, and nobody orders an underlying here: every price is on its grid."""
FIRST_PRICE_NS: Final = 2 * NS_PER_S
"""How long its first price may be on the way, after the opening and for a new position."""
_PERCENT: Final = 100


@dataclass(slots=True)
class NewestQuote:
    """The newest quote of the market, its mark, and since when its print stands (receipt of the first packet with it)."""

    quote: Quote
    mark: Paise
    print_ns: int
    is_clean: bool
    is_believed: bool


class UnderlyingSight(Holder):
    """One underlying in the cache: its `pnl` is the mark, its band the nearest levels that are compared with every tick.

    `guards` are the positions that need it, by strategy id. Every quote passes: what is believed depends on all of them.
    `open_ns`: since when the market is known to be open (monotonic), None while it is not.
    """

    __slots__ = (
        "_backlog",
        "_believed",
        "_confirm_ns",
        "_jump_percent",
        "_limits",
        "_newest",
        "_still",
        "_trust",
        "board",
        "breaches",
        "guards",
        "key",
        "name",
        "open_ns",
        "slot",
    )

    def __init__(
        self,
        key: InstrumentKey,
        name: str,
        cache: PositionCacheManager,
        settings: GuardSettings,
        feed_down_ns: int | None,
    ) -> None:
        super().__init__()
        self.key = key
        self.name = name
        self.guards: dict[int, PositionGuard] = {}
        self.breaches: dict[tuple[Paise, bool], UnderlyingBreach] = {}
        self.board = CandleBoard()
        self.open_ns: int | None = None
        self.watched = True
        self._backlog = cache.backlog
        self._limits = settings.quote_limits
        self._jump_percent = settings.index_jump_percent
        self._confirm_ns = settings.stop_confirm_max_ms * NS_PER_MS
        self._trust = MarkTrust(settings.mark_stale_s, feed_down_ns)
        self._still = Stillness(settings.underlying_still_s)
        self._newest: NewestQuote | None = None
        self._believed: LastSeen | None = None
        self.slot = cache.join(self, key, 1, TICK)
        self.recount()
        quote = self.slot.quote
        if quote is not None and quote.source is not QuoteSource.CACHE:
            self.take(quote)
        if self.slot.is_doubted:
            self.doubt(self.slot.doubted_ns)

    def recount(self) -> None:
        self.pnl = self.slot.mark

    # The positions

    def add(self, guard: PositionGuard) -> None:
        self.guards[guard.booked.position.strategy_id] = guard
        self._narrow(guard)
        self.board.keep(x.candle_minutes for x in guard.levels.underlying if x.candle_minutes is not None)

    def levels(self, minutes: int | None) -> Iterator[tuple[PositionGuard, UnderlyingLevel]]:
        """The levels of all positions that candles of this length are compared with; None: every tick."""
        for guard in self.guards.values():
            for level in guard.levels.underlying:
                if level.candle_minutes == minutes:
                    yield guard, level

    def rearm_band(self) -> None:
        """After levels have gone the band is too narrow, which costs looks and misses nothing."""
        self.lower, self.upper = -OPEN_BOUND, OPEN_BOUND
        for guard in self.guards.values():
            self._narrow(guard)

    def _narrow(self, guard: PositionGuard) -> None:
        for level in guard.levels.underlying:
            if level.candle_minutes is None and level.is_above:
                self.upper = min(self.upper, level.price)
            elif level.candle_minutes is None:
                self.lower = max(self.lower, level.price)

    # Quotes and time

    def take(self, quote: Quote) -> None:
        """A quote of the market that the cache has just accepted."""
        self.settle(quote.received_ns)
        before, mark = self._newest, mark_of(quote.last, quote.bid, quote.ask)
        is_move = before is None or before.quote[1:4] != quote[1:4]
        is_new_print = before is None or print_of(before.quote) != print_of(quote)
        if is_move:
            self._still.moved(quote.received_ns)
        if before is None or is_move or is_new_print:
            print_ns = before.print_ns if before is not None and not is_new_print else quote.received_ns
            is_near = before is not None and self._is_near(quote, mark, before)
            is_clean_quote = self._is_clean(quote, before, is_near=is_near)
            is_second = is_near and is_new_print and not self._backlog.holds(quote)
            newest = NewestQuote(quote, mark, print_ns, is_clean_quote, is_clean_quote or is_second)
        else:
            newest = NewestQuote(quote, mark, before.print_ns, before.is_clean, before.is_believed)
        self._newest = newest
        if newest.is_believed:
            self._believed = LastSeen(mark, quote.received_ns)

    def tell(self, moment: Moment) -> None:
        """The time, with what is known of the session and of the feed."""
        self._trust.feed(moment.at_ns, is_live=moment.feed_live)
        if moment.session_open is not True:
            self.open_ns = None
            self._still.forget()
            return
        if self.open_ns is None:
            self.open_ns = moment.at_ns
        if self._newest is not None:
            self._still.look(moment.at_ns, self.guards.values())

    def doubt(self, at_ns: int) -> None:
        self._trust.doubt(self.key, at_ns)
        self.breaches.clear()

    def settle(self, at_ns: int) -> None:
        """A print that has stood long enough is believed, whatever it was when it came."""
        newest = self._newest
        if newest is not None and at_ns - newest.print_ns >= self._confirm_ns:
            newest.is_believed = True
            self._believed = LastSeen(newest.mark, newest.quote.received_ns)

    # What may be done with it

    def state(self, at_ns: int) -> SightState:
        if self._newest is None:
            return SightState.NO_PRICE if self.slot.quote is None else SightState.SAVED
        if self._trust.is_stale(self._newest.quote, at_ns):
            return SightState.STALE
        return SightState.STILL if self._still.is_still else SightState.SHOWN

    def age_ns(self, at_ns: int) -> int | None:
        """Since the receipt of the newest quote."""
        return None if self._newest is None else at_ns - self._newest.quote.received_ns

    def shown(self, at_ns: int) -> NewestQuote | None:
        """The newest quote, when levels may be compared with it."""
        return self._newest if self.state(at_ns) is SightState.SHOWN else None

    def mark_believed(self, at_ns: int) -> Paise | None:
        """The newest mark; None unless it is fresh, moves with its options, and is believed."""
        self.settle(at_ns)
        newest = self.shown(at_ns)
        return newest.mark if newest is not None and newest.is_believed else None

    def breach_of(
        self, level: UnderlyingLevel, newest: NewestQuote, at_ns: int, tick_ns: int | None
    ) -> UnderlyingBreach:
        """The breach of this level by the newest quote, begun now if it had not."""
        quote = newest.quote
        breach = self.breaches.get((level.price, level.is_above))
        if breach is None:
            breach = self.breaches[level.price, level.is_above] = UnderlyingBreach(quote, at_ns, tick_ns)
        breach.note(quote)
        return breach

    def why_believed(self, breach: UnderlyingBreach, newest: NewestQuote, at_ns: int) -> str | None:
        """What makes the newest quote, beyond a level, fire now: "" for its own cleanness; None when it has to wait."""
        stood_ns = at_ns - breach.since_ns
        if not self._backlog.holds(newest.quote):
            if newest.is_clean:
                return ""
            if breach.is_repeated:
                return "confirmed by a second quote"
        return f"it has stood {stood_ns / NS_PER_S:.1f} s" if stood_ns >= self._confirm_ns else None

    def due_ns(self) -> Iterable[int]:
        """When waiting breaches have stood for long enough."""
        return (breach.since_ns + self._confirm_ns for breach in self.breaches.values())

    def close_of(self, candle: Candle, ends_at_ns: int) -> Close:
        """How the candle has ended, as of its end. No quote that came later has been taken yet."""
        self.settle(ends_at_ns)
        why, seen = self.why_not_seen(ends_at_ns), self._believed
        starts_at_ns = ends_at_ns - (candle.end_ns - candle.start_ns)
        if not why and (seen is None or seen.received_ns < starts_at_ns):
            why = "no quote to be believed came in it"
        return Close(candle, ends_at_ns, None if why else seen, why)

    def why_not_seen(self, at_ns: int) -> str:
        """What is wrong with it, for a trader; "" when it is shown."""
        state, since_ns = self.state(at_ns), self.open_ns
        if self._newest is not None:
            since_ns = self._still.moved_ns if state is SightState.STILL else self._newest.quote.received_ns
        return why_not_seen(state, self.name, None if since_ns is None else at_ns - since_ns)

    def blind_spot(self, at_ns: int) -> str | None:
        """As `why_not_seen`, in an open market only, and not while its first price is on the way."""
        if self.open_ns is None or at_ns - self.open_ns < FIRST_PRICE_NS:
            return None
        return self.why_not_seen(at_ns) or None

    # Belief

    def _is_near(self, quote: Quote, mark: Paise, before: NewestQuote) -> bool:
        if quote.received_ns - before.quote.received_ns >= self._limits.jump_window_ms * NS_PER_MS:
            return False
        return abs(mark - before.mark) * _PERCENT < self._jump_percent * before.mark

    def _is_clean(self, quote: Quote, before: NewestQuote | None, *, is_near: bool) -> bool:
        if self._backlog.holds(quote):
            return False
        if quote.bid is None and quote.ask is None:
            return is_near
        if before is None:
            return is_clean(quote, None, 0, TICK, self._limits)
        return is_clean(quote, before.mark, quote.received_ns - before.quote.received_ns, TICK, self._limits)
