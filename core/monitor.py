"""One run of the monitor: start-up order, modes, the end. Owns the tasks; every part was joined in `monitor_parts`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from typing import TYPE_CHECKING, Final

from core.book_keeper import position_tag
from core.clock import SystemClock
from core.exits.restore import fold
from core.model.commands import Alert, ReadOrderBook, ReadPositions, Severity
from core.model.errors import RefusedError, StoreError, TransportError
from core.model.events import StopRequested
from core.model.session_time import NS_PER_S
from core.model.signals import Mode
from core.monitor_parts import Parts, build_parts, check_settings
from core.run_statistics import view_of
from core.state_dir import StateDirLock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.clock import Clock
    from core.model.commands import Command
    from core.monitor_view import MonitorView
    from core.options import Options
    from core.settings import Settings

_log = logging.getLogger(__name__)
_WIND_DOWN_S: Final = 6.0
_FIRST_PRICES_S: Final = 6.0
_SHOW_EVERY_S: Final = 1.0
_UNPROTECTED_AFTER_S: Final = 5.0
_GC_THRESHOLD: Final = 50_000


async def run(
    options: Options, settings: Settings, show: Callable[[MonitorView], None], clock: Clock | None = None
) -> int:
    """Run the monitor until its end; the exit code of design/interfaces.md (0, or 3 with an unresolved exit).

    `show` is called about once a second, after every exit, and once at the end.

    Raises ConfigurationError, RefusedError, StoreError, TransportError or AlreadyRunningError when it cannot start.
    """
    check_settings(options, settings)
    # A plan writes nothing and orders nothing: it may be read beside a running monitor.
    with contextlib.nullcontext() if options.plan else StateDirLock(settings.state_dir):
        monitor = Monitor(options, settings, show, clock or SystemClock())
        try:
            return await monitor.run()
        except BaseExceptionGroup as group:
            # One task's failure ends the run; the first cause is what the operator has to read.
            raise _first_cause(group) from group


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    cause: BaseException = group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause


class Monitor:
    def __init__(self, options: Options, settings: Settings, show: Callable[[MonitorView], None], clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._show = show
        self._stop = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._short_tasks: set[asyncio.Task[None]] = set()
        self._long_tasks: list[asyncio.Task[None]] = []
        self._started_ns = clock.monotonic_ns()
        self._told_unprotected: set[int] = set()
        self.parts: Parts = build_parts(options, settings, clock, self._spawn)

    async def run(self) -> int:
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._listen_to_signals()
                await self._start()
                await self._until_done()
                await self._wind_down()
        finally:
            await self._close()
        self._show(view_of(self.parts, self._started_ns))
        return 3 if self.parts.engine.unresolved else 0

    def stop(self) -> None:
        """Ask for a clean end: no new trigger; broker orders stay as they are."""
        self._stop.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> object:
        if self._group is None:
            raise RuntimeError("expected a running monitor to start a task in")
        task = self._group.create_task(work)
        self._short_tasks.add(task)
        task.add_done_callback(self._short_tasks.discard)
        return task

    def _keep(self, work: Coroutine[None, None, None], name: str) -> None:
        if self._group is None:
            raise RuntimeError("expected a running monitor to start a task in")
        self._long_tasks.append(self._group.create_task(work, name=name))

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.add_signal_handler(number, self.stop)

    async def _start(self) -> None:
        """Store and broker first (they can refuse), then the journal, then positions, then prices, then the clock."""
        parts = self.parts
        await parts.store.open()
        await parts.market.open()
        await self._check_live()
        commands = () if self._options.plan else await self._replay()
        await parts.keeper.read()
        parts.subscribe()
        if parts.mode is not Mode.SIMULATION:
            await self._read_broker()
        parts.runner.carry_out([c for c in commands if not isinstance(c, ReadOrderBook | ReadPositions)])
        self._keep(parts.fetcher.run(), "prices over REST")
        parts.fetcher.set_polling(is_on=True)
        if parts.feed is not None:
            self._keep(parts.feed.run(), "market feed")
        if parts.order_updates is not None:
            self._keep(parts.order_updates.run(), "order updates")
        parts.timer.start()
        self._keep(parts.keeper.follow(), "trade changes")
        self._keep(self._house_keeping(), "house-keeping")
        # What was built so far lives to the end: a collection that walks it would stall the ticks for milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        _log.info("%s: guarding %d positions", parts.mode, len(parts.engine.guards))

    async def _replay(self) -> tuple[Command, ...]:
        """Take up what the journal knows. A simulation starts afresh, but never with an exit id that was used before."""
        parts = self.parts
        records = await parts.journal.open()
        remembered = await parts.journal.load_peaks()
        parts.peaks.update({tag: peak for tag, (peak, is_armed) in remembered.items() if is_armed})
        now = self._clock.monotonic_ns()
        restored = fold(records if parts.mode is Mode.LIVE else (), parts.engine.desk, now)
        restored.generations.update(parts.journal.generations)
        return parts.engine.restore(restored, now)

    async def _check_live(self) -> None:
        """Live mode refuses to start where Dhan would refuse every order."""
        if self.parts.mode is not Mode.LIVE:
            return
        ip = await self.parts.market.read_static_ip()
        if ip.orders_allowed is False:
            raise RefusedError(
                f"Dhan takes no orders from this address: {ip.reason}. Register its IP with Dhan, or run from one that is."
            )

    async def _read_broker(self) -> None:
        """Order book before anything can fire: it says which correlation ids are taken and what others are doing."""
        runner = self.parts.runner
        await runner.ask(ReadOrderBook())
        await runner.ask(ReadPositions())

    async def _until_done(self) -> None:
        options = self._options
        if options.prints_once:
            await self._once()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(options.duration_s):
                await self._stop.wait()

    async def _once(self) -> None:
        """Wait for prices, let spreads settle and suspects be confirmed, finish the exits that were started."""
        parts = self.parts
        if self._options.plan:
            parts.engine.desk.stopping = True
        await self._wait(_FIRST_PRICES_S, lambda: all(parts.price_cache.quote(key) for key in parts.cache.keys()))  # noqa: SIM118  a method, not a dict
        settle_ms = max(parts.settings.leg_settle_ms, parts.settings.stop_confirm_max_ms) + 300
        await self._wait(settle_ms / 1_000, lambda: self._options.plan)
        limit = self._options.duration_s
        await self._wait(limit, lambda: parts.engine.is_idle)

    async def _wait(self, limit_s: float | None, is_done: Callable[[], object]) -> None:
        """Until `is_done`, the limit, or a request to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not is_done() and not self._stop.is_set():
                    self.parts.runner.changed.clear()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await self.parts.runner.changed.wait()

    async def _house_keeping(self) -> None:
        """What is due about once a second and decides nothing: the view, peaks, unprotected positions, re-reads."""
        parts = self.parts
        next_read_ns = self._clock.monotonic_ns() + int(self._options.interval_s * NS_PER_S)
        while True:
            parts.subscribe()
            if not self._options.prints_once:
                self._show(view_of(parts, self._started_ns))
            if parts.feed is not None:
                parts.feed.market(is_open=parts.engine.desk.session_open is not False)
            self._look_after_prices()
            await self._save_peaks()
            if self._clock.monotonic_ns() >= next_read_ns:
                next_read_ns += int(self._options.interval_s * NS_PER_S)
                await parts.keeper.read_or_keep()
            await asyncio.sleep(_SHOW_EVERY_S)

    def _look_after_prices(self) -> None:
        """Ask REST for what the feed leaves out, and tell a person of every position without usable prices."""
        parts, now = self.parts, self._clock.monotonic_ns()
        wanted = {key for guard in parts.engine.guards.values() for key in guard.keys_to_ask(now)}
        if wanted:
            parts.fetcher.ask(wanted)
        if parts.engine.desk.session_open is not True or now - self._started_ns < _UNPROTECTED_AFTER_S * NS_PER_S:
            return
        for strategy_id, guard in parts.engine.guards.items():
            is_blind = guard.booked.pnl is None or bool(guard.stale_keys(now))
            if not is_blind:
                self._told_unprotected.discard(strategy_id)
            elif strategy_id not in self._told_unprotected:
                self._told_unprotected.add(strategy_id)
                name = guard.booked.position.strategy_name
                text = guard.assessment().reason
                parts.runner.carry_out((Alert(Severity.PAGE, f"{name} ({strategy_id}) is unprotected", text),))

    async def _save_peaks(self) -> None:
        """Peaks are written behind the ticks: a crash loses at most the last second of a rise."""
        parts = self.parts
        found = {
            position_tag(guard.booked.position): guard.peak
            for guard in parts.engine.guards.values()
            if guard.peak is not None
        }
        new = {tag: (peak, True) for tag, peak in found.items() if parts.peaks.get(tag) != peak}
        if new and not self._options.plan:
            try:
                await parts.journal.save_peaks(new)
            except (TransportError, StoreError) as error:
                _log.warning("peaks not saved, tried again in a second: %s", error)
                return
            parts.peaks.update({tag: peak for tag, (peak, _) in new.items()})

    async def _wind_down(self) -> None:
        """No new trigger and no new order; answers that are under way are waited for, then everything stops."""
        parts = self.parts
        parts.runner.handle(StopRequested(self._clock.monotonic_ns()))
        deadline = asyncio.timeout(_WIND_DOWN_S)
        with contextlib.suppress(TimeoutError):
            async with deadline:
                while parts.runner.in_flight:
                    await asyncio.wait(set(parts.runner.in_flight))
        parts.timer.stop()
        for task in (*self._long_tasks, *self._short_tasks):
            task.cancel()

    async def _close(self) -> None:
        """Close what was opened, in the opposite order. An error while closing must not hide the one that ended the run."""
        parts = self.parts
        parts.timer.stop()
        for close in (parts.market.close, parts.records.close, parts.journal.close, parts.store.close):
            try:
                await close()
            except (TransportError, StoreError, OSError) as error:
                _log.warning("closing: %s", error)
