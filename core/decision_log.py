"""Which comparisons are recorded, and when: every decision at once, a sample of every position now and then.

On the loop; it only takes down what a guard has before it (`see`, a few microseconds) and puts that into the writer's box.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Final

from core.decision_file import FOLDER
from core.decision_record import Kind, iso
from core.decision_writer import DecisionWriter, Entry
from core.exits.explain_around import around_of
from core.exits.explain_line import NOTHING_AROUND
from core.exits.explain_sighting import see
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.options import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.clock import Clock
    from core.exits.engine import Engine
    from core.exits.explain_line import Around
    from core.exits.position_guard import PositionGuard
    from core.model.signals import Signal
    from core.options import Options
    from core.settings import Settings

MOST_PER_BEAT: Final = 40
"""Samples in one beat of a second: a larger book is gone through more slowly."""
MOST_AT_THE_END: Final = 500
FIRST_PRICES_NS: Final = 5 * NS_PER_S
CHANGE_EVERY_NS: Final = 250 * NS_PER_MS
MOST_CHANGES_PER_BEAT: Final = 100


class DecisionLog:
    """`around` gives what stands around a position at a monotonic time, for the judges beside its guard."""

    def __init__(
        self,
        writer: DecisionWriter,
        sample_s: float,
        clock: Clock,
        around: Callable[[PositionGuard, int], Around] = lambda _guard, _at_ns: NOTHING_AROUND,
    ) -> None:
        self._writer = writer
        self._sample_s = sample_s
        self._clock = clock
        self._around = around
        self._round: list[int] = []
        self._next = 0
        self._round_ns: int | None = None
        self._began_ns: int | None = None
        self._pace_s: float | None = None
        self._changed_ns: dict[int, int] = {}
        self._skipped: dict[int, int] = {}
        self._changes_left = MOST_CHANGES_PER_BEAT

    def note(self, guard: PositionGuard, signal: Signal | None, at_ns: int) -> None:
        """A rule fired, or (without a signal) a breach began or ended, a trail armed, a floor was locked. `at_ns` monotonic.

        What fires is always recorded. Of a position whose breach comes and goes a few changes a second are; the rest is counted.
        """
        strategy_id = guard.booked.position.strategy_id
        if signal is None:
            before_ns = self._changed_ns.get(strategy_id)
            is_early = before_ns is not None and at_ns - before_ns < CHANGE_EVERY_NS
            if is_early or not self._changes_left:
                self._skipped[strategy_id] = self._skipped.get(strategy_id, 0) + 1
                return
            self._changed_ns[strategy_id] = at_ns
            self._changes_left -= 1
        self._record(guard, Kind.CHANGED if signal is None else Kind.FIRED, at_ns, signal)

    def beat(self, guards: Mapping[int, PositionGuard]) -> None:
        """Called about once a second: the samples that are due, and the positions of which changes were left out."""
        now = self._clock.monotonic_ns()
        self._changes_left = MOST_CHANGES_PER_BEAT
        self._changed_ns = {each: at for each, at in self._changed_ns.items() if now - at < CHANGE_EVERY_NS}
        left = MOST_PER_BEAT
        for strategy_id in list(self._skipped)[:left]:
            guard = guards.get(strategy_id)
            if guard is None:
                del self._skipped[strategy_id]
                continue
            self._record(guard, Kind.CHANGED, now)
            left -= 1
        self._sample(guards, now, left)

    def start(self) -> None:
        """Before this everything waits in the box."""
        self._writer.start()

    async def finish(self, guards: Mapping[int, PositionGuard]) -> None:
        """The end of a run: how everything stood. Waits for the disk for a moment at most."""
        now = self._clock.monotonic_ns()
        for guard in list(guards.values())[:MOST_AT_THE_END]:
            self._record(guard, Kind.SAMPLE, now)
        await asyncio.to_thread(self._writer.close)

    def _sample(self, guards: Mapping[int, PositionGuard], now: int, left: int) -> None:
        for _ in range(min(left, self._due(guards, now))):
            guard = guards.get(self._round[self._next])
            self._next += 1
            if guard is not None:
                self._record(guard, Kind.SAMPLE, now)

    def _due(self, guards: Mapping[int, PositionGuard], now: int) -> int:
        """How many samples this beat takes; begins a new round when it is time, the first one with the first P&L."""
        is_over = self._next >= len(self._round)
        if self._round_ns is None and self._waits_for_prices(guards, now):
            return 0
        if is_over and (self._round_ns is None or now - self._round_ns >= self._sample_s * NS_PER_S - NS_PER_S // 2):
            self._round, self._next, self._round_ns = list(guards), 0, now
            self._tell_pace(now)
        return min(len(self._round) - self._next, math.ceil(len(self._round) / max(self._sample_s, 1)))

    def _waits_for_prices(self, guards: Mapping[int, PositionGuard], now: int) -> bool:
        """Before anything has a price a sample says little; what never has one is recorded all the same."""
        if self._began_ns is None:
            self._began_ns = now
        is_new = now - self._began_ns < FIRST_PRICES_NS
        return is_new and all(guard.booked.pnl is None for guard in guards.values())

    def _tell_pace(self, now: int) -> None:
        pace_s = max(self._sample_s, len(self._round) / MOST_PER_BEAT)
        if self._pace_s is None or abs(pace_s - self._pace_s) > 1:
            self._pace_s = pace_s
            said = {"kind": "pace", "time": iso(self._utc_ns(now)), "positions": len(self._round)}
            self._writer.put(said | {"a_sample_every_s": round(pace_s, 1)})

    def _record(self, guard: PositionGuard, kind: Kind, at_ns: int, signal: Signal | None = None) -> None:
        sighting = see(guard, at_ns, signal, self._around(guard, at_ns))
        skipped = self._skipped.pop(guard.booked.position.strategy_id, 0)
        self._writer.put(Entry(sighting, kind, self._utc_ns(at_ns), skipped))

    def _utc_ns(self, at_ns: int) -> int:
        return self._clock.utc_ns() - (self._clock.monotonic_ns() - at_ns)


def decision_log(options: Options, settings: Settings, clock: Clock, engine: Engine) -> DecisionLog | None:
    """Hears the engine's decisions. None where nothing is to be recorded: a plan writes nothing, and no days are kept at all."""
    if options.plan or not settings.decision_log_days:
        return None
    about = {"mode": options.mode.value, "build": VERSION, "a_sample_every_s": settings.decision_sample_s}
    writer = DecisionWriter(settings.state_dir / FOLDER, settings.decision_log_days, about, clock)
    log = DecisionLog(writer, settings.decision_sample_s, clock, partial(around_of, engine.judges))
    engine.room.on_decision = log.note
    return log
