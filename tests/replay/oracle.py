"""When each position has to be closed: slow, plain, and written from design/exit_rules.md alone. Imports nothing of core.

Money is integer paise, time is UTC milliseconds of the recording cut to the second, as the wire carries it. How the document
is read where it leaves a choice:
- A row without bid or ask gets the last price one tick down or up, 20 lots deep; a side without price or size is no side.
- A price of 0 is no quote. A quote is judged when it arrives; it stays clean or suspect until the next one.
- A breach ends when the P&L is off the line again. "Second distinct update": each suspect leg has shown other content.
- A breach's deadlines (settling, confirmation) are looked at when they fall due, with the quotes known then.
- The peak rises, and the trailing stop arms, only when every leg is clean. A target needs every leg clean.
- DTE is decided when the day starts, before the first price; the square-off at its second, before quotes of that second.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from math import gcd
from pathlib import Path

IST = timezone(timedelta(hours=5, minutes=30))
SETTLE_MS, CONFIRM_MS = 100, 1_000
HARD = Fraction(3, 2)
JUMP_MS = 1_000
TICK = 5
NEUTRAL = (25, 50, 21)
CATEGORY = {  # target %, stop %, DTE (exit_rules 3)
    "Bull Call Spread": (50, 50, 7),
    "Bear Call Spread": (50, 50, 7),
    "Bull Put Spread": (50, 50, 7),
    "Bear Put Spread": (50, 50, 7),
    "Long Straddle": (75, 50, 10),
    "Long Strangle": (75, 50, 10),
    "Jade Lizard": (50, 200, 21),
}
OF_PREMIUM = {"Long Straddle", "Long Strangle"}
OF_CREDIT = {"Jade Lizard"}


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded update. Sides are None where there is none."""

    at_ms: int
    security_id: int
    last: int
    bid: int | None
    ask: int | None
    bid_size: int
    ask_size: int


@dataclass(frozen=True, slots=True)
class Leg:
    """`units` signed, `strike` and `entry` in paise."""

    row_id: int
    security_id: int
    right: str
    strike: int
    units: int
    lot: int
    entry: int


@dataclass(frozen=True, slots=True)
class Level:
    """One row of strategy_exit_levels as stored: rupees, per cent or days."""

    exit_type: str
    level_name: str
    trigger_type: str
    value: Decimal
    action: str = "Close entire position"


@dataclass(frozen=True, slots=True)
class Risk:
    """Columns of strategy_risk_management as stored. `basis` is not stored: what the book's maker had in mind."""

    max_capital_at_risk: Decimal | None = None
    strategy_level_stop: Decimal | None = None
    trailing_stop: Decimal | None = None
    profit_target_pct: Decimal | None = None
    basis: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    strategy_id: int
    name: str
    style: str
    expiry: date
    legs: tuple[Leg, ...]
    levels: tuple[Level, ...] = ()
    risk: Risk | None = None
    product: str = "MARGIN"


@dataclass(frozen=True, slots=True)
class Amounts:
    """The levels of one position, whole position, paise and days. None: that rule is not in force."""

    stop: int | None
    arm: int | None
    distance: int | None
    target: int | None
    dte: int
    theta: int | None


@dataclass(frozen=True, slots=True)
class Exit:
    """`threshold` and `observed`: paise for P&L rules, days for DTE, None for the clock. `at_ms` UTC of the decision."""

    rule: str
    threshold: int | None
    observed: int | None
    at_ms: int


def read_rows(path: Path, tick: int, lots: dict[int, int]) -> list[Row]:
    """The option rows in file order."""
    rows = []
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for raw in csv.DictReader(file):
            if raw["exchange_segment"] != "NSE_FNO" or int(raw["security_id"]) not in lots:
                continue
            last, deep = paise(raw["ltp"]), 20 * lots[int(raw["security_id"])]
            bid = paise(raw["bid"]) if raw["bid"] else last - tick
            ask = paise(raw["ask"]) if raw["ask"] else last + tick
            bid_size = int(float(raw["bid_qty"])) if raw["bid_qty"] else deep
            ask_size = int(float(raw["ask_qty"])) if raw["ask_qty"] else deep
            at_ms = int(raw["ts_ms"]) // 1_000 * 1_000
            rows.append(
                Row(
                    at_ms,
                    int(raw["security_id"]),
                    last,
                    bid if bid > 0 and bid_size > 0 else None,
                    ask if ask > 0 and ask_size > 0 else None,
                    bid_size,
                    ask_size,
                )
            )
    return rows


