"""The local exchange and the monitor as processes of their own: nothing shared but sockets and files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from tests.integration.condor import CondorLeg

ROOT = Path(__file__).resolve().parents[2]


class ExchangeProcess:
    """`python -m core.paper`, spoken to over HTTP only."""

    def __init__(self, ready: dict[str, str]) -> None:
        self.ready = ready
        self._control = ready["api_url"].removesuffix("/v2") + "/control"

    async def post(self, path: str, body: dict[str, Any]) -> None:
        async with aiohttp.ClientSession() as http, http.post(f"{self._control}/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()

    async def get(self, path: str) -> Any:
        async with aiohttp.ClientSession() as http, http.get(f"{self._control}/{path}") as answer:
            return await answer.json()

    async def placed(self) -> list[dict[str, Any]]:
        """Bodies of the POST /v2/orders requests that reached the exchange, by its own log, in order."""
        requests = await self.get("log?event=request")
        return [line["body"] for line in requests if line["method"] == "POST" and line["path"] == "/orders"]

    async def order_side_requests(self) -> list[str]:
        """Every request that could place, change or cancel an order, by the exchange's own log."""
        requests = await self.get("log?event=request")
        return [
            f"{line['method']} {line['path']}"
            for line in requests
            if line["method"] != "GET" and not line["path"].startswith("/marketfeed")
        ]

    async def set_prices(self, legs: Sequence[CondorLeg], prices: Sequence[int]) -> None:
        for leg, price in zip(legs, prices, strict=True):
            quote = {"last": price / 100, "bid": (price - 5) / 100, "ask": (price + 5) / 100}
            body = {"segment": "NSE_FNO", "security_id": leg.security_id, "bid_size": 6500, "ask_size": 6500}
            await self.post("quote", body | quote)

    async def hold(self, legs: Sequence[CondorLeg]) -> None:
        for leg in legs:
            body = {"segment": "NSE_FNO", "security_id": leg.security_id, "units": leg.units, "price": leg.entry / 100}
            await self.post("position", body)


@asynccontextmanager
async def exchange_process(*options: str) -> AsyncIterator[ExchangeProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "core.paper", *options, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
        yield ExchangeProcess(json.loads(line))
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def start_monitor(environment: dict[str, str], *options: str) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DHAN_", "SUPABASE_", "STATE_"))}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "realtime_automated_monitor.py",
        *options,
        cwd=ROOT,
        env=clean | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def eventually(is_true: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait for something that another process does. The limit is a failure, not a measure."""
    async with asyncio.timeout(seconds):
        while True:
            value = is_true()
            if asyncio.iscoroutine(value):
                value = await value
            if value:
                return
            await asyncio.sleep(0.01)
