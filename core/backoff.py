"""How long to wait before the next attempt: doubling, with full jitter, never giving up."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """Delays in seconds: random between 0 and a bound that doubles from `first_s` to `cap_s`, at least `floor_s`.

    Call `succeeded` only after useful data: a peer that accepts and drops at once must not be hammered.
    """

    def __init__(
        self,
        first_s: float = 0.5,
        cap_s: float = 30.0,
        floor_s: float = 0.05,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._floor_s = floor_s
        self._jitter = jitter
        self.attempts = 0

    def next_delay_s(self) -> float:
        # 2 ** 30 is past every cap; the exponent is bounded so that a long outage cannot overflow.
        bound_s = min(self._cap_s, self._first_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return max(self._floor_s, bound_s * self._jitter())

    def succeeded(self) -> None:
        self.attempts = 0
