"""One position whose Greeks are judged: its references, how long its levels have been breached, and what was computed last."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.exits.greek_measures import GreekFacts, is_beyond, measure
from core.exits.partial_close import CLOSING
from core.model.special_levels import GreekKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.exits.explain_line import Measured
    from core.exits.position_greeks import Greeks, PositionGreeks, PricingMoment
    from core.exits.position_guard import PositionGuard
    from core.model.memory import PositionMemory
    from core.model.special_levels import GreekLevel


class GreekFigures(NamedTuple):
    """The newest attempt, at a monotonic time. `problem`: why it came to nothing, "" when it did.

    `greeks`, `moment` and `measures` (ten-thousandths, by level) are of the newest computation, None and {} before the first.
    """

    at_ns: int
    problem: str
    greeks: PositionGreeks | None
    moment: PricingMoment | None
    measures: Mapping[GreekLevel, Measured]


class GreekWatched:
    """One position. `gamma` (of its rows, per rupee) and `volatility` are its references.

    `since`: when each level that is breached was found so first. `failing`: since when a level that closes has no measure, and
    for want of what now.
    """

    __slots__ = ("asked_ns", "failing", "figures", "gamma", "guard", "is_gone", "since", "volatility")

    def __init__(self, guard: PositionGuard, memory: PositionMemory) -> None:
        self.guard = guard
        self.gamma = memory.gamma
        self.volatility = memory.volatility
        self.asked_ns: int | None = None
        self.failing: tuple[int, str] | None = None
        self.is_gone = False
        self.since: dict[GreekLevel, int] = {}
        self.figures: GreekFigures | None = None

    def begin_anew(self) -> None:
        self.since.clear()
        self.failing = None

    def reference_of(self, level: GreekLevel) -> float | None:
        if level.kind is GreekKind.GAMMA:
            whole = self.gamma if level.reference is None else level.reference
            return None if whole is None else whole * self.share
        return self.volatility if level.reference is None else level.reference

    @property
    def share(self) -> float:
        """How much of the rows' units is left, as a fraction of 1."""
        left = self.guard.booked.position.legs
        rows = {leg.row_id: abs(leg.units) for leg in self.guard.original.legs}
        return sum(abs(leg.units) for leg in left) / sum(rows[leg.row_id] for leg in left)

    def learn(self, total: Greeks, iv: float | None) -> bool:
        """Take what was computed first for the references; whether there was something new to remember."""
        known = self.gamma, self.volatility
        if self.gamma is None and total.gamma:
            self.gamma = abs(total.gamma) / self.share
        if self.volatility is None:
            self.volatility = iv
        return known != (self.gamma, self.volatility)

    def fail(self, problem: str, at_ns: int) -> None:
        """Nothing could be computed."""
        before = self.figures
        self.figures = (
            GreekFigures(at_ns, problem, None, None, {})
            if before is None
            else before._replace(at_ns=at_ns, problem=problem)
        )
        self._go_on_failing(problem, at_ns)

    def compare(
        self, greeks: PositionGreeks, total: Greeks, priced: PricingMoment, at_ns: int
    ) -> list[tuple[GreekLevel, Measured]]:
        """The levels that fire: this computation and the one before were at or beyond them."""
        position = self.guard.booked.position
        value = abs(sum(of_leg.leg.units * (of_leg.mark or 0) for of_leg in greeks.legs))
        fired: list[tuple[GreekLevel, Measured]] = []
        measures: dict[GreekLevel, Measured] = {}
        problem = ""
        for level in self.guard.levels.greeks:
            seen = measure(level.kind, GreekFacts(total, greeks.iv, position, value, self.reference_of(level)))
            measures[level] = seen
            if seen.value is None and level.action in CLOSING:
                problem = problem or seen.text
            if seen.value is None or not is_beyond(level.kind, seen.value, level.in_units):
                self.since.pop(level, None)
            elif self.since.setdefault(level, at_ns) != at_ns:
                fired.append((level, seen))
        self.figures = GreekFigures(at_ns, problem, greeks, priced, measures)
        if problem:
            self._go_on_failing(problem, at_ns)
        else:
            self.failing = None
        return fired

    def _go_on_failing(self, problem: str, at_ns: int) -> None:
        self.failing = (at_ns if self.failing is None else self.failing[0]), problem
