"""Greek and volatility levels: off unless a row, a column, the tree, strategy_monitoring or a profile asks for one.

Of each measure the first source that has it wins, with all its thresholds. What is to be done is read from free text; what is
not certain only alerts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.exits.level_amounts import named
from core.exits.partial_close import PERCENT_OF
from core.exits.planned_greeks import FRACTION_BELOW, planned_entry
from core.model.exit_levels import FULL_EXITS, Action, LevelSource
from core.model.override import Kind
from core.model.special_levels import GreekKind, GreekLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.exits.condition_leaves import GreekAsked
    from core.exits.level_sources import Sources
    from core.exits.planned_greeks import Planned, PlannedEntry
    from core.model.trade_rows import LevelRow

_OF_REFERENCE: Final = frozenset({GreekKind.IV_DOWN, GreekKind.IV_UP})
_A_YEAR: Final = frozenset({GreekKind.IV_BELOW, GreekKind.IV_ABOVE})
_WHOLE: Final = 100
_KINDS: Final = frozenset(kind.value for kind in GreekKind)


def greeks_of(sources: Sources) -> tuple[GreekLevel, ...]:
    if sources.is_off(Kind.GREEKS):
        sources.note("Greeks and volatility: switched off by the operator's override")
        return ()
    entry = planned_entry(sources.inputs.position, sources.inputs.planned)
    won: dict[GreekKind, LevelSource] = {}
    levels = [level for level in _levels(sources, entry) if won.setdefault(level.kind, level.source) is level.source]
    return tuple(_with_reference(level, entry) for level in levels)


def _levels(sources: Sources, entry: PlannedEntry) -> Iterator[GreekLevel]:
    for row in sources.rows.greeks:
        yield from _of_row(sources, row)
    for asked in sources.columns.greeks:
        yield _of_tree(asked, LevelSource.RISK_COLUMN)
    for asked in sources.tree.greeks:
        yield _of_tree(asked, LevelSource.CONDITIONS)
    yield from _of_monitoring(sources, entry.volatility)
    for profile, source in sources.inputs.profiles:
        for greek in profile.greeks:
            yield GreekLevel(greek.kind, greek.threshold, greek.action, source, profile.name)


def _of_row(sources: Sources, row: LevelRow) -> Iterator[GreekLevel]:
    name, trigger = row.level_name.strip().lower(), row.trigger_type
    value = abs(row.value or 0)
    if name not in _KINDS or trigger not in {"greek_value", "percentage"}:
        sources.note(
            f"{named(row)} ({row.level_name[:40]}, {trigger}): expected a level name of {', '.join(GreekKind)} and trigger type "
            "greek_value or percentage; not used"
        )
        return
    kind = GreekKind(name)
    threshold, note = _threshold(kind, value, is_percent=trigger == "percentage")
    if threshold is None:
        sources.note(f"{named(row)} ({name}): {note}; not used")
        return
    action, doubt = _action(row.action, row.action_text)
    yield GreekLevel(kind, threshold, action, LevelSource.LEVEL_ROW, _joined(named(row), note, doubt))


def _threshold(kind: GreekKind, value: float, *, is_percent: bool) -> tuple[float | None, str]:
    """The threshold in the unit of its kind, and how it was read or why it was not."""
    if kind is GreekKind.DELTA:
        return (value / _WHOLE if is_percent else value), ""
    if kind is GreekKind.GAMMA:
        multiple = value / _WHOLE if is_percent else value
        if multiple <= 1:
            return None, f"expected a multiple of the entry's gamma above 1 (or per cent above 100), received {value:g}"
        return multiple, ""
    if kind in _A_YEAR:
        return _yearly(value)
    return value, ""


def _yearly(value: float) -> tuple[float, str]:
    if value < FRACTION_BELOW:
        return value * _WHOLE, f"{value:g} read as a fraction of 1"
    return value, ""


def _of_tree(asked: GreekAsked, source: LevelSource) -> GreekLevel:
    action, doubt = _action(asked.action, asked.text)
    threshold, note = _yearly(asked.threshold) if asked.kind in _A_YEAR else (asked.threshold, asked.note)
    return GreekLevel(asked.kind, threshold, action, source, _joined(note, doubt))


def _action(action: Action | None, text: str) -> tuple[Action, str]:
    """Closes only for certain. "Adjust or exit", "consider", "reduce" and every doubtful text is an alert, and that is said."""
    if action is not None and (action in FULL_EXITS or action in PERCENT_OF):
        return action, ""
    return Action.ADJUST, f"only alerts, closes nothing for certain: {text[:60]!r}" if text and action is None else ""


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _of_monitoring(sources: Sources, planned: Planned | None) -> Iterator[GreekLevel]:
    """Limits of the volatility, per cent a year. One that the planned volatility was beyond from the start says nothing."""
    row = sources.inputs.monitoring
    if row is None:
        return
    entry = None if planned is None else planned.value * _WHOLE
    limits = (
        (GreekKind.IV_ABOVE, row.iv_upper, "iv_upper_limit"),
        (GreekKind.IV_BELOW, row.iv_lower, "iv_lower_limit"),
    )
    for kind, value, name in limits:
        if value is None:
            continue
        threshold, note = _yearly(value)
        if entry is not None and (entry >= threshold if kind is GreekKind.IV_ABOVE else entry <= threshold):
            sources.note(f"{name} {threshold:g} % not used: the volatility was planned at {entry:.1f} %")
        else:
            yield GreekLevel(kind, threshold, Action.ADJUST, LevelSource.MONITORING, note or name)


def _with_reference(level: GreekLevel, entry: PlannedEntry) -> GreekLevel:
    """The entry's gamma or volatility from strategy_details, where it has every leg; else the first computed one counts."""
    planned = None
    if level.kind is GreekKind.GAMMA:
        planned = entry.gamma
    elif level.kind in _OF_REFERENCE:
        planned = entry.volatility
    return level if planned is None else replace(level, reference=planned.value, note=_joined(level.note, planned.note))
