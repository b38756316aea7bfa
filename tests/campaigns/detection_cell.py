"""One monitor at an exchange of its own, with a fault proxy before the feed: the real parts, real sockets, real files."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections import defaultdict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final

from core.clock import SystemClock
from core.model.instrument import InstrumentKey, Right, Segment
from core.model.session_time import NS_PER_S, ist_datetime
from core.monitor import Monitor
from core.options import Options
from core.paper.exchange import LocalExchange
from core.paper.instruments import generate
from core.paper.options import ExchangeOptions
from core.paper.wall_clock import WallClock
from core.settings import load_settings
from tests.fault_proxy import FaultProxy
from tests.integration.condor import CondorLeg, environment, write_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from datetime import date
    from pathlib import Path
    from typing import Any

    from core.model.commands import Alert
    from core.model.instrument import Instrument
    from core.paper.orders import PaperOrder

LOOK_S: Final = 0.005
STOP_PERCENT: Final = 15
"""Of the entry value of the sold legs."""
UNITS: Final = 65
MIDDLE: Final = 26
"""Of the 51 strikes of an expiry: single calls lie below, the calls of condors above, their puts below."""
WING: Final = 8
"""Strikes from a sold leg to its wing: far enough for the stop to lie within the largest loss."""


class ShiftedClock(SystemClock):
    """Real time on another day: the wall clock of the monitor and of its exchange."""

    def __init__(self, shift_ns: int) -> None:
        self._shift_ns = shift_ns

    def utc_ns(self) -> int:
        return time.time_ns() + self._shift_ns


class ExchangeClock(WallClock):
    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock

    def utc_ns(self) -> int:
        return self._clock.utc_ns()


@dataclass
class Held:
    """One position. `sold` legs come first. `base`: the price (paise) around which each leg moves, by its id."""

    strategy_id: int
    legs: tuple[CondorLeg, ...]
    base: dict[int, int] = field(default_factory=dict)
    is_still: bool = False
    outage: int | None = None

    def __post_init__(self) -> None:
        self.base = {leg.security_id: leg.entry for leg in self.legs}

    @property
    def stop_rupees(self) -> int:
        sold = sum(-leg.units * leg.entry for leg in self.legs if leg.units < 0)
        return sold * STOP_PERCENT // 100 // 100

    def cross(self, times_the_stop: float) -> None:
        """Let the sold legs rise so far that the loss is so many times the stop, and stand still there: each order then fills."""
        self.is_still = True
        for leg in self.legs:
            if leg.units < 0:
                self.base[leg.security_id] = round(leg.entry * (1 + STOP_PERCENT / 100 * times_the_stop) / 5) * 5


def positions(singles: int, condors: int, utc_ns: int) -> list[Held]:
    """Each on contracts of its own: up to 78 sold calls alone, up to 24 condors. Entries from ₹80 to ₹160, wings at a third."""
    listed = [x.instrument for x in generate(ist_datetime(utc_ns).date(), ExchangeOptions().strikes_each_side)]
    calls, puts = (_by_expiry(listed, right) for right in (Right.CALL, Right.PUT))
    rows = count(1)

    def leg(option: Instrument, units: int, entry: int) -> CondorLeg:
        right, strike = "" if option.right is None else option.right.value, (option.strike or 0) // 100
        return CondorLeg(next(rows), option.key.security_id, option.symbol, right, strike, units, entry)

    held: list[Held] = []
    for number in range(singles):
        line, at = calls[number // MIDDLE], number % MIDDLE
        held.append(Held(5_000 + number, (leg(line[at], -UNITS, _entry(number)),)))
    for number in range(condors):
        expiry, at = divmod(number, WING)
        entry, wing = _entry(number), _entry(number) // 3 // 5 * 5
        legs = (
            leg(calls[expiry][MIDDLE + at], -UNITS, entry),
            leg(calls[expiry][MIDDLE + at + WING], UNITS, wing),
            leg(puts[expiry][MIDDLE - 1 - at], -UNITS, entry),
            leg(puts[expiry][MIDDLE - 1 - at - WING], UNITS, wing),
        )
        held.append(Held(6_000 + number, legs))
    return held


def _entry(number: int) -> int:
    return 80_00 + number % 9 * 10_00


def _by_expiry(listed: Sequence[Instrument], right: Right) -> list[list[Instrument]]:
    """NIFTY's options of the last three expiries, each from the low strike to the high one."""
    found: defaultdict[date, list[Instrument]] = defaultdict(list)
    for each in listed:
        if each.underlying == "NIFTY" and each.right is right and each.expiry is not None:
            found[each.expiry].append(each)
    return [sorted(found[expiry], key=lambda each: each.strike or 0) for expiry in sorted(found)[-3:]]


