"""A seeded storm on the way between the monitor and the exchange: a fault every two seconds or so, in waves.

All connections are reset a few times, one special thing happens (807, or an account-wide block: 429, 805), `ROUGH_S` of what kills
connections in other ways, then `MILD_S` of what only spoils them. Without the mild times the back-off would sit at its 30 s: it
starts over only after 30 s of data.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import aiohttp

from tests.fault_proxy import FaultProxy, Link, Toxics

ROUGH_S: Final = 8.0
MILD_S: Final = 33.0
ROUGH_EVERY_S: Final = (0.6, 1.3)
MILD_EVERY_S: Final = (1.6, 3.2)
FLAPS: Final = 8
FLAP_EVERY_S: Final = (1.0, 1.5)
SPECIAL: Final = ("807", "429", "807", "805", "807", "429")
SHAPES: Final = (
    "nan", "plus_inf", "zero", "negative", "huge", "truncated", "header_cut", "length_long", "unknown_code", "stacked_cut",
    "oversized", "text", "duplicate", "unlisted", "wrong_segment", "bad_segment",
)  # fmt: skip


class Storm:
    """`held`: the security ids that may be singled out. `counts`: what was done; `log`: (seconds since the start, what)."""

    def __init__(self, control_url: str, feed: FaultProxy, rest: FaultProxy, held: list[int], seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.log: list[tuple[float, str]] = []
        self._url = control_url
        self._feed = feed
        self._rest = rest
        self._held = held
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._specials = 0
        self._bags: dict[tuple[Callable[[], Awaitable[None]], ...], list[Callable[[], Awaitable[None]]]] = {}
        self._later: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None
        self._rough: tuple[Callable[[], Awaitable[None]], ...] = (
            self._reset_all, self._reset_one, self._disconnect_800, self._storm_of_resets,
            self._drop_after_101, self._drop_in_handshake, self._half_open, self._half_open, self._one_way,
            self._refuse_new, self._black_hole, self._mute_all, self._cut_in_a_frame,
        )  # fmt: skip
        self._mild: tuple[Callable[[], Awaitable[None]], ...] = (
            self._slices, self._latency, self._bandwidth, self._lag, self._freak, self._freak, self._odd_packet,
            self._odd_packet, self._unsubscribe, self._mute_one, self._order_updates_reset, self._order_updates_mute,
            self._rest_5xx, self._rest_429, self._orders_5xx, self._rest_reset, self._rest_slow,
        )  # fmt: skip

    async def blow(self, seconds: float) -> None:
        """Until the time is over; then everything is calm again."""
        async with aiohttp.ClientSession() as self._http:
            ends = self._loop.time() + seconds
            with suppress(TimeoutError):
                async with asyncio.timeout_at(ends):
                    while True:
                        await self._phase(self._rough, ROUGH_S, ROUGH_EVERY_S, begins=self._begin_rough)
                        await self._phase(self._mild, MILD_S, MILD_EVERY_S)
            for task in tuple(self._later):
                task.cancel()
            self._feed.calm()
            self._rest.calm()
            await self._http.delete(f"{self._url}/fault")

    async def _phase(
        self,
        kinds: tuple[Callable[[], Awaitable[None]], ...],
        seconds: float,
        every_s: tuple[float, float],
        begins: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        if begins is not None:
            await begins()
        ends = self._loop.time() + seconds
        while self._loop.time() < ends:
            # Every kind once before any comes again, in an order of its own.
            bag = self._bags.setdefault(kinds, [])
            if not bag:
                bag += self._random.sample(kinds, len(kinds))
            await bag.pop()()
            await asyncio.sleep(self._random.uniform(*every_s))

    def _note(self, what: str) -> None:
        self.counts[what] += 1
        self.log.append((self._loop.time() - self._begun, what))

    async def _fault(self, what: str, kind: str, **facts: Any) -> None:
        self._note(what)
        assert self._http is not None
        async with self._http.post(f"{self._url}/fault", json={"kind": kind, **facts}) as answer:
            assert answer.status < 300, await answer.text()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            act()

        task = asyncio.create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    def _link(self) -> Link | None:
        return self._random.choice(list(self._feed.links.values())) if self._feed.links else None

    def _security_id(self) -> int:
        return self._random.choice(self._held)

    async def _begin_rough(self) -> None:
        """The network flaps first, while the back-off is still short: that is what makes most of the reconnects."""
        for _ in range(FLAPS):
            await self._reset_all()
            await asyncio.sleep(self._random.uniform(*FLAP_EVERY_S))
        await self._special()
        await asyncio.sleep(self._random.uniform(*FLAP_EVERY_S))

    async def _special(self) -> None:
        what = SPECIAL[self._specials % len(SPECIAL)]
        self._specials += 1
        if what == "807":
            await self._fault("feed: code 807", "feed_disconnect", code=807, connection="random")
        elif what == "805":
            await self._fault("feed: code 805 at a new connection", "feed_refuse", code=805, seconds=2)
            await self._reset_one()
        else:
            await self._fault("feed: 429 on upgrade", "feed_429", seconds=2)
            await self._reset_all()

    async def _reset_all(self) -> None:
        self._note("feed: RST of all")
        self._feed.reset()

    async def _reset_one(self) -> None:
        self._note("feed: RST of one")
        if link := self._link():
            link.reset()

    async def _storm_of_resets(self) -> None:
        await self._fault("feed: RST by the server", "feed_reset")

    async def _disconnect_800(self) -> None:
        await self._fault("feed: code 800", "feed_disconnect", code=800)

    async def _drop_after_101(self) -> None:
        await self._fault("feed: 101, then dropped", "feed_drop_after_101", seconds=1.5)
        await self._reset_one()

    async def _drop_in_handshake(self) -> None:
        await self._fault("feed: dropped in the handshake", "feed_drop_in_handshake", seconds=0.7)
        await self._reset_one()

    async def _half_open(self) -> None:
        self._note("feed: half-open")
        if link := self._link():
            link.hold(is_held=True)
            self._after(4.5, lambda: link.hold(is_held=False))

    async def _one_way(self) -> None:
        self._note("feed: one way only")
        if link := self._link():
            link.to_client.is_held = True
            self._after(4.5, lambda: link.hold(is_held=False))

    async def _refuse_new(self) -> None:
        self._note("feed: new ones reset by the network")
        self._feed.reset_new = lambda _number: True
        self._after(0.7, self._take_new)
        await self._reset_one()

    def _take_new(self) -> None:
        self._feed.reset_new = lambda _number: False

    async def _black_hole(self) -> None:
        self._note("feed: black hole")
        self._feed.blackhole()
        self._after(3.5, self._feed.release)

    async def _mute_all(self) -> None:
        await self._fault("feed: connected and mute", "feed_silence", seconds=3.5)

    async def _cut_in_a_frame(self) -> None:
        self._note("feed: cut inside a frame")
        if link := self._link():
            self._feed.to_client.slice_bytes = 101
            self._after(0.3, self._end_slices)
            await asyncio.sleep(0.1)
            link.reset()

    async def _slices(self) -> None:
        self._note("feed: slices of 61 bytes")
        self._feed.to_client.slice_bytes = 61
        self._after(2.0, self._end_slices)

    def _end_slices(self) -> None:
        self._feed.to_client.slice_bytes = 0

    async def _latency(self) -> None:
        self._spoil("feed: latency 0.4 ± 0.3 s", self._feed.to_client, "latency_s", 0.4)
        self._feed.to_client.jitter_s = 0.3

    async def _bandwidth(self) -> None:
        self._spoil("feed: 15 kB/s", self._feed.to_client, "bytes_per_s", 15_000.0)

    def _spoil(self, what: str, toxics: Toxics, name: str, value: float) -> None:
        self._note(what)
        setattr(toxics, name, value)

        def heal() -> None:
            setattr(toxics, name, 0)
            toxics.jitter_s = 0.0

        self._after(2.5, heal)

    async def _lag(self) -> None:
        await self._fault("feed: lag up to 2.4 s", "feed_lag", p50_s=0.6, p99_s=2, max_s=2.4, seconds=5)

    async def _freak(self) -> None:
        factor = self._random.choice((0.5, 2.0, 10.0, 150.0))
        await self._fault("feed: freak price", "feed_freak", security_id=self._security_id(), factor=factor)

    async def _odd_packet(self) -> None:
        shape = self._random.choice(SHAPES)
        with_book = self._random.random() < 0.5
        await self._fault(
            "feed: NaN and other odd packets",
            "feed_packet",
            shape=shape,
            with_book=with_book,
            security_id=self._security_id(),
        )

    async def _unsubscribe(self) -> None:
        await self._fault("feed: an id dropped silently", "feed_unsubscribe", security_id=self._security_id())

    async def _mute_one(self) -> None:
        await self._fault("feed: one id mute", "feed_silence", security_id=self._security_id(), seconds=5)

    async def _order_updates_reset(self) -> None:
        await self._fault("order updates: RST", "order_updates_reset")

    async def _order_updates_mute(self) -> None:
        await self._fault("order updates: mute", "order_updates_silence", seconds=5)

    async def _rest_5xx(self) -> None:
        path = self._random.choice(("/marketfeed", "/positions", "/positions"))
        await self._fault("REST: 502", "http_5xx", where={"path": path, "times": 1})

    async def _rest_429(self) -> None:
        path = self._random.choice(("/marketfeed", "/positions", "/positions"))
        await self._fault("REST: 429", "rate_limit", where={"path": path, "times": 1})

    async def _orders_5xx(self) -> None:
        kind = self._random.choice(("http_5xx", "rate_limit", "drop_response_after_accept"))
        await self._fault(f"REST: an order's {kind}", kind, where={"path": "/orders", "method": "POST", "times": 1})

    async def _rest_reset(self) -> None:
        self._note("REST: RST of all")
        self._rest.reset()

    async def _rest_slow(self) -> None:
        self._spoil("REST: latency 0.3 s", self._rest.to_client, "latency_s", 0.3)
