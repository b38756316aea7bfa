"""Why a quote is suspect, in words: the checks of `quote_check.is_clean`, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.quote_check import DEFAULT_LIMITS, is_clean
from core.model.market import mark_of
from core.model.money import is_on_grid, rupees_text

if TYPE_CHECKING:
    from core.exits.quote_check import QuoteLimits
    from core.model.market import Quote
    from core.model.money import Paise

FROM_A_BACKLOG = "read after a standstill of this program: nobody knows how old it is"


def why_suspect(
    quote: Quote, previous_mark: Paise | None, previous_age_ns: int, tick: Paise, limits: QuoteLimits = DEFAULT_LIMITS
) -> str:
    """The first check that the quote fails, "" when it is clean. Arguments as in `is_clean`."""
    if is_clean(quote, previous_mark, previous_age_ns, tick, limits):
        return ""
    bid, ask = quote.bid, quote.ask
    if bid is None or ask is None or bid <= 0:
        return f"no {'bid' if bid is None or bid <= 0 else 'ask'}"
    if bid > ask:
        return f"crossed book: bid {rupees_text(bid)} above ask {rupees_text(ask)}"
    off_grid = [price for price in (quote.last, bid, ask) if not is_on_grid(price, tick)]
    if off_grid:
        return f"{rupees_text(off_grid[0])} is not on the tick grid of {rupees_text(tick)}"
    if ask - bid > limits.spread_ticks * tick and 200 * (ask - bid) > limits.spread_percent * (bid + ask):
        return f"wide book: {rupees_text(bid)} to {rupees_text(ask)}"
    margin = limits.last_outside_ticks * tick
    if not bid - margin <= quote.last <= ask + margin:
        return f"last {rupees_text(quote.last)} outside the book {rupees_text(bid)} to {rupees_text(ask)}"
    return f"jump from {rupees_text(previous_mark or 0)} to {rupees_text(mark_of(quote.last, bid, ask))}"
