"""Writes what is remembered of positions (peaks, told levels, references) behind the ticks, within milliseconds of a change."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from core.book_keeper import position_tag
from core.model.errors import StoreError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.exit_journal import ExitJournal
    from core.model.memory import PositionMemory
    from core.model.position import Position

_log = logging.getLogger(__name__)
_GATHER_S: Final = 0.005
"""Peaks rise tick by tick: what changes within this time is one write."""
_AGAIN_S: Final = 1.0


class LostDay(NamedTuple):
    """A position whose day was counted under rows that are not there any more; it was last remembered at `seen_ns` (UTC)."""

    strategy_id: int
    memory: PositionMemory
    seen_ns: int


def lost_days(
    memories: Mapping[str, PositionMemory], saved_ns: Mapping[str, int], positions: Mapping[int, Position]
) -> list[LostDay]:
    """Of each strategy the newest day that was remembered, where the position of now has none of that day."""
    newest: dict[int, LostDay] = {}
    for tag, memory in memories.items():
        if memory.day_base is not None:
            strategy_id = int(tag.split(":")[0])
            lost = LostDay(strategy_id, memory, saved_ns[tag])
            if strategy_id not in newest or newest[strategy_id].seen_ns < lost.seen_ns:
                newest[strategy_id] = lost
    days = {each: memories.get(position_tag(position)) for each, position in positions.items()}
    return [lost for each, lost in newest.items() if (now := days.get(each)) is None or now.day != lost.memory.day]


class MemoryKeeper:
    """`run` is a task that ends only by being cancelled; `note` may be called at any time and costs a set entry.

    `known` holds what is on disk, by position tag; the journal's memories are put into it at the start. `position_of` gives
    the position as its rows have it, None when it has gone.
    """

    def __init__(
        self,
        journal: ExitJournal,
        memory_of: Callable[[int], PositionMemory | None],
        position_of: Callable[[int], Position | None],
        known: dict[str, PositionMemory],
    ) -> None:
        self.known = known
        self._journal = journal
        self._memory_of = memory_of
        self._position_of = position_of
        self._changed: set[int] = set()
        self._event = asyncio.Event()

    def note(self, strategy_id: int) -> None:
        self._changed.add(strategy_id)
        self._event.set()

    async def run(self) -> None:
        while True:
            await self._event.wait()
            await asyncio.sleep(_GATHER_S if await self.save() else _AGAIN_S)

    async def save(self) -> bool:
        """Write what has changed; False when the disk did not take it: it is kept and tried again."""
        changed, self._changed = self._changed, set()
        self._event.clear()
        new = {}
        for strategy_id in changed:
            position, memory = self._position_of(strategy_id), self._memory_of(strategy_id)
            if position is not None and memory is not None and self.known.get(tag := position_tag(position)) != memory:
                new[tag] = memory
        if not new:
            return True
        try:
            await self._journal.save_memories(new)
        except (TransportError, StoreError) as error:
            _log.warning("peaks and told levels not saved, tried again in a second: %s", error)
            self._changed |= changed
            self._event.set()
            return False
        self.known.update(new)
        return True
