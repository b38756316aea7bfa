"""From the engine and its surroundings to what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.exits.exit_lifecycle import ExitState
from core.exits.order_plan import closing_side, limit_price, slice_quantity
from core.exits.profit_and_loss import pnl_percent
from core.model.exit_levels import Action, Urgency
from core.monitor_view import PlannedOrder, PositionView, RuleLine

if TYPE_CHECKING:
    from core.exits.engine import Engine
    from core.exits.position_guard import PositionGuard
    from core.exits.running_exit import RunningExit
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord
    from core.position_cache_manager import BookedPosition


def position_views(engine: Engine) -> tuple[PositionView, ...]:
    """Guarded positions, then exits under way, each by strategy id."""
    guarded = [_guarded(guard, engine) for _, guard in sorted(engine.guards.items())]
    exiting = [_exiting(running, engine) for running in sorted(engine.unresolved, key=lambda r: r.strategy_id)]
    return (*guarded, *exiting)


def _guarded(guard: PositionGuard, engine: Engine) -> PositionView:
    seen = guard.assessment()
    position = guard.booked.position
    return PositionView(
        position=position,
        levels=guard.levels,
        state="guarded",
        pnl=seen.pnl,
        pnl_percent=None if seen.pnl_percent is None else float(seen.pnl_percent),
        action=seen.action,
        urgency=seen.urgency,
        reason=seen.reason,
        rules=tuple(
            RuleLine(t.rule.value, t.level, t.pnl, one_leg_price(position, t.pnl), t.source.value)
            for t in guard.thresholds()
        ),
        orders=planned_orders(guard.booked, engine),
    )


def _exiting(running: RunningExit, engine: Engine) -> PositionView:
    booked = engine.cache.get(running.strategy_id)
    pnl = None if booked is None else booked.pnl
    halted = running.state is ExitState.HALTED
    progress = ", ".join(f"{leg.side.value} {leg.filled}/{abs(leg.leg.units)}" for leg in running.legs)
    reason = f"{running.signal.reason} ({progress})"
    return PositionView(
        position=running.position,
        levels=None,
        state="halted" if halted else "exiting",
        pnl=pnl,
        pnl_percent=_percent(pnl, running.position),
        action=running.signal.action,
        urgency=Urgency.HIGH if halted else running.signal.urgency,
        reason=f"{reason}: {running.halted_reason}" if halted else reason,
    )


def exited_view(record: ExitRecord, position: Position) -> PositionView:
    return PositionView(
        position=position,
        levels=None,
        state="exited",
        pnl=record.realised_pnl,
        pnl_percent=_percent(record.realised_pnl, position),
        action=Action.HOLD,
        urgency=Urgency.NORMAL,
        reason=record.reason,
    )


def _percent(pnl: Paise | None, position: Position) -> float | None:
    share = pnl_percent(pnl, position.net_premium)
    return None if share is None else float(share)


def one_leg_price(position: Position, pnl: Paise | None) -> Paise | None:
    """The mark (paise per unit) at which a one-leg position has this P&L; None for spreads and unknown entries.

    A price between two paise is given as the one further from the entry, where the rule has fired.
    """
    if pnl is None or len(position.legs) != 1:
        return None
    leg = position.legs[0]
    if leg.entry is None:
        return None
    exact = pnl / leg.units
    whole = int(exact)
    away = whole if whole == exact else whole + (1 if exact > 0 else -1)
    return leg.entry + away


def planned_orders(booked: BookedPosition, engine: Engine) -> tuple[PlannedOrder, ...]:
    """What an exit would send now: shorts first, in freeze slices, at the first rung of the ladder."""
    orders = []
    has_short = any(leg.units < 0 for leg in booked.position.legs)
    for index, leg in enumerate(booked.position.legs):
        side = closing_side(leg.units)
        quote = booked.quote_of(index)
        ladder = engine.desk.settings.ladder
        limit = None if quote is None else limit_price(side, quote, leg.instrument, 0, ladder)
        left = abs(leg.units)
        while left:
            quantity = slice_quantity(left, leg.instrument)
            phase = 2 if has_short and leg.units > 0 else 1
            orders.append(PlannedOrder(phase, side.value, quantity, leg.instrument.symbol, limit))
            left -= quantity
    return tuple(sorted(orders, key=lambda order: order.phase))
