"""What a run has come to, position by position."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from core.model.session_time import NS_PER_S
from core.recording.replay_result import Curve, PositionOutcome, RunOutcome, SeenExit, SeenFill, known_sum

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from core.recording.player import Played
    from core.recording.replay_account import Fill
    from core.recording.replay_run import Decided, ReplayRun

_WAITED_S = 0.001


def outcome_of(run: ReplayRun, played: Played, took_s: float) -> RunOutcome:
    """Of a run that was played to its end."""
    fills: dict[str, list[Fill]] = defaultdict(list)
    for fill in run.account.fills:
        fills[fill.exit_id].append(fill)
    return RunOutcome(
        positions=tuple(_position(run, strategy_id, fills) for strategy_id in sorted(run.positions)),
        from_utc_ns=played.from_utc_ns,
        to_utc_ns=played.to_utc_ns,
        ticks=run.ticks,
        packets=played.packets,
        took_s=took_s,
        alerts=tuple(run.alerts),
        notes=tuple(played.notes),
        recorded=tuple(played.recorded),
    )


def _position(run: ReplayRun, strategy_id: int, fills: Mapping[str, list[Fill]]) -> PositionOutcome:
    position = run.positions[strategy_id]
    own = [(key, each) for key, each in run.decided.items() if each.started.position.strategy_id == strategy_id]
    exits = tuple(_exit(decided, fills.get(exit_id, ())) for exit_id, decided in own)
    booked = run.engine.cache.get(strategy_id)
    curve = run.curves.of.get(strategy_id, Curve())
    if exits:
        curve.at_exit = exits[-1].signal.pnl
    finished = [seen.realised for seen in exits if seen.finished_utc_ns is not None]
    parts = list(finished)
    if booked is not None:
        parts.append(booked.open_pnl)
    if strategy_id in run.gone:
        parts.append(run.gone[strategy_id])
    return PositionOutcome(
        strategy_id=strategy_id,
        name=position.strategy_name,
        underlying=position.underlying,
        is_open=booked is not None,
        result=known_sum(parts),
        realised=known_sum(finished),
        exits=exits,
        curve=curve,
        unprotected=tuple(each for each in run.ledger.found if each.strategy_id == strategy_id),
    )


def _exit(decided: Decided, fills: Iterable[Fill]) -> SeenExit:
    started, record = decided.started, decided.record
    symbols = {leg.instrument.key: leg.instrument.symbol for leg in started.position.legs}
    seen = []
    for fill in fills:
        waited_s = (fill.at_ns - decided.at_ns) / NS_PER_S
        waited_s = waited_s if waited_s > _WAITED_S else 0.0
        seen.append(SeenFill(symbols[fill.key], fill.side.value, fill.units, fill.price, fill.note, waited_s))
    return SeenExit(
        strategy_id=started.position.strategy_id,
        name=started.position.strategy_name,
        signal=started.signal,
        decided_utc_ns=decided.utc_ns,
        finished_utc_ns=decided.finished_utc_ns,
        realised=None if record is None else record.realised_pnl,
        fills=tuple(seen),
    )
