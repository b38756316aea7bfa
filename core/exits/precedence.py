"""Which of several signals of one event is carried out (exit_rules 3, precedence)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.exit_levels import Action, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.signals import Signal

ACTION_ORDER: Final = {action: place for place, action in enumerate(Action)}
RULE_ORDER: Final = {rule: place for place, rule in enumerate(Rule)}


def pick(signals: Iterable[Signal]) -> Signal | None:
    """The most pressing action; among equals stop, trailing, limits, time, target, in the order of `Rule`."""
    return min(signals, key=lambda signal: (ACTION_ORDER[signal.action], RULE_ORDER[signal.rule]), default=None)
