"""The thread that writes: never waited for, and what it could not write is counted."""

import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from core import decision_writer
from core.decision_file import DecisionFile, read_lines, segments
from core.decision_record import Kind, first_part
from core.decision_writer import DecisionWriter, Entry
from core.exits.explain_sighting import see
from core.model.exit_levels import ExitLevels
from core.settings_fields import ROOT
from tests.fakes.manual_clock import ManualClock
from tests.unit.exits.builders import Desk, amount, leg

ABOUT = {"mode": "LIVE", "build": "test"}


def entry(clock, kind=Kind.SAMPLE, skipped=0):
    desk = Desk(leg(1, 75, 100), levels=ExitLevels(stop=amount(3_000)))
    desk.tick(1, 90)
    return Entry(see(desk.guard, desk.at), kind, clock.utc, skipped)


def read(folder):
    return [json.loads(line) for each in segments(folder) for line in read_lines(each.path)]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def writer(tmp_path, clock):
    made = DecisionWriter(tmp_path, 5, ABOUT, clock)
    yield made
    made.close()


def test_records_follow_a_head_that_says_what_they_are_of(tmp_path, clock, writer):
    writer.start()
    assert writer.put(entry(clock, skipped=2))
    assert writer.put({"kind": "pace", "positions": 1})
    writer.close()
    head, record, pace = read(tmp_path)
    assert (head["kind"], head["mode"], head["build"]) == ("begun", "LIVE", "test")
    assert pace == {"kind": "pace", "positions": 1}
    assert list(record)[:3] == ["strategy_id", "time", "kind"]
    assert (record["strategy_id"], record["kind"], record["skipped"], record["pnl"]) == (1, "sample", 2, -750.0)
    (line,) = [line for line in read_lines(segments(tmp_path)[0].path) if line.startswith(first_part(1))]
    assert json.loads(line) == record


def test_amounts_are_rupees_and_what_is_not_known_is_null(tmp_path, clock, writer):
    desk = Desk(leg(1, 75, None), leg(2, -75, 50), levels=ExitLevels(stop=amount(3_000)))
    desk.tick(1, 90)
    writer.start()
    writer.put(Entry(see(desk.guard, desk.at), Kind.SAMPLE, clock.utc, 0))
    writer.close()
    _, record = read(tmp_path)
    assert (record["pnl"], record["pnl_percent"], record["pnl_at_best_sides"], record["fired"]) == (None,) * 4
    assert record["not_judged"] == "the entry price of NSE_FNO:1 is not known yet"
    first, second = record["legs"]
    assert (first["entry"], first["mark"], first["bid"], first["source"], first["age_ms"]) == (
        None,
        90,
        89.95,
        "feed",
        0,
    )
    assert (second["mark"], second["last"], second["age_ms"], second["suspect"]) == (None, None, None, "no quote yet")
    (stop,) = record["rules"]
    assert (stop["threshold"], stop["observed"], stop["distance"]) == (-3000, None, None)
    assert stop["state"] == "not judged"


def test_a_full_box_loses_and_says_how_many(tmp_path, clock, writer, monkeypatch):
    monkeypatch.setattr(decision_writer, "MOST_WAITING", 3)
    taken = [writer.put(entry(clock)) for _ in range(5)]
    assert taken == [True, True, True, False, False]
    writer.start()
    writer.close()
    lines = read(tmp_path)
    assert [line["kind"] for line in lines] == ["begun", "lost", "sample", "sample", "sample"]
    assert lines[1]["records"] == 2


def test_a_disk_that_fails_is_told_once_and_tried_again_later(tmp_path, clock, writer, monkeypatch, caplog):
    real, is_full = DecisionFile.write, threading.Event()
    is_full.set()

    def write(self, lines):
        if is_full.is_set():
            self.drop()
            raise OSError(28, "No space left on device")
        real(self, lines)

    monkeypatch.setattr(DecisionFile, "write", write)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            writer._write([entry(clock)])
            clock.pass_seconds(4)
    assert len(caplog.messages) == 1
    assert "No space left on device" in caplog.text
    is_full.clear()
    clock.pass_seconds(60)
    writer._write([entry(clock)])
    writer._write([entry(clock)])
    writer._file.close()
    lines = [line for line in read(tmp_path) if line["kind"] != "begun"]
    assert [line["kind"] for line in lines] == ["lost", "sample", "sample"]
    assert lines[0]["records"] == 3


def test_nothing_to_write_makes_no_file(tmp_path, writer):
    writer.start()
    writer.close()
    writer.close()
    assert segments(tmp_path) == []


def test_putting_never_waits_for_the_disk(tmp_path, clock, writer, monkeypatch):
    is_stuck, may_go_on = threading.Event(), threading.Event()
    real = os.write

    def stuck(descriptor, packed):
        is_stuck.set()
        may_go_on.wait(10)
        return real(descriptor, packed)

    monkeypatch.setattr(decision_writer, "_CLOSE_S", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr("core.decision_file.os.write", stuck)
        writer.start()
        writer.put(entry(clock))
        assert is_stuck.wait(10)
        assert all(writer.put(entry(clock)) for _ in range(500))
        writer.close()
        may_go_on.set()
        writer._thread.join(10)
    assert len(read(tmp_path)) == 502


MONITOR = """
import sys, time
from pathlib import Path
from core.clock import SystemClock
from core.decision_record import Kind
from core.decision_writer import DecisionWriter, Entry
from tests.unit.decisions.test_decision_writer import entry
clock = SystemClock()
clock.utc = clock.utc_ns()
writer = DecisionWriter(Path(sys.argv[1]), 5, {}, clock)
writer.start()
one = entry(clock)
for number in range(1_000_000):
    writer.put(one._replace(skipped=number))
    print(number, time.monotonic_ns(), flush=True)
    time.sleep(0.005)
"""


@pytest.mark.slow
def test_after_kill_9_everything_up_to_the_last_moments_is_there(tmp_path):
    command = [sys.executable, "-c", MONITOR, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as monitor:
        said = [tuple(map(int, monitor.stdout.readline().split())) for _ in range(200)]
        monitor.kill()
    numbers = [line["skipped"] for line in read(tmp_path) if line["kind"] == "sample"]
    assert numbers == list(range(len(numbers)))
    a_second_ago = [number for number, at_ns in said if at_ns < said[-1][1] - 300_000_000]
    assert len(numbers) > a_second_ago[-1]
