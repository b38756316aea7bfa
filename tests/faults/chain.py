"""Feed bytes to decision through the real parts: socket, decoder, price cache, engine. What the engine commands is only kept."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

from core.clock import SystemClock
from core.dhan.feed_connection import FeedPolicy
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.feed_line import FeedAccess, FeedSettings
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.journal_records import ExitStarted
from core.model.market import Quote
from core.model.position import Position
from core.model.signals import Mode
from core.position_cache_manager import PositionCacheManager
from core.price_cache import PriceCache
from core.websocket_manager import WebSocketManager

IST_S = 19_800
SECOND = 1_795_000_000
PATIENT = FeedPolicy(stale_after_ns=60_000_000_000, quiet_reconnect_after_ns=60_000_000_000)


def full(security_id: int, last: float, bid: float | None = None, ask: float | None = None, *, time=SECOND) -> bytes:
    """A Full packet of NSE_FNO as dhan_v2_protocol 2.4 lays it out; one tick of book each side unless given, 0 is no side."""
    bid, ask = last - 0.05 if bid is None else bid, last + 0.05 if ask is None else ask
    head = struct.pack("<BHBIfHI", 8, 162, 2, security_id, last, 75, time + IST_S)
    best = struct.pack("<IIHHff", 75 if bid else 0, 75 if ask else 0, 1, 1, bid, ask)
    return head + bytes(44) + best + bytes(80)


class Chain:
    """`started`: the exits begun, each with the monotonic time at which the engine said so."""

    def __init__(self, url: str, *positions: tuple[Position, ExitLevels], policy: FeedPolicy = PATIENT) -> None:
        self.clock = SystemClock()
        self.prices = PriceCache()
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.LIVE)
        self.started: list[tuple[ExitStarted, int]] = []
        self.taken: list[Quote] = []
        self.feed = WebSocketManager(
            FeedAccess(url, "1100000042", lambda: "t"),
            self.prices,
            self.on_quote,
            self.on_state,
            self.clock,
            settings=FeedSettings(policy=policy),
        )
        for position, levels in positions:
            self._keep(self.engine.handle(ev.PositionOpened(position, levels, self.clock.monotonic_ns())))
        self.feed.set_wanted(list(self.engine.cache.keys()))

    def on_quote(self, quote: Quote) -> None:
        self.taken.append(quote)
        self._keep(self.engine.on_quote(quote))

    def on_state(self, is_live: bool) -> None:
        self._keep(self.engine.handle(ev.FeedStateChanged(is_live, self.clock.monotonic_ns())))

    def tell_time(self) -> None:
        now = ev.TimePassed(self.clock.monotonic_ns(), self.clock.utc_ns(), session_open=True, is_trading_day=True)
        self._keep(self.engine.handle(now))

    async def beat(self) -> None:
        """As the loop timer does: at the engine's deadlines, and four times a second."""
        while True:
            self.tell_time()
            wake, now = self.engine.next_wake_ns, self.clock.monotonic_ns()
            due_s = 0.25 if wake is None else min(0.25, max((wake - now) / 1e9, 0.001))
            await asyncio.sleep(due_s)

    def rules(self) -> dict[int, str]:
        return {record.position.strategy_id: record.signal.rule.value for record, _ in self.started}

    def _keep(self, commands: tuple[cmd.Command, ...]) -> None:
        now = self.clock.monotonic_ns()
        records = [command.record for command in commands if isinstance(command, cmd.WriteJournal)]
        self.started += [(record, now) for record in records if isinstance(record, ExitStarted)]


@contextlib.asynccontextmanager
async def running(chain: Chain) -> AsyncIterator[Chain]:
    tasks = [asyncio.create_task(chain.feed.run()), asyncio.create_task(chain.beat())]
    try:
        yield chain
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
