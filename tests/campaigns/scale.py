"""Thousands of instruments through the whole monitor: `python -m tests.campaigns.scale [instruments …] [mode]` prints a table.

Four-leg positions in a SQLite file, the local exchange and the monitor as processes of their own. Each feed connection is lost in
turn by a reset; measured is how long until each instrument it carried is live again, and what the event loop felt of it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from core.model.instrument import Segment
from core.model.session_time import ist_datetime
from core.paper.instruments import FIRST_EXTRA_ID, generate
from core.stores.schema import create_tables
from tests.integration.condor import environment
from tests.integration.processes import ROOT, ExchangeProcess, exchange_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from core.model.instrument import Instrument

SIZES: Final = (1_000, 5_000, 25_000)
MODES: Final = ("alert", "execute", "simulation")
STRIKES: Final = 5
LEGS: Final = 4
BACK_WITHIN_S: Final = 10.0


@dataclass(slots=True)
class Result:
    """`losses`: one for each connection. Times in seconds since the beginning of what is measured."""

    instruments: int
    start: dict[str, Any]
    steady: dict[str, Any]
    losses: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] = field(default_factory=dict)
    rest_requests: int = 0
    busiest_second: int = 0
    shortest_gap_s: float = 0.0


def contracts(count: int) -> list[Instrument]:
    """The first `count` of the extra contracts, as any exchange process of today with so many lists them."""
    today = ist_datetime(time.time_ns()).date()
    keys = (x.instrument for x in generate(today, STRIKES, count) if x.instrument.key.segment is Segment.NSE_FNO)
    return [each for each in keys if each.key.security_id >= FIRST_EXTRA_ID]


def write_positions(database: Path, legs: list[Instrument], stop_rupees: int = 50_000_000) -> None:
    """Every four contracts are one position, two sold and two bought. Its stop is far away."""
    create_tables(database)
    rows, levels = [], []
    for at, leg in enumerate(legs):
        strategy, strike = 10_000 + at // LEGS, None if leg.strike is None else leg.strike / 100
        action, right = ("BUY", "SELL")[at % 2], None if leg.right is None else leg.right.value
        rows.append((at + 1, strategy, f"E{at}", leg.key.security_id, right, action, leg.lot, strike))
        if at % LEGS == 0:
            levels += [(strategy, "stop_loss", stop_rupees, "price"), (strategy, "time_exit", 1, "dte")]
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO trades (new_id, strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy,"
            " action, quantity, price, strike_price, order_status, timestamp, product_type)"
            " VALUES (?, ?, ?, ?, 'NSE_FNO', 'NIFTY', ?, 'Iron Condor', ?, ?, 100, ?, 'open', '2026-11-19T10:00', 'MARGIN')",
            rows,
        )
        connection.executemany(
            "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
            " VALUES (?, ?, 'primary', ?, ?, 'Close entire position')",
            levels,
        )
    connection.close()


async def hold(exchange: ExchangeProcess, legs: list[Instrument]) -> None:
    """The account holds what the rows say: otherwise each position would count as closed by somebody else."""
    url = exchange.ready["api_url"].removesuffix("/v2") + "/control/position"
    async with aiohttp.ClientSession() as http:
        for at, leg in enumerate(legs):
            units = leg.lot if at % 2 == 0 else -leg.lot
            body = {"segment": "NSE_FNO", "security_id": leg.key.security_id, "units": units, "price": 100}
            async with http.post(url, json=body) as answer:
                assert answer.status < 300, await answer.text()


class MonitorProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, command: str, seconds: float = 240.0) -> dict[str, Any]:
        await self.say(command)
        return await self.answer(command, seconds)

    async def say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        await self._process.stdin.drain()

    async def answer(self, command: str, seconds: float = 240.0) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the monitor ended instead of answering {command!r}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        with suppress(ConnectionError):
            await self.say("end")
        try:
            async with asyncio.timeout(30):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def monitor_process(plan: dict[str, Any]) -> AsyncIterator[MonitorProcess]:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "tests.campaigns.scale_monitor", json.dumps(plan))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    monitor = MonitorProcess(process)
    try:
        yield monitor
    finally:
        await monitor.end()


async def measure(
    folder: Path, instruments: int, *, room: int = 0, steady_s: float = 20.0, mode: str = "alert"
) -> Result:
    """`room`: instruments on one connection, 0 for Dhan's 5,000. `folder` must exist.

    `mode`: "alert" and "execute" read the account's positions, too, "simulation" does not.
    """
    legs = contracts(instruments)
    write_positions(folder / "trades.db", legs)
    every = max(2, instruments // 600)
    options = ("--extra", str(instruments), "--strikes", str(STRIKES), "--contract-every", str(every))
    async with exchange_process(*options) as exchange:
        if mode != "simulation":
            await hold(exchange, legs)
        given = {"instruments": instruments, "room": room, "mode": mode}
        plan = {"folder": str(folder), "environment": environment(exchange.ready, folder), **given}
        async with monitor_process(plan) as monitor:
            start = await monitor.ask("started")
            await monitor.ask("figures")
            await asyncio.sleep(steady_s)
            result = Result(instruments, start, await monitor.ask("figures"))
            for _ in range(start["lines"]):
                result.losses.append(await _lose_oldest(exchange, monitor))
                await asyncio.sleep(1.0)
            result.end = await monitor.ask("figures")
        _count_requests(result, await exchange.get("statistics"))
    return result


async def _lose_oldest(exchange: ExchangeProcess, monitor: MonitorProcess) -> dict[str, Any]:
    """The connection that has lived longest, so that each is lost once."""
    live = (await exchange.get("statistics"))["feed"]["live"]
    await monitor.say("lost")
    await asyncio.sleep(0.2)
    number = min(each["number"] for each in live)
    await exchange.post("fault", {"kind": "feed_reset", "where": {"connection": number}})
    return await monitor.answer("lost")


def _count_requests(result: Result, statistics: dict[str, Any]) -> None:
    at_s = [each["at_ns"] / 1e9 for each in statistics["quote_requests"]]
    result.rest_requests = len(at_s)
    result.shortest_gap_s = min((later - earlier for earlier, later in pairwise(at_s)), default=0.0)
    result.busiest_second = max((sum(at <= each < at + 1 for each in at_s) for at in at_s), default=0)


def shown(result: Result) -> str:
    start, steady, end = result.start, result.steady, result.end
    lines = [
        f"{result.instruments:,} instruments, {result.instruments // LEGS:,} positions, {start['lines']} connections"
    ]
    lines.append(
        f"  start: guarded {start['guarded_s']:.1f} s, subscribed {start['subscribed_s']:.1f} s, priced {start['priced_s']:.1f} s;"
        f" wanted {start['wanted']:,}, without room {start['unplaced']:,}"
    )
    lines += [_felt("  start", start), _felt("  steady", steady)]
    for number, loss in enumerate(result.losses, start=1):
        text = f"  {number}: {loss['carried']:,} lost, others live {loss['others_live']}; live {loss['live_s']:.2f} s,"
        lines.append(f"{text} all priced {loss['priced_s']:.2f} s, all believed {loss['believed_s']:.2f} s")
        lines.append(_felt("    ", loss))
    lines.append(_felt("  end", end))
    lines.append(
        f"  REST: {result.rest_requests} quote requests, most in one second {result.busiest_second},"
        f" shortest gap {result.shortest_gap_s:.3f} s; memory {steady['rss_mb']:.0f} MB, peak {end['peak_mb']:.0f} MB;"
        f" CPU {end['cpu_s']:.0f} s; packets {end['packets']:,}"
    )
    lines.append(
        f"  states at the end {end['trust']}, doubted {end['stale']}; requests for quotes left {end['rest_gap_s']:.3f} s apart"
    )
    lines.append(f"  alerts {end['alerts']}")
    return "\n".join(lines)


def _felt(name: str, of: dict[str, Any]) -> str:
    beats, check = of["beats"], of["check"]
    late = "".join(f"\n        late: {each}" for each in beats["late"])
    return (
        f"{name} loop late: max {beats['wall_max_ms']:.0f} ms, p99 {beats['wall_p99_ms']:.1f} ms (own CPU max"
        f" {beats['cpu_max_ms']:.0f}, p99 {beats['cpu_p99_ms']:.1f}); PriceTrust.check max {check['max_ms']:.2f} ms,"
        f" p99 {check['p99_ms']:.2f} ms, median {check['median_us']:.0f} us{late}"
    )


async def main(sizes: tuple[int, ...], mode: str) -> int:
    is_good = True
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            result = await measure(Path(folder), size, mode=mode)
        print(shown(result), flush=True)
        is_good &= all(loss["priced_s"] <= BACK_WITHIN_S for loss in result.losses) and result.end["rest_gap_s"] >= 1.0
    return 0 if is_good else 1


if __name__ == "__main__":
    given = tuple(int(text) for text in sys.argv[1:] if text.isdecimal())
    named = next((text for text in sys.argv[1:] if text in MODES), MODES[0])
    sys.exit(asyncio.run(main(given or SIZES, named)))
