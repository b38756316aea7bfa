"""How long to wait before the rows are read again: changes that come alone at once, a storm of them a fifth of the time."""

from __future__ import annotations

from typing import Final

_REST_PER_READ: Final = 4
"""Rest that a read owes, in times its own work: it may take a fifth of the time in the long run."""
_CREDIT_NS: Final = 1_000_000_000
"""Rest that may be owed before one has to be taken. A small book is read in some 50 ms: five changes in a row wait for nothing."""
_LONGEST_NS: Final = 1_000_000_000


class ReadingPace:
    """Times are monotonic nanoseconds."""

    def __init__(self) -> None:
        self._owed_ns = 0
        self._at_ns = 0

    def pause_ns(self, worked_ns: int, ended_ns: int) -> int:
        """The pause that is due after a read that took `worked_ns` of our own time; what is noticed during it is read together."""
        idle_ns = max(0, ended_ns - self._at_ns - worked_ns)
        owed_ns = max(0, self._owed_ns - idle_ns) + _REST_PER_READ * worked_ns
        pause_ns = min(max(0, owed_ns - _CREDIT_NS), _LONGEST_NS)
        # What is too much to be taken is forgiven: a slow store must not silence the rows for minutes.
        self._owed_ns = min(owed_ns, _CREDIT_NS + pause_ns)
        self._at_ns = ended_ns
        return pause_ns
