"""A recorder at the local exchange over real sockets, a monitor that records itself, and both recordings replayed."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.clock import SystemClock
from core.exits.engine import Engine
from core.model.events import FeedStateChanged
from core.model.exit_levels import Rule
from core.model.instrument import Right
from core.model.journal_records import ExitFinished, ExitStarted
from core.model.session_time import ist_datetime
from core.monitor import Monitor
from core.options import parse
from core.paper.exchange import LocalExchange
from core.paper.instruments import generate
from core.paper.options import ExchangeOptions
from core.price_cache import PriceCache
from core.recording.facts import QuoteTaken, decode_fact
from core.recording.file_format import Kind
from core.recording.reader import open_part
from core.recording.replay_setup import ReplayWish, open_source
from core.settings import load_settings
from core.stores.schema import create_tables
from data_scripts import replay_session
from tests.fakes.waiting import eventually
from tests.integration.condor import (
    CALM,
    environment,
    pick_condor,
    set_prices,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.model.signals import Signal
    from core.recording.replay_result import RunOutcome

POSITIONS = 24


def records_of(path: Path) -> list[tuple[int, int, Any]]:
    """(kind, line, fact or frame) of every whole block."""
    found = []
    for block in open_part(path).blocks():
        for record in block.records():
            is_fact = record.kind in {Kind.FACT, Kind.STATE}
            found.append((record.kind, record.line, decode_fact(record.body) if is_fact else record.body))
    return found


def facts_of(path: Path, kind: type) -> list[Any]:
    return [body for _, _, body in records_of(path) if isinstance(body, kind)]


def parts_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.feedrec"))


def write_random_book(database: Path, exchange: LocalExchange) -> None:
    """Long and short single options and spreads near the money, with levels so near that a moving market hits many of them."""
    today = ist_datetime(time.time_ns()).date()
    listed = [x.instrument for x in generate(today, ExchangeOptions().strikes_each_side)]
    options = [each for each in listed if each.underlying == "NIFTY" and each.right is not None]
    expiry = max(each.expiry for each in options if each.expiry)
    series = sorted((each for each in options if each.expiry == expiry), key=lambda each: (each.right, each.strike))
    # Each contract once: opposite holdings of two strategies would block each other's exits.
    calls, puts = ([each for each in series if each.right is right][10:40] for right in (Right.CALL, Right.PUT))
    create_tables(database)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        row = 0
        for number in range(POSITIONS):
            legs = [(calls[number], 65 if number % 2 else -65)]
            if number % 3 == 0:
                legs.append((puts[number], 130 if number % 2 == 0 else -130))
            for contract, units in legs:
                row += 1
                entry = exchange.market.quote(contract.key).last
                connection.execute(
                    "INSERT INTO trades (new_id, strategy_id, order_id, security_id, exchange_segment, symbol, type,"
                    " strategy, action, quantity, price, strike_price, expiry_date, order_status, timestamp, product_type)"
                    " VALUES (?, ?, ?, ?, 'NSE_FNO', 'NIFTY', ?, 'Spread', ?, ?, ?, ?, NULL, 'open', ?, 'MARGIN')",
                    (
                        row, 500 + number, f"E{row}", contract.key.security_id, contract.right.value,
                        "BUY" if units > 0 else "SELL", abs(units), entry / 100, contract.strike / 100,
                        f"{today}T09:20:00",
                    ),
                )  # fmt: skip
            for kind, level, value in (
                ("stop_loss", "primary", 60 + 40 * number),
                ("profit_target", "primary", 80 + 30 * number),
            ):
                connection.execute(
                    "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
                    " VALUES (?, ?, ?, ?, 'price', 'Close entire position')",
                    (500 + number, kind, level, value),
                )
            connection.execute(
                "INSERT INTO strategy_exit_levels (strategy_id, exit_type, level_name, trigger_value, trigger_type, action)"
                " VALUES (?, 'time_exit', 'primary', 1, 'dte', 'Close entire position')",
                (500 + number,),
            )


async def run_monitor(
    env: dict[str, str], options: Sequence[str], drive: Callable[[Monitor], Awaitable[None]]
) -> Monitor:
    """The monitor as a task while `drive` moves the market, to its clean end."""
    monitor = Monitor(parse(list(options)), load_settings(env, None), lambda view: None, SystemClock())
    task = asyncio.create_task(monitor.run(), name="monitor")
    try:
        await drive(monitor)
    finally:
        monitor.stop()
        await asyncio.wait([task], timeout=20)
    assert task.result() == 0
    return monitor


async def until_guarded(monitor: Monitor, count: int) -> None:
    feed = monitor.parts.feed
    assert feed is not None
    await eventually(lambda: feed.status.is_live and len(monitor.parts.engine.guards) >= count)


def outcome_of(paths: Sequence[Path], *options: str) -> RunOutcome:
    """One run of the recordings in this process, with the default settings."""
    given = replay_session.parser().parse_args([*map(str, paths), *options])
    wish = ReplayWish(tuple(given.files), given.trades_db, given.instruments, given.positions, given.stale_after)
    return replay_session.replayed(open_source(wish, load_settings({}, None)), 1.0)


def run_script(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = replay_session.main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def decided_live(paths: Sequence[Path]) -> dict[int, Signal]:
    started = [fact for path in paths for fact in facts_of(path, ExitStarted)]
    return {fact.position.strategy_id: fact.signal for fact in started}


async def test_the_replay_of_a_monitors_own_recording_decides_as_the_monitor_did(tmp_path, capsys):
    async with LocalExchange(ExchangeOptions(seed=11, model_step_s=0, pace=400.0)) as exchange:
        write_random_book(tmp_path / "trades.db", exchange)
        env = {**environment(exchange.ready_line(), tmp_path), "RECORD_DIR": str(tmp_path / "rec")}

        async def drive(monitor: Monitor) -> None:
            await until_guarded(monitor, POSITIONS)
            for _ in range(120):
                exchange.step()
                await asyncio.sleep(0.01)
            await eventually(lambda: monitor.parts.engine.is_idle)

        await run_monitor(env, [], drive)
    paths = parts_in(tmp_path / "rec")
    live = decided_live(paths)
    found = outcome_of(paths)
    replayed = {seen.strategy_id: seen.signal for seen in found.exits}
    assert len(live) >= POSITIONS // 2
    assert {signal.rule for signal in live.values()} == {Rule.STOP_LOSS, Rule.PROFIT_TARGET}
    assert replayed == live, "every field of every decision, to the nanosecond of its time"
    assert len(found.positions) == POSITIONS

    code, out, err = run_script(capsys, *map(str, paths))
    assert (code, err) == (0, "")
    assert f"Recorded decisions: {len(live)}, the replay has {len(live)} of them." in out


async def test_stops_that_rest_drove_while_the_feed_was_mute_are_replayed(tmp_path):
    async with LocalExchange(ExchangeOptions(seed=11, model_step_s=0, pace=15.0)) as exchange:
        write_random_book(tmp_path / "trades.db", exchange)
        env = {**environment(exchange.ready_line(), tmp_path), "RECORD_DIR": str(tmp_path / "rec")}

        async def drive(monitor: Monitor) -> None:
            await until_guarded(monitor, POSITIONS // 2)
            for step in range(80):
                if step == 10:
                    exchange.add_fault({"kind": "feed_silence", "seconds": 60})
                exchange.step()
                await asyncio.sleep(0.05)
            await eventually(lambda: monitor.parts.engine.is_idle)

        await run_monitor(env, [], drive)
    paths = parts_in(tmp_path / "rec")
    over_rest = {fact.quote.received_ns for path in paths for fact in facts_of(path, QuoteTaken)}
    live = decided_live(paths)
    assert [fact.is_live for path in paths for fact in facts_of(path, FeedStateChanged)] == [True, False]
    assert {seen.strategy_id: seen.signal for seen in outcome_of(paths).exits} == live
    assert any(signal.tick_received_ns in over_rest for signal in live.values()), "no stop was driven by REST"


async def test_alert_mode_decides_the_same_and_its_recording_says_so(tmp_path):
    async with LocalExchange(ExchangeOptions(seed=12, model_step_s=0, pace=400.0)) as exchange:
        write_random_book(tmp_path / "trades.db", exchange)
        env = {**environment(exchange.ready_line(), tmp_path), "RECORD_DIR": str(tmp_path / "rec")}

        async def drive(monitor: Monitor) -> None:
            await until_guarded(monitor, POSITIONS)
            for _ in range(60):
                exchange.step()
                await asyncio.sleep(0.01)

        await run_monitor(env, ["--alert-only"], drive)
    paths = parts_in(tmp_path / "rec")
    live = {fact.record.strategy_id: fact.record for path in paths for fact in facts_of(path, ExitFinished)}
    found = outcome_of(paths)
    assert len(live) >= 3
    assert {seen.strategy_id: (seen.signal.rule, seen.signal.observed) for seen in found.exits} == {
        sid: (record.rule, record.observed) for sid, record in live.items()
    }
    assert len(found.recorded) == len(live)


async def test_a_monitor_without_record_dir_is_not_listened_to(tmp_path):
    async with LocalExchange(ExchangeOptions(seed=3)) as exchange:
        monitor = Monitor(
            parse([]), load_settings(environment(exchange.ready_line(), tmp_path), None), lambda _: None, SystemClock()
        )
        parts = monitor.parts
        assert parts.recording is None
        assert type(parts.engine) is Engine
        assert type(parts.price_cache) is PriceCache
        assert parts.feed is not None
        assert all(line._tap is None and line._sink is line for line in parts.feed._lines)
        await parts.market.close()


async def test_what_is_recorded_of_a_monitor_holds_no_secret(tmp_path):
    async with LocalExchange(ExchangeOptions(seed=3)) as exchange:
        legs = pick_condor()
        write_rows(tmp_path / "trades.db", legs)
        set_prices(exchange, legs, CALM)
        env = {**environment(exchange.ready_line(), tmp_path), "RECORD_DIR": str(tmp_path / "rec")}

        async def drive(monitor: Monitor) -> None:
            await until_guarded(monitor, 1)
            await asyncio.sleep(0.3)

        await run_monitor(env, [], drive)
        secrets = (exchange.access_token.encode(), exchange.client_id.encode(), b"token", b"Token")
    [path] = parts_in(tmp_path / "rec")
    plain = b"".join(block.heads + block.bodies for block in open_part(path).blocks())
    assert b"PositionOpened" in plain
    for secret in secrets:
        assert secret not in plain
        assert secret not in path.read_bytes()
