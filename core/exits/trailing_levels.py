"""Trailing stop, premium trailing, move to cost and lock profit: levels that follow the profit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.exits.level_amounts import asked_of, named
from core.exits.row_kinds import LOCK_NAME
from core.exits.stop_and_target import note_action
from core.model.exit_levels import AmountLevel, LevelSource, TrailingLevel
from core.model.money import PAISE_PER_RUPEE, rupees_text
from core.model.override import Kind
from core.model.profile import Asked, Base
from core.model.special_levels import LockLevel, LockStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.exits.level_sources import Sources
    from core.model.money import Paise
    from core.model.override import AskedTrail
    from core.model.profile import Profile
    from core.model.trade_rows import LevelRow

_CLOSES: Final = "the trailing stop closes the whole position"


def trailing_of(sources: Sources) -> TrailingLevel | None:
    """The first source whose trailing stop can arm and has a distance."""
    if sources.is_off(Kind.TRAIL):
        sources.note("trailing stop: switched off by the operator's override")
        return None
    for level in _trailing(sources):
        arm = sources.amounts.within(level.arm, "trailing stop: its arming level", level.source)
        if arm is None:
            continue
        if level.source is LevelSource.OPERATOR:
            sources.amounts.within(level.distance, "trailing stop: its distance", level.source)
        return replace(level, arm=arm)
    return None


def _trailing(sources: Sources) -> Iterator[TrailingLevel]:
    override, risk, tree = sources.override, sources.inputs.risk, sources.tree
    if override.trail is not None:
        yield from _of_override(sources, override.trail)
    for row in sources.rows.trailing:
        arm, how = sources.amounts.of_row(row, follows=True)
        if arm:
            note_action(sources, row, _CLOSES)
            yield from _armed(sources, arm, how, LevelSource.LEVEL_ROW)
    if risk is not None and risk.trailing_activation:
        arm, how = sources.amounts.of(Asked(risk.trailing_activation, Base.STORED))
        yield from _armed(sources, arm or 0, how, LevelSource.RISK_COLUMN)
    elif risk is not None and risk.trailing_distance:
        yield from _armed(sources, 0, "entry: no activation is stored", LevelSource.RISK_COLUMN)
    if tree.arm is not None:
        arm, how = sources.amounts.of(tree.arm)
        yield from _armed(sources, arm or 0, how, LevelSource.CONDITIONS)
    for profile, source in sources.inputs.profiles:
        yield from _of_profile(sources, profile, source)


def _armed(sources: Sources, arm: Paise, how: str, source: LevelSource) -> Iterator[TrailingLevel]:
    """With the stored distance, that of the tree where none is stored, or the setting's share of max profit."""
    risk, amounts = sources.inputs.risk, sources.amounts
    if risk is not None and risk.trailing_distance:
        asked = Asked(risk.trailing_distance, Base.STORED)
    elif sources.tree.distance is not None:
        asked = sources.tree.distance
    else:
        asked = Asked(sources.inputs.settings.trailing_percent)
    distance, far = amounts.of(asked, follows=True)
    if not distance:
        sources.note("trailing stop not in force: its distance is not known")
        return
    yield TrailingLevel(arm, distance, source, f"arms at {how}, distance {far}")


def _of_override(sources: Sources, trail: AskedTrail) -> Iterator[TrailingLevel]:
    arm, how = (0, "entry") if trail.arm is None else sources.amounts.of(trail.arm, follows=True)
    asked = trail.distance or Asked(sources.inputs.settings.trailing_percent)
    distance, far = sources.amounts.of(asked, follows=trail.peak_percent is None)
    if arm is None or not distance:
        sources.note("trailing stop of the operator's override not in force: its amounts are not known")
        return
    if trail.peak_percent is not None:
        far = f"{trail.peak_percent:g} % of the peak"
    yield TrailingLevel(arm, distance, LevelSource.OPERATOR, f"arms at {how}, distance {far}", trail.peak_percent)


def _of_profile(sources: Sources, profile: Profile, source: LevelSource) -> Iterator[TrailingLevel]:
    if profile.trailing_arm_percent is None:
        return
    arm, how = sources.amounts.of(Asked(profile.trailing_arm_percent), follows=True)
    share = profile.trailing_distance_percent or sources.inputs.settings.trailing_percent
    distance, far = sources.amounts.of(Asked(share))
    peak = profile.trailing_peak_percent
    if arm is not None and distance:
        far = far if peak is None else f"{peak:g} % of the peak"
        yield TrailingLevel(arm, distance, source, f"arms at {how}, distance {far}", peak)
    else:
        sources.note(f"trailing stop ({source}) not in force: its amounts are not known")


