"""When a Redis that failed is tried again: after 0.25 s, then twice as long each time, up to 5 s. Pure."""

from __future__ import annotations

from typing import Final

from core.model.session_time import NS_PER_S

FIRST_NS: Final = NS_PER_S // 4
CAP_NS: Final = 5 * NS_PER_S
STEADY_NS: Final = 5 * NS_PER_S
"""So long it must have worked before a failure counts as a new one: who comes and goes must not be tried four times a second."""


class RedisBreaker:
    """Closed: Redis is used. Open: nobody asks it anything before the next try. All times monotonic, ns."""

    def __init__(self) -> None:
        self.is_open = False
        self._bound_ns = FIRST_NS
        self._opened_ns = 0
        self._retry_ns = 0
        self._closed_ns: int | None = None

    def may_try(self, now_ns: int) -> bool:
        return not self.is_open or now_ns >= self._retry_ns

    def failed(self, now_ns: int, jitter: float) -> bool:
        """Open it, or keep it open; True when it was closed. `jitter`, 0 to 1: the wait is half of the bound to all of it."""
        is_new = not self.is_open
        if is_new:
            self._opened_ns = now_ns
            if self._closed_ns is None or now_ns - self._closed_ns >= STEADY_NS:
                self._bound_ns = FIRST_NS
        self.is_open = True
        self._retry_ns = now_ns + int(self._bound_ns * (0.5 + jitter / 2))
        self._bound_ns = min(2 * self._bound_ns, CAP_NS)
        return is_new

    def worked(self, now_ns: int) -> int | None:
        """Close it; how long it was open (ns), None when it was not."""
        if not self.is_open:
            if self._closed_ns is None:
                self._closed_ns = now_ns
            return None
        self.is_open = False
        self._closed_ns = now_ns
        return now_ns - self._opened_ns
