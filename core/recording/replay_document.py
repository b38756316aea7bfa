"""What a replay prints for a machine: one JSON document. Amounts in rupees, times ISO with offset, null where not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.exit_records import compared, in_rupees
from core.model.session_time import ist_datetime
from core.recording.replay_result import differences, known_sum, twin_of

if TYPE_CHECKING:
    from core.recording.replay_result import Difference, PositionOutcome, RunOutcome, SeenExit, SeenFill


def document_of(name: str, base: RunOutcome, other: RunOutcome | None) -> str:
    content: dict[str, Any] = {"recording": name, **_run(base)}
    if other is not None:
        found = differences(base, other)
        content["other_levels"] = {
            **_run(other),
            "differences": [_difference_entry(each) for each in found],
            "difference": in_rupees(known_sum(each.change for each in found)),
        }
    return json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)


def _run(run: RunOutcome) -> dict[str, Any]:
    return {
        "from": _iso(run.from_utc_ns),
        "to": _iso(run.to_utc_ns),
        "quotes": run.ticks,
        "packets": run.packets,
        "took_s": round(run.took_s, 3),
        "result": in_rupees(run.total),
        "exits": [_exit_entry(seen) for seen in run.exits],
        "positions": [_position_entry(position) for position in run.positions],
        "recorded_decisions": [
            {
                "strategy_id": decision.strategy_id,
                "rule": decision.rule,
                "time": _iso(decision.at_utc_ns),
                "is_replayed": twin_of(decision, run.exits) is not None,
            }
            for decision in run.recorded
        ],
        "alerts": [
            {"severity": alert.severity.value, "subject": alert.subject, "text": alert.text} for alert in run.alerts
        ],
        "notes": list(run.notes),
    }


def _exit_entry(seen: SeenExit) -> dict[str, Any]:
    signal = seen.signal
    return {
        "time": _iso(seen.decided_utc_ns),
        "strategy_id": seen.strategy_id,
        "strategy_name": seen.name,
        "rule": signal.rule.value,
        "action": signal.action.value,
        "threshold": compared(signal.rule, signal.threshold),
        "observed": compared(signal.rule, signal.observed),
        "pnl": in_rupees(signal.pnl),
        "reason": signal.reason,
        "finished": None if seen.finished_utc_ns is None else _iso(seen.finished_utc_ns),
        "realised_pnl": in_rupees(seen.realised),
        "fills": [_fill_entry(fill) for fill in seen.fills],
    }


def _fill_entry(fill: SeenFill) -> dict[str, Any]:
    return {
        "symbol": fill.symbol,
        "side": fill.side,
        "units": fill.units,
        "price": in_rupees(fill.price),
        "waited_s": round(fill.waited_s, 3),
        "note": fill.note,
    }


def _position_entry(position: PositionOutcome) -> dict[str, Any]:
    curve = position.curve
    return {
        "strategy_id": position.strategy_id,
        "strategy_name": position.name,
        "symbol": position.underlying,
        "is_open": position.is_open,
        "result": in_rupees(position.result),
        "realised_pnl": in_rupees(position.realised),
        "curve": {
            "min": in_rupees(curve.low),
            "max": in_rupees(curve.high),
            "last": in_rupees(curve.last),
            "at_exit": in_rupees(curve.at_exit),
            "points": [[_iso(utc_ns), in_rupees(pnl)] for utc_ns, pnl in curve.points],
        },
        "unprotected": [
            {
                "from": _iso(each.from_utc_ns),
                "to": None if each.to_utc_ns is None else _iso(each.to_utc_ns),
                "reason": each.reason,
                "legs": list(each.legs),
            }
            for each in position.unprotected
        ],
    }


def _difference_entry(each: Difference) -> dict[str, Any]:
    return {
        "strategy_id": each.strategy_id,
        "strategy_name": each.name,
        "in_force": in_rupees(each.base),
        "other_levels": in_rupees(each.other),
        "difference": in_rupees(each.change),
    }


def _iso(utc_ns: int) -> str:
    return ist_datetime(utc_ns).isoformat(timespec="milliseconds")
