"""Your own exit rules: one small class each, registered by name at the end of this file.

How to add one:

1. Write a class with a `name` and a method `judge(facts)`. `facts` is a `PositionFacts`: the position with its legs and
   levels, its P&L in paise, the marks of its legs, days to expiry, the time in India. Every price in it is believed; while one
   is not, or the market is closed, the rule is not asked.
2. Answer None for "nothing", or a `Wish` with an action and one line for the trader. `Action.CLOSE_POSITION` closes,
   `CLOSE_50` and its like close a share, `ADJUST` only warns.
3. Add an instance to `OWN_RULES`, and its name to the `own_rules` of a profile in `profiles.py`; choose that profile for a
   strategy (`EXIT_PROFILE_<id>` in `.env`, or the column `exit_profile` of its row).
4. Copy its test in `tests/unit/strategies/test_own_rules.py`.

A rule decides from `facts` alone, at once: no clock, no file, no network. It is asked a few times a second. What goes wrong in
it is named in an alert, and the rule rests for that position until the next start; stop, target and all other levels stay in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import time
from typing import TYPE_CHECKING, Final

from core.model.exit_levels import Action, Urgency
from core.model.money import rupees_text
from core.model.own_rule import Wish

if TYPE_CHECKING:
    from core.model.own_rule import OwnRule, PositionFacts


@dataclass(frozen=True, slots=True)
class NoGainsOvernight:
    """The example: from `after` (IST) on, take a profit of at least `least_percent` of the premium home instead of
    carrying it through the night.
    """

    name: str = "no_gains_overnight"
    after: time = time(15, 10)
    least_percent: float = 20

    def judge(self, facts: PositionFacts) -> Wish | None:
        if facts.ist.time() < self.after or facts.pnl_percent is None or facts.pnl_percent < self.least_percent:
            return None
        reason = (
            f"P&L {rupees_text(facts.pnl)} is {facts.pnl_percent:.1f} % of the premium after {self.after:%H:%M} IST"
        )
        return Wish(Action.CLOSE_POSITION, reason, Urgency.MEDIUM)


OWN_RULES: Final[dict[str, OwnRule]] = {rule.name: rule for rule in (NoGainsOvernight(),)}
