"""One exit under way: its legs, their order attempts, and how the broker's words are folded into them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.exits.exit_lifecycle import (
    ATTEMPT_TRANSITIONS,
    EXIT_TRANSITIONS,
    LEG_TRANSITIONS,
    LIVE,
    AttemptState,
    AttemptTrigger,
    ExitState,
    ExitTrigger,
    LegState,
    LegTrigger,
    fire,
)
from core.exits.order_plan import closing_side, short_legs
from core.model.memory import ToldLevel
from core.model.orders import OrderReport, OrderStatus, Side

if TYPE_CHECKING:
    from core.exits.order_gate import RollingBudget
    from core.model.money import Paise
    from core.model.orders import OrderIntent
    from core.model.position import Leg, Position
    from core.model.signals import Signal


@dataclass(slots=True)
class Attempt:
    """One order of a leg. `filled` is cumulative units; `average` paise per unit, None while nothing is filled.

    `answered`: the POST has come to an end, whichever way. Before that nothing proves that the order will not go out.
    `counts` is False for one that the broker did not look at (not sent, rate limit).
    """

    intent: OrderIntent
    number: int
    prepared_ns: int
    round: int = 1
    state: AttemptState = AttemptState.PREPARED
    order_id: str = ""
    filled: int = 0
    average: Paise | None = None
    reason: str = ""
    durable_ns: int | None = None
    sent_ns: int | None = None
    unknown_since_ns: int | None = None
    live_since_ns: int | None = None
    ended_ns: int | None = None
    polls: int = 0
    next_poll_ns: int = 0
    poll_asked_ns: int | None = None
    answered: bool = False
    cancel_asked_ns: int | None = None
    absences_ns: list[int] = field(default_factory=list)
    rate_limited: bool = False
    token_refused: bool = False
    counts: bool = True

    @property
    def is_live(self) -> bool:
        return self.state in LIVE

    @property
    def leaves(self) -> int:
        """Units that may still fill: everything unfilled while the order is live or its fate unknown."""
        return max(self.intent.quantity - self.filled, 0) if self.is_live else 0

    @property
    def is_a_round(self) -> bool:
        """It was, or may be, in the market at its price."""
        return self.counts and self.state is not AttemptState.REFUSED

    def fire(self, trigger: AttemptTrigger, at_ns: int) -> bool:
        """Apply a trigger; True when the state changed."""
        before = self.state
        self.state = fire(ATTEMPT_TRANSITIONS, before, trigger)
        if self.state is before:
            return False
        if self.state is AttemptState.UNKNOWN:
            self.unknown_since_ns = at_ns
        if self.state is AttemptState.WORKING:
            self.live_since_ns = at_ns
        if not self.is_live:
            self.ended_ns = at_ns
        return True

    def fold(self, report: OrderReport, at_ns: int) -> bool:
        """Take the broker's word. Fills only grow, ends are sticky: order and repetition of reports do not matter.

        Returns True when anything changed.
        """
        before = (self.state, self.order_id, self.filled, self.average)
        self.order_id = self.order_id or report.order_id
        self.counts = True
        if report.filled > self.filled or (report.filled == self.filled and self.average is None):
            self.filled, self.average = report.filled, report.average_price
        self.reason = report.reason or self.reason
        self.fire(_trigger_of(report, self), at_ns)
        return before != (self.state, self.order_id, self.filled, self.average)


def _trigger_of(report: OrderReport, attempt: Attempt) -> AttemptTrigger:
    # A "traded" order update with a smaller quantity is a part fill under another spelling (dhan_v2_protocol 4.2):
    # only the quantity makes an order filled.
    if attempt.filled >= attempt.intent.quantity:
        return AttemptTrigger.REPORTED_FILLED
    if report.is_terminal and report.status is not OrderStatus.TRADED:
        return AttemptTrigger.REPORTED_DEAD
    return AttemptTrigger.REPORTED_LIVE


@dataclass(slots=True)
class RunningLeg:
    """One leg of an exit. `next_send_ns`: no new order before (pause after a round, a refusal, a rate limit).

    `before`: how many of its attempts an exit of a share had made that has become one of the whole: rounds and budgets begin anew.
    """

    index: int
    leg: Leg
    state: LegState
    minute_budget: RollingBudget
    attempts: list[Attempt] = field(default_factory=list)
    before: int = 0
    next_send_ns: int = 0
    quote_asked_ns: int | None = None
    flat_seen_ns: int | None = None
    mismatch_since_ns: int | None = None

    @property
    def side(self) -> Side:
        return closing_side(self.leg.units)

    @property
    def filled(self) -> int:
        return sum(attempt.filled for attempt in self.attempts)

    @property
    def remaining(self) -> int:
        """Own units not yet closed by own fills; negative after an overfill."""
        return abs(self.leg.units) - self.filled

    @property
    def free(self) -> int:
        """Own units that are neither closed nor in a live order of this leg."""
        return self.remaining - sum(attempt.leaves for attempt in self.attempts)

    @property
    def live(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.is_live]

    @property
    def own_attempts(self) -> list[Attempt]:
        return self.attempts[self.before :]

    @property
    def rounds(self) -> int:
        """How often the leg has been to market: slices that live side by side are one round."""
        return len({attempt.round for attempt in self.own_attempts if attempt.is_a_round})

    def round_of_next(self) -> int:
        """The round that an order prepared now belongs to."""
        last = self.attempts[-1].round if self.attempts else 0
        return max(last, 1) if self.live else last + 1

    @property
    def last_change_ns(self) -> int:
        """When an attempt of this leg last ended or was sent; 0 when none has."""
        return max((max(a.ended_ns or 0, a.sent_ns or 0, a.prepared_ns) for a in self.attempts), default=0)

    @property
    def attempts_that_count(self) -> int:
        return sum(attempt.counts for attempt in self.own_attempts)

    def average_price(self) -> Paise | None:
        """Volume-weighted fill price in paise, rounded; None when nothing filled or a fill's price is unknown."""
        total = 0
        for attempt in self.attempts:
            if attempt.filled:
                if attempt.average is None:
                    return None
                total += attempt.filled * attempt.average
        return round(total / self.filled) if self.filled else None

    def fire(self, trigger: LegTrigger) -> None:
        self.state = fire(LEG_TRANSITIONS, self.state, trigger)

    def widen(self, leg: Leg) -> None:
        """Close all of `leg`, of which this was a share. Orders of the share live on, and their fills count."""
        self.leg, self.before = leg, len(self.attempts)
        self.minute_budget.taken.clear()
        self.flat_seen_ns = self.mismatch_since_ns = None
        if self.state is LegState.FLAT:
            self.fire(LegTrigger.WIDENED)


