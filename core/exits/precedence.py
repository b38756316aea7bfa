"""Which of several signals of one event is carried out (exit_rules 3, precedence)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from core.model.exit_levels import Action, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.exits.rules import Verdict
    from core.model.signals import Signal

    Fired = TypeVar("Fired", Signal, Verdict)

ACTION_ORDER: Final = {action: place for place, action in enumerate(Action)}
RULE_ORDER: Final = {rule: place for place, rule in enumerate(Rule)}


def pick(signals: Iterable[Fired]) -> Fired | None:
    """The most pressing action; among equals stop, trailing, limits, time, target, in the order of `Rule`."""
    return min(signals, key=lambda fired: (ACTION_ORDER[fired.action], RULE_ORDER[fired.rule]), default=None)


def most_pressing(signals: Iterable[Signal]) -> list[Signal]:
    """One signal for each position, in the order in which the positions first fired."""
    by_position: dict[int, list[Signal]] = {}
    for signal in signals:
        by_position.setdefault(signal.strategy_id, []).append(signal)
    return [min(those, key=_place) for those in by_position.values()]


def _place(signal: Signal) -> tuple[int, int]:
    return ACTION_ORDER[signal.action], RULE_ORDER[signal.rule]
