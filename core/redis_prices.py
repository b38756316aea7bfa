"""The optional price cache in Redis: written behind the ticks for other programs and for the next start, never waited for.

Redis holds no truth here. When it is away, frozen, flushed or full, prices stay in memory and nothing else changes: the box keeps
the newest quote of each instrument, a breaker says when to try again, and after that everything recent is sent once more. A hash
that vanished is noticed without asking: a field that was written before must not come back as new.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core.model.errors import DecodeError, RefusedError, TransportError
from core.model.market import QuoteSource
from core.model.session_time import NS_PER_S
from core.price_text import LIFE_MS, NS_PER_MS, WarmCounts, from_value, hmget, hset, hset_pair, to_field, to_value
from core.redis_breaker import RedisBreaker
from core.redis_line import RedisLine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from core.clock import Clock
    from core.host_names import HostNames
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.price_fanout import Box
    from core.redis_line import RedisAccess

_log = logging.getLogger(__name__)
EVERY_S: Final = 0.1
WARM_MAX_AGE_S: Final = 15.0
_WARM_S: Final = 1.0
_CHUNK: Final = 250
_SLICE: Final = 50
"""Quotes turned into text in one piece, about 0.1 ms: ticks go first between two slices."""
_TROUBLE: Final = (TransportError, RefusedError, DecodeError)


class RedisState(StrEnum):
    """The breaker's words. OFF: not begun, or over."""

    OFF = "off"
    CLOSED = "closed"
    OPEN = "open"


@dataclass(slots=True)
class RedisStatus:
    """`written`: fields that Redis has confirmed. `refills`: how often everything was sent again. `last_ok_ns` is monotonic.

    `trouble`: why it is away, "" while it is not.
    """

    state: RedisState = RedisState.OFF
    written: int = 0
    failures: int = 0
    refills: int = 0
    last_ok_ns: int | None = None
    trouble: str = ""
    warm: WarmCounts = field(default_factory=WarmCounts)


