"""Counts for tests: who was connected, what was sent, when quotes were asked for. Nothing here is done per packet."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from core.paper.feed_connection import FeedConnection
    from core.paper.wall_clock import WallClock

ENDED_KEPT: Final = 10_000
QUOTE_REQUESTS_KEPT: Final = 100_000


@dataclass(slots=True)
class ConnectionFacts:
    """One feed connection. Times are UTC ns; `subscribed` and `packets` are those at the end once it has ended."""

    number: int
    opened_at_ns: int
    connection: FeedConnection | None
    closed_at_ns: int | None = None
    ended_by: str | None = None
    subscribed: int = 0
    packets: int = 0
    pings: int = 0

    def shown(self) -> dict[str, object]:
        if self.connection is not None:
            self._take(self.connection)
        return {
            "number": self.number,
            "opened_at_ns": self.opened_at_ns,
            "closed_at_ns": self.closed_at_ns,
            "ended_by": self.ended_by,
            "subscribed": self.subscribed,
            "packets": self.packets,
            "pings": self.pings,
        }

    def close(self, at_ns: int, end: str) -> None:
        if self.connection is not None:
            self._take(self.connection)
            self.connection, self.closed_at_ns, self.ended_by = None, at_ns, end

    def _take(self, connection: FeedConnection) -> None:
        self.subscribed = len(connection.modes)
        self.packets = connection.packets_sent
        self.pings = connection.pings_sent


class Statistics:
    """`/control/statistics`. Memory is bounded: the newest connections and quote requests are kept, all are counted."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._live: dict[int, ConnectionFacts] = {}
        self._ended: deque[ConnectionFacts] = deque(maxlen=ENDED_KEPT)
        self._feed_refused: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()
        self._opened = 0
        self._packets_ended = 0
        self._requests: Counter[str] = Counter()
        self._quotes: deque[tuple[int, str, int, int]] = deque(maxlen=QUOTE_REQUESTS_KEPT)

    def feed_opened(self, connection: FeedConnection) -> None:
        self._opened += 1
        self._live[connection.number] = ConnectionFacts(connection.number, self._clock.utc_ns(), connection)

    def feed_closed(self, connection: FeedConnection, end: str) -> None:
        """Only the first end of a connection counts."""
        facts = self._live.pop(connection.number, None)
        if facts is None:
            return
        facts.close(self._clock.utc_ns(), end)
        self._packets_ended += facts.packets
        self._ends[end] += 1
        self._ended.append(facts)

    def feed_refused(self, reason: int | str) -> None:
        """`reason`: an HTTP status, a code-50 code, "reset" after the upgrade or "handshake" before it."""
        self._feed_refused[str(reason)] += 1

    def answered(self, method: str, path: str, status: int, instruments: int | None) -> None:
        """One REST request. `instruments` is None for all but quote requests."""
        # Ids in a path would make a counter of their own for each order.
        self._requests[f"{method} {'/'.join(path.split('/')[:3])} {status}"[:80]] += 1
        if instruments is not None:
            self._quotes.append((self._clock.utc_ns(), path, status, instruments))

    def shown(self, since_ns: int = 0) -> dict[str, object]:
        """Everything as JSON values. Quote requests only from `since_ns` on."""
        live = [facts.shown() for facts in self._live.values()]
        return {
            "at_ns": self._clock.utc_ns(),
            "feed": {
                "opened": self._opened,
                "refused": dict(self._feed_refused),
                "ended": dict(self._ends),
                "packets": self._packets_ended + sum(facts.packets for facts in self._live.values()),
                "live": live,
                "closed": [facts.shown() for facts in self._ended],
            },
            "requests": dict(self._requests),
            "quote_requests": [
                {"at_ns": at_ns, "path": path, "status": status, "instruments": count}
                for at_ns, path, status, count in self._quotes
                if at_ns >= since_ns
            ],
        }
