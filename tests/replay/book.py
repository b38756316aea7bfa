"""A seeded book of positions over one recorded day: plain facts, known to the oracle and to the writer of the rows.

No contract is held twice: two strategies on opposite sides of one contract block each other's exits by design, and the
fills of one would thin the quotes that the other is judged by.
"""

from __future__ import annotations

import csv
import gzip
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import gcd
from pathlib import Path

from tests.replay.oracle_levels import max_loss_of, net_premium_of
from tests.replay.recorded import TICK, Leg, Level, Plan, Risk, Row, mark_of, read_rows


@dataclass(frozen=True, slots=True)
class Contract:
    """`strike` in paise."""

    security_id: int
    underlying: str
    expiry: date
    strike: int
    right: str
    lot: int


@dataclass(frozen=True, slots=True)
class Recording:
    """`moved_expiry`: contracts that expire on the recorded day are listed with this date, except those of DTE positions."""

    name: str
    day: date
    rows: Path
    master: Path
    positions: int
    moved_expiry: date | None = None


@dataclass(slots=True)
class Book:
    plans: list[Plan] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    moved: set[int] = field(default_factory=set)


Shape = tuple[str, tuple[tuple[str, int, int], ...]]
"""Name, and for each leg: right, place among the chosen strikes, lots (signed)."""

SHAPES: tuple[Shape, ...] = (
    ("Iron Condor", (("PE", 0, 1), ("PE", 1, -1), ("CE", 2, -1), ("CE", 3, 1))),
    ("Short Strangle", (("PE", 0, -1), ("CE", 1, -1))),
    ("Long Strangle", (("PE", 0, 1), ("CE", 1, 1))),
    ("Short Straddle", (("PE", 0, -1), ("CE", 0, -1))),
    ("Long Straddle", (("PE", 0, 1), ("CE", 0, 1))),
    ("Bull Call Spread", (("CE", 0, 1), ("CE", 1, -1))),
    ("Bear Call Spread", (("CE", 0, -1), ("CE", 1, 1))),
    ("Bear Put Spread", (("PE", 0, -1), ("PE", 1, 1))),
    ("Bull Put Spread", (("PE", 0, 1), ("PE", 1, -1))),
    ("Butterfly", (("CE", 0, 1), ("CE", 1, -2), ("CE", 2, 1))),
    ("Butterfly", (("PE", 0, 1), ("PE", 1, -2), ("PE", 2, 1))),
    ("Call Ratio", (("CE", 0, 1), ("CE", 1, -2))),
    ("Put Ratio", (("PE", 0, -2), ("PE", 1, 1))),
    ("Jade Lizard", (("PE", 0, -1), ("CE", 1, -1), ("CE", 2, 1))),
)
STYLES = (
    "stop price", "stop percent", "target price", "target percent", "trailing", "trailing from entry", "stop and target",
    "DTE", "theta", "square-off", "defaults", "columns", "never", "tight stop", "trailing",
)  # fmt: skip


def make_book(recording: Recording, seed: int) -> Book:
    """The same seed gives the same book. Every leg has a two-sided quote in the first snapshot of its series."""
    chance = random.Random(seed)
    book = Book(rows=read_rows(recording.rows, _lots(recording)))
    first: dict[int, Row] = {}
    for row in book.rows:
        if row.last > 0:
            first.setdefault(row.security_id, row)
    series: dict[tuple[str, date], dict[tuple[int, str], Contract]] = defaultdict(dict)
    for contract in _contracts(recording.master):
        row = first.get(contract.security_id)
        if row is not None and row.bid is not None and row.ask is not None:
            series[contract.underlying, contract.expiry][contract.strike, contract.right] = contract
    for number in range(recording.positions):
        style = STYLES[number % len(STYLES)]
        name, chosen = _pick(chance, series)
        lots = chance.choice((1, 1, 2, 3))
        legs = tuple(
            Leg(
                row_id=100 * (number + 1) + at,
                security_id=contract.security_id,
                right=contract.right,
                strike=contract.strike,
                units=share * lots * contract.lot,
                lot=contract.lot,
                entry=_entry(chance, first[contract.security_id]),
            )
            for at, (contract, share) in enumerate(chosen)
        )
        expiry = chosen[0][0].expiry
        if recording.moved_expiry is not None and expiry == recording.day and style != "DTE":
            expiry = recording.moved_expiry
            book.moved.update(leg.security_id for leg in legs)
        book.plans.append(_with_levels(chance, style, Plan(1_000 + number, name, style, expiry, legs), recording.day))
    return book


def _contracts(master: Path) -> list[Contract]:
    with gzip.open(master, "rt", encoding="utf-8", newline="") as file:
        return [
            Contract(
                int(row["SECURITY_ID"]),
                row["UNDERLYING_SYMBOL"],
                date.fromisoformat(row["SM_EXPIRY_DATE"]),
                int(Decimal(row["STRIKE_PRICE"]) * 100),
                row["OPTION_TYPE"],
                int(row["LOT_SIZE"]),
            )
            for row in csv.DictReader(file)
            if row["OPTION_TYPE"] in {"CE", "PE"}
        ]


def _lots(recording: Recording) -> dict[int, int]:
    return {contract.security_id: contract.lot for contract in _contracts(recording.master)}


