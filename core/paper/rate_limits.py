"""Token buckets of dhan_v2_protocol section 6. Breaching one is 429 DH-904 without Retry-After."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


class RateClass(StrEnum):
    ORDER = "order"
    DATA = "data"
    QUOTE = "quote"
    NON_TRADING = "non_trading"
    FREE = "free"


LIMITS: Final[dict[RateClass, tuple[tuple[int, int], ...]]] = {
    RateClass.ORDER: ((10, 1), (250, 60), (1_000, 3_600), (7_000, 86_400)),
    RateClass.DATA: ((5, 1), (100_000, 86_400)),
    RateClass.QUOTE: ((1, 1),),
    RateClass.NON_TRADING: ((20, 1),),
    RateClass.FREE: (),
}
"""(requests, in so many seconds) per client id."""


class Bucket:
    def __init__(self, size: int, seconds: int, now_s: float) -> None:
        self._size = size
        self._per_s = size / seconds
        self._tokens = float(size)
        self._at_s = now_s

    def refill(self, now_s: float) -> float:
        self._tokens = min(self._size, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._tokens

    def take(self) -> None:
        self._tokens -= 1


class RateLimits:
    """`now_s` is any monotonic clock in seconds."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._buckets = {name: [Bucket(n, s, now_s()) for n, s in limits] for name, limits in LIMITS.items()}

    def allows(self, name: RateClass) -> bool:
        """Take one request from the class, or say no and take none."""
        now_s = self._now_s()
        buckets = self._buckets[name]
        if any(bucket.refill(now_s) < 1 for bucket in buckets):
            return False
        for bucket in buckets:
            bucket.take()
        return True
