"""Takes what is to be recorded on the event loop and hands it to a thread that writes. Nobody here waits for a disk.

`frame` is on the tick path: an append to a list in memory. When more than `most_waiting_bytes` wait, frames are dropped and
counted until half of that is written, and the recording says so where it happened (`Gap`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from core.model.commands import Alert, Severity
from core.model.errors import BugError
from core.recording.facts import Gap
from core.recording.file_format import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.clock import Clock
    from core.model.events import TimePassed
    from core.model.instrument import InstrumentKey
    from core.recording.facts import Fact

Taken: TypeAlias = "tuple[Kind, int, int, bytes | Fact | TimePassed]"
"""Kind, line, monotonic ns, and the message or the fact, which is put into text by the thread."""

ENTRY_BYTES: Final = 200
"""What one entry costs in memory beside the bytes of its message."""
_FRAME: Final = Kind.FRAME
"""Enum members cost a slow look-up on their class."""
_LOOK_EVERY_S: Final = 1.0
_FACT_ROOM: Final = 2
"""Facts are few, and a recording without one is worth little: they are dropped only at this multiple of the limit."""


@dataclass(slots=True)
class RecorderCounts:
    """`dropped`: frames and other facts that are not in the recording. `bytes_written` as stored, by the writer's thread."""

    frames: int = 0
    facts: int = 0
    dropped: int = 0
    gaps: int = 0
    bytes_written: int = 0
    parts: int = 0


@dataclass(slots=True)
class Queue:
    """Between the loop, which appends, and the writer's thread, which takes. Each number has one writer.

    `problem`: what keeps the thread from writing, "" when nothing does. `wants_state`: a file was begun, and what holds by
    now is to be put into it.
    """

    waiting: deque[Taken] = field(default_factory=deque)
    put_bytes: int = 0
    taken_bytes: int = 0
    problem: str = ""
    wants_state: bool = False
    instruments: tuple[InstrumentKey, ...] = ()


class Recorder:
    """One owner on one event loop. `state` gives the facts that hold already when a file is begun (`Kind.STATE`)."""

    def __init__(self, clock: Clock, most_waiting_bytes: int = 64 << 20) -> None:
        self.queue = Queue()
        self.counts = RecorderCounts()
        self.state: Callable[[], Iterable[Fact]] = tuple
        self._clock = clock
        self._most = most_waiting_bytes
        self._gap: list[int] | None = None
        self._told_problem = ""
        self._told_dropped = 0

    def now(self) -> int:
        return self._clock.monotonic_ns()

    def frame(self, line: int, at_ns: int, message: bytes) -> None:
        """One message as a connection brought it. Never blocks, never raises."""
        queue = self.queue
        size = len(message) + ENTRY_BYTES
        is_late = self._gap is not None and not self._end_gap(at_ns)
        if is_late or queue.put_bytes - queue.taken_bytes + size > self._most:
            self._drop(at_ns, is_frame=True)
        else:
            queue.put_bytes += size
            queue.waiting.append((_FRAME, line, at_ns, message))
            self.counts.frames += 1

    def fact(self, at_ns: int, fact: Fact, kind: Kind = Kind.FACT) -> None:
        queue = self.queue
        if self._gap is not None:
            self._end_gap(at_ns)
        if queue.put_bytes - queue.taken_bytes > _FACT_ROOM * self._most:
            self._drop(at_ns, is_frame=False)
            return
        queue.put_bytes += ENTRY_BYTES
        queue.waiting.append((kind, 0, at_ns, fact))
        self.counts.facts += 1

    def time(self, told: TimePassed) -> None:
        self.fact(told.at_ns, told, Kind.TIME)

    def put_state(self) -> None:
        """What holds by now, for whoever begins to read at the newest file."""
        self.queue.wants_state = False
        now = self.now()
        for fact in self.state():
            self.fact(now, fact, Kind.STATE)

    async def watch(self, say: Callable[[Alert], None]) -> None:
        """A task that ends only by being cancelled: tells what goes wrong on the disk, and what was lost."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self.look(say)

    def look(self, say: Callable[[Alert], None]) -> None:
        if self.queue.wants_state:
            self.put_state()
        problem = self.queue.problem
        if problem and problem != self._told_problem:
            say(Alert(Severity.WARNING, "the feed is not being recorded", f"{problem}; nothing else is affected"))
        elif self._told_problem and not problem:
            say(Alert(Severity.INFO, "the feed is being recorded again", ""))
        self._told_problem = problem
        dropped = self.counts.dropped - self._told_dropped
        if dropped and self._gap is None:
            self._told_dropped = self.counts.dropped
            say(Alert(Severity.WARNING, "a gap in the recording", f"{dropped} frames could not be written in time"))

    def _drop(self, at_ns: int, *, is_frame: bool) -> None:
        self.counts.dropped += 1
        if self._gap is None:
            self._gap = [0, 0, at_ns, at_ns]
            self.counts.gaps += 1
        self._gap[0 if is_frame else 1] += 1
        self._gap[3] = at_ns

    def _end_gap(self, at_ns: int) -> bool:
        """True when there is room again; the gap is then told where it was."""
        queue = self.queue
        if queue.put_bytes - queue.taken_bytes > self._most // 2:
            return False
        if self._gap is None:
            raise BugError("expected a gap to end, there is none")
        frames, facts, from_ns, to_ns = self._gap
        self._gap = None
        self.fact(at_ns, Gap(frames, facts, from_ns, to_ns))
        return True
