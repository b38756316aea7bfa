"""Scaling targets: at which profit which share of the position is to be gone. The first source with a usable level wins, whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.condition_leaves import TRAILS_REST
from core.exits.condition_words import plain
from core.exits.level_amounts import asked_of, named
from core.exits.partial_close import PERCENT_OF
from core.exits.stop_and_target import nonsense_of
from core.model.exit_levels import Action, LevelSource
from core.model.money import rupees_text
from core.model.override import Kind
from core.model.profile import Asked, Base
from core.model.special_levels import ScalingLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.exits.condition_leaves import Step
    from core.exits.level_sources import Sources
    from core.model.profile import Profile
    from core.model.trade_rows import LevelRow

BUILDER_AVERAGES: Final = frozenset({5_000, 7_500, 8_750})
"""₹50, ₹75 and ₹87.50: what the strategy builder makes of "50% profit", "50-100% of debit" and "100% profit … 75%" (trap 4)."""
QUARTERS: Final = ((25, Action.CLOSE_25), (50, Action.CLOSE_50), (75, Action.CLOSE_75))
"""Per cent of max profit, and what is to be gone then."""
OF_UNLIMITED: Final = ((50, Action.CLOSE_50), (100, Action.CLOSE_75))
"""The same of the premium, where max profit is unlimited."""
_SHARE_IN_NAME: Final = re.compile(r"(?:scaling|level)_(25|50|75)")
_BY_PERCENT: Final = {str(percent): action for action, percent in PERCENT_OF.items()}


class _Asked(NamedTuple):
    """`action` None: neither text nor name says which share. `name` for the notes."""

    asked: Asked
    action: Action | None
    name: str


def scaling_of(sources: Sources) -> tuple[ScalingLevel, ...]:
    if sources.is_off(Kind.SCALE):
        sources.note("scaling targets: switched off by the operator's override")
        return ()
    for steps, source in _sources(sources):
        levels = _usable(sources, steps, source)
        if levels:
            return levels
    return ()


def note_rest(sources: Sources, *, is_trailing: bool) -> None:
    """ "Trail stop on remainder" names no distance: it is in force only where a trailing stop is."""
    asks = sources.tree.has_rest or sources.columns.has_rest
    asks = asks or any(plain(row.action_text) in TRAILS_REST for row in sources.inputs.rows)
    if asks and not is_trailing and not sources.is_off(Kind.TRAIL):
        sources.note("the rest is to be trailed, and no source says how far: no trailing stop is in force")


def _sources(sources: Sources) -> Iterator[tuple[list[_Asked], LevelSource]]:
    override = [_Asked(asked, action, "override") for action, asked in sources.override.scale]
    yield override, LevelSource.OPERATOR
    yield [step for row in sources.rows.scaling for step in _of_row(sources, row)], LevelSource.LEVEL_ROW
    yield [_of_step(step) for step in sources.columns.scaling], LevelSource.RISK_COLUMN
    yield [_of_step(step) for step in sources.tree.scaling], LevelSource.CONDITIONS
    for profile, source in sources.inputs.profiles:
        yield _of_profile(sources, profile), source


def _of_row(sources: Sources, row: LevelRow) -> Iterator[_Asked]:
    asked = asked_of(row)
    if asked is None:
        sources.note(f"{named(row)}: trigger type {row.trigger_type!r} is no P&L level; not used")
    else:
        yield _Asked(asked, _share(row.action, row.level_name), f"{named(row)} ({row.level_name[:40]})")


def _of_step(step: Step) -> _Asked:
    return _Asked(step.asked, _share(step.action, step.name), step.name[:40])


def _share(action: Action | None, name: str) -> Action | None:
    """The share that the text asks for, or the one in the name (scaling_25) when the text does not say."""
    if action in PERCENT_OF:
        return action
    found = _SHARE_IN_NAME.fullmatch(name.strip().lower())
    return None if action is not None or found is None else _BY_PERCENT[found[1]]


def _of_profile(sources: Sources, profile: Profile) -> list[_Asked]:
    steps = profile.scaling
    if not steps and profile.is_scaling:
        steps = OF_UNLIMITED if sources.amounts.payoff.max_profit is None else QUARTERS
    return [_Asked(Asked(percent), action, profile.name) for percent, action in steps]


def _usable(sources: Sources, steps: list[_Asked], source: LevelSource) -> tuple[ScalingLevel, ...]:
    """Rising amounts with rising shares, each within max profit. What is dropped is named."""
    levels: list[ScalingLevel] = []
    priced = []
    for step in steps:
        amount, how = sources.amounts.of(step.asked)
        share = PERCENT_OF.get(step.action or Action.HOLD, 0)
        if not amount:
            sources.note(f"scaling {step.name} ({source}) not used: an amount that is 0 or not known")
        elif why := _why_not(sources, amount, share, step):
            sources.note(f"scaling {step.name} at {rupees_text(amount)} ({source}) not used: {why}")
        elif within := sources.amounts.within(amount, f"scaling {step.name} at", source):
            priced.append((within, share, how, step))
    for amount, share, how, step in sorted(priced, key=lambda one: one[:2]):
        gone = PERCENT_OF[levels[-1].action] if levels else 0
        if share <= gone:
            sources.note(
                f"scaling {step.name} at {rupees_text(amount)} ({source}) not used: {share} % gone, and {gone} % already are at "
                f"{rupees_text(levels[-1].amount)}"
            )
        else:
            levels.append(ScalingLevel(amount, _BY_PERCENT[str(share)], source, how))
    return tuple(levels)


def _why_not(sources: Sources, amount: int, share: int, step: _Asked) -> str:
    if not share:
        return "expected a share of 25, 50 or 75 % in its action or name"
    is_average = step.asked.base is Base.STORED and step.asked.value in BUILDER_AVERAGES
    if is_average and sources.amounts.payoff.is_profit_unlimited:
        return f"{rupees_text(round(step.asked.value))} stands for a sentence that the builder could not read"
    return nonsense_of(amount, step.asked, sources)
