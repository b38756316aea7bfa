"""The end of the demo: what was seen, and whether the exchange's own state, the rows and the records agree with it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.exit_records import read_lines
from core.model.money import paise_from_text, rupees_text
from core.model.orders import Side
from core.model.signals import ExitRecord, LegExecution, Mode
from core.view_tables import money_text, tick_to_sent_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from core.demo_book import DemoTrade


@dataclass(frozen=True, slots=True)
class BookedOrder:
    """An order as the exchange has it. `value`: paise x units filled. Times of its log, UTC ns; None when it has none."""

    order_id: str
    security_id: int
    side: Side
    filled: int
    value: int
    accepted_ns: int | None
    last_fill_ns: int | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is compared. `net`: the exchange's signed units by security id."""

    mode: Mode
    trades: Sequence[DemoTrade]
    exits: Sequence[ExitRecord]
    orders: Mapping[str, BookedOrder]
    net: Mapping[int, int]
    trades_db: Path
    records: Path


def tour(evidence: Evidence) -> str:
    """Each exit: which rule, what was compared with what, the orders, how fast, what it made."""
    lines = ["WHAT YOU SAW"]
    lines += [_exit_text(record, evidence) for record in sorted(evidence.exits, key=lambda r: r.finished_at_ns)]
    exited = {record.strategy_id for record in evidence.exits}
    still = [f"#{trade.strategy_id} {trade.name}" for trade in evidence.trades if trade.strategy_id not in exited]
    lines.append(f"Still guarded at the end: {', '.join(still) or 'none'}.")
    return "\n".join(lines)


def _exit_text(record: ExitRecord, evidence: Evidence) -> str:
    sent = tick_to_sent_ms(record.latency)
    speed = "" if sent is None else f", tick to first order on the wire {sent:.1f} ms"
    filled = record.latency.sent_to_filled
    speed += "" if filled is None else f", to the last fill {filled:.0f} ms more"
    lines = [
        f"- #{record.strategy_id} {record.strategy_name} {record.symbol}: {record.reason}",
        f"    realised {money_text(record.realised_pnl)}{speed}",
    ]
    for leg in _by_first_order(record.legs, evidence.orders):
        orders = ", ".join(leg.order_ids) or "no order"
        price = money_text(leg.average_price)
        lines.append(f"    {leg.side.value} {leg.filled} {leg.symbol} at {price} (order {orders})")
    return "\n".join(lines)


def _by_first_order(legs: Sequence[LegExecution], orders: Mapping[str, BookedOrder]) -> list[LegExecution]:
    def first_accepted(leg: LegExecution) -> int:
        times = [orders[order_id].accepted_ns or 0 for order_id in leg.order_ids if order_id in orders]
        return min(times, default=0)

    return sorted(legs, key=first_accepted)


def missed_promises(evidence: Evidence) -> list[str]:
    """The exits that the demo announces and that did not happen, in words."""
    fired = {(record.strategy_id, record.rule) for record in evidence.exits}
    return [
        f"#{trade.strategy_id} {trade.name} did not exit by its {trade.promise.value}"
        for trade in evidence.trades
        if trade.promise is not None and (trade.strategy_id, trade.promise) not in fired
    ]


def disagreements(evidence: Evidence) -> list[str]:
    """Every difference between the program's records and the exchange's own state, in words; [] is the good end."""
    if evidence.mode is not Mode.LIVE:
        count = len(evidence.orders)
        return [f"{count} orders reached the exchange in {evidence.mode.value} mode"] if count else []
    return [
        *_orders_differ(evidence),
        *_positions_differ(evidence),
        *_rows_differ(evidence),
        *_records_differ(evidence),
    ]


def _orders_differ(evidence: Evidence) -> Iterator[str]:
    ours = {order_id for record in evidence.exits for leg in record.legs for order_id in leg.order_ids}
    for order_id in evidence.orders.keys() - ours:
        yield f"order {order_id} of the exchange belongs to no exit"
    for record in evidence.exits:
        yield from _shorts_wait(record, evidence.orders)
        for leg in record.legs:
            yield from _leg_differs(record, leg, evidence.orders)


