"""One way to ask for prices: the stream's price where it is fresh, REST quotes where it is not.

As a program it prints quotes: `python -m data_scripts.realtime_market_fetcher NSE_FNO:61234 IDX_I:13`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.dhan.rest_messages import MAX_QUOTE_INSTRUMENTS
from core.model.errors import DecodeError, MonitorError, RefusedError, TransportError
from core.model.instrument import InstrumentKey, Segment
from core.model.money import rupees_text
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from core.clock import Clock
    from core.model.market import Quote
    from core.price_cache import PriceCache

logger = logging.getLogger(__name__)

FAILURE_WAIT_S: Final = (1.0, 2.0, 5.0)


@dataclass(slots=True)
class FetchCounts:
    requests: int = 0
    quotes: int = 0
    failures: int = 0


class RealtimeMarketFetcher:
    """`read_quotes` is the broker's: it keeps the pace of one request a second itself.

    Every new quote goes into the cache and to `on_quote`, exactly as the stream's do. While polling is on (the feed is
    down, or not wanted), `run` also asks for each wanted instrument whose price is older than `stale_after_s`.
    """

    def __init__(
        self,
        cache: PriceCache,
        read_quotes: Callable[[Sequence[InstrumentKey]], Awaitable[tuple[Quote, ...]]],
        on_quote: Callable[[Quote], None],
        clock: Clock,
        *,
        stale_after_s: float = 5.0,
        check_every_s: float = 0.25,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cache = cache
        self._read_quotes = read_quotes
        self._on_quote = on_quote
        self._clock = clock
        self._stale_after_ns = int(stale_after_s * NS_PER_S)
        self._check_every_s = check_every_s
        self._sleep = sleep
        self._asked: dict[InstrumentKey, None] = {}
        self._wanted: tuple[InstrumentKey, ...] = ()
        self._is_polling = False
        self._tried_ns: dict[InstrumentKey, int] = {}
        self._wake = asyncio.Event()
        self.counts = FetchCounts()

    def set_wanted(self, keys: Iterable[InstrumentKey]) -> None:
        """The instruments to poll while polling is on."""
        self._wanted = tuple(dict.fromkeys(keys))
        self._tried_ns = {key: tried for key, tried in self._tried_ns.items() if key in set(self._wanted)}

    def set_polling(self, *, is_on: bool) -> None:
        self._is_polling = is_on
        self._wake.set()

    def ask(self, keys: Iterable[InstrumentKey]) -> None:
        """Have these fetched by `run` as soon as the pace allows, whatever their age."""
        self._asked.update(dict.fromkeys(keys))
        self._wake.set()

    async def fetch(self, keys: Sequence[InstrumentKey]) -> tuple[Quote, ...]:
        """REST quotes of these now, at most 1,000 a request. Instruments without a price are left out.

        Raises what the broker's reads raise; what earlier requests brought has been delivered by then.
        """
        fetched: list[Quote] = []
        for at in range(0, len(keys), MAX_QUOTE_INSTRUMENTS):
            self.counts.requests += 1
            quotes = await self._read_quotes(keys[at : at + MAX_QUOTE_INSTRUMENTS])
            for quote in quotes:
                if self._cache.put(quote) is not None:
                    self.counts.quotes += 1
                    self._on_quote(quote)
            fetched.extend(quotes)
        return tuple(fetched)

    async def prices(self, keys: Sequence[InstrumentKey]) -> Mapping[InstrumentKey, Quote]:
        """The newest quote of each key: from the stream when fresh, else from REST. Keys without any price are missing.

        Raises like `fetch`.
        """
        stale = self._cache.older_than(keys, self._stale_after_ns, self._clock.monotonic_ns())
        fetched = {quote.key: quote for quote in await self.fetch(stale)} if stale else {}
        newest = {key: self._cache.quote(key) or fetched.get(key) for key in keys}
        return {key: quote for key, quote in newest.items() if quote is not None}

    async def run(self) -> None:
        """Fetch what was asked for and, while polling, what is stale. Ends only by cancelling."""
        failures = 0
        while True:
            batch = self._next_batch()
            if not batch:
                await self._wait()
                continue
            try:
                await self.fetch(batch)
                failures = 0
            except (TransportError, RefusedError, DecodeError) as error:
                self._note_failure(error)
                await self._sleep(FAILURE_WAIT_S[min(failures, len(FAILURE_WAIT_S) - 1)])
                failures += 1

    def _next_batch(self) -> tuple[InstrumentKey, ...]:
        """What was asked for first, then the stale ones: never asked first, then asked longest ago, then oldest price."""
        now = self._clock.monotonic_ns()
        asked = list(self._asked)[:MAX_QUOTE_INSTRUMENTS]
        for key in asked:
            del self._asked[key]
        batch = dict.fromkeys(asked)
        if self._is_polling:
            due_ns = now - self._stale_after_ns
            stale = self._cache.older_than(self._wanted, self._stale_after_ns, now)
            # An instrument that gives no price must not be asked for at every turn, nor stand before the others.
            due = [key for key in stale if self._tried_ns.get(key, due_ns) <= due_ns]
            due.sort(key=lambda key: self._tried_ns.get(key, 0))
            for key in due[: MAX_QUOTE_INSTRUMENTS - len(batch)]:
                batch[key] = None
                self._tried_ns[key] = now
        return tuple(batch)

    def _note_failure(self, error: MonitorError) -> None:
        self.counts.failures += 1
        logger.warning("prices over REST: %s", error)

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._check_every_s if self._is_polling else None):
                await self._wake.wait()
        self._wake.clear()


def key_from_text(text: str) -> InstrumentKey:
    """Read SEGMENT:ID. Raises ValueError saying what was expected."""
    segment, _, security_id = text.partition(":")
    if segment not in Segment.__members__ or not (security_id.isascii() and security_id.isdecimal()):
        raise ValueError(f"expected SEGMENT:ID such as NSE_FNO:61234, received {text!r}")
    return InstrumentKey(Segment[segment], int(security_id))


async def _print_quotes(texts: Sequence[str]) -> int:
    # Only the program needs these; the class is used by a process that has them already.
    from core.brokers.dhan_broker import DhanBroker  # noqa: PLC0415
    from core.clock import SystemClock  # noqa: PLC0415
    from core.settings import load_settings  # noqa: PLC0415

    settings = load_settings(os.environ, Path(".env"))
    if settings.dhan_client_id is None or settings.dhan_access_token is None:
        print("DHAN_CLIENT_ID and DHAN_ACCESS_TOKEN are needed: put them into .env.", file=sys.stderr)
        return 2
    token = settings.dhan_access_token.get_secret_value()
    broker = DhanBroker(settings.dhan_api_url, settings.dhan_client_id, lambda: token, SystemClock())
    try:
        await broker.open()
        for quote in await broker.read_quotes([key_from_text(text) for text in texts]):
            sides = " / ".join("-" if side is None else rupees_text(side) for side in (quote.bid, quote.ask))
            print(f"{quote.key}  {rupees_text(quote.last)}  {sides}")
    finally:
        await broker.close()
    return 0


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        for text in arguments:
            key_from_text(text)
        return asyncio.run(_print_quotes(arguments))
    except (MonitorError, ValueError) as error:
        print(error, file=sys.stderr)
        return 4 if isinstance(error, RefusedError) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
