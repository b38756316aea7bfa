"""Rows that change, sources that fail: what the engine is told, and how often a person is."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import time
from types import SimpleNamespace

import pytest

from core import book_keeper
from core.book_keeper import BookKeeper, position_tag
from core.exit_profiles import book_rules, profiles_by, square_off_times
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.model import commands as cmd
from core.model import events as ev
from core.model.errors import BugError, ConfigurationError, DecodeError, RowError, StoreError, TransportError
from core.model.exit_levels import Action
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.memory import PositionMemory
from core.model.position import Product
from core.model.session_time import NS_PER_S, ist_datetime
from core.model.signals import Mode
from core.model.trade_rows import LevelRow, StrategyRow, TradeRow
from core.position_book import LACKING
from core.position_cache_manager import PositionCacheManager
from core.settings import load_settings
from core.stores.base import Snapshot
from tests.fakes.manual_clock import ManualClock
from tests.fakes.waiting import eventually
from tests.unit.exits.builders import quote

CLOCK = ManualClock()
EXPIRY = ist_datetime(CLOCK.utc).date().replace(day=28)
ACCOUNT = {"DHAN_CLIENT_ID": "1100000001", "DHAN_ACCESS_TOKEN": "a.b.c"}


def instrument(security_id):
    key = InstrumentKey(Segment.NSE_FNO, security_id)
    return Instrument(key, f"NIFTY-{security_id}", "NIFTY", 65, 5, None, 26_000_00, EXPIRY, Right.CALL)


class Source:
    def __init__(self, *known):
        self.known = set(known)
        self.loads = []
        self.problem = None

    async def load(self, wanted):
        self.loads.append({key.security_id for key in wanted})
        if self.problem is not None:
            raise self.problem
        found = {key: instrument(key.security_id) for key in wanted if key.security_id in self.known}
        return SimpleNamespace(master=SimpleNamespace(instruments=found))


class Store:
    def __init__(self):
        self.snapshot = None
        self.problem = None
        self.noticed = asyncio.Event()

    async def read_snapshot(self):
        if self.problem is not None:
            raise self.problem
        return self.snapshot

    async def changes(self):
        while True:
            await self.noticed.wait()
            self.noticed.clear()
            yield None


class Listener:
    """Where the keeper's facts go: into a real engine, and into a list."""

    def __init__(self):
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.SIMULATION)
        self.events = []
        self.alerts = []

    def handle(self, event):
        self.events.append(event)
        self.engine.handle(event)

    def carry_out(self, commands):
        self.alerts += [command for command in commands if isinstance(command, cmd.Alert)]


def trade(row_id=1, strategy_id=7, security_id=501, **changes):
    row = TradeRow(
        row_id=row_id,
        strategy_id=strategy_id,
        security_id=security_id,
        segment="NSE_FNO",
        underlying="NIFTY",
        option_type="CE",
        strategy_name="Long Call",
        is_buy=True,
        quantity=130,
        entry=100_00,
        strike=26_000_00,
        expiry=None,
        product="MARGIN",
        opened_at="2026-11-18T10:00:00",
    )
    return replace(row, **changes)


def snapshot(*trades, strategies=(), levels=(), problems=(), damaged=()):
    return Snapshot(tuple(trades), tuple(strategies), (), tuple(levels), tuple(problems), frozenset(damaged))


class Rig:
    def __init__(self, *known, rules=None, **settings):
        self.clock = ManualClock()
        self.store = Store()
        self.source = Source(*(known or (501, 502)))
        self.listener = Listener()
        self.memories = {}
        loaded = load_settings(ACCOUNT | settings, None)
        self.keeper = BookKeeper(
            store=self.store,
            source=self.source,
            runner=self.listener,
            clock=self.clock,
            rules=rules or book_rules(loaded),
            memories=self.memories,
        )

    async def show(self, *trades, **more):
        self.store.snapshot = snapshot(*trades, **more)
        await self.keeper.read_or_keep()

    @property
    def guards(self):
        return self.listener.engine.guards

    def subjects(self):
        return [alert.subject for alert in self.listener.alerts]

    def events(self, kind):
        return [event for event in self.listener.events if isinstance(event, kind)]


@pytest.fixture
def rig():
    return Rig()


