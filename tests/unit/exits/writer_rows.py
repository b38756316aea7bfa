"""Rows as the strategy builder writes them, from nothing but its own max profit and max loss. Rupees.

Written from its data: which keys there are, what it stores where a number is infinite, which words stand in the action.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from core.model.trade_rows import LevelRow, RiskRow
from core.stores.rows import read_level, read_risk

CATEGORIES = {
    "directional": (0.5, 0.5, 7),
    "neutral": (0.25, 0.5, 21),
    "volatility": (0.75, 0.5, 10),
    "income": (0.5, 2.0, 21),
}


@dataclass(frozen=True)
class Written:
    risk: RiskRow
    levels: tuple[LevelRow, ...]
    tree: dict[str, object]

    @property
    def inputs(self):
        return {"risk": self.risk, "rows": self.levels}


def tree_of(category: str, max_profit: float, max_loss: float, *, is_credit: bool = False) -> dict[str, object]:
    """`math.inf` is unlimited."""
    share, stop_share, days = CATEGORIES[category]
    return {
        "profit_targets": _profits(category, max_profit, share),
        "stop_losses": _losses(max_loss, stop_share, days, is_credit=is_credit),
        "time_exits": {
            "primary_dte": days,
            "theta_decay_threshold": {"dte": days, "action": "Close if not profitable", "reasoning": "Theta decay accelerates"},
            "time_decay_levels": {"50%_time_passed": "Consider closing if at profit"},
        },
        "greek_triggers": {
            "gamma": {"threshold": 0.0033, "condition": "Gamma risk doubles", "action": "Reduce position or hedge"},
            "theta": {"condition": "Theta income < expected", "action": "Evaluate for better opportunities"},
            "vega": {"condition": "IV expands > 50%", "action": "Consider closing short vol positions"},
        },
        "adjustment_triggers": {"defensive": {}, "rolling": {"spread_roll": {"trigger": "Near expiry with profit"}}},
        "monitoring": {"frequency": "Daily", "alerts": {"price_alerts": ["At short strike"]}},
        "specific_conditions": {},
    }  # fmt: skip


def written(category: str, max_profit: float, max_loss: float, *, is_credit: bool = False) -> Written:
    """Everything the builder stores for one strategy, read back by the store's own readers."""
    tree = tree_of(category, max_profit, max_loss, is_credit=is_credit)
    profits, losses = tree["profit_targets"], tree["stop_losses"]
    primary, stop = profits["primary"], losses["primary"]
    trailing = profits.get("trailing", {})
    row = {
        "strategy_id": 1,
        "max_capital_at_risk": f"{0 if math.isinf(max_loss) else max_loss:.2f}",
        "strategy_level_stop": stop.get("loss_pct", 50),
        "trailing_stop": f"{trailing.get('trail_by', 0):.2f}",
        "trailing_stop_activation": f"{trailing.get('activate_at', 0):.2f}",
        "profit_target_primary": f"{_number(primary['target']):.2f}",
        "profit_target_pct": primary.get("target_pct", 50),
        "time_stop_dte": tree["time_exits"]["primary_dte"],
        "scaling_exits": json.dumps(profits["scaling"]),
        "technical_stops": json.dumps(losses.get("technical", {})),
        "greek_triggers": json.dumps(tree["greek_triggers"]),
        "adjustment_criteria": json.dumps(tree["adjustment_triggers"]),
        "exit_conditions": json.dumps(tree),
    }
    return Written(read_risk(row), tuple(_levels(profits, stop, tree["time_exits"]["primary_dte"])), tree)


def _profits(category, max_profit, share):
    if math.isinf(max_profit):
        return {
            "primary": {"target": "50-100% of debit paid", "action": "Close position", "reasoning": "Capture gains"},
            "scaling": {
                "level_1": "50% profit - close half position",
                "level_2": "100% profit - close 75% position",
                "level_3": "Trail stop on remainder",
            },
        }
    return {
        "primary": {
            "target": max_profit * share,
            "target_pct": share * 100,
            "action": "Close 50%" if category == "directional" else "Close entire position",
            "theta_adjusted": True,
        },
        "scaling": {
            f"level_{n}": {"profit": max_profit * n / 4, "action": f"Close {25 * n}%"} for n in (1, 2, 3)
        },
        "trailing": {"activate_at": max_profit * share, "trail_by": max_profit * 0.1},
    }  # fmt: skip


def _losses(max_loss, stop_share, days, *, is_credit):
    if math.isinf(max_loss):
        trigger = f"{stop_share}x credit received" if is_credit else "2x debit paid"
        return {"primary": {"trigger": trigger, "action": "Close position immediately", "type": "Credit-based stop"}}
    stop = max_loss * stop_share
    return {
        "primary": {"loss_amount": stop, "loss_pct": stop_share * 100, "action": "Close entire position"},
        "technical": {
            "support_resistance": "Exit if key levels broken",
            "trend_reversal": "Exit on confirmed reversal",
        },
        "time_stop": {"trigger": f"Loss > {stop / 2} with < {days} DTE", "action": "Close to avoid gamma risk"},
    }


def _number(target):
    return 75.0 if isinstance(target, str) else target


def _levels(profits, stop, days):
    steps = {"level_1": 50.0, "level_2": 87.5, "level_3": 0.0}
    rows = [("profit_target", "primary", _number(profits["primary"]["target"]), "price", profits["primary"]["action"])]
    for name, step in profits["scaling"].items():
        value, action = (steps[name], step) if isinstance(step, str) else (step["profit"], step["action"])
        rows.append(("profit_target", f"scaling_{name}", value, "price", action))
    kind = "price" if "loss_amount" in stop else "percentage"
    rows.append(("stop_loss", "primary", stop.get("loss_amount", stop.get("loss_pct", 50)), kind, stop["action"]))
    rows.append(("time_exit", "primary", days, "dte", "Close position"))
    for number, (exit_type, name, value, trigger_type, action) in enumerate(rows, start=1):
        level, _ = read_level(
            {
                "id": number,
                "strategy_id": 1,
                "exit_type": exit_type,
                "level_name": name,
                "trigger_value": f"{value:.2f}",
                "trigger_type": trigger_type,
                "action": action,
            }
        )
        yield level
