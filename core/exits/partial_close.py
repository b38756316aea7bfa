"""Closing a share of a position: whole lots, the ratio between the legs kept, fractions of the original quantity."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from core.model.exit_levels import FULL_EXITS, Action

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.model.position import Position

PERCENT_OF: Final = {Action.CLOSE_75: 75, Action.CLOSE_50: 50, Action.CLOSE_25: 25}
"""Actions that close a share. The share is cumulative: after CLOSE_50 half of the original is gone, whatever went before."""
CLOSING: Final = FULL_EXITS | frozenset(PERCENT_OF)
"""Actions that close something; the others are only told."""


def part_to_close(original: Position, action: Action, closed: Mapping[int, int]) -> Position | None:
    """The part of the position that the action still has to close, as a position of its own; None when there is none.

    `closed` holds the units (unsigned) already closed, by row id. The legs shrink together in steps of their smallest
    common ratio, so that a spread stays the same spread; one lot a leg cannot be split, nor can an odd lot.
    """
    lots = [divmod(abs(leg.units), leg.instrument.lot) for leg in original.legs]
    if any(odd for _, odd in lots):
        return None
    steps = math.gcd(*(whole for whole, _ in lots))
    done = steps * PERCENT_OF[action] // 100
    legs = []
    for leg in original.legs:
        per_step = abs(leg.units) // steps
        units = done * per_step - closed.get(leg.row_id, 0)
        if units <= 0:
            return None
        legs.append(replace(leg, units=units if leg.units > 0 else -units))
    return replace(original, legs=tuple(legs))


def rest_of(original: Position, closed: Mapping[int, int]) -> Position | None:
    """What is left of the position after partial closes; None when nothing is."""
    legs = []
    for leg in original.legs:
        left = abs(leg.units) - closed.get(leg.row_id, 0)
        if left > 0:
            legs.append(replace(leg, units=left if leg.units > 0 else -left))
    return replace(original, legs=tuple(legs)) if legs else None


def to_close(
    action: Action,
    position: Position,
    rows: Position,
    whole_of: Callable[[Position], tuple[Position, Mapping[int, int]]],
) -> tuple[Position | None, tuple[int, ...]]:
    """What the action closes of a guarded position, and the units of its rows when that is a share.

    None: it closes nothing, or the position cannot be split. `rows` is the position as the rows have it, of which
    the guarded one may be what is left.
    """
    if action not in PERCENT_OF:
        return position if action in FULL_EXITS else None, ()
    units = {leg.row_id: leg.units for leg in rows.legs}
    as_rows_say = replace(position, legs=tuple(replace(leg, units=units[leg.row_id]) for leg in position.legs))
    original, closed = whole_of(as_rows_say)
    return part_to_close(original, action, closed), tuple(leg.units for leg in as_rows_say.legs)