async def test_the_same_rows_again_tell_the_engine_nothing(rig):
    await rig.show(trade())
    await rig.show(trade())
    assert len(rig.listener.events) == 1
    assert rig.keeper.is_reading


async def test_an_entry_price_that_becomes_known_makes_the_profit_known(rig):
    await rig.show(trade(entry=None))
    rig.listener.engine.on_quote(quote(501, 110))
    assert rig.guards[7].booked.pnl is None
    await rig.show(trade(entry=100_00))
    assert rig.guards[7].booked.pnl == 130 * 10_00


async def test_a_leg_that_is_added_is_guarded_with_the_others(rig):
    await rig.show(trade())
    await rig.show(trade(), trade(row_id=2, security_id=502, is_buy=False))
    assert [leg.units for leg in rig.guards[7].booked.position.legs] == [130, -130]


async def test_a_row_that_changes_its_strategy_is_guarded_once(rig):
    await rig.show(trade(), trade(row_id=2, strategy_id=8, security_id=502))
    await rig.show(trade(strategy_id=8), trade(row_id=2, strategy_id=8, security_id=502))
    assert rig.guards.keys() == {8}
    assert [leg.row_id for leg in rig.guards[8].booked.position.legs] == [1, 2]


async def test_rows_closed_by_others_are_guarded_no_more(rig):
    await rig.show(trade())
    await rig.show()
    assert rig.guards == {}
    assert rig.keeper.known == {}


async def test_an_unreadable_store_keeps_the_book_warns_once_and_recovers(rig):
    await rig.show(trade())
    for text in ("locked", "busy", "away") * 5:
        rig.store.problem = TransportError(text)
        await rig.keeper.read_or_keep()
    assert rig.subjects() == ["trades not readable"]
    assert not rig.keeper.is_reading
    assert rig.guards.keys() == {7}
    rig.store.problem = None
    await rig.show(trade(), trade(row_id=2, strategy_id=8))
    assert rig.keeper.is_reading
    assert rig.guards.keys() == {7, 8}
    assert rig.subjects() == ["trades not readable", "trades readable again"]
    rig.store.problem = StoreError("gone")
    await rig.keeper.read_or_keep()
    assert rig.subjects()[2:] == ["trades not readable"]
    assert rig.listener.alerts[-1].severity is cmd.Severity.PAGE


async def test_rows_of_an_earlier_time_are_guarded_and_paged(rig):
    rig.store.snapshot = replace(snapshot(trade()), stale="Supabase does not answer; rows as read at 09:14")
    await rig.keeper.read_or_keep()
    assert rig.guards.keys() == {7}
    assert rig.subjects() == ["trades of an earlier time"]
    assert "09:14" in rig.listener.alerts[-1].text


async def test_a_read_under_way_does_not_look_like_an_unreadable_store(rig):
    await rig.show(trade())
    gate = asyncio.Event()

    async def slowly():
        await gate.wait()
        return snapshot(trade())

    rig.store.read_snapshot = slowly
    reading = asyncio.create_task(rig.keeper.read_or_keep())
    await asyncio.sleep(0)
    assert rig.keeper.is_reading
    gate.set()
    await reading


async def test_a_bug_in_reading_is_not_taken_for_an_unreadable_store(rig):
    rig.store.problem = BugError("never")
    with pytest.raises(BugError):
        await rig.keeper.read_or_keep()
    assert not rig.keeper.is_reading


@pytest.mark.parametrize("error", [TransportError("no net"), DecodeError("html"), ConfigurationError("gone", "mend")])
async def test_without_a_master_at_start_the_error_comes_out(rig, error):
    rig.source.problem = error
    rig.store.snapshot = snapshot(trade())
    with pytest.raises(type(error)):
        await rig.keeper.read()


async def test_a_master_that_fails_later_stops_no_other_change_of_rows(rig):
    """One new contract must not freeze the levels of all others."""
    await rig.show(trade())
    rig.source.problem = TransportError("no net")
    level = LevelRow(1, 7, "stop_loss", "primary", 1_234_00, "price", Action.CLOSE_POSITION, "Close")
    await rig.show(trade(), trade(row_id=2, strategy_id=8, security_id=502), levels=(level,))
    assert rig.guards[7].levels.stop.amount == 2 * 1_234_00, "per lot, of two"
    assert rig.subjects() == ["instrument master not readable", "row set aside"]
    await rig.show(trade(quantity=65), trade(row_id=2, strategy_id=8, security_id=502))
    assert rig.guards[7].booked.position.legs[0].units == 65
    assert len(rig.listener.alerts) == 2


