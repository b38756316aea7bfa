"""Is this quote to be believed? (exit_rules 2)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.model.market import mark_of
from core.model.money import is_on_grid
from core.model.session_time import NS_PER_MS

if TYPE_CHECKING:
    from core.model.market import Quote
    from core.model.money import Paise


@dataclass(frozen=True, slots=True)
class QuoteLimits:
    """A spread is fine up to `spread_ticks` or `spread_percent` of the middle of the book, whichever is wider."""

    spread_ticks: int = 5
    spread_percent: int = 10
    last_outside_ticks: int = 1
    jump_percent: int = 20
    jump_window_ms: int = 1000


DEFAULT_LIMITS: Final = QuoteLimits()


def is_two_sided(quote: Quote) -> bool:
    """Both sides are there and not crossed. A locked book (bid = ask) counts."""
    return quote.bid is not None and quote.ask is not None and 0 < quote.bid <= quote.ask


def is_clean(
    quote: Quote, previous_mark: Paise | None, previous_age_ns: int, tick: Paise, limits: QuoteLimits = DEFAULT_LIMITS
) -> bool:
    """Whether a price rule may act on this quote at once. False is suspect, not wrong.

    `previous_mark` is the instrument's mark before this quote (paise, None: none), `previous_age_ns` the time between
    the two receipts. Read as: last, bid and ask are all on the tick grid; the book is not crossed (locked is fine); the
    spread's per cent are of the middle of the book, and exactly the limit is fine; the distance to the previous mark is
    that of this quote's mark, and exactly `jump_percent` is too far; a previous mark as old as `jump_window_ms` no
    longer matters. Where nobody bids for what is offered at `spread_ticks` or less the other side is 0, below which no price
    can be: a wing that has lost its last buyer must not keep the target of its spread from firing.
    """
    bid, ask = quote.bid, quote.ask
    if bid is None and ask is not None:
        # The spread allows no more than `spread_ticks` of it.
        bid = 0
    elif bid is None or ask is None or not 0 < bid <= ask:
        return False
    if not (is_on_grid(quote.last, tick) and is_on_grid(bid, tick) and is_on_grid(ask, tick)):
        return False
    # Doubled, to stay in whole paise: the middle of the book is (bid + ask) / 2.
    if ask - bid > limits.spread_ticks * tick and 200 * (ask - bid) > limits.spread_percent * (bid + ask):
        return False
    margin = limits.last_outside_ticks * tick
    if not bid - margin <= quote.last <= ask + margin:
        return False
    if previous_mark is None or previous_age_ns >= limits.jump_window_ms * NS_PER_MS:
        return True
    jump = abs(mark_of(quote.last, quote.bid, ask) - previous_mark)
    return jump * 100 < limits.jump_percent * previous_mark
