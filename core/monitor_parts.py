"""Builds the parts of one run and joins them: which broker, which store, which streams, by mode and settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.account_parts import AccountParts, build_account_parts, may_mint
from core.book_keeper import BookKeeper
from core.brokers.paper_broker import PaperBroker
from core.clock import SystemClock, boot_ns
from core.decision_log import decision_log
from core.exit_journal import ExitJournal
from core.exit_profiles import book_rules, desk_settings, guard_settings
from core.exit_records import FILE_NAME, ExitRecords
from core.exit_runner import ExitRunner
from core.exits.engine import Engine
from core.exits.judges import RuleSetup
from core.instrument_source import InstrumentSource
from core.journal_copy import PlanJournal
from core.loop_timer import LoopTimer
from core.market_calendar import TABLE, AlwaysOpen, load_calendar
from core.memory_keeper import MemoryKeeper
from core.model.commands import Alert, Severity
from core.model.errors import ConfigurationError
from core.model.events import FeedStateChanged, LoopStalled, PricesDoubted
from core.model.signals import Mode
from core.options import VERSION
from core.order_update_stream import OrderStreamLogin, OrderStreamSettings, OrderUpdateStream
from core.position_cache_manager import PositionCacheManager
from core.price_cache import PriceCache
from core.price_parts import PriceDoors, PriceParts, build_price_parts
from core.recording.live import monitor_recording
from core.settings import MarketHours, validate_account, validate_live
from core.settings_limits import scope_limits
from core.sleep_fence import SleepFence
from core.trades_source import TradesSource, trades_source
from core.trading_sessions import sessions_of
from strategies.own_rules import OWN_RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.brokers.base import Broker
    from core.brokers.dhan_broker import DhanBroker
    from core.clock import Clock
    from core.decision_log import DecisionLog
    from core.market_calendar import SessionCalendar
    from core.model.market import Quote
    from core.model.memory import PositionMemory
    from core.model.position import Position
    from core.options import Options
    from core.recording.live import MonitorRecording
    from core.settings import Settings
    from core.settings_sources import TokenSource
    from core.stores.base import TradeStore
    from core.token_keeper import TokenKeeper
    from core.websocket_manager import WebSocketManager
    from data_scripts.realtime_market_fetcher import RealtimeMarketFetcher


@dataclass(slots=True)
class Parts:
    """`paper` is the account of simulation mode, None in the others. `decisions`, `recording`: None where nothing is recorded."""

    mode: Mode
    options: Options
    settings: Settings
    clock: Clock
    calendar: SessionCalendar
    token: TokenKeeper
    trades: TradesSource
    market: DhanBroker
    paper: PaperBroker | None
    prices: PriceParts
    cache: PositionCacheManager
    engine: Engine
    journal: ExitJournal
    records: ExitRecords
    runner: ExitRunner
    order_updates: OrderUpdateStream | None
    timer: LoopTimer
    source: InstrumentSource
    memory: MemoryKeeper
    keeper: BookKeeper
    decisions: DecisionLog | None
    recording: MonitorRecording | None

    def subscribe(self) -> None:
        """Make the prices wanted those that some position needs. Cheap when nothing has changed."""
        added, removed = self.cache.take_key_changes()
        if added or removed:
            positions = (booked.position for booked in self.cache.booked())
            # The calendar's word: at the start the engine has heard of no session yet, and thousands of prices asked for
            # in vain would stand before those that are missed.
            is_open = self.calendar.session_open(self.clock.utc_ns()) is not False
            self.prices.want(positions, is_open=is_open)

    @property
    def price_cache(self) -> PriceCache:
        return self.prices.cache

    @property
    def fetcher(self) -> RealtimeMarketFetcher:
        return self.prices.fetcher

    @property
    def feed(self) -> WebSocketManager | None:
        """None with --no-websocket."""
        return self.prices.feed

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
    if settings.dhan_access_token is None and not may_mint(options, settings):
        raise ConfigurationError(
            "DHAN_ACCESS_TOKEN is not set, and this run makes none: only --execute does.",
            "Put one into .env or the file of DHAN_ACCESS_TOKEN_FILE, or set DHAN_MINT_TOKENS=always where no live monitor runs.",
        )
    book_rules(settings)


def build_parts(
    options: Options,
    settings: Settings,
    clock: Clock,
    spawn: Callable[[Coroutine[None, None, None]], object],
    source_of_token: TokenSource | None = None,
) -> Parts:
    """Make every part and join them; nothing is opened or connected yet."""
    check_settings(options, settings)
    mode = options.mode
    recording = None if options.prints_once else monitor_recording(settings, VERSION, clock)
    price_cache = PriceCache() if recording is None else recording.price_cache
    cache = PositionCacheManager()
    new_engine = Engine if recording is None else recording.engine
    rules = RuleSetup(scope_limits(settings), OWN_RULES, clock.monotonic_ns)
    engine = new_engine(cache, guard_settings(settings), desk_settings(settings), mode, rules)
    calendar = AlwaysOpen() if settings.market_hours is MarketHours.ALWAYS else _calendar(settings)

    def say(alert: Alert) -> None:
        runner.carry_out((alert,))

    account = build_account_parts(options, settings, clock, say, sessions_of(calendar), source_of_token)
    token, market = account.token, account.market
    paper = PaperBroker(clock, price_cache.quote, market.read_quotes) if mode is Mode.SIMULATION else None
    trades = trades_source(settings, options, clock)
    journal = _journal(settings, options, clock)
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
    doors = PriceDoors(settings, account, runner, cache, _quote_sink(runner, paper), _state_sink(runner), recording)
    prices = build_price_parts(price_cache, doors, use_websocket=options.use_websocket)
    prices.fetcher.on_token_error = lambda text: token.doubt(text, token.token())
    runner.ask_prices = prices.fetcher.ask
    timer = LoopTimer(clock, calendar, lambda: engine.next_wake_ns, runner.handle, boot_ns=_boot_ns_of(clock))
    runner.on_deadline = timer.rearm
    source = _instruments(settings, clock, say)
    memories: dict[str, PositionMemory] = {}
    rows = book_rules(settings, options.positions)
    keeper = BookKeeper(store=trades.store, source=source, runner=runner, clock=clock, rules=rows, memories=memories)
    keeper.on_positions = _paper_holder(paper)
    memory = MemoryKeeper(journal, engine.memory_of, keeper.position_of, memories)
    runner.on_remember = memory.note
    decisions = decision_log(options, settings, clock, engine)
    updates = None if mode is Mode.SIMULATION else _order_updates(settings, account, runner, say)
    parts = Parts(
        mode, options, settings, clock, calendar, token, trades, market, paper, prices, cache, engine, journal, records,
        runner, updates, timer, source, memory, keeper, decisions, recording,
    )  # fmt: skip
    keeper.on_read = parts.subscribe
    _join_token(parts)
    _join_clock(parts, spawn, say)
    return parts


def _calendar(settings: Settings) -> SessionCalendar:
    return load_calendar(settings.market_calendar or TABLE)


def _journal(settings: Settings, options: Options, clock: Clock) -> ExitJournal:
    path = settings.state_dir / "exit_journal.db"
    return (
        PlanJournal(path, clock=clock) if options.plan else ExitJournal(path, options.mode, build=VERSION, clock=clock)
    )


def _instruments(settings: Settings, clock: Clock, say: Callable[[Alert], None]) -> InstrumentSource:
    max_age_days = settings.instruments_max_age_days
    source = InstrumentSource(settings.dhan_instruments, settings.state_dir, clock, max_age_days=max_age_days)
    source.on_problem = lambda text: say(Alert(Severity.WARNING, "instrument master", text))
    return source


def _boot_ns_of(clock: Clock) -> Callable[[], int] | None:
    """The clock that counts sleep belongs to the system's clock: beside another it would tell of a sleep at every beat."""
    return boot_ns if isinstance(clock, SystemClock) else None


