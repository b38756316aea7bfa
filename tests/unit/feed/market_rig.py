"""A market in virtual time: an exchange, a feed that can be muted, delayed or cut, a REST door, and the real parts behind them.

Real: PriceCache, PriceTrust, PriceWatch, ProtectionWatch, RealtimeMarketFetcher, the pace of one request a second, Engine, guards.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from types import SimpleNamespace

from core.brokers.dhan_broker import QUOTE_PACE
from core.brokers.pace import Pace
from core.dhan.feed_packets import FullPacket, Ticker
from core.dhan.segments import feed_id_of
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.exits.price_trust import TrustLimits
from core.model import events as ev
from core.model.commands import Alert, Severity
from core.model.errors import TransportError
from core.model.exit_levels import ExitLevels
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.model.signals import Mode
from core.position_cache_manager import PositionCacheManager
from core.price_cache import PriceCache
from core.price_watch import PriceWatch, WatchDoors
from data_scripts.realtime_market_fetcher import RealtimeMarketFetcher
from tests.unit.exits.builders import amount, leg, position
from tests.unit.feed.virtual_time import LoopClock

CANARY = InstrumentKey(Segment.IDX_I, 13)
S = 1_000_000_000


@dataclass
class Listed:
    """One instrument at the exchange. Paise; `time` of the last trade in UTC seconds, None when it never traded."""

    key: InstrumentKey
    last: int = 10_000
    bid: int | None = 9_995
    ask: int | None = 10_005
    time: int | None = None
    is_known_to_rest: bool = True
    history: list = field(default_factory=list)


class MarketRig:
    """`mute` and `down` are of the feed, `is_rest_dead` of REST. `delay_s` delays packets, `cache_s` is how old REST may be."""

    def __init__(self, count, *, seed=1, with_feed=True, stop=3_000, shift_s=0):
        self.random = random.Random(seed)
        self.clock = LoopClock()
        self.keys = [InstrumentKey(Segment.NSE_FNO, n) for n in range(1, count + 1)]
        self.listed = {key: Listed(key) for key in (*self.keys, CANARY)}
        self.mute: set[InstrumentKey] = set()
        self.down = False
        self.is_line_live = True
        self.is_rest_dead = False
        self.is_open: bool | None = True
        self.delay_s = 0.0
        self.cache_s = 0.0
        self.shift_s = shift_s
        self.rtt_s = (0.02, 0.3)
        self.requests = []
        self.resubscribed = []
        self.doubts = []
        self.alerts = []
        self.fired = []
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.ALERT)
        self.cache = PriceCache()
        self.cache.watch((*self.keys, CANARY))
        self.pace = Pace(QUOTE_PACE, self.clock, asyncio.sleep)
        self.fetcher = RealtimeMarketFetcher(
            self.cache, self.read_quotes, self.on_quote, self.clock, jitter=self.random.random
        )
        self.levels = ExitLevels(stop=amount(stop))
        self.with_feed = with_feed

    def start(self):
        doors = WatchDoors(
            session_open=lambda: self.engine.desk.session_open,
            guards=lambda: self.engine.guards,
            tell=self.tell,
            say=self.say,
            name_of=lambda key: f"option {key.security_id}",
        )
        feed = SimpleNamespace(line_is_live=self.line_is_live, resubscribe=self.resubscribe) if self.with_feed else None
        self.watch = PriceWatch(TrustLimits(), self.cache, feed, doors, self.clock)
        self.watch.join(self.fetcher)
        for key in self.keys:
            held = position(leg(key.security_id, 75, 100), strategy_id=key.security_id)
            self.say(self.engine.handle(ev.PositionOpened(held, self.levels, self.now)))
        self.tell_time()
        self.say(self.engine.handle(ev.FeedStateChanged(is_live=self.with_feed, at_ns=self.now)))
        for _ in range(8):
            self.tell_time()
        self.watch.set_wanted(self.keys, (CANARY,))
        self.tasks = [asyncio.create_task(work) for work in (self.watch.run(), self.fetcher.run(), self.beat())]

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        for result in await asyncio.gather(*self.tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                raise result

    @property
    def now(self):
        return self.clock.monotonic_ns()

    @property
    def pages(self):
        return [alert for alert in self.alerts if alert.severity is Severity.PAGE]

    def line_is_live(self, key):
        return self.is_line_live

    def resubscribe(self, keys):
        self.resubscribed.append((self.now, tuple(keys)))

    def tell(self, event):
        if isinstance(event, ev.PricesDoubted):
            self.doubts.append((self.now, event.keys))
        self.say(self.engine.handle(event))

    def say(self, commands):
        for command in commands:
            if isinstance(command, Alert):
                command_at = self.now
                self.alerts.append(command)
                if command.subject.startswith("would exit"):
                    self.fired.append((command_at, command.subject))

    def tell_time(self):
        told = ev.TimePassed(self.now, self.clock.utc_ns(), session_open=self.is_open, is_trading_day=True)
        self.say(self.engine.handle(told))

    async def beat(self):
        while True:
            self.tell_time()
            await asyncio.sleep(0.25)

    def on_quote(self, quote):
        self.say(self.engine.on_quote(quote))

    def line(self, *, is_live):
        """The whole feed, as its one connection tells it."""
        self.is_line_live = is_live
        self.say(self.engine.handle(ev.FeedStateChanged(is_live, self.now)))
        self.watch.poke()

    def trade(self, key, last=None, *, is_trade=True):
        """The market moves: the feed brings it unless something keeps it back."""
        one = self.listed[key]
        one.history.append((self.now, one.last, one.bid, one.ask, one.time))
        del one.history[:-5]
        if last is not None:
            one.last = last
            if one.bid is not None:
                one.bid, one.ask = last - 5, last + 5
        if is_trade:
            one.time = self.clock.utc_ns() // S
        if not self.down and key not in self.mute:
            if self.delay_s:
                asyncio.get_running_loop().call_later(self.delay_s, self.send, self.packet(key))
            else:
                self.send(self.packet(key))

    def packet(self, key):
        one = self.listed[key]
        time = None if one.time is None else one.time - self.shift_s
        if one.bid is None:
            return Ticker(feed_id_of(key), one.last, time)
        return FullPacket(feed_id_of(key), one.last, time, one.bid, one.ask, 75, 75, b"")

    def send(self, packet):
        quote = self.cache.take(packet, self.now)
        if quote is not None and quote.key != CANARY:
            self.on_quote(quote)

    async def read_quotes(self, keys):
        await self.pace.wait()
        self.requests.append((self.now, tuple(keys)))
        seen_ns = self.now - int(self.cache_s * self.random.random() * S)
        rtt_s = self.random.uniform(*self.rtt_s)
        await asyncio.sleep(rtt_s / 2)
        found = [self.rest_quote(key, seen_ns) for key in keys if self.listed[key].is_known_to_rest]
        await asyncio.sleep(rtt_s / 2)
        if self.is_rest_dead:
            raise TransportError("no answer")
        return tuple(quote._replace(received_ns=self.now) for quote in found)

    def rest_quote(self, key, seen_ns):
        """What REST shows: the market as it stands, or as it stood at `seen_ns` when REST answers from a cache."""
        one = self.listed[key]
        state = (0, one.last, one.bid, one.ask, one.time)
        if self.cache_s:
            for past in reversed(one.history):
                if past[0] <= seen_ns:
                    break
                state = past
        _, last, bid, ask, time = state
        sizes = self.random.randint(1, 9) * 75 if bid is not None else 0
        return Quote(key, last, bid, ask, sizes, sizes, time, 0, QuoteSource.REST)

    async def tick(self, key, every_s, until_s, *, step=5):
        """A price that moves all the time."""
        loop = asyncio.get_running_loop()
        while loop.time() < until_s:
            self.trade(key, max(self.listed[key].last + self.random.choice((-step, step)), 5))
            await asyncio.sleep(every_s * self.random.uniform(0.8, 1.2))
