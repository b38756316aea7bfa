"""How far the feed as a whole is behind the exchange: trades are delivered later than they used to be (dhan_v2_protocol 2.7).

Only a trade that is news counts (its trade time has moved on): a book that moves under an old trade time is no delay. What
the clocks and the encoding of the trade time add is the same for all trades of a day: the smallest delay of the last ten minutes
is taken off. A feed that is late from the first packet on is therefore not seen here, but by comparing with REST.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from core.model.session_time import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.model.instrument import InstrumentKey
    from core.model.market import Quote

LATE_NS: Final = 5 * NS_PER_S
FOR_NS: Final = 3 * NS_PER_S
WINDOW_NS: Final = 600 * NS_PER_S
UNSEEN_NS: Final = 10 * NS_PER_S
CLOCK_STEP_NS: Final = 500 * NS_PER_MS


class FeedLag:
    """Call `look` about four times a second. `lag_ns` is the newest delay above the usual one, 0 before the first trade."""

    def __init__(self) -> None:
        self.lag_ns = 0
        self._trades: dict[InstrumentKey, int] = {}
        self._least: deque[tuple[int, int]] = deque()
        self._late_since_ns: int | None = None
        self._seen_ns = 0
        self._wall_ns: int | None = None

    def is_late(self, now: int) -> bool:
        """Whether trades have come more than 5 s late for 3 s. False again without any trade for 10 s: nothing is known then."""
        since_ns = self._late_since_ns
        return since_ns is not None and self._seen_ns - since_ns >= FOR_NS and now - self._seen_ns < UNSEEN_NS

    def look(
        self, keys: Iterable[InstrumentKey], feed_quote: Callable[[InstrumentKey], Quote | None], now: int, utc_ns: int
    ) -> None:
        """Note the trades that have come since the last look. `now` monotonic, `utc_ns` the wall clock of the same moment."""
        wall_ns = utc_ns - now
        if self._wall_ns is not None and abs(wall_ns - self._wall_ns) > CLOCK_STEP_NS:
            # The clock was set: delays before and after cannot be compared (fault F24).
            self._least.clear()
            self._late_since_ns = None
        self._wall_ns = wall_ns
        delays = [
            quote.received_ns + wall_ns - quote.exchange_time * NS_PER_S
            for key in keys
            if (quote := feed_quote(key)) is not None and quote.exchange_time is not None and self._is_news(quote)
        ]
        if delays:
            self._note(min(delays), now)

    def _is_news(self, quote: Quote) -> bool:
        known, time = self._trades.get(quote.key), quote.exchange_time or 0
        if known is not None and time <= known:
            return False
        self._trades[quote.key] = time
        # The first packet may tell of a trade of hours ago.
        return known is not None

    def _note(self, delay_ns: int, now: int) -> None:
        least = self._least
        while least and least[-1][1] >= delay_ns:
            least.pop()
        least.append((now, delay_ns))
        while now - least[0][0] > WINDOW_NS:
            least.popleft()
        self._seen_ns = now
        self.lag_ns = delay_ns - least[0][1]
        if self.lag_ns <= LATE_NS:
            self._late_since_ns = None
        elif self._late_since_ns is None:
            self._late_since_ns = now