def _leg_differs(record: ExitRecord, leg: LegExecution, orders: Mapping[str, BookedOrder]) -> Iterator[str]:
    name = f"#{record.strategy_id} {leg.symbol}"
    booked = [orders[order_id] for order_id in leg.order_ids if order_id in orders]
    if len(booked) != len(leg.order_ids):
        yield f"{name}: the exchange does not know every order of it"
    filled = sum(order.filled for order in booked)
    if filled != leg.filled:
        yield f"{name}: {leg.filled} recorded as filled, {filled} filled at the exchange"
    elif leg.average_price is None or abs(leg.average_price * filled - sum(o.value for o in booked)) > filled:
        yield f"{name}: the recorded average {money_text(leg.average_price)} is not the exchange's"


def _shorts_wait(record: ExitRecord, orders: Mapping[str, BookedOrder]) -> Iterator[str]:
    """The shorts of a spread are bought back, wholly, before the first of its longs is sold."""
    booked = [orders[order_id] for leg in record.legs for order_id in leg.order_ids if order_id in orders]
    bought = [order.last_fill_ns for order in booked if order.side is Side.BUY]
    sold = [order.accepted_ns for order in booked if order.side is Side.SELL]
    last_bought = max((at for at in bought if at is not None), default=None)
    first_sold = min((at for at in sold if at is not None), default=None)
    if last_bought is not None and first_sold is not None and first_sold < last_bought:
        yield f"#{record.strategy_id}: a long was sold before the shorts were bought back"


def _positions_differ(evidence: Evidence) -> Iterator[str]:
    exited = {record.strategy_id for record in evidence.exits}
    for trade in evidence.trades:
        for leg in trade.legs:
            key = leg.contract.key
            wanted = 0 if trade.strategy_id in exited else leg.units
            found = evidence.net.get(key.security_id, 0)
            if found != wanted:
                yield f"#{trade.strategy_id} {leg.contract.symbol}: the exchange holds {found} units, expected {wanted}"


def _rows_differ(evidence: Evidence) -> Iterator[str]:
    prices = {
        (record.strategy_id, leg.security_id): leg.average_price for record in evidence.exits for leg in record.legs
    }
    with contextlib.closing(sqlite3.connect(evidence.trades_db)) as connection:
        rows = connection.execute("SELECT strategy_id, security_id, order_status, exit_price FROM trades").fetchall()
    for strategy_id, security_id, status, exit_price in rows:
        is_exited = (strategy_id, security_id) in prices
        wanted = "closed" if is_exited else "open"
        if status != wanted:
            yield f"the trades row of #{strategy_id}, security {security_id}, is {status}, expected {wanted}"
        elif is_exited and (exit_price is None or paise_from_text(exit_price) != prices[strategy_id, security_id]):
            yield f"the trades row of #{strategy_id}, security {security_id}, has exit price {exit_price}"


def _records_differ(evidence: Evidence) -> Iterator[str]:
    recorded = sorted(str(line.get("exit_id")) for line in read_lines(evidence.records))
    finished = sorted(record.exit_id for record in evidence.exits)
    if recorded != finished:
        yield f"{evidence.records.name} holds {len(recorded)} exits, {len(finished)} were finished"


def agreement(evidence: Evidence) -> str:
    """What was checked, for the case that nothing differs."""
    if evidence.mode is not Mode.LIVE:
        return f"Checked in the exchange's own order book: no order reached it in {evidence.mode.value} mode."
    count = len(evidence.orders)
    total = sum(record.realised_pnl or 0 for record in evidence.exits)
    shorts = "shorts were bought back before longs were sold; " if _has_spread(evidence) else ""
    return (
        f"Checked in the exchange's own state: its {count} orders are exactly ours, with the same fills and prices; "
        f"{shorts}its positions are flat where we exited and untouched elsewhere; every row and every line of "
        f"{evidence.records.name} agrees. Realised in total {rupees_text(total)}."
    )


def _has_spread(evidence: Evidence) -> bool:
    return any({leg.side for leg in record.legs} == set(Side) for record in evidence.exits)