async def test_a_contract_that_the_master_lacks_is_looked_for_once_a_minute(rig):
    await rig.show(trade(), trade(row_id=2, strategy_id=8, security_id=777))
    for _ in range(50):
        rig.clock.pass_seconds(1)
        await rig.keeper.read_or_keep()
    assert rig.source.loads == [{501, 777}], "the master is large: it is not read for every change"
    assert not rig.keeper.has_missing_due()
    rig.source.known.add(777)
    rig.clock.pass_seconds(11)
    assert rig.keeper.has_missing_due()
    await rig.keeper.read_or_keep()
    assert rig.source.loads[1:] == [{777}]
    assert rig.guards.keys() == {7, 8}
    assert rig.keeper.set_aside == ()
    assert not rig.keeper.has_missing_due()


async def test_a_contract_is_forgotten_when_no_row_names_it_any_more(rig):
    await rig.show(trade(), trade(row_id=2, strategy_id=8, security_id=777))
    await rig.show(trade())
    rig.clock.pass_seconds(100)
    assert not rig.keeper.has_missing_due()


async def test_a_row_set_aside_is_paged_once_while_it_stays_so(rig):
    problem = RowError("trades", 9, "quantity is 'many'")
    for _ in range(5):
        await rig.show(trade(), problems=(problem,))
    assert rig.subjects() == ["row set aside"]
    await rig.show(trade())
    await rig.show(trade(), problems=(problem,))
    assert rig.subjects() == ["row set aside"] * 2


async def test_a_table_full_of_bad_rows_is_one_page(rig):
    problems = [RowError("trades", row, "quantity is 'many'") for row in range(10, 500)]
    await rig.show(trade(), problems=problems)
    assert rig.subjects() == ["490 rows set aside"]
    assert len(rig.keeper.set_aside) == 490
    assert rig.guards.keys() == {7}


async def test_a_large_book_is_built_without_keeping_the_ticks_waiting(rig, monkeypatch):
    where = []
    real = book_keeper.build_book

    def noted(*given):
        where.append(threading.current_thread() is threading.main_thread())
        return real(*given)

    monkeypatch.setattr(book_keeper, "build_book", noted)
    await rig.show(trade())
    assert where == [False]


async def test_every_noticed_change_is_read_and_counted(rig):
    rig.store.snapshot = snapshot(trade())
    following = asyncio.create_task(rig.keeper.follow())
    for _ in range(3):
        rig.store.noticed.set()
        seen = rig.keeper.changes_seen
        await eventually(lambda seen=seen: rig.keeper.changes_seen > seen)
    await eventually(lambda: rig.guards)
    assert rig.keeper.changes_seen == 3
    assert rig.guards.keys() == {7}
    following.cancel()
    await asyncio.wait([following])


async def test_the_paper_account_hears_of_positions_before_the_engine_and_subscriptions_after(rig):
    order = []
    rig.keeper.on_positions = lambda positions: order.append(("paper", len(positions), len(rig.listener.events)))
    rig.keeper.on_read = lambda: order.append(("read", len(rig.guards), len(rig.listener.events)))
    await rig.show(trade())
    assert order == [("paper", 1, 0), ("read", 1, 1)]


async def test_a_remembered_peak_belongs_to_the_same_units_at_the_same_entry(rig):
    """A peak of 130 units on what is left of them, 65, would put the trailing stop above every P&L there is."""
    await rig.show(trade())
    held = rig.keeper.known[7].position
    rig.memories[position_tag(held)] = PositionMemory(peak=9_999)
    await rig.show(trade(quantity=65))
    await rig.show(trade(entry=101_00))
    await rig.show(trade())
    assert [event.memory.peak for event in rig.events(ev.PositionOpened)] == [None, None, None, 9_999]


async def test_only_the_chosen_strategies_are_read(rig):
    loaded = load_settings(ACCOUNT, None)
    rig = Rig(rules=book_rules(loaded, frozenset({8})))
    await rig.show(trade(), trade(row_id=2, strategy_id=8))
    assert rig.guards.keys() == {8}


