"""What came of a replay: plain facts. Money in paise, times in UTC nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from core.model.commands import Alert
    from core.model.money import Paise
    from core.model.signals import Signal


@dataclass(frozen=True, slots=True)
class SeenFill:
    """`units` unsigned. `waited_s` after the decision, because the book lacked the side."""

    symbol: str
    side: str
    units: int
    price: Paise
    note: str = ""
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SeenExit:
    """One exit of one position. `finished_utc_ns` and `realised` are None where it was not finished by the end."""

    strategy_id: int
    name: str
    signal: Signal
    decided_utc_ns: int
    finished_utc_ns: int | None
    realised: Paise | None
    fills: tuple[SeenFill, ...]


@dataclass(frozen=True, slots=True)
class Unprotected:
    """While the market was open, no price rule of the position could fire. `to_utc_ns` None: until the end.

    `legs`: symbols of those whose price was the hindrance.
    """

    strategy_id: int
    from_utc_ns: int
    to_utc_ns: int | None
    reason: str
    legs: tuple[str, ...] = ()


@dataclass(slots=True)
class Curve:
    """P&L at each sample: (UTC ns, paise or None while unknown). `low`, `high`, `last`: of the samples and the decisions."""

    points: list[tuple[int, Paise | None]] = field(default_factory=list)
    low: Paise | None = None
    high: Paise | None = None
    last: Paise | None = None
    at_exit: Paise | None = None

    def take(self, utc_ns: int, pnl: Paise | None) -> None:
        self.points.append((utc_ns, pnl))
        self.note(pnl)

    def note(self, pnl: Paise | None) -> None:
        if pnl is None:
            return
        self.low = pnl if self.low is None else min(self.low, pnl)
        self.high = pnl if self.high is None else max(self.high, pnl)
        self.last = pnl


@dataclass(frozen=True, slots=True)
class PositionOutcome:
    """`result`: realised by exits, plus the P&L of what was still open at the end; None when a price is missing for it."""

    strategy_id: int
    name: str
    underlying: str
    is_open: bool
    result: Paise | None
    realised: Paise | None
    exits: tuple[SeenExit, ...]
    curve: Curve
    unprotected: tuple[Unprotected, ...]


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """What the recording monitor itself decided."""

    strategy_id: int
    rule: str
    threshold: int | None
    observed: int | None
    at_utc_ns: int


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """`ticks`: quotes that were handed to the engine. `took_s`: of the machine. `notes`: what is missing in the recording."""

    positions: tuple[PositionOutcome, ...]
    from_utc_ns: int
    to_utc_ns: int
    ticks: int
    packets: int
    took_s: float
    alerts: tuple[Alert, ...]
    notes: tuple[str, ...]
    recorded: tuple[RecordedDecision, ...]

    @property
    def exits(self) -> tuple[SeenExit, ...]:
        """In the order of their decisions."""
        found = [seen for position in self.positions for seen in position.exits]
        return tuple(sorted(found, key=lambda seen: (seen.decided_utc_ns, seen.strategy_id)))

    @property
    def total(self) -> Paise | None:
        """The sum of all results; None when one is not known."""
        return known_sum(position.result for position in self.positions)


@dataclass(frozen=True, slots=True)
class Difference:
    """What other levels would have made of one position, beside what the levels in force made."""

    strategy_id: int
    name: str
    base: Paise | None
    other: Paise | None
    base_exit: SeenExit | None
    other_exit: SeenExit | None

    @property
    def change(self) -> Paise | None:
        """Positive: the other levels would have made more."""
        return None if self.base is None or self.other is None else self.other - self.base


def differences(base: RunOutcome, other: RunOutcome) -> tuple[Difference, ...]:
    """One for each position of the base run, in its order."""
    others = {position.strategy_id: position for position in other.positions}
    found = []
    for position in base.positions:
        beside = others[position.strategy_id]
        found.append(
            Difference(
                position.strategy_id,
                position.name,
                position.result,
                beside.result,
                position.exits[-1] if position.exits else None,
                beside.exits[-1] if beside.exits else None,
            )
        )
    return tuple(found)


def known_sum(amounts: Iterable[Paise | None]) -> Paise | None:
    """None when one of them is not known."""
    found = list(amounts)
    known = [amount for amount in found if amount is not None]
    return sum(known) if len(known) == len(found) else None


def twin_of(decision: RecordedDecision, exits: Iterable[SeenExit]) -> SeenExit | None:
    """The exit of the replay that is the recorded decision: same strategy, rule and numbers, at most a second apart."""
    for seen in exits:
        signal = seen.signal
        numbers = (seen.strategy_id, signal.rule.value, signal.threshold, signal.observed)
        is_same = numbers == (decision.strategy_id, decision.rule, decision.threshold, decision.observed)
        if is_same and abs(seen.decided_utc_ns - decision.at_utc_ns) <= NS_PER_S:
            return seen
    return None