class RedisPrices:
    """`run` is a task of its own; `box` comes from the fan-out, with EVERY_S. `read_warm` is called before `run`, if at all."""

    def __init__(
        self,
        access: RedisAccess,
        box: Box,
        clock: Clock,
        names: HostNames,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.status = RedisStatus()
        self._box = box
        self._clock = clock
        self._jitter = jitter
        self._line = RedisLine(access, names)
        self._breaker = RedisBreaker()
        self._writer = secrets.token_hex(4)
        self._latest: dict[InstrumentKey, Quote] = {}
        self._fields: dict[InstrumentKey, bytes] = {}
        self._written: set[InstrumentKey] = set()
        """Instruments that this connection has written: Redis must know them."""
        self._is_whole = False

    async def read_warm(self, keys: Sequence[InstrumentKey], max_age_s: float = WARM_MAX_AGE_S) -> tuple[Quote, ...]:
        """What Redis knows of these instruments, at most so old, as QuoteSource.CACHE. Takes 1 s at most, 0.5 s when it is away.

        Never raises: a cache that cannot be read is an empty one, and the trouble is in the status.
        """
        found: list[Quote] = []
        try:
            async with asyncio.timeout(_WARM_S):
                await self._line.open()
                for start in range(0, len(keys), _CHUNK):
                    found += await self._read(keys[start : start + _CHUNK], int(max_age_s * NS_PER_S))
        except TimeoutError:
            self._line.abort()
            self._failed(f"prices for the start took longer than {_WARM_S:.0f} s")
        except _TROUBLE as error:
            self._failed(str(error))
        else:
            self._worked()
        return tuple(found)

    async def run(self) -> None:
        """A task that ends only by being cancelled. What happens to Redis never ends it."""
        while True:
            await self._box.turn()
            if self._breaker.may_try(self._clock.monotonic_ns()):
                await self._try()

    async def close(self) -> None:
        """Drop the connection at once. The last 0.1 s of prices may be missing in Redis."""
        self._line.abort()
        self.status.state = RedisState.OFF

    async def _try(self) -> None:
        is_new = not self._line.is_open
        try:
            if is_new:
                await self._line.open()
                self._is_whole = False
            await self._write()
        except _TROUBLE as error:
            self._failed(str(error))
        else:
            # Only now: whoever takes connections may still refuse what is written.
            if is_new:
                self._worked()

    async def _write(self) -> None:
        """Send what is new, or everything when Redis may have lost something."""
        taken = self._box.take(self._clock.monotonic_ns())
        quotes = list(taken.values())
        if not self._is_whole:
            self._latest.update(taken)
            quotes = self._recent()
            self._written.clear()
            self._is_whole = True
            if self.status.written:
                self.status.refills += 1
        try:
            for start in range(0, len(quotes), _CHUNK):
                await self._send(quotes[start : start + _CHUNK])
        except _TROUBLE:
            self._latest.update(taken)
            raise

    def _recent(self) -> list[Quote]:
        """Prices older than the hash lives are dead: they are forgotten, not brought back."""
        oldest_ns = self._clock.monotonic_ns() - LIFE_MS * NS_PER_MS
        self._latest = {key: quote for key, quote in self._latest.items() if quote.received_ns >= oldest_ns}
        return list(self._latest.values())

    async def _send(self, quotes: Sequence[Quote]) -> None:
        offset_ns = self._utc_offset_ns()
        pairs = []
        for start in range(0, len(quotes), _SLICE):
            piece = quotes[start : start + _SLICE]
            # What came from a cache is not news, however it got here.
            pairs += [self._pair(quote, offset_ns) for quote in piece if quote.source is not QuoteSource.CACHE]
            await asyncio.sleep(0)
        if not pairs:
            return
        new, _ = await self._line.ask(hset(pairs), 2)
        if not isinstance(new, int):
            self._line.abort()
            raise DecodeError("expected a number from Redis for a HSET, another kind of answer came")
        self.status.written += len(pairs)
        self._worked()
        if new or len(self._written) < len(self._latest):
            expected = sum(quote.key not in self._written for quote in quotes)
            self._written.update(quote.key for quote in quotes)
            # Flushed, deleted or expired meanwhile: the others are gone, too.
            self._is_whole = self._is_whole and new <= expected

    def _pair(self, quote: Quote, offset_ns: int) -> bytes:
        key = quote.key
        self._latest[key] = quote
        name = self._fields.get(key)
        if name is None:
            name = self._fields[key] = to_field(key)
        return hset_pair(name, to_value(quote, offset_ns, self._writer))

    async def _read(self, keys: Sequence[InstrumentKey], max_age_ns: int) -> list[Quote]:
        (values,) = await self._line.ask(hmget([to_field(key) for key in keys]), 1)
        if not isinstance(values, list) or len(values) != len(keys):
            self._line.abort()
            raise DecodeError(f"expected {len(keys)} values from Redis for a HMGET, another kind of answer came")
        offset_ns, now = self._utc_offset_ns(), self._clock.monotonic_ns()
        counts = self.status.warm
        read = (from_value(key, raw, offset_ns, now, max_age_ns, counts) for key, raw in zip(keys, values, strict=True))
        return [quote for quote in read if quote is not None]

    def _utc_offset_ns(self) -> int:
        """Asked for at every chunk: the wall clock may jump."""
        return self._clock.utc_ns() - self._clock.monotonic_ns()

    def _failed(self, trouble: str) -> None:
        status = self.status
        status.failures += 1
        status.state = RedisState.OPEN
        status.trouble = trouble
        if self._breaker.failed(self._clock.monotonic_ns(), self._jitter()):
            _log.warning("price cache: %s. Prices are kept in memory, nothing waits for it; it is tried again", trouble)

    def _worked(self) -> None:
        status, now = self.status, self._clock.monotonic_ns()
        status.state = RedisState.CLOSED
        status.trouble = ""
        status.last_ok_ns = now
        away_ns = self._breaker.worked(now)
        if away_ns is not None:
            _log.info("price cache: Redis is back after %.1f s, every recent price is sent again", away_ns / NS_PER_S)
