"""A rolling-window budget for Dhan's rate limits (dhan_v2_protocol 6); the limits stand where they are kept.

How Dhan counts its windows is not known, so these roll: no window of that length, wherever it starts, holds more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.model.errors import BugError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `calls` in any `span_ns` nanoseconds."""

    calls: int
    span_ns: int


class Budget:
    """Calls that may still be made. `now_ns` is monotonic and never goes back."""

    def __init__(self, limits: Iterable[RateLimit]) -> None:
        # A full deque's oldest entry is the call that must leave the window before the next one may enter.
        self._windows = [(limit.span_ns, deque[int](maxlen=limit.calls)) for limit in limits]

    def allows(self, now_ns: int) -> bool:
        return self.next_free_ns(now_ns) <= now_ns

    def next_free_ns(self, now_ns: int) -> int:
        """The earliest time, `now_ns` or later, at which one call fits."""
        free_ns = now_ns
        for span_ns, calls in self._windows:
            if len(calls) == calls.maxlen:
                free_ns = max(free_ns, calls[0] + span_ns)
        return free_ns

    def take(self, now_ns: int) -> None:
        """Count one call made now.

        Raises:
            BugError: the budget does not allow it. Nothing is counted.
        """
        free_ns = self.next_free_ns(now_ns)
        if free_ns > now_ns:
            raise BugError(f"expected a call within the rate limit, received one {free_ns - now_ns} ns too early")
        for _, calls in self._windows:
            calls.append(now_ns)
