"""Locks, scaling, levels of the underlying and of the Greeks, as `levels` reads the others. Imports nothing of the monitor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from tests.oracle.amounts import Amounts, Row, number, of_kind, reachable, stored_paise
from tests.oracle.beside import Beside, asked_amount
from tests.oracle.book import SHARES, WHOLE, Greek, Leg, Underlying
from tests.oracle.entry_greeks import entry_of, fraction_of

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
TECHNICAL_MINUTES = 5


def is_nonsense(amounts: Amounts, amount: int, stored: int) -> bool:
    """With unlimited profit, the builder's ₹75 or less than 5 % of the premium."""
    if not stored or not amounts.bounds.is_profit_unlimited:
        return False
    return stored == 7_500 or amount * 100 < 5 * amounts.premium


def lock_of(amounts: Amounts, rows: Sequence[Row], beside: Beside) -> tuple[tuple[int, int], ...]:
    return _steps(_said_locks(amounts, beside)) or _steps(_locks_of_rows(amounts, rows))


def _said_locks(amounts: Amounts, beside: Beside) -> Iterator[tuple[int, int]]:
    if "cost_at" in beside.said:
        yield asked_amount(beside.said["cost_at"], amounts), 0
    for step in beside.said.get("lock", "").split(","):
        if step.strip():
            one, other = (asked_amount(part.strip(), amounts) for part in step.split("@"))
            yield max(one, other), min(one, other)


