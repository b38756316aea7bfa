"""Tells the engine the time: at every deadline it asks for, and four times a second besides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from core.model.events import TimePassed
from core.model.session_time import NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.market_calendar import SessionCalendar

BEAT_NS: Final = NS_PER_S // 4
_SHORTEST_NS: Final = NS_PER_S // 1_000
_STANDSTILL_NS: Final = NS_PER_S // 100
"""Pause when telling the time has left a deadline that is already past: a spinning loop would starve the sockets."""


class LoopTimer:
    """One loop timer, moved forward whenever an earlier deadline appears. `tell` gets the TimePassed facts."""

    def __init__(
        self,
        clock: Clock,
        calendar: SessionCalendar,
        next_wake_ns: Callable[[], int | None],
        tell: Callable[[TimePassed], None],
    ) -> None:
        self._clock = clock
        self._calendar = calendar
        self._next_wake_ns = next_wake_ns
        self._tell = tell
        self._handle: asyncio.TimerHandle | None = None
        self._due_ns = 0

    def start(self) -> None:
        """Tell the time now and go on from there."""
        self._beat()

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def rearm(self) -> None:
        """Look whether the engine's next deadline is earlier than the timer. Does nothing before `start`."""
        wake = self._next_wake_ns()
        if self._handle is not None and wake is not None and wake < self._due_ns:
            self._handle.cancel()
            self._schedule(wake)

    def now(self) -> TimePassed:
        utc_ns = self._clock.utc_ns()
        return TimePassed(
            at_ns=self._clock.monotonic_ns(),
            utc_ns=utc_ns,
            session_open=self._calendar.session_open(utc_ns),
            is_trading_day=self._calendar.is_trading_day(ist_datetime(utc_ns).date()),
        )

    def _schedule(self, due_ns: int) -> None:
        delay_ns = max(due_ns - self._clock.monotonic_ns(), _SHORTEST_NS)
        self._due_ns = due_ns
        self._handle = asyncio.get_running_loop().call_later(delay_ns / NS_PER_S, self._beat)

    def _beat(self) -> None:
        self._handle = None
        now = self.now()
        self._tell(now)
        wake = self._next_wake_ns()
        beat = now.at_ns + BEAT_NS
        if wake is not None and wake <= now.at_ns:
            wake = self._clock.monotonic_ns() + _STANDSTILL_NS
        self._schedule(beat if wake is None else min(wake, beat))
