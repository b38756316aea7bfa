"""From the engine and its surroundings to what is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.exits.exit_lifecycle import ExitState
from core.exits.explain import NOTHING_FIRES
from core.exits.explain_comparisons import State
from core.exits.profit_and_loss import pnl_percent
from core.model.exit_levels import Action, Urgency
from core.monitor_view import PositionView
from core.plan_standing import AT_THE_NEXT_TICK, DUE_NOW, due_by_time, why_unprotected
from core.position_plan import orders_of, plan_of, quotes_of

if TYPE_CHECKING:
    from core.exits.engine import Engine
    from core.exits.position_guard import PositionGuard
    from core.exits.running_exit import RunningExit
    from core.model.money import Paise
    from core.model.position import Position
    from core.model.signals import ExitRecord
    from core.position_plan import PlanSources


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


def planned_view(guard: PositionGuard, sources: PlanSources) -> PositionView:
    """The same with its plan, the orders of a full exit, and what the calendar or the clock would close at once."""
    now, booked = sources.now, guard.booked
    orders, plan = orders_of(booked.position, quotes_of(booked), sources.ladder), plan_of(guard, sources)
    why = why_unprotected(guard, plan, now)
    view = replace(guarded_view(guard), orders=orders, plan=plan, unprotected=why)
    if now.session_open is True:
        # The engine of a plan is stopped: what stands beyond its line, or is due, would long be under way.
        due = next(iter(due_by_time(guard, now)), None)
        fires = next(
            (line for line in plan.rules if line.state == State.BREACHED and line.now == AT_THE_NEXT_TICK), None
        )
        if due is not None:
            return replace(view, action=due.action, urgency=due.urgency, reason=f"{due.reason}: {DUE_NOW}")
        if fires is not None:
            return replace(view, reason=f"{fires.rule}, {fires.level}: {fires.now}")
    if why and view.reason == NOTHING_FIRES:
        return replace(view, urgency=Urgency.HIGH, reason=f"unprotected: {why}")
    return view


def exiting_views(engine: Engine) -> tuple[PositionView, ...]:
    """Exits under way, by strategy id."""
    return tuple(_exiting(running, engine) for running in sorted(engine.unresolved, key=lambda r: r.strategy_id))


def _exiting(running: RunningExit, engine: Engine) -> PositionView:
    booked = engine.cache.get(running.strategy_id)
    pnl = None if booked is None else booked.pnl
    halted = running.state is ExitState.HALTED
    progress = ", ".join(
        f"{leg.side.value} {leg.filled}/{abs(leg.leg.units)} {leg.leg.instrument.dated_symbol}" for leg in running.legs
    )
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
