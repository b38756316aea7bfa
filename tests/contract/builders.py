"""Rows as other programs write them, and the record of an exit."""

from __future__ import annotations

from typing import Any, Final

from core.model.exit_levels import Action, Rule
from core.model.orders import Side
from core.model.signals import ExitRecord, Latency, LegExecution, Mode

FINISHED_NS: Final = 1_795_158_000_123_000_000
FINISHED: Final = "2026-11-20T12:30:00.123+05:30"


def trade(row_id: int, strategy_id: int, **other: Any) -> dict[str, Any]:
    return {
        "new_id": row_id,
        "strategy_id": strategy_id,
        "order_id": f"E{row_id}",
        "security_id": 49081,
        "exchange_segment": "NSE_FNO",
        "symbol": "NIFTY",
        "type": "CE",
        "strategy": "Short Call",
        "action": "SELL",
        "quantity": 65,
        "price": "120.05",
        "strike_price": "24000",
        "expiry_date": "2026-11-24",
        "order_status": "open",
        "timestamp": "2026-11-20T09:20:00",
        "product_type": "MARGIN",
    } | other


def strategy(strategy_id: int, **other: Any) -> dict[str, Any]:
    return {
        "id": strategy_id,
        "stock_name": "NIFTY",
        "strategy_name": "Short Call",
        "strategy_type": "Neutral",
        "spread_type": "NET_CREDIT",
    } | other


def risk(strategy_id: int, **other: Any) -> dict[str, Any]:
    return {"strategy_id": strategy_id, "trailing_stop": "500"} | other


def level(level_id: int, strategy_id: int, **other: Any) -> dict[str, Any]:
    return {
        "id": level_id,
        "strategy_id": strategy_id,
        "exit_type": "stop_loss",
        "level_name": "primary",
        "trigger_value": "3000",
        "trigger_type": "price",
        "action": "Close entire position",
    } | other


def monitoring(strategy_id: int, **other: Any) -> dict[str, Any]:
    return {"strategy_id": strategy_id, "support_level": "23900.05", "iv_upper_limit": "40"} | other


def planned(strategy_id: int, **other: Any) -> dict[str, Any]:
    return {
        "strategy_id": strategy_id,
        "option_type": "CE",
        "strike_price": "24000.05",
        "expiry_date": "2026-11-24",
        "gamma": "0.00024",
        "vega": "17.5",
        "implied_volatility": "13.25",
    } | other


def leg(
    row_id: int, price: int | None = 163_05, order_ids: tuple[str, ...] = ("112", "113"), filled: int = 65
) -> LegExecution:
    return LegExecution(row_id, 49081, "NIFTY-CE", Side.BUY, 65, filled, price, order_ids)


def exit_of(
    strategy_id: int,
    *legs: LegExecution,
    exit_id: str = "exit-1",
    reason: str = "stop hit",
    action: Action = Action.CLOSE_POSITION,
) -> ExitRecord:
    return ExitRecord(
        exit_id=exit_id,
        strategy_id=strategy_id,
        symbol="NIFTY",
        strategy_name="Short Call",
        action=action,
        reason=reason,
        rule=Rule.STOP_LOSS,
        threshold=-3_000_00,
        observed=-3_052_50,
        legs=legs,
        realised_pnl=-3_052_50,
        latency=Latency(),
        mode=Mode.LIVE,
        finished_at_ns=FINISHED_NS,
    )
