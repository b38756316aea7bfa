"""Open positions in memory: which quote touches which position, and the P&L of each, kept by differences.

`apply` is the tick path. It allocates nothing while no position leaves its band.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.market import QuoteSource, mark_of
from core.model.session_time import NS_PER_S
from core.position_backlog import Backlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, KeysView, Sequence

    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import Signal

OPEN_BOUND: Final[Paise] = 2**62
"""No bound on this side: beyond any real P&L."""
ABSURD_MULTIPLE: Final = 100
REFUSAL_LIMIT_NS: Final = 2 * NS_PER_S
"""A wrong baseline (one freak first price, one exchange time from the future) must not blind a position for good: what
an instrument has said without a break for this long is taken as the new baseline."""

# Enum members cost a slow look-up on their class.
_FEED: Final = QuoteSource.FEED
_CACHE: Final = QuoteSource.CACHE
_NOTHING: Final[tuple[Holder, ...]] = ()


class InstrumentSlot:
    """The newest accepted quote of one instrument, and what it replaced. `mark` is paise, None before the first quote.

    `previous` is the newest quote that said something else: a repeated packet replaces nothing (fault F09). `tick` is paise.
    `updates` counts accepted quotes, repeats included. Until there is a quote of the market, `quote` may be a cached one: it is
    shown and never counted, `safe_to_trade` refuses it, and the engine prices no order by it. Quotes received until `doubted_ns`
    are doubted, whoever guards the instrument.
    """

    __slots__ = (
        "doubted_ns",
        "exchange_time",
        "holders",
        "key",
        "mark",
        "previous",
        "quote",
        "refused_since_ns",
        "tick",
        "updates",
    )

    def __init__(self, key: InstrumentKey, tick: Paise) -> None:
        self.key = key
        self.tick = tick
        self.mark: Paise | None = None
        self.quote: Quote | None = None
        self.previous: Quote | None = None
        self.updates = 0
        self.exchange_time = 0
        self.refused_since_ns: int | None = None
        self.doubted_ns = 0
        self.holders: list[tuple[Holder, int]] = []
        """Positions with legs on this instrument, and whoever sums or watches it, each with its net signed units here."""

    def gives_in(self, received_ns: int) -> bool:
        """Whether a quote that ought to be dropped is taken after all, because nothing else has come for so long."""
        if self.refused_since_ns is None:
            self.refused_since_ns = received_ns
        return received_ns - self.refused_since_ns >= REFUSAL_LIMIT_NS

    @property
    def is_doubted(self) -> bool:
        return self.quote is not None and self.quote.received_ns <= self.doubted_ns

    def show_cached(self, quote: Quote) -> None:
        """Show what another run knew until the market says something. It breaches nothing: its holders stay where they are."""
        if quote.last >= self.tick and (self.quote is None or self.quote.source is _CACHE):
            self.quote = quote
            self.mark = mark_of(quote.last, quote.bid, quote.ask)
            self.recount_holders()

    @property
    def positions(self) -> list[BookedPosition]:
        """The holders that are positions."""
        return [holder for holder, _ in self.holders if isinstance(holder, BookedPosition)]

    def recount_holders(self) -> None:
        """Positions first: who sums them asks them."""
        for holder, _ in tuple(self.holders):
            holder.recount()

    def holders_outside(self, change: Paise) -> Sequence[Holder]:
        """Move the holders' P&L by `change` paise per unit; return those that are watched or out of their band."""
        outside: list[Holder] | None = None
        for holder, units in self.holders:
            pnl = holder.pnl
            if pnl is not None:
                holder.pnl = pnl = pnl + units * change
                if holder.lower < pnl < holder.upper and not holder.watched:
                    continue
            elif not holder.watched:
                continue
            if outside is None:
                outside = []
            outside.append(holder)
        return _NOTHING if outside is None else outside


class Holder:
    """Whoever's figure moves with the marks of instruments: a position, a sum of positions, a watch on one mark.

    `pnl` is paise, None while unknown: the cache adds net units × change of the mark. The band excludes its ends: `apply`
    returns the holder when `pnl` ≤ `lower`, `pnl` ≥ `upper`, or `watched`; the engine then asks its `judge`.
    """

    __slots__ = ("judge", "lower", "pnl", "upper", "watched")

    def __init__(self) -> None:
        self.pnl: Paise | None = None
        self.lower: Paise = -OPEN_BOUND
        self.upper: Paise = OPEN_BOUND
        self.watched = False
        self.judge: Callable[[Quote], Iterable[Signal]] = _nobody

    def recount(self) -> None:
        """Compute `pnl` from scratch: a mark has become known, or has changed without a quote of the market."""

    def open_band(self) -> None:
        """Let every quote pass."""
        self.lower, self.upper, self.watched = -OPEN_BOUND, OPEN_BOUND, False


