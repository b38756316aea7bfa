"""Carries `exits.price_trust` out: subscribes again, asks REST, tells the engine what is doubted, and a person what is wrong.

Ten times a second, and at once when a connection comes to life or dies. How soon, after the last good price: what no connection and
no REST answer proves is doubted after 5.0 to 5.35 s (MARK_STALE_S and a look), and its positions are paged in the same turn: within
6 s. A muted instrument is found in less than 5 s: 2.5 s of silence, 1.05 s of pace, the answer, 0.5 s of grace, two looks.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from core.exits.feed_lag import FeedLag
from core.exits.price_trust import PriceTrust
from core.model.commands import Alert, Severity
from core.model.events import PricesDoubted
from core.model.money import rupees_text
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.protection_watch import ProtectionWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from core.clock import Clock
    from core.exits.position_guard import PositionGuard
    from core.exits.price_judgement import TrustLimits
    from core.exits.trust_findings import Dispute, Findings, Hold
    from core.model.commands import Command
    from core.model.events import Event
    from core.model.instrument import InstrumentKey
    from core.model.market import Quote
    from core.price_cache import PriceCache
    from data_scripts.realtime_market_fetcher import RealtimeMarketFetcher

_log = logging.getLogger(__name__)

BEAT_S: Final = 0.1
ROUND_NS: Final = NS_PER_S
LAG_LOOK_NS: Final = 250 * NS_PER_MS
BACK_FOR_NS: Final = 10 * NS_PER_S
"""So long the feed must have brought an instrument again before it is called back: subscribing anew brings one packet at least."""
TOLD_ONE_BY_ONE: Final = 3
LAG_KEYS: Final = 50


class FeedLines(Protocol):
    """What is needed of the websocket manager."""

    def line_is_live(self, key: InstrumentKey) -> bool: ...

    def resubscribe(self, keys: Sequence[InstrumentKey]) -> None: ...


@dataclass(frozen=True, slots=True)
class WatchDoors:
    """`session_open`: the calendar's word. `tell` is the engine's door, `say` the alerts'; `name_of` is for a trader's eyes."""

    session_open: Callable[[], bool | None]
    guards: Callable[[], Mapping[int, PositionGuard]]
    tell: Callable[[Event], object]
    say: Callable[[Sequence[Command]], None]
    name_of: Callable[[InstrumentKey], str]


class PriceWatch:
    """`run` is a task that ends only by being cancelled. `feed` is None with --no-websocket: REST alone brings prices then."""

    def __init__(
        self, limits: TrustLimits, cache: PriceCache, feed: FeedLines | None, doors: WatchDoors, clock: Clock
    ) -> None:
        self.trust = PriceTrust(limits, self)
        self.feed = feed
        self.lag = FeedLag()
        self._cache = cache
        self._doors = doors
        self._clock = clock
        self._protection = ProtectionWatch(doors.guards, doors.say, clock.monotonic_ns())
        self._wake_fetcher: Callable[[], None] = _do_nothing
        self._poked = asyncio.Event()
        self._lag_keys: tuple[InstrumentKey, ...] = ()
        self._lag_look_ns = 0
        self._is_late = False
        self._round_ns = 0
        self._has_new_doubts = False
        self._muted: dict[InstrumentKey, int | None] = {}

    def join(self, fetcher: RealtimeMarketFetcher) -> None:
        """Make the fetcher ask for what is due here, and tell what came of it."""
        fetcher.next_batch = self.trust.next_batch
        fetcher.on_answer = self.on_answer
        fetcher.on_failure = self.on_failure
        self._wake_fetcher = fetcher.wake

    def set_wanted(self, keys: Iterable[InstrumentKey], canaries: Iterable[InstrumentKey] = ()) -> None:
        """Judge exactly these. The canaries tell how late the feed is; they are watched by the cache, and asked for by nobody."""
        wanted = dict.fromkeys(keys)
        self.trust.set_wanted(wanted, self._clock.monotonic_ns())
        self._lag_keys = tuple(dict.fromkeys((*canaries, *wanted)))[:LAG_KEYS]
        self._muted = {key: since for key, since in self._muted.items() if key in wanted}
        self._poked.set()

    def poke(self) -> None:
        """A connection came to life or died: look at everything at once."""
        self.trust.lines_changed()
        self._poked.set()

    def feed_quote(self, key: InstrumentKey) -> Quote | None:
        return self._cache.feed_quote(key)

    def line_is_live(self, key: InstrumentKey) -> bool:
        return self.feed is not None and self.feed.line_is_live(key)

    async def run(self) -> None:
        while True:
            self._poked.clear()
            for _ in self.look():
                await asyncio.sleep(0)
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._poked.wait()

    def look(self) -> Iterator[None]:
        """One look, in steps between which ticks may go first."""
        is_open = self._doors.session_open()
        now = self._clock.monotonic_ns()
        self.trust.market(is_open, now)
        if is_open is False:
            self._muted.clear()
        self._look_for_lag(now, is_open=is_open)
        while self._act(self.trust.check(now), now):
            yield
            now = self._clock.monotonic_ns()
        if self.trust.has_due:
            self._wake_fetcher()
        is_round = now - self._round_ns >= ROUND_NS
        if is_round:
            self._round_ns = now
            self._repeat_doubts()
            self._tell_who_is_back(now)
        if is_round or self._has_new_doubts:
            self._has_new_doubts = False
            yield from self._protection.look(now, is_open=is_open)
            self.trust.set_near(self._protection.near)

    def on_answer(
        self, asked: Sequence[InstrumentKey], quotes: Sequence[Quote], requested_ns: int
    ) -> tuple[Quote, ...]:
        """Judge a portion of a REST answer; returns the quotes to be taken."""
        answer = self.trust.on_answer(asked, quotes, requested_ns, self._clock.monotonic_ns())
        self._hold_back(answer.held)
        self._page(answer.disputes)
        return answer.taken

    def on_failure(self, asked: Sequence[InstrumentKey]) -> None:
        self.trust.on_failure(asked, self._clock.monotonic_ns())

    def _act(self, found: Findings, now: int) -> bool:
        self._hold_back(found.held)
        for key in found.released:
            self._cache.release(key)
        if found.resubscribe and self.feed is not None:
            self.feed.resubscribe(tuple(found.resubscribe))
        if found.muted:
            self._tell_muted(found.muted)
        for key in found.unmuted:
            if key in self._muted:
                self._muted[key] = now
        reasons: dict[str, list[InstrumentKey]] = {}
        for doubt in found.doubted:
            reasons.setdefault(doubt.reason, []).append(doubt.key)
        for reason, keys in reasons.items():
            self._has_new_doubts = True
            _log.warning("no price to be believed for %d instruments, the first is %s: %s", len(keys), keys[0], reason)
            self._doors.tell(PricesDoubted(tuple(keys), reason, now))
        return found.is_more

    def _hold_back(self, held: Iterable[Hold]) -> None:
        for hold in held:
            self._cache.hold_back(hold.key, hold.not_before, hold.until_ns)

    def _repeat_doubts(self) -> None:
        """A position that was opened or edited meanwhile has a new guard, which has heard nothing yet."""
        doubted: dict[int, list[InstrumentKey]] = {}
        for key, since_ns in self.trust.doubted():
            doubted.setdefault(since_ns, []).append(key)
        for since_ns, keys in doubted.items():
            self._doors.tell(PricesDoubted(tuple(keys), "there is still no price", since_ns))

    def _tell_muted(self, keys: Sequence[InstrumentKey]) -> None:
        new = [key for key in keys if key not in self._muted]
        self._muted.update(dict.fromkeys(keys))
        text = "REST shows prices that the feed does not bring; they drive it, and it was subscribed again"
        self._say_of(new, Severity.WARNING, "the feed is silent on", text)

    def _tell_who_is_back(self, now: int) -> None:
        back = [key for key, since in self._muted.items() if since is not None and now - since >= BACK_FOR_NS]
        for key in back:
            del self._muted[key]
        self._say_of(back, Severity.INFO, "the feed is back on", "REST is not asked for it any more")

    def _say_of(self, keys: Sequence[InstrumentKey], severity: Severity, what: str, text: str) -> None:
        names = [self._doors.name_of(key) for key in keys]
        if len(names) > TOLD_ONE_BY_ONE:
            self._doors.say((Alert(severity, f"{what} {len(names)} instruments", f"{text}: {', '.join(names)}"),))
        else:
            for name in names:
                self._doors.say((Alert(severity, f"{what} {name}", text),))

    def _page(self, disputes: Sequence[Dispute]) -> None:
        said = []
        for dispute in disputes:
            name = self._doors.name_of(dispute.feed.key)
            feed, rest = rupees_text(dispute.feed.last), rupees_text(dispute.rest.last)
            text = f"the feed says {feed}, REST says {rest}; the price of {dispute.taken.source.value} is believed"
            said.append((name, text))
        if len(said) > TOLD_ONE_BY_ONE:
            text = "; ".join(f"{name}: {text}" for name, text in said)
            self._doors.say((Alert(Severity.PAGE, f"feed and REST disagree on {len(said)} instruments", text),))
        else:
            for name, text in said:
                self._doors.say((Alert(Severity.PAGE, f"feed and REST disagree on {name}", text),))

    def _look_for_lag(self, now: int, *, is_open: bool | None) -> None:
        if now - self._lag_look_ns < LAG_LOOK_NS or is_open is False:
            return
        self._lag_look_ns = now
        self.lag.look(self._lag_keys, self._cache.feed_quote, now, self._clock.utc_ns())
        is_late = self.lag.is_late(now)
        if is_late is self._is_late:
            return
        self._is_late = is_late
        self.trust.set_lagging(is_lagging=is_late)
        if is_late:
            text = "trades arrive that late, by the feed or by this machine; REST is asked for every price beside it"
            subject = f"the feed is {self.lag.lag_ns / NS_PER_S:.0f} s behind the market"
            self._doors.say((Alert(Severity.WARNING, subject, text),))
        else:
            self._doors.say((Alert(Severity.INFO, "the feed has caught up with the market", ""),))


def _do_nothing() -> None:
    pass
