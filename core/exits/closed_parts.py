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
    """`closed` units (unsigned) of a row that said `row_units` (signed) when they were closed: `percent` of it in all.

    `before`: units (unsigned) that were closed before somebody corrected the row to what was left.
    """

    row_units: int
    closed: int
    percent: int = 0
    before: int = 0

    def as_row_says(self, units: int) -> _Share | None:
        """The share of a row that says `units` (signed) now: the same, none yet of what was left; None for another quantity."""
        if units == self.row_units:
            return self
        left = abs(self.row_units) - self.closed
        is_what_was_left = left > 0 and units == (left if self.row_units > 0 else -left)
        return _Share(units, 0, self.percent, self.before + self.closed) if is_what_was_left else None


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

    A row whose quantity somebody has changed since counts as he wrote it. Where he wrote what was left, the P&L of the share
    is not counted any more (his row is a smaller position), but what was closed of the original still is: shares are cumulative.
    """

    rows: set[int] = field(default_factory=set)
    shares: dict[int, _Share] = field(default_factory=dict)
    realised: dict[int, Paise | None] = field(default_factory=dict)
    """By the first row of the position that a share was closed of. None: a fill price is not known."""
    fired: dict[int, set[ToldLevel]] = field(default_factory=dict)
    """By row id, so that a strategy that is entered again has all its levels."""

    def take(self, record: ExitRecord, row_units: dict[int, int]) -> None:
        """`row_units`: signed units of each row of the exit, by row id, as the database had them."""
        if record.action not in PERCENT_OF:
            self.rows.update(leg.row_id for leg in record.legs)
            return
        first = record.legs[0].row_id
        earlier = self.realised.get(first, 0) if self._is_unchanged(first, row_units.get(first, 0)) else 0
        self.realised[first] = None if earlier is None or record.realised_pnl is None else earlier + record.realised_pnl
        for leg in record.legs:
            units = row_units.get(leg.row_id, 0)
            known = self._share_of(leg.row_id, units) or _Share(units, 0)
            percent = max(known.percent, PERCENT_OF[record.action])
            self.shares[leg.row_id] = known._replace(closed=known.closed + leg.filled, percent=percent)

    def closed_of(self, position: Position) -> dict[int, int]:
        """Units (unsigned) already closed, by row id, that the rows still count."""
        return {row: share.closed for row, share in self._shares_of(position).items()}

    def whole_of(self, position: Position) -> tuple[Position, dict[int, int]]:
        """The position before any share of it was closed, and the units (unsigned) closed since, by row id."""
        shares, legs = self._shares_of(position), []
        for leg in position.legs:
            before = shares[leg.row_id].before if leg.row_id in shares else 0
            legs.append(replace(leg, units=leg.units + (before if leg.units > 0 else -before)))
        closed = {row: share.before + share.closed for row, share in shares.items()}
        return replace(position, legs=tuple(legs)), closed

    def left_of(self, position: Position) -> Position | None:
        """What is still to be guarded of the rows; None when nothing is."""
        legs = tuple(leg for leg in position.legs if leg.row_id not in self.rows)
        return rest_of(replace(position, legs=legs), self.closed_of(position)) if legs else None

    def realised_of(self, position: Position) -> Paise | None:
        """P&L of the shares already closed, paise; None when the price of one is not known."""
        parts = [self.realised.get(leg.row_id, 0) for leg in position.legs if self._is_unchanged(leg.row_id, leg.units)]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def levels_left(self, position: Position, levels: ExitLevels) -> ExitLevels:
        """The levels without those that have fired, or whose share is already gone. A level that was moved since is a new one."""
        fired = self.told_of(position)
        gone = max((share.percent for share in self._shares_of(position).values()), default=0)

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

    def _share_of(self, row: int, units: int) -> _Share | None:
        share = self.shares.get(row)
        return None if share is None else share.as_row_says(units)

    def _shares_of(self, position: Position) -> dict[int, _Share]:
        found = {leg.row_id: self._share_of(leg.row_id, leg.units) for leg in position.legs}
        return {row: share for row, share in found.items() if share is not None}

    def _is_unchanged(self, row: int, units: int) -> bool:
        share = self.shares.get(row)
        return share is not None and share.row_units == units


def take_finished(closed: ClosedParts, record: ExitRecord, running: RunningExit | None) -> None:
    """Count a finished exit. The level of a share has fired also when its record says that others have closed the position."""
    closed.take(record, row_units_of(running))
    if running is not None:
        closed.mark_fired((leg.row_id for leg in record.legs), running.fired)
