"""A decision to close, and the record of an exit that was carried out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.model.exit_levels import Action, Rule, Urgency
    from core.model.money import Paise
    from core.model.orders import Side


class Mode(StrEnum):
    """What is done with a decision. The decision itself is the same in all three."""

    LIVE = "LIVE"
    SIMULATION = "SIMULATION"
    ALERT = "ALERT"


@dataclass(frozen=True, slots=True)
class Signal:
    """One rule fired for one position.

    `threshold` and `observed` count in the rule's unit (`exit_levels.UNITS`), None for a clock, an own rule or an operator.
    `tick_received_ns` is the receipt of the tick that fired it or began its breach, None for time rules; monotonic, as is
    `decided_ns`. `level` names the level within its rule where that has several ("delta", "below"), "" elsewhere.
    """

    strategy_id: int
    rule: Rule
    action: Action
    urgency: Urgency
    threshold: int | None
    observed: int | None
    pnl: Paise | None
    reason: str
    decided_ns: int
    tick_received_ns: int | None = None
    level: str = ""


@dataclass(frozen=True, slots=True)
class LegExecution:
    """What happened to one leg. `ordered`: units that were to be closed by orders of ours, 0 when none was sent.

    `average_price` in paise, None when the price is not known (closed elsewhere).
    """

    row_id: int
    security_id: int
    symbol: str
    side: Side
    ordered: int
    filled: int
    average_price: Paise | None
    order_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds between the steps of an exit; None where a step did not happen."""

    tick_to_decision: float | None = None
    decision_to_durable: float | None = None
    durable_to_sent: float | None = None
    sent_to_filled: float | None = None


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """One finished exit, as it goes to `exit_executions.json`. Amounts in paise; `realised_pnl` None if a price is unknown."""

    exit_id: str
    strategy_id: int
    symbol: str
    strategy_name: str
    action: Action
    reason: str
    rule: Rule
    threshold: int | None
    observed: int | None
    legs: tuple[LegExecution, ...]
    realised_pnl: Paise | None
    latency: Latency
    mode: Mode
    finished_at_ns: int
    """UTC nanoseconds."""
    level: str = ""
    """As in the signal."""
