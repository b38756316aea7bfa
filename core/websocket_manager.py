"""Keeps Dhan's market feed alive: which instruments on which connection, and what is known of the whole.

One connection carries 5,000 instruments, an account has five. A connection without instruments is not opened. Each fails,
waits and returns on its own; what they share is the account: a distance between attempts, and its blocks.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from core.dhan.feed_packets import DecodeCounts
from core.dhan.subscriptions import MAX_CONNECTIONS
from core.feed_line import FeedAccess, FeedLine, FeedSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from core.clock import Clock
    from core.dhan.feed_connection import Retry
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.price_cache import PriceCache

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """A snapshot for the dashboard. `is_live`: some connection delivers data; `lines_live` of `needed` do.

    `last_data_ns` monotonic, None before the first price. `unplaced`: wanted instruments for which no connection has room.
    `subscribed` counts canaries too. `resent`: subscriptions sent again because no price came. `blocked_until_ns`: until
    when no connection of the account is made (429, 805), None when there is no block.
    """

    is_live: bool
    lines_live: int
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
    resent: int
    blocked_until_ns: int | None
    last_end: str


class WebSocketManager:
    """`on_quote` is called for each new price on the read callback and must not block.

    `on_lines()` is called whenever a connection became live or stopped being so, then `on_state(is_live)` when that made
    the difference between some live connection and none. `on_retry` hears what an ended connection calls for: a new token,
    REST prices meanwhile, an alert.

    The first of the canaries is added to each connection that has wanted instruments and room, so that quiet instruments
    can be told from a dead connection. On a full one, a canary that is wanted there serves.
    """

    def __init__(
        self,
        access: FeedAccess,
        cache: PriceCache,
        on_quote: Callable[[Quote], None],
        on_state: Callable[[bool], None],
        clock: Clock,
        *,
        on_lines: Callable[[], None] | None = None,
        on_retry: Callable[[Retry], None] | None = None,
        settings: FeedSettings | None = None,
    ) -> None:
        self._access = access
        self._cache = cache
        self._now = clock.monotonic_ns
        self._tell_lines = on_lines or _nobody_listens
        self._state = on_state
        self._was_live = False
        self._unplaced: dict[InstrumentKey, None] = {}
        self._line_of: dict[InstrumentKey, FeedLine] = {}
        settings = settings or FeedSettings()
        self._canaries = settings.canaries
        self._room = settings.instruments_per_connection
        self._lines = tuple(
            FeedLine(
                access,
                cache,
                DecodeCounts(),
                on_quote,
                self._changed,
                on_retry or _ignore,
                clock,
                settings.of_line(number),
            )
            for number in range(1, MAX_CONNECTIONS + 1)
        )
        self.market(is_open=True)

    async def run(self) -> None:
        """Keep all connections alive until cancelled; then nothing of them is left. Raises only a callback's bug, in a group."""
        async with asyncio.TaskGroup() as tasks:
            for number, line in enumerate(self._lines, start=1):
                tasks.create_task(line.run(), name=f"feed connection {number}")

    def set_wanted(self, keys: Iterable[InstrumentKey]) -> None:
        """Exactly these instruments, from now on. Those that stay keep their connection.

        Where room ends, the first ones have it. Cheap enough to be called often, also when nothing has changed.
        """
        wanted = dict.fromkeys(keys)
        if wanted.keys() == self._line_of.keys() | self._unplaced.keys():
            return
        self._cache.watch(wanted)
        placed = dict(islice(wanted.items(), self._room * len(self._lines)))
        self._unplaced = dict(islice(wanted.items(), len(placed), None))
        new = [key for key in placed if key not in self._line_of]
        gone: dict[FeedLine, list[InstrumentKey]] = {}
        for key, line in self._line_of.items():
            if key not in placed:
                gone.setdefault(line, []).append(key)
        for line in self._lines:
            self._change(line, new, gone.get(line, []))
        if self._unplaced:
            logger.error("feed: no connection has room for %d instruments", len(self._unplaced))

    def resubscribe(self, keys: Iterable[InstrumentKey]) -> None:
        """Subscribe anew what turned mute while its connection lives. At most 100 a second on each connection; the rest waits."""
        mute: dict[FeedLine, list[InstrumentKey]] = {}
        for key in keys:
            line = self._line_of.get(key)
            if line is not None:
                mute.setdefault(line, []).append(key)
        for line, its_keys in mute.items():
            line.resubscribe(its_keys)

    def line_is_live(self, key: InstrumentKey) -> bool:
        """Whether the connection that carries `key` delivers data; False for what none carries."""
        line = self._line_of.get(key)
        return line is not None and line.is_live

    def market(self, *, is_open: bool, canary_trades: bool = True) -> None:
        """Whether silence means something now, and that of the canaries too. Open until told otherwise."""
        for line in self._lines:
            line.market(is_open=is_open, canary_trades=canary_trades)

    def token_changed(self) -> None:
        """There is another token: connections that wait use it now. Those that live are not touched."""
        for line in self._lines:
            line.token_changed()

    @property
    def is_live(self) -> bool:
        return any(line.is_live for line in self._lines)

    @property
    def status(self) -> FeedStatus:
        lines = self._lines
        counts = [line.counts for line in lines]
        return FeedStatus(
            is_live=self.is_live,
            lines_live=sum(line.is_live for line in lines),
            connected=sum(line.is_connected for line in lines),
            needed=sum(line.wanted_count > 0 for line in lines),
            wanted=len(self._line_of) + len(self._unplaced),
            subscribed=sum(line.subscribed_count for line in lines),
            unplaced=len(self._unplaced),
            last_data_ns=max((line.last_data_ns for line in lines if line.last_data_ns is not None), default=None),
            packets=sum(each.packets for each in counts),
            corrupt=sum(each.corrupt for each in counts),
            unknown=sum(each.unknown for each in counts),
            bad_prices=sum(each.bad_prices for each in counts),
            text_frames=sum(line.text_frames for line in lines),
            reconnects=sum(max(line.connections - 1, 0) for line in lines),
            resent=sum(line.resent_count for line in lines),
            blocked_until_ns=self._access.gate.blocked_until(self._now()),
            last_end=next((line.last_end for line in lines if line.last_end), ""),
        )

    def _change(self, line: FeedLine, new: list[InstrumentKey], gone: Collection[InstrumentKey]) -> None:
        """Take what is gone from the line and give it of `new` what it has room for; takes those from `new`."""
        room = self._room - line.wanted_count + len(gone)
        added = new[:room]
        del new[:room]
        if not added and not gone:
            return
        for key in gone:
            del self._line_of[key]
        for key in added:
            self._line_of[key] = line
        line.change(added, gone)
        line.carry_canary(self._canary_of(line))

    def _canary_of(self, line: FeedLine) -> InstrumentKey | None:
        has_room = 0 < line.wanted_count < self._room
        return next((key for key in self._canaries if has_room or key in line.wanted), None)

    def _changed(self) -> None:
        self._tell_lines()
        is_live = self.is_live
        if is_live is not self._was_live:
            self._was_live = is_live
            self._state(is_live)


def _ignore(_retry: Retry) -> None:
    pass


def _nobody_listens() -> None:
    pass
