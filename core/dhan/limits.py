"""Dhan's rate limits and a rolling-window budget (dhan_v2_protocol 6).

How Dhan counts its windows is not known, so these roll: no window of that length, wherever it starts, holds more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.model.errors import BugError
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `calls` in any `span_ns` nanoseconds."""

    calls: int
    span_ns: int


SECOND_NS: Final = NS_PER_S
MINUTE_NS: Final = 60 * NS_PER_S
HOUR_NS: Final = 3600 * NS_PER_S
DAY_NS: Final = 24 * HOUR_NS

ORDER_LIMITS: Final = (
    RateLimit(8, SECOND_NS),
    RateLimit(250, MINUTE_NS),
    RateLimit(1000, HOUR_NS),
    RateLimit(7000, DAY_NS),
)
"""Place, modify and cancel together. Dhan and the regulator allow 10 a second; two are kept for the operator's own."""
QUOTE_LIMITS: Final = (RateLimit(1, SECOND_NS),)
"""/marketfeed/ltp, /ohlc and /quote together."""
READ_LIMITS: Final = (RateLimit(20, SECOND_NS),)
DATA_LIMITS: Final = (RateLimit(5, SECOND_NS), RateLimit(100_000, DAY_NS))
MAX_MODIFICATIONS: Final = 25
"""Of one order."""


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
