"""Starting: what is refused and with which code, what is only worth a page, and that nothing fires too early."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from core.clock import SystemClock
from core.exit_codes import ExitCode, code_of
from core.exit_journal import ExitJournal
from core.exits.order_plan import exit_id_of
from core.model.errors import StoreError, TokenError, TransportError
from core.model.exit_levels import Action, Rule, Urgency
from core.model.journal_records import ExitHalted, ExitStarted
from core.model.session_time import ist_datetime
from core.model.signals import Mode, Signal
from core.monitor import Monitor, run
from core.options import parse
from core.settings import load_settings
from tests.integration.condor import (
    CALM,
    STOPPED,
    STRATEGY_ID,
    environment,
    hold,
    pick_condor,
    read_exits,
    set_prices,
    settings_for,
    write_rows,
)
from tests.integration.processes import eventually

if TYPE_CHECKING:
    pass


class Night(SystemClock):
    """Today at three in the morning, Indian time."""

    def utc_ns(self) -> int:
        now = time.time_ns()
        moment = ist_datetime(now)
        since_three = ((moment.hour - 3) * 3_600 + moment.minute * 60 + moment.second) * 1_000_000_000
        return now - since_three


@pytest.fixture
def condor(exchange, tmp_path):
    legs = pick_condor()
    hold(exchange, legs)
    set_prices(exchange, legs, CALM)
    write_rows(tmp_path / "trades.db", legs)
    return legs


async def run_once(exchange, folder, *options, clock=None, **settings):
    """One run to its end: (exit code, last view)."""
    views = []
    loaded = load_settings(environment(exchange.ready_line(), folder) | settings, None)
    async with asyncio.timeout(30):
        code = await run(parse(list(options)), loaded, views.append, clock)
    return code, views[-1]


async def refused(exchange, folder, *options, **settings):
    with pytest.raises(Exception) as caught:  # noqa: PT011  the class is what each test looks at
        await run_once(exchange, folder, *options, **settings)
    assert code_of(caught.value) is ExitCode.REFUSED
    return caught.value


MODES = [("--execute",), ("--alert-only",), ()]


@pytest.mark.parametrize("mode", MODES)
async def test_a_refused_token_ends_every_mode(exchange, condor, tmp_path, mode):
    ready = exchange.ready_line()
    exchange.venue.tokens.invalidate()
    error = await refused(exchange, tmp_path, *mode, DHAN_ACCESS_TOKEN=ready["access_token"])
    assert isinstance(error, TokenError)
    assert ready["access_token"] not in str(error)


async def test_an_unregistered_address_ends_a_live_start_only(exchange, condor, tmp_path):
    exchange.options.static_ip_matches = False
    error = await refused(exchange, tmp_path, "--execute")
    assert "address" in str(error)
    for mode in ("--alert-only", "--plan"):
        code, _ = await run_once(exchange, tmp_path, mode, *(["--once"] if mode == "--alert-only" else []))
        assert code == 0


async def test_an_unreachable_instrument_master_ends_the_start(exchange, condor, tmp_path):
    error = await refused(exchange, tmp_path, DHAN_INSTRUMENTS="http://127.0.0.1:9/master.csv")
    assert isinstance(error, TransportError)
    assert "instrument master" in str(error)


async def test_a_broker_in_trouble_ends_the_start(exchange, condor, tmp_path):
    exchange.add_fault({"kind": "http_5xx", "where": {"path": "/profile"}})
    assert isinstance(await refused(exchange, tmp_path, "--execute"), TransportError)


async def test_an_order_book_that_stays_unreadable_ends_a_live_start(exchange, condor, tmp_path):
    """Which correlation ids are taken is in it alone, when the journal was lost."""
    exchange.add_fault({"kind": "http_5xx", "where": {"path": "/orders", "method": "GET"}})
    error = await refused(exchange, tmp_path, "--execute")
    assert "order book" in str(error)


async def test_an_order_book_that_fails_once_is_read_again(exchange, condor, tmp_path):
    exchange.add_fault({"kind": "http_5xx", "where": {"path": "/orders", "method": "GET", "times": 1}})
    code, _ = await run_once(exchange, tmp_path, "--execute", "--once")
    assert code == 0


async def test_a_store_without_tables_and_one_that_is_absent_end_the_start(exchange, tmp_path):
    error = await refused(exchange, tmp_path)
    assert isinstance(error, StoreError)
    assert "TRADES_DB" in str(error)
    sqlite3.connect(tmp_path / "trades.db").execute("CREATE TABLE unrelated (x)").connection.close()
    error = await refused(exchange, tmp_path)
    assert "trades" in str(error)


async def test_no_order_leaves_before_the_order_book_was_read(exchange, condor, tmp_path):
    set_prices(exchange, condor, STOPPED)
    exchange.add_fault(
        {"kind": "delay_response", "seconds": 1.0, "where": {"path": "/orders", "method": "GET", "nth": 1}}
    )
    code, _ = await run_once(exchange, tmp_path, "--execute", "--once")
    assert code == 0
    requests = [(line["method"], line["path"], line["at_ns"]) for line in exchange.venue.log.of("request")]
    book = next(at for method, path, at in requests if (method, path) == ("GET", "/orders"))
    first = next(at for method, path, at in requests if (method, path) == ("POST", "/orders"))
    assert first - book >= 1_000_000_000


async def test_with_the_feed_down_it_starts_takes_prices_over_rest_and_exits(exchange, condor, tmp_path):
    env = environment(exchange.ready_line(), tmp_path) | {"DHAN_FEED_URL": "ws://127.0.0.1:9"}
    monitor = Monitor(parse(["--execute"]), load_settings(env, None), lambda _: None, SystemClock())
    task = asyncio.create_task(monitor.run())
    guards = monitor.parts.engine.guards
    await eventually(lambda: STRATEGY_ID in guards and guards[STRATEGY_ID].booked.pnl is not None)
    set_prices(exchange, condor, STOPPED)
    await eventually(lambda: monitor.parts.engine.finished and monitor.parts.engine.is_idle)
    monitor.stop()
    assert await task == 0
    assert read_exits(tmp_path)[0]["rule"] == "stop_loss"


@pytest.mark.parametrize("mode", MODES)
async def test_once_without_any_position_ends_clean(exchange, tmp_path, mode):
    write_rows(tmp_path / "trades.db", [])
    code, view = await run_once(exchange, tmp_path, *mode, "--once")
    assert (code, view.positions) == (0, ())


@pytest.mark.parametrize("mode", MODES)
async def test_once_without_prices_calls_a_person_and_shows_what_is_unknown(exchange, condor, tmp_path, mode):
    exchange.add_fault({"kind": "http_5xx", "where": {"path": "/marketfeed"}})
    code, view = await run_once(exchange, tmp_path, *mode, "--once", "--no-websocket")
    assert code == 3
    assert [(each.pnl, each.state) for each in view.positions] == [(None, "guarded")]
    assert read_exits(tmp_path) == []


@pytest.mark.parametrize("mode", MODES)
async def test_once_at_night_sends_nothing_and_says_what_waits(exchange, condor, tmp_path, mode):
    set_prices(exchange, condor, STOPPED)
    code, view = await run_once(exchange, tmp_path, *mode, "--once", clock=Night(), MARKET_HOURS="calendar")
    assert code == 0
    assert "market is closed" in view.positions[0].reason
    assert exchange.state()["orders"] == []


@pytest.mark.parametrize("options", [("--once",), ("--once", "--alert-only")])
async def test_once_writes_the_record_of_every_exit_it_decided(exchange, tmp_path, options):
    """The end used to overtake the records: an alert-only run from cron lost what it was started for."""
    database = tmp_path / "trades.db"
    for number in range(12):
        legs = pick_condor(first_row=1 + 10 * number)
        hold(exchange, legs)
        write_rows(database, legs, strategy_id=100 + number)
    set_prices(exchange, legs, STOPPED)
    code, _ = await run_once(exchange, tmp_path, *options)
    assert code == 0
    assert sorted(record["strategy_id"] for record in read_exits(tmp_path)) == list(range(100, 112))


async def halted_exit(exchange, condor, folder):
    """A journal with an exit that waits for a person."""
    monitor = Monitor(parse(["--plan"]), settings_for(exchange, folder), lambda _: None, SystemClock())
    await monitor.run()
    position = monitor.parts.keeper.known[STRATEGY_ID].position
    signal = Signal(STRATEGY_ID, Rule.STOP_LOSS, Action.CLOSE_IMMEDIATELY, Urgency.HIGH, -1, -2, -2, "stop loss", 1)
    exit_id = exit_id_of(position, 1)
    journal = ExitJournal(folder / "state" / "exit_journal.db", Mode.LIVE)
    await journal.open()
    await journal.write([ExitStarted(exit_id, 1, signal, position), ExitHalted(exit_id, "look at it")])
    await journal.close()


async def test_once_with_a_halted_exit_ends_with_3_instead_of_waiting_for_ever(exchange, condor, tmp_path):
    await halted_exit(exchange, condor, tmp_path)
    code, view = await run_once(exchange, tmp_path, "--execute", "--once")
    assert code == 3
    assert [each.state for each in view.positions] == ["halted"]
    assert any("halted" in alert.subject for alert in view.alerts)


async def test_once_at_night_with_an_unfinished_exit_ends_with_3(exchange, condor, tmp_path):
    set_prices(exchange, condor, STOPPED)
    exchange.add_fault(
        {
            "kind": "refuse",
            "status": 400,
            "code": "DH-905",
            "message": "no",
            "where": {"path": "/orders", "method": "POST"},
        }
    )
    monitor = Monitor(parse(["--execute"]), settings_for(exchange, tmp_path), lambda _: None, SystemClock())
    task = asyncio.create_task(monitor.run())
    await eventually(lambda: monitor.parts.engine.unresolved)
    monitor.stop()
    assert await task == 3
    code, view = await run_once(exchange, tmp_path, "--execute", "--once", clock=Night(), MARKET_HOURS="calendar")
    assert code == 3
    assert [each.state for each in view.positions] == ["exiting"]


@pytest.mark.parametrize("mode", [("--execute",), ()])
async def test_a_plan_begins_nothing_writes_nothing_and_says_what_is_due(exchange, condor, tmp_path, mode):
    database = tmp_path / "trades.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE strategy_exit_levels SET trigger_value = 400 WHERE exit_type = 'time_exit'")
    connection.close()
    set_prices(exchange, condor, STOPPED)
    code, view = await run_once(exchange, tmp_path, *mode, "--plan")
    assert code == 0
    (position,) = view.positions
    assert position.state == "guarded"
    assert position.reason.startswith("DTE exit")
    assert position.plan is not None
    assert position.plan.rules
    assert sum(order.quantity for order in position.orders) == 4 * 65
    assert exchange.state()["orders"] == []
    assert not (tmp_path / "state" / "exit_journal.db").exists()
    assert read_exits(tmp_path) == []
    assert view.statistics.signals == 0


async def test_a_duration_shorter_than_the_start_ends_clean(exchange, condor, tmp_path):
    exchange.add_fault({"kind": "delay_response", "seconds": 60, "where": {"path": "/profile"}})
    begun = time.monotonic()
    code, view = await run_once(exchange, tmp_path, "--execute", "--duration", "0.3")
    assert code == 0
    assert time.monotonic() - begun < 30
    assert view.positions == ()


async def test_a_duration_ends_the_run(exchange, condor, tmp_path):
    begun = time.monotonic()
    code, view = await run_once(exchange, tmp_path, "--duration", "1.5")
    assert code == 0
    assert 1.4 <= time.monotonic() - begun < 30
    assert len(view.positions) == 1
