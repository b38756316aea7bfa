"""The real monitor at the local exchange, in the recording's own time, with nothing left to the speed of the machine.

The exchange replays at speed 0: as fast as its client takes it. The client takes a snapshot (all rows of one second) when
every packet of it has been judged and every exit it began is finished. Inside a snapshot the clock stands still; while
exits run it runs, because their timers are real; between snapshots it goes from deadline to deadline.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from core.dhan.feed_connection import FeedPolicy
from core.dhan.feed_packets import FullPacket
from core.model.exit_levels import Action
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.paper.feed_connection import FULL
from core.position_backlog import Backlog
from tests.fakes.waiting import eventually

if TYPE_CHECKING:
    from core.model.exit_levels import ExitLevels
    from core.model.position import Position
    from core.model.signals import Signal
    from core.monitor import Monitor
    from core.paper.exchange import LocalExchange

BEFORE_FIRST_ROW_S = 60
EXITS_TAKE_AT_MOST_S = 45.0
DEEP_LOTS = 20
TOO_LATE = "the exits of one snapshot took longer than the recording leaves until the next"
NEVER_SILENT = FeedPolicy(stale_after_ns=86_400 * NS_PER_S, reconnect_after_ns=86_400 * NS_PER_S)


class RecordedClock:
    """UTC of the recording; monotonic starts high and never goes back. It stands still unless it is told to run."""

    def __init__(self, utc_ms: int) -> None:
        self._started_utc_ns = utc_ms * NS_PER_MS
        self._elapsed_ns = 0
        self._running_since: int | None = None

    def monotonic_ns(self) -> int:
        ran_ns = 0 if self._running_since is None else time.monotonic_ns() - self._running_since
        return 10**15 + self._elapsed_ns + ran_ns

    def utc_ns(self) -> int:
        return self.utc_of(self.monotonic_ns())

    def utc_of(self, monotonic_ns: int) -> int:
        return self._started_utc_ns + monotonic_ns - 10**15

    def monotonic_of(self, utc_ms: int) -> int:
        return utc_ms * NS_PER_MS - self._started_utc_ns + 10**15

    def run(self) -> None:
        if self._running_since is None:
            self._running_since = time.monotonic_ns()

    def hold(self) -> None:
        self._elapsed_ns = self.monotonic_ns() - 10**15
        self._running_since = None

    def hold_at(self, monotonic_ns: int) -> None:
        """Raises AssertionError where that would turn time back: exits took longer than the recording gave them."""
        self.hold()
        assert monotonic_ns >= self.monotonic_ns(), TOO_LATE
        self._elapsed_ns = monotonic_ns - 10**15


class NeverBehind(Backlog):
    """The time jumps from snapshot to snapshot, and nothing has waited meanwhile."""

    __slots__ = ()

    def begin(self, at_ns: int, lasted_ns: int) -> None:
        pass


class Lockstep:
    """Drives one run. `decided` keeps each signal with the UTC milliseconds of its decision, `levels` what was in force.

    `problem`: what stopped the replay, which ends without a word otherwise.
    """

    def __init__(
        self, exchange: LocalExchange, monitor: Monitor, clock: RecordedClock, seconds_ms: Sequence[int]
    ) -> None:
        """`seconds_ms`: the second of every row that the exchange plays, in order. Set `square_off_ms`: it is told on the dot."""
        self.decided: dict[int, tuple[Signal, int]] = {}
        self.levels: dict[int, ExitLevels] = {}
        self.problem: AssertionError | None = None
        self.square_off_ms = 0
        self._exchange = exchange
        self._parts = monitor.parts
        self._clock = clock
        self._seconds = seconds_ms
        self._sent = self._taken = 0
        self._has_begun = asyncio.Event()
        self._flush = exchange.feed.wait_until_taken
        self._join()

    def _join(self) -> None:
        exchange, parts = self._exchange, self._parts
        assert exchange.venue.replay is not None
        exchange.venue.replay._rows = (_deep(row, exchange) for row in exchange.venue.replay._rows)
        exchange.market.add_listener(self._note_sent)
        exchange.feed.wait_until_taken = self._take_row  # type: ignore[method-assign]
        take, fire, read_quotes = parts.price_cache.take, parts.engine._fire, parts.fetcher._read_quotes

        def counted(packet, received_ns):
            self._taken += isinstance(packet, FullPacket)
            return take(packet, received_ns)

        def noted(signal: Signal, position: Position, at_ns: int) -> None:
            # A warning closes nothing, and the slow calculation has none. Beside a whole exit only its urgency may change.
            if signal.action is not Action.ADJUST and signal.strategy_id not in parts.engine._exiting.of:
                assert signal.strategy_id not in self.decided, "fired twice"
                self.decided[signal.strategy_id] = signal, self._clock.utc_of(signal.decided_ns) // NS_PER_MS
            fire(signal, position, at_ns)

        async def read_once_begun(keys):
            # What is asked before the day has begun has no price. An answer that came beside the first packets would show
            # the first snapshot twice, or in another order.
            if self._has_begun.is_set():
                return await read_quotes(keys)
            await self._has_begun.wait()
            return ()

        parts.fetcher._read_quotes = read_once_begun
        parts.price_cache.take = counted  # type: ignore[method-assign]
        parts.engine._fire = noted  # type: ignore[method-assign]
        assert parts.feed is not None
        for line in parts.feed._lines:
            line._connection.policy = NEVER_SILENT
        # A snapshot a minute looks like a machine that sleeps and a feed that is dead.
        parts.prices.watch.look = lambda: iter(())  # type: ignore[method-assign]
        parts.timer.on_slept = lambda _: None
        parts.runner.may_order = lambda: True
        parts.cache.backlog = NeverBehind()

    def _note_sent(self, book, _every: bool) -> None:
        subscribers = self._exchange.feed._subscribers.get(book.key, {})
        self._sent += sum(bool(mask & FULL) for mask in subscribers.values())

    async def _take_row(self) -> None:
        try:
            await self._after_row()
        except AssertionError as error:
            self.problem = error
            raise

    async def _after_row(self) -> None:
        """What the exchange awaits after each row. Only the end of a snapshot takes time."""
        assert self._exchange.venue.replay is not None
        played = self._exchange.venue.replay.position
        if played == 1:
            self._clock.hold_at(self._clock.monotonic_of(self._seconds[0]))
            self.levels = {sid: known.levels for sid, known in self._parts.keeper.known.items()}
        is_over = played == len(self._seconds)
        if not is_over and self._seconds[played] == self._seconds[played - 1]:
            return
        await self._flush()
        await eventually(lambda: self._taken == self._sent, within_s=20)
        if not self._has_begun.is_set():
            self._parts.fetcher._asked.clear()
            self._has_begun.set()
        await self._finish_exits()
        next_ms = self._seconds[played - 1] + 2_000 if is_over else self._seconds[played]
        await self._pass_time(self._clock.monotonic_of(next_ms))

    async def _finish_exits(self) -> None:
        if self._parts.engine.is_idle:
            return
        self._clock.run()
        await eventually(lambda: self._parts.engine.is_idle, within_s=EXITS_TAKE_AT_MOST_S)
        self._clock.hold()

    async def _pass_time(self, until_ns: int) -> None:
        """Tell the engine the time at each of its deadlines, at the square-off, and at the end."""
        square_off_ns = self._clock.monotonic_of(self.square_off_ms)
        while (now := self._clock.monotonic_ns()) < until_ns:
            wake = self._parts.engine.next_wake_ns
            if wake is not None and wake <= now:
                # Due at once, as after a warning: the loop's timer does not wait, and a later deadline may stand behind it.
                self._parts.runner.handle(self._parts.timer.now())
                wake = self._parts.engine.next_wake_ns
            dues = (until_ns, square_off_ns, until_ns if wake is None else wake)
            self._clock.hold_at(min(due for due in dues if due > now))
            self._parts.runner.handle(self._parts.timer.now())
            if self._clock.monotonic_ns() < until_ns:
                await self._finish_exits()
        assert self._clock.monotonic_ns() == until_ns, TOO_LATE

    def moment_of(self, at_ms: int) -> tuple[int, bool]:
        """The newest recorded second at that time (0 before the first), and whether the clock had gone on since."""
        found = bisect_right(self._seconds, at_ms)
        second = self._seconds[found - 1] if found else 0
        return second, at_ms > second


def _deep(row, exchange: LocalExchange):
    """The recording's prices with room for every order: the subject is when an exit fires, and it should fill at once."""
    listing = exchange.venue.instruments.by_key[row.data.key]
    size = DEEP_LOTS * listing.instrument.lot

    def deepened(side):
        return tuple((price, max(shown, size)) for price, shown in side)

    return replace(row, data=replace(row.data, bids=deepened(row.data.bids), asks=deepened(row.data.asks)))


@asynccontextmanager
async def running(monitor: Monitor) -> AsyncIterator[asyncio.Task[int]]:
    """The monitor as a task; whatever happens it is stopped."""
    task = asyncio.create_task(monitor.run(), name="monitor")
    try:
        yield task
    finally:
        monitor.stop()
        await asyncio.wait([task], timeout=20)
