"""What `--plan` prints is what fires: one tick before a printed level nothing does, exactly at it the rule of that line.

For the demo book, for generated positions of one and of several legs, and for every kind of rule that a plan can hold.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.demo import SEED, ModelMarket
from core.demo_book import make_book, write_rows
from core.exit_profiles import book_rules
from core.model.exit_levels import Action, ExitLevels, Rule
from core.model.special_levels import (
    AdjustmentLevel,
    LockLevel,
    LockStep,
    ScalingLevel,
)
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from core.position_book import build_book
from core.settings import load_settings
from core.stores.schema import create_tables
from core.stores.sqlite_store import SqliteStore
from tests.integration.plan_checks import FIELDS, UPWARDS, Case, check_days, check_pnl_line, fires
from tests.integration.plan_rig import TODAY, only, paise, pnl_of
from tests.unit.exits.builders import ROW, amount, days, leg, position, trailing

TICK = 5
DTE = 34


def check_all_at_once(case, mark):
    """With all rules together, wherever the first leg goes: what fires is a printed line that is reached, or nothing.

    Of one leg it is the most pressing one. Of several the first that is believed: beyond its hard line a rule does not wait
    for the spread to settle.
    """
    market = case.market()
    printed = [line for line in market.plan()["rules"] if line["pnl"] is not None and line["rule"] in FIELDS]
    market.move(0, mark)
    pnl = pnl_of(case.position, (mark, *case.marks[1:]))
    reached = [line for line in printed if is_reached(line, pnl, case.levels)]
    if not reached:
        assert market.fired == []
        return
    assert market.fired[0].observed == pnl
    actions, rules = list(Action), list(Rule)
    most = min(reached, key=lambda each: (actions.index(each["action"]), rules.index(each["rule"])))
    candidates = [most] if len(case.position.legs) == 1 else reached
    assert any(fires(market, line) for line in candidates), f"{most} did not fire at {pnl}: {market.fired}"


def is_reached(line, pnl, levels):
    if line["rule"] == "adjustment" and pnl < -levels.adjustment.last:
        return False
    return pnl >= paise(line["pnl"]) if line["rule"] in UPWARDS else pnl <= paise(line["pnl"])


def everything(tick_worth, jitter):
    """Every level on the P&L, around a position that stands 40 ticks in profit and has seen 48."""

    def at(ticks):
        return ticks * tick_worth + next(jitter)

    peak = at(48)
    return peak, ExitLevels(
        stop=replace(amount(1), amount=at(90)),
        trailing=replace(trailing(0, 1), arm=at(30), distance=at(18)),
        premium_trailing=replace(amount(1), amount=at(22)),
        lock=LockLevel((LockStep(at(10), at(2)), LockStep(at(45), at(20)), LockStep(at(60), at(30))), ROW),
        theta=days(DTE),
        losing_time=days(DTE + 1),
        adjustment=AdjustmentLevel(at(20), at(38), ROW),
        scaling=(ScalingLevel(at(60), Action.CLOSE_25, ROW), ScalingLevel(at(80), Action.CLOSE_50, ROW)),
        target=replace(amount(1), amount=at(95)),
    )


@st.composite
def cases(draw, most_legs=1):
    """Bought and sold, of one leg or of several; every amount to the paisa, not to the tick."""
    signs = draw(st.lists(st.sampled_from([1, -1]), min_size=1 if most_legs == 1 else 2, max_size=most_legs))
    lots = draw(st.integers(4, 40))
    entries = [draw(st.integers(4_000, 9_000)) * TICK for _ in signs]
    legs = [
        leg(n, sign * 75 * lots, entry / 100) for n, (sign, entry) in enumerate(zip(signs, entries, strict=True), 1)
    ]
    held = position(*legs)
    tick_worth = TICK * 75 * lots
    start = (entries[0] + signs[0] * 40 * TICK, *entries[1:])
    jitter = draw(st.lists(st.integers(0, tick_worth - 1), min_size=16, max_size=16))
    peak, levels = everything(tick_worth, iter(jitter))
    return Case(held, levels, peak, start)


QUIET = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=12)


@given(case=cases())
@QUIET
def test_every_line_of_a_one_leg_position_fires_at_its_printed_pnl_and_price(case):
    check_every_line(case)


@given(case=cases(most_legs=4))
@QUIET
def test_every_line_of_a_position_of_several_legs_fires_at_its_printed_pnl(case):
    check_every_line(case)


def check_every_line(case):
    printed = case.market().plan()["rules"]
    lines = [line for line in printed if line["pnl"] is not None]
    assert {line["rule"] for line in lines} == FIELDS.keys(), "every rule on the P&L is in the plan"
    for line in lines:
        check_pnl_line(case, line)


@given(case=st.one_of(cases(), cases(most_legs=3)), ticks=st.integers(-140, 140))
@settings(QUIET, max_examples=60)
def test_with_all_rules_together_the_most_pressing_printed_line_fires(case, ticks):
    check_all_at_once(case, max(case.marks[0] + ticks * TICK, TICK))


def test_lines_that_wait_print_no_pnl_and_do_not_fire():
    levels = ExitLevels(
        stop=amount(50_000),
        trailing=trailing(1_000, 400),
        lock=LockLevel((LockStep(90_000, 0),), ROW),
        theta=days(DTE - 1),
        losing_time=days(DTE),
    )
    case = Case(position(leg(1, 75, 500)), levels)
    waiting = [line for line in case.market().plan()["rules"] if line["pnl"] is None]
    assert {line["rule"] for line in waiting} == {"trailing_stop", "lock_profit", "theta_exit", "losing_time_stop"}
    assert {line["state"] for line in waiting} == {"not in force"}
    for line in waiting:
        market = case.market(only(levels, *(name for name in FIELDS[line["rule"]] if name != "stop")))
        market.move(0, 300_00)
        assert market.fired == []


async def demo_book(tmp_path):
    """The demo's positions with their levels, read from its rows."""
    path = tmp_path / "trades.db"
    async with LocalExchange(ExchangeOptions(seed=SEED, date=TODAY, model_step_s=0)) as exchange:
        create_tables(path)
        write_rows(path, make_book(ModelMarket(exchange)), f"{TODAY}T10:00:00")
        listed = {key: each.instrument for key, each in exchange.venue.instruments.by_key.items()}
    store = SqliteStore(path)
    await store.open()
    snapshot = await store.read_snapshot()
    await store.close()
    return build_book(snapshot, listed, book_rules(load_settings({}, None)), TODAY).positions


async def test_what_the_plan_of_the_demo_prints_is_what_fires(tmp_path):
    checked = set()
    for booked in await demo_book(tmp_path):
        levels = booked.levels
        case = Case(booked.position, levels)
        for line in case.market().plan()["rules"]:
            checked.add(line["rule"])
            if line["pnl"] is not None:
                check_pnl_line(case, line)
            elif line["rule"] == "trailing_stop":
                check_trail(case)
            else:
                check_days(case, line)
    assert checked == {"stop_loss", "profit_target", "trailing_stop", "dte_exit", "adjustment"}


def check_trail(case):
    """It prints where it arms; once armed it prints where it fires."""
    arm, held = case.levels.trailing.arm, case.position.legs[0]
    tick = held.instrument.tick
    marks = (case.marks[0] + tick * (arm // (tick * held.units) + 1), *case.marks[1:])
    armed = replace(case, levels=only(case.levels, "trailing"), start=marks)
    peak = pnl_of(case.position, marks)
    assert peak >= arm
    (line,) = armed.market().plan()["rules"]
    assert paise(line["pnl"]) == peak - case.levels.trailing.distance
    check_pnl_line(replace(armed, peak=peak), line)
