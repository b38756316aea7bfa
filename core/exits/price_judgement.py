"""One instrument's price: what a look at the feed, or an answer over REST, says of it. `price_trust` keeps the many.

How the design is read here:
- **A base to compare with.** REST shows news only against a price that came while the line was live: the newest feed quote,
  or else the first REST answer since the line came back. What changed while the line was down is no fault of the feed.
- **News** is another last price, another best bid or ask, or a later trade time. Sizes are none. A book is compared only
  where both sides of the comparison have one: indices and ticker packets have none.
- **Grace.** A packet may be on its way while REST answers. News counts when the feed has still delivered nothing after it.
- **REST caches.** An answer that differs and whose trade is older than what is known is not taken and proves nothing. When that
  is 30 s old it is: no cache is that old, so it is the known trade time that is wrong.
- **Two encodings of the feed's trade time** (fault F25): every answer votes for 0 or 19,800 s between REST and the feed.
- **A line that leaves** vouches for its quiet instruments up to its own last data, which is `silent_ns` ago at the earliest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final

from core.exits.quote_comparison import (
    LAG_S,
    brackets,
    contradicts,
    differs,
    is_cached,
    is_comparable,
    is_from_before,
    is_overtaken,
    later_s,
)
from core.model.session_time import IST_OFFSET_S, NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote

SAME_TIME_S: Final = 2
AGREEMENTS: Final = 3
"""So many answers in a row that show the feed's price again end a mute: the news was REST's mistake."""
SAME_PRICES: Final = 5
"""So many answers in a row, each equal to a packet told since the one before: the clocks differ and nothing is kept back."""
AGAIN_NS: Final = NS_PER_S
OVER_NS: Final = 1_500 * NS_PER_MS
"""A quote that comes so much later after its trade than others do has come after the second of the trade, with some room."""


class TrustState(StrEnum):
    """UNJUDGED: the market is closed, or nobody has looked yet. STALE stands over the others: nothing shows that it is true."""

    UNJUDGED = "unjudged"
    LIVE = "live"
    QUIET = "quiet"
    ASKED = "asked"
    MUTED = "muted"
    ON_REST = "on REST"
    STALE = "stale"


class Taken(Enum):
    """What becomes of a REST quote."""

    YES = "taken"
    AGAINST_FEED = "taken, the feed contradicts"
    DISPUTED = "not taken, the feed contradicts"
    OLD = "not taken, older than the feed"


@dataclass(frozen=True, slots=True)
class TrustLimits:
    """Nanoseconds. `stale_ns` is MARK_STALE_S, `verify_ns` QUIET_VERIFY_S.

    `silent_ns`: no packet for so long asks REST. `grace_ns`: what the feed gets to bring what REST has shown.
    `first_resubscribe_ns`: no packet at all since the line is live. `unknown_ns`: the longest wait for an instrument of
    which REST has no price. `hold_ns`: how long a REST answer keeps older feed packets out. `near_verify_ns`: as `verify_ns`, for
    instruments of positions near a level.
    """

    stale_ns: int = 5 * NS_PER_S
    verify_ns: int = 30 * NS_PER_S
    silent_ns: int = 2_500 * NS_PER_MS
    grace_ns: int = 500 * NS_PER_MS
    first_resubscribe_ns: int = 3 * NS_PER_S
    resubscribe_ns: int = 10 * NS_PER_S
    unknown_ns: int = 60 * NS_PER_S
    hold_ns: int = 3 * NS_PER_S
    near_verify_ns: int = 5 * NS_PER_S

    @classmethod
    def of_seconds(cls, mark_stale_s: float, quiet_verify_s: float) -> TrustLimits:
        return cls(stale_ns=int(mark_stale_s * NS_PER_S), verify_ns=int(quiet_verify_s * NS_PER_S))


@dataclass(slots=True, eq=False)
class Watched:
    """What is remembered of one instrument. Times are monotonic ns.

    `line_ns`: since when its line is live, None while it is not. `vouched_ns`: how long the lost line has shown that it
    was quiet. `rest` is the newest REST quote taken, its receipt is a proof of the price. `news_ns`: REST has shown what the feed
    had not brought, against `base`. `due_ns` and `retry_ns`: REST is not asked before either.
    """

    key: InstrumentKey
    since_ns: int
    looked_ns: int
    due_ns: int
    state: TrustState = TrustState.UNJUDGED
    next_look_ns: int = 0
    line_ns: int | None = None
    vouched_ns: int | None = None
    seen_ns: int | None = None
    rest: Quote | None = None
    rest_asked_ns: int = 0
    interval_ns: int = 0
    retry_ns: int = 0
    misses: int = 0
    base: Quote | None = None
    news_ns: int | None = None
    news_asked_ns: int = 0
    agreed: int = 0
    same: int = 0
    is_near: bool = False
    resubscribed_ns: int | None = None
    resubscribed: int = 0
    doubted_ns: int | None = None
    is_mute_told: bool = False
    is_disputed: bool = False
    is_asked: bool = False

    def proof_ns(self, feed: Quote | None) -> int | None:
        """Receipt of the newest quote that shows the price; None when there is none. A muted feed shows nothing."""
        feed_ns = None if feed is None or self.state is TrustState.MUTED else feed.received_ns
        rest_ns = None if self.rest is None else self.rest.received_ns
        if feed_ns is None or rest_ns is None:
            return rest_ns if feed_ns is None else feed_ns
        return max(feed_ns, rest_ns)


class PriceJudge:
    """The rules for one instrument. `shift_s`: what to add to the feed's trade times to have REST's, 0 or 19,800.

    `is_lagging`: the feed as a whole is late, its packets overtake nothing.
    """

    def __init__(self, limits: TrustLimits) -> None:
        self.limits = limits
        self.shift_s = 0
        self.is_lagging = False
        self._least_delay_ns: int | None = None

    def look(self, watched: Watched, feed: Quote | None, now: int, *, on_line: bool) -> None:
        """Set the state by what the feed has brought until now."""
        self._note_delay(feed)
        if on_line:
            watched.state = self._state_on_line(watched, feed, now)
        else:
            self._leave_line(watched, feed, now)
            watched.state = TrustState.ON_REST
        watched.looked_ns = now

    def take(self, watched: Watched, feed: Quote | None, rest: Quote, requested_ns: int, now: int) -> Taken:
        """Judge a REST quote of the instrument and note what it shows."""
        self._vote(feed, rest)
        watched.misses = watched.retry_ns = 0
        late_s = self.late_s(feed, rest)
        watched.due_ns = now + AGAIN_NS
        if late_s is not None and late_s < 0:
            if is_cached(feed, rest, now) or is_from_before(feed, rest, late_s):
                return Taken.OLD
            late_s = None
        if later_s(watched.rest, rest) < 0 and is_cached(watched.rest, rest, now):
            return Taken.OLD
        is_disputed = watched.line_ns is not None and contradicts(
            feed, rest, late_s, is_settled=self._note_delay(feed) >= OVER_NS
        )
        if is_disputed and feed is not None:
            # A packet that came while the answer was on its way: REST's round price may be the market of before the move.
            is_older = feed.received_ns > requested_ns and not self.is_lagging
            if is_older or brackets(feed) or not brackets(rest):
                return Taken.DISPUTED
        is_on_line = watched.line_ns is not None and watched.state is not TrustState.MUTED
        if is_on_line and not (is_disputed or self.is_lagging) and is_overtaken(feed, rest, late_s, requested_ns):
            return Taken.OLD
        before, before_asked_ns = watched.rest, watched.rest_asked_ns
        watched.rest, watched.rest_asked_ns = rest, requested_ns
        is_told_since = feed is not None and feed.received_ns > before_asked_ns
        watched.same = watched.same + 1 if is_told_since and feed is not None and not differs(feed, rest) else 0
        if watched.line_ns is None:
            watched.due_ns = now
        elif is_comparable(feed, late_s, requested_ns):
            self._compare(watched, feed, before if before_asked_ns >= watched.line_ns else None, now)
        return Taken.AGAINST_FEED if is_disputed else Taken.YES

    def miss(self, watched: Watched, now: int) -> None:
        """REST has no price of it: it is asked again, ever more slowly. What had one is missed by a hiccup, not for good."""
        watched.misses += 1
        longest_ns = self.limits.unknown_ns if watched.rest is None else self.limits.stale_ns
        watched.retry_ns = now + min(NS_PER_S << min(watched.misses - 1, 10), longest_ns)

    def _note_delay(self, feed: Quote | None) -> int:
        """Nanoseconds by which the feed's quote came later after its trade than any other has; 0 when that is not known."""
        if feed is None or feed.exchange_time is None:
            return 0
        delay_ns = feed.received_ns - feed.exchange_time * NS_PER_S
        self._least_delay_ns = delay_ns if self._least_delay_ns is None else min(self._least_delay_ns, delay_ns)
        return delay_ns - self._least_delay_ns

    def late_s(self, feed: Quote | None, rest: Quote | None) -> int | None:
        """Seconds by which the feed's trade is older than REST's; None when a time is missing."""
        if feed is None or rest is None or feed.exchange_time is None or rest.exchange_time is None:
            return None
        return rest.exchange_time - feed.exchange_time - self.shift_s

    def is_doubtful(self, watched: Watched, feed: Quote | None, now: int) -> bool:
        """Whether nothing has shown the price for too long. A quiet line is believed longer once it has shown a price."""
        proof_ns = watched.proof_ns(feed)
        line_ns = watched.line_ns
        limit_ns = self.limits.stale_ns
        if (
            watched.state is not TrustState.MUTED
            and line_ns is not None
            and proof_ns is not None
            and proof_ns >= line_ns
        ):
            limit_ns += self.limits.verify_ns
        base_ns = max(watched.since_ns, proof_ns or 0, watched.vouched_ns or 0)
        return now - base_ns > limit_ns

    def reason(self, watched: Watched, feed: Quote | None) -> str:
        """Why its price is doubtful, for a trader."""
        stale_s = self.limits.stale_ns // NS_PER_S
        if feed is None and watched.rest is None:
            return f"neither the feed nor REST has brought a price for {stale_s} s"
        if watched.state is TrustState.ON_REST:
            return f"its feed connection is down and REST has brought no price for {stale_s} s"
        if watched.state is TrustState.MUTED:
            return f"the feed is silent on it and REST has brought no price for {stale_s} s"
        return "it is quiet on the feed and REST could not confirm its price"

    def _state_on_line(self, watched: Watched, feed: Quote | None, now: int) -> TrustState:
        silent_ns = self.limits.silent_ns
        if watched.line_ns is None:
            # It came to life after the last look, which found it dead.
            watched.line_ns = watched.looked_ns
            watched.resubscribed = 0
            watched.interval_ns = 0
            watched.due_ns = (
                min(watched.due_ns, now) if (proof := watched.proof_ns(feed)) is None else proof + silent_ns
            )
        if watched.news_ns is not None:
            if self._delivers(watched, feed):
                watched.news_ns = None
            elif now - watched.news_ns >= self.limits.grace_ns:
                return TrustState.MUTED
        if feed is not None:
            if feed.received_ns != watched.seen_ns:
                watched.seen_ns = feed.received_ns
                watched.interval_ns = 0
                watched.due_ns = feed.received_ns + silent_ns
            if now - feed.received_ns <= silent_ns:
                return TrustState.LIVE
        return TrustState.ASKED if now >= max(watched.due_ns, watched.retry_ns) else TrustState.QUIET

    def _leave_line(self, watched: Watched, feed: Quote | None, now: int) -> None:
        if watched.line_ns is None:
            return
        proof_ns = watched.proof_ns(feed)
        if watched.state is not TrustState.MUTED and proof_ns is not None and proof_ns >= watched.line_ns:
            watched.vouched_ns = now - self.limits.silent_ns
        watched.line_ns = watched.news_ns = None
        watched.due_ns = now

    def _delivers(self, watched: Watched, feed: Quote | None) -> bool:
        if feed is None or feed.received_ns <= watched.news_asked_ns:
            return False
        late_s = self.late_s(feed, watched.rest)
        return late_s is None or late_s < LAG_S or watched.same >= SAME_PRICES

    def _compare(self, watched: Watched, feed: Quote | None, before: Quote | None, now: int) -> None:
        """Hold REST's newest quote against what the feed has brought. `before`: the REST quote before, of the same line."""
        rest, line_ns = watched.rest, watched.line_ns
        base = watched.base if watched.news_ns is not None else before
        if feed is not None and line_ns is not None and feed.received_ns >= line_ns:
            base = feed
        if base is None or rest is None:
            watched.interval_ns = 0
            watched.due_ns = now + self.limits.silent_ns
        elif self._is_news(base, rest, is_feed=base is feed):
            watched.agreed = 0
            watched.due_ns = now
            if watched.news_ns is None:
                watched.base = base
                watched.news_ns, watched.news_asked_ns = rest.received_ns, watched.rest_asked_ns
        else:
            watched.agreed += 1
            watched.due_ns = now
            if watched.news_ns is None or watched.agreed >= AGREEMENTS:
                watched.news_ns = None
                doubled_ns = 2 * max(watched.interval_ns, self.limits.silent_ns)
                longest_ns = self.limits.near_verify_ns if watched.is_near else self.limits.verify_ns
                watched.interval_ns = min(doubled_ns, longest_ns)
                watched.due_ns = now + watched.interval_ns

    def _is_news(self, base: Quote, rest: Quote, *, is_feed: bool) -> bool:
        if differs(base, rest):
            return True
        if is_feed:
            late_s = self.late_s(base, rest)
            return late_s is not None and late_s > 0
        return (
            base.exchange_time is not None
            and rest.exchange_time is not None
            and rest.exchange_time > base.exchange_time
        )

    def _vote(self, feed: Quote | None, rest: Quote) -> None:
        if feed is None or feed.exchange_time is None or rest.exchange_time is None:
            return
        apart_s = rest.exchange_time - feed.exchange_time
        for shift_s in (0, IST_OFFSET_S):
            if abs(apart_s - shift_s) <= SAME_TIME_S:
                self.shift_s = shift_s
