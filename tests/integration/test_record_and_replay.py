"""A recorder at the local exchange over real sockets, a monitor that records itself, and both recordings replayed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from core.clock import SystemClock
from core.exits.engine import Engine
from core.model.events import FeedStateChanged, PositionGone, PositionOpened
from core.model.exit_levels import Rule
from core.model.instrument import InstrumentKey, Right, Segment
from core.model.journal_records import ExitFinished, ExitStarted
from core.model.session_time import ist_datetime
from core.monitor import Monitor
from core.options import parse
from core.paper.exchange import LocalExchange
from core.paper.instruments import generate
from core.paper.options import ExchangeOptions
from core.price_cache import PriceCache
from core.recording.facts import LineState, LineWants, QuoteTaken, RecordingEnded, decode_fact
from core.recording.file_format import Kind
from core.recording.reader import open_part, with_header
from core.recording.replay_setup import ReplayWish, open_source
from core.settings import load_settings
from core.stores.schema import create_tables
from data_scripts import record_feed, replay_session
from tests.fakes.waiting import eventually
from tests.integration.condor import (
    CALM,
    STRATEGY_ID,
    UNITS,
    environment,
    pick_condor,
    set_prices,
    write_rows,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from core.model.signals import Signal
    from core.recording.replay_result import RunOutcome

ROOT = Path(__file__).resolve().parents[2]
POSITIONS = 24
ONE_LEG_STOPPED = [CALM[0], CALM[1] + 70_00, *CALM[2:]]
"""₹4,550 lost on the short call alone, beyond the stop of ₹3,000 and beyond its hard multiple: one packet decides."""


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


async def record(
    exchange: LocalExchange, folder: Path, env: dict[str, str], *options: str, seconds: float = 1.5
) -> str:
    """data_scripts/record_feed.py in this process, to the end of its duration."""
    given = record_feed.parsed(["--dir", str(folder), "--duration", str(seconds), *options])
    return (await record_feed.recorded(given, load_settings(env, None))).summary()


async def test_a_recorder_beside_the_monitor_takes_the_feed_and_the_book(tmp_path, capsys):
    legs = pick_condor()
    async with LocalExchange(ExchangeOptions(seed=5)) as exchange:
        write_rows(tmp_path / "trades.db", legs)
        set_prices(exchange, legs, CALM)
        env = environment(exchange.ready_line(), tmp_path)
        before = (tmp_path / "trades.db").read_bytes()
        recording = asyncio.create_task(record(exchange, tmp_path / "rec", env, seconds=1.6))
        await asyncio.sleep(0.9)
        set_prices(exchange, legs, ONE_LEG_STOPPED)
        said = await recording
        subscribed = exchange.state()["subscribed"]
    assert (tmp_path / "trades.db").read_bytes() == before
    assert subscribed == []
    [path] = parts_in(tmp_path / "rec")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    frames = [body for kind, _, body in records_of(path) if kind == Kind.FRAME]
    assert f"{len(frames):,} frames" in said
    [wants] = facts_of(path, LineWants)
    assert wants.added[:4] == tuple(InstrumentKey(Segment.NSE_FNO, leg.security_id) for leg in legs)
    assert wants.added[4:] == (InstrumentKey(Segment.IDX_I, 13),)
    assert [state.is_up for state in facts_of(path, LineState)] == [True, False]
    assert len(facts_of(path, PositionOpened)) == 1
    assert facts_of(path, RecordingEnded) == [RecordingEnded(goes_on=False)]

    code, out, _ = run_script(capsys, str(path), "--json")
    found = json.loads(out)
    assert code == 0
    [seen] = found["exits"]
    # Shorts are bought at the ask, longs sold at the bid: a tick worse than the price each.
    assert (seen["strategy_id"], seen["rule"]) == (STRATEGY_ID, "stop_loss")
    assert seen["realised_pnl"] == pytest.approx(-70 * UNITS - 4 * UNITS * 0.05)
    assert {fill["side"] for fill in seen["fills"]} == {"BUY", "SELL"}


async def test_the_recorder_follows_rows_that_come_and_go(tmp_path, monkeypatch):
    monkeypatch.setattr(record_feed, "READ_EVERY_S", 0.1)
    monkeypatch.setattr(record_feed, "_BEAT_S", 0.05)
    legs, database = pick_condor(), tmp_path / "trades.db"
    async with LocalExchange(ExchangeOptions(seed=5)) as exchange:
        write_rows(database, legs[:1])
        env = environment(exchange.ready_line(), tmp_path)
        recording = asyncio.create_task(record(exchange, tmp_path / "rec", env, seconds=2.0))
        await asyncio.sleep(0.7)
        write_rows(database, legs[2:3], STRATEGY_ID + 1)
        await asyncio.sleep(0.5)
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("UPDATE trades SET order_status = 'closed' WHERE strategy_id = ?", (STRATEGY_ID,))
        await recording
    [path] = parts_in(tmp_path / "rec")
    assert [fact.position.strategy_id for fact in facts_of(path, PositionOpened)] == [STRATEGY_ID, STRATEGY_ID + 1]
    assert [fact.strategy_id for fact in facts_of(path, PositionGone)] == [STRATEGY_ID]
    wants = facts_of(path, LineWants)
    assert [[key.security_id for key in each.added] for each in wants[:2]] == [
        [legs[0].security_id, 13],
        [legs[2].security_id],
    ]
    assert [key.security_id for each in wants for key in each.removed] == [legs[0].security_id]


async def test_named_instruments_are_recorded_without_any_position(tmp_path, capsys):
    legs = pick_condor()
    async with LocalExchange(ExchangeOptions(seed=5)) as exchange:
        env = environment(exchange.ready_line(), tmp_path)
        await record(
            exchange, tmp_path / "rec", env, "--instruments", f"NSE_FNO:{legs[0].security_id},IDX_I:13", seconds=0.8
        )
    [path] = parts_in(tmp_path / "rec")
    assert {each.security_id for wants in facts_of(path, LineWants) for each in wants.added} == {
        legs[0].security_id,
        13,
    }
    assert any(kind == Kind.FRAME for kind, _, _ in records_of(path))
    code, _, err = run_script(capsys, str(path))
    assert code == 2
    assert "There is no position to replay" in err


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


async def start_recorder(env: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DHAN_", "SUPABASE_", "STATE_"))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "data_scripts/record_feed.py", *arguments, cwd=ROOT, env=clean | env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_a_recorder_that_is_killed_leaves_what_it_had_written(tmp_path, capsys):
    legs = pick_condor()
    async with LocalExchange(ExchangeOptions(seed=5)) as exchange:
        write_rows(tmp_path / "trades.db", legs)
        set_prices(exchange, legs, CALM)
        env = environment(exchange.ready_line(), tmp_path)
        process = await start_recorder(env, "--dir", str(tmp_path / "rec"))

        def has_frames() -> bool:
            paths, _ = with_header(parts_in(tmp_path / "rec"))
            return any(kind == Kind.FRAME for path in paths for kind, _, _ in records_of(path))

        await eventually(has_frames)
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    [path] = parts_in(tmp_path / "rec")
    code, out, _ = run_script(capsys, str(path))
    assert code == 0
    assert "Iron Condor" in out
    assert "it was cut off" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--duration", "0.6"], "Nothing was recorded: there was no open position."),
        (["--duration", "1.5", "--instruments", "NSE_FNO:1"], "Nothing was recorded: the feed brought no message."),
    ],
)
async def test_a_recorder_that_recorded_nothing_does_not_end_as_if_it_had(tmp_path, options, said):
    async with LocalExchange(ExchangeOptions(seed=5)) as exchange:
        write_rows(tmp_path / "trades.db", [])
        env = environment(exchange.ready_line(), tmp_path)
        exchange.add_fault({"kind": "feed_silence", "seconds": 60})
        process = await start_recorder(env, "--dir", str(tmp_path / "rec"), *options)
        _, err = await process.communicate()
    assert said in err.decode()
    assert process.returncode == 4


async def test_a_recorder_whose_disk_is_full_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    async with LocalExchange(ExchangeOptions(seed=5)) as exchange:
        env = environment(exchange.ready_line(), tmp_path)
        process = await start_recorder(
            env, "--dir", str(tmp_path / "file"), "--instruments", "IDX_I:13", "--duration", "1.5"
        )
        _, err = await process.communicate()
    assert "Not everything was recorded: " in err.decode()
    assert process.returncode == 4


async def test_the_recorder_ends_cleanly_on_a_signal(tmp_path, capsys):
    async with LocalExchange(ExchangeOptions(seed=5)) as exchange:
        env = environment(exchange.ready_line(), tmp_path)
        recording = asyncio.create_task(
            record(exchange, tmp_path / "rec", env, "--instruments", "IDX_I:13", seconds=20)
        )
        await eventually(lambda: parts_in(tmp_path / "rec"))
        os.kill(os.getpid(), signal.SIGTERM)
        assert "frames of 1 instruments" in await recording
    assert "the feed is live" in capsys.readouterr().err
    [path] = parts_in(tmp_path / "rec")
    assert facts_of(path, RecordingEnded) == [RecordingEnded(goes_on=False)]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--instruments", "NIFTY"], "SEGMENT:ID"),
        (["--positions", "x"], "strategy ids"),
        (["--duration", "-1"], "seconds above 0"),
        (["--instruments", "IDX_I:13", "--positions", "1"], "both given"),
        (["--what"], "--help"),
        (["--dir", "x"], "DHAN_CLIENT_ID"),
    ],
)
def test_a_wrong_option_of_the_recorder_is_named(arguments, text, capsys, monkeypatch):
    for name in [name for name in os.environ if name.startswith("DHAN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(record_feed, "ENV_FILE", None)
    assert record_feed.main(arguments) == 2
    assert text in capsys.readouterr().err


def test_both_scripts_print_their_own_help(capsys):
    assert (record_feed.main(["--help"]), replay_session.main(["--help"]), replay_session.main([])) == (0, 0, 2)
    assert "record_feed.py" in capsys.readouterr().err
