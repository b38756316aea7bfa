"""What a plan adds to a position: figures from its legs, shares in lots, and why something is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.explain_around import around_of
from core.exits.guard_settings import GuardSettings
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels, Rule
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote
from core.model.memory import ToldLevel
from core.model.session_time import NS_PER_S
from core.model.signals import Mode
from core.model.special_levels import ScalingLevel, UnderlyingLevel
from core.position_cache_manager import PositionCacheManager
from core.position_plan import CANNOT_SPLIT, PlanSources, plan_of, told_text
from tests.unit.exits.builders import ROW, amount, call, leg, position, put, quote, stock

NOON = 1_795_156_200_000_000_000  # 2026-11-20 12:00 IST
NIFTY = InstrumentKey(Segment.IDX_I, 13)
SPOT = Quote(NIFTY, 26_050_00, None, None, 0, 0, None, NS_PER_S)
SCALED = ExitLevels(
    stop=amount(9_000),
    scaling=(ScalingLevel(100_000, Action.CLOSE_25, ROW, "a quarter"), ScalingLevel(200_000, Action.CLOSE_50, ROW)),
)


def on_nifty(each):
    return replace(each, instrument=replace(each.instrument, underlying_key=NIFTY))


def condor(lots=4):
    legs = (call(1, -75, 26_200, 90), call(2, 75, 26_400, 40), put(3, -75, 25_800, 95), put(4, 75, 25_600, 45))
    return tuple(on_nifty(replace(each, units=each.units * lots)) for each in legs)


def plan(*legs, levels=SCALED, spot=SPOT, prices=None):
    """The plan of one position that has been priced at its entries, `prices` in rupees by security id."""
    one = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.SIMULATION)
    one.handle(ev.StopRequested(0))
    one.handle(ev.PositionOpened(position(*legs), levels, 0))
    now = ev.TimePassed(2 * NS_PER_S, NOON, session_open=True, is_trading_day=True)
    one.handle(now)
    given = (
        {each.instrument.key.security_id: each.entry / 100 for each in legs if each.entry} if prices is None else prices
    )
    keys = {each.instrument.key.security_id: each.instrument.key for each in legs}
    for security_id, price in given.items():
        one.on_quote(quote(security_id, price, at=2 * NS_PER_S)._replace(key=keys[security_id]))
    sources = PlanSources(
        now,
        one.desk.settings.ladder,
        lambda key: spot if key == NIFTY else None,
        lambda guard, at_ns: around_of(one.judges, guard, at_ns),
    )
    return plan_of(one.guards[1], sources)


def test_the_figures_of_a_condor():
    found = plan(*condor())
    assert found.payoff.breakevens == (25_700_00, 26_300_00)
    assert (found.payoff.max_profit, found.payoff.max_loss) == (300 * 100_00, 300 * 100_00)
    assert (found.underlying_price, found.underlying) == (26_050_00, "₹26,050.00, 1.0 s old")
    shocks = found.shocks
    assert shocks.problem == ""
    assert len(shocks.grid) == 21
    now = next(each.pnl for each in shocks.grid if (each.spot_percent, each.volatility_percent) == (0, 0))
    assert abs(now) < 100, "nothing moved: the P&L is that of the marks"
    worst = min(each.pnl for each in shocks.grid)
    assert -300 * 100_00 < worst < 0
    assert 0.01 < shocks.greeks.iv < 1
    assert shocks.greeks.total.theta > 0


def test_each_share_that_a_level_asks_for_is_planned_in_whole_lots():
    found = plan(*condor())
    assert [(share.action, share.problem) for share in found.shares] == [("CLOSE_25%", ""), ("CLOSE_50%", "")]
    quarter, half = found.shares
    assert [(order.phase, order.side, order.quantity) for order in quarter.orders] == [
        (1, "BUY", 75), (1, "BUY", 75), (2, "SELL", 75), (2, "SELL", 75),
    ]  # fmt: skip
    assert {order.quantity for order in half.orders} == {150}
    closes = {line.level: line.closes for line in found.rules}
    assert closes == {
        "P&L ≤ ₹-9,000.00": "all",
        "P&L ≥ ₹1,000.00: 25 % of it gone in total": "up to 25 %: 1 + 1 + 1 + 1 lots",
        "P&L ≥ ₹2,000.00: 50 % of it gone in total": "up to 50 %: 2 + 2 + 2 + 2 lots",
    }
    assert [line.note for line in found.rules] == ["", "a quarter", ""]


def test_a_position_too_small_to_split_says_so():
    found = plan(*condor(1))
    assert [(share.problem, share.orders) for share in found.shares] == [(CANNOT_SPLIT, ())] * 2
    assert found.rules[1].closes == "25 %: cannot be split, told"


def test_a_level_that_only_warns_closes_nothing():
    warning = UnderlyingLevel(27_000_00, is_above=True, action=Action.ADJUST, source=ROW)
    found = plan(*condor(), levels=ExitLevels(underlying=(warning,)))
    (line,) = found.rules
    assert (line.closes, line.pnl, line.price) == ("nothing, told", None, None)
    assert (line.threshold, line.observed) == (27_000_00, None)


@pytest.mark.parametrize(
    ("legs", "terms", "why"),
    [
        (condor(), {"prices": {1: 90, 2: 40, 3: 95}}, "no price of NIFTY-4 (expiry 2026-12-24)"),
        ((call(1, 75, 26_200, 90),), {}, "NIFTY-1: no price of the underlying"),
        ((on_nifty(call(1, 75, 26_200, 90)),), {"spot": None}, "NIFTY-1: no price of the underlying"),
        ((on_nifty(call(1, 75, 26_200, None)),), {"prices": {1: 90}}, "an entry price is not known"),
    ],
)
def test_shocks_that_cannot_be_computed_say_why(legs, terms, why):
    shocks = plan(*legs, **terms).shocks
    assert (shocks.grid, shocks.problem) == ((), why)


def test_the_implied_volatility_may_not_be_determined():
    """Below its intrinsic value an option has none."""
    found = plan(on_nifty(call(1, 75, 25_000, 90)))
    assert found.shocks.grid == ()
    assert found.shocks.problem.startswith("NIFTY-1: ")


def test_an_underlying_that_is_not_known_says_why():
    assert plan(*condor(), spot=None).underlying == "not known: no price of IDX_I:13 yet"
    assert plan(call(1, 75, 26_200, 90)).underlying.startswith("not known: the instrument master does not say")


def test_without_a_spot_a_pair_of_the_position_implies_the_forward():
    pair = tuple(on_nifty(each) for each in (call(1, -75, 26_000, 450), put(2, -75, 26_000, 400)))
    found = plan(*pair, spot=None)
    assert found.underlying_price is None
    assert found.shocks.problem == ""


def test_options_whose_end_nobody_has_said_have_no_shocks():
    strange = on_nifty(call(1, 75, 26_200, 90))
    key = InstrumentKey(Segment.MCX_COMM, 1)
    strange = replace(strange, instrument=replace(strange.instrument, key=key))
    assert plan(strange).shocks.problem == "nobody has said when options of MCX_COMM end on their last day"


@pytest.mark.parametrize(
    ("level", "text"),
    [
        (ToldLevel(Rule.ADJUSTMENT, "", -10_000), "adjustment at ₹-100.00"),
        (ToldLevel(Rule.UNDERLYING_LEVEL, "above", 26_000_00), "underlying_level above at ₹26,000.00"),
        (ToldLevel(Rule.GREEKS, "delta", 8_000), "greeks delta at 0.8"),
        (ToldLevel(Rule.OWN_RULE, "mine", None), "own_rule mine"),
        (ToldLevel(Rule.GREEKS, "delta", None), "greeks delta"),
    ],
)
def test_a_level_that_has_had_its_say_in_words(level, text):
    assert told_text(level) == text


def test_stock_moves_with_itself():
    found = plan(stock(1, 40, 2_500), levels=ExitLevels(stop=amount(9_000)))
    assert found.payoff.is_profit_unlimited
    assert [each.pnl for each in found.shocks.grid[:7]] == [
        40 * 2_500 * percent for percent in (-3, -2, -1, 0, 1, 2, 3)
    ]
    assert found.rules[0].price == 2_275_00


def test_expiry_of_today_has_figures_until_the_close():
    last = replace(on_nifty(call(1, 75, 26_000, 60)).instrument, expiry=date(2026, 11, 20))
    found = plan(replace(on_nifty(call(1, 75, 26_000, 60)), instrument=last))
    assert found.shocks.problem == ""
    assert leg(1, 75, 1).units == 75
