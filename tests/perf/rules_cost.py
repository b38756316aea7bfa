"""What all rules together cost a tick that fires nothing: the same 10,000 positions with three levels each, and with every rule.

Both books live in one process and take the same packets in turns, so that the ratio is of one machine at one time.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from dataclasses import dataclass, replace
from datetime import date
from datetime import time as clock_time
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from core.clock import SystemClock
from core.dhan.feed_packets import DecodeCounts
from core.exit_runner import ExitRunner
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.exits.judges import RuleSetup
from core.feed_line import FeedAccess, FeedLine, FeedSettings
from core.model.events import FeedStateChanged, PositionOpened, TimePassed
from core.model.exit_levels import (
    Action,
    AmountLevel,
    ClockLevel,
    DaysLevel,
    ExitLevels,
    LevelSource,
    TrailingLevel,
)
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.position import Leg, Position, Product
from core.model.session_time import IST_OFFSET_S
from core.model.signals import Mode
from core.model.special_levels import (
    AdjustmentLevel,
    GreekKind,
    GreekLevel,
    LockLevel,
    LockStep,
    ScalingLevel,
    Scope,
    ScopeLimit,
    UnderlyingLevel,
)
from core.position_cache_manager import PositionCacheManager
from core.price_cache import PriceCache
from strategies.own_rules import OWN_RULES
from tests.perf.feed_sender import full_packet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POSITIONS: Final = 10_000
INSTRUMENTS: Final = 5_000
LEGS: Final = 4
PACKETS: Final = 10_000
ROUNDS: Final = 9
FIRST_ID: Final = 40_000
ENTRY_RUPEES: Final = 100.0
_ROW: Final = LevelSource.LEVEL_ROW
_INDEX: Final = InstrumentKey(Segment.IDX_I, 13)
_NEVER: Final = 100_000_000


def _amount(paise: int) -> AmountLevel:
    return AmountLevel(paise, _ROW)


THREE_RULES: Final = ExitLevels(
    stop=_amount(_NEVER), target=_amount(_NEVER), dte=DaysLevel(1, _ROW), max_profit=_NEVER, max_loss=_NEVER
)
EVERY_RULE: Final = replace(
    THREE_RULES,
    trailing=TrailingLevel(_NEVER // 2, _NEVER // 4, _ROW),
    premium_trailing=None,
    lock=LockLevel((LockStep(_NEVER // 2, 0),), _ROW),
    scaling=tuple(
        ScalingLevel(_NEVER // part, action, _ROW)
        for part, action in ((4, Action.CLOSE_25), (3, Action.CLOSE_50), (2, Action.CLOSE_75))
    ),
    theta=DaysLevel(1, _ROW),
    losing_time=DaysLevel(2, _ROW),
    holding=DaysLevel(3_000, _ROW),
    square_off=ClockLevel(clock_time(23, 59, 59), _ROW),
    adjustment=AdjustmentLevel(_NEVER // 4, _NEVER // 2, _ROW),
    underlying=(
        UnderlyingLevel(1_000_00, is_above=False, action=Action.CLOSE_POSITION, source=_ROW),
        UnderlyingLevel(90_000_00, is_above=True, action=Action.CLOSE_POSITION, source=_ROW, candle_minutes=5),
    ),
    greeks=(GreekLevel(GreekKind.DELTA, 50, Action.ADJUST, _ROW),),
    own_rules=tuple(OWN_RULES),
)
EVERY_LIMIT: Final = tuple(ScopeLimit(scope, _NEVER * 20_000, _NEVER * 20_000, _NEVER * 20_000) for scope in Scope)


@dataclass(slots=True)
class Book:
    """One engine with its own way from the packet to the decision."""

    engine: Engine
    line: FeedLine

    def beat(self) -> float:
        """Milliseconds of one quarter-second beat."""
        clock = SystemClock()
        started = time.perf_counter_ns()
        self.engine.handle(TimePassed(clock.monotonic_ns(), clock.utc_ns(), session_open=True, is_trading_day=True))
        return (time.perf_counter_ns() - started) / 1e6


def _positions() -> list[Position]:
    contracts = [
        Instrument(
            InstrumentKey(Segment.NSE_FNO, security_id), f"NIFTY-{security_id}", "NIFTY", 75, 5, 1_801,
            2_000_000 + 1_000 * (security_id % 500), date(2030, 12, 26), Right.CALL, underlying_key=_INDEX,
        )
        for security_id in range(FIRST_ID, FIRST_ID + INSTRUMENTS)
    ]  # fmt: skip
    chance = random.Random(5)
    made = []
    for number in range(POSITIONS):
        legs = tuple(
            Leg(LEGS * number + at, contract, Product.MARGIN, 75 * (1 if at % 2 else -1), 10_000, "2026-11-20T10:00:00")
            for at, contract in enumerate(chance.sample(contracts, LEGS))
        )
        made.append(Position(number + 1, "Iron Condor", "NIFTY", legs))
    return made


def _book(levels: ExitLevels, rules: RuleSetup) -> Book:
    clock: Any = SystemClock()
    cache, unused = PositionCacheManager(), SimpleNamespace()
    engine = Engine(cache, GuardSettings(), DeskSettings(), Mode.LIVE, rules)
    nobody: Any = unused
    runner = ExitRunner(
        engine=engine, broker=nobody, journal=nobody, store=nobody, records=nobody, clock=clock, spawn=nobody
    )
    for position in _positions():
        engine.handle(PositionOpened(position, levels, clock.monotonic_ns()))
    prices = PriceCache()
    prices.watch(tuple(cache.keys()))
    access = FeedAccess("ws://127.0.0.1/feed", "1", lambda: "t")
    line = FeedLine(
        access, prices, DecodeCounts(), runner.on_quote, lambda: None, lambda _: None, clock, FeedSettings()
    )
    line._connection.connecting(clock.monotonic_ns())
    line._connection.opened(clock.monotonic_ns())
    book = Book(engine, line)
    now_s = int(time.time()) + IST_OFFSET_S
    for security_id in range(FIRST_ID, FIRST_ID + INSTRUMENTS):
        line.on_binary(full_packet(security_id, ENTRY_RUPEES, now_s))
    engine.handle(FeedStateChanged(is_live=True, at_ns=clock.monotonic_ns()))
    for _ in range(12):
        book.beat()
    return book


def _ns(work: Callable[[bytes], object], packets: Sequence[bytes]) -> float:
    started = time.perf_counter_ns()
    for packet in packets:
        work(packet)
    return (time.perf_counter_ns() - started) / len(packets)


def measure() -> dict[str, float]:
    """Medians over rounds that change between the books; `ratio` is the median of each round's own ratio."""
    few = _book(THREE_RULES, RuleSetup())
    every = _book(EVERY_RULE, RuleSetup(limits=EVERY_LIMIT, own_rules=OWN_RULES))
    now_s = int(time.time()) + IST_OFFSET_S
    chance = random.Random(7)
    packets = [
        full_packet(
            FIRST_ID + chance.randrange(INSTRUMENTS), round(ENTRY_RUPEES + chance.randint(-9, 9) * 0.05, 2), now_s
        )
        for _ in range(PACKETS)
    ]
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
    before, after, beats = [], [], ([], [])
    for _ in range(ROUNDS):
        before.append(_ns(few.line.on_binary, packets))
        after.append(_ns(every.line.on_binary, packets))
        beats[0].append(few.beat())
        beats[1].append(every.beat())
    outside = sum(not booked.lower < (booked.pnl or 0) < booked.upper for booked in every.engine.cache.booked())
    return {
        "positions": POSITIONS,
        "instruments": INSTRUMENTS,
        "three_rules_ns": median(before),
        "every_rule_ns": median(after),
        "ratio": median(new / old for old, new in zip(before, after, strict=True)),
        "beat_three_rules_ms": median(beats[0]),
        "beat_every_rule_ms": median(beats[1]),
        "fired": few.engine.counts.signals + every.engine.counts.signals,
        "outside": outside,
    }


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
    print(flush=True)