def _pick(
    chance: random.Random, series: dict[tuple[str, date], dict[tuple[int, str], Contract]]
) -> tuple[str, list[tuple[Contract, int]]]:
    """A shape over contracts that no position holds yet; they are taken out of the series."""
    while True:
        name, shape = chance.choice(SHAPES)
        free = series[chance.choice(sorted(series))]
        strikes = sorted({strike for strike, _ in free})
        needed = max(place for _, place, _ in shape) + 1
        if len(strikes) < needed:
            continue
        places = sorted(chance.sample(range(len(strikes)), needed))
        if places[-1] - places[0] > 4 * needed:
            continue
        wanted = [((strikes[places[place]], right), lots) for right, place, lots in shape]
        if all(key in free for key, _ in wanted):
            return name, [(free.pop(key), lots) for key, lots in wanted]


def _entry(chance: random.Random, row: Row) -> int:
    price = mark_of(row) * chance.uniform(0.97, 1.03)
    return max(round(price / TICK) * TICK, TICK)


def _with_levels(chance: random.Random, style: str, plan: Plan, day: date) -> Plan:
    days_left = (plan.expiry - day).days
    levels: list[Level] = []
    if style != "DTE" and (style != "defaults" or days_left <= 21):
        # Below the days that are left, so that the other rules get their day.
        levels.append(Level("time_exit", "primary", "dte", Decimal(max(min(days_left - 1, 3), 1))))
    elif style == "DTE" and chance.random() < 0.7:
        levels.append(Level("time_exit", "primary", "dte", Decimal(max(days_left, 1) + chance.randint(0, 3))))
    if style == "theta":
        levels.append(Level("time_exit", "theta_exit", "dte", Decimal(days_left + 2)))
    risk = _add_stop(chance, style, plan, levels)
    risk = _add_target(chance, style, plan, levels, risk)
    if style.startswith("trailing"):
        risk = _add_trailing(chance, style, plan, levels)
    if style == "columns":
        risk = Risk(
            strategy_level_stop=Decimal(chance.randint(5, 30)), profit_target_pct=Decimal(chance.randint(5, 30))
        )
    product = "INTRADAY" if style == "square-off" else "MARGIN"
    return Plan(plan.strategy_id, plan.name, style, plan.expiry, plan.legs, tuple(levels), risk, product)


def _premium(plan: Plan) -> int:
    """What the ₹ levels are sized by, never tiny."""
    return max(abs(net_premium_of(plan)), 20_00 * plan.legs[0].lot)


def _add_stop(chance: random.Random, style: str, plan: Plan, levels: list[Level]) -> Risk | None:
    if style == "stop percent":
        levels.append(Level("stop_loss", "primary", "percentage", Decimal(chance.randint(5, 40))))
    if style not in {"stop price", "stop and target", "tight stop", "never"}:
        return None
    share = {"tight stop": 0.03, "never": 40.0}.get(style, chance.uniform(0.08, 0.5))
    risk, stored = _stored(chance, plan, round(_premium(plan) * share))
    levels.append(Level("stop_loss", "primary", "price", stored))
    return risk


def _add_target(chance: random.Random, style: str, plan: Plan, levels: list[Level], risk: Risk | None) -> Risk | None:
    if style == "target percent":
        levels.append(Level("profit_target", "primary", "percentage", Decimal(chance.randint(5, 30))))
    if style in {"target price", "stop and target", "never"}:
        share = 80.0 if style == "never" else chance.uniform(0.05, 0.4)
        risk, stored = _stored(chance, plan, round(_premium(plan) * share), risk)
        levels.append(Level("profit_target", "primary", "price", stored))
    return risk


def _add_trailing(chance: random.Random, style: str, plan: Plan, levels: list[Level]) -> Risk:
    """From entry: armed by the first paise of profit. One in three leaves the distance to its default."""
    share = 0.000_1 if style == "trailing from entry" else chance.uniform(0.01, 0.08)
    risk, arm = _stored(chance, plan, round(_premium(plan) * share))
    _, distance = _stored(chance, plan, round(_premium(plan) * chance.uniform(0.01, 0.1)), risk)
    levels.append(Level("profit_target", "trailing", "price", arm))
    stored_loss = None if risk is None else risk.max_capital_at_risk
    return Risk(max_capital_at_risk=stored_loss, trailing_stop=None if chance.random() < 0.33 else distance)


def _stored(chance: random.Random, plan: Plan, amount: int, risk: Risk | None = None) -> tuple[Risk | None, Decimal]:
    """An amount of the whole position in paise as the rupees a row would hold, and the risk row that shows the basis."""
    units = gcd(*(leg.units for leg in plan.legs))
    per_lot = Fraction(units, plan.legs[0].lot)
    largest = max_loss_of(plan)
    factor = per_lot
    if risk is not None and risk.basis is not None:
        factor = risk.basis
    elif largest:
        factor = chance.choice((per_lot, Fraction(units), Fraction(1)))
        stored = Decimal(round(largest / factor)) / 100
        risk = Risk(max_capital_at_risk=stored, basis=factor)
    return risk, max(Decimal(round(amount / factor)) / 100, Decimal("0.01"))
