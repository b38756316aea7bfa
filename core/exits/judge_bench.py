"""Which judges sit beside the guards of one engine, in the order in which they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.own_rules import OwnRules

if TYPE_CHECKING:
    from core.exits.desk_state import DeskState
    from core.exits.guard_settings import GuardSettings
    from core.exits.judges import Judge, RuleSetup
    from core.position_cache_manager import PositionCacheManager


def bench(
    cache: PositionCacheManager,  # noqa: ARG001  judges of the underlying and of scopes put their holders there
    settings: GuardSettings,  # noqa: ARG001
    rules: RuleSetup,
    desk: DeskState,
) -> tuple[Judge, ...]:
    return (OwnRules(rules.own_rules, desk.say),)
