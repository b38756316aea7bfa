"""Which judges sit beside the guards of one engine, in the order in which they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.greek_desk import GreekDesk
from core.exits.own_rules import OwnRules
from core.exits.scope_limits import ScopeLimits
from core.exits.underlying_watch import UnderlyingWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.exits.desk_state import DeskState
    from core.exits.guard_room import GuardRoom
    from core.exits.guard_settings import GuardSettings
    from core.exits.judges import Judge, RuleSetup
    from core.model.memory import PositionMemory
    from core.position_cache_manager import PositionCacheManager


def bench(
    room: GuardRoom,
    cache: PositionCacheManager,
    settings: GuardSettings,
    rules: RuleSetup,
    desk: DeskState,
    memory_of: Callable[[int], PositionMemory | None],
) -> tuple[Judge, ...]:
    """The Greeks are computed from what the watch of the underlyings has just been told. Limits are judged where there are any."""
    underlyings = UnderlyingWatch(cache, settings, room.look_again)
    judges: tuple[Judge, ...] = (
        underlyings,
        GreekDesk(settings, underlyings),
        OwnRules(rules.own_rules, desk.say, rules.stopwatch),
    )
    if not rules.limits:
        return judges
    return (*judges, ScopeLimits(rules.limits, cache, settings, desk, room, memory_of))