@dataclass(slots=True)
class RunningExit:
    """`generation` counts the exits of a strategy; `alerted` holds the subjects already told, so that each is told once.

    `abandoned`: it was only to record a close by others, and the position is there after all. `row_units` as in ExitStarted,
    `may_widen` as in ExitHalted.
    """

    exit_id: str
    generation: int
    signal: Signal
    position: Position
    legs: tuple[RunningLeg, ...]
    started_ns: int
    decided_ns: int | None = None
    row_units: tuple[int, ...] = ()
    state: ExitState = ExitState.EXECUTING
    halted_reason: str = ""
    may_widen: bool = False
    abandoned: bool = False
    alerted: set[str] = field(default_factory=set)

    @property
    def strategy_id(self) -> int:
        return self.position.strategy_id

    @property
    def is_share(self) -> bool:
        return bool(self.row_units)

    @property
    def fired(self) -> ToldLevel:
        """The level that the exit is for, whatever its record says: others may have closed the position first."""
        return ToldLevel(self.signal.rule, self.signal.level, self.signal.threshold)

    @property
    def rows(self) -> Position:
        """The rows that a share is closed of, as the database had them when it began."""
        legs = zip(self.position.legs, self.row_units, strict=True)
        return replace(self.position, legs=tuple(replace(leg, units=units) for leg, units in legs))

    @property
    def shorts_are_flat(self) -> bool:
        return all(leg.state is LegState.FLAT for leg in self.legs if leg.leg.units < 0)

    @property
    def is_flat(self) -> bool:
        return all(leg.state is LegState.FLAT for leg in self.legs)

    @property
    def attempts(self) -> list[Attempt]:
        return [attempt for leg in self.legs for attempt in leg.attempts]

    def widen(self, signal: Signal, whole: Position) -> None:
        """Go on as the exit of all that was left when the share began: `whole` has the same legs, with more units."""
        for leg, all_of_it in zip(self.legs, whole.legs, strict=True):
            leg.widen(all_of_it)
        self.signal, self.position, self.row_units = signal, whole, ()
        self.state = fire(EXIT_TRANSITIONS, self.state, ExitTrigger.WIDENED)
        self.halted_reason, self.decided_ns = "", None
        self.alerted.clear()


def start_legs(position: Position, minute_budgets: tuple[RollingBudget, ...]) -> tuple[RunningLeg, ...]:
    """The legs of a new exit: shorts open at once, longs wait for them (invariant I5)."""
    shorts = short_legs(position)
    return tuple(
        RunningLeg(i, leg, LegState.OPEN if i in shorts or not shorts else LegState.WAITING, minute_budgets[i])
        for i, leg in enumerate(position.legs)
    )
