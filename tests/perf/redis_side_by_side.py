"""What Redis costs the ticks: `make bench-redis`, or `python -m tests.perf.redis_side_by_side`. Needs a Redis server.

The real monitor at 10,000 ticks a second, from the sending of each tick to its decision: without Redis, and with one that is
healthy, stopped, frozen (SIGSTOP), or flushed every second; it was healthy for a second before. Every round is a monitor of its
own; the rounds of all conditions take turns, in another order each time. "Without" is there twice: a difference has to exceed
theirs, and the spread between equal rounds, before it means anything. Prints a table and writes logs/bench_redis.json; passes or
fails nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.fakes.redis_server import RedisServer
from tests.perf.bench_book import make_book, write_book
from tests.perf.chain import ROOT, _cpu_between, _environment, child
from tests.perf.figures import machine, percentile

RATE: Final = 10_000
POSITIONS, INSTRUMENTS = 250, 1_000
_WITHOUT, _WITHOUT_AGAIN = "without", "without again"
CONDITIONS: Final = (_WITHOUT, "healthy", "stopped", "frozen", "flushed", _WITHOUT_AGAIN)
_SETTLE_S: Final = 1.0
_SHOWN: Final = ("p50", "p99", "p99_9")


@asynccontextmanager
async def disturbed(server: RedisServer, condition: str) -> AsyncIterator[None]:
    """Redis in that condition, and well again afterwards."""
    if condition == "stopped":
        server.stop()
    elif condition == "frozen":
        server.freeze()
    flushing = asyncio.create_task(_flush(server)) if condition == "flushed" else None
    try:
        yield
    finally:
        if flushing is not None:
            flushing.cancel()
        if condition == "stopped":
            server.start()
        elif condition == "frozen":
            server.thaw()


async def _flush(server: RedisServer) -> None:
    """Over one plain connection: a client library at work on the second core would be measured, too."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        while True:
            await asyncio.sleep(1.0)
            writer.write(b"FLUSHALL\r\n")
            await reader.readline()
    finally:
        writer.close()


async def one_round(server: RedisServer, condition: str, seconds: float) -> dict[str, Any]:
    book = make_book(POSITIONS, INSTRUMENTS - 1, 1)
    ids = list(book.ids)
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_book(book, folder / "trades.db", folder / "instruments.csv")
        async with AsyncExitStack() as stack:
            orders = await stack.enter_async_context(child("order_server", {"client_id": "1000000001", "ids": ids}))
            quiet = {
                "rate": RATE,
                "ids": ids,
                "quiet_s": seconds + _SETTLE_S,
                "fresh": [],
                "fresh_gap_s": 0.0,
                "stale": [],
            }
            feed = await stack.enter_async_context(child("stamped_feed", quiet))
            environment = _environment(folder, (await orders.hear(10))["port"], (await feed.hear(10))["port"])
            if not condition.startswith(_WITHOUT):
                environment["REDIS_URL"] = server.url
            plan = {"folder": name, "environment": environment}
            monitor = await stack.enter_async_context(child("redis_monitor", plan))
            if not (await monitor.hear(60))["ready"]:
                raise RuntimeError("the monitor was not ready in time")
            # Connected, and everything written once.
            await asyncio.sleep(_SETTLE_S)
            async with disturbed(server, condition):
                feed.say("go")
                told = await feed.hear(60 + seconds)
            quiet = told["phases"]["quiet"]
            start, end = quiet["start_ns"] + int(_SETTLE_S * 1e9), quiet["end_ns"]
            monitor.say(json.dumps([start, end]))
            did = await monitor.hear(30)
    cpu = _cpu_between(did.pop("samples"), start, end) / (end - start)
    return {"condition": condition, "cpu": cpu, "sender_worst_lag_ms": told["worst_lag_ms"]} | did


async def run(rounds: int, seconds: float) -> dict[str, Any]:
    began, found = time.monotonic(), []
    on = machine()
    with RedisServer() as server:
        for number in range(rounds):
            turn = number % len(CONDITIONS)
            for condition in CONDITIONS[turn:] + CONDITIONS[:turn]:
                found.append(await one_round(server, condition, seconds))
                print(".", end="", flush=True)
    print()
    return {"machine": on, "seconds": seconds, "rounds": found, "took_s": time.monotonic() - began}


def table(found: dict[str, Any]) -> str:
    """Over all seconds of all rounds: the median second, and the quarter points. Markdown."""
    on = found["machine"]
    where = f"{on['cpu']}, {on['cores']} cores, Python {on['python']}, {on['loop']}, load {on['load_before']} before"
    what = f"{RATE:,} ticks/s on {INSTRUMENTS:,} instruments, {found['seconds']:.0f} s a round, {found['took_s']:.0f} s in all"
    lines = [
        f"{where}; {what}",
        "",
        "| Redis; tick sent → decision, µs: the median second (quarter points) | p50 | p99 | p99.9 | CPU, % | ticks | last round |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for condition in CONDITIONS:
        rounds = [each for each in found["rounds"] if each["condition"] == condition]
        seconds = [second for each in rounds for second in each["us"]]
        cells = [_cell([second[name] for second in seconds]) for name in _SHOWN]
        cells += [_cell([100 * each["cpu"] for each in rounds], 1), f"{sum(second['count'] for second in seconds):,}"]
        last = rounds[-1]["redis"]
        status = "" if last is None else "{}, {} written, {} failures, {} refills".format(*last)
        lines.append(f"| {condition} | {' | '.join(cells)} | {status} |")
    return "\n".join([*lines, "", *_verdict(found["rounds"])])


def _cell(values: list[float], digits: int = 0) -> str:
    low, high = percentile(values, 25), percentile(values, 75)
    return f"{median(values):.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def _verdict(rounds: list[dict[str, Any]]) -> list[str]:
    """The p99 of the median second of each condition, against the noise: how far apart equal rounds are."""

    def p99(*conditions: str) -> float:
        return median(second["p99"] for each in rounds if each["condition"] in conditions for second in each["us"])

    alike = [
        median(second["p99"] for second in each["us"]) for each in rounds if each["condition"].startswith(_WITHOUT)
    ]
    noise, without = max(alike) - min(alike), p99(_WITHOUT, _WITHOUT_AGAIN)
    halves = abs(p99(_WITHOUT) - p99(_WITHOUT_AGAIN))
    apart = f"its two halves differ by {halves:.0f} µs, its rounds by up to {noise:.0f} µs (the noise)"
    lines = [f"p99 without Redis: {without:.0f} µs; {apart}."]
    for name in CONDITIONS[1:-1]:
        more = p99(name) - without
        lines.append(f"{name}: {more:+.0f} µs, {'within' if abs(more) <= noise else 'beyond'} the noise.")
    return lines


def main() -> None:
    options = argparse.ArgumentParser(
        prog="python -m tests.perf.redis_side_by_side",
        description="Compare the latency with a healthy and a broken Redis.",
    )
    options.add_argument("--rounds", type=int, default=3, help="rounds of each condition (default 3)")
    options.add_argument("--seconds", type=float, default=8.0, help="seconds measured in each round (default 8)")
    chosen = options.parse_args()
    minutes = chosen.rounds * len(CONDITIONS) * (chosen.seconds + 7) / 60
    print(f"Measuring, about {minutes:.0f} minutes", flush=True)
    found = asyncio.run(run(chosen.rounds, chosen.seconds))
    path = ROOT / "logs" / "bench_redis.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    print(f"\nWritten to {path}")


if __name__ == "__main__":
    main()
