"""The one choke point before an order: reduce-only by worst case, and the send budgets (exit protocol 2.5, 2.8)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from core.model.orders import Side


def reducible(side: Side, net: int) -> int:
    """How many units of a signed net an order of this side can close: BUY closes a negative net."""
    return max(-side.sign * net, 0)


def closable_quantity(side: Side, own_remaining: int, broker_net: int, model_net: int, reserved: int) -> int:
    """Units that may still be ordered without any chance of crossing zero.

    `own_remaining` and `reserved` are unsigned units, the nets signed. `reserved` is the unfilled quantity of every live
    or unknown order of this side on the holding, whoever placed it. The smaller of broker and model counts, because the
    broker's report may be older than our fills, and our model blind to other people's.
    """
    return max(min(own_remaining, reducible(side, broker_net), reducible(side, model_net)) - reserved, 0)


@dataclass(slots=True)
class RollingBudget:
    """At most `limit` takes in any `window_ns`."""

    limit: int
    window_ns: int
    taken: deque[int] = field(default_factory=deque)

    def free_at(self, now_ns: int) -> int:
        """The earliest time (monotonic ns) at which the next take is allowed; `now_ns` when it is now."""
        while self.taken and self.taken[0] <= now_ns - self.window_ns:
            self.taken.popleft()
        if len(self.taken) < self.limit:
            return now_ns
        return self.taken[-self.limit] + self.window_ns

    def take(self, now_ns: int) -> None:
        self.taken.append(now_ns)


def per_second(limit: int) -> RollingBudget:
    return RollingBudget(limit, NS_PER_S)


def per_minute(limit: int) -> RollingBudget:
    return RollingBudget(limit, 60 * NS_PER_S)
