"""Packets that leave late: how late, and in which order."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

SHORTEST_S: Final = 0.001


class LagCurve:
    """Draws a lag from (probability, seconds) points, with the logarithm of the seconds linear between them.

    A new lag is drawn every `redraw_s` and holds for what is sent until the next draw. The order is kept: what follows
    a long lag waits behind it, so the lag seen is at least the one drawn. dhan_v2_protocol 2.7 saw p50 1.4 s, p99 46 s,
    at most 198 s on a bad day.
    """

    def __init__(self, points: tuple[tuple[float, float], ...], redraw_s: float, random: Random) -> None:
        self._points = points
        self._redraw_s = redraw_s
        self._random = random
        self._drawn_at = -math.inf
        self._lag_s = 0.0

    def at(self, now_s: float) -> float:
        """The lag of a packet sent now, in seconds."""
        if now_s - self._drawn_at >= self._redraw_s:
            self._drawn_at = now_s
            self._lag_s = self.quantile(self._random.random())
        return self._lag_s

    def quantile(self, probability: float) -> float:
        n = bisect_right([p for p, _ in self._points], probability)
        if n == 0:
            return self._points[0][1]
        if n == len(self._points):
            return self._points[-1][1]
        (low, low_s), (high, high_s) = self._points[n - 1], self._points[n]
        share = (probability - low) / (high - low)
        return math.exp((1 - share) * math.log(max(low_s, SHORTEST_S)) + share * math.log(max(high_s, SHORTEST_S)))


class LateFrames:
    """One connection's frames that wait for their time. `write` takes them in the order of `put`."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self._frames: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frames: bytes, lag_s: float) -> None:
        due = self._loop.time() + lag_s
        self._frames.append((due, frames))  # What is due earlier than its predecessor waits behind it.
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._release)

    def hurry(self) -> None:
        """Write all that waits, now."""
        self._write(b"".join(frames for _, frames in self._frames))
        self.drop()

    def drop(self) -> None:
        self._frames.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        self._timer = None
        now = self._loop.time()
        due: list[bytes] = []
        while self._frames and self._frames[0][0] <= now:
            due.append(self._frames.popleft()[1])
        if due:
            self._write(b"".join(due))
        if self._frames:
            self._timer = self._loop.call_at(self._frames[0][0], self._release)
