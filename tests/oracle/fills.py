"""What orders get, in a market where each is filled whole and at once. Imports nothing of the monitor."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.oracle.book import Leg
from tests.oracle.judge import Judge
from tests.oracle.market import Market


@dataclass(slots=True, eq=False)
class Leaving:
    """A position on its way out, or `percent` of the original: `units` (unsigned) of each leg, of which `left` are not sold yet.

    Shorts first. A leg waits for its first price, for somebody on the other side, and for the session; where no book is shown at
    all an order goes out all the same. The bid fills a long, the ask a short, the last price where no book is shown.
    """

    judge: Judge
    percent: int
    units: tuple[int, ...]
    left: list[int] = field(init=False)
    earned: int = 0

    def __post_init__(self) -> None:
        self.left = list(self.units)

    def widen(self) -> None:
        """The whole of the position is to go, and not a share: what the share has sold is sold."""
        whole = tuple(abs(leg.units) for leg in self.judge.legs)
        self.left = [
            left + all_of_it - share for left, all_of_it, share in zip(self.left, whole, self.units, strict=True)
        ]
        self.percent, self.units = 100, whole

    def is_filled(self, market: Market) -> bool:
        """Fill what can be filled now; whether all is."""
        legs = self.judge.legs
        for at, leg in sorted(enumerate(legs), key=lambda each: each[1].units > 0):
            is_short_open = any(other.units < 0 and self.left[i] for i, other in enumerate(legs))
            price = _price(leg, market)
            if not (leg.units > 0 and is_short_open) and price is not None:
                sold = self.left[at] if leg.units > 0 else -self.left[at]
                self.earned += sold * (price - (leg.entry or 0))
                self.left[at] = 0
        return not any(self.left)

    @property
    def realised(self) -> int:
        """On the position in all, shares closed before included."""
        return self.judge.realised + self.earned


def _price(leg: Leg, market: Market) -> int | None:
    seen = market.seen.get(leg.key)
    if seen is None or market.session_open is not True:
        return None
    shown = seen.shown
    if shown.bid is None and shown.ask is None:
        return shown.last
    return shown.bid if leg.units > 0 else shown.ask