async def test_category_defaults_come_from_the_settings_and_sets_by_strategy():
    rig = Rig(EXIT_DIRECTIONAL_DTE_DAYS="3", EXIT_DIRECTIONAL_STOP_PERCENT="40")
    await rig.show(trade())
    levels = rig.guards[7].levels
    assert levels.dte.days == 3
    assert levels.stop.amount == round(130 * 100_00 * 0.4)


async def test_the_stored_type_picks_the_category_of_an_unknown_name():
    rig = Rig(EXIT_INCOME_DTE_DAYS="13", EXIT_NEUTRAL_DTE_DAYS="17")
    strategy = StrategyRow(7, "My own", "income", "NIFTY", "")
    await rig.show(trade(strategy_name="My own"), strategies=(strategy,))
    assert rig.guards[7].levels.dte.days == 13
    await rig.show(trade(strategy_name="My own"))
    assert rig.guards[7].levels.dte.days == 17


async def test_intraday_positions_are_squared_off_at_the_time_of_the_settings():
    rig = Rig(SQUARE_OFF_INTRADAY="15:05")
    await rig.show(trade(product="INTRADAY"), trade(row_id=2, strategy_id=8))
    assert rig.guards[7].levels.square_off.at == time(15, 5)
    assert rig.guards[8].levels.square_off is None
    assert square_off_times(load_settings(ACCOUNT, None)).keys() <= {Product.INTRADAY}


def test_a_profile_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="aggressive_profits"):
        profiles_by(load_settings(ACCOUNT | {"DEFAULT_PROFILE": "bold"}, None))


async def test_rows_edited_during_an_exit_change_nothing_that_is_under_way(rig):
    await rig.show(trade(), trade(row_id=2, security_id=502))
    engine = rig.listener.engine
    for number in (501, 502):
        engine.on_quote(quote(number, 100, at=rig.clock.monotonic))
    utc = rig.clock.utc
    engine.handle(ev.TimePassed(rig.clock.monotonic, utc, session_open=True, is_trading_day=True))
    engine.handle(ev.OperatorExitRequested(7, rig.clock.monotonic + NS_PER_S))
    (running,) = engine.unresolved
    await rig.show(trade(quantity=13_000), trade(row_id=2, security_id=502), trade(row_id=3, security_id=501))
    assert [abs(leg.leg.units) for leg in running.legs] == [130, 130]
    assert rig.guards == {}
    await rig.show()
    assert engine.unresolved == (running,)


async def test_a_position_that_lacks_a_row_says_so_and_is_guarded(rig):
    """Its P&L is that of the other legs: whoever looks at the plan must know."""
    await rig.show(trade(), trade(row_id=2, security_id=999))
    assert LACKING in rig.guards[7].levels.notes
    await rig.show(trade())
    assert LACKING not in rig.guards[7].levels.notes


async def test_a_position_with_an_unreadable_row_says_so_unless_the_row_was_readable_before(rig):
    problem = RowError("trades", 2, "quantity: expected a whole number")
    await rig.show(trade(), problems=[problem], damaged=[7])
    assert LACKING in rig.guards[7].levels.notes
    await rig.show(trade(), trade(row_id=2, security_id=502))
    await rig.show(trade(), problems=[problem], damaged=[7])
    assert len(rig.guards[7].booked.position.legs) == 2
    assert LACKING not in rig.guards[7].levels.notes


async def test_levels_that_are_written_anew_are_never_replaced_by_a_default(rig):
    own = LevelRow(1, 7, "stop_loss", "primary", 1_234_00, "price", Action.CLOSE_POSITION, "Close")
    await rig.show(trade(quantity=65), levels=(own,))
    await rig.show(trade(quantity=65))
    assert rig.guards[7].levels.stop.amount == 1_234_00
    assert not rig.keeper.has_missing_due()
    rig.clock.pass_seconds(2.5)
    assert rig.keeper.has_missing_due()
    await rig.show(trade(quantity=65))
    stop = rig.guards[7].levels.stop
    assert stop is None or stop.amount != 1_234_00
    (subject,) = rig.subjects()
    assert subject.startswith("levels of ")
    assert subject.endswith(" (7) are gone")
    assert not rig.keeper.has_missing_due()
