"""data_scripts/record_feed.py at the local exchange over real sockets, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from core.model.events import PositionGone, PositionOpened
from core.model.instrument import InstrumentKey, Segment
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from core.recording.facts import LineState, LineWants, RecordingEnded
from core.recording.file_format import Kind
from core.recording.reader import with_header
from core.settings import load_settings
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
from tests.integration.test_record_and_replay import facts_of, parts_in, records_of, run_script

ROOT = Path(__file__).resolve().parents[2]
ONE_LEG_STOPPED = [CALM[0], CALM[1] + 70_00, *CALM[2:]]
"""₹4,550 lost on the short call alone, beyond the stop of ₹3,000 and beyond its hard multiple: one packet decides."""


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
