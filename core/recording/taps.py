"""Where a running monitor is listened to: at its connections, at the door of its engine, at its prices over REST.

Nothing of this exists while nothing is recorded. Each of these adds an append to memory and changes no decision.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.exits.engine import Engine
from core.model import events as ev
from core.model.commands import RecordExit, WriteJournal
from core.model.journal_records import DayCounted, ExitFinished, ExitStarted, LimitRecord, LimitReset, LimitTripped
from core.model.signals import Mode
from core.price_cache import PriceCache
from core.recording.facts import (
    TOLD,
    ClosedBefore,
    FeedHeldBack,
    LineState,
    LineWants,
    QuoteTaken,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from core.model.commands import Command
    from core.model.instrument import InstrumentKey
    from core.model.journal_records import JournalRecord
    from core.model.market import Quote
    from core.recording.facts import Fact
    from core.recording.recorder import Recorder


class LineTap:
    """A `feed_settings.FeedTap`: hears one connection of the feed."""

    def __init__(self, recorder: Recorder, line: int) -> None:
        self._recorder = recorder
        self._line = line
        self._wanted: dict[InstrumentKey, None] = {}

    def frame(self, at_ns: int, message: bytes) -> None:
        self._recorder.frame(self._line, at_ns, message)

    def connection(self, at_ns: int, *, is_up: bool, reason: str = "") -> None:
        self._recorder.fact(at_ns, LineState(self._line, is_up, reason))

    def wants(self, at_ns: int, added: Collection[InstrumentKey], removed: Collection[InstrumentKey]) -> None:
        self._wanted.update(dict.fromkeys(added))
        for key in removed:
            self._wanted.pop(key, None)
        self._recorder.fact(at_ns, LineWants(self._line, tuple(added), tuple(removed)))

    def state(self) -> Iterator[Fact]:
        if self._wanted:
            yield LineWants(self._line, tuple(self._wanted))


class FeedTaps:
    """Gives each connection its tap, by number from 1."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._taps: dict[int, LineTap] = {}

    def of_line(self, number: int) -> LineTap:
        return self._taps.setdefault(number, LineTap(self._recorder, number))

    def state(self) -> Iterator[Fact]:
        for tap in self._taps.values():
            yield from tap.state()


class RecordedPriceCache(PriceCache):
    """Notes when feed packets are kept out: a replay must not take them either."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def hold_back(self, key: InstrumentKey, not_before: int, until_ns: int) -> None:
        super().hold_back(key, not_before, until_ns)
        self._recorder.fact(self._recorder.now(), FeedHeldBack(key, not_before, until_ns))

    def release(self, key: InstrumentKey) -> None:
        super().release(key)
        self._recorder.fact(self._recorder.now(), FeedHeldBack(key, 0, 0))


def recorded_quotes(on_quote: Callable[[Quote], None], recorder: Recorder) -> Callable[[Quote], None]:
    """For prices that no frame brings."""

    def both(quote: Quote) -> None:
        recorder.fact(recorder.now(), QuoteTaken(quote))
        on_quote(quote)

    return both


class RecordedEngine(Engine):
    """Keeps what the engine is told and what it decides. `recorder` is set right after it is made."""

    recorder: Recorder

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._told: dict[int, ev.PositionOpened] = {}
        self._started: dict[str, ExitStarted] = {}
        self._over: dict[str, ClosedBefore] = {}
        self._limits: list[LimitRecord] = []

    def note_journal(self, records: Iterable[JournalRecord], at_ns: int) -> None:
        """What is restored at a start: the exits of before that are over, and what is known of the limits."""
        started: dict[str, ExitStarted] = {}
        for record in records:
            if isinstance(record, ExitStarted):
                started[record.exit_id] = record
            elif isinstance(record, ExitFinished) and record.exit_id in started:
                before = ClosedBefore(started[record.exit_id], record)
                self._over[record.exit_id] = before
                self.recorder.fact(at_ns, before)
            elif isinstance(record, LimitTripped | LimitReset | DayCounted):
                self._limits.append(record)
                self.recorder.fact(at_ns, record)

    def on_quote(self, quote: Quote) -> tuple[Command, ...]:
        commands = super().on_quote(quote)
        if commands:
            self._note(commands, quote.received_ns)
        return commands

    def handle(self, event: ev.Event) -> tuple[Command, ...]:
        if isinstance(event, ev.QuoteArrived):
            return self.on_quote(event.quote)
        if isinstance(event, ev.TimePassed):
            self.recorder.time(event)
        elif type(event) in TOLD:
            self.recorder.fact(event.at_ns, event)
            self._remember(event)
        commands = super().handle(event)
        if commands:
            self._note(commands, event.at_ns)
        return commands

    def state(self) -> Iterator[Fact]:
        """What holds by now, for a reader who begins here."""
        at_ns = self.recorder.now()
        yield ev.FeedStateChanged(self.desk.feed_live, at_ns)
        yield from self._over.values()
        yield from self._limits
        for strategy_id, opened in self._told.items():
            memory = self.memory_of(strategy_id)
            yield opened if memory is None else replace(opened, memory=memory)

    def _remember(self, event: ev.Event) -> None:
        if isinstance(event, ev.PositionOpened):
            self._told[event.position.strategy_id] = event
        elif isinstance(event, ev.PositionGone):
            self._told.pop(event.strategy_id, None)

    def _note(self, commands: Sequence[Command], at_ns: int) -> None:
        for command in commands:
            if isinstance(command, WriteJournal):
                self._note_record(command.record, at_ns)
            elif isinstance(command, RecordExit) and command.record.mode is Mode.ALERT:
                # Nothing is carried out, so nothing is journalled: the record is the decision.
                self.recorder.fact(at_ns, ExitFinished(command.record.exit_id, command.record))

    def _note_record(self, record: JournalRecord, at_ns: int) -> None:
        if isinstance(record, ExitStarted):
            self._started[record.exit_id] = record
            self.recorder.fact(at_ns, record)
        elif isinstance(record, ExitFinished):
            self.recorder.fact(at_ns, record)
            started = self._started.pop(record.exit_id, None)
            if started is not None:
                self._over[record.exit_id] = ClosedBefore(started, record)
        elif isinstance(record, LimitTripped | LimitReset | DayCounted):
            # A replay comes to it by itself, unless it begins behind it.
            self._limits.append(record)
