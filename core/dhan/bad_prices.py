"""When unusable prices (NaN, infinite, negative, absurd) cost a feed connection its life (reliability F10). Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from core.model.session_time import NS_PER_S


@dataclass(frozen=True, slots=True)
class BadPricePolicy:
    """More than `most` within `within_ns` call for a new connection.

    One instrument that is wrong for hours must not keep all others from living: the next new connection comes `rest_ns`
    later at the earliest, twice that the time after, up to `most_rest_ns`, which is also how long it takes to forget.
    """

    most: int = 3
    within_ns: int = 10 * NS_PER_S
    rest_ns: int = 60 * NS_PER_S
    most_rest_ns: int = 600 * NS_PER_S


DEFAULT: Final = BadPricePolicy()


class BadPriceWatch:
    """For one connection and those that follow it. Times are monotonic nanoseconds."""

    def __init__(self, policy: BadPricePolicy = DEFAULT) -> None:
        self._policy = policy
        self._seen = 0
        self._at: deque[int] = deque(maxlen=policy.most + 1)
        self._rest_ns = policy.rest_ns
        self._rests_until_ns: int | None = None

    def connected(self) -> None:
        """A new connection: what the last one sent is not held against it."""
        self._at.clear()

    def is_too_many(self, bad_prices: int, now: int) -> bool:
        """Whether to connect anew. `bad_prices`: how many were met since the start. Cheap while there is no new one."""
        new = bad_prices - self._seen
        if not new:
            return False
        self._seen = bad_prices
        policy, at = self._policy, self._at
        at.extend([now] * min(new, policy.most + 1))
        rests_until_ns = self._rests_until_ns
        if len(at) <= policy.most or now - at[0] > policy.within_ns:
            return False
        if rests_until_ns is None or now - rests_until_ns >= policy.most_rest_ns:
            self._rest_ns = policy.rest_ns
        elif now < rests_until_ns:
            return False
        else:
            self._rest_ns = min(self._rest_ns * 2, policy.most_rest_ns)
        self._rests_until_ns = now + self._rest_ns
        return True