def paise(rupees: str | Decimal) -> int:
    return int((Decimal(rupees) * 100).to_integral_value(rounding=ROUND_HALF_EVEN))


def mark_of(row: Row) -> int:
    """The last price clamped into the book where it has two sides (exit_rules 1)."""
    if row.bid is None or row.ask is None or row.bid > row.ask:
        return row.last
    return min(max(row.last, row.bid), row.ask)


def is_clean(row: Row, before: Row | None) -> bool:
    """exit_rules 2, first paragraph."""
    if row.bid is None or row.ask is None or row.bid > row.ask:
        return False
    if any(price % TICK for price in (row.last, row.bid, row.ask)):
        return False
    middle = Fraction(row.bid + row.ask, 2)
    if row.ask - row.bid > max(5 * TICK, middle / 10):
        return False
    if not row.bid - TICK <= row.last <= row.ask + TICK:
        return False
    if before is None or row.at_ms - before.at_ms >= JUMP_MS:
        return True
    return abs(mark_of(row) - mark_of(before)) < Fraction(mark_of(before), 5)


def net_premium_of(plan: Plan) -> int:
    """Sold less bought: positive is a credit."""
    return sum(-leg.units * leg.entry for leg in plan.legs)


def _at_expiry(plan: Plan, underlying: int) -> int:
    total = 0
    for leg in plan.legs:
        gain = underlying - leg.strike if leg.right == "CE" else leg.strike - underlying
        total += leg.units * (max(gain, 0) - leg.entry)
    return total


def max_profit_of(plan: Plan) -> int | None:
    """The largest payoff over a grid that holds every bend; None when the calls are net bought."""
    if sum(leg.units for leg in plan.legs if leg.right == "CE") > 0:
        return None
    return max(0, *(_at_expiry(plan, price) for price in (0, *(leg.strike for leg in plan.legs))))


def max_loss_of(plan: Plan) -> int | None:
    if sum(leg.units for leg in plan.legs if leg.right == "CE") < 0:
        return None
    return max(0, *(-_at_expiry(plan, price) for price in (0, *(leg.strike for leg in plan.legs))))


def basis_of(plan: Plan) -> Fraction:
    """What a stored rupee amount is multiplied with: by comparing the stored max loss with the legs' own, within 5 %."""
    sets = gcd(*(leg.units for leg in plan.legs))
    per_lot = Fraction(sets, plan.legs[0].lot)
    own, stored = max_loss_of(plan), None if plan.risk is None else plan.risk.max_capital_at_risk
    if own and stored:
        for factor in (per_lot, Fraction(sets), Fraction(1)):
            if abs(paise(stored) * factor - own) * 20 <= own:
                return factor
    return per_lot


def amounts_of(plan: Plan) -> Amounts:
    """Where a level comes from (exit_rules 3, end): rows, then columns, then the category's default."""
    most_profit, most_loss = max_profit_of(plan), max_loss_of(plan)
    risk = plan.risk or Risk()
    target_share, stop_share, days = CATEGORY.get(plan.name, NEUTRAL)
    stops = [_amount_of_row(plan, row, most_loss) for row in _rows_of(plan, "stop_loss", "primary")]
    stops += [_share(plan, percent, most_loss) for percent in (risk.strategy_level_stop,) if percent]
    stops.append(_share(plan, stop_share, _default_base(plan, most_loss)))
    targets = [_amount_of_row(plan, row, most_profit) for row in _rows_of(plan, "profit_target", "primary")]
    targets += [_share(plan, percent, most_profit) for percent in (risk.profit_target_pct,) if percent]
    targets.append(_share(plan, target_share, _default_base(plan, most_profit)))
    arm, distance = _trailing(plan, risk, most_profit)
    return Amounts(
        stop=_first_within(stops, most_loss, else_last=True),
        arm=arm,
        distance=distance,
        target=_first_within(targets, most_profit, else_last=False),
        dte=next((int(row.value) for row in _rows_of(plan, "time_exit", "primary")), days),
        theta=next((int(row.value) for row in _rows_of(plan, "time_exit", "theta_exit")), None),
    )


