"""The monitor's view of itself, put together from its parts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from core.connection_view import connection_of
from core.exits.explain_around import around_of
from core.model.session_time import NS_PER_S
from core.monitor_view import MonitorView, Statistics
from core.position_plan import PlanSources
from core.view_builder import exited_view, exiting_views, guarded_view, planned_view

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model.memory import ToldLevel
    from core.monitor_parts import Parts
    from core.monitor_view import PositionView

_STEP: Final = 50


def view_of(parts: Parts, started_ns: int) -> MonitorView:
    """The view of this moment. `--plan` gets the rules and the orders too, which cost three times as much."""
    guards = [guard for _, guard in sorted(parts.engine.guards.items())]
    if parts.options.plan:
        sources = _plan_sources(parts)
        return _view(parts, started_ns, [planned_view(guard, sources) for guard in guards])
    return _view(parts, started_ns, [guarded_view(guard) for guard in guards])


def unseen_of(parts: Parts) -> frozenset[int]:
    """The strategies of `--positions` that no read has brought, and of which no exit is under way or was finished."""
    exiting = {running.strategy_id for running in parts.engine.unresolved}
    return parts.keeper.unseen - exiting - {record.strategy_id for record in parts.engine.finished}


def _plan_sources(parts: Parts) -> PlanSources:
    engine = parts.engine

    def told_of(strategy_id: int) -> tuple[ToldLevel, ...]:
        memory = engine.memory_of(strategy_id)
        return () if memory is None else memory.told

    return PlanSources(
        now=parts.timer.now(),
        ladder=engine.desk.settings.ladder,
        quote_of=parts.price_cache.quote,
        around=lambda guard, at_ns: around_of(engine.judges, guard, at_ns),
        told_of=told_of,
    )


async def view_in_steps(parts: Parts, started_ns: int) -> MonitorView:
    """The same, without `--plan`, letting the ticks through between steps: a large book takes longer than one may wait."""
    engine = parts.engine
    views: list[PositionView] = []
    for strategy_id in sorted(engine.guards):
        guard = engine.guards.get(strategy_id)
        if guard is not None:
            views.append(guarded_view(guard))
        if len(views) % _STEP == 0:
            await asyncio.sleep(0)
    return _view(parts, started_ns, [view for view in views if view.position.strategy_id in engine.guards])


def _view(parts: Parts, started_ns: int, guarded: Sequence[PositionView]) -> MonitorView:
    # What exits, or began to exit meanwhile, is shown as that, also while the rest of it is guarded beside the exit of a share.
    exiting = {running.strategy_id for running in parts.engine.unresolved}
    still = [view for view in guarded if view.position.strategy_id not in exiting]
    positions = (*still, *exiting_views(parts.engine), *_exited(parts))
    shown = {each.position.strategy_id for each in positions}
    # A position without one of its level rows is guarded all the same; without a trade row it is not, or not wholly.
    not_read: list[tuple[int, str]] = []
    set_aside: list[str] = []
    for error in parts.keeper.set_aside:
        if error.table != "trades" and error.strategy_id is not None and error.strategy_id in shown:
            not_read.append((error.strategy_id, str(error)))
        else:
            set_aside.append(str(error))
    return MonitorView(
        mode=parts.mode,
        utc_ns=parts.clock.utc_ns(),
        positions=positions,
        connection=connection_of(parts),
        statistics=_statistics(parts, started_ns),
        set_aside=tuple(set_aside),
        finished=tuple(parts.engine.finished),
        alerts=tuple(parts.runner.alerts),
        not_read=tuple(not_read),
        not_found=tuple(sorted(unseen_of(parts))),
        unwritten=tuple(f"{x.strategy_name} #{x.strategy_id}" for x in parts.engine.desk.unwritten.values()),
    )


def _exited(parts: Parts) -> list[PositionView]:
    """Positions exited in this run whose rows the store still lists: simulation never closes them."""
    shown = parts.engine.guards.keys() | {running.strategy_id for running in parts.engine.unresolved}
    views = []
    for record in parts.engine.finished:
        booked = parts.keeper.known.get(record.strategy_id)
        if booked is not None and record.strategy_id not in shown:
            views.append(exited_view(record, booked.position))
    return views


def _statistics(parts: Parts, started_ns: int) -> Statistics:
    feed = None if parts.feed is None else parts.feed.status
    known = [record.realised_pnl for record in parts.engine.finished]
    realised = [pnl for pnl in known if pnl is not None]
    return Statistics(
        uptime_s=(parts.clock.monotonic_ns() - started_ns) / NS_PER_S,
        positions=len(parts.engine.guards.keys() | {running.strategy_id for running in parts.engine.unresolved}),
        price_updates=parts.price_cache.counts.taken,
        corrupt_packets=0 if feed is None else feed.corrupt,
        dropped_prices=parts.cache.absurd + parts.cache.late + (0 if feed is None else feed.bad_prices),
        rest_fetches=parts.fetcher.counts.requests,
        trade_updates=parts.keeper.changes_seen,
        signals=parts.engine.counts.signals,
        exits_finished=parts.engine.counts.exits_finished,
        exits_unresolved=len(parts.engine.unresolved),
        alerts=parts.runner.alert_count,
        realised_pnl=sum(realised) if len(realised) == len(known) else None,
    )
