"""An engine with one underlying and positions on it, in a test's hands. Prices in rupees, times in seconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.greek_desk import GreekDesk
from core.exits.guard_settings import GuardSettings
from core.exits.underlying_watch import UnderlyingWatch
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels, LevelSource
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.model.memory import PositionMemory
from core.model.session_time import IST
from core.model.signals import Mode, Signal
from core.model.special_levels import UnderlyingLevel
from core.position_backlog import Backlog
from core.position_cache_manager import PositionCacheManager
from tests.unit.exits import builders

MS = 1_000_000
S = 1_000 * MS
DAY = date(2026, 11, 20)
INDEX = InstrumentKey(Segment.IDX_I, 13)
START_NS = 1_000 * S


class NeverBehind(Backlog):
    """Without a beat every wait looks like a standstill."""

    __slots__ = ()

    def begin(self, at_ns, lasted_ns):
        pass


def on_index(leg, underlying_key=INDEX):
    """The leg with the index behind it."""
    return replace(leg, instrument=replace(leg.instrument, underlying_key=underlying_key))


def call(security_id, units=-75, strike=24_000, entry=100, **terms):
    return on_index(builders.call(security_id, units, strike, entry, **terms))


def put(security_id, units=-75, strike=24_000, entry=100, **terms):
    return on_index(builders.put(security_id, units, strike, entry, **terms))


def below(rupees, action=Action.CLOSE_POSITION, minutes=None):
    return UnderlyingLevel(round(rupees * 100), False, action, LevelSource.LEVEL_ROW, candle_minutes=minutes)


def above(rupees, action=Action.CLOSE_POSITION, minutes=None):
    return UnderlyingLevel(round(rupees * 100), True, action, LevelSource.LEVEL_ROW, candle_minutes=minutes)


def utc_ns(text: str, day: date = DAY) -> int:
    """Of a clock time (IST) on the day."""
    at = datetime.fromisoformat(f"{day} {text}").replace(tzinfo=IST).astimezone(UTC)
    return round(at.timestamp() * 1_000) * MS


class JudgeRig:
    """`signals` are what the engine acted on, in order. The clock is told at every deadline and four times a second."""

    def __init__(self, at="10:00:00", mode=Mode.ALERT, settings=None, has_beat=True, day=DAY):
        self.cache = PositionCacheManager()
        if not has_beat:
            self.cache.backlog = NeverBehind()
        self.settings = settings or GuardSettings()
        self.engine = Engine(self.cache, self.settings, DeskSettings(), mode)
        self.signals: list[Signal] = []
        self.commands: list[cmd.Command] = []
        self.engine.room.on_decision = lambda _guard, signal, _at: (
            None if signal is None else self.signals.append(signal)
        )
        self.now = START_NS
        self.day = day
        self.ahead = utc_ns(at, day) - START_NS
        self.session_open: bool | None = True
        self.has_beat = has_beat
        self.has_timer = True
        self.was_woken = False
        self.engine.desk.feed_live = True

    @property
    def watch(self) -> UnderlyingWatch:
        return next(judge for judge in self.engine.judges if isinstance(judge, UnderlyingWatch))

    @property
    def greeks(self) -> GreekDesk:
        return next(judge for judge in self.engine.judges if isinstance(judge, GreekDesk))

    @property
    def alerts(self):
        return [command for command in self.commands if isinstance(command, cmd.Alert)]

    def tell(self, event: ev.Event) -> None:
        self.commands.extend(self.engine.handle(event))

    def open(self, *legs, strategy_id=1, memory=None, price=100, **levels):
        """Guard a position with these levels, each leg at `price` (None: without prices)."""
        position = builders.position(*legs, strategy_id=strategy_id)
        told = ev.PositionOpened(position, ExitLevels(**levels), self.now)
        self.tell(told if memory is None else replace(told, memory=memory))
        if price is not None:
            for leg in legs:
                self.leg(leg.instrument.key.security_id, price)
        self.clock()

    def clock(self):
        """Tell the time, and again while somebody asks for it at once."""
        for _ in range(20):
            self.tell(ev.TimePassed(self.now, self.now + self.ahead, self.session_open, is_trading_day=True))
            wake = self.engine.next_wake_ns
            if wake is None or wake > self.now:
                return
        raise AssertionError("the engine wants the same time again and again")

    def wait(self, seconds):
        end = self.now + round(seconds * S)
        while self.now < end:
            wake = self.engine.next_wake_ns
            beat = self.now - self.now % (250 * MS) + 250 * MS if self.has_beat else end
            self.now = min(due for due in (end, beat, wake or end) if due > self.now)
            self.clock()

    def wait_until(self, text):
        self.wait((utc_ns(text, self.day) - self.now - self.ahead) / S)

    def index(self, rupees, *, key=INDEX, bid=None, ask=None, traded=None, source=QuoteSource.FEED):
        """A quote of the underlying, now; without a book unless both sides are given."""
        sides = [None if side is None else round(side * 100) for side in (bid, ask)]
        self.take(Quote(key, round(rupees * 100), *sides, 0, 0, traded, self.now, source))

    def take(self, quote):
        """A quote; what asks to be looked at again at once is, as by the monitor's timer."""
        self.commands.extend(self.engine.on_quote(quote))
        self.was_woken = self.engine.has_new_deadline
        if self.has_timer and self.was_woken and (self.engine.next_wake_ns or self.now + 1) <= self.now:
            self.clock()

    def walk(self, *prices, every=0.5):
        """Quotes of the index so near each other that each is believed at once."""
        for price in prices:
            self.wait(every)
            self.index(price)

    def leg(self, security_id, rupees, **terms):
        self.take(builders.quote(security_id, rupees, at=self.now, **terms))

    def doubt(self, *keys):
        self.tell(ev.PricesDoubted(keys, "no packet", self.now))

    def feed(self, *, is_live):
        self.tell(ev.FeedStateChanged(is_live, self.now))
        self.clock()

    def blind_spot(self, strategy_id=1):
        return self.engine.guards[strategy_id].blind_spot(self.now)

    def memory(self, strategy_id=1) -> PositionMemory:
        return self.engine.memory_of(strategy_id)

    def fired(self):
        """(strategy id, level, threshold, observed) of every signal."""
        return [(x.strategy_id, x.level, x.threshold, x.observed) for x in self.signals]
