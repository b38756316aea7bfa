"""Builds the parts of one run and joins them: which broker, which store, which streams, by mode and settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core.book_keeper import BookKeeper
from core.brokers.dhan_broker import DhanBroker
from core.brokers.paper_broker import PaperBroker
from core.brokers.warm_connections import HttpLimits
from core.exit_journal import ExitJournal
from core.exit_profiles import desk_settings, guard_settings, profiles_by, square_off_times
from core.exit_records import FILE_NAME, ExitRecords
from core.exit_runner import ExitRunner
from core.exits.engine import Engine
from core.feed_line import FeedAccess, FeedSettings
from core.instrument_source import InstrumentSource
from core.loop_timer import LoopTimer
from core.market_calendar import AlwaysOpen, load_calendar
from core.model.errors import BugError
from core.model.events import FeedStateChanged
from core.model.instrument import InstrumentKey, Segment
from core.model.signals import Mode
from core.options import VERSION
from core.order_update_stream import OrderStreamLogin, OrderUpdateStream
from core.position_book import BookRules
from core.position_cache_manager import PositionCacheManager
from core.price_cache import PriceCache
from core.settings import MarketHours, validate_account, validate_live
from core.trades_source import TradesSource, trades_source
from core.websocket_manager import WebSocketManager
from data_scripts.realtime_market_fetcher import RealtimeMarketFetcher

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.brokers.base import Broker
    from core.clock import Clock
    from core.market_calendar import SessionCalendar
    from core.model.market import Quote
    from core.model.position import Position
    from core.options import Options
    from core.settings import Settings
    from core.stores.base import TradeStore

_POLL_SHARE: Final = 0.6
INDEX_CANARY: Final = InstrumentKey(Segment.IDX_I, 13)
"""NIFTY 50 ticks while the market is open: it tells quiet options from a dead feed (exit_rules 1)."""


@dataclass(slots=True)
class Parts:
    """`paper` is the account of simulation mode, None in the others. `feed` is None with --no-websocket."""

    mode: Mode
    options: Options
    settings: Settings
    clock: Clock
    calendar: SessionCalendar
    trades: TradesSource
    market: DhanBroker
    paper: PaperBroker | None
    price_cache: PriceCache
    cache: PositionCacheManager
    engine: Engine
    journal: ExitJournal
    records: ExitRecords
    runner: ExitRunner
    fetcher: RealtimeMarketFetcher
    feed: WebSocketManager | None
    order_updates: OrderUpdateStream | None
    timer: LoopTimer
    source: InstrumentSource
    peaks: dict[str, int]
    keeper: BookKeeper

    def subscribe(self) -> None:
        """Make the prices wanted those that some position needs. Cheap when nothing has changed."""
        added, removed = self.cache.take_key_changes()
        if not added and not removed:
            return
        keys = tuple(self.cache.keys())
        if self.feed is None:
            self.price_cache.watch(keys)
        else:
            self.feed.set_wanted((*keys, INDEX_CANARY) if keys else ())
        self.fetcher.set_wanted(keys)
        if added:
            self.fetcher.ask(added)

    @property
    def store(self) -> TradeStore:
        return self.trades.store

    @property
    def broker(self) -> Broker:
        return self.market if self.paper is None else self.paper


def check_settings(options: Options, settings: Settings) -> None:
    """Everything that can be refused before anything is opened. Raises ConfigurationError."""
    if options.execute:
        validate_live(settings)
    else:
        validate_account(settings)
    profiles_by(settings)


def build_parts(
    options: Options, settings: Settings, clock: Clock, spawn: Callable[[Coroutine[None, None, None]], object]
) -> Parts:
    """Make every part and join them; nothing is opened or connected yet."""
    check_settings(options, settings)
    mode = options.mode
    price_cache, cache = PriceCache(), PositionCacheManager()
    limits = HttpLimits(settings.order_connect_timeout_s, settings.order_timeout_s)
    account = _Account(settings.dhan_client_id or "", _token_of(settings))
    market = DhanBroker(settings.dhan_api_url, account.client_id, account.token, clock, limits=limits)
    engine = Engine(cache, guard_settings(settings), desk_settings(settings), mode)
    paper = PaperBroker(clock, price_cache.quote, market.read_quotes) if mode is Mode.SIMULATION else None
    trades = trades_source(settings, options, clock)
    journal = ExitJournal(settings.state_dir / "exit_journal.db", mode, build=VERSION, clock=clock)
    records = ExitRecords(settings.log_dir / FILE_NAME)
    runner = ExitRunner(
        engine=engine,
        broker=market if paper is None else paper,
        journal=journal,
        store=trades.store,
        records=records,
        clock=clock,
        spawn=spawn,
    )
    on_quote = _quote_sink(runner, paper)
    # Asked again before a polled price turns stale, so that --no-websocket has usable marks all the time.
    poll_after_s = settings.mark_stale_s * _POLL_SHARE
    fetcher = RealtimeMarketFetcher(price_cache, market.read_quotes, on_quote, clock, stale_after_s=poll_after_s)
    runner.ask_prices = fetcher.ask
    runner.may_order = trades.may_order
    calendar = AlwaysOpen() if settings.market_hours is MarketHours.ALWAYS else load_calendar()
    timer = LoopTimer(clock, calendar, lambda: engine.next_wake_ns, runner.handle)
    runner.on_deadline = timer.rearm
    source = InstrumentSource(settings.dhan_instruments, settings.state_dir, clock)
    peaks: dict[str, int] = {}
    rules = BookRules(
        profiles_by(settings),
        options.positions,
        square_off_times(settings),
        settings.exit_trailing_distance_percent,
        settings.dhan_client_id,
    )
    keeper = BookKeeper(store=trades.store, source=source, runner=runner, clock=clock, rules=rules, peaks=peaks)
    keeper.on_positions = _paper_holder(paper)
    feed = _feed(settings, account, price_cache, on_quote, runner, fetcher) if options.use_websocket else None
    updates = None if mode is Mode.SIMULATION else _order_updates(settings, account, runner)
    parts = Parts(
        mode, options, settings, clock, calendar, trades, market, paper, price_cache, cache, engine, journal, records,
        runner, fetcher, feed, updates, timer, source, peaks, keeper,
    )  # fmt: skip
    keeper.on_read = parts.subscribe
    return parts


@dataclass(frozen=True, slots=True)
class _Account:
    client_id: str
    token: Callable[[], str] = field(repr=False)


def _feed(
    settings: Settings,
    account: _Account,
    price_cache: PriceCache,
    on_quote: Callable[[Quote], None],
    runner: ExitRunner,
    fetcher: RealtimeMarketFetcher,
) -> WebSocketManager:
    def on_state(is_live: bool) -> None:  # noqa: FBT001  the feed's callback has one argument
        fetcher.set_polling(is_on=not is_live)
        if is_live:
            runner.forget_feed_alerts()
        runner.handle(FeedStateChanged(is_live, runner.clock.monotonic_ns()))

    access = FeedAccess(settings.dhan_feed_url, account.client_id, account.token)
    return WebSocketManager(
        access, price_cache, on_quote, on_state, runner.clock, on_retry=runner.on_feed_retry, settings=FeedSettings()
    )


def _order_updates(settings: Settings, account: _Account, runner: ExitRunner) -> OrderUpdateStream:
    login = OrderStreamLogin(settings.dhan_order_update_url, account.client_id, account.token)
    return OrderUpdateStream(login, runner.on_report, runner.reconcile, runner.clock)


def _token_of(settings: Settings) -> Callable[[], str]:
    token = settings.dhan_access_token
    if token is None:
        raise BugError("expected settings that validate_account has passed")
    return token.get_secret_value


def _quote_sink(runner: ExitRunner, paper: PaperBroker | None) -> Callable[[Quote], None]:
    """Live and alert mode go straight to the engine; the paper account also fills its resting orders."""
    if paper is None:
        return runner.on_quote

    def on_quote(quote: Quote) -> None:
        runner.on_quote(quote)
        paper.on_quote(quote)

    return on_quote


def _paper_holder(paper: PaperBroker | None) -> Callable[[tuple[Position, ...]], None]:
    """Keep the paper account equal to the rows: held when a position appears, released when it is gone."""
    held: set[int] = set()

    def hold(positions: tuple[Position, ...]) -> None:
        if paper is None:
            return
        now = {position.strategy_id for position in positions}
        for strategy_id in held - now:
            paper.release(strategy_id)
        for position in positions:
            paper.hold(position)
        held.clear()
        held.update(now)

    return hold
