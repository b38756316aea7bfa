"""The oracle's plain facts as the monitor's types."""

from __future__ import annotations

from core.model.exit_levels import (
    Action,
    AmountLevel,
    ClockLevel,
    DaysLevel,
    ExitLevels,
    LevelSource,
    TrailingLevel,
)
from core.model.instrument import Instrument, InstrumentKey, Right, Segment
from core.model.position import Leg, Position, Product
from core.model.special_levels import (
    AdjustmentLevel,
    GreekKind,
    GreekLevel,
    LockLevel,
    LockStep,
    ScalingLevel,
    Scope,
    ScopeLimit,
    UnderlyingLevel,
)
from tests.oracle import book
from tests.oracle.limits import Limit

ROW = LevelSource.LEVEL_ROW
RIGHTS = {"CE": Right.CALL, "PE": Right.PUT}


def key_of(text: str) -> InstrumentKey:
    segment, security_id = text.split(":")
    return InstrumentKey(Segment(segment), int(security_id))


def instrument_of(contract: book.Contract) -> Instrument:
    return Instrument(
        key_of(contract.key),
        f"{contract.underlying}-{contract.key}",
        contract.underlying,
        contract.lot,
        5,
        strike=contract.strike or None,
        expiry=contract.expiry,
        right=RIGHTS.get(contract.right),
        underlying_key=key_of(contract.index) if contract.index else None,
    )


def position_of(position: book.Position) -> Position:
    legs = tuple(
        Leg(
            leg.row_id,
            instrument_of(leg.contract),
            Product.MARGIN,
            leg.units,
            leg.entry,
            f"{leg.opened_on}T10:00:00" if leg.opened_on else "",
        )
        for leg in position.legs
    )
    return Position(position.strategy_id, f"S{position.strategy_id}", position.underlying, legs)


def limit_of(limit: Limit) -> ScopeLimit:
    return ScopeLimit(Scope(limit.scope), limit.max_loss, limit.max_profit, limit.daily_loss)


def _amount(amount: int | None) -> AmountLevel | None:
    return None if amount is None else AmountLevel(amount, ROW)


def _days(days: int | None) -> DaysLevel | None:
    return None if days is None else DaysLevel(days, ROW)


def trailing_of(levels: book.Levels) -> TrailingLevel | None:
    if levels.arm is None:
        return None
    return TrailingLevel(levels.arm, levels.distance or 0, ROW, percent_of_peak=levels.distance_share)


def levels_of(levels: book.Levels) -> ExitLevels:
    steps = tuple(LockStep(trigger, floor) for trigger, floor in levels.lock)
    return ExitLevels(
        stop=_amount(levels.stop),
        trailing=trailing_of(levels),
        target=_amount(levels.target),
        target_action=Action(levels.target_action),
        dte=_days(levels.dte),
        theta=_days(levels.theta),
        square_off=None if levels.square_off is None else ClockLevel(levels.square_off, ROW),
        premium_trailing=_amount(levels.premium_trailing),
        lock=LockLevel(steps, ROW) if steps else None,
        scaling=tuple(ScalingLevel(amount, Action(action), ROW) for amount, action in levels.scaling),
        losing_time=_days(levels.losing_time),
        holding=_days(levels.holding),
        underlying=tuple(
            UnderlyingLevel(each.price, each.is_above, Action(each.action), ROW, candle_minutes=each.minutes)
            for each in levels.underlying
        ),
        greeks=tuple(
            GreekLevel(GreekKind(each.kind), each.threshold, Action(each.action), ROW, reference=each.reference)
            for each in levels.greeks
        ),
        adjustment=None if levels.adjustment is None else AdjustmentLevel(*levels.adjustment, ROW),
    )


def plain_of(levels: ExitLevels) -> book.Levels:
    """The other way: what the monitor has read, without sources and notes. References of the entry to nine digits."""
    trailing, adjustment = levels.trailing, levels.adjustment
    share = None if trailing is None else trailing.percent_of_peak
    return book.Levels(
        stop=levels.stop and levels.stop.amount,
        arm=None if trailing is None else trailing.arm,
        distance=None if trailing is None or share is not None else trailing.distance,
        distance_share=None if share is None else round(share),
        target=levels.target and levels.target.amount,
        target_action=levels.target_action.value,
        dte=None if levels.dte is None else levels.dte.days,
        theta=None if levels.theta is None else levels.theta.days,
        square_off=levels.square_off and levels.square_off.at,
        premium_trailing=levels.premium_trailing and levels.premium_trailing.amount,
        lock=tuple((step.trigger, step.floor) for step in levels.lock.steps) if levels.lock else (),
        scaling=tuple((each.amount, each.action.value) for each in levels.scaling),
        losing_time=None if levels.losing_time is None else levels.losing_time.days,
        holding=None if levels.holding is None else levels.holding.days,
        adjustment=None if adjustment is None else (adjustment.first, adjustment.last),
        underlying=tuple(
            book.Underlying(each.price, each.is_above, each.action.value, each.candle_minutes)
            for each in levels.underlying
        ),
        greeks=tuple(
            book.Greek(each.kind.value, round(each.threshold, 9), each.action.value, nine_digits(each.reference))
            for each in levels.greeks
        ),
    )


def nine_digits(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.9g}")
