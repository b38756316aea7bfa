"""The side of prices, joined: sockets, REST, who judges them, who reads them late. Nothing is opened here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.exits.price_judgement import TrustLimits
from core.feed_interest import FeedInterest
from core.feed_settings import INDEX_CANARIES, FeedAccess, FeedSettings
from core.model.instrument import InstrumentKey
from core.price_fanout import PriceFanout, Rank
from core.price_watch import PriceWatch, WatchDoors
from core.redis_line import redis_access
from core.redis_prices import EVERY_S, RedisPrices
from core.websocket_manager import WebSocketManager
from data_scripts.realtime_market_fetcher import RealtimeMarketFetcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.account_parts import AccountParts
    from core.exit_runner import ExitRunner
    from core.model.market import Quote
    from core.model.position import Position
    from core.position_cache_manager import PositionCacheManager
    from core.price_cache import PriceCache
    from core.recording.live import MonitorRecording
    from core.settings import Settings


@dataclass(slots=True)
class PriceParts:
    """`feed` is None with --no-websocket, `redis` when none is set."""

    cache: PriceCache
    fetcher: RealtimeMarketFetcher
    watch: PriceWatch
    feed: WebSocketManager | None
    interest: FeedInterest
    fanout: PriceFanout
    redis: RedisPrices | None

    def want(self, positions: Iterable[Position], *, is_open: bool) -> None:
        """Make the prices wanted those that some position needs: its legs and what is behind them. One change, one batch.

        Legs go before what is behind them: where room ends on the feed, a stop must not lose its price to an index.
        """
        users = set(self.interest.users)
        legs: set[InstrumentKey] = set()
        for position in positions:
            user = f"position {position.strategy_id}"
            users.discard(user)
            instruments = [leg.instrument for leg in position.legs]
            behind = [each.underlying_key for each in instruments if each.underlying_key is not None]
            keys = [each.key for each in instruments]
            legs.update(keys)
            self.interest.hold(user, (*keys, *behind))
        for user in users:
            self.interest.release(user)
        change = self.interest.take_change()
        if change is None:
            return
        wanted = tuple(sorted(self.interest.wanted, key=lambda key: key not in legs))
        if self.feed is None:
            self.cache.watch(wanted)
        else:
            self.feed.set_wanted(wanted)
        self.watch.set_wanted(wanted, [key for key in INDEX_CANARIES if key in wanted])
        if not is_open:
            # A closed market is shown at its last prices; while it is open the watch asks for what it misses.
            self.fetcher.ask(change.added)

    def names_of(self, positions: PositionCacheManager, key: InstrumentKey) -> str:
        """The symbol that the instrument master gives; the key for what no position holds."""
        slot = positions.slot_of(key)
        for booked in () if slot is None else slot.positions:
            for leg in booked.position.legs:
                if leg.instrument.key == key:
                    return leg.instrument.dated_symbol
        return str(key)


@dataclass(frozen=True, slots=True)
class PriceDoors:
    """What the price side needs of the rest. `on_state`: whether some connection of the feed is live.

    `recording` hears what connections and REST bring; None while nothing is recorded.
    """

    settings: Settings
    account: AccountParts
    runner: ExitRunner
    positions: PositionCacheManager
    on_quote: Callable[[Quote], None]
    on_state: Callable[[bool], None]
    recording: MonitorRecording | None = None


def build_price_parts(cache: PriceCache, doors: PriceDoors, *, use_websocket: bool) -> PriceParts:
    settings, runner, clock = doors.settings, doors.runner, doors.runner.clock
    fanout = PriceFanout(clock)
    access = redis_access(
        None if settings.redis_url is None else settings.redis_url.get_secret_value(),
        settings.redis_host,
        settings.redis_port,
    )
    redis = (
        None
        if access is None
        else RedisPrices(access, fanout.add("redis", Rank.CACHE, EVERY_S), clock, doors.account.names)
    )
    on_quote = _with_boxes(doors.on_quote, fanout)
    recording = doors.recording
    on_rest = on_quote if recording is None else recording.rest_quotes(on_quote)
    fetcher = RealtimeMarketFetcher(
        cache, doors.account.market.read_quotes, on_rest, clock, stale_after_s=settings.mark_stale_s
    )
    limits = TrustLimits.of_seconds(settings.mark_stale_s, settings.quiet_verify_s)
    watch_doors = WatchDoors(
        session_open=lambda: runner.engine.desk.session_open,
        guards=lambda: runner.engine.guards,
        tell=runner.handle,
        say=runner.carry_out,
        name_of=lambda key: parts.names_of(doors.positions, key),
    )
    watch = PriceWatch(limits, cache, None, watch_doors, clock)
    if use_websocket:
        watch.feed = WebSocketManager(
            _access(settings, doors.account), cache, on_quote, doors.on_state, clock,
            on_lines=watch.poke, on_retry=runner.on_feed_retry,
            settings=FeedSettings(canaries=INDEX_CANARIES, taps=None if recording is None else recording.taps),
        )  # fmt: skip
    watch.join(fetcher)
    feed = watch.feed if isinstance(watch.feed, WebSocketManager) else None
    parts = PriceParts(cache, fetcher, watch, feed, FeedInterest(), fanout, redis)
    return parts


def _access(settings: Settings, account: AccountParts) -> FeedAccess:
    token = account.token
    client_id = settings.dhan_client_id or ""
    return FeedAccess(settings.dhan_feed_url, client_id, token.token, doubt=token.doubt, names=account.names)


def _with_boxes(on_quote: Callable[[Quote], None], fanout: PriceFanout) -> Callable[[Quote], None]:
    """The exit path first, then the boxes of those who may be late. Without a box the tick path stays as it is."""
    if not fanout.is_used:
        return on_quote
    offer = fanout.offer

    def both(quote: Quote) -> None:
        on_quote(quote)
        offer(quote)

    return both