class Cell:
    """`period_s` says how often each leg moves at the exchange (mean seconds); 0 is never. One mover task for each."""

    def __init__(
        self, exchange: LocalExchange, proxy: FaultProxy, monitor: Monitor, held: list[Held], seed: int
    ) -> None:
        self.exchange = exchange
        self.proxy = proxy
        self.monitor = monitor
        self.parts = monitor.parts
        self.held = held
        self.random = Random(seed)
        self.movers: list[asyncio.Task[None]] = []

    @property
    def keys(self) -> list[InstrumentKey]:
        return [key_of(leg) for held in self.held for leg in held.legs]

    @property
    def alerts(self) -> list[Alert]:
        return list(self.parts.runner.alerts)

    @property
    def feed(self) -> Any:
        assert self.parts.feed is not None
        return self.parts.feed

    def move(self, period_of: Callable[[int], float]) -> None:
        """Begin to move every leg; `period_of` gives the mean seconds between two prices of the n-th leg."""
        legs = [(held, leg) for held in self.held for leg in held.legs]
        for number, (held, leg) in enumerate(legs):
            if period := period_of(number):
                self.movers.append(asyncio.create_task(self._mover(held, leg.security_id, period)))

    async def _mover(self, held: Held, security_id: int, period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s * self.random.uniform(0.7, 1.3))
            if not held.is_still:
                self.quote(security_id, held.base[security_id] + self.random.randrange(-4, 5) * 5)

    def quote(self, security_id: int, price: int) -> None:
        """Paise; one tick between last and either side."""
        self.exchange.market.set_quote(
            "NSE_FNO", security_id, price, price - 5, price + 5, bid_size=6_500, ask_size=6_500
        )

    def show(self, held: Held) -> None:
        for leg in held.legs:
            self.quote(leg.security_id, held.base[leg.security_id])

    async def live(self, within_s: float = 90.0) -> float:
        """Wait until the feed delivers; returns how long that took."""
        begun = time.monotonic_ns()
        await until(lambda: self.feed.is_live, within_s)
        return (time.monotonic_ns() - begun) / NS_PER_S

    def has_prices_since(self, since_ns: int) -> bool:
        """Whether every leg has a price that came after `since_ns`, over REST or on a new connection."""
        quotes = [self.parts.price_cache.quote(key) for key in self.keys]
        return all(quote is not None and quote.received_ns > since_ns for quote in quotes)

    def subscribed_at(self, security_id: int, since_utc_ns: int) -> int | None:
        """UTC ns of the first message about it that has reached the exchange since then; None when there is none."""
        name = f"NSE_FNO:{security_id}"
        found = [
            line["at_ns"]
            for line in self.exchange.log.of("feed_request")
            if line["at_ns"] > since_utc_ns and name in line["instruments"]  # type: ignore[operator]
        ]
        return int(found[0]) if found else None  # type: ignore[call-overload]

    def quote_requests(self) -> int:
        return len(self.exchange.venue.statistics.shown()["quote_requests"])  # type: ignore[arg-type]

    def feed_facts(self) -> dict[str, Any]:
        return self.exchange.venue.statistics.shown()["feed"]  # type: ignore[return-value]

    def orders(self, held: Held) -> list[dict[str, Any]]:
        """POST /orders requests for its legs, as the exchange logged them."""
        ids = {str(leg.security_id) for leg in held.legs}
        requests: list[dict[str, Any]] = self.exchange.log.of("request")
        return [
            line
            for line in requests
            if (line["method"], line["path"]) == ("POST", "/orders") and line["body"]["securityId"] in ids
        ]

    def placed(self, security_id: int) -> list[PaperOrder]:
        """The exchange's orders of one contract, in order."""
        return [order for order in self.exchange.venue.account.orders.values() if order.key.security_id == security_id]

    def net(self, held: Held) -> int:
        """Units still held, long and short added without their signs."""
        ids = {leg.security_id for leg in held.legs}
        positions = self.exchange.venue.account.positions
        return sum(abs(each.net) for holding, each in positions.items() if holding.instrument.security_id in ids)


def key_of(leg: CondorLeg) -> InstrumentKey:
    return InstrumentKey(Segment.NSE_FNO, leg.security_id)


async def until(is_so: Callable[[], object], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def cell(
    folder: Path,
    seed: int,
    held: list[Held],
    options: Options | None = None,
    clock: SystemClock | None = None,
    **settings: str,
) -> AsyncIterator[Cell]:
    """A running monitor whose first prices have come. The end of it is a clean one, or an error is raised."""
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  before anything is measured
    clock = clock or SystemClock()
    # A held upgrade that arrives when its client has gone makes the server tell of an error.
    logging.getLogger("aiohttp.server").disabled = True
    async with LocalExchange(ExchangeOptions(seed=seed), ExchangeClock(clock)) as exchange:
        host, _, port = exchange.feed_url.removeprefix("ws://").removesuffix("/feed").partition(":")
        async with FaultProxy(host, int(port), seed=seed) as proxy:
            for each in held:
                write_rows(folder / "trades.db", each.legs, each.strategy_id, each.stop_rupees, _name(each))
                for leg in each.legs:
                    exchange.seed_position("NSE_FNO", leg.security_id, leg.units, leg.entry)
            ready = exchange.ready_line()
            ready["feed_url"] = proxy.url(exchange.feed_url)
            loaded = load_settings(environment(ready, folder) | settings, None)
            monitor = Monitor(options or Options(execute=True), loaded, lambda _view: None, clock)
            one = Cell(exchange, proxy, monitor, held, seed)
            for each in held:
                one.show(each)
            async with _running(monitor.run()) as task:
                await until(lambda: task.done() or all(one.parts.price_cache.quote(key) for key in one.keys), 30)
                _keep_signals()
                yield one
                for mover in one.movers:
                    mover.cancel()
                await asyncio.gather(*one.movers, return_exceptions=True)
                monitor.stop()
                await asyncio.wait_for(task, 20)


def _name(held: Held) -> str:
    return "Iron Condor" if len(held.legs) > 1 else "Sold Call"


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, int]) -> AsyncIterator[asyncio.Task[int]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _keep_signals() -> None:
    """Many monitors share this process: an interrupt ends them all, and not the last that was started."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ValueError, RuntimeError, NotImplementedError):
            loop.remove_signal_handler(number)
