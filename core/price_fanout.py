"""Hands prices to everything that may read them late: to each its own box, with the newest quote of each instrument.

The exit path is not in here: the engine is called before, and directly. `offer` is the one function of this on the tick
path: one dict store per box. A consumer that is slow, or that waits for minutes, finds the newest quotes when it comes back;
what it missed is counted and costs nothing. What this cannot mend: a consumer that blocks the event loop itself (a sleep that is
not awaited, a computation of seconds) stops the whole program, as any such call does. Consumers work in slices and yield between.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from core.model.errors import BugError
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.clock import Clock
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote

_BEAT_S: Final = 0.05
_HALF_BEAT_NS: Final = int(_BEAT_S * NS_PER_S) // 2


class Rank(IntEnum):
    """Who goes first when several are due at once: the smaller."""

    PROFIT = 0
    DISPLAY = 1
    CACHE = 2
    RECORDING = 3


@dataclass(frozen=True, slots=True)
class BoxCounts:
    """What became of the quotes that were offered to one box. All times in ns.

    `delivered`: handed to the consumer. `conflated`: replaced by a newer one of the same instrument before that. `waiting`: still
    in the box. `waited_ns`: for how long the consumer has left the box alone although something came in (0 when it is empty).
    `lag_ns` and `lag_max_ns`: the same, at the last and at the worst time that it came.
    """

    name: str
    rank: Rank
    delivered: int
    conflated: int
    waiting: int
    waited_ns: int
    lag_ns: int
    lag_max_ns: int


class Box:
    """The newest quote of each instrument, until its one consumer takes them. Made by `PriceFanout.add`."""

    __slots__ = (
        "_delivered",
        "_due_ns",
        "_every_ns",
        "_lag_max_ns",
        "_lag_ns",
        "_offered_before",
        "_turn",
        "name",
        "rank",
        "since_ns",
        "waiting",
    )

    def __init__(self, name: str, rank: Rank, every_s: float, offered_before: int) -> None:
        self.name = name
        self.rank = rank
        self.waiting: dict[InstrumentKey, Quote] = {}
        self.since_ns = 0
        """Receipt (monotonic) of the first quote that came after the last `take`."""
        self._every_ns = int(every_s * NS_PER_S)
        self._due_ns = 0
        self._turn: asyncio.Future[None] | None = None
        self._offered_before = offered_before
        self._delivered = 0
        self._lag_ns = 0
        self._lag_max_ns = 0

    async def turn(self) -> None:
        """Wait until the consumer is due: every `every_s`, whether there is anything to take or not."""
        if self._turn is not None:
            raise BugError(f"expected one consumer of the price box {self.name!r}, a second one waits")
        self._turn = asyncio.get_running_loop().create_future()
        try:
            await self._turn
        finally:
            self._turn = None

    def take(self, now_ns: int) -> dict[InstrumentKey, Quote]:
        """Everything that waits, and an empty box. The dict is the caller's."""
        taken = self.waiting
        if taken:
            self.waiting = {}
            self._delivered += len(taken)
            self._lag_ns = max(0, now_ns - self.since_ns)
            self._lag_max_ns = max(self._lag_max_ns, self._lag_ns)
        return taken

    def wake(self, now_ns: int) -> None:
        """Let the consumer go on when it waits for its turn and is due."""
        if self._turn is not None and not self._turn.done() and now_ns >= self._due_ns:
            # Half a beat early: a beat that comes a moment too soon must not cost a whole one.
            self._due_ns = now_ns + self._every_ns - _HALF_BEAT_NS
            self._turn.set_result(None)

    def counts(self, offered: int, now_ns: int) -> BoxCounts:
        """`offered`: all that the fan-out was ever offered."""
        waiting = len(self.waiting)
        return BoxCounts(
            name=self.name,
            rank=self.rank,
            delivered=self._delivered,
            conflated=offered - self._offered_before - self._delivered - waiting,
            waiting=waiting,
            waited_ns=max(0, now_ns - self.since_ns) if waiting else 0,
            lag_ns=self._lag_ns,
            lag_max_ns=self._lag_max_ns,
        )


class PriceFanout:
    """Every box sees every quote. `run` tells the consumers their turns, those of the smaller rank first; each has its own task.

    Without a box there is nothing to offer to: whoever joins the parts leaves `offer` out then (`is_used`).
    """

    def __init__(self, clock: Clock, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._boxes: tuple[Box, ...] = ()
        self.offered = 0

    @property
    def is_used(self) -> bool:
        return bool(self._boxes)

    def add(self, name: str, rank: Rank, every_s: float) -> Box:
        """A new box, whose consumer gets its turn every `every_s` seconds, to the next 0.05 s."""
        if any(box.name == name for box in self._boxes):
            raise BugError(f"expected one price box of the name {name!r}, this is the second")
        box = Box(name, rank, every_s, self.offered)
        self._boxes = tuple(sorted((*self._boxes, box), key=lambda each: each.rank))
        return box

    def offer(self, quote: Quote) -> None:
        """The tick path. Nothing is copied, nobody is woken."""
        self.offered += 1
        for box in self._boxes:
            waiting = box.waiting
            if not waiting:
                box.since_ns = quote.received_ns
            waiting[quote.key] = quote

    async def run(self) -> None:
        """A task that ends only by being cancelled."""
        while True:
            await self._sleep(_BEAT_S)
            self.beat()

    def beat(self) -> None:
        """Wake the consumers that are due. The loop runs them in this order."""
        now = self._clock.monotonic_ns()
        for box in self._boxes:
            box.wake(now)

    def counts(self) -> tuple[BoxCounts, ...]:
        now = self._clock.monotonic_ns()
        return tuple(box.counts(self.offered, now) for box in self._boxes)
