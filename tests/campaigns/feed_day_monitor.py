"""The real monitor in a process of its own, with a probe beside it on the same loop.

Changed, and nothing else: its instruments are spread over `LINES` connections, each with a canary, as if each had room (one would
carry them all), so that the failure of one is a failure of a part; and an account-wide block (429, 805) lasts `BLOCK_S` at least
instead of a minute, which would be an hour of the compressed day.

`python -m tests.campaigns.feed_day_monitor '{"folder": …, "environment": …}'` writes `probe.json` lines into the folder, and
at SIGUSR1 a line of `census.json`: the objects that live after a full collection. The monitor itself collects seldom, so its memory
holds dead connections for minutes; what is left after a collection is what somebody still holds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from core.clock import SystemClock
from core.dhan import disconnect_policy
from core.exit_codes import ExitCode
from core.log_setup import set_up_logging
from core.model.instrument import InstrumentKey
from core.monitor import Monitor
from core.options import Options
from core.settings import load_settings

LINES: Final = 4
BLOCK_S: Final = 8
STALL_STEP_S: Final = 0.01
PAGE_KB: Final = os.sysconf("SC_PAGE_SIZE") // 1_024


def shorten_blocks() -> None:
    for remedies in (disconnect_policy._REMEDY_OF_CODE, disconnect_policy._REMEDY_OF_HTTP):
        for name, remedy in remedies.items():
            if remedy.is_account_wide:
                remedies[name] = replace(remedy, least_s=BLOCK_S, most_s=4 * BLOCK_S)


def spread(monitor: Monitor) -> None:
    """As many instruments on each connection as makes `LINES` of them, and the first canary on each."""
    feed = monitor.parts.feed
    assert feed is not None
    set_wanted = feed.set_wanted

    def spread_over_lines(keys: Any) -> None:
        wanted = tuple(keys)
        if not feed._line_of:
            feed._room = math.ceil(len(wanted) / LINES)
        set_wanted(wanted)

    def canary_of(line: Any) -> InstrumentKey | None:
        return feed._canaries[0] if line.wanted_count else None

    feed.set_wanted = spread_over_lines  # type: ignore[method-assign]
    feed._canary_of = canary_of  # type: ignore[method-assign]


class Probe:
    """Once a second a line of what the process holds; the stall of the loop every 10 ms."""

    def __init__(self, monitor: Monitor, folder: Path) -> None:
        self._monitor = monitor
        self._folder = folder
        self._file = (folder / "probe.json").open("w", encoding="utf-8")
        self._stalls_us: list[int] = []

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._count)
        tasks = (asyncio.ensure_future(self._measure_stalls()), asyncio.ensure_future(self._sample()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _count(self) -> None:
        collected = gc.collect()
        kinds = Counter(type(each).__name__ for each in gc.get_objects())
        facts = {"collected": collected, "objects": kinds.total(), "most": dict(kinds.most_common(12))}
        with (self._folder / "census.json").open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")

    async def _measure_stalls(self) -> None:
        while True:
            before = time.monotonic_ns()
            await asyncio.sleep(STALL_STEP_S)
            self._stalls_us.append((time.monotonic_ns() - before) // 1_000 - round(STALL_STEP_S * 1e6))

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.write()

    def write(self) -> None:
        self._file.write(json.dumps(self._facts()) + "\n")
        self._file.flush()

    def _facts(self) -> dict[str, Any]:
        stalls, self._stalls_us = self._stalls_us, []
        parts = self._monitor.parts
        feed = parts.feed
        assert feed is not None
        status, updates = feed.status, parts.order_updates
        tasks = asyncio.all_tasks()
        return {
            "at_ns": time.time_ns(),
            "rss_kb": int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE_KB,
            "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  nothing of it is opened
            "threads": len(os.listdir("/proc/self/task")),  # noqa: PTH208
            "tasks": len(tasks),
            "task_names": sorted({task.get_coro().__qualname__ for task in tasks}),  # type: ignore[union-attr]
            "stalls_us": stalls,
            "cpu_ns": time.process_time_ns(),
            "lines_live": status.lines_live,
            "lines_needed": status.needed,
            "connected": status.connected,
            "reconnects": status.reconnects,
            "last_end": status.last_end,
            "packets": status.packets,
            "corrupt": status.corrupt,
            "bad_prices": status.bad_prices,
            "order_streams": 0 if updates is None else updates.status.connections,
            "rest_requests": parts.fetcher.counts.requests,
            "rest_failures": parts.fetcher.counts.failures,
            "states": _states(parts.prices.watch.trust),
            "priced": all(guard.booked.pnl is not None for guard in parts.engine.guards.values()),
            "positions": len(parts.engine.guards),
            "idle": parts.engine.is_idle,
            "unwritten": len(parts.engine.desk.unwritten),
        }


def _states(trust: Any) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for watched in trust._watched.values():
        counts[watched.state.value] = counts.get(watched.state.value, 0) + 1
    return counts


async def run_monitor(folder: Path, environment: dict[str, str]) -> int:
    settings = load_settings(environment, None)
    logs = set_up_logging(folder / "logs", "INFO", secrets=settings.secrets, screen=None)
    monitor = Monitor(Options(execute=True), settings, _show_nobody, SystemClock())
    spread(monitor)
    probe = Probe(monitor, folder)
    probing = asyncio.create_task(probe.run())
    try:
        return await monitor.run()
    finally:
        probing.cancel()
        logs.close()


def _show_nobody(_view: object) -> None:
    pass


def _run(work: Any, factory: Callable[[], asyncio.AbstractEventLoop] | None) -> int:
    with asyncio.Runner(loop_factory=factory) as runner:
        return int(runner.run(work))


def main(plan: dict[str, Any]) -> int:
    shorten_blocks()
    folder = Path(plan["folder"])
    try:
        import uvloop  # noqa: PLC0415  optional, as in the program itself
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    code = _run(run_monitor(folder, plan["environment"]), factory)
    logging.shutdown()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    (folder / "end.json").write_text(json.dumps({"code": code, "peak_rss_kb": usage.ru_maxrss}), encoding="utf-8")
    return ExitCode.CLEAN if code == ExitCode.CLEAN else code


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
