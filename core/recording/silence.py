"""Which prices of a recording are too old to be believed, where nobody has recorded that they were doubted.

As `design/exit_rules.md` 1 has it: a quiet instrument on a connection that delivers is believed, one whose connection is silent
is not. Price rows of other sources have no connections: each instrument counts for itself there.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.instrument import InstrumentKey
    from core.position_cache_manager import PositionCacheManager
    from core.recording.frames import Frames

_NEVER: Final = 2**62


class InstrumentSilence:
    """Each instrument by its own newest quote."""

    def __init__(self, cache: PositionCacheManager, stale_after_ns: int) -> None:
        self._cache = cache
        self._limit_ns = stale_after_ns
        self._look_ns = 0

    def silent(self, at_ns: int) -> tuple[InstrumentKey, ...]:
        """Instruments that have just become too old; each is named once until a new quote comes."""
        if at_ns < self._look_ns:
            return ()
        found: list[InstrumentKey] = []
        oldest = _NEVER
        for key in tuple(self._cache.keys()):
            slot = self._cache.slot_of(key)
            if slot is None or slot.quote is None or slot.is_doubted:
                continue
            if at_ns - slot.quote.received_ns > self._limit_ns:
                found.append(key)
            else:
                oldest = min(oldest, slot.quote.received_ns)
        # Whoever is the oldest now is the first that can become too old; new instruments are younger than that.
        self._look_ns = at_ns + 1 if oldest == _NEVER else oldest + self._limit_ns + 1
        return tuple(found)

    def take(self, frames: Frames) -> None:
        """Nothing to learn: the quotes say it."""

    def carries(self, line: int, added: Iterable[InstrumentKey], removed: Iterable[InstrumentKey]) -> None:
        """Nothing to learn: the quotes say it."""


class LineSilence:
    """Every instrument by the newest frame of the connection that carries it."""

    def __init__(self, cache: PositionCacheManager, stale_after_ns: int) -> None:
        self._cache = cache
        self._limit_ns = stale_after_ns
        self._keys: dict[int, dict[InstrumentKey, None]] = {}
        self._last: dict[int, int] = {}
        self._coming: dict[int, list[int]] = {}
        self._silent: set[int] = set()

    def carries(self, line: int, added: Iterable[InstrumentKey], removed: Iterable[InstrumentKey]) -> None:
        keys = self._keys.setdefault(line, {})
        keys.update(dict.fromkeys(added))
        for key in removed:
            keys.pop(key, None)

    def take(self, frames: Frames) -> None:
        """The frames that are played next."""
        self._last.update({line: times[-1] for line, times in self._coming.items()})
        self._coming = {int(line): frames.at_ns[frames.line == line].tolist() for line in np.unique(frames.line)}

    def silent(self, at_ns: int) -> tuple[InstrumentKey, ...]:
        """Instruments whose connection has just been silent for too long."""
        found: list[InstrumentKey] = []
        for line, keys in self._keys.items():
            last_ns = self._last_of(line, at_ns)
            is_silent = last_ns is not None and at_ns - last_ns > self._limit_ns
            if is_silent and line not in self._silent:
                found.extend(keys)
            (self._silent.add if is_silent else self._silent.discard)(line)
        return tuple(key for key in found if self._cache.slot_of(key) is not None)

    def _last_of(self, line: int, at_ns: int) -> int | None:
        times = self._coming.get(line, ())
        number = bisect_right(times, at_ns)
        return times[number - 1] if number else self._last.get(line)


class NoSilence:
    """Of a recording whose monitor has told what it doubted: that is replayed instead."""

    def silent(self, at_ns: int) -> tuple[InstrumentKey, ...]:  # noqa: ARG002
        return ()

    def take(self, frames: Frames) -> None:
        """Nothing to learn."""

    def carries(self, line: int, added: Iterable[InstrumentKey], removed: Iterable[InstrumentKey]) -> None:
        """Nothing to learn."""
