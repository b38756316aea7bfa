"""After a standstill of the program: which quotes may have waited, and be old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from core.model.market import Quote

STANDSTILL_NS: Final = NS_PER_S
"""The clock is told four times a second. A quote that comes this long after the last time was taken in late."""
BACKLOG_NS: Final = 2 * NS_PER_S
"""How long after a standstill what is received may have waited: in our socket, and in the sender's."""


class Backlog:
    """Which quotes may be old although they have just been received (fault F07).

    While the program stands still (stopped, swapped out, blocked), packets wait in the socket's buffer, and they are stamped
    when they are read. Their trade time does not tell: it stays where it is while only the book changes. What does tell is
    that no time was told for `STANDSTILL_NS`. Quotes received from the last time told until `BACKLOG_NS` after the
    standstill are held for suspect, and none of them is a second witness: a stop that they breach fires when the breach has
    stood for the longest wait, so that a dip that is long over never does, or on a quote from after the backlog.

    All times are monotonic. Asked only for positions outside of their band: the other ticks pay nothing for it.
    """

    __slots__ = ("from_ns", "told_ns", "until_ns")

    def __init__(self) -> None:
        self.told_ns: int | None = None
        self.from_ns = self.until_ns = 0

    def note_time(self, at_ns: int) -> None:
        """The clock was told; after a standstill this may be before the first packet is read, or after some were.

        What was received in a backlog that is over is the newest there is, and is believed.
        """
        if self.told_ns is not None and at_ns - self.told_ns > STANDSTILL_NS:
            self.begin(at_ns, at_ns - self.told_ns)
        self.told_ns = at_ns
        if at_ns >= self.until_ns:
            self.from_ns = self.until_ns = 0

    def note_quote(self, received_ns: int) -> None:
        """A quote came that something may fire on: it may notice a standstill before any timer runs."""
        if self.told_ns is not None and received_ns - self.told_ns > STANDSTILL_NS:
            self.begin(received_ns, received_ns - self.told_ns)

    def begin(self, at_ns: int, lasted_ns: int) -> None:
        """A standstill of `lasted_ns` ended at `at_ns`."""
        started_ns = at_ns - lasted_ns
        self.from_ns = min(self.from_ns, started_ns) if self.until_ns else started_ns
        self.until_ns = max(self.until_ns, at_ns + BACKLOG_NS)

    def holds(self, quote: Quote) -> bool:
        return self.from_ns <= quote.received_ns < self.until_ns
