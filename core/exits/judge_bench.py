"""Which judges sit beside the guards of one engine, in the order in which they are asked, and what they all have to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.greek_desk import GreekDesk
from core.exits.own_rules import OwnRules
from core.exits.scope_limits import ScopeLimits
from core.exits.underlying_watch import UnderlyingWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from core.exits.desk_state import DeskState
    from core.exits.guard_room import GuardRoom
    from core.exits.guard_settings import GuardSettings
    from core.exits.judges import Judge, RuleSetup
    from core.model.memory import PositionMemory
    from core.model.money import Paise
    from core.position_cache_manager import PositionCacheManager


def bench(
    room: GuardRoom,
    cache: PositionCacheManager,
    settings: GuardSettings,
    rules: RuleSetup,
    desk: DeskState,
    memory_of: Callable[[int], PositionMemory | None],
    realised_of: Callable[[int], Paise | None],
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
    return (*judges, ScopeLimits(rules.limits, cache, settings, desk, room, memory_of, realised_of))


def take_news(room: GuardRoom, judges: Iterable[Judge]) -> set[int]:
    """Strategy ids of which something is to be remembered since the last call."""
    news = set(room.peaks)
    room.peaks.clear()
    for judge in judges:
        news |= judge.news
        judge.news.clear()
    return news
