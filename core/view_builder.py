"""From the engine and its surroundings to what is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from core.exits.exit_lifecycle import ExitState
from core.exits.profit_and_loss import days_to_expiry, pnl_percent
from core.exits.rules import RuleFacts
from core.exits.time_rules import TIME_RULES
from core.model.exit_levels import Action, Urgency
from core.model.session_time import ist_datetime
from core.monitor_view import PositionView
from core.position_plan import orders_of, plan_of, quotes_of

if TYPE_CHECKING:
    from core.exits.engine import Engine
    from core.exits.position_guard import PositionGuard
    from core.exits.rules import Verdict
    from core.exits.running_exit import RunningExit
    from core.model.events import TimePassed
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
    orders = orders_of(booked.position, quotes_of(booked), sources.ladder)
    view = replace(guarded_view(guard), orders=orders, plan=plan_of(guard, sources))
    due = _due_by_time(guard, now) if now.session_open is True else None
    if due is None:
        return view
    return replace(view, action=due.action, urgency=due.urgency, reason=f"{due.reason}: closed at once by a start now")


def _due_by_time(guard: PositionGuard, now: TimePassed) -> Verdict | None:
    ist = ist_datetime(now.utc_ns)
    position, today = guard.booked.position, ist.date()
    opened = None if guard.levels.holding is None else position.opened_on
    facts = RuleFacts(
        guard.levels,
        guard.peak,
        days_to_expiry(position, today),
        ist.time(),
        now.is_trading_day,
        None if opened is None else (today - opened).days,
    )
    return next((verdict for rule in TIME_RULES if (verdict := rule.check(facts)) is not None), None)


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
