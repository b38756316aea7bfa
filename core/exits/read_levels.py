"""Rows, JSON, profile and category defaults become the levels of one position (exit_rules 3, "Where a level comes from").

Per kind the first source that has a usable level wins: the operator's override, level rows, columns of the risk row, its
exit_conditions tree, strategy_monitoring (what is asked for there only), the chosen profile, settings for all positions, the
category default. Whatever is not used, and every default that stands in, is named in the notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.day_levels import dte_of, holding_of, losing_of, square_off_of, theta_of
from core.exits.greek_rows import greeks_of
from core.exits.level_sources import TRAILING_PERCENT, LevelInputs, LevelSettings, Technical, sources_of
from core.exits.scaling_rows import note_rest, scaling_of
from core.exits.stop_and_target import stop_of, target_of
from core.exits.trailing_levels import lock_of, premium_trailing_of, trailing_of
from core.exits.underlying_rows import underlying_of
from core.model.exit_levels import ExitLevels, LevelSource
from core.model.override import Kind
from core.model.special_levels import AdjustmentLevel

if TYPE_CHECKING:
    from core.exits.level_sources import Sources
    from core.model.exit_levels import AmountLevel, DaysLevel

__all__ = ["TRAILING_PERCENT", "LevelInputs", "LevelSettings", "Technical", "read_levels"]


def read_levels(inputs: LevelInputs) -> ExitLevels:
    """The levels in force for the position. Never raises for a row: an unusable one is noted, the next source stands in."""
    sources = sources_of(inputs)
    stop = stop_of(sources)
    target, action = target_of(sources)
    trailing = trailing_of(sources)
    dte = dte_of(sources)
    losing, scaling = losing_of(sources, stop), scaling_of(sources)
    note_rest(sources, is_trailing=trailing is not None)
    _note_defaults(sources, stop, target, dte)
    payoff = sources.amounts.payoff
    return ExitLevels(
        stop=stop,
        trailing=trailing,
        target=target,
        target_action=action,
        dte=dte,
        theta=theta_of(sources),
        square_off=square_off_of(sources),
        premium_trailing=premium_trailing_of(sources),
        lock=lock_of(sources),
        scaling=scaling,
        losing_time=losing,
        holding=holding_of(sources),
        underlying=underlying_of(sources),
        greeks=greeks_of(sources),
        adjustment=_adjustment(sources),
        own_rules=_own_rules(sources),
        max_profit=payoff.max_profit,
        max_loss=payoff.max_loss,
        notes=tuple(sources.amounts.notes),
    )


def _adjustment(sources: Sources) -> AdjustmentLevel | None:
    """On by default, and no news: it closes nothing. None where there is no net premium to take a share of."""
    settings, premium = sources.inputs.settings, sources.amounts.premium
    if sources.is_off(Kind.ADJUST):
        sources.note("adjustment warning: switched off by the operator's override")
        return None
    if settings.adjust_first is None or premium is None:
        return None
    first, last = round(premium * settings.adjust_first / 100), round(premium * settings.adjust_last / 100)
    if not 0 < first < last:
        return None
    note = f"{settings.adjust_first:g} to {settings.adjust_last:g} % of net premium"
    return AdjustmentLevel(first, last, LevelSource.CATEGORY_DEFAULT, note)


def _own_rules(sources: Sources) -> tuple[str, ...]:
    """Those of the chosen profile and of the category: own rules add to each other."""
    if sources.is_off(Kind.OWN_RULES):
        sources.note("own rules: switched off by the operator's override")
        return ()
    return tuple(dict.fromkeys(name for profile, _ in sources.inputs.profiles for name in profile.own_rules))


def _note_defaults(
    sources: Sources, stop: AmountLevel | None, target: AmountLevel | None, dte: DaysLevel | None
) -> None:
    """Name what the category gives in place of a row, and what no source has."""
    kinds = (("stop loss", Kind.STOP, stop), ("profit target", Kind.TARGET, target), ("DTE exit", Kind.DTE, dte))
    for name, kind, level in kinds:
        if level is None and not sources.is_off(kind):
            sources.note(f"no {name} is in force: no source has a usable level")
        elif level is not None and level.source is LevelSource.CATEGORY_DEFAULT:
            category = sources.inputs.category.name
            sources.note(f"{name}: no usable row, the {category} default stands in ({level.note})")
