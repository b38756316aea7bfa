"""What was written is read again: while it is written, after any end, and only for the days that are kept."""

import gzip
import os
import random
import signal
import subprocess
import sys
import zlib
from datetime import date, timedelta

import pytest

from core import decision_file
from core.decision_file import SUFFIX, DecisionFile, read_lines, remove_old, segments
from core.model.session_time import NS_PER_S, ist_datetime
from core.settings_fields import ROOT

NOON = 1_795_156_200_000_000_000  # 2026-11-20 12:00 IST
HOUR = 3_600 * NS_PER_S
DAY = 24 * HOUR


def lines_of(folder):
    return [line for each in segments(folder) for line in read_lines(each.path)]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "decisions"


@pytest.fixture
def writer(folder):
    found = DecisionFile(folder, 5)
    yield found
    found.drop()


def test_lines_can_be_read_as_soon_as_they_are_written(folder, writer):
    assert writer.begin_if_due(NOON)
    for number in range(50):
        writer.write([b"line %d" % number])
        assert lines_of(folder)[-1] == b"line %d" % number
    assert len(lines_of(folder)) == 50


def test_an_ended_file_is_plain_gzip_and_small(folder, writer):
    writer.begin_if_due(NOON)
    line = b'{"strategy_id": 101, "rules": [' + b'{"rule": "stop_loss", "threshold": -1879.02}, ' * 20 + b"]}"
    for _ in range(200):
        writer.write([line])
    writer.close()
    (only,) = segments(folder)
    assert gzip.decompress(only.path.read_bytes()) == (line + b"\n") * 200
    assert only.path.stat().st_size < 200 * len(line) / 20
    assert only.path.stat().st_mode & 0o777 == 0o600


def test_each_start_each_hour_and_each_day_begins_a_new_file(folder, writer):
    assert writer.begin_if_due(NOON)
    assert not writer.begin_if_due(NOON + HOUR - NS_PER_S)
    assert writer.begin_if_due(NOON + HOUR)
    midnight = NOON + 12 * HOUR
    assert writer.begin_if_due(midnight - NS_PER_S)
    assert writer.begin_if_due(midnight)
    restarted = DecisionFile(folder, 5)
    assert restarted.begin_if_due(midnight + 1_000)
    restarted.close()
    assert [f"{each.begun:%d %H:%M:%S.%f}" for each in segments(folder)] == [
        "20 12:00:00.000000",
        "20 13:00:00.000000",
        "20 23:59:59.000000",
        "21 00:00:00.000000",
        "21 00:00:00.000001",
    ]


def test_a_large_file_is_followed_by_a_new_one(folder, writer, monkeypatch):
    monkeypatch.setattr(decision_file, "LARGEST_BYTES", 100)
    writer.begin_if_due(NOON)
    writer.write([b"x" * 100])
    assert writer.begin_if_due(NOON + NS_PER_S)


def test_days_before_the_kept_ones_are_removed(folder, writer):
    for day in range(8):
        writer.begin_if_due(NOON + day * DAY)
        writer.write([b"x"])
    (folder / "notes.txt").write_text("somebody's own")
    (folder / f"odd{SUFFIX}").write_text("no time in its name")
    today = ist_datetime(NOON + 7 * DAY).date()
    assert [each.begun.date() for each in segments(folder)] == [today - timedelta(days) for days in (4, 3, 2, 1, 0)]
    assert (folder / "notes.txt").exists()
    remove_old(folder, today, 1)
    assert [each.begun.date() for each in segments(folder)] == [today]
    remove_old(folder / "absent", date(2026, 1, 1), 1)


def test_nothing_is_written_without_a_file(writer):
    with pytest.raises(OSError, match="begun"):
        writer.write([b"x"])
    writer.close()


def test_a_full_disk_ends_the_file_and_the_next_one_is_whole(folder, writer, monkeypatch):
    writer.begin_if_due(NOON)
    writer.write([b"first"])

    def full(descriptor, packed):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            writer.write([b"lost"])
    assert not writer.is_open
    assert writer.begin_if_due(NOON + 1_000_000)
    writer.write([b"second"])
    assert lines_of(folder) == [b"first", b"second"]


def test_a_write_that_takes_only_a_part_goes_on(folder, writer, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, packed: real(descriptor, bytes(packed[:3])))
    writer.begin_if_due(NOON)
    writer.write([b"in pieces"])
    assert lines_of(folder) == [b"in pieces"]


@pytest.mark.parametrize("cut", [1, 5, 20, 60])
def test_a_file_cut_anywhere_gives_its_whole_lines(folder, writer, cut):
    writer.begin_if_due(NOON)
    for number in range(20):
        writer.write([b"a line of some length, number %d" % number])
    (only,) = segments(folder)
    content = only.path.read_bytes()
    only.path.write_bytes(content[:-cut])
    found = list(read_lines(only.path))
    assert found == [b"a line of some length, number %d" % number for number in range(len(found))]
    assert 20 - cut <= len(found) <= 20


def test_damage_ends_a_file_without_an_error(folder, writer):
    writer.begin_if_due(NOON)
    noise = random.Random(7)
    written = [noise.randbytes(4_000).hex().encode() for _ in range(40)]
    for line in written:
        writer.write([line])
    (only,) = segments(folder)
    content = bytearray(only.path.read_bytes())
    content[-30_000:-29_990] = b"\xff" * 10
    only.path.write_bytes(content)
    found = list(read_lines(only.path))
    assert found[:30] == written[:30]
    assert found != written
    only.path.write_bytes(b"no gzip at all")
    assert list(read_lines(only.path)) == []


WRITER = """
import sys, time
from pathlib import Path
from core.decision_file import DecisionFile
writer = DecisionFile(Path(sys.argv[1]), 5)
writer.begin_if_due(time.time_ns())
for number in range(1_000_000):
    writer.write([b"%d" % number])
    print(number, flush=True)
"""


@pytest.mark.slow
def test_what_was_written_survives_kill_9(folder):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE) as writer:
        reported = [int(writer.stdout.readline()) for _ in range(300)][-1]
        writer.send_signal(signal.SIGKILL)
    found = [int(line) for line in lines_of(folder)]
    assert found == list(range(len(found)))
    assert len(found) > reported


def test_the_flush_of_the_compressor_is_what_makes_it_readable():
    """The fact the file rests on: without a flush the compressor keeps what it was given."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    held = packer.compress(b"a line\n")
    assert zlib.decompressobj(31).decompress(held) == b""
    assert zlib.decompressobj(31).decompress(held + packer.flush(zlib.Z_SYNC_FLUSH)) == b"a line\n"
