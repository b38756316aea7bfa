# ruff: noqa: E402  imports follow the line that makes them possible
"""Records what the market feed delivers: raw frames with their times of receipt, for data_scripts/replay_session.py.

    python data_scripts/record_feed.py [--dir FOLDER] [--instruments SEG:ID,...] [--positions ID,...] [--duration SECONDS]

Uses the settings of the monitor (.env and environment). Without --instruments it records the legs of the open positions and what is
behind them, as the monitor subscribes to them, and the positions with their levels; changed rows are looked for every 5 s.
FOLDER is RECORD_DIR, else logs/recordings. Files end at the full hour and at 512 MiB; only you can read them, no token is in them.

It opens connections of its own, of which Dhan allows an account five. It never makes a token: where the monitor mints one, let the
monitor itself record (RECORD_DIR in .env). Ctrl-C or SIGTERM ends it cleanly. Exit code: 0 recorded, 2 settings or
options, 4 refused, or nothing was recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # Run as a file, Python looks for modules in this folder only.
    sys.path.insert(0, str(ROOT))

from core.clock import SystemClock
from core.exit_codes import ExitCode, code_of, only_error, sentences
from core.feed_settings import INDEX_CANARIES, FeedAccess, FeedSettings
from core.market_calendar import TABLE, AlwaysOpen, load_calendar
from core.model.errors import ConfigurationError, DecodeError, MonitorError, StoreError, TransportError
from core.model.events import FeedStateChanged
from core.model.instrument import Segment
from core.options import VERSION
from core.price_cache import PriceCache
from core.recording.live import FeedRecording
from core.recording.recorded_book import RecordedBook
from core.settings import ENV_FILE, MarketHours, load_settings, validate_account
from core.settings_sources import TokenSource
from core.websocket_manager import WebSocketManager
from data_scripts.preflight_probe import silence_libraries
from data_scripts.script_options import OptionParser, instrument_keys, seconds, strategy_ids

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from core.market_calendar import SessionCalendar
    from core.model.commands import Alert
    from core.model.instrument import InstrumentKey
    from core.recording.facts import Fact
    from core.settings import Settings

FOLDER: Final = ROOT / "logs" / "recordings"
READ_EVERY_S: Final = 5.0
TELL_EVERY_S: Final = 60.0
_BEAT_S: Final = 1.0


class FeedRecorder:
    """One run. `keys` None: those of the open positions."""

    def __init__(
        self, settings: Settings, folder: Path, keys: Sequence[InstrumentKey] | None, only: frozenset[int] | None
    ) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._keys = keys
        self._book = RecordedBook(settings, self._clock, only) if keys is None else None
        self._calendar: SessionCalendar = _calendar(settings)
        self._tokens = TokenSource(os.environ, ENV_FILE)
        self._token = "" if settings.dhan_access_token is None else settings.dhan_access_token.get_secret_value()
        is_always_open = settings.market_hours is MarketHours.ALWAYS
        self.recording = FeedRecording(folder, "record_feed", VERSION, self._clock, is_always_open=is_always_open)
        self.recording.more_state = self._state
        access = FeedAccess(settings.dhan_feed_url, settings.dhan_client_id or "", lambda: self._token)
        self.feed = WebSocketManager(
            access, PriceCache(), _ignore, self._on_state, self._clock,
            settings=FeedSettings(canaries=INDEX_CANARIES, taps=self.recording.taps),
        )  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop`. Raises what the rows or the instrument master raise when they cannot be read at the start."""
        if self._book is not None:
            await self._book.open()
        try:
            await self._read(is_first=True)
            _listen_to_signals(stop)
            self.recording.start()
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(work)
                    for work in (self.feed.run(), self._keep_up(), self._tell(), self.recording.watch(_print_alert))
                ]
                await stop.wait()
                for task in running:
                    task.cancel()
        finally:
            await self.recording.stop()
            if self._book is not None:
                await self._book.close()

    async def _read(self, *, is_first: bool = False) -> None:
        if self._keys is not None:
            self._want(self._keys)
            return
        if self._book is None:
            return
        try:
            facts = await self._book.read()
        except (StoreError, TransportError, DecodeError, ConfigurationError) as error:
            if is_first:
                raise
            print(f"The rows cannot be read, going on with those of before: {error}", file=sys.stderr)
            return
        for fact in facts:
            self.recording.recorder.fact(self._clock.monotonic_ns(), fact)
        if facts or is_first:
            self._want(self._book.keys())

    def _want(self, keys: Sequence[InstrumentKey]) -> None:
        if not keys:
            print("There is no open position: nothing is recorded until there is one.", file=sys.stderr)
        self.recording.recorder.queue.instruments = tuple(keys)
        self.feed.set_wanted(keys)

    async def _keep_up(self) -> None:
        """The session, the token, the rows."""
        read_at = asyncio.get_running_loop().time() + READ_EVERY_S
        while True:
            utc_ns = self._clock.utc_ns()
            is_open = self._calendar.session_open(utc_ns) is not False
            canary_trades = self._calendar.session_open(utc_ns, Segment.IDX_I) is True
            self.feed.market(is_open=is_open, canary_trades=canary_trades)
            found = await asyncio.to_thread(self._tokens.look)
            if found is not None and found.tokens and found.tokens[0] != self._token:
                self._token = found.tokens[0]
                self.feed.token_changed()
            if self._book is not None and asyncio.get_running_loop().time() >= read_at:
                await self._read()
                read_at = asyncio.get_running_loop().time() + READ_EVERY_S
            await asyncio.sleep(_BEAT_S)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            print(self.summary(), file=sys.stderr, flush=True)

    def summary(self) -> str:
        counts, feed = self.recording.recorder.counts, self.feed.status
        lost = f", {counts.dropped} dropped in {counts.gaps} gaps" if counts.dropped else ""
        written = f"{counts.bytes_written / (1 << 20):,.1f} MiB in {counts.parts} files"
        return f"{counts.frames:,} frames of {feed.wanted} instruments{lost}; {written}"

    def why_nothing(self) -> str:
        """Why no message of the feed is in a file, "" when there are some; what of the disk kept the last ones out."""
        counts, problem = self.recording.recorder.counts, self.recording.recorder.queue.problem
        if problem:
            return f"Not everything was recorded: {problem}.\nMake room on the disk, or name another folder with --dir."
        if counts.frames:
            return ""
        if not self.feed.status.wanted:
            why, remedy = "there was no open position", "Open one, or name --instruments."
        elif self._calendar.session_open(self._clock.utc_ns()) is False:
            why, remedy = "the market is closed", "Record while it is open."
        else:
            why = self.feed.status.last_end or "the feed brought no message"
            remedy = "Try it for longer; data_scripts/preflight.py says whether the feed can be reached."
        return f"Nothing was recorded: {why}.\n{remedy}"

    def _state(self) -> Iterator[Fact]:
        yield FeedStateChanged(self.feed.is_live, self._clock.monotonic_ns())
        if self._book is not None:
            yield from self._book.state()

    def _on_state(self, is_live: bool) -> None:  # noqa: FBT001  the feed's callback has one argument
        now = self._clock.monotonic_ns()
        self.recording.recorder.fact(now, FeedStateChanged(is_live, now))
        print("the feed is live" if is_live else f"the feed is away: {self.feed.status.last_end}", file=sys.stderr)