class BookedPosition(Holder):
    """One open position and its running P&L. Written only by the cache, except the band and the judge, which its guard sets.

    `pnl` is paise, None while any leg has no mark or no entry, or while `realised` is not known; `missing` counts what is
    not known. `slots[i]` belongs to `position.legs[i]`. `backlog` is the cache's. `on_recount` hears of every P&L that did not
    move by a difference. `cap` is a second band on the same P&L, None when there is none; whoever sets the position's band keeps
    it inside. `rearm` asks for that.
    """

    __slots__ = ("backlog", "cap", "missing", "on_recount", "position", "realised", "rearm", "slots")

    def __init__(
        self, position: Position, slots: tuple[InstrumentSlot, ...], realised: Paise | None, backlog: Backlog
    ) -> None:
        super().__init__()
        self.position = position
        self.slots = slots
        self.realised = realised
        self.backlog = backlog
        self.missing = len(slots)
        self.on_recount: Callable[[Paise | None], None] | None = None
        self.cap: Holder | None = None
        self.rearm: Callable[[], None] = self.open_band
        self.recount()

    @property
    def open_pnl(self) -> Paise | None:
        """P&L of what is open, without what closed shares have brought, paise."""
        return None if self.pnl is None or self.realised is None else self.pnl - self.realised

    def set_band(self, lower: Paise, upper: Paise, *, watched: bool) -> None:
        """Inside the cap, where there is one."""
        cap = self.cap
        if cap is not None:
            lower, upper, watched = max(lower, cap.lower), min(upper, cap.upper), watched or cap.watched
        self.lower, self.upper, self.watched = lower, upper, watched

    def quote_of(self, leg: int) -> Quote | None:
        """The newest accepted quote of the leg's instrument."""
        return self.slots[leg].quote

    def recount(self) -> None:
        """Compute `missing` and `pnl` from scratch."""
        before = self.pnl
        total = self.realised or 0
        missing = 1 if self.realised is None else 0
        for leg, slot in zip(self.position.legs, self.slots, strict=True):
            if leg.entry is None or slot.mark is None:
                missing += 1
            else:
                total += leg.units * (slot.mark - leg.entry)
        self.missing = missing
        self.pnl = None if missing else total
        if self.on_recount is not None:
            self.on_recount(before)


def _nobody(_: Quote) -> tuple[Signal, ...]:
    return ()


