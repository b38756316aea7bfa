"""Two quotes of one instrument, one of the feed and one of REST, held against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.quote_check import is_two_sided
from core.model.market import mark_of
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from core.model.market import Quote

LAG_S: Final = 2
"""The feed lags when its trade time is this far behind REST's; it has caught up when it is nearer."""
DISPUTE_PERCENT: Final = 5
DISPUTE_PAISE: Final = 25
"""Five ticks: on an option of one rupee a single tick is already 5 %."""
DISPUTE_AGE_NS: Final = 2 * NS_PER_S
HOUR_S: Final = 3_600
CACHE_AGE_NS: Final = 30 * NS_PER_S
OVERTAKEN_NS: Final = NS_PER_S
"""As long as an exit takes a quote for young: it never asks for more, and so never misses an answer that is not taken."""
SETTLED_NS: Final = 2 * NS_PER_S
"""REST may answer with what it had two seconds before: a packet as young as that is not held against it."""


def later_s(before: Quote | None, rest: Quote) -> int:
    """Seconds from the trade of one REST quote to that of another; 0 when a time is missing."""
    if before is None or before.exchange_time is None or rest.exchange_time is None:
        return 0
    return rest.exchange_time - before.exchange_time


def is_cached(known: Quote | None, rest: Quote, now: int) -> bool:
    """Whether an answer with an older trade than what is known can be REST's memory of a moment ago."""
    return known is not None and differs(known, rest) and now - known.received_ns < CACHE_AGE_NS


def is_from_before(feed: Quote | None, rest: Quote, late_s: int) -> bool:
    """Whether REST shows the market of before the feed's last trade: a frozen REST does so for as long as it is frozen.

    More than an hour apart is no older trade but another way to tell the time.
    """
    return feed is not None and -HOUR_S < late_s < 0 and differs(feed, rest)


def is_comparable(feed: Quote | None, late_s: int | None, requested_ns: int) -> bool:
    """Whether REST can tell anything of the feed: it was silent long enough before the request, or shows an older trade."""
    if feed is None or requested_ns - feed.received_ns >= SETTLED_NS:
        return True
    return late_s is not None and (late_s >= LAG_S or (late_s > 0 and feed.received_ns <= requested_ns))


def is_overtaken(feed: Quote | None, rest: Quote, late_s: int | None, requested_ns: int) -> bool:
    """Whether the feed has said something else so lately that the answer may be the older of the two.

    Its receipt is the later one, but what it shows is older by the way back and by REST's own memory. A trade that the feed has
    not told of is news all the same.
    """
    return (
        feed is not None
        and requested_ns - feed.received_ns < OVERTAKEN_NS
        and (late_s is None or late_s <= 0)
        and differs(feed, rest)
    )


def differs(base: Quote, rest: Quote) -> bool:
    if base.last != rest.last:
        return True
    has_books = (base.bid is not None or base.ask is not None) and (rest.bid is not None or rest.ask is not None)
    return has_books and (base.bid != rest.bid or base.ask != rest.ask)


def brackets(quote: Quote) -> bool:
    return is_two_sided(quote) and mark_of(quote.last, quote.bid, quote.ask) == quote.last


def contradicts(feed: Quote | None, rest: Quote, late_s: int | None, *, is_settled: bool) -> bool:
    """Whether the two say different prices at the same time (fault F32).

    `is_settled`: the feed has brought its last trade, or that again, after the second of the trade was over.
    """
    if feed is None or not is_two_sided(feed):
        return False
    # One trade has one price: REST that tells the same trade of a quiet instrument differently is not news, it is wrong.
    # But times are whole seconds: a feed that turned mute within the second may lack the last trade of it.
    is_same_trade = is_settled and late_s == 0 and rest.last != feed.last
    if rest.received_ns - feed.received_ns > (CACHE_AGE_NS if is_same_trade else DISPUTE_AGE_NS):
        return False
    if late_s is not None and late_s >= LAG_S:
        return False
    mark = mark_of(feed.last, feed.bid, feed.ask)
    apart = abs(mark_of(rest.last, rest.bid, rest.ask) - mark)
    return apart > DISPUTE_PAISE and 100 * apart > DISPUTE_PERCENT * mark
