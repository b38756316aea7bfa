"""What is remembered of a position is on disk soon after it changed, once per change, and again when the disk failed."""

import asyncio
from datetime import date

from core.book_keeper import position_tag
from core.memory_keeper import LostDay, MemoryKeeper, lost_days
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


MONDAY, TUESDAY = (PositionMemory(day=date(2026, 11, number), day_base=5, underlying="NIFTY") for number in (16, 17))
EDITED = position(leg(1, 75, 101), strategy_id=7)


def test_a_day_is_lost_where_the_rows_are_gone_or_others():
    memories = {TAG: TUESDAY, "8:1/+75/1": PositionMemory(peak=3)}
    saved = {TAG: 10, "8:1/+75/1": 10}
    assert lost_days(memories, saved, {7: HELD}) == []
    assert lost_days(memories, saved, {}) == [LostDay(7, TUESDAY, 10)]
    assert lost_days(memories, saved, {7: EDITED}) == [LostDay(7, TUESDAY, 10)]


def test_only_the_newest_day_of_a_strategy_counts_and_an_edit_that_was_seen_has_lost_nothing():
    new = position_tag(EDITED)
    for memories in ({TAG: MONDAY, new: TUESDAY}, {new: TUESDAY, TAG: MONDAY}):
        assert lost_days(memories, {TAG: 10, new: 20}, {7: EDITED}) == []
        assert lost_days(memories, {TAG: 10, new: 20}, {7: HELD}) == [LostDay(7, TUESDAY, 20)]
        assert lost_days(memories, {TAG: 10, new: 20}, {}) == [LostDay(7, TUESDAY, 20)]
    assert lost_days({TAG: TUESDAY, new: TUESDAY}, {TAG: 10, new: 20}, {7: EDITED}) == []


def test_what_an_older_build_remembered_by_another_name_is_passed_over():
    assert lost_days({"condor": PositionMemory(peak=3)}, {}, {}) == []
