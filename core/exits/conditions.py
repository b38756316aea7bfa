"""What the JSON columns of strategy_risk_management ask for, before anything is known of the position.

One `Conditions` for the tree `exit_conditions`, one for the columns beside it (scaling_exits, technical_stops,
greek_triggers, adjustment_criteria), which a strategy builder fills with parts of the same tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from core.exits.condition_leaves import (
    DESCRIBES,
    flat_days,
    greeks_of,
    losing_of,
    steps_of,
    stops_of,
    stored,
    targets_of,
    technical_of,
    theta_of,
    whole_of,
    whole_of_steps,
)
from core.exits.condition_tree import Branch, read_object, unread_note

if TYPE_CHECKING:
    from core.exits.condition_leaves import GreekAsked, Step
    from core.exits.condition_words import LosingWords, Sentence
    from core.model.exit_levels import Action
    from core.model.profile import Asked
    from core.model.trade_rows import RiskRow

_KEPT: Final = 4_096
"""Rows whose JSON is remembered: it is read again every few seconds, and changes once a day."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """None and () are "not asked for". Rupee amounts are `Base.STORED`, in paise.

    `target_text` is the target's action as written. `max_loss` and `max_profit` are the writer's own, in paise as stored,
    where its amounts and percentages tell them. `technical` is what is to be done when a level of the underlying breaks,
    None unless that is certain. `has_rest`: the rest is to be trailed, and no distance is said. `notes` name what was not read.
    """

    targets: tuple[Sentence, ...] = ()
    target_text: str = ""
    stops: tuple[Sentence, ...] = ()
    arm: Asked | None = None
    distance: Asked | None = None
    scaling: tuple[Step, ...] = ()
    dte: int | None = None
    theta: int | None = None
    losing: LosingWords | None = None
    greeks: tuple[GreekAsked, ...] = ()
    technical: Action | None = None
    max_loss: float | None = None
    max_profit: float | None = None
    has_rest: bool = False
    notes: tuple[str, ...] = ()


NOTHING: Final = Conditions()


class RiskTexts(NamedTuple):
    exit_conditions: str | None
    scaling_exits: str | None
    technical_stops: str | None
    greek_triggers: str | None
    adjustment_criteria: str | None


def conditions_of(risk: RiskRow | None) -> tuple[Conditions, Conditions]:
    """Of the columns, and of the tree. Never raises."""
    if risk is None:
        return NOTHING, NOTHING
    texts = RiskTexts(
        risk.exit_conditions, risk.scaling_exits, risk.technical_stops, risk.greek_triggers, risk.adjustment_criteria
    )
    return (NOTHING, NOTHING) if not any(texts) else _read(texts)


@lru_cache(maxsize=_KEPT)
def _read(texts: RiskTexts) -> tuple[Conditions, Conditions]:
    content, problem = read_object(texts.exit_conditions)
    tree = NOTHING if problem or not content else tree_conditions(content)
    if problem:
        tree = Conditions(notes=(f"exit_conditions: {problem}",))
    return column_conditions(texts, content), tree


def tree_conditions(content: Mapping[str, object]) -> Conditions:
    """Of the generated tree, or of its older shape with one sentence for each rule."""
    root = Branch("", content)
    root.used("monitoring")
    profits, losses, times = root.branch("profit_targets"), root.branch("stop_losses"), root.branch("time_exits")
    targets, target_text = targets_of(root, profits.branch("primary"))
    stops, note = stops_of(root, losses.branch("primary"))
    trailing = profits.branch("trailing")
    scaling, has_rest = steps_of(profits.branch("scaling"))
    found = Conditions(
        targets=targets,
        target_text=target_text,
        stops=stops,
        arm=stored(trailing, "activate_at"),
        distance=stored(trailing, "trail_by"),
        scaling=scaling,
        dte=times.days("primary_dte") or flat_days(root),
        theta=theta_of(times.branch("theta_decay_threshold")),
        losing=losing_of(losses.branch("time_stop")),
        greeks=greeks_of(root.branch("greek_triggers")),
        technical=technical_of(losses.branch("technical")),
        max_loss=whole_of(stops),
        max_profit=whole_of(targets) or whole_of_steps(scaling),
        has_rest=has_rest,
    )
    profits.used(*DESCRIBES)
    times.used("action", *DESCRIBES)
    notes = (note, unread_note("exit_conditions", root.unread()))
    return replace(found, notes=tuple(filter(None, notes)))


def column_conditions(texts: RiskTexts, tree: Mapping[str, object]) -> Conditions:
    """Of the columns beside the tree. What a column only repeats of the tree is not named twice."""
    notes: list[str] = []
    opened: dict[str, Branch] = {}
    for column in _COPIED_FROM:
        content, problem = read_object(getattr(texts, column))
        opened[column] = Branch("", content)
        notes.append(f"{column}: {problem}" if problem else "")
    scaling, has_rest = steps_of(opened["scaling_exits"])
    found = Conditions(
        scaling=scaling,
        has_rest=has_rest,
        technical=technical_of(opened["technical_stops"]),
        greeks=greeks_of(opened["greek_triggers"]),
        max_profit=whole_of_steps(scaling),
    )
    for column, branch in opened.items():
        if branch.content != _at(tree, _COPIED_FROM[column]):
            notes.append(unread_note(column, branch.unread()))
    return replace(found, notes=tuple(filter(None, notes)))


_COPIED_FROM: Final = {
    "scaling_exits": ("profit_targets", "scaling"),
    "technical_stops": ("stop_losses", "technical"),
    "greek_triggers": ("greek_triggers",),
    "adjustment_criteria": ("adjustment_triggers",),
}


def _at(tree: Mapping[str, object], path: tuple[str, ...]) -> object:
    found: object = tree
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