def _rows_of(plan: Plan, kind: str, name: str) -> list[Level]:
    return [level for level in plan.levels if (level.exit_type, level.level_name) == (kind, name)]


def _amount_of_row(plan: Plan, row: Level, most: int | None) -> int:
    return _stored(plan, row.value) if row.trigger_type == "price" else _share(plan, row.value, most)


def _stored(plan: Plan, rupees: Decimal) -> int:
    return round(paise(rupees) * basis_of(plan))


def _share(plan: Plan, percent: Decimal | int, whole: int | None) -> int:
    """Per cent of max loss or max profit where that is finite, of the net premium otherwise."""
    return round(Fraction(percent) * (whole or abs(net_premium_of(plan))) / 100)


def _default_base(plan: Plan, most: int | None) -> int | None:
    is_credit = net_premium_of(plan) > 0
    if plan.name in OF_PREMIUM or (plan.name in OF_CREDIT and is_credit):
        return abs(net_premium_of(plan))
    return most


def _trailing(plan: Plan, risk: Risk, most_profit: int | None) -> tuple[int | None, int | None]:
    """The row arms; the distance is the column's, or 10 % of max profit."""
    for row in _rows_of(plan, "profit_target", "trailing"):
        distance = _stored(plan, risk.trailing_stop) if risk.trailing_stop else _share(plan, 10, most_profit)
        return _stored(plan, row.value), distance
    return None, None


def _first_within(amounts: list[int], most: int | None, *, else_last: bool) -> int | None:
    """A level that the legs can never reach gives way to the next source."""
    usable = [amount for amount in amounts if amount > 0]
    for amount in usable:
        if most is None or amount <= most:
            return amount
    return usable[-1] if usable and else_last else None


@dataclass(slots=True)
class _Breach:
    since_ms: int
    updated: set[int]
    first: dict[int, Row]
    other: set[int] = field(default_factory=set)


