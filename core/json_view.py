"""The one JSON document of `--once` and `--plan`. Amounts in rupees, times ISO with offset, null where not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from core.exit_records import in_rupees, line_of
from core.model.session_time import ist_datetime

if TYPE_CHECKING:
    from core.model.position import Leg
    from core.monitor_view import MonitorView, PositionView


def document(view: MonitorView, *, with_plan: bool) -> str:
    """The view as JSON text. `with_plan` adds each position's rules, levels and planned orders."""
    connection, statistics = view.connection, view.statistics
    content = {
        "mode": view.mode.value,
        "time": _time(view.utc_ns),
        "positions": [_position(each, with_plan=with_plan) for each in view.positions],
        "connection": {name: getattr(connection, name) for name in type(connection).__dataclass_fields__},
        "statistics": {
            **{name: getattr(statistics, name) for name in type(statistics).__dataclass_fields__},
            "realised_pnl": in_rupees(statistics.realised_pnl),
        },
        "set_aside": list(view.set_aside),
        "exits": [line_of(record) for record in view.finished],
        "alerts": [
            {"severity": alert.severity.value, "subject": alert.subject, "text": alert.text} for alert in view.alerts
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)


def _position(view: PositionView, *, with_plan: bool) -> dict[str, object]:
    position = view.position
    content: dict[str, object] = {
        "strategy_id": position.strategy_id,
        "strategy_name": position.strategy_name,
        "symbol": position.underlying,
        "state": view.state,
        "pnl": in_rupees(view.pnl),
        "pnl_percent": view.pnl_percent,
        "action": view.action.value,
        "urgency": view.urgency.value,
        "reason": view.reason,
        "legs": [_leg(leg) for leg in position.legs],
    }
    if not with_plan:
        return content
    levels = view.levels
    return content | {
        "max_profit": None if levels is None else in_rupees(levels.max_profit),
        "max_loss": None if levels is None else in_rupees(levels.max_loss),
        "notes": [] if levels is None else list(levels.notes),
        "rules": [
            {
                "rule": line.rule,
                "level": line.level,
                "pnl": in_rupees(line.pnl),
                "price": in_rupees(line.price),
                "source": line.source,
            }
            for line in view.rules
        ],
        "orders": [
            {
                "phase": order.phase,
                "side": order.side,
                "quantity": order.quantity,
                "symbol": order.symbol,
                "limit": in_rupees(order.limit),
            }
            for order in view.orders
        ],
    }


def _leg(leg: Leg) -> dict[str, object]:
    return {
        "security_id": leg.instrument.key.security_id,
        "exchange_segment": leg.instrument.key.segment.value,
        "symbol": leg.instrument.symbol,
        "product_type": leg.product.value,
        "units": leg.units,
        "entry": in_rupees(leg.entry),
    }


def _time(utc_ns: int) -> str:
    return ist_datetime(utc_ns).isoformat(timespec="milliseconds")
