"""The one choke point before an order: reduce-only by worst case, and the send budgets (exit protocol 2.5, 2.8)."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from core.model.orders import Side


def reducible(side: Side, net: int) -> int:
    """How many units of a signed net an order of this side can close: BUY closes a negative net."""
    return max(-side.sign * net, 0)


def closable_quantity(side: Side, own_free: int, broker_net: int, model_net: int, reserved: int) -> int:
    """Units that may still be ordered without any chance of crossing zero.

    `own_free` and `reserved` are unsigned units, the nets signed. `own_free` is what of the leg is neither filled nor in a
    live order of its own. `reserved` is the unfilled quantity of every live or unknown order of this side on the holding,
    whoever placed it. The smaller of broker and model counts, because the broker's report may be older than our fills,
    and our model blind to other people's.
    """
    held = min(reducible(side, broker_net), reducible(side, model_net))
    return max(min(own_free, held - reserved), 0)


@dataclass(slots=True)
class RollingBudget:
    """At most `limit` takes in any `window_ns`."""

    limit: int
    window_ns: int
    taken: list[int] = field(default_factory=list)

    def free_at(self, now_ns: int, in_flight: int = 0) -> int:
        """The earliest time (monotonic ns) at which the next take is allowed; `now_ns` when it is now.

        `in_flight` takes are under way and their time is not known yet. When they fill the budget alone, the answer is a
        window from now: one of them will be known before.
        """
        self.taken = [at_ns for at_ns in self.taken if at_ns > now_ns - self.window_ns]
        room = self.limit - in_flight
        if room <= 0:
            return now_ns + self.window_ns
        if len(self.taken) < room:
            return now_ns
        return self.taken[-room] + self.window_ns

    def take(self, at_ns: int) -> None:
        """Count one. Takes may become known out of order."""
        insort(self.taken, at_ns)

    def give_back(self, at_ns: int) -> None:
        """Undo a take of `at_ns`, if it still counts: nothing came of it."""
        if at_ns in self.taken:
            self.taken.remove(at_ns)


def per_second(limit: int) -> RollingBudget:
    return RollingBudget(limit, NS_PER_S)


def per_minute(limit: int) -> RollingBudget:
    return RollingBudget(limit, 60 * NS_PER_S)
