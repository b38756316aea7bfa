"""The real monitor with thousands of positions, in a process of its own, told by its parent what to measure.

Commands on stdin, each answered with one line of JSON: `lost` (which connection dies next, and when is everything it carried
live again), `figures`, `end`. The only thing put in its way is a clock: who calls, how long, and how long no turn came.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.clock import SystemClock
from core.exits.price_trust import TrustState
from core.log_setup import set_up_logging
from core.monitor import Monitor
from core.options import Options
from core.settings import load_settings

if TYPE_CHECKING:
    from core.feed_line import FeedLine
    from core.model.instrument import InstrumentKey

BEAT_S: Final = 0.001
LATE_S: Final = 0.03
BELIEVED: Final = frozenset({TrustState.LIVE, TrustState.QUIET, TrustState.ASKED})
_READY_S: Final = 240.0


class Beats:
    """How late turns of the loop come. `wall` is what a tick feels, `cpu` what of it was our own work and not the machine's."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.blamed: Counter[str] = Counter()
        self._beat_ns = time.perf_counter_ns()
        self._main = threading.get_ident()
        threading.Thread(target=self._look, daemon=True).start()

    async def run(self) -> None:
        while True:
            cpu, wall = time.thread_time(), time.perf_counter()
            await asyncio.sleep(BEAT_S)
            self._beat_ns = time.perf_counter_ns()
            self.wall.append(max(time.perf_counter() - wall - BEAT_S, 0.0))
            self.cpu.append(time.thread_time() - cpu)

    def _look(self) -> None:
        """From outside the loop: where does it stand while a turn is late?"""
        seen = 0
        while True:
            time.sleep(LATE_S / 3)
            beat_ns = self._beat_ns
            if seen == beat_ns or time.perf_counter_ns() - beat_ns < LATE_S * 1e9:
                continue
            frame = sys._current_frames().get(self._main)
            if frame is not None:
                seen = beat_ns
                self.blamed[_place(frame)] += 1

    def take(self) -> dict[str, Any]:
        wall, cpu = sorted(self.wall) or [0.0], sorted(self.cpu) or [0.0]
        blamed = [f"{count} x {place}" for place, count in self.blamed.most_common(5)]
        self.wall, self.cpu = [], []
        self.blamed.clear()
        at = int(len(wall) * 0.99)
        return {
            "wall_max_ms": wall[-1] * 1e3,
            "wall_p99_ms": wall[at] * 1e3,
            "cpu_max_ms": cpu[-1] * 1e3,
            "cpu_p99_ms": cpu[min(at, len(cpu) - 1)] * 1e3,
            "late": blamed,
        }


def _place(frame: Any) -> str:
    """The innermost frames of our own, outermost first."""
    own = [each for each in traceback.extract_stack(frame) if "/site-packages/" not in each.filename]
    own = [each for each in own if "/core/" in each.filename or "/data_scripts/" in each.filename]
    return " > ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in own[-3:]) or "elsewhere"


