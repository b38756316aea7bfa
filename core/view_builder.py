"""From the engine and its surroundings to what is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.exits.exit_lifecycle import ExitState
from core.exits.order_plan import closing_side, limit_price, slice_quantity
from core.exits.profit_and_loss import days_to_expiry, pnl_percent
from core.exits.rules import RuleFacts
from core.exits.time_rules import TIME_RULES
from core.model.exit_levels import Action, Urgency
from core.model.money import snap_down, snap_up
from core.model.session_time import ist_datetime
from core.monitor_view import PlannedOrder, PositionView, RuleLine

if TYPE_CHECKING:
    from core.exits.engine import Engine
    from core.exits.position_guard import PositionGuard
    from core.exits.rules import Verdict
    from core.exits.running_exit import RunningExit
    from core.model.events import TimePassed
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord
    from core.position_cache_manager import BookedPosition


def guarded_view(guard: PositionGuard) -> PositionView:
    """A position under guard, without what only `--plan` shows."""
    seen = guard.assessment()
    return PositionView(
        position=guard.booked.position,
        levels=guard.levels,
        state="guarded",
        pnl=seen.pnl,
        pnl_percent=None if seen.pnl_percent is None else float(seen.pnl_percent),
        action=seen.action,
        urgency=seen.urgency,
        reason=seen.reason,
    )


def planned_view(guard: PositionGuard, engine: Engine, now: TimePassed) -> PositionView:
    """The same with its rules, the orders of a full exit, and what the calendar or the clock would close at once."""
    view = guarded_view(guard)
    position = view.position
    rules = tuple(
        RuleLine(
            t.rule.value,
            t.level,
            t.pnl,
            one_leg_price(position, t.pnl, is_loss=not t.is_above),
            "" if t.source is None else t.source.value,
        )
        for t in guard.thresholds()
    )
    view = replace(view, rules=rules, orders=planned_orders(guard.booked, engine))
    due = _due_by_time(guard, now) if now.session_open is True else None
    if due is None:
        return view
    return replace(view, action=due.action, urgency=due.urgency, reason=f"{due.reason}: closed at once by a start now")


def _due_by_time(guard: PositionGuard, now: TimePassed) -> Verdict | None:
    ist = ist_datetime(now.utc_ns)
    days = days_to_expiry(guard.booked.position, ist.date())
    facts = RuleFacts(guard.levels, guard.peak, days, ist.time(), now.is_trading_day)
    return next((verdict for rule in TIME_RULES if (verdict := rule.check(facts)) is not None), None)


def exiting_views(engine: Engine) -> tuple[PositionView, ...]:
    """Exits under way, by strategy id."""
    return tuple(_exiting(running, engine) for running in sorted(engine.unresolved, key=lambda r: r.strategy_id))


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


def one_leg_price(position: Position, pnl: Paise | None, *, is_loss: bool) -> Paise | None:
    """The mark (paise per unit) at which a rule on this P&L fires for a one-leg position; None for other positions.

    It is on the tick grid, the first price there at which the P&L is at or below the line for a loss rule, at or above
    it for a profit rule.
    """
    if pnl is None or len(position.legs) != 1:
        return None
    leg = position.legs[0]
    if leg.entry is None:
        return None
    # A falling price makes a loss on bought units and a profit on sold ones.
    fires_falling = is_loss is (leg.units > 0)
    if fires_falling:
        return snap_down(leg.entry + pnl // leg.units, leg.instrument.tick)
    return snap_up(leg.entry - (-pnl // leg.units), leg.instrument.tick)


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
