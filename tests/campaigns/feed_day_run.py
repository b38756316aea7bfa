"""One day: exchange and monitor as processes, three spoilable ways between them, what happened read from the exchange's own log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from datetime import time as clock_time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.campaigns.feed_day_market import INDICES, Day, write_master, write_recording, write_trades
from tests.campaigns.feed_day_storm import Storm
from tests.campaigns.feed_day_truth import STEP_S
from tests.fault_proxy import FaultProxy
from tests.integration.condor import environment, read_exits, read_trades
from tests.integration.processes import ROOT, ExchangeProcess, eventually, exchange_process
from tests.replay.oracle import IST

STORM_FROM_S: Final = 4.0
READY_S: Final = 60.0
START_TAKES_S: Final = 10


@dataclass(slots=True)
class Ran:
    """`started_ns` UTC of the first price. `orders`: (UTC ns, body) of each POST /orders, in order. `square_off` IST."""

    started_ns: int
    square_off: clock_time
    orders: list[tuple[int, dict[str, Any]]]
    fills: dict[str, list[tuple[str, int]]]
    net: dict[str, int]
    rows: dict[int, str]
    exits: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    censuses: list[dict[str, Any]]
    quote_failures_ns: list[int]
    connections: dict[str, Any]
    replay_late_s: float
    end: dict[str, Any]
    storm: Storm | None = None
    log_tail: str = field(default="", repr=False)


async def run_day(day: Day, folder: Path, seed: int, *, with_storm: bool) -> Ran:
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  nothing else runs yet
    write_recording(day, folder / "day.csv")
    write_master(day, folder / "master.csv")
    write_trades(day, folder / "trades.db")
    options = ("--replay", folder / "day.csv", "--instruments", folder / "master.csv", "--speed", day.speed)
    async with AsyncExitStack() as stack:
        exchange = await stack.enter_async_context(
            exchange_process(*map(str, options), "--replay-time", "now", "--seed", str(seed))
        )
        await exchange.post("settings", {"replay_quiet_s": 2.0})
        for plan in day.plans:
            for leg in plan.legs:
                held = {"security_id": leg.security_id, "units": leg.units, "price": leg.entry / 100}
                await exchange.post("position", {"segment": "NSE_FNO", "product": plan.product, **held})
        host = urlsplit(exchange.ready["api_url"])
        assert host.hostname is not None
        assert host.port is not None
        feed, rest, updates = [
            await stack.enter_async_context(FaultProxy(host.hostname, host.port, seed=seed)) for _ in range(3)
        ]
        control = exchange.ready["api_url"].removesuffix("/v2") + "/control"
        held_ids = sorted(day.prices.keys() - set(INDICES))
        storm = Storm(control, feed, rest, held_ids, seed) if with_storm else None
        off_s = START_TAKES_S + round(day.steps * STEP_S * 0.6)
        square_off = datetime.fromtimestamp(time.time() + off_s, IST).time().replace(microsecond=0)
        ready = exchange.ready | {
            "api_url": rest.url(exchange.ready["api_url"]),
            "auth_url": rest.url(exchange.ready["auth_url"]),
            "feed_url": feed.url(exchange.ready["feed_url"]),
            "order_update_url": updates.url(exchange.ready["order_update_url"]),
        }
        settings = environment(ready, folder) | {
            "SQUARE_OFF_INTRADAY": f"{square_off:%H:%M:%S}",
            "ORDERS_PER_SECOND": "10",
        }
        monitor = await _start(folder, settings)
        try:
            started_ns = await _first_price(exchange, monitor)
            await _live(day, storm, started_ns, monitor)
            assert monitor.returncode is None, f"the monitor ended with {monitor.returncode}: {_tail(folder)}"
        finally:
            with suppress(ProcessLookupError):
                monitor.send_signal(signal.SIGTERM)
            await asyncio.wait_for(monitor.wait(), 30)
        return await _read(exchange, day, folder, started_ns, square_off, storm)


async def _start(folder: Path, settings: dict[str, str]) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DHAN_", "SUPABASE_", "STATE_"))}
    plan = json.dumps({"folder": str(folder), "environment": settings})
    with (folder / "output.txt").open("wb") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.campaigns.feed_day_monitor",
            plan,
            cwd=ROOT,
            env=clean,
            stdout=output,
            stderr=output,
        )


async def _first_price(exchange: ExchangeProcess, monitor: asyncio.subprocess.Process) -> int:
    found: list[dict[str, Any]] = []

    async def has_begun() -> bool:
        found[:] = await exchange.get("log?event=replay_started")
        assert monitor.returncode is None, "the monitor did not start"
        await asyncio.sleep(0.1)
        return bool(found)

    await eventually(has_begun, READY_S)
    return int(found[0]["at_ns"])


async def _live(day: Day, storm: Storm | None, started_ns: int, monitor: asyncio.subprocess.Process) -> None:
    """The storm ends with the day; the tail is calm. The last second of it is left out: then the prices end."""

    async def until(seconds: float) -> None:
        left = started_ns / 1e9 + seconds - time.time()
        with suppress(TimeoutError):
            await asyncio.wait_for(monitor.wait(), max(left, 0.0))

    day_s = day.steps * STEP_S
    await until(STORM_FROM_S)
    monitor.send_signal(signal.SIGUSR1)
    if storm is not None:
        await storm.blow(started_ns / 1e9 + day_s - time.time())
    await until(day_s + day.tail * STEP_S - 2.0)
    monitor.send_signal(signal.SIGUSR1)
    await until(day_s + day.tail * STEP_S - 1.5)


async def _read(
    exchange: ExchangeProcess, day: Day, folder: Path, started_ns: int, square_off: clock_time, storm: Storm | None
) -> Ran:
    await asyncio.sleep(2.5)
    requests = await exchange.get("log?event=request")
    orders = [
        (line["at_ns"], line["body"]) for line in requests if (line["method"], line["path"]) == ("POST", "/orders")
    ]
    of_id = {body["correlationId"]: body for _, body in orders}
    fills: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for fill in await exchange.get("log?event=fill"):
        body = of_id[fill["correlation_id"]]
        fills[str(body["securityId"])].append((body["transactionType"], fill["quantity"]))
    statistics = await exchange.get("statistics")
    finished = await exchange.get("log?event=replay_finished")
    length_s = (day.steps + day.tail - 1) * STEP_S
    late_s = (finished[0]["at_ns"] - started_ns) / 1e9 - length_s if finished else float("nan")
    failures = [each["at_ns"] for each in statistics["quote_requests"] if each["status"] >= 300]
    return Ran(
        started_ns=started_ns,
        square_off=square_off,
        orders=orders,
        fills=dict(fills),
        net=(await exchange.get("state"))["net"],
        rows={row["new_id"]: row["order_status"] for row in read_trades(folder / "trades.db")},
        exits=read_exits(folder),
        samples=_lines(folder / "probe.json"),
        censuses=_lines(folder / "census.json"),
        quote_failures_ns=failures,
        connections=statistics["feed"],
        replay_late_s=late_s,
        end=json.loads((folder / "end.json").read_text(encoding="utf-8")),
        storm=storm,
        log_tail=_tail(folder),
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _tail(folder: Path) -> str:
    return (folder / "output.txt").read_text(encoding="utf-8", errors="replace")[-2_000:]
