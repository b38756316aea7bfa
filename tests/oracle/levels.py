"""The levels of one position by design/exit_rules.md section 3 alone: slow and plain. Imports nothing of the monitor.

Per kind the first source wins: level rows, columns of strategy_risk_management, its exit_conditions tree, the category's default.
A share is of max profit or max loss where that is finite, of the net premium otherwise. A stop, a target, a trailing stop
that the legs can never reach gives way to the next source. A row's value is a magnitude; 0 and null are no level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import reduce
from math import gcd

from tests.oracle.book import SHARES, WHOLE, Greek, Leg, Levels, Underlying
from tests.oracle.payoff import Bounds, bounds_of

Row = Mapping[str, object]

DIRECTIONAL, NEUTRAL, VOLATILITY, INCOME = (50, 50, 7), (25, 50, 21), (75, 50, 10), (50, 200, 21)
CATEGORY = {  # target %, stop %, DTE
    "Long Call": DIRECTIONAL, "Long Put": DIRECTIONAL,
    "Bull Call Spread": DIRECTIONAL, "Bear Call Spread": DIRECTIONAL,
    "Bull Put Spread": DIRECTIONAL, "Bear Put Spread": DIRECTIONAL,
    "Long Straddle": VOLATILITY, "Long Strangle": VOLATILITY,
    "Jade Lizard": INCOME, "Covered Call": INCOME, "Cash-Secured Put": INCOME,
}  # fmt: skip
TEXTS = {
    "": "", "Close position": "CLOSE_POSITION", "Close entire position": "CLOSE_POSITION",
    "Close position immediately": "CLOSE_IMMEDIATELY",
    "Close 25%": "CLOSE_25%", "Close 50%": "CLOSE_50%", "Close 75%": "CLOSE_75%",
    "50% profit - close half position": "CLOSE_50%", "100% profit - close 75% position": "CLOSE_75%",
    "Adjust": "ADJUST", "Consider rolling": "",
}  # fmt: skip
"""Action texts of real rows, and what each asks for; "" is nothing certain."""
NONSENSE = {5_000, 7_500, 8_750}
"""₹50, ₹75, ₹87.50: sentences that the strategy builder could not read (trap 4)."""
ADJUST = (25, 50)


def number(value: object) -> Fraction:
    """A magnitude; 0 for null."""
    return Fraction(0) if value in {None, ""} else abs(Fraction(str(value)))


def stored_paise(value: object) -> int:
    return int((Decimal(str(value or 0)) * 100).copy_abs().to_integral_value(rounding=ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True)
class Amounts:
    """What the levels of one position are shares of. `factor`: what a stored rupee amount is multiplied with."""

    bounds: Bounds
    premium: int
    credit: int
    factor: Fraction

    def stored(self, value: object) -> int:
        return round(stored_paise(value) * self.factor)

    def of_profit(self, percent: Fraction | int) -> int:
        return round((self.bounds.profit or self.premium) * Fraction(percent) / 100)

    def of_loss(self, percent: Fraction | int) -> int:
        return round((self.bounds.loss or self.premium) * Fraction(percent) / 100)

    def of_row(self, row: Row, *, is_loss: bool = False) -> int:
        if row["trigger_type"] == "price":
            return self.stored(row["trigger_value"])
        share = number(row["trigger_value"])
        return self.of_loss(share) if is_loss else self.of_profit(share)


def amounts_of(legs: Sequence[Leg], rows: Sequence[Row], risk: Row) -> Amounts:
    bounds = bounds_of(legs)
    premium = -sum(leg.units * (leg.entry or 0) for leg in legs)
    options = -sum(leg.units * (leg.entry or 0) for leg in legs if leg.contract.right in {"CE", "PE"})
    return Amounts(bounds, abs(premium), max(options, 0), _factor(legs, bounds, rows, risk))


def _factor(legs: Sequence[Leg], bounds: Bounds, rows: Sequence[Row], risk: Row) -> Fraction:
    """Per lot, per unit or the whole position: the first that fits the legs' own within 5 %; per lot when nothing tells."""
    units = reduce(gcd, (abs(leg.units) for leg in legs))
    lot = max(leg.contract.lot for leg in legs)
    for stored, own in ((_max_loss(risk), bounds.loss), (_max_profit(rows, risk), bounds.profit)):
        if stored and own:
            for factor in (Fraction(units, lot), Fraction(units), Fraction(1)):
                if 20 * abs(stored * factor - own) <= own:
                    return factor
    return Fraction(units, lot)


def _max_loss(risk: Row) -> Fraction:
    """The writer's own max loss in paise, 0 when not told."""
    if number(risk.get("max_capital_at_risk")):
        return Fraction(stored_paise(risk["max_capital_at_risk"]))
    stop = tree_of(risk, "stop_losses", "primary")
    amount, percent = number(stop.get("loss_amount")), number(stop.get("loss_pct"))
    return amount * 100 * 100 / percent if amount and percent else Fraction(0)


