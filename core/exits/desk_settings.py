"""What an operator may tune on the order side. Units are in the names."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import time
from typing import Final

from core.exits.order_plan import LadderSettings
from core.model.session_time import NS_PER_S

MIN_ABSENCE_QUARANTINE_S: Final = 5.0
ANSWER_DUE_NS: Final = 10 * NS_PER_S
"""The runner answers every order within its own time-outs. Silence beyond this is our own fault, and the order may be out."""
READ_DUE_NS: Final = 15 * NS_PER_S
"""A read that has not been answered by then is asked again."""


@dataclass(frozen=True, slots=True)
class DeskSettings:
    """Defaults are those of the exit protocol (reliability 2.7, 2.8)."""

    ladder: LadderSettings = field(default_factory=LadderSettings)
    orders_per_second: int = 8
    attempts_per_leg_per_minute: int = 12
    attempts_per_leg_per_day: int = 60
    round_interval_ms: int = 300
    working_max_ms: int = 2_000
    day_order_max_ms: int = 5_000
    rate_limit_pause_ms: int = 1_000
    refusal_pause_ms: int = 1_000
    account_pause_s: int = 30
    position_max_age_ms: int = 500
    position_read_interval_ms: int = 150
    position_lag_ms: int = 3_000
    order_book_interval_ms: int = 2_000
    positions_unreadable_s: int = 10
    last_good_positions_s: int = 60
    flat_confirm_ms: int = 1_000
    absence_quarantine_s: float = 8.0
    absence_reads: int = 3
    unresolved_page_s: int = 30
    quote_max_age_ms: int = 1_000
    quote_wait_ms: int = 1_000
    mismatch_page_s: int = 5
    watch_interval_s: float = 5.0
    watch_near_ms: int = 400
    outside_confirm_s: int = 10
    new_row_grace_s: int = 60
    intraday_last_send: time = time(15, 18)

    def __post_init__(self) -> None:
        if self.absence_quarantine_s < MIN_ABSENCE_QUARANTINE_S:
            raise ValueError(
                f"expected a quarantine of at least {MIN_ABSENCE_QUARANTINE_S:g} s before an order counts as absent, "
                f"received {self.absence_quarantine_s:g} s"
            )
