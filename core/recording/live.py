"""The recording of a running program: its parts, joined. Nothing of this is made while nothing is recorded."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from core.model.session_time import ist_datetime
from core.recording.facts import RecordingHeader
from core.recording.part_writer import PartWriter
from core.recording.recorder import Recorder
from core.recording.taps import FeedTaps, RecordedEngine, RecordedPriceCache, recorded_quotes
from core.settings import MarketHours

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from pathlib import Path

    from core.clock import Clock
    from core.model.commands import Alert
    from core.model.journal_records import JournalRecord
    from core.model.market import Quote
    from core.recording.facts import Fact
    from core.settings import Settings


class FeedRecording:
    """What connections deliver, into files in `folder`. `state`: more of what holds already when a file is begun."""

    def __init__(self, folder: Path, source: str, build: str, clock: Clock, *, is_always_open: bool) -> None:
        self.recorder = Recorder(clock)
        self.taps = FeedTaps(self.recorder)
        day = ist_datetime(clock.utc_ns()).date().isoformat()
        header = RecordingHeader(secrets.token_hex(4), 1, day, build, source, is_always_open)
        self.writer = PartWriter(folder, self.recorder, header, clock)
        self.more_state: Callable[[], Iterable[Fact]] = tuple
        self.recorder.state = self._state
        self._is_running = False

    def start(self) -> None:
        self.writer.start()
        self._is_running = True

    async def stop(self) -> None:
        """Write what waits; takes seconds at most, also on a dead disk. Never raises."""
        if self._is_running:
            self._is_running = False
            await asyncio.to_thread(self.writer.stop)

    def watch(self, say: Callable[[Alert], None]) -> Coroutine[None, None, None]:
        """A task that ends only by being cancelled."""
        return self.recorder.watch(say)

    def _state(self) -> Iterator[Fact]:
        yield from self.taps.state()
        yield from self.more_state()


class MonitorRecording(FeedRecording):
    """The same of a monitor: also what its engine is told and decides, so that the day can be replayed with the same book."""

    def __init__(self, folder: Path, build: str, clock: Clock, *, is_always_open: bool) -> None:
        super().__init__(folder, "monitor", build, clock, is_always_open=is_always_open)
        self.price_cache = RecordedPriceCache(self.recorder)
        self._engine: RecordedEngine | None = None

    def engine(self, *arguments: Any, **options: Any) -> RecordedEngine:
        """Made in place of `Engine`, with the same arguments."""
        self._engine = RecordedEngine(*arguments, **options)
        self._engine.recorder = self.recorder
        self.more_state = self._engine.state
        return self._engine

    def rest_quotes(self, on_quote: Callable[[Quote], None]) -> Callable[[Quote], None]:
        """The way of prices that no frame brings."""
        return recorded_quotes(on_quote, self.recorder)

    def start(self, taken_up: Iterable[JournalRecord] = ()) -> None:
        """`taken_up`: what the start restores from the journal."""
        super().start()
        if self._engine is not None:
            self._engine.note_journal(taken_up, self.recorder.now())


def monitor_recording(settings: Settings, build: str, clock: Clock) -> MonitorRecording | None:
    """None while RECORD_DIR is not set."""
    if settings.record_dir is None:
        return None
    is_always_open = settings.market_hours is MarketHours.ALWAYS
    return MonitorRecording(settings.record_dir, build, clock, is_always_open=is_always_open)
