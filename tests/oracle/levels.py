"""The levels of one position by design/exit_rules.md section 3 alone: slow and plain. Imports nothing of the monitor.

Per kind the first source wins: the operator's override, level rows, columns of strategy_risk_management, its exit_conditions tree,
the chosen set, the category's default.
A share is of max profit or max loss where that is finite, of the net premium otherwise. A stop, a target, a trailing stop
that the legs can never reach gives way to the next source, but for the operator's; up to 5 % beyond it is the whole that they
can. A row's value is a magnitude; 0 and null are no level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import time
from fractions import Fraction
from typing import NamedTuple

from tests.oracle.amounts import Amounts, Row, amounts_of, number, of_kind, reachable, stored_paise, tree_of
from tests.oracle.beside import Beside, asked_amount
from tests.oracle.book import Leg, Levels
from tests.oracle.special_levels import TEXTS, greeks_of, is_nonsense, lock_of, scaling_of, underlying_of

NOTHING = Beside()
DIRECTIONAL, NEUTRAL, VOLATILITY, INCOME = (50, 50, 7), (25, 50, 21), (75, 50, 10), (50, 200, 21)
CATEGORY = {  # target %, stop %, DTE
    "Long Call": DIRECTIONAL, "Long Put": DIRECTIONAL,
    "Bull Call Spread": DIRECTIONAL, "Bear Call Spread": DIRECTIONAL,
    "Bull Put Spread": DIRECTIONAL, "Bear Put Spread": DIRECTIONAL,
    "Long Straddle": VOLATILITY, "Long Strangle": VOLATILITY,
    "Jade Lizard": INCOME, "Covered Call": INCOME, "Cash-Secured Put": INCOME,
}  # fmt: skip
ADJUST = (25, 50)
FIELDS = {
    "stop": ("stop", "losing_time"), "target": ("target", "target_action"), "trail": ("arm", "distance", "distance_share"),
    "premium_trail": ("premium_trailing",), "lock": ("lock",), "scale": ("scaling",), "dte": ("dte",), "theta": ("theta",),
    "losing": ("losing_time",), "hold": ("holding",), "square_off": ("square_off",), "underlying": ("underlying",),
    "greeks": ("greeks",), "adjust": ("adjustment",),
}  # fmt: skip
"""What each word of `none=` switches off."""


def read_levels(
    legs: Sequence[Leg], name: str, rows: Sequence[Row], risk: Row, square_off: time | None, beside: Beside = NOTHING
) -> Levels:
    """`square_off`: of the position's product, from the settings."""
    amounts = amounts_of(legs, name, rows, risk)
    target, action = _target(amounts, name, rows, risk, beside)
    arm, distance, share = _trailing(amounts, rows, risk, beside)
    first, last = (round(Fraction(amounts.premium * share, 100)) for share in ADJUST)
    said = beside.said.get("square_off")
    found = Levels(
        stop=_stop(amounts, name, rows, risk, beside),
        arm=arm,
        distance=distance,
        distance_share=share,
        target=target,
        target_action=action,
        dte=_first_day(_ends(name, rows, risk, beside)),
        theta=_first_day((beside.days("theta"), _days(rows, "theta"))),
        square_off=square_off if said is None else time.fromisoformat(said),
        premium_trailing=_premium_trailing(amounts, rows, beside),
        lock=lock_of(amounts, rows, beside),
        scaling=scaling_of(amounts, rows, beside),
        losing_time=_first_day((beside.days("losing"), _days(rows, "losing"))),
        holding=_first_day((beside.days("hold"), _days(rows, "holding"))),
        adjustment=(first, last) if 0 < first < last else None,
        underlying=tuple(underlying_of(legs, rows, beside)),
        greeks=tuple(greeks_of(legs, rows, beside)),
    )
    return _without(found, beside.off)


def _without(levels: Levels, off: Iterable[str]) -> Levels:
    """What the operator has switched off is not in force."""
    plain = Levels()
    names = [name for word in off if word in FIELDS for name in FIELDS[word]]
    return replace(levels, **{name: getattr(plain, name) for name in names})


def _category(name: str) -> tuple[int, int, int]:
    return CATEGORY.get(name, NEUTRAL)


def _first_day(days: Iterable[int | None]) -> int | None:
    return next((each for each in days if each is not None), None)


def _ends(name: str, rows: Sequence[Row], risk: Row, beside: Beside) -> Iterator[int | None]:
    """Days to expiry; only the operator can mean 0."""
    yield beside.days("dte")
    yield _days(rows, "primary")
    yield int(number(risk.get("time_stop_dte"))) or None
    yield int(number(tree_of(risk, "time_exits").get("primary_dte"))) or None
    yield beside.named.dte
    yield _category(name)[2]


def _days(rows: Sequence[Row], name: str) -> int | None:
    return next((int(number(row["trigger_value"])) for row in of_kind(rows, "time_exit", name)), 0) or None


