"""The program as an operator starts it: exit codes, sentences, documents."""

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "realtime_automated_monitor.py"


def run(*argv, env=None, cwd=None, timeout=60):
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), *argv],
        env=clean | (env or {}),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def account(tmp_path):
    """An account whose broker is a port where nobody listens."""
    nowhere = "127.0.0.1:9"
    return {
        "DHAN_CLIENT_ID": "1100000001",
        "DHAN_ACCESS_TOKEN": "a.b.c",
        "DHAN_API_URL": f"http://{nowhere}/v2",
        "DHAN_FEED_URL": f"ws://{nowhere}",
        "DHAN_ORDER_UPDATE_URL": f"ws://{nowhere}",
        "STATE_DIR": str(tmp_path / "state"),
        "LOG_DIR": str(tmp_path / "logs"),
        "TRADES_DB": str(tmp_path / "trades.db"),
    }


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--exeute"], "Did you mean --execute?"),
        (["--execute", "--alert-only"], "contradict"),
        (["--json"], "--once"),
        (["--duration", "0"], "above 0"),
        (["--why", "1", "--at", "noon"], "clock time"),
    ],
)
def test_wrong_options_end_with_2_and_two_sentences(argv, said):
    ended = run(*argv)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 2
    assert "usage" not in ended.stderr


def test_help_and_version_end_with_0():
    assert "--alert-only" in run("--help").stdout
    assert run("--version").returncode == 0


def test_missing_credentials_end_with_2_before_anything_is_opened(tmp_path):
    logs = tmp_path / "logs"
    ended = run(env={"DHAN_CLIENT_ID": "", "DHAN_ACCESS_TOKEN": "", "LOG_DIR": str(logs), "STATE_DIR": str(logs)})
    if (ROOT / ".env").exists():
        pytest.skip("this checkout has an .env with an account")
    assert ended.returncode == 2
    assert "DHAN_CLIENT_ID is not set." in ended.stderr
    assert not logs.exists()


def test_a_live_start_without_the_account_typed_out_ends_with_2(account):
    ended = run("--execute", env=account)
    assert ended.returncode == 2
    assert "LIVE_TRADING_ACCOUNT" in ended.stderr
    assert not Path(account["LOG_DIR"]).exists()


def test_an_unknown_setting_ends_with_2(account):
    ended = run("--once", env=account | {"DHAN_CLIENTID": "1"})
    assert ended.returncode == 2
    assert "Did you mean DHAN_CLIENT_ID" in ended.stderr


def test_a_supabase_project_that_does_not_answer_ends_with_4(account):
    ended = run("--once", env=account | {"SUPABASE_URL": "http://127.0.0.1:9", "SUPABASE_KEY": "parrot-key"})
    assert ended.returncode == 4
    assert "Supabase" in ended.stderr
    assert "parrot" not in ended.stdout + ended.stderr


def test_a_supabase_url_without_a_key_ends_with_2(account):
    ended = run("--once", env=account | {"SUPABASE_URL": "https://x.example"})
    assert ended.returncode == 2
    assert "SUPABASE_KEY" in ended.stderr


def test_a_database_without_the_tables_ends_with_4(account):
    with sqlite3.connect(account["TRADES_DB"]) as connection:
        connection.execute("CREATE TABLE unrelated (x)")
    connection.close()
    ended = run("--once", env=account)
    assert ended.returncode == 4
    assert "trades" in ended.stderr


def test_a_second_monitor_on_the_same_state_directory_ends_with_75(account):
    state = Path(account["STATE_DIR"])
    state.mkdir()
    with (state / "monitor.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = run("--once", env=account)
    assert ended.returncode == 75
    assert "Another monitor" in ended.stderr


def test_why_without_a_record_ends_with_2(account):
    ended = run("--why", "42", env=account)
    assert ended.returncode == 2
    assert "no exit of strategy 42" in ended.stderr


def test_the_plan_of_the_demo_is_one_json_document_from_any_directory(tmp_path):
    ended = run("--demo", "--plan", "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    positions = json.loads(ended.stdout)["positions"]
    assert [each["strategy_id"] for each in positions] == [101, 102, 103, 104, 105, 106, 107]
    assert all(each["rules"] and each["orders"] for each in positions)
    assert list(tmp_path.iterdir()) == []


def test_the_demo_once_prices_every_position_and_names_the_bad_row():
    ended = run("--demo", "--once", "--json", "--positions", "101,106,108")
    assert ended.returncode == 0, ended.stderr
    content = json.loads(ended.stdout)
    assert {each["strategy_id"]: each["pnl"] is not None for each in content["positions"]} == {101: True, 106: True}
    assert any("99999999" in problem for problem in content["set_aside"])
    assert "no order reached it in SIMULATION mode" in ended.stderr


def test_the_demo_never_listens_to_the_environment():
    ended = run("--demo", "--plan", env={"DHAN_API_URL": "http://192.0.2.1/v2", "DHAN_NONSENSE": "1"})
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_the_demo_keeps_its_promises():
    ended = run("--demo", "--execute", "--duration", "46", timeout=110)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    assert "its positions are flat where we exited" in ended.stdout
    for rule in ("stop loss", "profit target", "trailing stop"):
        assert f": {rule}: P&L" in ended.stdout
    assert "trades row 14" in ended.stdout