def _max_profit(rows: Sequence[Row], risk: Row) -> Fraction:
    amount, percent = stored_paise(risk.get("profit_target_primary")), number(risk.get("profit_target_pct"))
    if amount and percent:
        return Fraction(amount) * 100 / percent
    target = tree_of(risk, "profit_targets", "primary")
    amount_said, percent = number(target.get("target")), number(target.get("target_pct"))
    if amount_said and percent:
        return amount_said * 100 * 100 / percent
    steps = sorted(
        stored_paise(row["trigger_value"])
        for row in _of(rows, "profit_target", "scaling")
        if row["trigger_type"] == "price"
    )
    is_even = len(steps) == 3 and all(200 * abs(step - n * steps[0]) <= steps[0] for n, step in enumerate(steps, 1))
    return Fraction(4 * steps[0]) if is_even else Fraction(0)


def tree_of(risk: Row, *path: str) -> Mapping[str, object]:
    content = json.loads(str(risk.get("exit_conditions") or "{}"))
    for name in path:
        content = content.get(name, {})
    return content


def _of(rows: Sequence[Row], kind: str, name: str) -> list[Row]:
    """The rows of this exit type whose name begins so, and that have a value."""
    return [
        row
        for row in rows
        if row["exit_type"] == kind and str(row["level_name"]).startswith(name) and number(row["trigger_value"])
    ]


def read_levels(legs: Sequence[Leg], name: str, rows: Sequence[Row], risk: Row, square_off: time | None) -> Levels:
    amounts = amounts_of(legs, rows, risk)
    stop = _stop(amounts, name, rows, risk)
    target, action = _target(amounts, name, rows, risk)
    arm, distance = _trailing(amounts, rows, risk)
    first, last = (round(Fraction(amounts.premium * share, 100)) for share in ADJUST)
    return Levels(
        stop=stop,
        arm=arm,
        distance=distance,
        target=target,
        target_action=action,
        dte=_days(rows, "primary") or int(number(risk.get("time_stop_dte"))) or _tree_days(risk) or _category(name)[2],
        theta=_days(rows, "theta") or None,
        square_off=square_off,
        premium_trailing=_premium_trailing(amounts, rows),
        lock=_lock(amounts, rows),
        scaling=_scaling(amounts, rows),
        losing_time=_days(rows, "losing") or None,
        holding=_days(rows, "holding") or None,
        adjustment=(first, last) if 0 < first < last else None,
        underlying=tuple(_underlying(rows)),
        greeks=tuple(_greeks(rows)),
    )


def _category(name: str) -> tuple[int, int, int]:
    return CATEGORY.get(name, NEUTRAL)


def _days(rows: Sequence[Row], name: str) -> int:
    return next((int(number(row["trigger_value"])) for row in _of(rows, "time_exit", name)), 0)


def _tree_days(risk: Row) -> int:
    return int(number(tree_of(risk, "time_exits").get("primary_dte")))


def _stop(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row) -> int | None:
    found = [amount for amount in _stops(amounts, name, rows, risk) if amount > 0]
    most = amounts.bounds.loss
    return next((amount for amount in found if most is None or amount <= most), found[-1] if found else None)


def _stops(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row) -> Iterator[int]:
    for row in _of(rows, "stop_loss", "primary"):
        yield amounts.of_row(row, is_loss=True)
    if number(risk.get("strategy_level_stop")):
        yield amounts.of_loss(number(risk["strategy_level_stop"]))
    told = tree_of(risk, "stop_losses", "primary")
    if number(told.get("loss_amount")):
        yield amounts.stored(told["loss_amount"])
    if number(told.get("loss_pct")):
        yield amounts.of_loss(number(told["loss_pct"]))
    percent = _category(name)[1]
    if _category(name) is VOLATILITY:
        yield round(Fraction(amounts.premium * percent, 100))
    elif _category(name) is INCOME:
        yield round(Fraction((amounts.credit or amounts.premium) * percent, 100))
    else:
        yield amounts.of_loss(percent)


def _target(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row) -> tuple[int | None, str]:
    for amount, stored, text in _targets(amounts, name, rows, risk):
        if amount > 0 and not _is_nonsense(amounts, amount, stored):
            return amount, TEXTS[text] or "CLOSE_POSITION"
    return None, "CLOSE_POSITION"


def _targets(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row) -> Iterator[tuple[int, int, str]]:
    """Amount, the stored paise that it was read from (0: a share), the action's text."""
    for row in _of(rows, "profit_target", "primary"):
        is_stored = row["trigger_type"] == "price"
        yield amounts.of_row(row), stored_paise(row["trigger_value"]) if is_stored else 0, str(row["action"])
    if stored_paise(risk.get("profit_target_primary")):
        told = risk["profit_target_primary"]
        yield amounts.stored(told), stored_paise(told), ""
    if number(risk.get("profit_target_pct")):
        yield amounts.of_profit(number(risk["profit_target_pct"])), 0, ""
    tree = tree_of(risk, "profit_targets", "primary")
    if number(tree.get("target")):
        yield amounts.stored(tree["target"]), stored_paise(tree["target"]), str(tree.get("action", ""))
    if number(tree.get("target_pct")):
        yield amounts.of_profit(number(tree["target_pct"])), 0, str(tree.get("action", ""))
    percent = _category(name)[0]
    if _category(name) is VOLATILITY:
        yield round(Fraction(amounts.premium * percent, 100)), 0, ""
    elif _category(name) is INCOME:
        yield round(Fraction((amounts.credit or amounts.premium) * percent, 100)), 0, ""
    else:
        yield amounts.of_profit(percent), 0, ""


