"""How a plan words what is beyond its line or due, and whom it counts as unprotected."""

import json
from dataclasses import replace
from datetime import date, time, timedelta

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.explain_around import around_of
from core.exits.guard_settings import GuardSettings
from core.exits.judges import RuleSetup
from core.json_view import document
from core.model import events as ev
from core.model.exit_levels import Action, ClockLevel, ExitLevels
from core.model.market import Quote
from core.model.session_time import NS_PER_S
from core.model.signals import Mode
from core.model.special_levels import GreekKind, GreekLevel, Scope, ScopeLimit
from core.plan_view import plan
from core.position_cache_manager import PositionCacheManager
from core.position_plan import PlanSources
from core.view_builder import planned_view
from tests.unit.dashboard.views import view
from tests.unit.exits.builders import ROW, amount, call, days, position, put, quote
from tests.unit.exits.judge_rig import INDEX, above, on_index

NOON = 1_795_156_200_000_000_000  # 2026-11-20 12:00 IST
TODAY = date(2026, 11, 20)


STOP = ExitLevels(stop=amount(3_000))


def planned(engine, now, spot=None):
    index = None if spot is None else Quote(INDEX, spot * 100, None, None, 0, 0, None, now.at_ns)
    around = lambda guard, at: around_of(engine.judges, guard, at)  # noqa: E731
    return planned_view(engine.guards[1], PlanSources(now, engine.desk.settings.ladder, lambda _: index, around))


class Planned:
    """A sold strangle at 90 and 95, planned at noon. Prices in rupees by leg; None: no price."""

    def __init__(self, levels, prices=(90, 95), *, is_open=True, setup=None, opened_at="", spot=None):
        setup = setup or RuleSetup()
        engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.SIMULATION, setup)
        engine.desk.stopping = True
        expiry = TODAY + timedelta(days=40)
        legs = (call(1, -75, 26_200, 90, expiry=expiry), put(2, -75, 26_000, 95, expiry=expiry))
        legs = tuple(on_index(replace(each, opened_at=opened_at)) for each in legs)
        engine.handle(ev.PositionOpened(position(*legs), levels, 0))
        if setup.limits:
            engine.handle(ev.PositionOpened(position(call(3, 75, 26_000, 90), strategy_id=2), STOP, 0))
        now = ev.TimePassed(0, NOON, session_open=is_open, is_trading_day=True)
        for second in range(1, 6):
            for number, price in enumerate(prices, start=1):
                if price is not None:
                    engine.handle(ev.QuoteArrived(quote(number, price, at=second * NS_PER_S)))
            now = replace(now, at_ns=second * NS_PER_S + 1, utc_ns=NOON + second * NS_PER_S)
            engine.handle(now)
        self.engine = engine
        self.view = planned(engine, now, spot)
        self.now = {line.rule: line.now for line in self.view.plan.rules}


NEXT_TICK = "beyond its line now: would fire at the next tick"
NEXT_SESSION = "beyond its line now: would fire at the next session if it is there then"


