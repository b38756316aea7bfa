"""Sums over positions, kept by differences like the P&L of one: what a limit over several positions looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.position_cache_manager import Holder

if TYPE_CHECKING:
    from core.model.money import Paise
    from core.position_cache_manager import BookedPosition, PositionCacheManager


class Tally(Holder):
    """`pnl` is the sum of the counted positions' known P&L, paise; `missing` counts those that have none yet.

    A position whose P&L is known moves the sum with its marks, by its net units on each instrument; so an instrument costs
    one more holder for all positions together. Whoever counts positions in tells of every P&L that did not move by a
    difference (`BookedPosition.on_recount`). `legs` are those whose marks move the sum.
    """

    __slots__ = ("_cache", "_moving", "legs", "missing")

    def __init__(self, cache: PositionCacheManager) -> None:
        super().__init__()
        self.pnl = 0
        self.missing = 0
        self.legs = 0
        self._cache = cache
        self._moving: set[BookedPosition] = set()

    @property
    def total(self) -> Paise:
        """The sum so far: not the scope's P&L while something is missing."""
        return self.pnl or 0

    def arm(self, lower: Paise, upper: Paise) -> None:
        """A sum that stays between, ends excluded, need not be looked at."""
        self.lower, self.upper = lower, upper

    def watch(self, *, is_on: bool) -> None:
        """Whether every tick of it is to be looked at."""
        self.watched = is_on

    @property
    def wants_look(self) -> bool:
        """As the cache asks a holder's judge: watched, or out of its band."""
        return self.watched or not self.lower < self.total < self.upper

    def add(self, booked: BookedPosition) -> None:
        """Count the position from now on. Its P&L must be that of the marks that the cache has now."""
        if booked.pnl is None:
            self.missing += 1
        else:
            self._start(booked, booked.pnl)

    def drop(self, booked: BookedPosition) -> None:
        """Count it no more. It may have left the cache already."""
        if booked in self._moving:
            self._stop(booked, _at_marks(booked))
        else:
            self.missing -= 1

    def recounted(self, booked: BookedPosition, before: Paise | None) -> None:
        """The P&L of a counted position was computed anew; it was `before`."""
        after = booked.pnl
        if before is None:
            if after is not None:
                self.missing -= 1
                self._start(booked, after)
        elif after is None:
            self.missing += 1
            self._stop(booked, before)
        else:
            self.pnl = (self.pnl or 0) + after - before

    def _start(self, booked: BookedPosition, pnl: Paise) -> None:
        self._moving.add(booked)
        self.pnl = (self.pnl or 0) + pnl
        self._move(booked, 1)

    def _stop(self, booked: BookedPosition, pnl: Paise) -> None:
        self._moving.discard(booked)
        self.pnl = (self.pnl or 0) - pnl
        self._move(booked, -1)

    def _move(self, booked: BookedPosition, sign: int) -> None:
        self.legs += sign * len(booked.slots)
        for leg in booked.position.legs:
            instrument = leg.instrument
            self._cache.join(self, instrument.key, sign * leg.units, instrument.tick)


class OwnTally(Tally):
    """The sum of a scope of one position: it is that position's own P&L, and its band a cap on the position's own band.

    No instrument carries another holder for it, so that ten thousand positions with a limit each cost their ticks nothing. While
    an exit of the position is under way, nobody asks by its ticks.
    """

    __slots__ = ()

    @property
    def total(self) -> Paise:
        return sum(booked.pnl for booked in self._moving if booked.pnl is not None)

    def arm(self, lower: Paise, upper: Paise) -> None:
        if (lower, upper) != (self.lower, self.upper):
            super().arm(lower, upper)
            self._pass_on()

    def watch(self, *, is_on: bool) -> None:
        if is_on is not self.watched:
            super().watch(is_on=is_on)
            self._pass_on()

    def _pass_on(self) -> None:
        for booked in self._moving:
            booked.rearm()

    def _move(self, booked: BookedPosition, sign: int) -> None:
        self.legs += sign * len(booked.slots)
        booked.cap = self if sign > 0 else None
        booked.rearm()


def _at_marks(booked: BookedPosition) -> Paise:
    """The P&L, which is known, by the marks that move the sum: what is not in the cache any more is not recounted there."""
    return (booked.realised or 0) + sum(
        leg.units * (slot.mark - leg.entry)
        for leg, slot in zip(booked.position.legs, booked.slots, strict=True)
        if slot.mark is not None and leg.entry is not None
    )
