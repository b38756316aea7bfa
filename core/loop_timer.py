"""Tells the engine the time: at every deadline it asks for, and four times a second besides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from core.clock_watch import SLEEP_NS, ClockReading, ClockWatch
from core.model.events import TimePassed
from core.model.instrument import Segment
from core.model.session_time import NS_PER_MS, NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from core.clock import Clock
    from core.market_calendar import SessionCalendar
    from core.model.commands import Alert

BEAT_NS: Final = NS_PER_S // 4
_SHORTEST_NS: Final = NS_PER_S // 1_000
_STANDSTILL_NS: Final = NS_PER_S // 100
"""Pause when telling the time has left a deadline that is already past: a spinning loop would starve the sockets."""


class LoopTimer:
    """One loop timer, moved forward whenever an earlier deadline appears. `tell` gets the TimePassed facts.

    Before the time is told, and only when there is reason:
    - `on_alert` hears of steps of the clock and of sleep;
    - `on_slept` gets for how long (ns) nothing may have run: everything has to be read again;
    - `on_old_prices` gets why, and the monotonic time up to which prices are not of this session: those of the pre-open.

    `boot_ns` is a monotonic clock that counts the sleep of the machine (`core.clock.boot_ns`); without it sleep is seen by the
    other two.
    """

    def __init__(
        self,
        clock: Clock,
        calendar: SessionCalendar,
        next_wake_ns: Callable[[], int | None],
        tell: Callable[[TimePassed], None],
        *,
        boot_ns: Callable[[], int] | None = None,
    ) -> None:
        self._clock = clock
        self._calendar = calendar
        self._next_wake_ns = next_wake_ns
        self._tell = tell
        self._boot_ns = boot_ns
        self._watch = ClockWatch()
        self._handle: asyncio.TimerHandle | None = None
        self._due_ns = 0
        self._last_open: tuple[bool, int] | None = None
        self.on_alert: Callable[[Alert], None] = lambda _: None
        self.on_slept: Callable[[int], None] = lambda _: None
        self.on_old_prices: Callable[[str, int], None] = lambda _, __: None

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
        return self._facts(self._read())

    def is_awake(self) -> bool:
        """False between a sleep and the first beat after it: what is known then is older than it looks."""
        return self._watch.gap_ns(self._read()) <= SLEEP_NS

    def _read(self) -> ClockReading:
        boot_ns = None if self._boot_ns is None else self._boot_ns()
        return ClockReading(self._clock.monotonic_ns(), self._clock.utc_ns(), boot_ns)

    def _facts(self, reading: ClockReading) -> TimePassed:
        """Until a step of the clock is believed: the old time goes on, and of the session only what both clocks say."""
        utc_ns, old_ns = reading.utc_ns, self._watch.old_utc_ns(reading)
        session_open, is_trading_day = self._calendar.session_open(utc_ns), self._trading_day(utc_ns)
        cash_open = self._calendar.session_open(utc_ns, Segment.NSE_EQ)
        if old_ns is not None:
            session_open = _agreed(session_open, self._calendar.session_open(old_ns))
            cash_open = _agreed(cash_open, self._calendar.session_open(old_ns, Segment.NSE_EQ))
            is_trading_day = _agreed(is_trading_day, self._trading_day(old_ns))
            utc_ns = old_ns
        return TimePassed(reading.at_ns, utc_ns, session_open, is_trading_day, cash_open)

    def _trading_day(self, utc_ns: int) -> bool | None:
        day: date = ist_datetime(utc_ns).date()
        return self._calendar.is_trading_day(day)

    def _schedule(self, due_ns: int) -> None:
        delay_ns = max(due_ns - self._clock.monotonic_ns(), _SHORTEST_NS)
        self._due_ns = due_ns
        self._handle = asyncio.get_running_loop().call_later(delay_ns / NS_PER_S, self._beat)

    def _beat(self) -> None:
        self._handle = None
        reading = self._read()
        news = self._watch.beat(reading)
        for alert in news.alerts:
            self.on_alert(alert)
        if news.slept_ns:
            self.on_slept(news.slept_ns)
        now = self._facts(reading)
        self._look_for_opening(now)
        self._tell(now)
        wake = self._next_wake_ns()
        beat = now.at_ns + BEAT_NS
        if wake is not None and wake <= now.at_ns:
            wake = self._clock.monotonic_ns() + _STANDSTILL_NS
        self._schedule(beat if wake is None else min(wake, beat))

    def _look_for_opening(self, now: TimePassed) -> None:
        if now.session_open is None:
            return
        was_open, last_utc_ns = self._last_open or (now.session_open, now.utc_ns)
        self._last_open = (now.session_open, now.utc_ns)
        if now.session_open and not was_open:
            opened_ns = self._opened_utc_ns(last_utc_ns, now.utc_ns)
            # Prices that came after the opening, but before this beat, are the session's own.
            self.on_old_prices("the session has just opened", now.at_ns - (now.utc_ns - opened_ns))

    def _opened_utc_ns(self, closed_ns: int, open_ns: int) -> int:
        """The opening, to the millisecond, between a time known to be closed and one known to be open."""
        if not 0 <= open_ns - closed_ns <= SLEEP_NS:
            # The clock was set, or nothing ran: what came before this beat is old, whenever the opening was.
            return open_ns
        while open_ns - closed_ns > NS_PER_MS:
            middle_ns = (closed_ns + open_ns) // 2
            if self._calendar.session_open(middle_ns):
                open_ns = middle_ns
            else:
                closed_ns = middle_ns
        return open_ns


def _agreed(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001  two words of the calendar
    return one if one is other else None
