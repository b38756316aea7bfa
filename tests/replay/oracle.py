"""When each position has to be closed: slow, plain, and written from design/exit_rules.md alone. Imports nothing of core.

How the document is read where it leaves a choice:
- A price of 0 is no quote. A quote is judged when it arrives; it stays clean or suspect until the next one.
- A breach ends when the P&L is off the line again. "Second distinct update": each suspect leg has shown other content.
- A breach's deadlines (settling, confirmation) are looked at when they fall due, with the quotes known then.
- The peak rises, and the trailing stop arms, only when every leg is clean. A target needs every leg clean.
- DTE is decided when the day starts, before the first price; the square-off at its second, before quotes of that second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from fractions import Fraction

from tests.replay.oracle_levels import Amounts, amounts_of
from tests.replay.recorded import TICK, Plan, Row, mark_of

IST = timezone(timedelta(hours=5, minutes=30))
SETTLE_MS, CONFIRM_MS = 100, 1_000
HARD = Fraction(3, 2)
JUMP_MS = 1_000


@dataclass(frozen=True, slots=True)
class Exit:
    """`threshold` and `observed`: paise for P&L rules, days for DTE, None for the clock. `at_ms` UTC of the decision."""

    rule: str
    threshold: int | None
    observed: int | None
    at_ms: int


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
        if hard is not None and pnl <= hard and best is not None and best <= line:
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
