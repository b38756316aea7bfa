"""What the judges beside the guards see of one position, for a plan and for the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.explain_limits import limit_lines
from core.exits.explain_line import NOTHING_AROUND, UNKNOWN, Around, Measured
from core.exits.greek_desk import GreekDesk
from core.exits.own_rules import OwnRules
from core.exits.scope_limits import ScopeLimits
from core.exits.underlying_watch import UnderlyingWatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.exits.explain_line import Threshold
    from core.exits.greek_watched import GreekFigures
    from core.exits.judges import Judge
    from core.exits.position_guard import PositionGuard
    from core.model.special_levels import GreekLevel, UnderlyingLevel


def around_of(judges: Iterable[Judge], guard: PositionGuard, at_ns: int) -> Around:
    """`at_ns` is monotonic. Cheap for a position that has no levels of other judges."""
    strategy_id = guard.booked.position.strategy_id
    underlying: Mapping[UnderlyingLevel, Measured] = {}
    greeks: Mapping[GreekLevel, Measured] = {}
    resting: Mapping[str, str] = {}
    limits: tuple[Threshold, ...] = ()
    for judge in judges:
        if isinstance(judge, UnderlyingWatch):
            seen = judge.sightings_of(strategy_id, at_ns)
            underlying = {each.level: Measured(each.observed, each.text) for each in seen}
        elif isinstance(judge, GreekDesk):
            greeks = _measures(guard, judge.figures_of(strategy_id))
        elif isinstance(judge, OwnRules):
            resting = judge.resting_of(strategy_id)
        elif isinstance(judge, ScopeLimits):
            limits = limit_lines(judge.states_of(guard.booked.position), guard.booked.pnl)
    if not (underlying or greeks or resting or limits):
        return NOTHING_AROUND
    return Around(underlying, greeks, resting, limits)


def _measures(guard: PositionGuard, figures: GreekFigures | None) -> dict[GreekLevel, Measured]:
    """By level. Where the newest attempt came to nothing, the one before is shown with the reason."""
    if figures is None:
        return {}
    seen = {level: figures.measures.get(level, UNKNOWN) for level in guard.levels.greeks}
    if not figures.problem:
        return seen
    return {
        level: Measured(each.value, f"{each.text}; not computed now: {figures.problem}") for level, each in seen.items()
    }