def premium_trailing_of(sources: Sources) -> AmountLevel | None:
    """The distance, of the net premium or an amount. From entry, so nothing is taken that no source asks for."""
    if sources.is_off(Kind.PREMIUM_TRAIL):
        sources.note("premium trailing: switched off by the operator's override")
        return None
    for asked, source in _premium_trailing(sources):
        amount, how = sources.amounts.of(asked)
        if amount:
            return AmountLevel(amount, source, how)
        sources.note(f"premium trailing ({source}) not in force: the net premium is not known")
    return None


def _premium_trailing(sources: Sources) -> Iterator[tuple[Asked, LevelSource]]:
    if sources.override.premium_trail is not None:
        yield sources.override.premium_trail, LevelSource.OPERATOR
    for row in sources.rows.premium_trailing:
        asked = asked_of(row)
        if asked is None:
            sources.note(f"{named(row)}: trigger type {row.trigger_type!r} is no P&L level; not used")
            continue
        note_action(sources, row, "premium trailing closes the whole position")
        yield Asked(asked.value, Base.PREMIUM) if asked.base is Base.PAYOFF else asked, LevelSource.LEVEL_ROW
    for profile, source in sources.inputs.profiles:
        if profile.premium_trailing_percent is not None:
            yield Asked(profile.premium_trailing_percent, Base.PREMIUM), source


def lock_of(sources: Sources) -> LockLevel | None:
    """Move to cost and lock profit: every step of the first source that has a usable one."""
    if sources.is_off(Kind.LOCK):
        sources.note("move to cost and lock profit: switched off by the operator's override")
        return None
    for pairs, source in _locks(sources):
        steps = _steps(sources, pairs, source)
        if steps:
            return LockLevel(
                steps, source, "; ".join(f"{rupees_text(x.trigger)} → {rupees_text(x.floor)}" for x in steps)
            )
    return None


def _locks(sources: Sources) -> Iterator[tuple[list[tuple[Asked, Asked]], LevelSource]]:
    yield list(sources.override.locks), LevelSource.OPERATOR
    yield [pair for row in sources.rows.locks for pair in _lock_row(sources, row)], LevelSource.LEVEL_ROW
    for profile, source in sources.inputs.profiles:
        yield [(Asked(trigger), Asked(floor)) for trigger, floor in profile.lock], source


def _lock_row(sources: Sources, row: LevelRow) -> Iterator[tuple[Asked, Asked]]:
    """The floor is in the level's name, in the unit of the trigger; move_to_cost has floor 0."""
    trigger, name = asked_of(row), LOCK_NAME.fullmatch(row.level_name.strip().lower())
    if trigger is None or name is None:
        sources.note(f"{named(row)}: trigger type {row.trigger_type!r} is no P&L level; not used")
        return
    note_action(sources, row, "a lock closes the whole position")
    floor = float(name[1] or 0)
    yield trigger, Asked(floor * PAISE_PER_RUPEE if trigger.base is Base.STORED else floor, trigger.base)


def _steps(sources: Sources, pairs: Iterable[tuple[Asked, Asked]], source: LevelSource) -> tuple[LockStep, ...]:
    """Usable steps: the trigger within max profit, the floor below it, both rising from step to step."""
    steps: list[LockStep] = []
    for trigger, floor in sorted(_in_paise(sources, pairs, source)):
        text = f"lock {rupees_text(trigger)} → {rupees_text(floor)} ({source}) not used"
        if floor >= trigger:
            sources.note(f"{text}: expected a floor below the trigger")
        elif steps and (trigger == steps[-1].trigger or floor <= steps[-1].floor):
            sources.note(f"{text}: expected a higher floor than the step before")
        else:
            steps.append(LockStep(trigger, floor))
    return tuple(steps)


def _in_paise(
    sources: Sources, pairs: Iterable[tuple[Asked, Asked]], source: LevelSource
) -> Iterator[tuple[Paise, Paise]]:
    for asked_trigger, asked_floor in pairs:
        trigger, _ = sources.amounts.of(asked_trigger, follows=True)
        floor, _ = sources.amounts.of(asked_floor, follows=True)
        if trigger and floor is not None:
            within = sources.amounts.within(trigger, "lock: its trigger", source)
            if within is not None:
                yield within, floor
        else:
            sources.note(f"lock ({source}) not used: it is 0, or a share of an amount that is not known")