@pytest.mark.parametrize(
    ("levels", "prices", "is_open", "rule", "now"),
    [
        (STOP, (150, 95), True, "stop_loss", NEXT_TICK),
        (STOP, (150, 95), False, "stop_loss", NEXT_SESSION),
        (STOP, (150, 95), None, "stop_loss", NEXT_SESSION),
        (STOP, (91, 95), True, "stop_loss", "₹2,925.00 away"),
        (ExitLevels(target=amount(100)), (88, 90), True, "profit_target", NEXT_TICK),
        (ExitLevels(target=amount(100)), (88, 90), False, "profit_target", NEXT_SESSION),
        (ExitLevels(dte=days(40)), (90, 95), True, "dte_exit", "due now, would fire at the next tick"),
        (ExitLevels(dte=days(40)), (90, 95), False, "dte_exit", "due now, would fire at the next session"),
        (ExitLevels(dte=days(39)), (90, 95), True, "dte_exit", "DTE is 40, 1 to go"),
        (ExitLevels(holding=days(5)), (90, 95), True, "longest_holding", "due now, would fire at the next tick"),
        (
            ExitLevels(square_off=ClockLevel(time(12), ROW)),
            (90, 95),
            True,
            "square_off",
            "due now, would fire at the next tick",
        ),
        (
            ExitLevels(square_off=ClockLevel(time(12), ROW)),
            (90, 95),
            False,
            "square_off",
            "not judged, the market is closed",
        ),
        (ExitLevels(square_off=ClockLevel(time(13), ROW)), (90, 95), True, "square_off", "it is 12:00:05"),
    ],
)
def test_what_is_beyond_its_line_or_due_says_when_it_would_fire(levels, prices, is_open, rule, now):
    seen = Planned(levels, prices, is_open=is_open, opened_at="2026-11-15T10:00:00+05:30")
    assert seen.now[rule] == now
    if now == NEXT_TICK:
        assert seen.view.reason.endswith(NEXT_TICK), "and so does the line of the position"
        seen.engine.desk.stopping = False
        seen.engine.handle(ev.QuoteArrived(quote(1, prices[0], at=6 * NS_PER_S)))
        assert seen.engine.unresolved, "the engine does what the plan says"


def test_a_breach_without_a_fresh_price_does_not_claim_to_fire():
    engine = Planned(STOP, (150, 95)).engine
    engine.handle(ev.FeedStateChanged(is_live=False, at_ns=6 * NS_PER_S))
    for second in range(7, 30):
        now = ev.TimePassed(second * NS_PER_S, NOON + second * NS_PER_S, session_open=True, is_trading_day=True)
        engine.handle(now)
    [line] = planned(engine, now).plan.rules
    assert line.now.startswith("beyond its line now, not judged: no fresh price for NSE_FNO:1")


class Broken:
    name = "mine"

    def judge(self, _):
        raise ValueError("no such file")


VEGA = GreekLevel(GreekKind.VEGA, 50.0, Action.CLOSE_POSITION, ROW)
LIMIT = RuleSetup(limits=(ScopeLimit(Scope.PORTFOLIO, max_loss=10**9),))
OWN = RuleSetup(own_rules={"mine": Broken()})


@pytest.mark.parametrize(
    ("levels", "terms", "why"),
    [
        (STOP, {}, ""),
        (STOP, {"prices": (90, None)}, "no price for NSE_FNO:2"),
        (STOP, {"prices": (90, None), "is_open": False}, "no price for NSE_FNO:2"),
        (ExitLevels(dte=days(2)), {}, "no stop loss is in force"),
        (replace(STOP, underlying=(above(27_000),)), {}, "no price for the underlying NIFTY"),
        (replace(STOP, underlying=(above(27_000),)), {"is_open": False}, ""),
        (replace(STOP, greeks=(VEGA,)), {}, "its Greek levels cannot fire: NIFTY-1: no price of the underlying"),
        (replace(STOP, greeks=(VEGA,)), {"spot": 26_100}, ""),
        (STOP, {"setup": LIMIT}, "NIFTY-3"),
        (
            replace(STOP, own_rules=("mine",)),
            {"setup": OWN},
            "the own rule mine asks for it cannot fire: rests: ValueError",
        ),
    ],
)
def test_the_summary_counts_who_is_unprotected_and_why(levels, terms, why):
    shown = Planned(levels, **terms).view
    assert why in shown.unprotected
    assert bool(shown.unprotected) is bool(why)
    text = plan(view(positions=(shown,)))
    assert (f"UNPROTECTED: 1 of 1\n- #1 Iron Condor: {shown.unprotected}" in text) is bool(why)
    content = json.loads(document(view(positions=(shown,)), with_plan=True))["positions"][0]
    assert content["unprotected"] == (shown.unprotected or None)
    if terms.get("is_open", True):
        assert shown.reason == (f"unprotected: {shown.unprotected}" if why else "No exit conditions triggered")
