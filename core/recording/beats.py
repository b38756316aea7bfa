"""When the clock is told in a replay of which nobody has recorded it: as the running monitor would have told it.

Four times a second, on whole quarters of a second of UTC; once a second, on whole seconds, while nothing comes for longer: no
rule of the clock is finer. Deadlines of the engine are another matter, none of them is passed over.
"""

from __future__ import annotations

from typing import Final

from core.model.session_time import NS_PER_MS, NS_PER_S

BEAT_NS: Final = NS_PER_S // 4
SLOW_BEAT_NS: Final = NS_PER_S
"""As long as the engine may go without the time before it believes that the program stood still."""
_QUIET_NS: Final = 2 * NS_PER_S
_DRIFT_NS: Final = 20 * NS_PER_MS


class BeatGrid:
    """`offset_ns` is UTC minus monotonic; it may drift a little, and jumps when somebody sets the clock."""

    def __init__(self) -> None:
        self._anchor_ns: int | None = None

    def align(self, offset_ns: int) -> None:
        anchor = -offset_ns % NS_PER_S
        if self._anchor_ns is None or _apart(anchor, self._anchor_ns) > _DRIFT_NS:
            self._anchor_ns = anchor

    def after(self, told_ns: int, coming_ns: int) -> int:
        """The first beat after `told_ns`; nothing comes before `coming_ns`."""
        step = SLOW_BEAT_NS if coming_ns - told_ns > _QUIET_NS else BEAT_NS
        return told_ns - (told_ns - (self._anchor_ns or 0)) % step + step


def _apart(one_ns: int, other_ns: int) -> int:
    """On the circle of one second."""
    apart = (one_ns - other_ns) % NS_PER_S
    return min(apart, NS_PER_S - apart)
