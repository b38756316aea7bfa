"""A plan's document, and engines that start from where it was printed: what fires when the market goes where a line says.

Everything about where a rule fires is taken from the printed document; nothing from the engine that is asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.explain_around import around_of
from core.exits.guard_settings import GuardSettings
from core.exits.judges import RuleSetup
from core.json_view import document
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote
from core.model.memory import PositionMemory
from core.model.money import paise_from_text
from core.model.position import Position
from core.model.session_time import IST, NS_PER_S
from core.model.signals import Mode, Signal
from core.position_cache_manager import PositionCacheManager
from core.position_plan import PlanSources
from core.view_builder import planned_view
from tests.unit.dashboard.views import view

NIFTY = InstrumentKey(Segment.IDX_I, 13)
SPOT = 26_000_00
TODAY = date(2026, 11, 20)
BEAT_NS = NS_PER_S // 4


def utc_ns(day: date, at: time) -> int:
    return int(datetime.combine(day, at, tzinfo=IST).timestamp()) * NS_PER_S


@dataclass
class Market:
    """One position (and what else is held), priced at its entries; the clock tells the time four times a second.

    `signals` are what the engine acted on. It runs in alert mode: what fires is decided and told, and nothing is ordered.
    """

    position: Position
    levels: ExitLevels
    memory: PositionMemory = field(default_factory=PositionMemory)
    day: date = TODAY
    at: time = time(12, 0)
    others: tuple[Position, ...] = ()
    rules: RuleSetup = field(default_factory=RuleSetup)
    spot: int | None = SPOT
    start: tuple[int, ...] | None = None
    """Marks of the legs to begin with, paise; None: their entries."""

    def __post_init__(self) -> None:
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.ALERT, self.rules)
        self.signals: list[Signal] = []
        self.engine.room.on_decision = lambda _guard, signal, _at_ns: signal and self.signals.append(signal)
        self.marks = {leg.instrument.key: leg.entry or 0 for held in (self.position, *self.others) for leg in held.legs}
        self.ticks = {
            leg.instrument.key: leg.instrument.tick for held in (self.position, *self.others) for leg in held.legs
        }
        for leg, mark in zip(self.position.legs, self.start or (), strict=self.start is not None):
            self.marks[leg.instrument.key] = mark
        self.ns = NS_PER_S
        self.engine.handle(ev.FeedStateChanged(is_live=True, at_ns=self.ns))
        self.engine.handle(ev.PositionOpened(self.position, self.levels, self.ns, self.memory))
        for other in self.others:
            self.engine.handle(ev.PositionOpened(other, ExitLevels(), self.ns))
        self.tell()
        for key, mark in self.marks.items():
            self.quote(key, mark)
        self.wait(2)

    @property
    def guard(self):
        return self.engine.guards[self.position.strategy_id]

    @property
    def fired(self) -> list[Signal]:
        return [signal for signal in self.signals if signal.strategy_id == self.position.strategy_id]

    def time(self) -> ev.TimePassed:
        utc = utc_ns(self.day, self.at) + self.ns - NS_PER_S
        return ev.TimePassed(self.ns, utc, session_open=True, is_trading_day=True)

    def tell(self) -> None:
        self.engine.handle(self.time())

    def quote(self, key: InstrumentKey, mark: int) -> None:
        """A clean quote whose book is one tick wide on each side."""
        self.marks[key] = mark
        tick = self.ticks[key]
        self.engine.on_quote(Quote(key, mark, mark - tick, mark + tick, 75, 75, None, self.ns))

    def wait(self, seconds: float) -> None:
        """Time goes on; the underlying ticks as an index does, without a book."""
        for beat in range(round(seconds * 4)):
            self.ns += BEAT_NS
            if self.spot is not None and beat % 2 == 0:
                self.engine.on_quote(Quote(NIFTY, self.spot, None, None, 0, 0, self.ns // NS_PER_S, self.ns))
            self.tell()

    def move(self, leg: int, mark: int, then: float = 3.0) -> None:
        """One leg goes there, and everything has the time to be believed."""
        key = self.position.legs[leg].instrument.key
        self.wait(1.5)
        self.quote(key, mark)
        for other in self.position.legs:
            if other.instrument.key != key:
                self.quote(other.instrument.key, self.marks[other.instrument.key])
        self.wait(then)

    def plan(self) -> dict[str, object]:
        """The position's part of what `--plan --json` prints."""
        spot = None if self.spot is None else Quote(NIFTY, self.spot, None, None, 0, 0, None, self.ns)
        sources = PlanSources(
            self.time(),
            self.engine.desk.settings.ladder,
            lambda key: spot if key == NIFTY else None,
            lambda guard, at_ns: around_of(self.engine.judges, guard, at_ns),
        )
        shown = planned_view(self.guard, sources)
        (content,) = json.loads(document(view(positions=(shown,)), with_plan=True))["positions"]
        return content


def paise(rupees: float | None) -> int | None:
    return None if rupees is None else paise_from_text(str(rupees))


def pnl_of(position: Position, marks: tuple[int, ...]) -> int:
    return sum(leg.units * (mark - (leg.entry or 0)) for leg, mark in zip(position.legs, marks, strict=True))


def only(levels: ExitLevels, *names: str) -> ExitLevels:
    """The levels without all others, so that nothing else fires on the way."""
    return replace(ExitLevels(), **{name: getattr(levels, name) for name in names})
