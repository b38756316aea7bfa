"""The real monitor, with or without its price cache in Redis, and the time from the sending of each tick to its decision.

A tick is decided when the engine's `on_quote` has returned. One wrapper around that stamps it, the same in every condition; nothing
else is in the way. Told by lines on stdin: the time window to report on (JSON), which also ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from core.clock import SystemClock
from core.log_setup import set_up_logging
from core.model.market import Quote
from core.model.session_time import NS_PER_S
from core.monitor import Monitor
from core.options import Options
from core.settings import load_settings
from tests.perf.figures import spread
from tests.perf.monitor_run import is_ready
from tests.perf.stamped_feed import WRAP

_READY_S: Final = 45.0
_SAMPLE_S: Final = 0.1
_MOST_US: Final = 60_000_000


class Stamps:
    """Of each tick: when it was decided, and how long after its sending (µs)."""

    def __init__(self) -> None:
        self.at_us = array("Q")
        self.took_us = array("I")

    def watch(self, monitor: Monitor) -> None:
        engine = monitor.parts.engine
        decide, at_us, took_us = engine.on_quote, self.at_us, self.took_us

        def on_quote(quote: Quote) -> Any:
            commands = decide(quote)
            now = time.monotonic_ns() // 1_000
            at_us.append(now)
            took_us.append((now - quote.bid_size) % WRAP)
            return commands

        engine.on_quote = on_quote

    def seconds_of(self, start_ns: int, end_ns: int) -> list[dict[str, float]]:
        """The spread of each whole second: what another program on the machine does in one spoils that one only."""
        start, count = start_ns // 1_000, (end_ns - start_ns) // NS_PER_S
        took: list[list[int]] = [[] for _ in range(count)]
        for at, us in zip(self.at_us, self.took_us, strict=True):
            second = (at - start) // 1_000_000
            # Prices over REST carry no stamp: their "age" is far beyond anything real.
            if 0 <= second < count and us < _MOST_US:
                took[second].append(us)
        return [spread(values) for values in took]


async def run(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    settings = load_settings(environment, None)
    logs = set_up_logging(folder / "logs", "INFO", secrets=settings.secrets, screen=None)
    monitor = Monitor(Options(execute=True), settings, lambda _: None, SystemClock())
    redis = monitor.parts.prices.redis
    stamps = Stamps()
    stamps.watch(monitor)
    running = asyncio.create_task(monitor.run())
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                while not running.done() and not is_ready(monitor):  # noqa: ASYNC110  the monitor tells nobody
                    await asyncio.sleep(0.05)
        print(json.dumps({"ready": is_ready(monitor)}), flush=True)
        window, samples = await _sample_until_told(running)
        status = None if redis is None else redis.status
        found = {
            "us": stamps.seconds_of(*window),
            "samples": samples,
            "exits": len(monitor.parts.engine.desk.closed),
            "redis": None if status is None else [status.state.value, status.written, status.failures, status.refills],
        }
        monitor.stop()
        await running
    finally:
        logs.close()
    return found


async def _sample_until_told(running: asyncio.Task[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """The window that was asked about, and (monotonic ns, CPU ns of the process) ten times a second until then."""
    told = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    samples = []
    while not told.done() and not running.done():
        samples.append((time.monotonic_ns(), time.process_time_ns()))
        await asyncio.sleep(_SAMPLE_S)
    return json.loads(await told), samples


def main(plan: dict[str, Any]) -> None:
    work = run(Path(plan["folder"]), plan["environment"])
    try:
        import uvloop  # noqa: PLC0415  optional, as in the program itself
    except ImportError:
        done = asyncio.run(work)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            done = runner.run(work)
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
