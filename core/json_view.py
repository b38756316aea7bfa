"""The one JSON document of `--once` and `--plan`. Amounts in rupees, times ISO with offset, null where not known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from core.decision_record import leg_line
from core.exit_records import compared, in_rupees, line_of
from core.model.exit_levels import UNITS, Rule, Unit
from core.model.session_time import ist_datetime

if TYPE_CHECKING:
    from datetime import date

    from core.exits.payoff import Payoff
    from core.model.position import Leg
    from core.monitor_view import MonitorView, PlannedOrder, PositionView, RuleLine, Shocks

PERCENT: Final = 100
UNIT_WORDS: Final = {Unit.PAISE: "rupees", Unit.DAYS: "days", Unit.TEN_THOUSANDTHS: "number", Unit.NONE: None}


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
        "not_read": [{"strategy_id": each, "problem": problem} for each, problem in view.not_read],
        "not_found": list(view.not_found),
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
    return content | _plan(view)


def _plan(view: PositionView) -> dict[str, object]:
    levels, plan = view.levels, view.plan
    content: dict[str, object] = {
        "max_profit": None if levels is None else in_rupees(levels.max_profit),
        "max_loss": None if levels is None else in_rupees(levels.max_loss),
        "notes": [] if levels is None else list(levels.notes),
        "rules": [] if plan is None else [_rule(line) for line in plan.rules],
        "orders": [_order(order) for order in view.orders],
        "unprotected": view.unprotected or None,
    }
    if plan is None:
        return content
    return content | {
        "realised": in_rupees(plan.realised),
        "payoff": _payoff(plan.payoff),
        "underlying_price": in_rupees(plan.underlying_price),
        "underlying": plan.underlying,
        "shares": [
            {
                "action": share.action,
                "problem": share.problem or None,
                "orders": [_order(each) for each in share.orders],
            }
            for share in plan.shares
        ],
        "greeks": _greeks(plan.shocks),
        "shocks": [
            {
                "spot_percent": each.spot_percent,
                "volatility_percent": each.volatility_percent,
                "pnl": None if each.pnl is None or plan.realised is None else in_rupees(each.pnl + plan.realised),
            }
            for each in plan.shocks.grid
        ],
        "shocks_problem": plan.shocks.problem or None,
        "told": list(plan.told),
        "quotes": [leg_line(each) for each in plan.legs],
    }


def _rule(line: RuleLine) -> dict[str, object]:
    rule = Rule(line.rule)
    return {
        "rule": line.rule,
        "level": line.level,
        "pnl": in_rupees(line.pnl),
        "price": in_rupees(line.price),
        "source": line.source,
        "threshold": compared(rule, line.threshold),
        "observed": compared(rule, line.observed),
        "unit": UNIT_WORDS[UNITS.get(rule, Unit.PAISE)],
        "state": line.state,
        "now": line.now,
        "action": line.action,
        "closes": line.closes,
        "name": line.name or None,
        "note": line.note,
    }


def _order(order: PlannedOrder) -> dict[str, object]:
    return {
        "phase": order.phase,
        "side": order.side,
        "quantity": order.quantity,
        "symbol": order.symbol,
        "expiry": _day(order.expiry),
        "limit": in_rupees(order.limit),
        "lots": order.quantity / order.lot,
    }


def _payoff(payoff: Payoff) -> dict[str, object]:
    breakevens = payoff.breakevens
    return {
        "max_profit": in_rupees(payoff.max_profit),
        "max_loss": in_rupees(payoff.max_loss),
        "is_profit_unlimited": payoff.is_profit_unlimited,
        "is_loss_unlimited": payoff.is_loss_unlimited,
        "breakevens": None if breakevens is None else [in_rupees(each) for each in breakevens],
        "note": payoff.note or None,
        "assumption": payoff.assumption or None,
    }


def _greeks(shocks: Shocks) -> dict[str, object]:
    """Delta in units of the underlying, gamma for a rupee, theta and vega in rupees, volatility in per cent a year."""
    greeks = shocks.greeks
    total = None if greeks is None else greeks.total
    return {
        "delta": None if total is None else total.delta,
        "gamma": None if total is None else total.gamma,
        "theta_per_day": None if total is None else in_rupees(round(total.theta)),
        "vega_per_point": None if total is None else in_rupees(round(total.vega)),
        "implied_volatility": None if greeks is None or greeks.iv is None else PERCENT * greeks.iv,
        "problem": shocks.problem or None,
    }


def _leg(leg: Leg) -> dict[str, object]:
    return {
        "security_id": leg.instrument.key.security_id,
        "exchange_segment": leg.instrument.key.segment.value,
        "symbol": leg.instrument.symbol,
        "expiry": _day(leg.instrument.expiry),
        "product_type": leg.product.value,
        "units": leg.units,
        "entry": in_rupees(leg.entry),
    }


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _time(utc_ns: int) -> str:
    return ist_datetime(utc_ns).isoformat(timespec="milliseconds")
