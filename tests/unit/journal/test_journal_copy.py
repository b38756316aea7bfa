"""A plan reads the journal of a running monitor, and changes nothing of it."""

import os
import sqlite3
import subprocess
import sys

import pytest

from core import journal_copy
from core.exit_journal import ExitJournal
from core.journal_codec import encode_memory
from core.journal_copy import PlanJournal, copied, mode_of
from core.model.exit_levels import Action, Rule
from core.model.journal_records import ExitFinished, RowsWritten
from core.model.memory import PositionMemory
from core.model.orders import Side
from core.model.signals import ExitRecord, Latency, LegExecution, Mode
from core.settings_fields import ROOT
from tests.fakes.manual_clock import ManualClock
from tests.unit.journal.records import POSITION, prepared, started

MONITOR = """
import asyncio, sys
from pathlib import Path
from core.exit_journal import ExitJournal
from core.model.memory import PositionMemory
from core.model.signals import Mode

async def run():
    journal = ExitJournal(Path(sys.argv[1]), Mode.LIVE)
    await journal.open()
    for number in range(1, 1_000_000):
        await journal.save_memories({f"tag {each}": PositionMemory(peak=number) for each in range(40)})
        print(number, flush=True)

asyncio.run(run())
"""


def finished(exit_id):
    leg = LegExecution(7, POSITION.legs[0].instrument.key.security_id, "NIFTY", Side.BUY, 65, 65, 100_00, ("1",))
    return ExitFinished(
        exit_id,
        ExitRecord(
            exit_id, 42, "NIFTY", "Iron Condor", Action.CLOSE_IMMEDIATELY, "stop", Rule.STOP_LOSS, 1, 2, (leg,), 3, Latency(),
            Mode.LIVE, ManualClock().utc,
        )
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "exit_journal.db"


async def written(path, mode=Mode.LIVE, records=(), memories=None):
    journal = ExitJournal(path, mode)
    await journal.open()
    await journal.write(list(records))
    await journal.save_memories(memories or {})
    return journal


async def read(path):
    plan = PlanJournal(path, clock=ManualClock())
    records = await plan.open()
    memories = await plan.load_memories()
    await plan.close()
    return records, memories


async def test_a_plan_remembers_what_the_monitor_beside_it_does(path):
    journal = await written(path, memories={"a": PositionMemory(peak=123)})
    try:
        with pytest.raises(Exception, match="held by another"):
            await written(path)
        assert await read(path) == ((), {"a": PositionMemory(peak=123)})
    finally:
        await journal.close()


async def test_only_what_is_over_is_given_and_it_is_over(path, caplog):
    running, over = started("7-1-abc"), [started("8-1-abc"), finished("8-1-abc")]
    await (await written(path, records=[running, *over, prepared(1)])).close()
    records, _ = await read(path)
    assert {record.exit_id for record in records} == {"8-1-abc"}
    assert isinstance(records[-1], RowsWritten)
    assert "exits under way are not in this plan, their positions stand in it as before: 7-1-abc" in caplog.text
    assert any(isinstance(record, ExitFinished) for record in records)


@pytest.mark.parametrize("mode", [Mode.SIMULATION, Mode.ALERT])
async def test_the_live_monitor_goes_before_the_others(path, mode):
    await (await written(path, mode, [started("8-1-abc"), finished("8-1-abc")], {"a": PositionMemory(peak=1)})).close()
    records, memories = await read(path)
    assert (records, memories) == ((), {"a": PositionMemory(peak=1)}), "what others closed is not closed at the broker"
    await (await written(path, memories={"a": PositionMemory(peak=2)})).close()
    assert (await read(path))[1] == {"a": PositionMemory(peak=2)}


async def test_a_plan_writes_nothing(path):
    await (await written(path, memories={"a": PositionMemory(peak=1)})).close()
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    plan = PlanJournal(path, clock=ManualClock())
    await plan.open()
    assert await plan.write([prepared(1)]) == ManualClock().monotonic_ns()
    await plan.save_memories({"b": PositionMemory(peak=2)})
    assert await plan.load_memories() == {"a": PositionMemory(peak=1)}
    await plan.close()
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before


async def test_without_a_journal_nothing_is_remembered_and_none_is_made(path):
    assert await read(path) == ((), {})
    assert list(path.parent.iterdir()) == []
    assert mode_of(path.parent / "new.db") is Mode.SIMULATION


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be read as one" * 20, b""])
async def test_a_journal_that_cannot_be_read_is_said_and_left_alone(path, content, caplog):
    path.write_bytes(content)
    assert (await read(path))[1] == {}
    assert path.read_bytes() == content
    assert not content or "not in this plan" in caplog.text


async def test_a_file_that_never_rests_is_not_copied(path, monkeypatch, caplog):
    await (await written(path)).close()
    real = journal_copy.shutil.copyfile

    def copy_and_touch(source, target):
        real(source, target)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    monkeypatch.setattr(journal_copy.shutil, "copyfile", copy_and_touch)
    assert await read(path) == ((), {})
    assert "could not be copied" in caplog.text
    assert not copied(path, path.with_name("copy.db"))
    assert not path.with_name("copy.db").exists()


async def test_a_checkpoint_in_between_makes_it_copy_again(path, monkeypatch):
    """The file as it was before, with the log as it is afterwards, would lack what the checkpoint has moved."""
    first, second = PositionMemory(peak=1), PositionMemory(peak=2)
    journal = await written(path, memories={"a": first})
    real, copies = journal_copy.shutil.copyfile, []

    def checkpoint_after_the_first(source, target):
        real(source, target)
        copies.append(source)
        if len(copies) == 1:
            journal._thread.submit(move, journal._file).result()

    def move(file):
        file._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        file.save_memories(Mode.LIVE, {"b": encode_memory(second)}, ManualClock().utc)

    monkeypatch.setattr(journal_copy.shutil, "copyfile", checkpoint_after_the_first)
    try:
        assert (await read(path))[1] == {"a": first, "b": second}
        assert len(copies) == 4
    finally:
        await journal.close()


def test_a_file_that_may_not_be_read_is_not_copied(path, monkeypatch):
    path.write_bytes(b"x")

    def refused(source, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(journal_copy.shutil, "copyfile", refused)
    assert not copied(path, path.with_name("copy.db"))


@pytest.mark.slow
def test_every_copy_of_a_file_that_is_written_all_the_time_is_whole(path, tmp_path):
    """Each write of the monitor sets forty peaks to one number: a copy that mixes two moments would show two."""
    with subprocess.Popen([sys.executable, "-c", MONITOR, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as monitor:
        seen, tried = [], 0
        while len(seen) < 20 and tried < 400:
            reported = int(monitor.stdout.readline())
            tried += 1
            copy = tmp_path / f"copy-{tried}.db"
            if copied(path, copy):
                with sqlite3.connect(copy) as connection:
                    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                    peaks = {memory for (memory,) in connection.execute("SELECT memory FROM memories")}
                connection.close()
                assert len(peaks) == 1
                seen.append(reported)
        monitor.kill()
    assert len(seen) == 20
