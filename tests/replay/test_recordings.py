"""Two recorded days through the local exchange into the real monitor in live mode: every exit as an independent slow
calculation has it, and every order filled.

Settings are the defaults (settling 100 ms, confirmation 1 s): the clock follows the recording, see `lockstep`. Not judged
here: silence of the feed (a snapshot a minute would look like it) and thin books (20 lots are shown at the recorded prices).
Contracts that expire on the recorded day are listed as expiring four weeks later unless their position is to exit by DTE:
on expiry day the DTE rule closes everything at the start and leaves nothing for the other rules.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import re
import sqlite3
import sys
from collections import Counter
from datetime import date, datetime, time
from pathlib import Path

import pytest

from core.model.exit_levels import ExitLevels
from core.model.position import Product
from core.monitor import Monitor
from core.options import Options
from core.paper import replay
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from core.settings import load_settings
from core.stores.schema import create_tables
from tests.fakes.waiting import eventually
from tests.integration.condor import environment, read_exits, read_trades
from tests.replay.book import Book, Recording, make_book
from tests.replay.lockstep import BEFORE_FIRST_ROW_S, Lockstep, RecordedClock, running
from tests.replay.oracle import IST, Exit, expected_exits
from tests.replay.oracle_levels import Amounts, amounts_of
from tests.replay.recorded import Plan

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "replay"
SQUARE_OFF = time(14, 30)
SEED = 15
SETTINGS = {
    "MARKET_HOURS": "calendar",
    "SQUARE_OFF_INTRADAY": f"{SQUARE_OFF:%H:%M}",
    "QUIET_VERIFY_S": "86400",
    "ORDERS_PER_SECOND": "10",
}
RECORDINGS = (
    Recording(
        "normal day",
        date(2025, 8, 29),
        FOLDER / "nse_2025-08-29_normal_day.csv.gz",
        FOLDER / "nse_2025-08-29_instruments.csv.gz",
        positions=40,
    ),
    Recording(
        "expiry day",
        date(2026, 8, 18),
        FOLDER / "nse_2026-08-18_expiry_day.csv.gz",
        FOLDER / "nse_2026-08-18_instruments.csv.gz",
        positions=30,
        moved_expiry=date(2026, 9, 15),
    ),
)
needs_recordings = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"NOT TESTED: the recorded market days are not here ({FOLDER})"
)


def seconds_of(recording: Recording) -> list[int]:
    """The second of every row, indices included, in UTC milliseconds."""
    with gzip.open(recording.rows, "rt", encoding="utf-8", newline="") as file:
        return [int(row["ts_ms"]) // 1_000 * 1_000 for row in csv.DictReader(file)]


def write_master(recording: Recording, book: Book, path: Path) -> None:
    with gzip.open(recording.master, "rt", encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    for row in rows:
        if recording.moved_expiry is not None and int(row["SECURITY_ID"]) in book.moved:
            row["SM_EXPIRY_DATE"] = recording.moved_expiry.isoformat()
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_rows(database: Path, plans: list[Plan], day: date) -> None:
    create_tables(database)
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for plan in plans:
            for leg in plan.legs:
                side = "BUY" if leg.units > 0 else "SELL"
                connection.execute(
                    "INSERT INTO trades (new_id, strategy_id, order_id, security_id, exchange_segment, symbol, type, strategy,"
                    " action, quantity, price, strike_price, expiry_date, order_status, timestamp, product_type)"
                    " VALUES (?, ?, ?, ?, 'NSE_FNO', 'INDEX', ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?)",
                    (
                        leg.row_id, plan.strategy_id, f"E{leg.row_id}", leg.security_id, leg.right, plan.name, side,
                        abs(leg.units), leg.entry / 100, leg.strike / 100, plan.expiry.isoformat(), f"{day}T09:20:00",
                        plan.product,
                    ),
                )  # fmt: skip
            for level in plan.levels:
                connection.execute(
                    "INSERT INTO strategy_exit_levels"
                    " (strategy_id, exit_type, level_name, trigger_value, trigger_type, action) VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        plan.strategy_id,
                        level.exit_type,
                        level.level_name,
                        str(level.value),
                        level.trigger_type,
                        level.action,
                    ),
                )
            if plan.risk is not None:
                columns = (plan.risk.max_capital_at_risk, plan.risk.strategy_level_stop, plan.risk.trailing_stop)
                values = [None if value is None else str(value) for value in (*columns, plan.risk.profit_target_pct)]
                connection.execute(
                    "INSERT INTO strategy_risk_management (strategy_id, max_capital_at_risk, strategy_level_stop,"
                    " trailing_stop, profit_target_pct, time_stop_dte) VALUES (?, ?, ?, ?, ?, NULL)",
                    (plan.strategy_id, *values),
                )


def rupees(amount: int | None) -> float | None:
    return None if amount is None else amount / 100


def as_written(expected: Exit) -> tuple[str, object, object]:
    """As a line of exit_executions.json says it."""
    if expected.rule == "dte_exit":
        return expected.rule, expected.threshold, expected.observed
    return expected.rule, rupees(expected.threshold), rupees(expected.observed)


def as_amounts(levels: ExitLevels) -> Amounts:
    assert levels.dte is not None
    return Amounts(
        stop=levels.stop and levels.stop.amount,
        arm=levels.trailing and levels.trailing.arm,
        distance=levels.trailing and levels.trailing.distance,
        target=levels.target and levels.target.amount,
        dte=levels.dte.days,
        theta=levels.theta and levels.theta.days,
    )


@pytest.mark.no_cover
@needs_recordings
@pytest.mark.replay
@pytest.mark.slow
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
async def test_every_exit_of_a_recorded_day_is_the_one_a_slow_calculation_has(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    book = make_book(recording, SEED)
    master, database = tmp_path / "master.csv", tmp_path / "trades.db"
    write_master(recording, book, master)
    write_rows(database, book.plans, recording.day)
    start_ms = book.rows[0].at_ms - BEFORE_FIRST_ROW_S * 1_000
    expected = expected_exits(book.plans, book.rows, SQUARE_OFF, start_ms)

    monkeypatch.setattr(replay, "ROWS_BETWEEN_YIELDS", 1)
    options = ExchangeOptions(
        replay=recording.rows, instruments=master, speed=0, transit_s=0, rate_limits=False, feed_ping_s=600
    )
    clock = RecordedClock(start_ms)
    clock.run()
    async with LocalExchange(options) as exchange:
        for plan in book.plans:
            for leg in plan.legs:
                exchange.seed_position("NSE_FNO", leg.security_id, leg.units, leg.entry, Product(plan.product))
        settings = load_settings({**environment(exchange.ready_line(), tmp_path), **SETTINGS}, None)
        monitor = Monitor(Options(execute=True, interval_s=86_400), settings, lambda view: None, clock)
        steps = Lockstep(exchange, monitor, clock, seconds_of(recording))
        steps.square_off_ms = int(datetime.combine(recording.day, SQUARE_OFF, IST).timestamp()) * 1_000
        async with running(monitor) as task:
            playing = exchange.venue.replay
            assert playing is not None
            await eventually(lambda: playing.finished.is_set() or steps.problem or task.done(), within_s=100)
            assert steps.problem is None, steps.problem
        assert await task == 0
        net = exchange.state()["net"]

    assert {sid: as_amounts(levels) for sid, levels in steps.levels.items()} == {
        plan.strategy_id: amounts_of(plan) for plan in book.plans
    }
    fired = {sid: found for sid, found in expected.items() if found is not None}
    decided = {
        sid: (signal.rule.value, signal.threshold, signal.observed, *steps.moment_of(at_ms))
        for sid, (signal, at_ms) in steps.decided.items()
    }
    assert decided == {
        sid: (found.rule, found.threshold, found.observed, *steps.moment_of(found.at_ms))
        for sid, found in fired.items()
    }
    early = [sid for sid, (_, at_ms) in steps.decided.items() if at_ms < fired[sid].at_ms]
    assert not early, "fired before it was settled or confirmed"
    assert net == {
        f"NSE_FNO:{leg.security_id}:{plan.product}": 0 if expected[plan.strategy_id] is not None else leg.units
        for plan in book.plans
        for leg in plan.legs
    }
    assert {row["new_id"]: row["order_status"] for row in read_trades(database)} == {
        leg.row_id: "open" if expected[plan.strategy_id] is None else "closed"
        for plan in book.plans
        for leg in plan.legs
    }
    written = {int(str(line["strategy_id"])): line for line in read_exits(tmp_path)}
    assert {sid: (line["rule"], line["threshold"], line["observed"]) for sid, line in written.items()} == {
        sid: as_written(found) for sid, found in fired.items()
    }
    with capsys.disabled():
        print_table(recording, book, expected)


@needs_recordings
@pytest.mark.replay
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_the_book_of_a_recorded_day_asks_every_rule(recording: Recording) -> None:
    book = make_book(recording, SEED)
    start_ms = book.rows[0].at_ms - BEFORE_FIRST_ROW_S * 1_000
    found = expected_exits(book.plans, book.rows, SQUARE_OFF, start_ms)
    rules = Counter(exit_.rule for exit_ in found.values() if exit_ is not None)
    assert len(book.plans) >= 20
    assert all(len(plan.legs) >= 2 for plan in book.plans)
    assert rules.total() >= 10
    assert set(rules) == {"stop_loss", "trailing_stop", "profit_target", "theta_exit", "dte_exit", "square_off"}
    assert None in found.values()
    held = [leg.security_id for plan in book.plans for leg in plan.legs]
    assert len(held) == len(set(held))


@pytest.mark.parametrize("name", ["recorded", "oracle_levels", "oracle", "book"])
def test_the_calculation_shares_no_code_with_the_monitor(name: str) -> None:
    text = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    assert not re.search(r"^\s*(from|import) (core|data_scripts|strategies)\b", text, re.MULTILINE)


def print_table(recording: Recording, book: Book, expected: dict[int, Exit | None]) -> None:
    counts = Counter("no exit" if found is None else found.rule for found in expected.values())
    lines = [f"{recording.name}: {len(book.plans)} positions, {len(book.rows)} rows; exits by rule"]
    lines += [f"  {rule:<14} {count:>3}" for rule, count in counts.most_common()]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
