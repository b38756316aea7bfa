"""Keeps Dhan's market feed alive: which instruments on which connection, and what is known of the whole.

One connection carries 5,000 instruments, an account has five. A connection without instruments is not opened.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.dhan.feed_packets import DecodeCounts
from core.dhan.subscriptions import MAX_CONNECTIONS, MAX_INSTRUMENTS_PER_CONNECTION
from core.feed_line import FeedAccess, FeedLine, FeedSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.clock import Clock
    from core.dhan.feed_connection import Retry
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.price_cache import PriceCache

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """A snapshot for the dashboard. `is_live`: every connection that has instruments delivers data.

    `last_data_ns` monotonic, None before the first price. `unplaced`: wanted instruments for which no connection has room.
    """

    is_live: bool
    connected: int
    needed: int
    wanted: int
    subscribed: int
    unplaced: int
    last_data_ns: int | None
    packets: int
    corrupt: int
    unknown: int
    bad_prices: int
    text_frames: int
    reconnects: int
    last_end: str


class WebSocketManager:
    """`on_quote` is called for each new price on the read callback and must not block.

    `on_state(is_live)` is called when the whole feed becomes live or stops being so. `on_retry` hears what an ended
    connection calls for: a new token, REST prices meanwhile, an alert.
    """

    def __init__(
        self,
        access: FeedAccess,
        cache: PriceCache,
        on_quote: Callable[[Quote], None],
        on_state: Callable[[bool], None],
        clock: Clock,
        *,
        on_retry: Callable[[Retry], None] | None = None,
        settings: FeedSettings | None = None,
        instruments_per_connection: int = MAX_INSTRUMENTS_PER_CONNECTION,
    ) -> None:
        self._state = on_state
        self._room = instruments_per_connection
        self._counts = DecodeCounts()
        self._was_live = False
        self._unplaced = 0
        self._lines = tuple(
            FeedLine(
                access,
                cache,
                self._counts,
                on_quote,
                self._tell_state,
                on_retry or _ignore,
                clock,
                settings or FeedSettings(),
            )
            for _ in range(MAX_CONNECTIONS)
        )
        self._cache = cache
        self.market(is_open=True)

    async def run(self) -> None:
        """Keep all connections alive until cancelled. Raises only a bug of a callback, in an ExceptionGroup."""
        async with asyncio.TaskGroup() as tasks:
            for number, line in enumerate(self._lines, start=1):
                tasks.create_task(line.run(), name=f"feed connection {number}")

    def set_wanted(self, keys: Iterable[InstrumentKey]) -> None:
        """Exactly these instruments, from now on. Those that stay keep their connection."""
        wanted = dict.fromkeys(keys)
        self._cache.watch(wanted)
        shares = [[key for key in line.wanted if key in wanted] for line in self._lines]
        placed = {key for share in shares for key in share}
        new = [key for key in wanted if key not in placed]
        for share in shares:
            room = self._room - len(share)
            share.extend(new[:room])
            del new[:room]
        self._unplaced = len(new)
        if new:
            logger.error("feed: no connection has room for %d instruments", len(new))
        for line, share in zip(self._lines, shares, strict=True):
            line.set_wanted(share)
        self._tell_state()

    def market(self, *, is_open: bool) -> None:
        """Whether silence means something now. Open until told otherwise."""
        for line in self._lines:
            line.market(is_open=is_open)

    def token_changed(self) -> None:
        for line in self._lines:
            line.token_changed()

    @property
    def is_live(self) -> bool:
        needed = [line for line in self._lines if line.wanted_count]
        return bool(needed) and all(line.is_live for line in needed)

    @property
    def status(self) -> FeedStatus:
        lines = self._lines
        return FeedStatus(
            is_live=self.is_live,
            connected=sum(line.is_connected for line in lines),
            needed=sum(line.wanted_count > 0 for line in lines),
            wanted=sum(line.wanted_count for line in lines) + self._unplaced,
            subscribed=sum(line.subscribed_count for line in lines),
            unplaced=self._unplaced,
            last_data_ns=max((line.last_data_ns for line in lines if line.last_data_ns is not None), default=None),
            packets=self._counts.packets,
            corrupt=self._counts.corrupt,
            unknown=self._counts.unknown,
            bad_prices=self._counts.bad_prices,
            text_frames=sum(line.text_frames for line in lines),
            reconnects=sum(max(line.connections - 1, 0) for line in lines),
            last_end=next((line.last_end for line in lines if line.last_end), ""),
        )

    def _tell_state(self) -> None:
        is_live = self.is_live
        if is_live is not self._was_live:
            self._was_live = is_live
            self._state(is_live)


def _ignore(_retry: Retry) -> None:
    pass
