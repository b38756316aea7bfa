"""One day through one engine: the same decisions as live, without sockets, as fast as the machine can.

The time is the recording's. Whoever plays it hands in quotes and facts in their order; in between the engine is told the time as
the recording monitor told it, or, where nobody did, at every deadline it asks for and at the beats (`beats`). Exits are carried
out by an account in this process (`replay_account`), at the instant of the decision.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from core.exits.restore import fold
from core.model import commands as cmd
from core.model import events as ev
from core.model.instrument import Segment
from core.model.journal_records import ExitStarted, JournalRecord, LimitRecord, RowsWritten
from core.model.session_time import NS_PER_MS, NS_PER_S, ist_datetime
from core.recording import facts as rec
from core.recording.beats import BeatGrid
from core.recording.facts import is_told
from core.recording.replay_account import ReplayAccount
from core.recording.replay_watch import Curves, ProtectionLedger
from core.recording.silence import NoSilence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from core.exits.engine import Engine
    from core.market_calendar import SessionCalendar
    from core.model.exit_levels import ExitLevels
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord
    from core.recording.frames import Frames

_FAR_NS: Final = 2**62
_BURST_NS: Final = 50 * NS_PER_MS
_STANDSTILL_NS: Final = 10 * NS_PER_MS
"""As in the live timer: a deadline that telling the time has not moved is not asked again before this."""
_IDLE_ROUNDS: Final = 20
"""So many rounds of answers at one instant without an order: time has to pass before anything can change."""


class Silence(Protocol):
    def silent(self, at_ns: int) -> tuple[InstrumentKey, ...]: ...

    def take(self, frames: Frames) -> None: ...

    def carries(self, line: int, added: Iterable[InstrumentKey], removed: Iterable[InstrumentKey]) -> None: ...


@dataclass(slots=True)
class RunPlan:
    """How a run is played.

    `is_told`: the recording has the times at which the engine was told the time. `levels_of` puts other levels in place of those
    in force; None plays what was in force. `only` plays these strategies, None all.
    """

    calendar: SessionCalendar
    is_told: bool = False
    silence: Silence = field(default_factory=NoSilence)
    curve_s: float = 60.0
    only: frozenset[int] | None = None
    levels_of: Callable[[Position, ExitLevels], ExitLevels] | None = None


@dataclass(slots=True)
class Decided:
    """One exit of the replay. `at_ns` monotonic of the decision, `utc_ns` the same in UTC; `record` once it is finished."""

    started: ExitStarted
    at_ns: int
    utc_ns: int
    record: ExitRecord | None = None
    finished_utc_ns: int | None = None


class ReplayRun:
    """Call `begin`, then `quotes`, `fact` and `time` in the recording's order, then `end`. `at_ns` is its monotonic clock."""

    def __init__(self, engine: Engine, plan: RunPlan) -> None:
        self.engine = engine
        self.plan = plan
        self.account = ReplayAccount(engine.desk.quote_of, lambda corr: engine.desk.attempts[corr].running)
        self.curves = Curves(engine, int(plan.curve_s * NS_PER_S))
        self.ledger = ProtectionLedger(engine)
        self.decided: dict[str, Decided] = {}
        self.positions: dict[int, Position] = {}
        self.gone: dict[int, Paise | None] = {}
        self.alerts: list[cmd.Alert] = []
        self.ticks = 0
        self._grid = BeatGrid()
        self._offset_ns = 0
        self._told_ns = 0
        self._new_ns: int | None = None
        self._is_exact = plan.is_told and plan.levels_of is None
        self._was_open: bool | None = None
        self._closed_live: set[int] = set()
        self._held_back: dict[InstrumentKey, tuple[int, int]] = {}

    def begin(self, at_ns: int, utc_ns: int, before: Sequence[rec.ClosedBefore | LimitRecord] = ()) -> None:
        """Before everything else. `before`: exits that were finished before the recording, and what was known of the limits."""
        self.set_utc(at_ns, utc_ns)
        self.engine.begin_at(utc_ns)
        records: list[JournalRecord] = []
        for each in before:
            if isinstance(each, rec.ClosedBefore):
                records += (each.started, each.finished, RowsWritten(each.finished.exit_id))
            else:
                records.append(each)
        self.engine.restore(fold(records, self.engine.desk, at_ns), at_ns)
        self._told_ns = at_ns - 1

    def set_utc(self, at_ns: int, utc_ns: int) -> None:
        """The two clocks side by side, from now on."""
        self._offset_ns = utc_ns - at_ns
        self._grid.align(self._offset_ns)

    def utc(self, at_ns: int) -> int:
        return at_ns + self._offset_ns

    def quotes(self, quotes: Sequence[Quote]) -> None:
        """Prices of the feed in the order of their receipt."""
        if self._held_back:
            quotes = [quote for quote in quotes if not self._is_held_back(quote)]
        engine, on_quote = self.engine, self.engine.on_quote
        has_deadlines = not self._is_exact
        due = self._due(self._told_ns)
        for quote in quotes:
            at_ns = quote[7]
            if at_ns >= due:
                due = self.pass_time(at_ns)
            commands = on_quote(quote)
            if commands:
                self._carry_out(commands, at_ns)
                due = self._due(self._told_ns)
            elif has_deadlines and engine.has_new_deadline:
                due = self._due(self._told_ns)
        self.ticks += len(quotes)

    def pass_time(self, to_ns: int) -> int:
        """Tell the time at everything that falls due up to and with `to_ns`; returns when the next thing is due."""
        while (due := self._due(to_ns)) <= to_ns:
            self._tell(due)
        return self._due(self._told_ns)

    def time(self, told: ev.TimePassed) -> None:
        """What the recording monitor told its engine."""
        self.pass_time(told.at_ns)
        self._tell_as(told)

    def fact(self, at_ns: int, fact: rec.Fact) -> None:
        if not (isinstance(fact, ev.PositionOpened) and self._is_burst(at_ns)):
            self.pass_time(at_ns)
        match fact:
            case ev.PositionOpened():
                self._opened(fact)
            case ev.PositionGone():
                self._gone(fact)
            case ev.PricesDoubted():
                self._doubt(fact)
            case rec.QuoteTaken(quote):
                self._carry_out(self.engine.on_quote(quote), at_ns)
                self.ticks += 1
            case rec.LineWants(line, added, removed):
                self.plan.silence.carries(line, added, removed)
            case rec.FeedHeldBack(key, not_before, until_ns):
                self._hold_back(key, not_before, until_ns)
            case ExitStarted():
                self._closed_live.add(fact.position.strategy_id)
            case _:
                # At a StopRequested the player stops; the recording may go on with the next run of the monitor.
                if is_told(fact) and not isinstance(fact, ev.StopRequested):
                    self._say(fact, at_ns)

    def _is_burst(self, at_ns: int) -> bool:
        """A book of a thousand positions comes position by position: the time is told once, behind the last of them."""
        return self._new_ns is not None and at_ns - self._new_ns <= _BURST_NS

    def end(self, at_ns: int) -> None:
        """Nothing more comes after `at_ns`."""
        self.pass_time(at_ns)
        self.curves.sample(self.utc(at_ns))
        self.ledger.look(at_ns + NS_PER_S, self.utc(at_ns))
        self.ledger.end()

    def _due(self, coming_ns: int) -> int:
        if self._is_exact:
            # Exactly as it was: also how late the timer was, and where the program stood still.
            return _FAR_NS
        if self._new_ns is not None:
            return self._new_ns
        wake = self.engine.next_wake_ns
        if wake is not None and wake <= self._told_ns:
            wake = self._told_ns + _STANDSTILL_NS
        beat = _FAR_NS if self.plan.is_told else self._grid.after(self._told_ns, coming_ns)
        return beat if wake is None or wake > beat else wake

    def _tell(self, at_ns: int) -> None:
        utc_ns = self.utc(at_ns)
        calendar = self.plan.calendar
        session_open = calendar.session_open(utc_ns)
        if session_open and self._was_open is False:
            keys = tuple(self.engine.cache.keys())
            self._doubt(ev.PricesDoubted(keys, "the session has just opened", at_ns - 1))
        self._was_open = session_open
        if session_open is not False and (silent := self.plan.silence.silent(at_ns)):
            self._doubt(ev.PricesDoubted(silent, "the recording has no newer price", at_ns))
        is_trading_day = calendar.is_trading_day(ist_datetime(utc_ns).date())
        cash_open = calendar.session_open(utc_ns, Segment.NSE_EQ)
        self._tell_as(ev.TimePassed(at_ns, utc_ns, session_open, is_trading_day, cash_open))

    def _tell_as(self, told: ev.TimePassed) -> None:
        self._told_ns, self._new_ns = told.at_ns, None
        self._say(told, told.at_ns)
        self.curves.look(told.at_ns, told.utc_ns)
        self.ledger.look(told.at_ns, told.utc_ns)

    def _say(self, event: ev.Event, at_ns: int) -> None:
        self._carry_out(self.engine.handle(event), at_ns)

    def _carry_out(self, commands: Sequence[cmd.Command], at_ns: int) -> None:
        idle = 0
        while commands:
            for command in commands:
                self._note(command, at_ns)
            idle = 0 if any(isinstance(each, cmd.SubmitOrder) for each in commands) else idle + 1
            if idle > _IDLE_ROUNDS:
                # A blocked exit reads on for ever. Left without an answer, the engine asks again when the read is overdue.
                return
            answers = self.account.answers(commands, at_ns)
            commands = [command for event in answers for command in self.engine.handle(event)]

    def _note(self, command: cmd.Command, at_ns: int) -> None:
        match command:
            case cmd.WriteJournal(ExitStarted() as started):
                share = self.decided.pop(started.exit_id, None)
                if share is not None:
                    # The exit of a share has become one of the whole: decided twice, carried out as one.
                    self.decided[f"{started.exit_id} (share)"] = share
                self.decided[started.exit_id] = Decided(started, at_ns, self.utc(at_ns))
                self.curves.curve(started.position.strategy_id).note(started.signal.pnl)
            case cmd.RecordExit(record):
                decided = self.decided.get(record.exit_id)
                if decided is not None:
                    decided.record, decided.finished_utc_ns = record, self.utc(at_ns)
            case cmd.Alert():
                self.alerts.append(command)
            case _:
                pass

    def _opened(self, event: ev.PositionOpened) -> None:
        position, levels = event.position, event.levels
        strategy_id = position.strategy_id
        if self.plan.only is not None and strategy_id not in self.plan.only:
            return
        if self.plan.levels_of is not None:
            levels = self.plan.levels_of(position, levels)
        self.positions[strategy_id] = position
        is_exiting = self._is_exiting(strategy_id)
        self._say(ev.PositionOpened(position, levels, event.at_ns, event.memory), event.at_ns)
        # Its guard judges nothing before it was told the time.
        self._new_ns = max(event.at_ns, self._told_ns)
        self.curves.hurry()
        self.ledger.hurry()
        guard = self.engine.guards.get(strategy_id)
        if guard is not None and not is_exiting:
            # What earlier exits have closed is not held any more, whatever the rows say.
            self.account.hold(guard.booked.position)

    def _is_exiting(self, strategy_id: int) -> bool:
        return any(running.strategy_id == strategy_id for running in self.engine.unresolved)

    def _gone(self, event: ev.PositionGone) -> None:
        strategy_id = event.strategy_id
        if self.plan.levels_of is not None and strategy_id in self._closed_live:
            # Its rows went because the recording monitor closed it. With other levels it may still be open.
            return
        guard = self.engine.guards.get(strategy_id)
        if guard is not None and not self._is_exiting(strategy_id):
            booked = guard.booked
            self.gone[strategy_id] = booked.open_pnl
            self.account.release(strategy_id)
        self._say(event, event.at_ns)

    def _doubt(self, event: ev.PricesDoubted) -> None:
        self._say(event, event.at_ns)
        self.ledger.note_doubted(event.keys)

    def _hold_back(self, key: InstrumentKey, not_before: int, until_ns: int) -> None:
        if not_before:
            self._held_back[key] = not_before, until_ns
        else:
            self._held_back.pop(key, None)

    def _is_held_back(self, quote: Quote) -> bool:
        not_before, until_ns = self._held_back.get(quote.key, (0, 0))
        return quote.exchange_time is not None and quote.exchange_time < not_before and quote.received_ns < until_ns