def _locks_of_rows(amounts: Amounts, rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """The floor is in the name, in the unit of the trigger."""
    for row in rows:
        name = re.fullmatch(r"move_to_cost|lock_profit_([0-9.]+)", str(row["level_name"]))
        if name is not None:
            trigger = reachable(amounts.of_row(row), amounts.bounds.profit)
            if trigger is not None:
                yield trigger, amounts.of_row({**row, "trigger_value": name[1] or 0})


def _steps(found: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Triggers above their floors, both rising."""
    steps: list[tuple[int, int]] = []
    for trigger, floor in sorted(found):
        if floor < trigger and (not steps or (trigger > steps[-1][0] and floor > steps[-1][1])):
            steps.append((trigger, floor))
    return tuple(steps)


def scaling_of(amounts: Amounts, rows: Sequence[Row], beside: Beside) -> tuple[tuple[int, str], ...]:
    sources = (_said_scaling(amounts, beside), _scaling_of_rows(amounts, rows), _scaling_of_set(amounts, beside))
    return next(filter(None, map(_rising, sources)), ())


def _said_scaling(amounts: Amounts, beside: Beside) -> Iterator[tuple[int, str]]:
    for step in beside.said.get("scale", "").split(","):
        if step.strip():
            share, amount = step.strip().split(":")
            yield asked_amount(amount, amounts), f"CLOSE_{share}"


def _scaling_of_rows(amounts: Amounts, rows: Sequence[Row]) -> Iterator[tuple[int, str]]:
    for row in of_kind(rows, "profit_target", "scaling"):
        action = TEXTS[str(row["action"])]
        stored = stored_paise(row["trigger_value"]) if row["trigger_type"] == "price" else 0
        is_odd = amounts.bounds.is_profit_unlimited and stored in NONSENSE
        amount = reachable(amounts.of_row(row), amounts.bounds.profit)
        if action in SHARES and amount is not None and not is_odd and not is_nonsense(amounts, amount, stored):
            yield amount, action


def _scaling_of_set(amounts: Amounts, beside: Beside) -> Iterator[tuple[int, str]]:
    """Shares of max profit; where there is none, or none is known, of the premium."""
    if not beside.named.is_scaling:
        return
    if amounts.bounds.profit is None:
        yield from ((round(Fraction(amounts.premium, 2)), "CLOSE_50%"), (amounts.premium, "CLOSE_75%"))
    elif amounts.bounds.profit:
        yield from ((amounts.of_profit(share), f"CLOSE_{share}%") for share in (25, 50, 75))


def _rising(found: Iterable[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Rising amounts with rising shares."""
    levels: list[tuple[int, str]] = []
    for amount, action in sorted(found, key=lambda level: (level[0], SHARES[level[1]])):
        if amount > 0 and (not levels or SHARES[action] > SHARES[levels[-1][1]]):
            levels.append((amount, action))
    return tuple(levels)


def underlying_of(legs: Sequence[Leg], rows: Sequence[Row], beside: Beside) -> Iterator[Underlying]:
    """Below before above; of each way the first source wins."""
    for is_above in (False, True):
        for source in (_said_underlying(beside), _underlying_of_rows(rows), _technical(legs, beside)):
            found = [level for level in source if level.is_above is is_above and _is_price(level.price, legs, beside)]
            if found:
                yield from found
                break


def _is_price(price: int, legs: Sequence[Leg], beside: Beside) -> bool:
    """Of the underlying, and not of an option or of a P&L: from a third to three times what is known of it."""
    known = beside.spot or legs[0].contract.strike
    return known <= 3 * price <= 9 * known


def _said_underlying(beside: Beside) -> Iterator[Underlying]:
    for way in ("below", "above"):
        price, _, candle = beside.said.get(f"underlying_{way}", "").partition("/")
        if price:
            yield Underlying(stored_paise(price), way == "above", minutes=int(candle.rstrip("m")) if candle else None)


def _underlying_of_rows(rows: Sequence[Row]) -> Iterator[Underlying]:
    """A text that closes nothing for certain only warns."""
    for row in rows:
        name = re.fullmatch(r"underlying_(below|above)(?:_close_(\d+)m)?", str(row["level_name"]))
        if name is not None and number(row["trigger_value"]):
            minutes = int(name[2]) if name[2] else None
            yield Underlying(stored_paise(row["trigger_value"]), name[1] == "above", _closing(row), minutes)


def _technical(legs: Sequence[Leg], beside: Beside) -> Iterator[Underlying]:
    """Support below and resistance above the price of the entry, where the position has lost far beyond."""
    support, resistance = (stored_paise(beside.monitoring.get(f"{name}_level")) for name in ("support", "resistance"))
    lowest, highest = _far_away(legs)
    if beside.technical and support and lowest < 0 and (not beside.spot or support < beside.spot):
        yield Underlying(support, False, beside.technical, TECHNICAL_MINUTES)
    if beside.technical and resistance and highest < 0 and (not beside.spot or resistance > beside.spot):
        yield Underlying(resistance, True, beside.technical, TECHNICAL_MINUTES)


def _far_away(legs: Sequence[Leg]) -> tuple[int, int]:
    """P&L at expiry with the underlying at 0, and at a thousand times the highest strike."""
    far = 1_000 * max(leg.contract.strike for leg in legs)
    lowest = sum(
        leg.units * ((leg.contract.strike if leg.contract.right == "PE" else 0) - (leg.entry or 0)) for leg in legs
    )
    highest = sum(
        leg.units * ((0 if leg.contract.right == "PE" else far - leg.contract.strike) - (leg.entry or 0))
        for leg in legs
    )
    return lowest, highest


def greeks_of(legs: Sequence[Leg], rows: Sequence[Row], beside: Beside) -> Iterator[Greek]:
    """Of each kind the first row, else the table of volatility limits. What was planned is the reference."""
    entry = entry_of(legs, beside.planned)
    references = {"gamma": entry.gamma, "iv_down": entry.volatility, "iv_up": entry.volatility}
    seen = set()
    for row in rows:
        kind = str(row["level_name"])
        if row["exit_type"] == "greek_trigger" and kind not in seen:
            seen.add(kind)
            threshold = float(number(row["trigger_value"]))
            yield Greek(kind, threshold, _closing(row, empty="ADJUST"), references.get(kind))
    for kind, column in (("iv_above", "iv_upper_limit"), ("iv_below", "iv_lower_limit")):
        limit, is_above = fraction_of(beside.monitoring.get(column)), kind == "iv_above"
        is_passed = entry.volatility is not None and (
            entry.volatility >= limit if is_above else entry.volatility <= limit
        )
        if limit and kind not in seen and not is_passed:
            yield Greek(kind, float(100 * limit), "ADJUST")


def _closing(row: Row, empty: str = "CLOSE_POSITION") -> str:
    action = TEXTS[str(row["action"])]
    if not row["action"]:
        return empty
    return action if action in SHARES or action in WHOLE else "ADJUST"