class Costs:
    """What calls of one function cost of the thread's own time."""

    def __init__(self) -> None:
        self.took: list[float] = []

    def around(self, real: Any) -> Any:
        def timed(*arguments: Any, **options: Any) -> Any:
            begun = time.thread_time()
            try:
                return real(*arguments, **options)
            finally:
                self.took.append(time.thread_time() - begun)

        return timed

    def take(self) -> dict[str, float]:
        took, self.took = sorted(self.took) or [0.0], []
        at = int(len(took) * 0.99)
        return {"max_ms": took[-1] * 1e3, "p99_ms": took[at] * 1e3, "median_us": took[len(took) // 2] * 1e6}


class Scale:
    def __init__(self, monitor: Monitor, instruments: int) -> None:
        self.monitor, self.instruments = monitor, instruments
        self.parts = monitor.parts
        assert self.parts.feed is not None
        self.feed = self.parts.feed
        self.beats, self.checks = Beats(), Costs()
        trust = self.parts.prices.watch.trust
        trust.check = self.checks.around(trust.check)  # type: ignore[method-assign]
        self.asked_s: list[float] = []
        self._note_requests()
        self.begun = time.perf_counter()

    def _note_requests(self) -> None:
        """When a request for quotes left, the pace of one a second waited for: what Dhan counts, but for the network."""
        line = self.parts.market._read_line
        real = line.request

        async def noted(method: str, path: str, body: bytes = b"") -> Any:
            if path.startswith("/marketfeed"):
                self.asked_s.append(time.monotonic())
            return await real(method, path, body)

        line.request = noted  # type: ignore[method-assign]

    async def started(self) -> dict[str, Any]:
        """Seconds until guarded, subscribed and priced, from before the monitor was made."""
        found: dict[str, float] = {}
        found["guarded_s"] = await self._when(lambda: len(self.parts.engine.guards) * 4 >= self.instruments)
        found["subscribed_s"] = await self._when(lambda: self.feed.status.subscribed >= self.instruments)
        await self._when(lambda: self.feed.status.lines_live == self.feed.status.needed)
        waiting = [key for key in self.parts.cache.keys() if self.feed.line_is_live(key)]  # noqa: SIM118  a method, not a dict
        while waiting:
            await asyncio.sleep(0.05)
            waiting = [key for key in waiting if self.parts.price_cache.feed_quote(key) is None]
        found["priced_s"] = time.perf_counter() - self.begun
        status = self.feed.status
        return (
            found | {"wanted": status.wanted, "unplaced": status.unplaced, "lines": status.lines_live} | self._costs()
        )

    async def lost(self) -> dict[str, Any]:
        """From the moment a connection stops being live until each of its instruments has a price of its new one."""
        line = await self._next_dead_line()
        begun, since_ns = time.perf_counter(), self.parts.clock.monotonic_ns()
        carried: list[InstrumentKey] = list(line.wanted)
        alone = sum(each.is_live for each in self.feed._lines)
        found: dict[str, Any] = {"carried": len(carried), "others_live": alone}
        await self._when(lambda: line.is_live)
        found["live_s"] = time.perf_counter() - begun
        waiting = carried
        while waiting:
            await asyncio.sleep(0.05)
            waiting = [key for key in waiting if not self._has_new(key, since_ns)]
        found["priced_s"] = time.perf_counter() - begun
        while not all(map(self._is_believed, carried)):  # noqa: ASYNC110  the monitor tells nobody
            await asyncio.sleep(0.2)
        found["believed_s"] = time.perf_counter() - begun
        return found | self._costs()

    def figures(self) -> dict[str, Any]:
        counts = {state.name: count for state, count in self.parts.prices.watch.trust.counts().items() if count}
        return {
            "rss_mb": _rss_mb(),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "trust": counts,
            "alerts": dict(
                Counter(f"{a.severity.value}: {a.subject}" for a in self.parts.runner.alerts).most_common(12)
            ),
            "packets": self.feed.status.packets,
            "rest": self.parts.fetcher.counts.requests,
            "rest_gap_s": min((b - a for a, b in pairwise(self.asked_s)), default=0.0),
            "stale": [str(key) for key, _ in self.parts.prices.watch.trust.doubted()][:5],
            "cpu_s": time.process_time(),
        } | self._costs()

    def _costs(self) -> dict[str, Any]:
        return {"beats": self.beats.take(), "check": self.checks.take()}

    def _has_new(self, key: InstrumentKey, since_ns: int) -> bool:
        quote = self.parts.price_cache.feed_quote(key)
        return quote is not None and quote.received_ns >= since_ns

    def _is_believed(self, key: InstrumentKey) -> bool:
        return self.parts.prices.watch.trust.state_of(key) in BELIEVED

    async def _next_dead_line(self) -> FeedLine:
        while True:
            for line in self.feed._lines:
                if line.wanted_count and not line.is_live:
                    return line
            await asyncio.sleep(0.005)

    async def _when(self, is_so: Any) -> float:
        while not is_so():  # noqa: ASYNC110  the monitor tells nobody
            await asyncio.sleep(0.01)
        return time.perf_counter() - self.begun


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def run(plan: dict[str, Any]) -> None:
    folder = Path(plan["folder"])
    settings = load_settings(plan["environment"], None)
    logs = set_up_logging(folder / "logs", "INFO", secrets=settings.secrets, screen=None)
    options = Options(alert_only=plan["mode"] == "alert", execute=plan["mode"] == "execute")
    monitor = Monitor(options, settings, lambda _: None, SystemClock())
    scale = Scale(monitor, plan["instruments"])
    if plan["room"]:
        scale.feed._room = plan["room"]
    beating = asyncio.create_task(scale.beats.run())
    running = asyncio.create_task(monitor.run())
    try:
        await _serve(scale, running)
    finally:
        beating.cancel()
        monitor.stop()
        with suppress(asyncio.CancelledError):
            await running
        logs.close()


async def _serve(scale: Scale, running: asyncio.Task[int]) -> None:
    loop = asyncio.get_running_loop()
    answers = {"started": scale.started, "lost": scale.lost}
    while not running.done():
        command = (await loop.run_in_executor(None, sys.stdin.readline)).strip()
        if command in {"", "end"}:
            return
        if command == "figures":
            answer = scale.figures()
        else:
            async with asyncio.timeout(_READY_S):
                work = asyncio.create_task(answers[command]())
                await asyncio.wait((work, running), return_when=asyncio.FIRST_COMPLETED)
                answer = work.result()
        print(json.dumps(answer), flush=True)


def main(plan: dict[str, Any]) -> None:
    try:
        import uvloop  # noqa: PLC0415  optional, as in the program itself
    except ImportError:
        asyncio.run(run(plan))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(plan))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
