"""Every kind of rule that a plan can hold, each with a market of its own: before its printed level, and at it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta

import pytest

from core.exits.judges import RuleSetup
from core.model.exit_levels import Action, ClockLevel, ExitLevels, Rule
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
from tests.integration.plan_checks import FIELDS, Case, check_days, check_pnl_line, fires, marks_around
from tests.integration.plan_rig import NIFTY, SPOT, Market, only, paise, pnl_of
from tests.unit.exits.builders import ROW, amount, call, days, leg, position, put, trailing

DTE = 34
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
    (signal,) = market.fired
    beyond = pnl_of(CONDOR, (at, *CASE.marks[1:])) - paise(line["pnl"])
    assert signal.observed - signal.threshold == beyond, "to the paisa"


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
