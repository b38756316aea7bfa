"""What orders get, in a market where each is filled whole and at once. Imports nothing of the monitor."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.oracle.book import Leg
from tests.oracle.judge import Judge
from tests.oracle.market import Market


@dataclass(slots=True, eq=False)
class Leaving:
    """A position on its way out, or `percent` of the original: `units` (unsigned) of each leg.

    Shorts first. A leg waits for its first price, for somebody on the other side, and for the session; where no book is shown at
    all an order goes out all the same. The bid fills a long, the ask a short, the last price where no book is shown.
    """

    judge: Judge
    percent: int
    units: tuple[int, ...]
    prices: dict[int, int] = field(default_factory=dict)

    def is_filled(self, market: Market) -> bool:
        """Fill what can be filled now; whether all is."""
        legs = self.judge.legs
        for at, leg in sorted(enumerate(legs), key=lambda each: each[1].units > 0):
            is_short_open = any(other.units < 0 and i not in self.prices for i, other in enumerate(legs))
            price = _price(leg, market)
            if at not in self.prices and not (leg.units > 0 and is_short_open) and price is not None:
                self.prices[at] = price
        return len(self.prices) == len(legs)

    @property
    def realised(self) -> int:
        """On the position in all, shares closed before included."""
        legs = enumerate(zip(self.judge.legs, self.units, strict=True))
        now = sum((gone if leg.units > 0 else -gone) * (self.prices[at] - (leg.entry or 0)) for at, (leg, gone) in legs)
        return self.judge.realised + now


def _price(leg: Leg, market: Market) -> int | None:
    seen = market.seen.get(leg.key)
    if seen is None or market.session_open is not True:
        return None
    shown = seen.shown
    if shown.bid is None and shown.ask is None:
        return shown.last
    return shown.bid if leg.units > 0 else shown.ask
