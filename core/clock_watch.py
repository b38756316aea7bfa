"""Whether the clocks can be believed: steps of the wall clock, and sleep that the monotonic clock may not have seen.

Pure. Every duration of this program is measured by the monotonic clock; the wall clock says only which session it is. When it
has jumped, two clocks are possible for a while: the new one, and the old one as it would have gone on. What both agree on
is true under either, so a correction by seconds in mid-session stops no stop-loss; where they differ nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.model.commands import Alert, Severity
from core.model.session_time import NS_PER_S, ist_datetime

STEP_NS: Final = 2 * NS_PER_S
LARGE_STEP_NS: Final = 60 * NS_PER_S
SLEEP_NS: Final = 30 * NS_PER_S
UNSURE_NS: Final = 10 * NS_PER_S
"""How long the old clock is still looked at: a wrong time server is corrected by the next answer, and a person has been told."""


@dataclass(frozen=True, slots=True)
class ClockReading:
    """`at_ns` monotonic, `utc_ns` wall clock, `boot_ns` monotonic with the sleep of the machine counted; None: not known."""

    at_ns: int
    utc_ns: int
    boot_ns: int | None = None

    @property
    def lived_ns(self) -> int:
        """The clock that comes nearest to real durations."""
        return self.at_ns if self.boot_ns is None else self.boot_ns


@dataclass(frozen=True, slots=True)
class ClockNews:
    """`slept_ns`: the longest time for which nothing of this program may have run; 0 when it was not long."""

    alerts: tuple[Alert, ...] = ()
    slept_ns: int = 0


_NO_NEWS: Final = ClockNews()


class ClockWatch:
    """Give it every beat; four a second are expected."""

    def __init__(self) -> None:
        self._last: ClockReading | None = None
        self._offset_ns = 0
        self._old_offset_ns = 0
        self._unsure_until_ns: int | None = None

    def beat(self, reading: ClockReading) -> ClockNews:
        """Compare with what was read before. A step is told once, whatever its size in beats."""
        last, self._last = self._last, reading
        offset_ns = reading.utc_ns - reading.lived_ns
        if last is None:
            self._offset_ns = offset_ns
            return _NO_NEWS
        if self._unsure_until_ns is not None and reading.at_ns >= self._unsure_until_ns:
            self._unsure_until_ns = None
        # Against the offset that was believed, not the last beat's: several small steps are a step too.
        step_ns = offset_ns - self._offset_ns
        gap_ns = max(reading.at_ns - last.at_ns, reading.lived_ns - last.lived_ns)
        alerts: list[Alert] = []
        if abs(step_ns) > STEP_NS:
            alerts.append(self._take_step(reading, step_ns, offset_ns))
            # A machine that was frozen with all its clocks looks like one that was set forward.
            gap_ns = max(gap_ns, step_ns)
        if gap_ns <= SLEEP_NS:
            return ClockNews(tuple(alerts)) if alerts else _NO_NEWS
        text = f"nothing may have run for {gap_ns / NS_PER_S:.0f} s; no order is sent before positions and orders are read again"
        return ClockNews((*alerts, Alert(Severity.PAGE, "the machine or the program slept", text)), gap_ns)

    def old_utc_ns(self, reading: ClockReading) -> int | None:
        """What the clock would say without its last step; None while it is believed as it is."""
        if self._unsure_until_ns is None or reading.at_ns >= self._unsure_until_ns:
            return None
        return reading.lived_ns + self._old_offset_ns

    def gap_ns(self, reading: ClockReading) -> int:
        """Time since the last beat by the clock that counts sleep; 0 before the first."""
        return (
            0 if self._last is None else max(reading.lived_ns - self._last.lived_ns, reading.at_ns - self._last.at_ns)
        )

    def _take_step(self, reading: ClockReading, step_ns: int, offset_ns: int) -> Alert:
        if self._unsure_until_ns is None:
            # The oldest clock stays the witness when one step follows another.
            self._old_offset_ns = self._offset_ns
        self._offset_ns = offset_ns
        self._unsure_until_ns = reading.at_ns + UNSURE_NS
        new = ist_datetime(reading.utc_ns)
        old = ist_datetime(reading.lived_ns + self._old_offset_ns)
        way = "forward" if step_ns > 0 else "back"
        text = (
            f"by {abs(step_ns) / NS_PER_S:.1f} s, from {old:%H:%M:%S} to {new:%H:%M:%S} IST; in {UNSURE_NS // NS_PER_S} s sessions "
            "and time rules go by the new time. If it is wrong, correct it now"
        )
        severity = Severity.PAGE if abs(step_ns) >= LARGE_STEP_NS else Severity.WARNING
        return Alert(severity, f"the clock was set {way}", text)
