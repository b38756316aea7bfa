"""The numbers of exit_rules 1 and 2, units in the names."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.exits.quote_check import QuoteLimits


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """`hard_stop_multiple` is of the stop's amount, and of the trailing stop's distance.

    `underlying_still_s`: so long after an underlying last changed a leg that moves shows that it stands still.
    `index_jump_percent`: from here on the way from its mark before makes an index suspect.
    """

    mark_stale_s: float = 5
    quiet_verify_s: float = 30
    stop_confirm_max_ms: int = 1000
    hard_stop_multiple: float = 1.5
    leg_settle_ms: int = 100
    underlying_still_s: float = 120
    index_jump_percent: float = 1
    quote_limits: QuoteLimits = field(default_factory=QuoteLimits)
