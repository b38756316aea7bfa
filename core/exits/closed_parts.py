"""What earlier exits have already closed: rows that are gone, shares that are sold, levels that have fired."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from core.exits.partial_close import PERCENT_OF, rest_of
from core.model.exit_levels import Rule
from core.model.memory import ToldLevel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from core.exits.running_exit import RunningExit
    from core.model.exit_levels import Action, ExitLevels
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord, Signal


class _Share(NamedTuple):
    """`closed` units (unsigned) of a row that said `row_units` (signed) when they were closed: `percent` of it in all."""

    row_units: int
    closed: int
    percent: int = 0


def row_units_of(running: RunningExit | None) -> dict[int, int]:
    """Signed units by row id, as the database had them when the exit began; {} for an exit of whole rows."""
    if running is None or not running.row_units:
        return {}
    return {leg.row_id: units for leg, units in zip(running.position.legs, running.row_units, strict=True)}


def said_by(signal: Signal, levels: ExitLevels) -> Iterator[ToldLevel]:
    """The levels that have had their say with a signal that closed nothing: with a scaling level go those that it overtook."""
    yield ToldLevel(signal.rule, signal.level, signal.threshold)
    if signal.rule is Rule.SCALING_TARGET:
        reached = (level.amount for level in levels.scaling if level.amount <= (signal.observed or 0))
        yield from (ToldLevel(signal.rule, signal.level, amount) for amount in reached)


@dataclass(slots=True)
class ClosedParts:
    """Fed with every finished exit, live or replayed. The rows stay as the database has them; this says what is left.

    A row whose quantity somebody has changed since counts as he wrote it: its share is forgotten.
    """

    rows: set[int] = field(default_factory=set)
    shares: dict[int, _Share] = field(default_factory=dict)
    realised: dict[int, Paise] = field(default_factory=dict)
    """By the first row of the position that a share was closed of."""
    fired: dict[int, set[ToldLevel]] = field(default_factory=dict)
    """By row id, so that a strategy that is entered again has all its levels."""

    def take(self, record: ExitRecord, row_units: dict[int, int]) -> None:
        """`row_units`: signed units of each row of the exit, by row id, as the database had them."""
        if record.action not in PERCENT_OF:
            self.rows.update(leg.row_id for leg in record.legs)
            return
        level = ToldLevel(record.rule, record.level, record.threshold)
        self.mark_fired((leg.row_id for leg in record.legs), level)
        # A share whose price is unknown adds nothing to the P&L that the levels are compared with.
        first = record.legs[0].row_id
        self.realised[first] = self.realised.get(first, 0) + (record.realised_pnl or 0)
        for leg in record.legs:
            units = row_units.get(leg.row_id, 0)
            known = self.shares.get(leg.row_id)
            if known is None or known.row_units != units:
                known = _Share(units, 0)
            percent = max(known.percent, PERCENT_OF[record.action])
            self.shares[leg.row_id] = _Share(units, known.closed + leg.filled, percent)

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
        return sum(self.realised.get(row, 0) for row in self.closed_of(position))

    def levels_left(self, position: Position, levels: ExitLevels) -> ExitLevels:
        """The levels without those that have fired, or whose share is already gone. A level that was moved since is a new one."""
        fired = self.told_of(position)
        gone = max((self.shares[row].percent for row in self.closed_of(position)), default=0)

        def is_done(rule: Rule, threshold: int | None, action: Action, level: str = "") -> bool:
            return ToldLevel(rule, level, threshold) in fired or PERCENT_OF.get(action, 100) <= gone

        target, warning = levels.target, levels.adjustment
        if target is not None and ToldLevel(Rule.PROFIT_TARGET, "", target.amount) in fired:
            levels = replace(levels, target=None)
        if warning is not None and ToldLevel(Rule.ADJUSTMENT, "", -warning.first) in fired:
            levels = replace(levels, adjustment=None)
        if not (levels.scaling or levels.underlying or levels.greeks):
            return levels
        return replace(
            levels,
            scaling=tuple(x for x in levels.scaling if not is_done(Rule.SCALING_TARGET, x.amount, x.action)),
            underlying=tuple(
                x for x in levels.underlying if not is_done(Rule.UNDERLYING_LEVEL, x.price, x.action, x.name)
            ),
            greeks=tuple(x for x in levels.greeks if not is_done(Rule.GREEKS, x.in_units, x.action, x.kind.value)),
        )

    def told_of(self, position: Position) -> frozenset[ToldLevel]:
        """What has fired for any of the position's rows."""
        return frozenset().union(*(self.fired.get(leg.row_id, ()) for leg in position.legs))

    def mark_fired(self, rows: Iterable[int], level: ToldLevel) -> None:
        """Each level acts once for a share, or is told once, across restarts. `rows`: the row ids of its position."""
        for row in rows:
            self.fired.setdefault(row, set()).add(level)
