"""How limits over positions stand, for whoever shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from core.exits.scope_blindness import ScopeBlindness
from core.exits.scope_words import unknown_text
from core.model.special_levels import LimitKind

if TYPE_CHECKING:
    from core.exits.scope_ledger import LimitLedger
    from core.exits.scope_lines import Line
    from core.exits.scope_pool import Pool
    from core.model.money import Paise
    from core.model.special_levels import Scope


class LimitState(NamedTuple):
    """One limit. Amounts are paise, None while not known; `limit` is signed.

    `open_pnl` is of the open positions, `day_pnl` of the day. `latched_ns` is the UTC time at which a limit of the scope fired,
    `latched_by` says which. `blind` says why this one cannot be judged, "" when it can.
    """

    scope: Scope
    name: str
    kind: LimitKind
    limit: Paise
    open_pnl: Paise | None
    day_pnl: Paise | None
    latched_ns: int | None
    latched_by: LimitKind | None
    blind: str


def state_of(pool: Pool, line: Line, ledger: LimitLedger) -> LimitState:
    latch = ledger.latches.get(line.key)
    blind = ScopeBlindness.why(pool) or ""
    if not blind and line.kind is LimitKind.DAILY_LOSS and line.key in ledger.unknown:
        blind = unknown_text(line.key, ledger.unknown[line.key])
    return LimitState(
        *line.key,
        line.kind,
        line.threshold,
        pool.pnl,
        pool.change(line.key),
        None if latch is None else latch.utc_ns,
        None if latch is None else latch.kind,
        blind,
    )
