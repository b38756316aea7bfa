"""One run of the whole chain at one tick rate: feed process → monitor process → order server process, then the figures.

Times are of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from tests.perf.bench_book import make_book, write_book
from tests.perf.figures import disk_ms, spread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
_CLIENT: Final = "1000000001"
_QUIET_S: Final = 3.0
_NS_PER_US: Final = 1_000
_START_S: Final = 60.0
_END_S: Final = 20.0


class Child:
    """A module of this package as a process that speaks JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def hear(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"expected a line from process {self._process.pid}, it has ended")
        return json.loads(line)

    def say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())


@asynccontextmanager
async def child(module: str, plan: dict[str, Any]) -> AsyncIterator[Child]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.perf.{module}", json.dumps(plan),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
        env={name: value for name, value in os.environ.items() if not name.startswith("DHAN_")},
    )  # fmt: skip
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def measure(
    rate: int, size: tuple[int, int], *, fresh: int, fresh_gap_s: float, stale: int = 0, stale_gap_s: float = 1.6
) -> dict[str, Any]:
    """Run the chain once, with a book of `size` (positions, instruments).

    `fresh` triggers with the broker's positions at hand, then `stale` without. Gaps in seconds.
    """
    # The monitor also watches the index: with it the instruments are as many as one connection takes.
    book = make_book(size[0], size[1] - 1, fresh + stale)
    ids, singles = list(book.ids), book.singles
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_book(book, folder / "trades.db", folder / "instruments.csv")
        disk = disk_ms(folder)
        async with AsyncExitStack() as stack:
            orders = await stack.enter_async_context(child("order_server", {"client_id": _CLIENT, "ids": ids}))
            feed_plan = {
                "rate": rate, "ids": ids, "quiet_s": _QUIET_S, "fresh": singles[:fresh], "fresh_gap_s": fresh_gap_s,
                "stale": singles[fresh : fresh + stale], "stale_gap_s": stale_gap_s,
            }  # fmt: skip
            feed = await stack.enter_async_context(child("feed_sender", feed_plan))
            order_port, feed_port = (await orders.hear(10))["port"], (await feed.hear(10))["port"]
            plan = {"folder": name, "environment": _environment(folder, order_port, feed_port)}
            monitor = await stack.enter_async_context(child("monitor_run", plan))
            ready = await monitor.hear(_START_S)
            if not ready["ready"]:
                raise RuntimeError(f"the monitor was not ready in time: {ready}")
            feed.say("go")
            told = await feed.hear(_START_S + fresh * fresh_gap_s + stale * stale_gap_s)
            await asyncio.sleep(1.5)
            monitor.say("stop")
            did = await monitor.hear(_END_S)
            orders.say("stop")
            served = await orders.hear(_END_S)
    found = _figures(
        rate, ready, told, did, served, {"fresh": singles[:fresh], "stale": singles[fresh : fresh + stale]}
    )
    return {"positions": size[0], "instruments": size[1], "disk_fsync_ms": disk} | found


def _environment(folder: Path, order_port: int, feed_port: int) -> dict[str, str]:
    return {
        "DHAN_CLIENT_ID": _CLIENT,
        "DHAN_ACCESS_TOKEN": "bench",
        "LIVE_TRADING_ACCOUNT": _CLIENT,
        "DHAN_API_URL": f"http://127.0.0.1:{order_port}/v2",
        "DHAN_ORDER_UPDATE_URL": f"ws://127.0.0.1:{order_port}/order-update",
        "DHAN_AUTH_URL": f"http://127.0.0.1:{order_port}",
        "DHAN_FEED_URL": f"ws://127.0.0.1:{feed_port}/feed",
        "DHAN_INSTRUMENTS": str(folder / "instruments.csv"),
        "TRADES_DB": str(folder / "trades.db"),
        "STATE_DIR": str(folder / "state"),
        "LOG_DIR": str(folder / "logs"),
        "MARKET_HOURS": "always",
    }


def _figures(
    rate: int,
    ready: dict[str, Any],
    told: dict[str, Any],
    did: dict[str, Any],
    served: dict[str, Any],
    groups: dict[str, Sequence[int]],
) -> dict[str, Any]:
    arrived = {corr: at_ns for corr, (_, at_ns) in served["arrived"].items()}
    sent = {int(security_id): at_ns for security_id, at_ns in told["sent_ns"].items()}
    exits = {found["security_id"]: found for found in did["exits"]}
    quiet = told["phases"]["quiet"]
    ticks = quiet["ticks"]
    cpu = _cpu_between(did["samples"], quiet["start_ns"], quiet["end_ns"])
    return {
        "ticks_per_second": rate,
        "start_s": ready["start_s"],
        "is_ready": ready["ready"],
        "cpu_us_per_tick": cpu / ticks / _NS_PER_US if ticks else None,
        "cpu_share": cpu / (quiet["end_ns"] - quiet["start_ns"]),
        "sender_worst_lag_ms": told["worst_lag_ms"],
        "groups": {
            name: _steps([exits[one] | {"wire_ns": sent[one]} for one in ids if one in exits and one in sent], arrived)
            | {"triggers": len(ids), "exits": sum(one in exits for one in ids)}
            for name, ids in groups.items()
            if ids
        },
        "orders_posted": len(arrived),
        "requests": served["requests"],
    } | {name: did[name] for name in ("unfinished", "alerts", "packets", "corrupt", "reconnects", "rss_mb")}


def _steps(exits: Sequence[dict[str, Any]], arrived: dict[str, int]) -> dict[str, Any]:
    """Microseconds of each step, over the first order of each exit that was sent."""
    rows = [(found, order) for found in exits for order in found["orders"][:1] if order["sent_ns"] is not None]
    steps: dict[str, list[float]] = {}

    def add(name: str, start_ns: int, end_ns: int) -> None:
        steps.setdefault(name, []).append((end_ns - start_ns) / _NS_PER_US)

    for found, order in rows:
        received, decided = found["received_ns"], found["decided_ns"]
        add("wire_to_received", found["wire_ns"], received)
        add("received_to_decision", received, decided)
        # The order is part of the decision, or it waits for a position report and is prepared later.
        prepared = max(decided, order["prepared_ns"])
        add("decision_to_order_ready", decided, prepared)
        add("order_ready_to_durable", prepared, order["durable_ns"])
        add("durable_to_sent", order["durable_ns"], order["sent_ns"])
        add("received_to_sent", received, order["sent_ns"])
        add("received_to_sent_without_journal", received, order["sent_ns"] - (order["durable_ns"] - prepared))
        at_server = arrived.get(order["correlation_id"])
        if at_server is not None:
            add("received_to_order_server", received, at_server)
            add("wire_to_order_server", found["wire_ns"], at_server)
    waited = sum(order["prepared_ns"] > found["decided_ns"] for found, order in rows)
    return {"sent": len(rows), "waited_for_positions": waited, "us": {name: spread(v) for name, v in steps.items()}}


def _cpu_between(samples: Sequence[Sequence[int]], start_ns: int, end_ns: int) -> float:
    """CPU ns the monitor used between two times, interpolated."""
    return _cpu_at(samples, end_ns) - _cpu_at(samples, start_ns)


def _cpu_at(samples: Sequence[Sequence[int]], at_ns: int) -> float:
    for (t0, c0), (t1, c1) in pairwise(samples):
        if t0 <= at_ns <= t1:
            return c0 + (c1 - c0) * (at_ns - t0) / (t1 - t0)
    return float(samples[0][1] if samples and at_ns < samples[0][0] else samples[-1][1])
