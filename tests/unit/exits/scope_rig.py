"""An engine with limits over positions, in a test's hands. Prices and amounts are paise: one unit moves the P&L paisa by paisa."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.book_keeper import position_tag
from core.exits.judges import RuleSetup
from core.exits.restore import fold
from core.model import commands as cmd
from core.model import events as ev
from core.model.exit_levels import ExitLevels
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.model.memory import NOTHING_REMEMBERED, PositionMemory
from core.model.position import Leg, Position, Product
from core.model.special_levels import LimitKind, Scope, ScopeLimit
from tests.unit.order_side.rig import MS, NOON, Rig, S, instrument

if TYPE_CHECKING:
    from core.exits.scope_limits import ScopeLimits
    from core.exits.scope_state import LimitState

ENTRY = 10_000
YESTERDAY, TODAY = "2026-11-19T10:00:00", "2026-11-20T09:20:00"
DAY_S = 86_400


def held(
    strategy_id: int,
    *legs: tuple[int, int],
    entry: int | None = ENTRY,
    opened: str = YESTERDAY,
    on: str = "NIFTY",
    row: int | None = None,
):
    """A position of (security id, units) legs, its rows numbered from `row`, by its strategy unless told. The tick is one paisa."""
    first = strategy_id * 10 if row is None else row
    made = [
        Leg(first + n, instrument(security_id, tick=1), Product.MARGIN, units, entry, opened)
        for n, (security_id, units) in enumerate(legs)
    ]
    return Position(strategy_id, f"S{strategy_id}", on, tuple(made))


@dataclass
class LimitRig(Rig):
    """`memories` is what was remembered of positions, by strategy id; it holds for the rows that it was written for (`tags`)."""

    memories: dict[int, PositionMemory] = field(default_factory=dict)
    tags: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.engine.begin_at(self.utc)

    @property
    def utc(self) -> int:
        return self.utc_at_start + self.now - self.start

    @property
    def limits(self) -> ScopeLimits:
        return self.engine.judges[-1]  # type: ignore[return-value]

    def keep(self, commands) -> None:
        super().keep(commands)
        for command in commands:
            if isinstance(command, cmd.Remember):
                memory = self.engine.memory_of(command.strategy_id)
                if memory is not None:
                    self.memories[command.strategy_id] = memory
                    self.tags[command.strategy_id] = position_tag(self.engine._opened[command.strategy_id].position)

    def remembered(self, position: Position) -> PositionMemory:
        """What a keeper would tell of the position."""
        tag = self.tags.get(position.strategy_id, position_tag(position))
        known = tag == position_tag(position)
        return self.memories.get(position.strategy_id, NOTHING_REMEMBERED) if known else NOTHING_REMEMBERED

    def put(self, *positions: Position, levels: ExitLevels | None = None, quoted: bool = True) -> None:
        """Open positions, each leg quoted at its entry, and let the clock be told twice."""
        for one in positions:
            self.tell(ev.PositionOpened(one, levels or ExitLevels(), self.now, self.remembered(one)))
            for leg in one.legs if quoted else ():
                self.tick(leg.instrument.key.security_id, ENTRY)
        self.beat()
        self.beat()

    def beat(self, count: int = 1) -> None:
        for _ in range(count):
            self.wait(0.25)

    def tick(
        self, security_id: int, last: int, *, bid: int | None = None, ask: int | None = None, after=0, source=None
    ):
        """A quote `after` seconds later. The book is two paise wide around the last price unless it is given."""
        self.now += round(after * S)
        bid, ask = last - 1 if bid is None else bid, last + 1 if ask is None else ask
        key = InstrumentKey(Segment.NSE_FNO, security_id)
        quote = Quote(key, last, bid, ask, 75, 75, None, self.now, source or QuoteSource.FEED)
        self.tell(ev.QuoteArrived(quote))

    def doubt(self, *security_ids: int) -> None:
        keys = tuple(InstrumentKey(Segment.NSE_FNO, one) for one in security_ids)
        self.tell(ev.PricesDoubted(keys, "silence", self.now))

    def fired(self) -> dict[int, tuple[str, str]]:
        """Rule and level of each exit under way, by strategy id."""
        signals = {each.strategy_id: each.signal for each in self.desk.exits.values()}
        return {each: (signal.rule.value, signal.level) for each, signal in signals.items()}

    def state(self, kind: LimitKind, scope: Scope = Scope.PORTFOLIO, name: str = "") -> LimitState:
        (found,) = [each for each in self.limits.state() if each[:3] == (scope, name, kind)]
        return found

    def fill_all(self) -> None:
        """Every order fills at its limit price, as often as it takes, and the broker's positions follow."""
        for _ in range(4):
            for intent in self.submitted():
                self.fill(intent)
            self.wait(0.1)
            open_units: dict[int, int] = {}
            for running in self.desk.exits.values():
                for leg in running.legs:
                    security_id = leg.leg.instrument.key.security_id
                    # Beside the exit of a share the whole is guarded.
                    begun = 0 if running.is_share else leg.leg.units
                    open_units[security_id] = open_units.get(security_id, 0) + begun + _closed(leg)
            for guard in self.engine.guards.values():
                for leg in guard.booked.position.legs:
                    security_id = leg.instrument.key.security_id
                    open_units[security_id] = open_units.get(security_id, 0) + leg.units
            known = {
                leg.instrument.key.security_id for each in self.engine.cache.booked() for leg in each.position.legs
            }
            self.positions(dict.fromkeys(known, 0) | open_units)
            self.wait(0.3)

    def reborn(self, seconds: float = 1.0, mode=None) -> LimitRig:
        """The program after a crash: everything in memory is lost; the journal and what was remembered are not."""
        after = LimitRig(
            self.settings,
            mode or self.mode,
            self.now + round(seconds * S),
            self.utc + round(seconds * S),
            rules=self.rules,
        )
        after.memories, after.tags = dict(self.memories), dict(self.tags)
        after.journal = list(self.journal)
        restored = fold(self.journal, after.desk, after.now)
        after.keep(after.engine.restore(restored, after.now))
        after.desk.feed_live = True
        return after


def _closed(leg) -> int:
    return -leg.filled if leg.leg.units > 0 else leg.filled


def rig_with(*limits: ScopeLimit, **terms) -> LimitRig:
    return LimitRig(rules=RuleSetup(limits=limits), **terms)


__all__ = ["DAY_S", "ENTRY", "MS", "NOON", "TODAY", "YESTERDAY", "LimitRig", "S", "held", "rig_with"]
