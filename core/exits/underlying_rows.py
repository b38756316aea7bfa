"""Levels of the underlying: from rows and overrides as they are asked for, from strategy_monitoring as warnings."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from core.exits.level_amounts import named
from core.exits.level_sources import Technical
from core.exits.partial_close import PERCENT_OF
from core.exits.row_kinds import UNDERLYING_NAME
from core.model.exit_levels import FULL_EXITS, Action, LevelSource
from core.model.instrument import Right
from core.model.money import rupees_text
from core.model.override import Kind
from core.model.special_levels import UnderlyingLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.exits.level_sources import Sources
    from core.model.position import Leg, Position
    from core.model.trade_rows import LevelRow

MONITORING_MINUTES: Final = 5
"""A support or resistance counts by the close of such a candle: one print through it is not enough."""
_FARTHEST: Final = 3
"""A level of more than so many times the underlying's price, or less than one part of it, is a slip of the pen."""
_LONGEST_CANDLE: Final = 375
"""Minutes of a session."""


def underlying_of(sources: Sources) -> tuple[UnderlyingLevel, ...]:
    """For each way, above and below, every usable level of the first source that has one."""
    if sources.is_off(Kind.UNDERLYING):
        sources.note("levels of the underlying: switched off by the operator's override")
        return ()
    found: dict[bool, list[UnderlyingLevel]] = {}
    for levels in (_of_override(sources), _of_rows(sources), _of_monitoring(sources)):
        usable = [level for level in levels if _is_near(sources, level)]
        for is_above in {level.is_above for level in usable} - found.keys():
            found[is_above] = [level for level in usable if level.is_above is is_above]
    return tuple(level for is_above in (False, True) for level in found.get(is_above, ()))


def _of_override(sources: Sources) -> Iterator[UnderlyingLevel]:
    for asked in sources.override.underlying:
        yield UnderlyingLevel(
            asked.price,
            asked.is_above,
            Action.CLOSE_POSITION,
            LevelSource.OPERATOR,
            candle_minutes=asked.candle_minutes,
        )


def _of_rows(sources: Sources) -> Iterator[UnderlyingLevel]:
    for row in sources.rows.underlying:
        name = UNDERLYING_NAME.fullmatch(row.level_name.strip().lower())
        minutes = int(name[2]) if name is not None and name[2] else None
        if name is None or row.trigger_type != "price":
            sources.note(
                f"{named(row)}: expected the underlying's price (trigger type price), not {row.trigger_type!r}; not used"
            )
        elif minutes is not None and not 1 <= minutes <= _LONGEST_CANDLE:
            sources.note(
                f"{named(row)}: expected a candle of 1 to {_LONGEST_CANDLE} minutes, received {minutes}; not used"
            )
        else:
            action = _action(sources, row)
            price = round(abs(row.value or 0))
            yield UnderlyingLevel(
                price, name[1] == "above", action, LevelSource.LEVEL_ROW, named(row), candle_minutes=minutes
            )


def _action(sources: Sources, row: LevelRow) -> Action:
    """Without a text it closes the position; with one that is not certain it only alerts."""
    if not row.action_text or row.action in FULL_EXITS:
        return row.action or Action.CLOSE_POSITION
    if row.action is not None and row.action in PERCENT_OF:
        return row.action
    if row.action is not Action.ADJUST:
        sources.note(f"{named(row)}: action {row.action_text!r} closes nothing for certain; the level only alerts")
    return Action.ADJUST


def _of_monitoring(sources: Sources) -> Iterator[UnderlyingLevel]:
    """Support where a falling market hurts the position, resistance where a rising one does."""
    row, setting = sources.inputs.monitoring, sources.inputs.settings.technical
    if row is None or setting is Technical.OFF:
        return
    asked = sources.columns.technical or sources.tree.technical
    action = asked or (Action.CLOSE_POSITION if setting is Technical.CLOSE else Action.ADJUST)
    spot = sources.inputs.spot
    hurts_below, hurts_above = hurting_ways(sources.inputs.position)
    for price, is_above, hurts in ((row.support, False, hurts_below), (row.resistance, True, hurts_above)):
        if price is None or not hurts:
            continue
        name = "resistance" if is_above else "support"
        if spot is not None and (price <= spot if is_above else price >= spot):
            sources.note(
                f"{name} {rupees_text(price)} not used: on the wrong side of the price {rupees_text(spot)} at which the strategy "
                "was made"
            )
            continue
        yield UnderlyingLevel(price, is_above, action, LevelSource.MONITORING, name, candle_minutes=MONITORING_MINUTES)


def _is_near(sources: Sources, level: UnderlyingLevel) -> bool:
    """Whether the price can be one of the underlying: beside the price at which the strategy was made, or the strikes."""
    price = sources.inputs.spot
    if price is None:
        strikes = [leg.instrument.strike for leg in sources.inputs.position.legs if leg.instrument.strike]
        price = round(median(strikes)) if strikes else None
    if price is None or (price <= level.price * _FARTHEST and level.price <= price * _FARTHEST):
        return True
    sources.note(
        f"level of the underlying {rupees_text(level.price)} ({level.source}) not used: expected a price near {rupees_text(price)}"
    )
    return False


def hurting_ways(position: Position) -> tuple[bool, bool]:
    """Whether a falling market makes the position lose at expiry, and whether a rising one does.

    Options count with what they are worth at once, so that legs of several expiries have an answer too. Without the entry
    prices only what grows without end is known; a position of which nothing is known hurts both ways.
    """
    puts = [leg for leg in position.legs if leg.instrument.right is Right.PUT]
    others = [leg for leg in position.legs if leg.instrument.right is not Right.PUT]
    slope_above = sum(leg.units for leg in others)
    premium = position.net_premium
    if premium is None:
        slope_below = sum(leg.units for leg in others if leg.instrument.right is None) - sum(leg.units for leg in puts)
        return slope_below >= 0, slope_above <= 0
    at_zero = premium + sum(leg.units * _bend(leg) for leg in puts)
    far_above = premium - sum(leg.units * _bend(leg) for leg in others)
    return at_zero < 0, slope_above < 0 or (slope_above == 0 and far_above < 0)


def _bend(leg: Leg) -> int:
    """The price, in paise, above which the leg grows with the underlying: the strike; of what has none, 0."""
    return leg.instrument.strike or 0
