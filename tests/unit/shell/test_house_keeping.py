"""What is done once a second: it tells a person once, and never keeps the ticks waiting."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.dhan.token_facts import Standing
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.exit_desk import start_exit
from core.exits.guard_settings import GuardSettings
from core.exits.own_signals import operator_signal
from core.exits.price_judgement import TrustState
from core.house_keeping import HouseKeeping
from core.market_calendar import AlwaysOpen, load_calendar
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels, LevelSource
from core.model.session_time import NS_PER_S
from core.model.signals import Mode
from core.model.special_levels import UnderlyingLevel
from core.monitor_view import Statistics
from core.options import parse
from core.position_cache_manager import PositionCacheManager
from core.price_cache import PriceCache
from core.price_fanout import PriceFanout
from core.run_statistics import view_in_steps, view_of
from core.stores.base import StoreHealth, StoreState
from core.token_keeper import TokenStatus
from tests.fakes.manual_clock import ManualClock
from tests.unit.exits.builders import amount, call, days, position, put, quote, trailing

LEVELS = ExitLevels(stop=amount(50_000), trailing=trailing(0, 100_000), dte=days(2))


class Rig:
    def __init__(self, count):
        self.clock = ManualClock()
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.ALERT)
        self.alerts = []
        self.reads = 0
        self.missing_due = False
        self.health = StoreHealth(StoreState.LIVE)
        runner = SimpleNamespace(carry_out=self.alerts.extend, flush=self.nothing, alerts=self.alerts, alert_count=0)
        keeper = SimpleNamespace(
            known={}, set_aside=(), unseen=frozenset(), is_reading=True, changes_seen=0, has_missing_due=lambda: self.missing_due,
            read_or_keep=self.read,
        )  # fmt: skip
        self.parts = SimpleNamespace(
            mode=Mode.ALERT, options=parse(["--alert-only"]), clock=self.clock, engine=self.engine,
            cache=self.engine.cache, price_cache=PriceCache(), feed=None, order_updates=None, runner=runner,
            keeper=keeper, subscribe=lambda: None, decisions=None, settings=SimpleNamespace(state_dir=Path("absent")),
            store=SimpleNamespace(health=lambda: self.health),
            fetcher=SimpleNamespace(counts=SimpleNamespace(requests=0)),
            token=SimpleNamespace(status=TokenStatus(Standing.TRUSTED, None, "", 0, 0, 0)),
            prices=SimpleNamespace(
                redis=None, fanout=PriceFanout(self.clock),
                watch=SimpleNamespace(trust=SimpleNamespace(counts=lambda: {TrustState.QUIET: 3, TrustState.ASKED: 1})),
            ),
        )  # fmt: skip
        for number in range(count):
            first = 4 * number
            legs = (
                call(first + 1, 75, 26_400, 40), call(first + 2, -75, 26_200, 90),
                put(first + 3, 75, 25_800, 45), put(first + 4, -75, 26_000, 95),
            )  # fmt: skip
            self.engine.handle(ev.PositionOpened(position(*legs, strategy_id=number + 1), LEVELS, 0))
        self.house = HouseKeeping(self.parts, lambda _: None, self.clock.monotonic)  # type: ignore[arg-type]
        self.pass_seconds(6)

    async def nothing(self):
        """A journal without a backlog."""

    async def read(self):
        self.reads += 1

    def pass_seconds(self, seconds):
        self.clock.pass_seconds(seconds)
        for _ in range(5):
            told = ev.TimePassed(self.clock.monotonic, self.clock.utc, session_open=True, is_trading_day=True)
            self.engine.handle(told)

    def price(self, strategy_id):
        for leg, price in enumerate((40, 90, 45, 95), 1):
            self.engine.on_quote(quote(4 * (strategy_id - 1) + leg, price, at=self.clock.monotonic))


def started_at(clock, options="--execute", minutes=15):
    """The monitor starts at that IST time with a position that has a level of its underlying."""
    rig = Rig(1)
    rig.parts.calendar, rig.parts.options = load_calendar(), parse([options])
    rig.clock.utc = int(datetime.fromisoformat(f"2026-11-20T{clock}+05:30").timestamp()) * NS_PER_S
    level = UnderlyingLevel(26_500_00, True, Action.CLOSE_POSITION, LevelSource.LEVEL_ROW, candle_minutes=minutes)
    held = rig.engine.guards[1].booked.position
    rig.engine.handle(ev.PositionOpened(held, ExitLevels(underlying=(level,)), 0))
    rig.house.tell_missed_closes()
    return rig.alerts


@pytest.mark.parametrize(
    ("clock", "until"), [("09:30:00", "09:30"), ("11:02:00", "11:00"), ("15:39:00", "15:30"), ("09:29:59", None)]
)
def test_candles_that_were_over_before_the_start_are_told(clock, until):
    alerts = started_at(clock)
    assert [alert.subject for alert in alerts] == ["candle closes before the start"] * (until is not None)
    if until is not None:
        (alert,) = alerts
        assert alert.text.endswith(f"(1), 15 min until {until} IST")


@pytest.mark.parametrize(
    "how", [{"clock": "08:50:00"}, {"options": "--plan"}, {"minutes": None}, {"clock": "15:40:00"}]
)
def test_nothing_is_told_of_candles_where_none_was_missed(how):
    assert started_at(**{"clock": "11:02:00", **how}) == []


@pytest.mark.parametrize(("session_open", "told"), [(True, True), (False, False), (None, False)])
async def test_on_a_day_of_unknown_hours_silence_of_the_feed_means_nothing(session_open, told):
    """Otherwise it would be connected anew about 200 times an hour, all night and every holiday (429 blocks the account)."""
    rig = Rig(0)
    heard = []
    rig.parts.options = parse(["--alert-only", "--once"])
    rig.parts.calendar = AlwaysOpen()
    rig.parts.feed = SimpleNamespace(market=lambda **told: heard.append(told))
    rig.engine.desk.session_open = session_open
    task = asyncio.create_task(rig.house.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert [each["is_open"] for each in heard] == [told]


async def test_a_slow_store_does_not_stop_the_view(monkeypatch):
    """Re-reads are a task of their own."""
    rig = Rig(1)
    real, turns = asyncio.sleep, []

    async def sleep(seconds):
        turns.append(seconds)
        rig.clock.pass_seconds(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    shown = []
    gate = asyncio.Event()
    rig.parts.keeper.read_or_keep = gate.wait
    rig.missing_due = True
    house = HouseKeeping(rig.parts, shown.append, 0)
    monkeypatch.setattr("core.house_keeping.view_in_steps", lambda *_: real(0, "view"))
    tasks = [asyncio.create_task(house.run()), asyncio.create_task(house.re_read())]
    for _ in range(50):
        await real(0)
    assert len(shown) > 3
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_rows_are_read_again_at_the_interval_and_when_a_contract_was_missing(monkeypatch):
    rig = Rig(0)
    real = asyncio.sleep

    async def sleep(seconds):
        rig.clock.pass_seconds(seconds)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    begun = rig.clock.monotonic
    task = asyncio.create_task(rig.house.re_read())
    while rig.clock.monotonic - begun < 3_010 * NS_PER_S:
        await real(0)
    assert rig.reads in {9, 10}
    before = rig.reads
    rig.missing_due = True
    for _ in range(4):
        await real(0)
    assert rig.reads > before
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
def no_statistics(monkeypatch):
    nothing = Statistics(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    monkeypatch.setattr("core.run_statistics._statistics", lambda *_: nothing)


@pytest.mark.usefixtures("no_statistics")
async def test_a_large_view_lets_the_ticks_through_between_small_steps():
    rig = Rig(1_000)
    for number in range(1_000):
        rig.price(number + 1)
    turns = 0

    async def ticking():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticks = asyncio.create_task(ticking())
    began = time.perf_counter()
    view = await view_in_steps(rig.parts, 0)
    took = time.perf_counter() - began
    ticks.cancel()
    await asyncio.wait([ticks])
    assert turns >= 20, f"one step of {took * 1_000:.0f} ms"
    assert view.positions == view_of(rig.parts, 0).positions


@pytest.mark.usefixtures("no_statistics")
async def test_a_position_that_begins_to_exit_while_the_view_is_made_is_not_shown_twice():
    rig = Rig(120)
    making = asyncio.create_task(view_in_steps(rig.parts, 0))
    await asyncio.sleep(0)
    del rig.engine.guards[1]
    del rig.engine.guards[120]
    view = await making
    assert [each.position.strategy_id for each in view.positions] == list(range(2, 120))


@pytest.mark.usefixtures("no_statistics")
async def test_a_position_that_is_guarded_beside_the_exit_of_a_share_is_shown_once_as_exiting():
    rig = Rig(2)
    whole = rig.engine.guards[1].booked.position
    start_exit(rig.engine.desk, operator_signal(1, None, 0), whole, 1, 0, tuple(leg.units for leg in whole.legs))
    for view in (view_of(rig.parts, 0), await view_in_steps(rig.parts, 0)):
        assert [(each.position.strategy_id, each.state) for each in view.positions] == [(2, "guarded"), (1, "exiting")]


def look(rig, seconds, health):
    rig.health = health
    rig.clock.pass_seconds(seconds)
    rig.house._look_after_store()
    return [alert.subject for alert in rig.alerts]


def test_changes_that_are_not_pushed_for_a_minute_are_told_once_until_they_are_again():
    rig = Rig(0)
    polling = StoreHealth(StoreState.POLLING, "no canary")
    assert look(rig, 0, polling) == []
    assert look(rig, 59, polling) == []
    assert look(rig, 1, polling) == ["changes of the trades are not pushed"]
    assert "no canary" in rig.alerts[-1].text
    assert len(look(rig, 600, polling)) == 1
    look(rig, 1, StoreHealth(StoreState.LIVE))
    look(rig, 1, polling)
    assert len(look(rig, 60, polling)) == 2
