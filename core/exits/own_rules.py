"""A user's own rules, each in a cage: whatever goes wrong in one is named, and stops nothing but that rule.

This is the one place in the decisions that catches every exception: the code inside is not ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.profit_and_loss import pnl_percent
from core.model.commands import Alert, Severity
from core.model.exit_levels import FULL_EXITS, Action, Rule
from core.model.own_rule import PositionFacts, Wish
from core.model.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from core.exits.judges import Moment
    from core.exits.position_guard import PositionGuard
    from core.model.commands import Command
    from core.model.instrument import InstrumentKey
    from core.model.memory import PositionMemory
    from core.model.own_rule import OwnRule
    from core.model.signals import ExitRecord


ASKED_PER_BEAT: Final = 256


class OwnRules:
    """A judge. `say` takes alerts; a rule that has failed for a position rests there until its rows or levels change."""

    def __init__(self, rules: Mapping[str, OwnRule], say: Callable[[Command], None]) -> None:
        self.news: set[int] = set()
        self._rules = rules
        self._say = say
        self._asked: dict[int, tuple[PositionGuard, list[OwnRule]]] = {}
        self._told: dict[tuple[int, str], Wish] = {}
        self._resting: dict[int, dict[str, str]] = {}
        self._from = 0

    @property
    def next_deadline_ns(self) -> int | None:
        return None

    def opened(self, guard: PositionGuard, memory: PositionMemory) -> None:  # noqa: ARG002  the judges' door
        strategy_id = guard.booked.position.strategy_id
        self.gone(strategy_id)
        rules = [self._rules[name] for name in guard.levels.own_rules if name in self._rules]
        if rules:
            self._asked[strategy_id] = guard, rules

    def gone(self, strategy_id: int) -> None:
        self._asked.pop(strategy_id, None)
        self._resting.pop(strategy_id, None)

    def finished(self, record: ExitRecord) -> None:
        pass

    def doubted(self, keys: Iterable[InstrumentKey], at_ns: int) -> None:
        pass

    def on_time(self, moment: Moment) -> Iterable[Signal]:
        signals = []
        for guard, rules in self._next():
            facts = _facts(guard, moment)
            if facts is None:
                continue
            for rule in tuple(rules):
                wish = self._wish(rule, facts)
                if wish is None:
                    continue
                if isinstance(wish, str):
                    rules.remove(rule)
                    self._resting.setdefault(facts.position.strategy_id, {})[rule.name] = wish
                    self._tell_failed(rule, facts, wish)
                elif self._is_new(rule, facts, wish):
                    signals.append(_signal(rule, facts, wish, moment.at_ns))
        return signals

    def _next(self) -> list[tuple[PositionGuard, list[OwnRule]]]:
        """Whose turn it is: a few hundred a beat, so that many positions do not stall the ticks of one."""
        ids = list(self._asked)
        start = self._from if self._from < len(ids) else 0
        self._from = start + ASKED_PER_BEAT
        return [self._asked[strategy_id] for strategy_id in ids[start : start + ASKED_PER_BEAT]]

    def remember(self, strategy_id: int, memory: PositionMemory) -> PositionMemory:  # noqa: ARG002  the judges' door
        return memory

    def resting_of(self, strategy_id: int) -> Mapping[str, str]:
        """Rules that have failed for the position and rest, each with what it was."""
        return self._resting.get(strategy_id, {})

    def _wish(self, rule: OwnRule, facts: PositionFacts) -> Wish | str | None:
        """What the rule wants; a text when it failed."""
        try:
            wish: object = rule.judge(facts)
        except (Exception, SystemExit) as error:  # noqa: BLE001  the cage: somebody else's code must not end the protection
            return f"{type(error).__name__}: {error}"
        if wish is not None and not (isinstance(wish, Wish) and isinstance(wish.action, Action)):
            return f"expected a Wish with an Action, or None, received {wish!r:.80}"
        if wish is None or wish.action in {Action.MONITOR, Action.HOLD}:
            self._told.pop((facts.position.strategy_id, rule.name), None)
            return None
        return wish

    def _is_new(self, rule: OwnRule, facts: PositionFacts, wish: Wish) -> bool:
        """What closes nothing, or only a share, is told when it begins, not four times a second while it stands."""
        key = facts.position.strategy_id, rule.name
        before = self._told.get(key)
        self._told[key] = wish
        return wish.action in FULL_EXITS or before is None or before.action is not wish.action

    def _tell_failed(self, rule: OwnRule, facts: PositionFacts, problem: str) -> None:
        position = facts.position
        text = (
            f"own rule {rule.name} failed and rests for this position: {problem}. All other levels are in force; "
            "mend the rule and start again."
        )
        self._say(
            Alert(Severity.PAGE, f"own rule {rule.name} of {position.strategy_name} ({position.strategy_id})", text)
        )


def _facts(guard: PositionGuard, moment: Moment) -> PositionFacts | None:
    booked = guard.booked
    if booked.pnl is None or not guard.safe_to_trade(moment.at_ns).is_safe:
        return None
    marks = tuple(slot.mark for slot in booked.slots if slot.mark is not None)
    percent = pnl_percent(booked.pnl, booked.position.net_premium)
    return PositionFacts(
        booked.position, guard.levels, booked.pnl, percent, guard.peak, marks, guard.facts.days, moment.ist
    )


def _signal(rule: OwnRule, facts: PositionFacts, wish: Wish, at_ns: int) -> Signal:
    return Signal(
        strategy_id=facts.position.strategy_id,
        rule=Rule.OWN_RULE,
        action=wish.action,
        urgency=wish.urgency,
        threshold=None,
        observed=None,
        pnl=facts.pnl,
        reason=f"own rule {rule.name}: {wish.reason}",
        decided_ns=at_ns,
        level=rule.name,
    )