def _listen_to_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(number, stop.set)


def _ignore(_: object) -> None:
    pass


def _print_alert(alert: Alert) -> None:
    print(f"{alert.subject}: {alert.text}", file=sys.stderr, flush=True)


def _calendar(settings: Settings) -> SessionCalendar:
    if settings.market_hours is MarketHours.ALWAYS:
        return AlwaysOpen()
    return load_calendar(settings.market_calendar or TABLE)


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Raises ConfigurationError."""
    found = OptionParser("record_feed.py")
    found.add_argument("--dir", type=Path)
    found.add_argument("--instruments", type=instrument_keys)
    found.add_argument("--positions", type=strategy_ids)
    found.add_argument("--duration", type=seconds)
    given = found.parse_args(arguments)
    if given.instruments is not None and given.positions is not None:
        raise ConfigurationError("--instruments and --positions are both given.", "Name one of the two.")
    return given


async def recorded(given: argparse.Namespace, settings: Settings) -> FeedRecorder:
    """Record until a signal or the end of the duration."""
    stop = asyncio.Event()
    if given.duration is not None:
        asyncio.get_running_loop().call_later(given.duration, stop.set)
    folder = given.dir or settings.record_dir or FOLDER
    recorder = FeedRecorder(settings, folder, given.instruments, given.positions)
    await recorder.run(stop)
    return recorder


def main(arguments: Sequence[str]) -> int:
    if {"--help", "-h"} & set(arguments):
        print(__doc__, file=sys.stderr)
        return ExitCode.CLEAN
    silence_libraries()
    try:
        given = parsed(arguments)
        settings = load_settings(os.environ, ENV_FILE)
        validate_account(settings)
        if settings.dhan_access_token is None:
            raise ConfigurationError(
                "DHAN_ACCESS_TOKEN is not set, and this program makes none.",
                "Put one into .env or the file of DHAN_ACCESS_TOKEN_FILE, or let the monitor record (RECORD_DIR).",
            )
        recorder = asyncio.run(recorded(given, settings))
        print(recorder.summary())
        if why := recorder.why_nothing():
            print(why, file=sys.stderr)
            return ExitCode.REFUSED
    except (MonitorError, ExceptionGroup) as raised:
        error = only_error(raised)
        if code_of(error) is ExitCode.BUG:
            raise
        print(sentences(error), file=sys.stderr)
        return code_of(error)
    except KeyboardInterrupt:
        # Before anything was recorded; later on a signal ends it in order.
        pass
    return ExitCode.CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
