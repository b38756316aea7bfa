"""What `--plan` prints is what fires: one tick before a printed level nothing does, exactly at it the rule of that line.

For the demo book, for generated positions of one and of several legs, and for every kind of rule that a plan can hold.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from datetime import date, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.demo import SEED, ModelMarket
from core.demo_book import make_book, write_rows
from core.exit_profiles import book_rules
from core.exits.judges import RuleSetup
from core.model.exit_levels import Action, ClockLevel, ExitLevels, Rule
from core.model.memory import PositionMemory
from core.model.own_rule import Wish
from core.model.special_levels import (
    AdjustmentLevel,
    GreekKind,
    GreekLevel,
    LockLevel,
    LockStep,
    ScalingLevel,
    Scope,
    ScopeLimit,
    UnderlyingLevel,
)
from core.paper.exchange import LocalExchange
from core.paper.options import ExchangeOptions
from core.position_book import build_book
from core.settings import load_settings
from core.stores.schema import create_tables
from core.stores.sqlite_store import SqliteStore
from tests.integration.plan_rig import NIFTY, SPOT, TODAY, Market, only, paise, pnl_of
from tests.unit.exits.builders import ROW, amount, call, days, leg, position, put, trailing

TICK = 5
DTE = 34
FIELDS = {
    "stop_loss": ("stop",),
    "trailing_stop": ("trailing",),
    "premium_trailing": ("premium_trailing",),
    "lock_profit": ("lock",),
    "theta_exit": ("theta",),
    "losing_time_stop": ("losing_time", "stop"),
    "adjustment": ("adjustment",),
    "profit_target": ("target", "target_action"),
    "scaling_target": ("scaling",),
}
"""What of the levels a rule on the position's P&L needs, so that nothing else fires on the way to it."""
UPWARDS = {"profit_target", "scaling_target"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A position with its levels, what is remembered of it, and the marks (paise) at which it stands, off all its lines."""

    position: object
    levels: ExitLevels
    peak: int | None = None
    start: tuple[int, ...] | None = None

    def market(self, levels=None, **changed):
        facts = {"memory": PositionMemory(peak=self.peak), "start": self.start} | changed
        return Market(self.position, self.levels if levels is None else levels, **facts)

    @property
    def marks(self):
        return self.start or tuple(each.entry for each in self.position.legs)


def fires(market, line):
    """Whether what the engine acted on first is the rule of the line, with the printed threshold."""
    (signal, *_) = market.fired or (None,)
    return signal is not None and (signal.rule.value, signal.threshold) == (line["rule"], threshold_of(line))


def threshold_of(line):
    if line["unit"] == "rupees":
        return paise(line["threshold"])
    return round(line["threshold"] * 10_000) if line["unit"] == "number" else line["threshold"]


def marks_around(case, line):
    """Of the first leg: the last mark at which the printed P&L is not reached, and the first one at which it is."""
    held, marks = case.position.legs[0], case.marks
    wanted, is_up = paise(line["pnl"]), line["rule"] in UPWARDS or line["name"] == "max_profit"
    tick = held.instrument.tick
    step = tick if is_up is (held.units > 0) else -tick
    here = marks[0]

    def reached(mark):
        pnl = pnl_of(case.position, (mark, *marks[1:]))
        return pnl >= wanted if is_up else pnl <= wanted

    assert not reached(here), f"{line} is breached where the position stands"
    away = abs(wanted - pnl_of(case.position, marks)) // (tick * abs(held.units))
    here += step * max(away - 1, 0)
    while not reached(here + step):
        here += step
    return here, here + step


def check_pnl_line(case, line):
    """A line of the position's P&L, with the other rules taken away: one tick before it, and at it."""
    before, at = marks_around(case, line)
    if len(case.position.legs) == 1:
        assert paise(line["price"]) == at, "the printed price is the first one that fires"
    levels = only(case.levels, *FIELDS[line["rule"]])
    market = case.market(levels)
    (alone,) = [each for each in market.plan()["rules"] if each["level"] == line["level"]]
    assert alone["pnl"] == line["pnl"]
    market.move(0, before)
    assert not any((x.rule.value, x.threshold) == (line["rule"], threshold_of(line)) for x in market.fired)
    if line["rule"] not in {"scaling_target", "losing_time_stop"}:
        assert market.fired == [], "a tick before it nothing fires"
    market = case.market(levels)
    market.move(0, at)
    assert fires(market, line), f"{line} did not fire at {at}: {market.fired}"


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


CONDOR = position(
    *(
        replace(each, instrument=replace(each.instrument, underlying_key=NIFTY), opened_at="2026-10-10T10:00:00")
        for each in (
            call(1, -300, 26_200, 90), call(2, 300, 26_400, 40), put(3, -300, 25_800, 95), put(4, 300, 25_600, 45),
        )
    )
)  # fmt: skip


class Wishes:
    """An own rule that wishes to close below a P&L."""

    name = "wishes"

    def judge(self, facts):
        return Wish(Action.CLOSE_POSITION, "as I say") if facts.pnl <= -100_000 else None


WHOLE = ExitLevels(
    stop=amount(20_000),
    trailing=trailing(1_000, 3_000),
    premium_trailing=amount(9_000),
    lock=LockLevel((LockStep(80_000, -20_000),), ROW),
    theta=days(DTE),
    losing_time=days(DTE + 1),
    adjustment=AdjustmentLevel(300_000, 1_500_000, ROW),
    scaling=(ScalingLevel(200_000, Action.CLOSE_25, ROW),),
    target=amount(6_000),
    dte=days(21),
    holding=days(45),
    square_off=ClockLevel(time(15, 10), ROW),
    underlying=(
        UnderlyingLevel(26_500_00, is_above=True, action=Action.CLOSE_POSITION, source=ROW),
        UnderlyingLevel(25_500_00, is_above=False, action=Action.CLOSE_POSITION, source=ROW, candle_minutes=5),
    ),
    greeks=tuple(
        GreekLevel(kind, 0.5 if kind is GreekKind.IV_BELOW else 1_000, Action.CLOSE_POSITION, ROW) for kind in GreekKind
    ),
    own_rules=("wishes",),
)
OTHER = position(leg(11, 75, 500), strategy_id=2)
LIMITS = (
    ScopeLimit(Scope.STRATEGY, max_loss=1_800_123),
    ScopeLimit(Scope.UNDERLYING, max_loss=1_700_000),
    ScopeLimit(Scope.ACCOUNT, max_profit=550_000),
    ScopeLimit(Scope.PORTFOLIO, daily_loss=1_600_000),
)
RULES = RuleSetup(limits=LIMITS, own_rules={"wishes": Wishes()})
CASE = Case(CONDOR, WHOLE, peak=120_000, start=(89_00, 40_00, 95_00, 45_00))


def whole(levels=WHOLE, rules=RULES, **changed):
    return CASE.market(levels, others=(OTHER,), rules=rules, **changed)


def check_limit(line):
    """The P&L of this position at which a limit of its scope fires, while the other position stays where it is."""
    before, at = marks_around(CASE, line)
    alone = RuleSetup(limits=tuple(limit for limit in LIMITS if f"{limit.scope.value}_limit" == line["rule"]))
    market = whole(ExitLevels(), alone)
    market.move(0, before)
    assert market.fired == []
    market.move(0, at)
    assert fires(market, line)


def check_holding(line):
    levels = only(WHOLE, "holding")
    assert whole(levels, day=date(2026, 10, 10) + timedelta(days=line["threshold"] - 1)).fired == []
    assert fires(whole(levels, day=date(2026, 10, 10) + timedelta(days=line["threshold"])), line)


def check_square_off(line):
    at = time.fromisoformat(line["level"].removesuffix(" IST"))
    early = whole(only(WHOLE, "square_off"), at=time(at.hour, at.minute - 1, 56))
    assert early.fired == [], "it is two seconds before"
    early.wait(1.75)
    assert early.fired == []
    early.wait(0.25)
    assert fires(early, line), "the clock has reached it"


def check_underlying(line):
    """The plan prints the price; the underlying goes to a paisa before it, then to it."""
    price = paise(line["threshold"])
    is_close = "candle" in line["level"]
    step = 1 if "≥" in line["level"] else -1
    market = whole(only(WHOLE, "underlying"), at=time(12, 4, 50) if is_close else time(12, 0))
    for spot in (SPOT + (price - SPOT) // 2, price - step):
        market.spot = spot
        market.wait(4)
    assert market.fired == []
    if is_close:
        market.wait(10)
        assert market.fired == [], "a candle that closed a paisa before the level"
        market.spot = price
        market.wait(250)
        assert market.fired == [], "the candle is not over"
        market.wait(60)
    else:
        market.spot = price
        market.wait(3)
    assert fires(market, line)


def check_greek(line):
    """The measure that the plan prints is what is compared: what two plans in a row print fires, one unit further does not."""
    level = next(each for each in WHOLE.greeks if each.kind == line["name"])
    check_greek_level(whole, level)


def check_greek_level(market_of, level):
    worst, further = (max, -1) if level.kind is GreekKind.IV_BELOW else (min, 1)

    def seconds(threshold):
        """What the plan prints at each second, and what fires meanwhile."""
        asked = replace(level, threshold=threshold / 10_000)
        market, printed = market_of(ExitLevels(greeks=(asked,))), []
        while len(printed) < 4 and not market.fired:
            (line,) = [each for each in market.plan()["rules"] if each["rule"] == "greeks"]
            printed.append(round(line["observed"] * 10_000))
            market.wait(1)
        return printed, market.fired

    printed, fired = seconds(level.in_units)
    assert fired == []
    at = worst(printed[:2])
    if at > 0:
        assert seconds(at)[1][0].threshold == at
        assert seconds(-worst(-each for each in printed) + further)[1] == []
    return at


LONG_CALL = position(replace(CONDOR.legs[1], units=300, entry=40_00))
REFERENCES = {GreekKind.GAMMA: 0.05, GreekKind.IV_DOWN: 0.25, GreekKind.IV_UP: 0.01}


@pytest.mark.parametrize("kind", list(GreekKind))
def test_each_greek_fires_at_what_the_plan_prints(kind):
    threshold = 0.01 if kind is GreekKind.IV_BELOW else 100_000
    level = GreekLevel(kind, threshold, Action.CLOSE_POSITION, ROW, reference=REFERENCES.get(kind))
    assert check_greek_level(lambda levels: Market(LONG_CALL, levels), level) > 0


def check_own_rule(line):
    market = whole(only(WHOLE, "own_rules"))
    assert market.fired == []
    market.move(0, 100_00)
    assert fires(market, line)


CHECKS = {
    **dict.fromkeys(FIELDS, lambda line: check_pnl_line(CASE, line)),
    "strategy_limit": check_limit,
    "underlying_limit": check_limit,
    "account_limit": check_limit,
    "portfolio_limit": check_limit,
    "dte_exit": lambda line: check_days(CASE, line),
    "longest_holding": check_holding,
    "square_off": check_square_off,
    "underlying_level": check_underlying,
    "greeks": check_greek,
    "own_rule": check_own_rule,
}


def test_every_kind_of_rule_is_in_the_plan_and_is_what_fires():
    printed = whole().plan()["rules"]
    assert {line["rule"] for line in printed} == {rule.value for rule in Rule} - {"operator", "closed_outside"}
    for line in printed:
        CHECKS[line["rule"]](line)


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


def check_days(case, line):
    levels = only(case.levels, "dte")
    expiry = case.position.earliest_expiry
    if expiry is None:
        assert line["now"].startswith("no leg expires")
        return
    assert case.market(levels, day=expiry - timedelta(days=line["threshold"] + 1)).fired == []
    assert fires(case.market(levels, day=expiry - timedelta(days=line["threshold"])), line)
