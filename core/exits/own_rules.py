"""A user's own rules, each in a cage: whatever goes wrong in one is named, and stops nothing but that rule.

This is the one place in the decisions that catches every exception, and that looks at a stopwatch: the code inside is not ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exits.profit_and_loss import pnl_percent
from core.model.commands import Alert, Severity
from core.model.exit_levels import FULL_EXITS, Action, Rule
from core.model.own_rule import PositionFacts, Wish
from core.model.session_time import NS_PER_MS
from core.model.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from core.exits.judges import Moment
    from core.exits.position_guard import PositionGuard
    from core.model.commands import Command
    from core.model.instrument import InstrumentKey
    from core.model.memory import PositionMemory
    from core.model.own_rule import OwnRule
    from core.model.signals import ExitRecord


ASKED_PER_BEAT: Final = 256
SLOW_NS: Final = 20 * NS_PER_MS
"""All rules of one beat may take so long: every price waits meanwhile. Whoever takes longer alone is named."""
TOO_SLOW_NS: Final = 200 * NS_PER_MS


class OwnRules:
    """A judge. `say` takes alerts; a rule that has failed for a position rests there until its rows or levels change.

    So does one that is too slow, what it wanted is done nevertheless. Not the first time: the machine may have stood still.
    """

    def __init__(
        self, rules: Mapping[str, OwnRule], say: Callable[[Command], None], stopwatch: Callable[[], int] | None = None
    ) -> None:
        self.news: set[int] = set()
        self._rules = rules
        self._say = say
        self._stopwatch = stopwatch or (lambda: 0)
        self._slow: set[str] = set()
        self._too_slow: set[str] = set()
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
        signals: list[Signal] = []
        began_ns = self._stopwatch()
        for guard, rules in self._next():
            facts = _facts(guard, moment)
            if facts is None:
                continue
            for rule in tuple(rules):
                signals += self._ask(rule, rules, facts, moment.at_ns)
            if self._stopwatch() - began_ns > SLOW_NS:
                break
        return signals

    def _ask(self, rule: OwnRule, rules: list[OwnRule], facts: PositionFacts, at_ns: int) -> Iterator[Signal]:
        began_ns = self._stopwatch()
        wish = self._wish(rule, facts)
        problem = self._slowness(rule, facts, self._stopwatch() - began_ns)
        if isinstance(wish, str):
            problem = wish
        elif wish is not None and self._is_new(rule, facts, wish):
            yield _signal(rule, facts, wish, at_ns)
        if problem is not None:
            rules.remove(rule)
            self._resting.setdefault(facts.position.strategy_id, {})[rule.name] = problem
            self._tell_failed(rule, facts, problem)

    def _slowness(self, rule: OwnRule, facts: PositionFacts, lasted_ns: int) -> str | None:
        """Name a rule that is slow, once. Gives what is wrong when it is too slow for the second time in a row."""
        took = f"expected an answer within {SLOW_NS // NS_PER_MS} ms, it took {lasted_ns // NS_PER_MS} ms"
        if lasted_ns > SLOW_NS and rule.name not in self._slow:
            self._slow.add(rule.name)
            name = f"{facts.position.strategy_name} ({facts.position.strategy_id})"
            text = f"{took} for {name}: every price and exit waits meanwhile; make it faster"
            self._say(Alert(Severity.WARNING, f"own rule {rule.name} is slow", text))
        if lasted_ns <= TOO_SLOW_NS:
            self._too_slow.discard(rule.name)
            return None
        is_again = rule.name in self._too_slow
        self._too_slow.add(rule.name)
        return took if is_again else None

    def _next(self) -> Iterator[tuple[PositionGuard, list[OwnRule]]]:
        """Whose turn it is: a few hundred a beat, so that many positions do not stall the ticks of one."""
        ids = list(self._asked)
        start = self._from if self._from < len(ids) else 0
        for self._from, strategy_id in enumerate(ids[start : start + ASKED_PER_BEAT], start + 1):
            yield self._asked[strategy_id]

    def remember(self, strategy_id: int, memory: PositionMemory) -> PositionMemory:  # noqa: ARG002  the judges' door
        return memory

    def resting_of(self, strategy_id: int) -> Mapping[str, str]:
        """Rules that have failed for the position and rest, each with what it was."""
        return self._resting.get(strategy_id, {})

    def _wish(self, rule: OwnRule, facts: PositionFacts) -> Wish | str | None:
        """What the rule wants; a text when it failed."""
        try:
            wish: object = rule.judge(facts)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  the cage: somebody else's code must not end the protection
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
