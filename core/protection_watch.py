"""Looks for positions whose stop, or another level, cannot fire for want of a price, and tells a person of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.commands import Alert, Severity
from core.model.market import QuoteSource
from core.model.session_time import NS_PER_S
from core.position_cache_manager import OPEN_BOUND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from core.exits.position_guard import PositionGuard
    from core.model.commands import Command
    from core.model.instrument import InstrumentKey
    from core.position_cache_manager import BookedPosition

TOLD_ONE_BY_ONE: Final = 3
TELL_AGAIN_NS: Final = 300 * NS_PER_S
FIRST_PRICE_NS: Final = 2 * NS_PER_S
NAMED: Final = 20
"""Nobody reads a page with a thousand numbers."""
START_NS: Final = 5 * NS_PER_S
GUARDS_PER_STEP: Final = 100
BACK_NS: Final = 5 * NS_PER_S
"""So long a position must have its prices again before that is said: a flapping line must not page every second."""
_NEAR_SHARE: Final = 0.4
_UNNAMED: Final = "its prices are not known"
_BACK: Final = "its prices are believed, and what its levels need is known"


class ProtectionWatch:
    """Each unprotected position is paged at once, and again every five minutes; many at once in one page."""

    def __init__(
        self,
        guards: Callable[[], Mapping[int, PositionGuard]],
        say: Callable[[Sequence[Command]], None],
        started_ns: int,
    ) -> None:
        self._guards = guards
        self._say = say
        self._started_ns = started_ns
        self._told_ns: dict[int, int] = {}
        self._unpriced_ns: dict[int, int] = {}
        self._paged: set[int] = set()
        self._back_ns: dict[int, int] = {}
        self.near: frozenset[InstrumentKey] = frozenset()

    def look(self, now: int, *, is_open: bool | None) -> Iterator[None]:
        """One round over all positions. Stops now and then, so that ticks go first with a thousand of them.

        `near` are then the instruments of positions near a level.
        """
        if is_open is not True:
            self._unpriced_ns.clear()
            return
        guards = self._guards()
        self._unpriced_ns = {each: since for each, since in self._unpriced_ns.items() if each in guards}
        blind: list[PositionGuard] = []
        near: set[InstrumentKey] = set()
        for number, guard in enumerate(tuple(guards.values()), start=1):
            if number % GUARDS_PER_STEP == 0:
                yield
            if self._is_blind(guard, now):
                blind.append(guard)
            if _is_near(guard.booked):
                near.update(slot.key for slot in guard.booked.slots)
        self.near = frozenset(near)
        if now - self._started_ns >= START_NS:
            self._tell(blind, now)

    def _is_blind(self, guard: PositionGuard, now: int) -> bool:
        """Whether a price is missing, and not only because the position is new and its first price is on the way.

        Or whether another judge lacks what its levels of the position need: the underlying, the Greeks.
        """
        strategy_id = guard.booked.position.strategy_id
        if not guard.has_been_told:
            return False
        if guard.booked.pnl is not None and not _has_saved_price(guard.booked):
            self._unpriced_ns.pop(strategy_id, None)
            return bool(guard.stale_keys(now)) or guard.blind_spot(now) is not None
        return now - self._unpriced_ns.setdefault(strategy_id, now) >= FIRST_PRICE_NS

    def _tell_protected(self, blind: Sequence[PositionGuard], now: int) -> None:
        """Who was paged about a position must hear that it is over; a second time that it is blind is then news."""
        still = {guard.booked.position.strategy_id for guard in blind}
        for strategy_id in self._paged & still:
            self._back_ns.pop(strategy_id, None)
        guards = self._guards()
        back = [each for each in self._paged - still if now - self._back_ns.setdefault(each, now) >= BACK_NS]
        names = []
        for strategy_id in sorted(back):
            self._paged.discard(strategy_id)
            self._back_ns.pop(strategy_id, None)
            self._told_ns.pop(strategy_id, None)
            if strategy_id in guards:
                names.append(f"{guards[strategy_id].booked.position.strategy_name} ({strategy_id})")
        if len(names) > TOLD_ONE_BY_ONE:
            self._say((Alert(Severity.INFO, f"{len(names)} positions are protected again", ", ".join(names)),))
        else:
            self._say([Alert(Severity.INFO, f"{name} is protected again", _BACK) for name in names])

    def _tell(self, blind: Sequence[PositionGuard], now: int) -> None:
        self._tell_protected(blind, now)
        self._told_ns = {each: told for each, told in self._told_ns.items() if now - told < TELL_AGAIN_NS}
        new = [guard for guard in blind if guard.booked.position.strategy_id not in self._told_ns]
        if not new:
            return
        ids_now = [guard.booked.position.strategy_id for guard in new]
        self._told_ns.update(dict.fromkeys(ids_now, now))
        self._paged.update(ids_now)
        if len(new) > TOLD_ONE_BY_ONE:
            ids = ", ".join(str(guard.booked.position.strategy_id) for guard in new[:NAMED])
            if len(new) > NAMED:
                ids += f" and {len(new) - NAMED} more"
            text = f"{_why(new[0], now)}; strategies {ids}"
            self._say((Alert(Severity.PAGE, f"{len(new)} positions are unprotected", text),))
            return
        for guard in new:
            position = guard.booked.position
            name = f"{position.strategy_name} ({position.strategy_id})"
            self._say((Alert(Severity.PAGE, f"{name} is unprotected", _why(guard, now)),))


def _why(guard: PositionGuard, now: int) -> str:
    """That no stop is in force is no news; what another judge lacks is."""
    has_prices = guard.booked.pnl is not None and not _has_saved_price(guard.booked) and not guard.stale_keys(now)
    return (guard.blind_spot(now) if has_prices else guard.why_unprotected(now)) or _UNNAMED


def _has_saved_price(booked: BookedPosition) -> bool:
    """Whether a leg still shows what another run knew: its first price of the market is on the way, as at any start."""
    return any(slot.quote is not None and slot.quote.source is QuoteSource.CACHE for slot in booked.slots)


def _is_near(booked: BookedPosition) -> bool:
    """Whether a loss rule has less than two fifths of its way left, or waits already."""
    pnl, lower = booked.pnl, booked.lower
    if booked.watched or pnl is None:
        return booked.watched
    return lower > -OPEN_BOUND and pnl - lower <= _NEAR_SHARE * abs(lower)
