"""kill -9 at a random moment: everything that was reported durable is in the journal."""

import asyncio
import random
import subprocess
import sys

import pytest

from core.exit_journal import ExitJournal
from core.model.signals import Mode
from core.settings_fields import ROOT

WRITER = """
import asyncio, sys
from pathlib import Path
from core.exit_journal import ExitJournal
from core.model.signals import Mode
from tests.unit.journal.records import prepared

async def run():
    journal = ExitJournal(Path(sys.argv[1]), Mode.LIVE)
    begin = len(await journal.open())
    for number in range(begin + 1, 100_000):
        await journal.write([prepared(number)])
        print(number, flush=True)

asyncio.run(run())
"""


def killed_after(path, count, extra_bytes):
    """Start the writer, kill it after `count` reports, and return the last number that it reported."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as writer:
        text = b"".join(writer.stdout.readline() for _ in range(count)) + writer.stdout.read(extra_bytes)
        writer.kill()
        text += writer.stdout.read()
    return int(text.split(b"\n")[:-1][-1])


@pytest.mark.slow
def test_what_was_reported_durable_survives_kill_9(tmp_path):
    dice = random.Random(7)
    path = tmp_path / "j.db"

    async def numbers():
        journal = ExitJournal(path, Mode.LIVE)
        try:
            return [record.number for record in await journal.open()]
        finally:
            await journal.close()

    for _ in range(4):
        reported = killed_after(path, dice.randrange(1, 120), dice.randrange(1, 9))
        found = asyncio.run(numbers())
        assert found == list(range(1, len(found) + 1))
        assert reported <= len(found) <= reported + 1