def _join_token(parts: Parts) -> None:
    """Whoever waits for a new token hears of it; whoever is connected with the old one is not touched, but for the order stream."""
    if parts.feed is not None:
        parts.token.on_change.append(parts.feed.token_changed)
    if parts.order_updates is not None:
        parts.token.on_change.append(parts.order_updates.token_changed)
    parts.runner.on_token_error = lambda text: parts.token.doubt(text, parts.token.token())


def _join_clock(
    parts: Parts, spawn: Callable[[Coroutine[None, None, None]], object], say: Callable[[Alert], None]
) -> None:
    """Prices of the pre-open fire nothing; after a sleep nothing is sent before everything has been read again."""
    runner, timer = parts.runner, parts.timer

    def doubt_all(why: str, at_ns: int) -> None:
        runner.handle(PricesDoubted(tuple(parts.cache.keys()), why, at_ns))

    def read_all() -> None:
        doubt_all("the machine slept", parts.clock.monotonic_ns())
        parts.market.drop_idle()
        spawn(parts.keeper.read_or_keep())

    def slept(for_ns: int) -> None:
        # Before the first price that follows: what waited in the sockets is old.
        runner.handle(LoopStalled(parts.clock.monotonic_ns(), for_ns))
        fence.slept(for_ns)

    fence = SleepFence(runner.ask, spawn, timer.is_awake, read_all, alert=say)
    timer.on_alert = say
    timer.on_slept = slept
    timer.on_old_prices = doubt_all
    runner.may_order = lambda: parts.trades.may_order() and fence.may_order()


def _state_sink(runner: ExitRunner) -> Callable[[bool], None]:
    def on_state(is_live: bool) -> None:  # noqa: FBT001  the feed's callback has one argument
        if is_live:
            runner.forget_feed_alerts()
        runner.handle(FeedStateChanged(is_live, runner.clock.monotonic_ns()))

    return on_state


def _order_updates(
    settings: Settings, account: AccountParts, runner: ExitRunner, say: Callable[[Alert], None]
) -> OrderUpdateStream:
    login = OrderStreamLogin(settings.dhan_order_update_url, settings.dhan_client_id or "", account.token.token)
    return OrderUpdateStream(
        login, runner.on_report, runner.reconcile, runner.clock,
        on_refused=account.token.doubt, alert=say, settings=OrderStreamSettings(names=account.names),
    )  # fmt: skip


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
