"""What is remembered of a position is on disk soon after it changed, once per change, and again when the disk failed."""

import asyncio

from core.book_keeper import position_tag
from core.memory_keeper import MemoryKeeper
from core.model.errors import TransportError
from core.model.memory import PositionMemory
from tests.fakes.waiting import eventually
from tests.unit.exits.builders import leg, position

HELD = position(leg(1, 75, 100), strategy_id=7)
TAG = position_tag(HELD)


class Journal:
    def __init__(self):
        self.saved = []
        self.problem = None

    async def save_memories(self, memories):
        if self.problem is not None:
            raise self.problem
        self.saved.append(memories)


class Rig:
    def __init__(self):
        self.journal = Journal()
        self.memories = {7: PositionMemory(peak=100)}
        self.known = {}
        self.keeper = MemoryKeeper(self.journal, self.memories.get, {7: HELD}.get, self.known)


async def test_a_change_is_written_once_and_known_then():
    rig = Rig()
    rig.keeper.note(7)
    rig.keeper.note(7)
    assert await rig.keeper.save()
    rig.keeper.note(7)
    assert await rig.keeper.save()
    assert rig.journal.saved == [{TAG: PositionMemory(peak=100)}]
    assert rig.known == {TAG: PositionMemory(peak=100)}
    rig.memories[7] = PositionMemory(peak=200)
    rig.keeper.note(7)
    assert await rig.keeper.save()
    assert rig.journal.saved[1:] == [{TAG: PositionMemory(peak=200)}]


async def test_what_the_disk_did_not_take_is_written_again():
    rig = Rig()
    rig.journal.problem = TransportError("EIO")
    rig.keeper.note(7)
    assert not await rig.keeper.save()
    assert rig.known == {}
    rig.journal.problem = None
    assert await rig.keeper.save()
    assert rig.known == {TAG: PositionMemory(peak=100)}


async def test_a_position_that_has_gone_is_not_remembered():
    rig = Rig()
    rig.keeper.note(8)
    rig.memories.clear()
    rig.keeper.note(7)
    assert await rig.keeper.save()
    assert rig.journal.saved == []


async def test_the_task_writes_by_itself_and_gathers_what_changes_meanwhile():
    rig = Rig()
    task = asyncio.create_task(rig.keeper.run())
    rig.keeper.note(7)
    await eventually(lambda: rig.journal.saved)
    for peak in range(101, 120):
        rig.memories[7] = PositionMemory(peak=peak)
        rig.keeper.note(7)
    await eventually(lambda: len(rig.journal.saved) == 2)
    task.cancel()
    await asyncio.wait([task])
    assert rig.journal.saved == [{TAG: PositionMemory(peak=100)}, {TAG: PositionMemory(peak=119)}]
