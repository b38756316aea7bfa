"""What earlier exits have already closed: rows that are gone, shares that are sold, levels that have fired."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from core.exits.partial_close import PERCENT_OF, rest_of
from core.model.exit_levels import Rule

if TYPE_CHECKING:
    from core.exits.running_exit import RunningExit
    from core.model.exit_levels import ExitLevels
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord


class _Share(NamedTuple):
    """`closed` units (unsigned) of a row that said `row_units` (signed) when they were closed."""

    row_units: int
    closed: int


def row_units_of(running: RunningExit | None) -> dict[int, int]:
    """Signed units by row id, as the database had them when the exit began; {} for an exit of whole rows."""
    if running is None or not running.row_units:
        return {}
    return {leg.row_id: units for leg, units in zip(running.position.legs, running.row_units, strict=True)}


@dataclass(slots=True)
class ClosedParts:
    """Fed with every finished exit, live or replayed. The rows stay as the database has them; this says what is left.

    A row whose quantity somebody has changed since counts as he wrote it: its share is forgotten.
    """

    rows: set[int] = field(default_factory=set)
    shares: dict[int, _Share] = field(default_factory=dict)
    realised: dict[int, Paise] = field(default_factory=dict)
    fired: set[tuple[int, Rule, int | None]] = field(default_factory=set)

    def take(self, record: ExitRecord, row_units: dict[int, int]) -> None:
        """`row_units`: signed units of each row of the exit, by row id, as the database had them."""
        if record.action not in PERCENT_OF:
            self.rows.update(leg.row_id for leg in record.legs)
            return
        self.mark_fired(record.strategy_id, record.rule, record.threshold)
        # A share whose price is unknown adds nothing to the P&L that the levels are compared with.
        self.realised[record.strategy_id] = self.realised.get(record.strategy_id, 0) + (record.realised_pnl or 0)
        for leg in record.legs:
            units = row_units.get(leg.row_id, 0)
            known = self.shares.get(leg.row_id)
            before = known.closed if known is not None and known.row_units == units else 0
            self.shares[leg.row_id] = _Share(units, before + leg.filled)

    def closed_of(self, position: Position) -> dict[int, int]:
        """Units (unsigned) already closed, by row id, of the rows that still say what they said."""
        found = {}
        for leg in position.legs:
            share = self.shares.get(leg.row_id)
            if share is not None and share.row_units == leg.units:
                found[leg.row_id] = share.closed
        return found

    def left_of(self, position: Position) -> Position | None:
        """What is still to be guarded of the rows; None when nothing is."""
        legs = tuple(leg for leg in position.legs if leg.row_id not in self.rows)
        return rest_of(replace(position, legs=legs), self.closed_of(position)) if legs else None

    def realised_of(self, position: Position) -> Paise:
        """P&L of the shares already closed, paise."""
        return self.realised.get(position.strategy_id, 0) if self.closed_of(position) else 0

    def levels_left(self, strategy_id: int, levels: ExitLevels) -> ExitLevels:
        """The levels without those that have fired for a share. A level that was moved since is a new one."""
        target = levels.target
        if target is not None and (strategy_id, Rule.PROFIT_TARGET, target.amount) in self.fired:
            return replace(levels, target=None)
        return levels

    def mark_fired(self, strategy_id: int, rule: Rule, threshold: int | None) -> None:
        """Each level acts once for a share, across restarts. `threshold` as in the signal, paise for price rules."""
        self.fired.add((strategy_id, rule, threshold))
