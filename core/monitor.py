"""One run of the monitor: start-up order, modes, the end. Owns the tasks; every part was joined in `monitor_parts`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from typing import TYPE_CHECKING, Final

from core.clock import SystemClock
from core.exit_codes import ExitCode
from core.exits.restore import fold
from core.house_keeping import HouseKeeping
from core.model.commands import Alert, ReadOrderBook, ReadPositions, Severity
from core.model.errors import RefusedError, StoreError, TransportError
from core.model.events import StopRequested
from core.model.signals import Mode
from core.monitor_parts import Parts, build_parts, check_settings
from core.once import OnceRun, missing_positions
from core.preflight import AccountFacts, StartFacts, startup_alerts
from core.run_statistics import view_of
from core.state_dir import StateDirLock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from typing import Any

    from core.clock import Clock
    from core.model.commands import Command
    from core.monitor_view import MonitorView
    from core.options import Options
    from core.settings import Settings
    from core.settings_sources import TokenSource

_log = logging.getLogger(__name__)
_WIND_DOWN_S: Final = 5.0
_REACH_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
_ORDER_BOOK_PAUSES_S: Final = (0.5, 1.0, 2.0, 0.0)
_GC_THRESHOLD: Final = 50_000
_SWITCH_INTERVAL_S: Final = 0.000_5


async def run(
    options: Options,
    settings: Settings,
    show: Callable[[MonitorView], None],
    clock: Clock | None = None,
    source_of_token: TokenSource | None = None,
) -> int:
    """Run the monitor until its end; the exit code of design/interfaces.md.

    0, or 3 with an unresolved exit or, of `--once`, with a position that could not be judged.

    `show` is called about once a second, after every exit, and once at the end. `source_of_token` is looked at again while
    it runs, so that a fresh token needs no restart.

    Raises ConfigurationError, RefusedError, StoreError, TransportError or AlreadyRunningError when it cannot start.
    """
    check_settings(options, settings)
    # A plan writes nothing and orders nothing: it may be read beside a running monitor.
    with contextlib.nullcontext() if options.plan else StateDirLock(settings.state_dir):
        monitor = Monitor(options, settings, show, clock or SystemClock(), source_of_token)
        try:
            return await monitor.run()
        except BaseExceptionGroup as group:
            # One task's failure ends the run; the first cause is what the operator has to read.
            cause = _first_cause(group)
            # Its own cause stays: a bug's trace without it says too little.
            raise cause from cause.__cause__


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    cause: BaseException = group
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause


class Monitor:
    def __init__(
        self,
        options: Options,
        settings: Settings,
        show: Callable[[MonitorView], None],
        clock: Clock,
        source_of_token: TokenSource | None = None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._show = show
        self._stop = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._short_tasks: set[asyncio.Task[None]] = set()
        self._long_tasks: list[asyncio.Task[None]] = []
        self._started_ns = clock.monotonic_ns()
        self._is_over = False
        self._is_unjudged = False
        self._last_view: MonitorView | None = None
        self.parts: Parts = build_parts(options, settings, clock, self._spawn, source_of_token)
        self._house = HouseKeeping(self.parts, show, self._started_ns)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(_ender_of(broken))
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._listen_to_signals()
                self._keep(_raise_from(broken), "callbacks")
                if self._options.duration_s is not None:
                    loop.call_later(self._options.duration_s, self.stop)
                if await self._start_unless_stopped():
                    await self._until_done()
                await self._wind_down()
        finally:
            self._is_over = True
            await self._close()
            loop.set_exception_handler(None)
        self._show(self._last_view or view_of(self.parts, self._started_ns))
        return ExitCode.UNRESOLVED if self.parts.engine.unresolved or self._is_unjudged else ExitCode.CLEAN

    async def _start_unless_stopped(self) -> bool:
        """Start up; False when the end was asked for meanwhile: a broker that does not answer must not delay it."""
        start, stop = asyncio.ensure_future(self._start()), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (start, stop):
                task.cancel()
            # Awaited also when cancelled: what it has opened is closed only after it has let go.
            await asyncio.wait((start, stop))
        if start.cancelled():
            return False
        start.result()
        return True

    def stop(self) -> None:
        """Ask for a clean end: no new trigger; broker orders stay as they are."""
        self._stop.set()

    def _spawn(self, work: Coroutine[None, None, None]) -> object:
        if self._group is None:
            raise RuntimeError("expected a running monitor to start a task in")
        if self._is_over:
            # A socket that closes at the end still calls back. What it calls for is the next start's business.
            work.close()
            return None
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
        if self._options.plan:
            # From the first moment: a plan must not begin what it is asked about.
            parts.engine.handle(StopRequested(self._clock.monotonic_ns()))
        parts.engine.begin_at(self._clock.utc_ns())
        await parts.store.open()
        await self._listen_to_trades()
        await self._reach(parts.token.ensure)
        await self._reach(parts.market.open)
        await self._reach(self._check_live)
        commands = await self._replay()
        # Before anything is opened: a limit that still holds would close it.
        self._house.take_limit_reset()
        if parts.decisions is not None:
            parts.decisions.start()
        await parts.keeper.read()
        parts.runner.carry_out(missing_positions(parts))
        self._house.count_lost_days()
        self._house.tell_missed_closes()
        parts.subscribe()
        if parts.mode is not Mode.SIMULATION:
            await self._read_broker()
        parts.runner.carry_out([c for c in commands if not isinstance(c, ReadOrderBook | ReadPositions)])
        await self._warm_prices()
        parts.timer.start()
        for work, name in self._streams():
            self._keep(work, name)
        self._keep(parts.keeper.follow(), "trade changes")
        self._keep(self._house.re_read(), "re-reads")
        self._keep(self._house.run(), "house-keeping")
        # What was built so far lives to the end: a collection that walks it would stall the ticks for milliseconds.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD)
        # The journal and the store work on threads of their own; by default one may keep the ticks waiting for 5 ms.
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        _log.info("%s: guarding %d positions", parts.mode, len(parts.engine.guards))

    @staticmethod
    async def _reach(ask: Callable[[], Awaitable[None]]) -> None:
        """One lost packet must not end a start at 11:00. Whatever Dhan refuses does at once."""
        for pause_s in _REACH_PAUSES_S:
            try:
                await ask()
            except TransportError as error:
                _log.warning("Dhan is not reached (%s); again in %.1f s", error, pause_s)
                await asyncio.sleep(pause_s)
            else:
                return
        await ask()

    def _streams(self) -> Iterator[tuple[Coroutine[None, None, None], str]]:
        """What brings prices and the broker's news, from now to the end."""
        parts, prices = self.parts, self.parts.prices
        yield prices.fetcher.run(), "prices over REST"
        yield prices.watch.run(), "price watch"
        if prices.feed is not None:
            yield prices.feed.run(), "market feed"
        if parts.order_updates is not None:
            yield parts.order_updates.run(), "order updates"
        if prices.redis is not None:
            yield prices.fanout.run(), "turns of the price boxes"
            yield prices.redis.run(), "prices to Redis"
        if parts.recording is not None:
            yield parts.recording.watch(lambda alert: parts.runner.carry_out((alert,))), "recording"
        if not self._options.plan:
            yield parts.memory.run(), "memory of positions"
            yield parts.token.run(), "access token"
            yield self._check_start(), "checks at the start"

    async def _warm_prices(self) -> None:
        """Show the last known prices until the market speaks. They fire nothing and price no order."""
        redis, settings = self.parts.prices.redis, self.parts.settings
        if redis is None:
            return
        keys = tuple(self.parts.cache.keys())
        for quote in await redis.read_warm(keys, settings.redis_warm_s):
            self.parts.runner.on_quote(quote)

    async def _check_start(self) -> None:
        """The checks of data_scripts/preflight.py whose facts are at hand, beside what guards and not before it."""
        parts, settings = self.parts, self.parts.settings
        account = AccountFacts(
            settings.dhan_client_id or "",
            parts.token.token,
            can_mint=settings.dhan_pin is not None,
            is_live=parts.mode is Mode.LIVE,
        )
        booked, report = tuple(parts.keeper.known.values()), parts.engine.desk.holdings.report
        facts = StartFacts(
            account, settings.dhan_api_url, parts.market, parts.calendar, parts.clock, parts.source.last, booked, report
        )
        parts.runner.carry_out(await startup_alerts(facts))

    async def _listen_to_trades(self) -> None:
        """From here on the lease is renewed, however long the rest of the start takes."""
        trades = self.parts.trades
        trades.unfinished = self._unfinished
        alert = await trades.take_lease(self.parts.mode)
        if doubts := trades.store.doubts():
            self.parts.runner.carry_out((Alert(Severity.PAGE, "no trades to be seen", doubts),))
        if alert is not None:
            self.parts.runner.carry_out((alert,))
        for work, name in trades.tasks():
            self._keep(work, name)

    def _unfinished(self) -> str:
        names = ", ".join(f"{x.position.strategy_name} ({x.strategy_id})" for x in self.parts.engine.unresolved)
        return f" NOT FINISHED here: {names}; look at the broker's order book and positions." if names else ""

    async def _replay(self) -> tuple[Command, ...]:
        """Take up what the journal knows. A simulation starts afresh, but never with an exit id that was used before."""
        parts = self.parts
        records = await parts.journal.open()
        parts.memory.known.update(await parts.journal.load_memories())
        now = self._clock.monotonic_ns()
        taken_up = records if parts.mode is Mode.LIVE or self._options.plan else ()
        if parts.recording is not None:
            parts.recording.start(taken_up)
        restored = fold(taken_up, parts.engine.desk, now)
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
        problem = ""
        for pause in _ORDER_BOOK_PAUSES_S:
            problem = await runner.ask(ReadOrderBook())
            if not problem or self.parts.mode is not Mode.LIVE:
                break
            await asyncio.sleep(pause)
        else:
            raise TransportError(f"expected the order book, without which no order may be sent: {problem}")
        await runner.ask(ReadPositions())

    async def _until_done(self) -> None:
        if self._options.prints_once:
            once = OnceRun(self.parts, self._stop)
            await once.run()
            self._is_unjudged = not self._options.plan and once.name_unjudged()
        else:
            await self._stop.wait()

    async def _wind_down(self) -> None:
        """No new trigger and no new order; answers that are under way are waited for, then everything stops."""
        parts = self.parts
        parts.runner.handle(StopRequested(self._clock.monotonic_ns()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WIND_DOWN_S):
                # A task that was begun in this very turn names itself in the next.
                await asyncio.sleep(0)
                while parts.runner.in_flight:
                    await asyncio.wait(set(parts.runner.in_flight))
                await parts.runner.flush()
                await parts.memory.save()
        if parts.decisions is not None:
            await parts.decisions.finish(parts.engine.guards)
        # Taken while everything still stands: afterwards every connection would look broken.
        self._last_view = view_of(parts, self._started_ns)
        parts.timer.stop()
        self._is_over = True
        for task in (*self._long_tasks, *self._short_tasks):
            task.cancel()

    async def _close(self) -> None:
        """Close what was opened, in the opposite order. An error while closing must not hide the one that ended the run."""
        parts = self.parts
        parts.timer.stop()
        if parts.prices.redis is not None:
            await parts.prices.redis.close()
        if parts.recording is not None:
            await parts.recording.stop()
        closes = (parts.market.close, parts.records.close, parts.journal.close, parts.trades.release, parts.store.close)
        for close in closes:
            try:
                await close()
            except (TransportError, StoreError, OSError) as error:
                _log.warning("closing: %s", error)


def _ender_of(broken: asyncio.Future[None]) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """A loop's exception handler: a bug in a callback ends the run as one in a task does, instead of being logged away."""

    def end(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if (
            isinstance(error, Exception)
            and not isinstance(error, OSError)
            and "handle" in context
            and not broken.done()
        ):
            broken.set_exception(error)
        else:
            loop.default_exception_handler(context)

    return end


async def _raise_from(broken: asyncio.Future[None]) -> None:
    await broken