def _stop(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row, beside: Beside) -> int | None:
    if "stop" in beside.said and asked_amount(beside.said["stop"], amounts, is_loss=True) > 0:
        return asked_amount(beside.said["stop"], amounts, is_loss=True)
    found = [amount for amount in _stops(amounts, name, rows, risk, beside) if amount > 0]
    usable = [each for amount in found if (each := reachable(amount, amounts.bounds.loss)) is not None]
    return next(iter(usable + found[-1:]), None)


def _stops(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row, beside: Beside) -> Iterator[int]:
    for row in of_kind(rows, "stop_loss", "primary"):
        yield amounts.of_row(row, is_loss=True)
    if number(risk.get("strategy_level_stop")):
        yield amounts.of_loss(number(risk["strategy_level_stop"]))
    told = tree_of(risk, "stop_losses", "primary")
    if number(told.get("loss_amount")):
        yield amounts.stored(told["loss_amount"])
    if number(told.get("loss_pct")):
        yield amounts.of_loss(number(told["loss_pct"]))
    if beside.named.stop is not None:
        yield amounts.of_loss(beside.named.stop)
    percent = _category(name)[1]
    if _category(name) is VOLATILITY:
        yield round(Fraction(amounts.premium * percent, 100))
    elif _category(name) is INCOME:
        yield round(Fraction((amounts.credit or amounts.premium) * percent, 100))
    else:
        yield amounts.of_loss(percent)


def _target(amounts: Amounts, name: str, rows: Sequence[Row], risk: Row, beside: Beside) -> tuple[int | None, str]:
    if "target" in beside.said and asked_amount(beside.said["target"], amounts) > 0:
        return asked_amount(beside.said["target"], amounts), "CLOSE_POSITION"
    for amount, stored, text in _targets(amounts, name, rows, risk, beside):
        usable = reachable(amount, amounts.bounds.profit)
        if amount > 0 and usable is not None and not is_nonsense(amounts, amount, stored):
            return usable, TEXTS[text] or "CLOSE_POSITION"
    return None, "CLOSE_POSITION"


def _targets(
    amounts: Amounts, name: str, rows: Sequence[Row], risk: Row, beside: Beside
) -> Iterator[tuple[int, int, str]]:
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
    if beside.named.target is not None:
        yield amounts.of_profit(beside.named.target), 0, ""
    percent = _category(name)[0]
    if _category(name) is VOLATILITY:
        yield round(Fraction(amounts.premium * percent, 100)), 0, ""
    elif _category(name) is INCOME:
        yield round(Fraction((amounts.credit or amounts.premium) * percent, 100)), 0, ""
    else:
        yield amounts.of_profit(percent), 0, ""


class _Trail(NamedTuple):
    """`share`: the distance in per cent of the peak, in place of the other one."""

    arm: int | None
    distance: int | None
    share: int | None = None


def _trailing(amounts: Amounts, rows: Sequence[Row], risk: Row, beside: Beside) -> _Trail:
    if "trail" in beside.said:
        distance, _, arm = beside.said["trail"].partition("@")
        share = int(distance.removesuffix("%peak")) if distance.endswith("%peak") else None
        far = asked_amount(distance, amounts) if share is None else None
        return _Trail(asked_amount(arm or "0", amounts), far, share)
    for trail in _trails(amounts, rows, risk, beside):
        arm_at = reachable(trail.arm or 0, amounts.bounds.profit)
        if arm_at is not None:
            return trail._replace(arm=arm_at) if trail.distance else _Trail(None, None)
    return _Trail(None, None)


def _trails(amounts: Amounts, rows: Sequence[Row], risk: Row, beside: Beside) -> Iterator[_Trail]:
    distance = _stored_distance(amounts, risk)
    yield from (_Trail(amounts.of_row(row), distance) for row in of_kind(rows, "profit_target", "trailing"))
    if number(risk.get("trailing_stop_activation")):
        yield _Trail(amounts.stored(risk["trailing_stop_activation"]), distance)
    elif number(risk.get("trailing_stop")):
        yield _Trail(0, distance)
    tree = tree_of(risk, "profit_targets", "trailing")
    if number(tree.get("activate_at")):
        yield _Trail(amounts.stored(tree["activate_at"]), distance)
    if beside.named.arm is not None and beside.named.distance is not None:
        yield _Trail(amounts.of_peak(beside.named.arm), amounts.of_peak(beside.named.distance))


def _stored_distance(amounts: Amounts, risk: Row) -> int | None:
    """For whatever arms in the rows: the column's, the tree's, 10 % of max profit."""
    tree = tree_of(risk, "profit_targets", "trailing")
    if number(risk.get("trailing_stop")):
        return amounts.stored(risk["trailing_stop"])
    return amounts.stored(tree["trail_by"]) if number(tree.get("trail_by")) else amounts.of_peak(10)


def _premium_trailing(amounts: Amounts, rows: Sequence[Row], beside: Beside) -> int | None:
    """Per cent of the net premium, or an amount."""
    said = beside.said.get("premium_trail", "")
    if said:
        return asked_amount(f"{said}premium" if said.endswith("%") else said, amounts)
    for row in of_kind(rows, "stop_loss", "premium_trailing"):
        if row["trigger_type"] == "price":
            return amounts.stored(row["trigger_value"])
        return round(amounts.premium * number(row["trigger_value"]) / 100)
    return None