class Watcher:
    """One position through one day."""

    def __init__(self, plan: Plan, amounts: Amounts, day: date, square_off: time) -> None:
        self._plan = plan
        self._levels = amounts
        self._days = (plan.expiry - day).days
        at = datetime.combine(day, square_off, IST)
        self._square_off_ms = int(at.timestamp()) * 1_000 if plan.product == "INTRADAY" else None
        self._quotes: dict[int, Row] = {}
        self._clean: dict[int, bool] = {}
        self._breaches: dict[str, _Breach] = {}
        self._peak: int | None = 0 if amounts.arm == 0 else None
        self._told_ms = 0

    def watch(self, rows: list[Row], start_ms: int) -> Exit | None:
        """`rows` are all of the day's; `start_ms` is when the clock is first told, before the first of them."""
        if self._days <= self._levels.dte:
            return Exit("dte_exit", self._levels.dte, self._days, start_ms)
        mine = {leg.security_id for leg in self._plan.legs}
        for row in rows:
            if row.security_id in mine and row.last > 0:
                found = self._until(row.at_ms) or self._take(row)
                if found is not None:
                    return found
        return self._until(rows[-1].at_ms + 2 * CONFIRM_MS)

    def _until(self, end_ms: int) -> Exit | None:
        """What falls due by the clock alone, up to and with `end_ms`."""
        while True:
            due = {b.since_ms + wait for b in self._breaches.values() for wait in (SETTLE_MS, CONFIRM_MS)}
            if self._square_off_ms is not None:
                due.add(self._square_off_ms)
            now = min((at for at in due if self._told_ms < at <= end_ms), default=None)
            if now is None:
                return None
            self._told_ms = now
            found = self._judge(now, None)
            if found is not None:
                return found

    def _take(self, row: Row) -> Exit | None:
        before = self._quotes.get(row.security_id)
        if before is not None and max(row.last, mark_of(row)) > 100 * mark_of(before):
            raise AssertionError(
                f"the recording has an absurd price, and nothing is said here about the quotes after: {row}"
            )
        self._quotes[row.security_id] = row
        self._clean[row.security_id] = is_clean(row, before)
        for breach in self._breaches.values():
            breach.updated.add(row.security_id)
        self._told_ms = max(self._told_ms, row.at_ms)
        return self._judge(row.at_ms, row.security_id)

    def _judge(self, now_ms: int, ticked: int | None) -> Exit | None:
        legs = self._plan.legs
        if len(self._quotes) < len(legs):
            return self._square_off(now_ms)
        pnl = sum(leg.units * (mark_of(self._quotes[leg.security_id]) - leg.entry) for leg in legs)
        if all(self._clean.values()) and self._levels.arm is not None:
            if self._peak is None and pnl >= self._levels.arm:
                self._peak = pnl
            elif self._peak is not None:
                self._peak = max(self._peak, pnl)
        fired: dict[str, Exit] = {}
        for rule, line, hard in self._lines():
            is_breached = pnl >= line if rule == "profit_target" else pnl <= line
            if not is_breached:
                self._breaches.pop(rule, None)
            elif self._is_believed(rule, line, hard, pnl, now_ms, ticked):
                fired[rule] = Exit(rule, line, pnl, now_ms)
        off = self._square_off(now_ms)
        if off is not None:
            fired["square_off"] = off
        order = ("stop_loss", "trailing_stop", "square_off", "theta_exit", "profit_target")
        return next((fired[rule] for rule in order if rule in fired), None)

    def _square_off(self, now_ms: int) -> Exit | None:
        """Only the clock's own second tells: quotes do not."""
        if self._square_off_ms is not None and now_ms == self._square_off_ms:
            return Exit("square_off", None, None, now_ms)
        return None

    def _lines(self) -> Iterator[tuple[str, int, int | None]]:
        """Rule, line, hard line."""
        levels = self._levels
        if levels.stop is not None:
            yield "stop_loss", -levels.stop, -round(levels.stop * HARD)
        if self._peak is not None and levels.distance is not None:
            yield "trailing_stop", self._peak - levels.distance, self._peak - round(levels.distance * HARD)
        if levels.theta is not None and self._days <= levels.theta:
            yield "theta_exit", 0, None
        if levels.target is not None:
            yield "profit_target", levels.target, None

    def _is_believed(self, rule: str, line: int, hard: int | None, pnl: int, now_ms: int, ticked: int | None) -> bool:
        if rule not in self._breaches:
            self._breaches[rule] = _Breach(now_ms, set() if ticked is None else {ticked}, dict(self._quotes))
        breach = self._breaches[rule]
        breach.other |= {key for key, row in self._quotes.items() if row != breach.first[key]}
        waited = now_ms - breach.since_ms
        is_settled = len(breach.updated) == len(self._plan.legs) or waited >= SETTLE_MS
        suspects = {key for key, is_clean_ in self._clean.items() if not is_clean_}
        if rule == "profit_target":
            return is_settled and not suspects
        best = self._best_pnl()
        if hard is not None and pnl <= hard and best is not None:
            return True
        return is_settled and (
            not suspects or suspects <= breach.other or (best is not None and best <= line) or waited >= CONFIRM_MS
        )

    def _best_pnl(self) -> int | None:
        """P&L with longs at the ask and shorts at the bid; None unless every book has two sides."""
        total = 0
        for leg in self._plan.legs:
            row = self._quotes[leg.security_id]
            if row.bid is None or row.ask is None or row.bid > row.ask:
                return None
            total += leg.units * ((row.ask if leg.units > 0 else row.bid) - leg.entry)
        return total


def expected_exits(
    plans: list[Plan], rows: list[Row], day: date, square_off: time, start_ms: int
) -> dict[int, Exit | None]:
    return {plan.strategy_id: Watcher(plan, amounts_of(plan), day, square_off).watch(rows, start_ms) for plan in plans}
