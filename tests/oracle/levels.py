"""The levels of one position by design/exit_rules.md section 3 alone: slow and plain. Imports nothing of the monitor.

Per kind the first source wins: level rows, columns of strategy_risk_management, its exit_conditions tree, the category's default.
A share is of max profit or max loss where that is finite, of the net premium otherwise. A stop, a target, a trailing stop
that the legs can never reach gives way to the next source. A row's value is a magnitude; 0 and null are no level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import time
from fractions import Fraction

from tests.oracle.amounts import Amounts, Row, amounts_of, number, of_kind, stored_paise, tree_of
from tests.oracle.book import SHARES, WHOLE, Greek, Leg, Levels, Underlying

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
    return next((int(number(row["trigger_value"])) for row in of_kind(rows, "time_exit", name)), 0)


def _tree_days(risk: Row) -> int:
    return int(number(tree_of(risk, "time_exits").get("primary_dte")))


def _stop(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row) -> int | None:
    found = [amount for amount in _stops(amounts, name, rows, risk) if amount > 0]
    most = amounts.bounds.loss
    return next((amount for amount in found if most is None or amount <= most), found[-1] if found else None)


def _stops(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row) -> Iterator[int]:
    for row in of_kind(rows, "stop_loss", "primary"):
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
    for row in of_kind(rows, "profit_target", "primary"):
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
    arms = [amounts.of_row(row) for row in of_kind(rows, "profit_target", "trailing")]
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
    for row in of_kind(rows, "stop_loss", "premium_trailing"):
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
    for row in of_kind(rows, "profit_target", "scaling"):
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
