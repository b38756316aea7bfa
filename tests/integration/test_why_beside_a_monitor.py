"""`--why` asked of a monitor that runs, and of one that was killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.integration.test_cli import PROGRAM, run


def ask(folder, *argv):
    return run(*argv, env={"LOG_DIR": folder, "STATE_DIR": folder, "DHAN_CLIENT_ID": "1"})


def began(demo):
    """The folder that the demo writes to, once it says so."""
    for line in demo.stdout:
        found = re.search(r"Everything it writes: (\S+)", line)
        if found:
            return found[1]
    raise AssertionError("expected the demo to name its folder")


def answered(folder, strategy_id, within_s=20.0):
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        ended = ask(folder, "--why", str(strategy_id), "--json")
        if ended.returncode == 0:
            content = json.loads(ended.stdout)
            if content["compared"]["pnl"] is not None:
                return content
        time.sleep(0.3)
    raise AssertionError(f"expected comparisons of strategy {strategy_id}: {ended.stderr}")


@pytest.mark.slow
def test_what_is_compared_can_be_asked_while_it_runs_and_after_kill_9():
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    command = [sys.executable, "-u", str(PROGRAM), "--demo", "--execute", "--duration", "60"]
    with subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        try:
            folder = began(demo)
            content = answered(folder, 104)
            assert content["compared"]["kind"] == "sample"
            assert {rule["rule"] for rule in content["compared"]["rules"]} >= {"stop_loss", "profit_target", "dte_exit"}
            assert all(leg["source"] == "feed" and leg["age_ms"] < 30_000 for leg in content["compared"]["legs"])
            time.sleep(1.5)
            last = answered(folder, 104)["compared"]["time"]
        finally:
            demo.send_signal(signal.SIGKILL)
    killed = json.loads(ask(folder, "--why", "104", "--json").stdout)
    assert killed["compared"]["time"] >= last, "what was readable is still there"
    text = ask(folder, "--why", "104", "--at", killed["compared"]["time"][11:19]).stdout
    assert "No exit conditions triggered" in text
    assert "| stop_loss" in text
    unknown = ask(folder, "--why", "9999")
    assert unknown.returncode == 2
    assert len(unknown.stderr.splitlines()) == 2
    assert "no exit of strategy 9999" in unknown.stderr
