"""Rows for one position after the other: its trades, and levels that its day may or may not meet. Imports nothing of the monitor.

Rupee levels are stored per lot, per unit or for the whole position, as the columns beside them say, or without a word per lot.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from math import gcd

from tests.oracle.amounts import lots_of, usual_factor
from tests.oracle.book import Leg
from tests.oracle.payoff import bounds_of
from tests.oracle.rows import Tables

CLOSES = ("Close position", "Close entire position", "Close position immediately", "")
KINDS = (
    "stop", "stop", "target", "target", "trailing", "trailing", "premium trailing", "lock", "scaling", "scaling",
    "theta", "losing", "holding", "square-off", "underlying", "dte",
)  # fmt: skip

GREEKS = ("greeks",) * 6
"""Asked for in some books only: they need more beats between the snapshots."""
OF_ONE_PRICE = ("underlying", "greeks")
"""What legs of two underlyings cannot have."""
BEYOND = (1.01, 1.06)
"""What the plan could make or lose, as a multiple of what the legs as they were filled can."""


def scale_of(legs: tuple[Leg, ...]) -> int:
    """What amounts are sized by, paise, never tiny."""
    premium = abs(sum(leg.units * (leg.entry or 0) for leg in legs))
    return max(premium, 20_00 * reduce(gcd, (abs(leg.units) for leg in legs)))


def days_left_of(legs: tuple[Leg, ...], day: date) -> int:
    return min((leg.contract.expiry - day).days for leg in legs if leg.contract.expiry is not None)


@dataclass(slots=True)
class Sized:
    """One position while its rows are made."""

    strategy_id: int
    legs: tuple[Leg, ...]
    scale: int
    factor: Fraction
    risk: dict[str, object] = field(default_factory=dict)
    tree: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    product: str = "MARGIN"


class RowMaker:
    """`add` writes the rows of one position into the tables."""

    def __init__(self, chance: random.Random, day: date, indices: Mapping[str, Sequence[int]], tables: Tables) -> None:
        self.chance = chance
        self.day = day
        self.indices = indices
        self.tables = tables
        self.made: dict[int, Sized] = {}
        self.make: dict[str, Callable[[Sized], None]] = {
            "stop": self.stop, "target": self.target, "trailing": self.trailing,
            "premium trailing": self.premium_trailing, "lock": self.lock, "scaling": self.scaling,
            "theta": self.theta, "losing": self.losing, "holding": self.holding, "square-off": self.square_off,
            "underlying": self.underlying, "dte": self.dte, "greeks": self.greeks,
        }  # fmt: skip

    def add(self, strategy_id: int, name: str, legs: tuple[Leg, ...], kinds: Sequence[str] = KINDS) -> None:
        sized = self.made[strategy_id] = Sized(strategy_id, legs, scale_of(legs), self._basis(legs))
        self._tell_basis(sized, name)
        asked = {self.chance.choice(kinds) for _ in range(self.chance.randint(0, 4))}
        for kind in sorted(asked):
            self.make[kind](sized)
        if "dte" not in asked:
            self._let_days_pass(sized)
        self._write(sized, name)

    # Amounts

    def _basis(self, legs: tuple[Leg, ...]) -> Fraction:
        per_lot = lots_of(legs)
        per_unit = per_lot * max(leg.contract.lot for leg in legs)
        return self.chance.choice((per_lot, per_lot, per_unit, Fraction(1)))

    def _tell_basis(self, sized: Sized, name: str) -> None:
        """Max loss or profit as the builder of the rows would have it; where there is no word it is as usual."""
        bounds = bounds_of(sized.legs)
        if bounds.loss and self.chance.random() < 0.8:
            sized.risk["max_capital_at_risk"] = self._text(Fraction(bounds.loss) / sized.factor)
        elif bounds.profit and self.chance.random() < 0.5:
            sized.risk["profit_target_primary"] = self._text(Fraction(bounds.profit, 2) / sized.factor)
            sized.risk["profit_target_pct"] = 50
        else:
            sized.factor = usual_factor(sized.legs, name)

    def stored(self, sized: Sized, share: float) -> object:
        return self._text(max(Fraction(round(sized.scale * share)) / sized.factor, Fraction(1)))

    def _text(self, paise: Fraction) -> object:
        """Rupees with two decimals, as a number or as text."""
        rupees = Decimal(round(paise)) / 100
        return str(rupees) if self.chance.random() < 0.5 else float(rupees)

    def level(self, sized: Sized, kind: str, name: str, trigger: str, value: object, action: str = "") -> None:
        self.tables.levels.append(
            {
                "id": len(self.tables.levels) + 1,
                "strategy_id": sized.strategy_id,
                "exit_type": kind,
                "level_name": name,
                "trigger_value": value,
                "trigger_type": trigger,
                "action": action,
                "reasoning": "",
            }
        )

    def go_beyond(self, strategy_id: int) -> None:
        """One rupee level of the strategy is the whole of the plan, and the fills were worse than that."""
        sized = self.made[strategy_id]
        names = ("primary", "scaling", "trailing", "move_to_cost", "lock")
        own = [
            row for row in self.tables.levels if row["strategy_id"] == strategy_id and row["trigger_type"] == "price"
        ]
        rows = [row for row in own if str(row["level_name"]).startswith(names)]
        row = self.chance.choice(rows) if rows else None
        bounds = bounds_of(sized.legs)
        most = bounds.loss if row is not None and row["exit_type"] == "stop_loss" else bounds.profit
        if most is None or most * 100 < sized.scale:
            return
        if row is None:
            self.level(sized, "profit_target", "primary", "price", 0)
            row = self.tables.levels[-1]
        row["trigger_value"] = self._text(Fraction(round(most * self.chance.uniform(*BEYOND))) / sized.factor)

    def days_left(self, sized: Sized) -> int:
        return days_left_of(sized.legs, self.day)

    # Rules

    def stop(self, sized: Sized) -> None:
        way, share = self.chance.choice(("row", "row", "percent", "column", "tree")), self.chance.uniform(0.03, 0.5)
        if way == "row":
            share = self.chance.choice((share, share, 0.01, 40.0))
            self.level(sized, "stop_loss", "primary", "price", self.stored(sized, share), self.chance.choice(CLOSES))
        elif way == "percent":
            self.level(sized, "stop_loss", "primary", "percentage", self.chance.randint(2, 60))
        elif way == "column":
            sized.risk["strategy_level_stop"] = self.chance.randint(2, 60)
        else:
            sized.tree.setdefault("stop_losses", {})["primary"] = {"loss_amount": self.stored(sized, share)}

    def target(self, sized: Sized) -> None:
        way, share = self.chance.choice(("row", "row", "percent", "column", "tree")), self.chance.uniform(0.02, 0.5)
        action = self.chance.choice(
            (*CLOSES, "Close 50%", "50% profit - close half position", "Adjust", "Consider rolling")
        )
        if way == "row":
            share = self.chance.choice((share, share, 80.0))
            self.level(sized, "profit_target", "primary", "price", self.stored(sized, share), action)
        elif way == "percent":
            self.level(sized, "profit_target", "primary", "percentage", self.chance.randint(2, 60), action)
        elif way == "column" and "profit_target_primary" not in sized.risk:
            sized.risk["profit_target_pct"] = self.chance.randint(2, 60)
        else:
            primary = {"target": self.stored(sized, share), "action": action}
            sized.tree.setdefault("profit_targets", {})["primary"] = primary

    def trailing(self, sized: Sized) -> None:
        way = self.chance.choice(("row", "row", "columns", "tree", "entry"))
        arm, distance = (
            self.stored(sized, self.chance.uniform(0.005, 0.1)),
            self.stored(sized, self.chance.uniform(0.01, 0.1)),
        )
        if way == "row":
            self.level(sized, "profit_target", "trailing", "price", arm, "Trail stop on remainder")
            if self.chance.random() < 0.6:
                sized.risk["trailing_stop"] = distance
        elif way == "tree":
            sized.tree.setdefault("profit_targets", {})["trailing"] = {"activate_at": arm, "trail_by": distance}
        else:
            sized.risk["trailing_stop"] = distance
            if way == "columns":
                sized.risk["trailing_stop_activation"] = arm

    def premium_trailing(self, sized: Sized) -> None:
        if self.chance.random() < 0.5:
            self.level(sized, "stop_loss", "premium_trailing", "percentage", self.chance.randint(2, 40))
        else:
            share = self.chance.uniform(0.02, 0.4)
            self.level(sized, "stop_loss", "premium_trailing", "price", self.stored(sized, share))

    def lock(self, sized: Sized) -> None:
        share = self.chance.uniform(0.01, 0.1)
        self.level(sized, "profit_target", "move_to_cost", "price", self.stored(sized, share))
        if self.chance.random() < 0.6:
            floor = Fraction(str(self.stored(sized, share * self.chance.uniform(0.1, 1.5))))
            value = self.stored(sized, share * self.chance.uniform(1.2, 3))
            self.level(sized, "profit_target", f"lock_profit_{float(floor):.2f}", "price", value)

    def scaling(self, sized: Sized) -> None:
        by_percent, at = self.chance.random() < 0.3, self.chance.uniform(0.01, 0.1)
        for name in self.chance.choice((("25", "50", "75"), ("50", "75"), ("25", "50"), ("50",))):
            action = f"Close {name}%"
            if by_percent:
                value: object = round(at * 100 * int(name) / 25)
                self.level(sized, "profit_target", f"scaling_{name}", "percentage", value, action)
            else:
                value = self.stored(sized, at)
                self.level(sized, "profit_target", f"scaling_{name}", "price", value, action)
            at *= self.chance.uniform(1.2, 1.7)

    def theta(self, sized: Sized) -> None:
        self.level(sized, "time_exit", "theta_exit", "dte", self.days_left(sized) + self.chance.choice((-1, 0, 3)))

    def losing(self, sized: Sized) -> None:
        self.level(sized, "time_exit", "losing", "dte", self.days_left(sized) + self.chance.choice((0, 1, 5)))

    def holding(self, sized: Sized) -> None:
        self.level(sized, "time_exit", "holding", "dte", self.chance.randint(2, 9))

    def square_off(self, sized: Sized) -> None:
        sized.product = "INTRADAY"

    def underlying(self, sized: Sized) -> None:
        prices = self.indices[sized.legs[0].contract.index]
        for way in self.chance.choice((("below",), ("above",), ("below", "above"))):
            away = self.chance.uniform(-0.000_5, 0.004)
            price = prices[0] * (1 - away if way == "below" else 1 + away)
            close = self.chance.choice(("", "", "_close_5m", "_close_15m"))
            action = self.chance.choice((*CLOSES, "Close 50%", "Adjust"))
            self.level(
                sized, "stop_loss", f"underlying_{way}{close}", "price", str(Decimal(round(price)) / 100), action
            )

    def greeks(self, sized: Sized) -> None:
        kind, values = self.chance.choice(
            (("delta", (0.2, 0.4, 0.6)), ("gamma", (1.05, 1.2, 2)), ("theta", (2, 5, 10)), ("vega", (1, 3)),
             ("iv_down", (2, 5, 20)), ("iv_up", (2, 5, 20)), ("iv_below", (8, 10, 12)), ("iv_above", (12, 15, 20)))
        )  # fmt: skip
        action = self.chance.choice(("Close position", "Adjust", ""))
        self.level(sized, "greek_trigger", kind, "greek_value", self.chance.choice(values), action)

    def dte(self, sized: Sized) -> None:
        if self.chance.random() < 0.7:
            days = max(self.days_left(sized) + self.chance.choice((-1, 0, 2)), 1)
            if self.chance.random() < 0.5:
                self.level(sized, "time_exit", "primary", "dte", days)
            else:
                sized.risk["time_stop_dte"] = days

    def _let_days_pass(self, sized: Sized) -> None:
        """Below the days that are left, so that the other rules have their day."""
        days = self.days_left(sized)
        if days > 1 and self.chance.random() < 0.9:
            self.level(sized, "time_exit", "primary", "dte", max(min(days - 1, 3), 1))

    # Writing

    def _write(self, sized: Sized, name: str) -> None:
        for leg in sized.legs:
            segment, security_id = leg.key.split(":")
            self.tables.trades.append(
                {
                    "new_id": leg.row_id,
                    "strategy_id": sized.strategy_id,
                    "order_id": f"E{leg.row_id}",
                    "security_id": int(security_id),
                    "exchange_segment": segment,
                    "symbol": leg.contract.underlying,
                    "type": leg.contract.right,
                    "strategy": name,
                    "action": "BUY" if leg.units > 0 else "SELL",
                    "quantity": abs(leg.units),
                    "price": str(Decimal(leg.entry or 0) / 100),
                    "strike_price": leg.contract.strike / 100,
                    "expiry_date": leg.contract.expiry.isoformat() if leg.contract.expiry else None,
                    "order_status": "open",
                    "timestamp": f"{leg.opened_on}T09:20:00" if leg.opened_on else None,
                    "product_type": sized.product,
                }
            )
        if sized.tree:
            sized.risk["exit_conditions"] = json.dumps(sized.tree)
        if sized.risk:
            self.tables.risks.append({"strategy_id": sized.strategy_id, **sized.risk})
