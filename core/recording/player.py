"""Plays recordings and price rows into a run, in their order."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from core.dhan.feed_packets import DecodeCounts
from core.model import events as ev
from core.model.journal_records import DayCounted, ExitFinished, ExitStarted, LimitReset, LimitTripped
from core.model.session_time import NS_PER_S, ist_datetime
from core.recording import facts as rec
from core.recording.file_format import Kind, unpack_time
from core.recording.frames import Frames, Wanted, quotes_of, runs_of
from core.recording.replay_result import RecordedDecision

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.model.exit_levels import ExitLevels, Rule
    from core.model.instrument import InstrumentKey
    from core.model.journal_records import LimitRecord
    from core.model.position import Position
    from core.recording.file_format import Block, Record
    from core.recording.price_rows import PriceRows
    from core.recording.reader import Part
    from core.recording.replay_run import ReplayRun


_BEFORE: Final = (rec.ClosedBefore, LimitTripped, LimitReset, DayCounted)
"""What a run takes up from the journal, before everything else."""


@dataclass(slots=True)
class Played:
    """What was played. Times UTC ns. `notes` name what the recording lacks."""

    from_utc_ns: int = 0
    to_utc_ns: int = 0
    packets: int = 0
    notes: list[str] = field(default_factory=list)
    recorded: list[RecordedDecision] = field(default_factory=list)


def play_price_rows(rows: PriceRows, book: Iterable[tuple[Position, ExitLevels]], run: ReplayRun) -> Played:
    """Price rows with positions that are held from the first row on. The clock of the run is UTC."""
    start = rows.quotes[0].received_ns
    run.begin(start, start)
    run.fact(start, ev.FeedStateChanged(is_live=True, at_ns=start))
    for position, levels in book:
        run.fact(start, ev.PositionOpened(position, levels, start))
    run.quotes(rows.quotes)
    end = rows.quotes[-1].received_ns
    # Breaches that began with the last rows are decided by the clock a moment later.
    run.end(end + 2 * NS_PER_S)
    notes = [f"{rows.unlisted} rows are of instruments that the master does not list"] if rows.unlisted else []
    return Played(start, end, len(rows.quotes), notes)


class RecordingPlayer:
    """Our own recordings. `book`: positions to hold from the first record on, in place of those that are in the recording."""

    def __init__(
        self, parts: Sequence[Part], run: ReplayRun, book: Sequence[tuple[Position, ExitLevels]] | None = None
    ) -> None:
        self._parts = parts
        self._run = run
        self._book = book
        self._played = Played()
        self._counts = DecodeCounts()
        self._before: list[rec.ClosedBefore | LimitRecord] = []
        self._state: list[rec.Fact] = []
        self._has_begun = False
        self._is_stopped = False
        self._is_waiting = bool(parts) and parts[0].header.part > 1
        """Of a later file of a run alone, nothing is played before it says what held by then."""
        self._line_of: dict[InstrumentKey, int] = {}
        self._wanted = Wanted((), {})
        self._is_wanted_old = True
        self._started: set[str] = set()
        self._at_ns = 0

    def play(self) -> Played:
        """Raises DecodeError for a fact that this build does not know."""
        known: rec.RecordingHeader | None = None
        for part in self._parts:
            self._note_missing(known, part.header)
            if known is None or part.header.run != known.run:
                self._is_stopped = False
            known = part.header
            for block in part.blocks():
                self._block(block)
            if part.damage:
                self._played.notes.append(f"{part.path.name}: {part.damage}")
        if self._has_begun:
            self._run.end(self._at_ns)
            self._played.to_utc_ns = self._run.utc(self._at_ns)
            self._played.packets = self._counts.packets
        return self._played

    def _note_missing(self, known: rec.RecordingHeader | None, header: rec.RecordingHeader) -> None:
        notes = self._played.notes
        if known is None and header.part > 1:
            notes.append(f"run {header.run} begins with part {header.part}: what was before it is not played")
        elif known is not None and header.run == known.run and header.part != known.part + 1:
            notes.append(f"files are missing between part {known.part} and part {header.part} of run {header.run}")

    def _block(self, block: Block) -> None:
        self._run.set_utc(block.monotonic_ns, block.utc_ns)
        pieces = runs_of(block)
        records = [] if all(isinstance(piece, Frames) for piece in pieces) else list(block.records())
        for piece in pieces:
            if isinstance(piece, Frames):
                self._frames(piece)
            elif records[piece].kind == Kind.TIME:
                self._time(unpack_time(records[piece].at_ns, records[piece].body))
            else:
                self._fact(records[piece])

    def _frames(self, frames: Frames) -> None:
        if self._is_waiting or self._is_stopped:
            return
        self._begin(int(frames.at_ns[0]))
        self._refresh_wanted()
        self._run.plan.silence.take(frames)
        self._run.quotes(quotes_of(frames, self._wanted, self._counts))
        self._at_ns = int(frames.at_ns[-1])
        self._run.pass_time(self._at_ns)

    def _time(self, told: ev.TimePassed) -> None:
        if self._is_waiting or self._is_stopped or not self._run.plan.is_told:
            return
        self._begin(told.at_ns)
        self._at_ns = told.at_ns
        self._run.time(told)

    def _fact(self, record: Record) -> None:
        fact = rec.decode_fact(record.body)
        if record.kind == Kind.STATE:
            if not self._has_begun:
                self._is_waiting = False
                self._state.append(fact)
        elif isinstance(fact, _BEFORE):
            self._before.append(fact)
        elif not (self._is_waiting or self._is_stopped or isinstance(fact, rec.RecordingHeader | rec.RecordingEnded)):
            self._begin(record.at_ns)
            self._at_ns = record.at_ns
            self._take(record.at_ns, fact)

    def _begin(self, at_ns: int) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        self._played.from_utc_ns = self._run.utc(at_ns)
        before = [fact for fact in self._state if isinstance(fact, _BEFORE)]
        self._run.begin(at_ns, self._run.utc(at_ns), (*self._before, *before))
        for position, levels in self._book or ():
            self._run.fact(at_ns, ev.PositionOpened(position, levels, at_ns))
        for fact in self._state:
            if isinstance(fact, ev.PositionOpened | ev.FeedStateChanged):
                self._take(at_ns, replace(fact, at_ns=at_ns))
            elif not isinstance(fact, _BEFORE):
                self._take(at_ns, fact)

    def _take(self, at_ns: int, fact: rec.Fact) -> None:
        match fact:
            case rec.Gap(frames, facts, from_ns, to_ns):
                begun, over = (f"{ist_datetime(self._run.utc(ns)):%H:%M:%S}" for ns in (from_ns, to_ns))
                lost = f"{frames} frames" + (f" and {facts} facts" if facts else "")
                self._played.notes.append(f"{begun} to {over}: {lost} are missing, the disk was too slow")
            case rec.LineWants(line, added, removed):
                self._line_of.update(dict.fromkeys(added, line))
                for key in removed:
                    self._line_of.pop(key, None)
                self._is_wanted_old = True
            case ExitStarted(exit_id, _, signal):
                self._started.add(exit_id)
                self._note_decision(signal.strategy_id, signal.rule, signal.threshold, signal.observed, at_ns)
            case ExitFinished(exit_id, record) if exit_id not in self._started:
                # Alert mode: nothing was carried out, and the record is the decision.
                self._note_decision(record.strategy_id, record.rule, record.threshold, record.observed, at_ns)
            case ev.PositionOpened() | ev.PositionGone() if self._book is not None:
                return
            case ev.StopRequested():
                self._is_stopped = True
            case _:
                pass
        self._run.fact(at_ns, fact)

    def _note_decision(
        self, strategy_id: int, rule: Rule, threshold: int | None, observed: int | None, at_ns: int
    ) -> None:
        only = self._run.plan.only
        if only is None or strategy_id in only:
            decision = RecordedDecision(strategy_id, rule.value, threshold, observed, self._run.utc(at_ns))
            self._played.recorded.append(decision)

    def _refresh_wanted(self) -> None:
        added, removed = self._run.engine.cache.take_key_changes()
        if not (added or removed or self._is_wanted_old):
            return
        self._is_wanted_old = False
        # As the running monitor subscribes: the legs, and what is behind them.
        legs = [leg.instrument for position in self._run.positions.values() for leg in position.legs]
        behind = [leg.underlying_key for leg in legs if leg.underlying_key is not None]
        keys = {*self._run.engine.cache.keys(), *(leg.key for leg in legs), *behind}
        self._wanted = Wanted(keys, self._line_of)