class PositionCacheManager:
    """All open positions by strategy_id, and the slots of the instruments they hold.

    `late` counts quotes dropped for an older exchange time, `absurd` those dropped for a price beyond 100 × the mark or
    below one tick.
    """

    __slots__ = ("_added", "_booked", "_removed", "_slots", "absurd", "backlog", "late")

    def __init__(self) -> None:
        self.backlog = Backlog()
        self._booked: dict[int, BookedPosition] = {}
        self._slots: dict[InstrumentKey, InstrumentSlot] = {}
        self._added: set[InstrumentKey] = set()
        self._removed: set[InstrumentKey] = set()
        self.late = 0
        self.absurd = 0

    def put(self, position: Position, realised: Paise | None = 0) -> BookedPosition:
        """Book the position in place of what was booked under its strategy_id. Known marks are kept.

        `realised` is what was already earned or lost on it in paise, None when that is not known. The band starts open.
        """
        units: dict[InstrumentKey, int] = {}
        for leg in position.legs:
            units[leg.instrument.key] = units.get(leg.instrument.key, 0) + leg.units
        slots = tuple(self._slot(leg.instrument.key, leg.instrument.tick) for leg in position.legs)
        booked = BookedPosition(position, slots, realised, self.backlog)
        for key, held in units.items():
            self._slots[key].holders.append((booked, held))
        replaced = self._booked.get(position.strategy_id)
        if replaced is not None:
            self._release(replaced)
        self._booked[position.strategy_id] = booked
        return booked

    def join(self, holder: Holder, key: InstrumentKey, units: int, tick: Paise) -> InstrumentSlot:
        """Move `holder` with the mark of `key` by `units` (signed) from now on, on top of what it holds there already.

        Its `pnl` stays as it is: the caller sets it. `tick` is paise, for an instrument that nobody held before.
        """
        slot = self._slot(key, tick)
        held = sum(known for each, known in slot.holders if each is holder)
        others = [each for each in slot.holders if each[0] is not holder]
        slot.holders = [*others, (holder, held + units)] if held + units else others
        if not slot.holders:
            self._drop_slot(slot)
        return slot

    def part(self, holder: Holder, keys: Iterable[InstrumentKey]) -> None:
        """Move `holder` with none of these any more."""
        for key in keys:
            slot = self._slots.get(key)
            if slot is not None:
                self._leave(slot, holder)

    def remove(self, strategy_id: int) -> None:
        """Forget the position; does nothing when it is not booked."""
        booked = self._booked.pop(strategy_id, None)
        if booked is not None:
            self._release(booked)

    def get(self, strategy_id: int) -> BookedPosition | None:
        return self._booked.get(strategy_id)

    def booked(self) -> Sequence[BookedPosition]:
        return tuple(self._booked.values())

    def keys(self) -> KeysView[InstrumentKey]:
        """Instruments that some position holds: a live view."""
        return self._slots.keys()

    def slot_of(self, key: InstrumentKey) -> InstrumentSlot | None:
        return self._slots.get(key)

    def market_quote_of(self, key: InstrumentKey) -> Quote | None:
        """What orders are priced by: never a cached price."""
        slot = self._slots.get(key)
        return None if slot is None or slot.quote is None or slot.quote.source is _CACHE else slot.quote

    def is_doubted(self, key: InstrumentKey) -> bool:
        """Whether nothing shows that the newest quote of it is still true."""
        slot = self._slots.get(key)
        return slot is not None and slot.is_doubted

    def take_key_changes(self) -> tuple[frozenset[InstrumentKey], frozenset[InstrumentKey]]:
        """Instruments (added, removed) since the last call, net: what came and went in between is in neither."""
        changes = frozenset(self._added), frozenset(self._removed)
        self._added.clear()
        self._removed.clear()
        return changes

    def apply(self, quote: Quote) -> Sequence[Holder]:  # noqa: C901  a call costs more than a branch here
        """Fold one quote in; return the holders it touches that are watched or out of their band.

        Dropped and counted: an exchange time older than the newest one the feed gave for the instrument (equal is
        fine: it does not advance when only the book changes), a last price below one tick, and a last price or mark above
        100 × the mark before. The first and the last are accepted after all when nothing better came for
        `REFUSAL_LIMIT_NS` since the first of them. A cached quote is shown until there is another, and is no measure for it.
        """
        key, last, bid, ask, bid_size, ask_size, exchange_time, received_ns, source = quote
        slot = self._slots.get(key)
        if slot is None:
            return _NOTHING
        if source is _CACHE:
            slot.show_cached(quote)
            return _NOTHING
        before = slot.mark
        # As mark_of, without the cost of a call on every tick; a property test holds the two together.
        mark = last
        if bid is not None and ask is not None and bid <= ask:
            if last < bid:
                mark = bid
            elif last > ask:
                mark = ask
        is_late = exchange_time is not None and exchange_time < slot.exchange_time
        is_absurd = is_below_tick = last < slot.tick
        if before is not None:
            is_absurd = is_absurd or last > (most := ABSURD_MULTIPLE * before) or mark > most
        if is_late or is_absurd:
            is_first = slot.quote is None or slot.quote.source is _CACHE
            if is_below_tick or not (is_first or slot.gives_in(received_ns)):
                self.late += is_late
                self.absurd += is_absurd
                return _NOTHING
            slot.exchange_time = 0
        if exchange_time is not None and source is _FEED:
            slot.exchange_time = exchange_time
        slot.refused_since_ns = None
        replaced = slot.quote
        if replaced is not None and (
            mark != before or replaced[4] != bid_size or replaced[5] != ask_size or replaced[:7] != quote[:7]
        ):
            slot.previous = replaced
        slot.mark = mark
        slot.quote = quote
        slot.updates += 1
        if before is None:
            slot.recount_holders()
            return slot.holders_outside(0)
        return slot.holders_outside(mark - before)

    def _slot(self, key: InstrumentKey, tick: Paise) -> InstrumentSlot:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = InstrumentSlot(key, tick)
            self._note_change(key, self._added, self._removed)
        return slot

    def _release(self, booked: BookedPosition) -> None:
        for slot in set(booked.slots):
            self._leave(slot, booked)

    def _leave(self, slot: InstrumentSlot, holder: Holder) -> None:
        slot.holders = [each for each in slot.holders if each[0] is not holder]
        if not slot.holders:
            self._drop_slot(slot)

    def _drop_slot(self, slot: InstrumentSlot) -> None:
        del self._slots[slot.key]
        self._note_change(slot.key, self._removed, self._added)

    @staticmethod
    def _note_change(key: InstrumentKey, now: set[InstrumentKey], before: set[InstrumentKey]) -> None:
        if key in before:
            before.remove(key)
        else:
            now.add(key)
