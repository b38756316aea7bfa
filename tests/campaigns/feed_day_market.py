"""The day of the campaign: a recorded day made dense, a book of positions over it, and when each has to be closed.

The recording has a snapshot or two a minute. Here every instrument gets a price on one grid (`STEP_S` of real time apart), on the
straight line between its recorded prices, with the last price inside the book: a breach then lasts as long as it lasted, and
what is seen a second late is not another market. The 18-minute hole is bridged in the same way. After the day comes a
calm tail in which prices stand still and packets go on: what has to come back has time to come back.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import random
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise, zip_longest
from pathlib import Path

from core.stores.schema import create_tables
from tests.campaigns.feed_day_truth import STEP_S, Price, must_fire, reach_of
from tests.replay.book import Recording, make_book
from tests.replay.oracle import expected_exits
from tests.replay.recorded import TICK, Plan, Row, paise

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "replay"
DAY = Recording(
    "normal day",
    date(2025, 8, 29),
    FOLDER / "nse_2025-08-29_normal_day.csv.gz",
    FOLDER / "nse_2025-08-29_instruments.csv.gz",
    positions=40,
)
INDICES = (13, 25)
POSITIONS = 40
EXITING = 28
BOOKS = 12
SURE_S, LASTS_S = 1.5, 3.0
"""A chosen exit is one that prices up to `SURE_S` late bring as well, at most `LASTS_S` later."""
_NOON_MS = 1_756_449_000_000


@dataclass(frozen=True, slots=True)
class Day:
    """`prices[security_id][k]` is shown `k * STEP_S` real seconds after the first. `steps` without the tail."""

    plans: tuple[Plan, ...]
    prices: dict[int, list[Price]]
    steps: int
    tail: int
    speed: float
    today: date

    def rows(self, started_ms: int, wanted: Collection[int] | None = None) -> list[Row]:
        """Everything the options showed, in order, at real times (UTC ms). Sizes say only that there is a side."""
        wanted = self.prices.keys() - set(INDICES) if wanted is None else wanted
        held = sorted(wanted)
        return [
            Row(started_ms + round(k * STEP_S * 1_000), each, price.last, price.bid, price.ask, 1, 1)
            for k in range(self.steps + self.tail)
            for each in held
            for price in (self.prices[each][k],)
        ]


def make_day(
    seed: int, speed: float, today: date, *, from_s: int = 0, until_s: int | None = None, tail_s: float
) -> Day:
    """`from_s` and `until_s` cut a piece out of the recorded day: seconds after its first price. `tail_s` is real time."""
    recorded = _recorded()
    first_ms = min(at_ms for points in recorded.values() for at_ms, _ in points)
    last_ms = max(at_ms for points in recorded.values() for at_ms, _ in points)
    if until_s is not None:
        last_ms = min(last_ms, first_ms + until_s * 1_000)
    first_ms += from_s * 1_000
    step_ms = STEP_S * speed * 1_000
    steps = int((last_ms - first_ms) / step_ms) + 1
    tail = int(tail_s / STEP_S)
    grid_ms = [first_ms + round(k * step_ms) for k in range(steps)]
    prices = {}
    for security_id, points in recorded.items():
        line = _dense(points, grid_ms, is_index=security_id in INDICES)
        prices[security_id] = line + [line[-1]] * tail
    day = Day((), prices, steps, tail, speed, today)
    chosen = list(_chosen(seed, day))
    # Those that stay to the end would otherwise come last, on one connection, and leave the others empty.
    random.Random(seed).shuffle(chosen)
    plans = tuple(_numbered(number, plan) for number, plan in enumerate(chosen))
    held = {leg.security_id for plan in plans for leg in plan.legs} | set(INDICES)
    return replace(day, plans=plans, prices={key: line for key, line in prices.items() if key in held})


def _chosen(seed: int, day: Day) -> Iterator[Plan]:
    """Of the positions of several seeded books: those that exit spread over the whole day, then others; no contract twice.

    As they come, half of them exit at the first price, and a fault can only disturb what is still to come. A level that is
    touched and left again within one round of REST is no exit that anybody could owe: those positions are left out.
    """
    later = day.today - DAY.day
    found: list[tuple[float | None, Plan]] = []
    for number in range(BOOKS):
        plans = [replace(plan, expiry=plan.expiry + later) for plan in make_book(DAY, 100 * seed + number).plans]
        plans = [plan for plan in plans if all(leg.security_id in day.prices for leg in plan.legs)]
        mine = {leg.security_id for plan in plans for leg in plan.legs}
        # The square-off is left out here: its time is real, and it is every INTRADAY position's that is still open then.
        expected = expected_exits(plans, day.rows(_NOON_MS, mine), None, _NOON_MS)
        for plan in plans:
            exit_ = expected[plan.strategy_id]
            if exit_ is None:
                found.append((None, plan))
                continue
            at_s = (exit_.at_ms - _NOON_MS) / 1_000
            must = must_fire(plan, day.today, reach_of(plan, day.prices, SURE_S))
            if must is not None and must * STEP_S <= at_s + SURE_S + LASTS_S:
                found.append((at_s, plan))
    taken: set[int] = set()
    chosen = 0
    for plans, at_most in _in_turns(found, day.steps * STEP_S):
        until = min(chosen + at_most, POSITIONS)
        for plan in plans:
            mine = {leg.security_id for leg in plan.legs}
            if chosen == until:
                break
            if not mine & taken:
                taken |= mine
                yield plan
                chosen += 1


def _numbered(number: int, plan: Plan) -> Plan:
    legs = tuple(replace(leg, row_id=100 * (number + 1) + at) for at, leg in enumerate(plan.legs))
    return replace(plan, strategy_id=1_000 + number, legs=legs)


def _in_turns(found: list[tuple[float | None, Plan]], length_s: float) -> list[tuple[list[Plan], int]]:
    """Groups, and how many of each at most: one from each twelfth of the day in turn, by the clock, by days, never."""
    parts: list[list[Plan]] = [[] for _ in range(12)]
    by_clock, by_days, never = [], [], []
    for at_s, plan in found:
        if plan.style == "square-off":
            by_clock.append(plan)
        elif plan.style == "DTE":
            by_days.append(plan)
        elif at_s is None:
            never.append(plan)
        elif at_s > 0.02 * length_s:
            parts[min(int(at_s / length_s * 12), 11)].append(plan)
    turns = [plan for turn in zip_longest(*parts) for plan in turn if plan is not None]
    return [(turns, EXITING), (by_clock, 3), (by_days, 2), (never, POSITIONS)]


def _recorded() -> dict[int, list[tuple[int, Price]]]:
    points: dict[int, list[tuple[int, Price]]] = defaultdict(list)
    with gzip.open(DAY.rows, "rt", encoding="utf-8", newline="") as file:
        for raw in csv.DictReader(file):
            security_id, last = int(raw["security_id"]), paise(raw["ltp"])
            if last <= 0:
                continue
            if security_id in INDICES:
                points[security_id].append((int(raw["ts_ms"]), Price(last, 0, 0)))
            elif raw["bid"] and raw["ask"] and 0 < paise(raw["bid"]) < paise(raw["ask"]):
                points[security_id].append((int(raw["ts_ms"]), Price(last, paise(raw["bid"]), paise(raw["ask"]))))
    return points


def _dense(points: list[tuple[int, Price]], grid_ms: list[int], *, is_index: bool) -> list[Price]:
    found = [points[0][1]] * sum(at_ms < points[0][0] for at_ms in grid_ms)
    for (from_ms, one), (to_ms, other) in pairwise([*points, (grid_ms[-1] + 1, points[-1][1])]):
        while len(found) < len(grid_ms) and grid_ms[len(found)] < to_ms:
            share = max(grid_ms[len(found)] - from_ms, 0) / max(to_ms - from_ms, 1)
            found.append(_between(one, other, share, is_index=is_index))
    return found


def _between(one: Price, other: Price, share: float, *, is_index: bool) -> Price:
    last = _on_grid(one.last, other.last, share)
    if is_index:
        return Price(last, 0, 0)
    bid = max(_on_grid(one.bid, other.bid, share), TICK)
    ask = max(_on_grid(one.ask, other.ask, share), bid + TICK)
    return Price(min(max(last, bid), ask), bid, ask)


def _on_grid(one: int, other: int, share: float) -> int:
    return round((one + (other - one) * share) / TICK) * TICK


def write_recording(day: Day, path: Path) -> None:
    """In the format of the local exchange. Its own times are the real ones times the speed, from midnight of no matter when."""
    order = (*INDICES, *sorted(day.prices.keys() - set(INDICES)))
    step_ms = STEP_S * day.speed * 1_000
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("ts_ms,exchange_segment,security_id,ltp,bid,ask,bid_qty,ask_qty,volume,oi\n")
        for k in range(day.steps + day.tail):
            for security_id in order:
                price, at_ms = day.prices[security_id][k], 1_756_439_565_000 + round(k * step_ms)
                book = f"{price.bid / 100},{price.ask / 100}" if price.bid else ","
                segment = "NSE_FNO" if price.bid else "IDX_I"
                file.write(f"{at_ms},{segment},{security_id},{price.last / 100},{book},,,,\n")


def write_master(day: Day, path: Path) -> None:
    """Every contract expires as many days after today as it did after the recorded day."""
    with gzip.open(DAY.master, "rt", encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    for row in rows:
        if row["SM_EXPIRY_DATE"]:
            expiry = date.fromisoformat(row["SM_EXPIRY_DATE"]) + timedelta(days=(day.today - DAY.day).days)
            row["SM_EXPIRY_DATE"] = expiry.isoformat()
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_trades(day: Day, database: Path) -> None:
    create_tables(database)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for plan in day.plans:
            _write_plan(connection, plan, day.today)


def _write_plan(connection: sqlite3.Connection, plan: Plan, today: date) -> None:
    for leg in plan.legs:
        side = "BUY" if leg.units > 0 else "SELL"
        connection.execute(
            "INSERT INTO trades (new_id, strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy,"
            " action, quantity, price, strike_price, expiry_date, order_status, timestamp, product_type)"
            " VALUES (?, ?, ?, ?, 'NSE_FNO', 'INDEX', ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?)",
            (
                leg.row_id, plan.strategy_id, f"E{leg.row_id}", leg.security_id, leg.right, plan.name, side,
                abs(leg.units), leg.entry / 100, leg.strike / 100, plan.expiry.isoformat(), f"{today}T09:20:00",
                plan.product,
            ),
        )  # fmt: skip
    for level in plan.levels:
        connection.execute(
            "INSERT INTO strategy_exit_levels"
            " (strategy_id, exit_type, level_name, trigger_value, trigger_type, action) VALUES (?, ?, ?, ?, ?, ?)",
            (plan.strategy_id, level.exit_type, level.level_name, str(level.value), level.trigger_type, level.action),
        )
    if plan.risk is not None:
        columns = (plan.risk.max_capital_at_risk, plan.risk.strategy_level_stop, plan.risk.trailing_stop)
        values = [None if value is None else str(value) for value in (*columns, plan.risk.profit_target_pct)]
        connection.execute(
            "INSERT INTO strategy_risk_management (strategy_id, max_capital_at_risk, strategy_level_stop,"
            " trailing_stop, profit_target_pct, time_stop_dte) VALUES (?, ?, ?, ?, ?, NULL)",
            (plan.strategy_id, *values),
        )
