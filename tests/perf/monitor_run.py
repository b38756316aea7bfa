"""The real monitor in execute mode, in a process of its own: started, watched, and asked afterwards what it did when.

Nothing is put into its way: every time comes from the records the engine keeps of its exits. Changed: the order budget
(10 a second by regulation) is lifted, so that hundreds of exits fit into seconds.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from core.clock import SystemClock
from core.exits.order_gate import per_second
from core.log_setup import set_up_logging
from core.monitor import Monitor
from core.options import Options
from core.settings import load_settings

ORDERS_PER_SECOND: Final = 1_000
_SAMPLE_S: Final = 0.1
_READY_S: Final = 45.0


def lift_budget(monitor: Monitor) -> None:
    desk = monitor.parts.engine.desk
    desk.settings = replace(desk.settings, orders_per_second=ORDERS_PER_SECOND)
    desk.second_budget = per_second(ORDERS_PER_SECOND)


def is_ready(monitor: Monitor) -> bool:
    """Every position has its P&L, the feed is live, the first REST prices are in, and nothing is being read."""
    parts = monitor.parts
    guards = parts.engine.guards.values()
    return bool(
        guards
        and parts.feed is not None
        and parts.feed.is_live
        and parts.engine.desk.holdings.report is not None
        and not parts.fetcher._asked
        and all(guard.booked.pnl is not None for guard in guards)
    )


async def run_monitor(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    settings = load_settings(environment, None)
    logs = set_up_logging(folder / "logs", "INFO", secrets=settings.secrets, screen=None)
    monitor = Monitor(Options(execute=True), settings, lambda _: None, SystemClock())
    lift_budget(monitor)
    started = time.monotonic()
    running = asyncio.create_task(monitor.run())
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                while not running.done() and not is_ready(monitor):  # noqa: ASYNC110  the monitor tells nobody
                    await asyncio.sleep(0.05)
        ready = {"ready": is_ready(monitor), "start_s": time.monotonic() - started}
        print(json.dumps(ready), flush=True)
        samples = await _sample_until_told(running)
        monitor.stop()
        await running
    finally:
        logs.close()
    return _what_it_did(monitor) | {"samples": samples}


async def _sample_until_told(running: asyncio.Task[int]) -> list[tuple[int, int]]:
    """(monotonic ns, CPU ns of the process) ten times a second, until the parent says stop."""
    told = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    samples = []
    while not told.done() and not running.done():
        samples.append((time.monotonic_ns(), time.process_time_ns()))
        await asyncio.sleep(_SAMPLE_S)
    return samples


def _what_it_did(monitor: Monitor) -> dict[str, Any]:
    engine, parts = monitor.parts.engine, monitor.parts
    closed = [found.running for found in engine.desk.closed]
    exits = [
        {
            "security_id": running.legs[0].leg.instrument.key.security_id,
            "received_ns": running.signal.tick_received_ns,
            "decided_ns": running.decided_ns,
            "orders": [
                {
                    "correlation_id": attempt.intent.correlation_id,
                    "prepared_ns": attempt.prepared_ns,
                    "durable_ns": attempt.durable_ns,
                    "sent_ns": attempt.sent_ns,
                }
                for attempt in running.attempts
            ],
        }
        for running in (*closed, *engine.unresolved)
    ]
    status = None if parts.feed is None else parts.feed.status
    return {
        "exits": exits,
        "unfinished": len(engine.unresolved),
        "alerts": sorted({alert.subject for alert in parts.runner.alerts})[:10],
        "packets": 0 if status is None else status.packets,
        "corrupt": 0 if status is None else status.corrupt,
        "reconnects": 0 if status is None else status.reconnects,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(plan: dict[str, Any]) -> None:
    work = run_monitor(Path(plan["folder"]), plan["environment"])
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
