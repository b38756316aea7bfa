"""Levels of calendar and clock: days to expiry, theta, the losing time stop, longest holding, square-off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.level_amounts import named
from core.exits.stop_and_target import note_action
from core.model.exit_levels import ClockLevel, DaysLevel, LevelSource
from core.model.money import rupees_text
from core.model.override import Kind
from core.model.profile import Asked, Base

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.exits.level_sources import Sources
    from core.model.exit_levels import AmountLevel
    from core.model.trade_rows import LevelRow

_NAMES = {
    Kind.DTE: "DTE exit",
    Kind.THETA: "theta exit",
    Kind.LOSING: "losing time stop",
    Kind.HOLD: "longest holding",
}


def dte_of(sources: Sources) -> DaysLevel | None:
    risk = sources.inputs.risk
    column = None if risk is None else risk.time_stop_dte
    found = _days(sources, Kind.DTE, sources.override.dte, sources.rows.days, sources.tree.dte, column)
    return found or _of_profiles(sources, Kind.DTE, "dte_days")


def theta_of(sources: Sources) -> DaysLevel | None:
    found = _days(sources, Kind.THETA, sources.override.theta, sources.rows.theta, sources.tree.theta)
    return found or _of_profiles(sources, Kind.THETA, "theta_days")


def holding_of(sources: Sources) -> DaysLevel | None:
    found = _days(sources, Kind.HOLD, sources.override.hold, sources.rows.holding)
    found = found or _of_profiles(sources, Kind.HOLD, "holding_days")
    days = sources.inputs.settings.holding_days
    if found is not None or days is None or sources.is_off(Kind.HOLD):
        return found
    return DaysLevel(days, LevelSource.SETTING, "for all positions")


def losing_of(sources: Sources, stop: AmountLevel | None) -> DaysLevel | None:
    """Half of `stop` counts. A loss that the tree names is compared with that half, and both numbers are told when they differ."""
    words = sources.tree.losing
    days = None if words is None else words.days
    found = _days(sources, Kind.LOSING, sources.override.losing, sources.rows.losing, days)
    found = found or _of_profiles(sources, Kind.LOSING, "losing_time_days")
    if found is None:
        return None
    if stop is None:
        sources.note(f"losing time stop ({found.source}) not in force: there is no stop to take half of")
        return None
    if words is not None and found.source is LevelSource.CONDITIONS:
        named_loss, how = sources.amounts.of(Asked(words.loss, Base.STORED), is_loss=True)
        if named_loss is not None and abs(named_loss * 2 - stop.amount) * 50 > stop.amount:
            sources.note(
                f"losing time stop: exit_conditions name a loss of {rupees_text(named_loss)} ({how}), half of the stop in force "
                f"is {rupees_text(stop.amount // 2)}: that counts"
            )
    return found


def square_off_of(sources: Sources) -> ClockLevel | None:
    if sources.is_off(Kind.SQUARE_OFF):
        sources.note("square-off: switched off by the operator's override")
        return None
    if sources.override.square_off is not None:
        return ClockLevel(sources.override.square_off, LevelSource.OPERATOR)
    for profile, source in sources.inputs.profiles:
        if profile.square_off is not None:
            return ClockLevel(profile.square_off, source, profile.name)
    times = sources.inputs.settings.square_off
    products = {leg.product for leg in sources.inputs.position.legs}
    at, product = min(((times[product], product) for product in products & times.keys()), default=(None, None))
    return None if at is None else ClockLevel(at, LevelSource.SETTING, f"for {product}")


def _days(
    sources: Sources,
    kind: Kind,
    override: int | None,
    rows: tuple[LevelRow, ...],
    tree: int | None = None,
    column: int | None = None,
) -> DaysLevel | None:
    if sources.is_off(kind):
        sources.note(f"{_NAMES[kind]}: switched off by the operator's override")
        return None
    if override is not None:
        return DaysLevel(override, LevelSource.OPERATOR)
    for row in rows:
        note_action(sources, row, f"the {_NAMES[kind]} closes the whole position")
        return DaysLevel(int(row.value or 0), LevelSource.LEVEL_ROW, named(row))
    if column:
        return DaysLevel(column, LevelSource.RISK_COLUMN)
    return None if tree is None else DaysLevel(tree, LevelSource.CONDITIONS)


def _of_profiles(sources: Sources, kind: Kind, field: str) -> DaysLevel | None:
    return next(_profile_days(sources, kind, field), None)


def _profile_days(sources: Sources, kind: Kind, field: str) -> Iterator[DaysLevel]:
    if not sources.is_off(kind):
        for profile, source in sources.inputs.profiles:
            days: int | None = getattr(profile, field)
            if days is not None:
                yield DaysLevel(days, source, profile.name)
