"""The whole monitor as the operator's process, an exchange as another, and a condor held between them."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.integration.condor import CALM, CondorLeg, environment, pick_condor, read_trades, write_rows
from tests.integration.processes import ExchangeProcess, exchange_process, start_monitor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PIN = "707707"
SECRET = "PARROTPARROTPARROTPARROTPARROTPA"


class MonitorRun:
    """What it says, line by line, with the time at which it was read. `ended_s` after the start, None before."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[tuple[float, str]] = []
        self.begun = time.monotonic()
        self.ended_s: float | None = None
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.lines.append((time.monotonic(), line.decode().rstrip()))
        await self.process.wait()
        self.ended_s = time.monotonic() - self.begun

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def count(self, words: str) -> int:
        return sum(words in line for _, line in self.lines)

    async def says(self, words: str, seconds: float = 10.0, since: float = 0.0) -> float:
        """The monotonic time at which a line with these words came, at or after `since`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for at, line in self.lines:
                        if at >= since and words in line:
                            return at
                    if self.ended_s is not None:
                        break
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        raise AssertionError(f"not said within {seconds} s: {words!r}\n{self.text[-4000:]}")

    async def ends(self, seconds: float = 20.0) -> int:
        async with asyncio.timeout(seconds):
            await self._reading
        assert self.process.returncode is not None
        return self.process.returncode

    async def stop(self) -> int:
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            return await self.ends()
        except TimeoutError:
            self.process.kill()
            await self._reading
            raise


class Scene:
    def __init__(self, exchange: ExchangeProcess, folder: Path, legs: tuple[CondorLeg, ...]) -> None:
        self.exchange, self.folder, self.legs = exchange, folder, legs
        self.environment = environment(exchange.ready, folder)
        self.runs: list[MonitorRun] = []

    async def start(self, *options: str, **changed: str | None) -> MonitorRun:
        """`changed`: variables to set, None takes one away."""
        given = {**self.environment, **changed}
        process = await start_monitor({name: value for name, value in given.items() if value is not None}, *options)
        run = MonitorRun(process)
        self.runs.append(run)
        return run

    async def guarding(self, *options: str, **changed: str | None) -> MonitorRun:
        """Started, with prices from the feed and the broker's book read."""
        run = await self.start(*options, **changed)
        await run.says("guarding 1 positions", 15)
        await self.until_fed()
        return run

    async def until_fed(self, seconds: float = 10.0) -> float:
        """Monotonic time at which some feed connection carries the condor and has brought something."""
        async with asyncio.timeout(seconds):
            while True:
                live = (await self.exchange.get("statistics"))["feed"]["live"]
                if any(each["subscribed"] > 1 and each["packets"] > 1 for each in live):
                    return time.monotonic()
                await asyncio.sleep(0.02)

    async def settings(self, **values: Any) -> None:
        await self.exchange.post("settings", values)

    async def fault(self, kind: str, **fields: Any) -> None:
        await self.exchange.post("fault", {"kind": kind, **fields})

    async def token(self, action: str) -> str:
        """ "renew" is what the operator does on Dhan's web site: the new token, and the old one is dead."""
        url = self.exchange.ready["api_url"].removesuffix("/v2") + "/control/token"
        async with aiohttp.ClientSession() as http, http.post(url, json={"action": action}) as answer:
            return str((await answer.json())["accessToken"])

    async def current_token(self) -> str:
        return self.exchange.ready["access_token"]

    async def asked(self) -> list[dict[str, Any]]:
        """Every attempt to mint, by the exchange's own log."""
        found: list[dict[str, Any]] = await self.exchange.get("log?event=token_asked")
        return found

    async def requests(self) -> dict[str, int]:
        found: dict[str, int] = (await self.exchange.get("statistics"))["requests"]
        return found

    async def prices(self, prices: list[int]) -> None:
        await self.exchange.set_prices(self.legs, prices)

    def sql(self, statement: str, *values: Any) -> None:
        with sqlite3.connect(self.folder / "trades.db") as connection:
            connection.execute(statement, values)
        connection.close()

    def open_rows(self) -> int:
        return sum(row["order_status"] == "open" for row in read_trades(self.folder / "trades.db"))

    def files(self) -> dict[Path, bytes]:
        """All that the monitor has written anywhere."""
        places = [self.folder / "state", self.folder / "logs", self.folder / "state2"]
        return {path: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}

    def token_file(self, token: str) -> Path:
        """Replaced as an editor does it: the new file takes the old one's place."""
        fresh = self.folder / "token.new"
        fresh.touch(mode=0o600)
        fresh.write_text(f"{token}\n")
        return fresh.replace(self.folder / "token")


@asynccontextmanager
async def scene_with_condor(folder: Path, *options: str) -> AsyncIterator[Scene]:
    async with exchange_process(*options) as exchange:
        scene = Scene(exchange, folder, pick_condor())
        await exchange.set_prices(scene.legs, CALM)
        await exchange.hold(scene.legs)
        write_rows(folder / "trades.db", scene.legs)
        try:
            yield scene
        finally:
            for run in scene.runs:
                if run.ended_s is None:
                    await run.stop()