def _is_nonsense(amounts: Amounts, amount: int, stored: int) -> bool:
    """Beyond max profit; or, with unlimited profit, the builder's ₹75 or less than 5 % of the premium."""
    if amounts.bounds.profit is not None:
        return amount > amounts.bounds.profit
    if not stored or not amounts.bounds.is_profit_unlimited:
        return False
    return stored == 7_500 or amount * 100 < 5 * amounts.premium


def _trailing(amounts: Amounts, rows: Sequence[Row], risk: Row) -> tuple[int | None, int | None]:
    tree = tree_of(risk, "profit_targets", "trailing")
    arms = [amounts.of_row(row) for row in _of(rows, "profit_target", "trailing")]
    if number(risk.get("trailing_stop_activation")):
        arms.append(amounts.stored(risk["trailing_stop_activation"]))
    elif number(risk.get("trailing_stop")):
        arms.append(0)
    if number(tree.get("activate_at")):
        arms.append(amounts.stored(tree["activate_at"]))
    if number(risk.get("trailing_stop")):
        distance = amounts.stored(risk["trailing_stop"])
    elif number(tree.get("trail_by")):
        distance = amounts.stored(tree["trail_by"])
    else:
        distance = amounts.of_profit(10)
    most = amounts.bounds.profit
    arm = next((arm for arm in arms if most is None or arm <= most), None)
    return (None, None) if arm is None or not distance else (arm, distance)


def _premium_trailing(amounts: Amounts, rows: Sequence[Row]) -> int | None:
    """Per cent of the net premium, or an amount."""
    for row in _of(rows, "stop_loss", "premium_trailing"):
        if row["trigger_type"] == "price":
            return amounts.stored(row["trigger_value"])
        return round(amounts.premium * number(row["trigger_value"]) / 100)
    return None


def _lock(amounts: Amounts, rows: Sequence[Row]) -> tuple[tuple[int, int], ...]:
    """The floor is in the name, in the unit of the trigger. Triggers within max profit, above their floors, both rising."""
    found: list[tuple[int, int]] = []
    for row in rows:
        name = re.fullmatch(r"move_to_cost|lock_profit_([0-9.]+)", str(row["level_name"]))
        if name is not None:
            found.append((amounts.of_row(row), amounts.of_row({**row, "trigger_value": name[1] or 0})))
    steps: list[tuple[int, int]] = []
    for trigger, floor in sorted(found):
        is_within = amounts.bounds.profit is None or trigger <= amounts.bounds.profit
        if is_within and floor < trigger and (not steps or (trigger > steps[-1][0] and floor > steps[-1][1])):
            steps.append((trigger, floor))
    return tuple(steps)


def _scaling(amounts: Amounts, rows: Sequence[Row]) -> tuple[tuple[int, str], ...]:
    """Rising amounts with rising shares."""
    found = []
    for row in _of(rows, "profit_target", "scaling"):
        action = TEXTS[str(row["action"])]
        stored = stored_paise(row["trigger_value"]) if row["trigger_type"] == "price" else 0
        is_odd = amounts.bounds.is_profit_unlimited and stored in NONSENSE
        if action in SHARES and not is_odd and not _is_nonsense(amounts, amounts.of_row(row), stored):
            found.append((amounts.of_row(row), SHARES[action], action))
    levels: list[tuple[int, str]] = []
    for amount, share, action in sorted(found):
        if amount > 0 and (not levels or share > SHARES[levels[-1][1]]):
            levels.append((amount, action))
    return tuple(levels)


def _underlying(rows: Sequence[Row]) -> Iterator[Underlying]:
    """Below before above. A text that closes nothing for certain only warns."""
    for way in ("below", "above"):
        for row in rows:
            name = re.fullmatch(rf"underlying_{way}(?:_close_(\d+)m)?", str(row["level_name"]))
            if name is not None and number(row["trigger_value"]):
                minutes = int(name[1]) if name[1] else None
                yield Underlying(stored_paise(row["trigger_value"]), way == "above", _closing(row), minutes)


def _greeks(rows: Sequence[Row]) -> Iterator[Greek]:
    """One row a kind: the first. The threshold as the kind counts it."""
    seen = set()
    for row in rows:
        kind = str(row["level_name"])
        if row["exit_type"] == "greek_trigger" and kind not in seen:
            seen.add(kind)
            yield Greek(kind, float(number(row["trigger_value"])), _closing(row, empty="ADJUST"))


def _closing(row: Row, empty: str = "CLOSE_POSITION") -> str:
    action = TEXTS[str(row["action"])]
    if not row["action"]:
        return empty
    return action if action in SHARES or action in WHOLE else "ADJUST"
