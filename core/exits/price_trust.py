"""The one judge of each instrument's price: which are to be asked over REST, which are doubted, which does the feed keep back.

Pure: the time comes in, the feed is looked at through `FeedFacts`. One instrument is judged in `price_judgement`.

Instruments whose packets flow are looked at when the next could have failed (every 2.5 s), quiet ones every second, muted ones at
every check, the others four times a second (with 5,000 instruments and more, more seldom); the rest is passed over. One `check`
looks at no more than `LOOKS` and goes on where it stopped (`is_more`: call again).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.price_judgement import PriceJudge, Taken, TrustLimits, TrustState, Watched
from core.exits.rest_queue import RestQueue, Urge
from core.exits.trust_findings import Answer, Dispute, Doubt, FeedFacts, Findings, Hold
from core.model.session_time import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from core.model.instrument import InstrumentKey
    from core.model.market import Quote

__all__ = ["Answer", "Dispute", "Doubt", "FeedFacts", "Findings", "Hold", "PriceTrust", "TrustLimits", "TrustState"]

LOOKS: Final = 300
FEW: Final = 5_000
NEWS_LOOK_NS: Final = 50 * NS_PER_MS
LOOK_NS: Final = 250 * NS_PER_MS
QUIET_LOOK_NS: Final = NS_PER_S
_NOTHING: Final = Findings()


class PriceTrust:
    """One owner calls it. `now` is monotonic nanoseconds and never goes back."""

    def __init__(self, limits: TrustLimits, facts: FeedFacts) -> None:
        self.limits = limits
        self.judge = PriceJudge(limits)
        self._facts = facts
        self._watched: dict[InstrumentKey, Watched] = {}
        self._turn: list[Watched] = []
        self._at = 0
        self._queue = RestQueue()
        self._near: frozenset[InstrumentKey] = frozenset()
        self._is_open: bool | None = None
        self._is_lagging = False
        self._released: list[InstrumentKey] = []
        self.old_answers = 0
        self.disputes = 0

    def set_wanted(self, keys: Iterable[InstrumentKey], now: int) -> None:
        """Exactly these instruments, from now on. What is known of those that stay is kept."""
        wanted = dict.fromkeys(keys)
        for key in self._watched.keys() - wanted.keys():
            self._queue.drop(self._watched.pop(key))
        for key in wanted:
            if key not in self._watched:
                self._watched[key] = Watched(key, since_ns=now, looked_ns=now, due_ns=now, is_near=key in self._near)
        self._turn = list(self._watched.values())
        self._at = 0

    def set_near(self, keys: Collection[InstrumentKey]) -> None:
        """Instruments of positions near a level: the first of their class to be asked, and verified more often while quiet."""
        near = frozenset(keys)
        for key in near ^ self._near:
            watched = self._watched.get(key)
            if watched is not None:
                watched.is_near = key in near
                if watched.is_near and watched.interval_ns > self.limits.near_verify_ns:
                    watched.due_ns -= watched.interval_ns - self.limits.near_verify_ns
                    watched.interval_ns = self.limits.near_verify_ns
        self._near = near

    def market(self, is_open: bool | None, now: int) -> None:  # noqa: FBT001  three answers, not a switch
        """What the calendar says. Closed: nothing is asked, doubted or told. Unknown: asked, but nothing is doubted.

        At the opening every age starts at the opening.
        """
        was_closed, self._is_open = self._is_open is False, is_open
        if is_open is False and not was_closed:
            for watched in self._turn:
                self._shelve(watched)
        elif is_open is not False and was_closed:
            for watched in self._turn:
                watched.since_ns = watched.looked_ns = watched.due_ns = now
                watched.next_look_ns = watched.misses = watched.retry_ns = 0

    def lines_changed(self) -> None:
        """A connection came to life or died: every instrument is looked at by the next checks."""
        for watched in self._turn:
            watched.next_look_ns = 0

    def set_lagging(self, *, is_lagging: bool) -> None:
        """While the feed as a whole is late, REST is asked also for what the feed delivers."""
        if is_lagging is not self._is_lagging:
            self._is_lagging = self.judge.is_lagging = is_lagging
            self.lines_changed()

    def check(self, now: int) -> Findings:
        """Look at what may have changed."""
        if self._is_open is False and not self._released:
            return _NOTHING
        found = Findings(released=self._released)
        self._released = []
        if self._is_open is False:
            return found
        turn, start = self._turn, self._at
        looks = LOOKS
        for place, watched in enumerate(turn[start:] + turn[:start]):
            if watched.next_look_ns <= now:
                if not looks:
                    self._at = (start + place) % len(turn)
                    found.is_more = True
                    break
                looks -= 1
                self._look(watched, now, found)
        return found

    @property
    def has_due(self) -> bool:
        return len(self._queue) > 0

    def next_batch(self, limit: int) -> tuple[InstrumentKey, ...]:
        """Up to `limit` instruments to ask REST for now, worst first. Their answer or failure must be told.

        Those of positions without any price; then the stale; then what REST drives; then what is to be verified. In each:
        near a level first, then the longest due.
        """
        batch = self._queue.take(limit, self._near)
        for watched in batch:
            watched.is_asked = True
        return tuple(watched.key for watched in batch)

    def on_answer(self, asked: Sequence[InstrumentKey], quotes: Iterable[Quote], requested_ns: int, now: int) -> Answer:
        """Judge what REST has said. `requested_ns`: before the request was sent. What is missing in `quotes` has no price.

        Only the taken quotes may be shown to anybody.
        """
        taken: list[Quote] = []
        held: list[Hold] = []
        disputes: list[Dispute] = []
        missing = dict.fromkeys(asked)
        for quote in quotes:
            missing.pop(quote.key, None)
            watched = self._watched.get(quote.key)
            if watched is None or self._is_open is False:
                taken.append(quote)
                if watched is not None:
                    watched.rest, watched.rest_asked_ns, watched.is_asked = quote, requested_ns, False
                continue
            if self._take(watched, quote, requested_ns, now, disputes):
                taken.append(quote)
                if watched.state is TrustState.MUTED:
                    held += self._hold_of(watched)
        for key in missing:
            watched = self._watched.get(key)
            if watched is not None:
                watched.is_asked = False
                self._queue.drop(watched)
                self.judge.miss(watched, now)
                watched.next_look_ns = now
        return Answer(tuple(taken), tuple(held), tuple(disputes))

    def on_failure(self, asked: Sequence[InstrumentKey], now: int) -> None:
        """No usable answer: these are due again. How long to wait is the asker's to know."""
        for key in asked:
            watched = self._watched.get(key)
            if watched is not None:
                watched.is_asked = False
                self._line_up(watched, self._facts.feed_quote(key), now)

    def state_of(self, key: InstrumentKey) -> TrustState | None:
        """As of its last look; None for what is not wanted."""
        watched = self._watched.get(key)
        if watched is None:
            return None
        return watched.state if watched.doubted_ns is None else TrustState.STALE

    def doubted(self) -> Iterator[tuple[InstrumentKey, int]]:
        """What is doubted now, and since when."""
        return ((w.key, w.doubted_ns) for w in self._turn if w.doubted_ns is not None)

    def counts(self) -> dict[TrustState, int]:
        """How many instruments are in each state, for the display."""
        found = dict.fromkeys(TrustState, 0)
        for watched in self._turn:
            found[watched.state if watched.doubted_ns is None else TrustState.STALE] += 1
        return found

    def _look(self, watched: Watched, now: int, found: Findings) -> None:
        key, before = watched.key, watched.state
        feed, on_line = self._facts.feed_quote(key), self._facts.line_is_live(key)
        if before is TrustState.LIVE and on_line and feed is not None and not self._is_lagging:
            next_ns = feed.received_ns + self.limits.silent_ns + 1
            if next_ns > now and watched.news_ns is None and watched.doubted_ns is None and not watched.is_mute_told:
                # Its packets flow, as they did: by far the most frequent case.
                watched.looked_ns, watched.next_look_ns = now, next_ns
                return
        self.judge.look(watched, feed, now, on_line=on_line)
        if watched.state is not TrustState.LIVE or before is TrustState.MUTED or watched.is_mute_told:
            self._note_mute(watched, before, found)
            self._resubscribe(watched, feed, now, found)
        if self._is_open is True:
            self._doubt(watched, feed, now, found)
        self._line_up(watched, feed, now)
        watched.next_look_ns = self._next_look(watched, feed, now)

    def _next_look(self, watched: Watched, feed: Quote | None, now: int) -> int:
        # Never at once: a check that goes on where it stopped must come to an end.
        if watched.news_ns is not None:
            return now + NEWS_LOOK_NS
        many = 1 + len(self._turn) // FEW
        if watched.doubted_ns is None and not self._is_lagging:
            if watched.state is TrustState.LIVE and feed is not None:
                return feed.received_ns + self.limits.silent_ns + 1
            if watched.state is TrustState.QUIET:
                return min(max(watched.due_ns, watched.retry_ns, now + NEWS_LOOK_NS), now + QUIET_LOOK_NS * many)
        return now + LOOK_NS * many

    def _note_mute(self, watched: Watched, before: TrustState, found: Findings) -> None:
        if watched.state is TrustState.MUTED:
            if before is not TrustState.MUTED:
                watched.is_mute_told = True
                watched.resubscribed_ns = None
                found.held += self._hold_of(watched)
                found.muted.append(watched.key)
            return
        if before is TrustState.MUTED:
            found.released.append(watched.key)
        # A line that dies ends no mute: it goes on where the line comes back, or is over then.
        if watched.is_mute_told and watched.state is not TrustState.ON_REST:
            watched.is_mute_told = False
            found.unmuted.append(watched.key)

    def _resubscribe(self, watched: Watched, feed: Quote | None, now: int, found: Findings) -> None:
        """A muted instrument at once and every 10 s; one without a packet since its line lives, twice."""
        limits, line_ns, last_ns = self.limits, watched.line_ns, watched.resubscribed_ns
        if watched.state is TrustState.MUTED:
            is_due = last_ns is None or now - last_ns >= limits.resubscribe_ns
        elif line_ns is None or watched.resubscribed > 1 or (feed is not None and feed.received_ns >= line_ns):
            is_due = False
        else:
            is_due = now - line_ns >= limits.first_resubscribe_ns + watched.resubscribed * limits.resubscribe_ns
        if not is_due:
            return
        watched.resubscribed += 1
        watched.resubscribed_ns = now
        found.resubscribe.append(watched.key)

    def _doubt(self, watched: Watched, feed: Quote | None, now: int, found: Findings) -> None:
        if watched.doubted_ns is not None:
            proof_ns = watched.proof_ns(feed)
            if proof_ns is not None and proof_ns > watched.doubted_ns:
                watched.doubted_ns = None
                found.recovered.append(watched.key)
        elif self.judge.is_doubtful(watched, feed, now):
            watched.doubted_ns = now
            found.doubted.append(Doubt(watched.key, self.judge.reason(watched, feed)))

    def _take(self, watched: Watched, quote: Quote, requested_ns: int, now: int, disputes: list[Dispute]) -> bool:
        feed = self._facts.feed_quote(watched.key)
        watched.is_asked = False
        verdict = self.judge.take(watched, feed, quote, requested_ns, now)
        is_disputed = verdict in {Taken.DISPUTED, Taken.AGAINST_FEED}
        if is_disputed and feed is not None and not watched.is_disputed:
            self.disputes += 1
            disputes.append(Dispute(feed, quote, quote if verdict is Taken.AGAINST_FEED else feed))
        if verdict is not Taken.OLD:
            watched.is_disputed = is_disputed
        self.old_answers += verdict is Taken.OLD
        watched.next_look_ns = now
        self._line_up(watched, feed, now)
        return verdict in {Taken.YES, Taken.AGAINST_FEED}

    def _hold_of(self, watched: Watched) -> tuple[Hold, ...]:
        rest = watched.rest
        if rest is None or rest.exchange_time is None:
            return ()
        return (Hold(watched.key, rest.exchange_time - self.judge.shift_s, rest.received_ns + self.limits.hold_ns),)

    def _line_up(self, watched: Watched, feed: Quote | None, now: int) -> None:
        """Stand where it belongs among what is to be asked, or nowhere."""
        is_due = not watched.is_asked and watched.state is not TrustState.UNJUDGED and now >= watched.retry_ns
        if watched.state is TrustState.LIVE:
            since_rest_ns = now - (watched.since_ns if watched.rest is None else watched.rest.received_ns)
            is_due = is_due and self._is_lagging and since_rest_ns >= self.limits.silent_ns
        elif now < watched.due_ns:
            is_due = False
        if not is_due:
            self._queue.drop(watched)
        elif feed is None and watched.rest is None:
            self._queue.put(watched, Urge.UNPRICED)
        elif watched.doubted_ns is not None:
            self._queue.put(watched, Urge.STALE)
        elif watched.state in {TrustState.ON_REST, TrustState.MUTED}:
            self._queue.put(watched, Urge.DRIVEN)
        else:
            self._queue.put(watched, Urge.VERIFIED)

    def _shelve(self, watched: Watched) -> None:
        """The market has closed: nothing is known of this instrument until the opening, and nothing is asked."""
        self._queue.drop(watched)
        if watched.state is TrustState.MUTED:
            self._released.append(watched.key)
        watched.state = TrustState.UNJUDGED
        watched.line_ns = watched.vouched_ns = watched.news_ns = watched.doubted_ns = None
        watched.is_mute_told = watched.is_disputed = False
