"""What is remembered of a position across restarts, besides the journal of its exits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import date

    from core.model.exit_levels import Rule
    from core.model.money import Paise


class ToldLevel(NamedTuple):
    """A level that closes nothing and has been told. `level` and `threshold` as in the signal."""

    rule: Rule
    level: str
    threshold: int | None


@dataclass(frozen=True, slots=True)
class PositionMemory:
    """`peak`: highest trusted P&L (paise). `told`: levels that are not told again.

    `gamma` (of the whole position, per rupee) and `volatility` (fraction of 1) are the first ones that were computed, the
    references of Greek levels that have none. `day_base` is the P&L (paise) at the first marks of the session of `day`
    (IST), from which a daily limit counts; None: not known yet. `underlying` is kept with it, in capitals.
    """

    peak: Paise | None = None
    told: tuple[ToldLevel, ...] = ()
    gamma: float | None = None
    volatility: float | None = None
    day: date | None = None
    day_base: Paise | None = None
    underlying: str = ""

    def rescaled(self, before: Paise | None, after: Paise | None) -> PositionMemory:
        """The same for a P&L that counts `after` of closed shares, and counted `before` until now (paise, None: not known)."""
        if before == after:
            return self
        if before is None or after is None:
            return replace(self, peak=None, day_base=None)
        by = after - before
        peak, base = self.peak, self.day_base
        return replace(self, peak=None if peak is None else peak + by, day_base=None if base is None else base + by)


NOTHING_REMEMBERED = PositionMemory()
