"""What is printed of a position is what its guard does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.explain_around import around_of
from core.exits.guard_settings import GuardSettings
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels
from core.model.session_time import NS_PER_S
from core.model.signals import Mode
from core.position_cache_manager import PositionCacheManager
from core.position_plan import PlanSources, one_leg_price, orders_of, quotes_of
from core.view_builder import guarded_view, planned_view
from tests.unit.exits.builders import amount, call, days, leg, position, put, quote

NOON = 1_795_156_200_000_000_000  # 2026-11-20 12:00 IST


@given(
    units=st.integers(1, 5_000).flatmap(lambda n: st.sampled_from((n, -n))),
    line=st.integers(-500_00, 500_00),
    is_loss=st.booleans(),
)
def test_the_printed_price_is_the_first_tick_at_which_the_line_is_reached(units, line, is_loss):
    held = position(leg(1, units, 1_000))
    price = one_leg_price(held, line, is_loss=is_loss)
    towards_entry = -1 if is_loss is (units < 0) else 1

    def is_reached(mark):
        pnl = units * (mark - 1_000_00)
        return pnl <= line if is_loss else pnl >= line

    assert is_reached(price)
    assert price % 5 == 0
    assert not is_reached(price + 5 * towards_entry)


def test_spreads_and_unknown_entries_have_no_single_price():
    assert one_leg_price(position(leg(1, 65, None)), -1, is_loss=True) is None
    assert one_leg_price(position(leg(1, 65, 1), leg(2, -65, 1)), -1, is_loss=True) is None
    assert one_leg_price(position(leg(1, 65, 1)), None, is_loss=True) is None


@given(units=st.sampled_from([75, -75]), line=st.integers(-500_00, 500_00), realised=st.integers(-500_00, 500_00))
def test_what_a_share_has_realised_moves_the_price(units, line, realised):
    """The P&L that rules compare has it inside: the rest has to make, or lose, only the difference."""
    held = position(leg(1, units, 1_000))
    moved = one_leg_price(held, line, is_loss=True, realised=realised)
    assert moved == one_leg_price(held, line - realised, is_loss=True)
    assert units * (moved - 1_000_00) + realised <= line


def engine():
    return Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.SIMULATION)


@given(units=st.lists(st.integers(-6_000, 6_000).filter(bool), min_size=1, max_size=4), freeze=st.integers(66, 1_800))
def test_planned_orders_sum_to_the_position_in_freeze_slices_shorts_first(units, freeze):
    legs = [leg(number, each, 100, lot=65) for number, each in enumerate(units, 1)]
    legs = [replace(each, instrument=replace(each.instrument, freeze_quantity=freeze)) for each in legs]
    one = engine()
    orders = orders_of(position(*legs), {}, one.desk.settings.ladder)
    for each in legs:
        own = [order for order in orders if order.symbol == each.instrument.symbol]
        sign = 1 if own[0].side == "SELL" else -1
        assert sign * sum(order.quantity for order in own) == each.units
        assert all(0 < order.quantity < freeze for order in own)
    assert [order.phase for order in orders] == sorted(order.phase for order in orders)
    if min(units) < 0:
        assert all((order.phase == 1) is (order.side == "BUY") for order in orders)
    assert all(order.limit is None for order in orders), "without a price there is no limit"


def test_a_planned_limit_is_the_first_rung_beyond_the_best_opposite_price():
    one = engine()
    booked = one.cache.put(position(leg(1, -75, 100)))
    one.cache.apply(quote(1, 100, bid=99.95, ask=100.05))
    (order,) = orders_of(booked.position, quotes_of(booked), one.desk.settings.ladder)
    assert (order.side, order.limit) == ("BUY", 100_10)


def sources(one, now):
    return PlanSources(now, one.desk.settings.ladder, lambda _: None, lambda g, at: around_of(one.judges, g, at))


def guarded(levels, expiry_days, opened_at=""):
    one = engine()
    expiry = date(2026, 11, 20) + timedelta(days=expiry_days)
    legs = (call(1, -75, 26_200, 90, expiry=expiry), put(2, -75, 26_000, 95, expiry=expiry))
    one.desk.stopping = True
    legs = [replace(each, opened_at=opened_at) for each in legs]
    one.handle(ev.PositionOpened(position(*legs), levels, 0))
    for number, price in ((1, 90), (2, 95)):
        one.handle(ev.QuoteArrived(quote(number, price, at=1)))
    now = ev.TimePassed(NS_PER_S, NOON, session_open=True, is_trading_day=True)
    one.handle(now)
    return one, one.guards[1], now


def test_a_plan_says_what_the_calendar_would_close_at_once():
    """The defaults of a category close a weekly option on the day it is bought: the trader must see it before he starts."""
    one, guard, now = guarded(ExitLevels(stop=amount(9_000), dte=days(21)), 4)
    view = planned_view(guard, sources(one, now))
    assert view.action is Action.CLOSE_POSITION
    assert view.reason.startswith("DTE exit: 4 days to expiry ≤ 21")
    assert view.state == "guarded", "a plan begins nothing"
    assert {line.rule for line in view.plan.rules} == {"stop_loss", "dte_exit"}
    assert view.orders


def test_a_plan_says_what_has_been_held_for_too_long():
    opened = "2026-11-15T10:00:00+05:30"
    for most, is_due in ((5, True), (6, False)):
        one, guard, now = guarded(ExitLevels(stop=amount(9_000), holding=days(most)), 40, opened)
        view = planned_view(guard, sources(one, now))
        assert view.reason.endswith(": due now, would fire at the next tick") is is_due
        one.desk.stopping = False
        one.handle(replace(now, at_ns=2 * NS_PER_S))
        assert bool(one.unresolved) is is_due, "the engine does what the plan says"


def test_a_plan_of_a_position_that_nothing_closes_says_so():
    one, guard, now = guarded(ExitLevels(stop=amount(9_000), dte=days(3)), 4)
    assert planned_view(guard, sources(one, now)).reason == guarded_view(guard).reason == "No exit conditions triggered"


def test_a_plan_on_a_closed_market_leaves_the_reason_to_the_guard():
    one, guard, now = guarded(ExitLevels(stop=amount(9_000), dte=days(21)), 4)
    closed = replace(now, session_open=False, at_ns=2 * NS_PER_S)
    one.handle(closed)
    assert "market is closed" in planned_view(guard, sources(one, closed)).reason


def test_the_table_of_a_run_carries_no_rules_and_no_orders():
    _, guard, _ = guarded(ExitLevels(stop=amount(9_000)), 4)
    view = guarded_view(guard)
    assert (view.plan, view.orders) == (None, ())
