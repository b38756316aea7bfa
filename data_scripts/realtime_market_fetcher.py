"""One way to ask for prices: the stream's price where it is fresh, REST quotes where it is not.

As a program it prints quotes: `python -m data_scripts.realtime_market_fetcher NSE_FNO:61234 IDX_I:13`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.dhan.rest_messages import MAX_QUOTE_INSTRUMENTS
from core.model.errors import DecodeError, MonitorError, RateLimitedError, RefusedError, TokenError, TransportError
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
BLOCKED_WAIT_S: Final = (2.0, 5.0, 10.0)
"""After HTTP 429: Dhan names no time to wait (dhan_v2_protocol 6)."""
REQUEST_EVERY_S: Final = 1.05
AFTER_ANSWER_S: Final = 1.0
"""A request that was long on its way has been counted only just now: the next would be too soon for Dhan, and a 429 costs 2 s."""
QUOTES_PER_STEP: Final = 50
"""What is handed on between two ticks: about half a millisecond of work."""
_TELL_AGAIN: Final = 12


@dataclass(slots=True)
class FetchCounts:
    requests: int = 0
    quotes: int = 0
    failures: int = 0


def _nothing_due(_limit: int) -> Sequence[InstrumentKey]:
    return ()


def _take_all(_asked: Sequence[InstrumentKey], quotes: Sequence[Quote], _requested_ns: int) -> Sequence[Quote]:
    return quotes


def _ignore(_: object) -> None:
    pass


class RealtimeMarketFetcher:
    """Asks REST for prices: for what `ask` names, then for what `next_batch` says is due. Decides nothing itself.

    `read_quotes` is the broker's, which keeps the pace of one request a second. It is kept here as well, so that a batch is
    chosen when it can leave and not a second before. Every quote that `on_answer` lets pass goes into the cache and to
    `on_quote`, exactly as the stream's do. The other doors are joined by whoever builds the parts:

    - `next_batch(limit)`: the worst first; asked again after every request and after `wake`, until it says nothing.
    - `on_answer(asked, quotes, requested_ns)`: called for each portion of an answer; returns the quotes to be taken.
    - `on_failure(asked)`: no usable answer for these. `on_token_error(text)`: the token was refused.
    """

    def __init__(
        self,
        cache: PriceCache,
        read_quotes: Callable[[Sequence[InstrumentKey]], Awaitable[tuple[Quote, ...]]],
        on_quote: Callable[[Quote], None],
        clock: Clock,
        *,
        stale_after_s: float = 5.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._cache = cache
        self._read_quotes = read_quotes
        self._on_quote = on_quote
        self._clock = clock
        self._stale_after_ns = int(stale_after_s * NS_PER_S)
        self._jitter = jitter
        self.next_batch: Callable[[int], Sequence[InstrumentKey]] = _nothing_due
        self.on_answer: Callable[[Sequence[InstrumentKey], Sequence[Quote], int], Sequence[Quote]] = _take_all
        self.on_failure: Callable[[Sequence[InstrumentKey]], None] = _ignore
        self.on_token_error: Callable[[str], None] = _ignore
        self._asked: dict[InstrumentKey, None] = {}
        self._again: dict[InstrumentKey, None] = {}
        self._is_woken = False
        self._wake = asyncio.Event()
        self._free_ns = 0
        self._retry_ns = 0
        self._failed = 0
        self._is_blocked = False
        self.counts = FetchCounts()

    def ask(self, keys: Iterable[InstrumentKey]) -> None:
        """Have these fetched by `run` as soon as the pace allows, before anything else: an exit may wait for them.

        A failure does not hold up what is asked after it. Only a block (HTTP 429) does.
        """
        self._asked.update(dict.fromkeys(keys))
        self._wake.set()

    def wake(self) -> None:
        """`next_batch` may have something to say."""
        self._is_woken = True
        self._wake.set()

    async def fetch(self, keys: Sequence[InstrumentKey]) -> tuple[Quote, ...]:
        """REST quotes of these now, at most 1,000 a request. Instruments without a price are left out.

        Raises what the broker's reads raise; what earlier requests brought has been delivered by then.
        """
        fetched: list[Quote] = []
        for at in range(0, len(keys), MAX_QUOTE_INSTRUMENTS):
            batch = keys[at : at + MAX_QUOTE_INSTRUMENTS]
            self.counts.requests += 1
            requested_ns = self._clock.monotonic_ns()
            self._free_ns = requested_ns + int(REQUEST_EVERY_S * NS_PER_S)
            try:
                quotes = await self._read_quotes(batch)
            finally:
                answered_ns = self._clock.monotonic_ns()
                self._free_ns = max(self._free_ns, answered_ns + int(AFTER_ANSWER_S * NS_PER_S))
            await self._deliver(batch, quotes, requested_ns)
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
        """Fetch what is asked for and what is due, for ever. Ends only by cancelling."""
        while True:
            self._wake.clear()
            wait_s = self._wait_s()
            if wait_s is None or wait_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                continue
            asked, batch = self._choose()
            if batch:
                await self._try(asked, batch)

    def _wait_s(self) -> float | None:
        """How long nothing may or need be sent. None: until somebody asks."""
        if self._asked and not self._is_blocked:
            at_ns = self._free_ns
        elif self._asked or self._again or self._is_woken:
            at_ns = max(self._free_ns, self._retry_ns)
        else:
            return None
        return max(at_ns - self._clock.monotonic_ns(), 0) / NS_PER_S

    def _choose(self) -> tuple[tuple[InstrumentKey, ...], tuple[InstrumentKey, ...]]:
        """What was asked for, and the whole batch: that first, then what failed before, then what is due."""
        asked = tuple(self._asked)[:MAX_QUOTE_INSTRUMENTS]
        for key in asked:
            del self._asked[key]
        batch = dict.fromkeys(asked)
        if self._clock.monotonic_ns() >= self._retry_ns:
            again = tuple(self._again)[: MAX_QUOTE_INSTRUMENTS - len(batch)]
            for key in again:
                del self._again[key]
            asked = (*asked, *again)
            batch.update(dict.fromkeys(again))
            due = self.next_batch(MAX_QUOTE_INSTRUMENTS - len(batch)) if len(batch) < MAX_QUOTE_INSTRUMENTS else ()
            self._is_woken = bool(due) or len(batch) == MAX_QUOTE_INSTRUMENTS
            batch.update(dict.fromkeys(due))
        return asked, tuple(batch)

    async def _try(self, asked: Sequence[InstrumentKey], batch: Sequence[InstrumentKey]) -> None:
        try:
            await self.fetch(batch)
        except (TransportError, RefusedError, DecodeError) as error:
            self._again.update(dict.fromkeys(asked))
            self.on_failure(batch)
            self._note_failure(error)
        else:
            self._failed = self._retry_ns = 0
            self._is_blocked = False

    async def _deliver(self, asked: Sequence[InstrumentKey], quotes: Iterable[Quote], requested_ns: int) -> None:
        found = {quote.key: quote for quote in quotes}
        for at in range(0, len(asked), QUOTES_PER_STEP):
            if at:
                await asyncio.sleep(0)
            part = asked[at : at + QUOTES_PER_STEP]
            for quote in self.on_answer(part, [found[key] for key in part if key in found], requested_ns):
                if self._cache.put(quote) is not None:
                    self.counts.quotes += 1
                    self._on_quote(quote)

    def _note_failure(self, error: MonitorError) -> None:
        self.counts.failures += 1
        # A long outage says the same every few seconds.
        if self._failed % _TELL_AGAIN == 0:
            logger.warning("prices over REST: %s", error)
        self._is_blocked = isinstance(error, RateLimitedError)
        waits_s = BLOCKED_WAIT_S if self._is_blocked else FAILURE_WAIT_S
        wait_s = waits_s[min(self._failed, len(waits_s) - 1)] * (0.75 + 0.5 * self._jitter())
        self._retry_ns = self._clock.monotonic_ns() + int(wait_s * NS_PER_S)
        self._failed += 1
        self._is_woken = True
        if isinstance(error, TokenError):
            self.on_token_error(str(error))


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
