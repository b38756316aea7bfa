"""Gate, budgets, slices, prices and ids: arithmetic, against plain re-statements of what they promise."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.desk_settings import DeskSettings
from core.exits.order_gate import RollingBudget, closable_quantity, per_minute, per_second, reducible
from core.exits.order_plan import (
    LadderSettings,
    closing_side,
    correlation_id_of,
    exit_id_of,
    limit_price,
    price_limits,
    short_legs,
    slice_quantity,
)
from core.model.market import Quote
from core.model.orders import Side
from tests.unit.order_side.rig import MS, S, instrument, leg, position

SIDES = st.sampled_from(Side)
UNITS = st.integers(0, 20_000)
NETS = st.integers(-20_000, 20_000)


@given(SIDES, UNITS, NETS, NETS, UNITS)
def test_the_gate_never_lets_either_account_cross_zero(side, free, broker, model, reserved):
    quantity = closable_quantity(side, free, broker, model, reserved)
    assert 0 <= quantity <= free
    if quantity:
        for net in (broker, model):
            after = net + side.sign * (quantity + reserved)
            assert net != 0
            assert after == 0 or (after > 0) is (net > 0)


@given(SIDES, UNITS, NETS, NETS, UNITS, st.integers(1, 1_000))
def test_a_larger_reserve_never_lets_more_through(side, free, broker, model, reserved, more):
    assert closable_quantity(side, free, broker, model, reserved + more) <= closable_quantity(
        side, free, broker, model, reserved
    )


def test_the_gate_leaves_nothing_unprotected_that_is_free():
    assert closable_quantity(Side.BUY, 75, -150, -150, 75) == 75
    assert closable_quantity(Side.SELL, 150, 100, 120, 25) == 75


@given(SIDES, NETS)
def test_only_a_net_of_the_other_sign_is_reducible(side, net):
    assert reducible(side, net) == (abs(net) if net * side.sign < 0 else 0)


@given(st.lists(st.integers(0, 5 * S), max_size=60), st.integers(1, 8))
def test_a_budget_that_is_obeyed_holds_in_every_window(wishes, limit):
    budget, taken = RollingBudget(limit, S), []
    for wish in sorted(wishes):
        at = max(wish, taken[-1] if taken else 0)
        free = budget.free_at(at)
        assert free >= at
        assert budget.free_at(free) == free
        budget.take(free)
        taken.append(free)
    for end in taken:
        assert sum(end - S < time <= end for time in taken) <= limit


def test_orders_in_flight_use_the_budget_up():
    budget = per_second(2)
    budget.take(10)
    assert budget.free_at(20, in_flight=0) == 20
    assert budget.free_at(20, in_flight=1) == 10 + S
    assert budget.free_at(20, in_flight=2) == 20 + S


def test_a_take_that_came_to_nothing_is_given_back():
    budget = per_minute(1)
    budget.take(10)
    budget.give_back(11)
    assert budget.free_at(20) == 10 + 60 * S
    budget.give_back(10)
    assert budget.free_at(20) == 20


@given(st.integers(1, 20_000), st.integers(1, 100), st.one_of(st.none(), st.integers(1, 5_000)))
def test_slices_sum_exactly_and_stay_below_the_freeze_quantity(units, lot, freeze):
    contract = instrument(lot=lot, freeze_quantity=freeze)
    slices, left = [], units
    while left:
        slices.append(slice_quantity(left, contract))
        left -= slices[-1]
    assert sum(slices) == units
    assert min(slices) > 0
    assert all(quantity % lot == 0 for quantity in slices[:-1])
    if freeze is not None and freeze > lot:
        assert max(slices) < freeze


def quote(last, bid, ask):
    return Quote(instrument().key, last, bid, ask, 0, 0, None, 0)


PRICES = st.integers(1, 200_000)
QUOTES = st.builds(
    lambda last, spread, sides: quote(
        last, last - spread if sides[0] and last > spread else None, last + spread if sides[1] else None
    ),
    PRICES,
    st.integers(0, 500),
    st.tuples(st.booleans(), st.booleans()),
)
TICKS = st.sampled_from((1, 5, 10))
LIMITS = st.one_of(st.none(), st.integers(200_000, 500_000))


@given(SIDES, QUOTES, TICKS, LIMITS, st.integers(0, 12))
def test_a_price_is_on_the_grid_and_inside_the_limits(side, seen, tick, upper, number):
    contract = instrument(tick=tick, upper_limit=upper, lower_limit=7)
    price = limit_price(side, seen, contract, number, LadderSettings())
    low, high = price_limits(contract, max(seen.last, 1))
    assert price > 0
    assert price % tick == 0
    assert price >= low
    assert high is None or price <= max(high, low + tick)


@given(SIDES, QUOTES, TICKS, st.integers(0, 10))
def test_a_later_round_is_never_shyer(side, seen, tick, number):
    contract = instrument(tick=tick)
    now, later = (limit_price(side, seen, contract, n, LadderSettings()) for n in (number, number + 1))
    assert later * side.sign >= now * side.sign


@given(QUOTES, TICKS, st.integers(0, 10))
def test_buying_is_selling_in_a_mirror(seen, tick, number):
    # Mirrored at the mark; without limits, because the real ones are not symmetric at the bottom.
    contract = instrument(tick=tick, right=None)
    centre = 10_000_000
    mirror = quote(
        centre - seen.last,
        None if seen.ask is None else centre - seen.ask,
        None if seen.bid is None else centre - seen.bid,
    )
    ladder = LadderSettings(rungs_bps=(0,))
    buy = limit_price(Side.BUY, seen, contract, number, ladder)
    sell = limit_price(Side.SELL, mirror, contract, number, ladder)
    assert centre - sell == buy


@given(SIDES, QUOTES, TICKS)
def test_the_first_round_already_crosses_the_spread(side, seen, tick):
    contract = instrument(tick=tick, right=None)
    price = limit_price(side, seen, contract, 0, LadderSettings())
    best = (seen.ask if side is Side.BUY else seen.bid) or seen.last
    assert price * side.sign > best * side.sign or price == tick


@pytest.mark.parametrize(
    ("mark", "low", "high"), [(5_000, 3_005, 6_995), (5_005, 3_010, 7_000), (10_000, 6_005, 13_995), (100, 5, 2_095)]
)
def test_price_protection_is_twenty_rupees_up_to_fifty_and_forty_percent_above(mark, low, high):
    assert price_limits(instrument(), mark) == (low, high)


def test_the_band_of_the_day_is_a_limit_too():
    assert price_limits(instrument(lower_limit=9_000, upper_limit=11_000), 10_000) == (9_000, 11_000)
    assert price_limits(instrument(right=None), 10_000) == (5, None)


def test_beyond_the_last_rung_the_price_is_the_widest_allowed():
    seen = quote(10_000, 9_995, 10_005)
    assert limit_price(Side.BUY, seen, instrument(), 5, LadderSettings()) == 13_995
    assert limit_price(Side.SELL, seen, instrument(), 5, LadderSettings()) == 6_005


def test_closing_buys_what_is_short_and_shorts_go_first():
    assert closing_side(-75) is Side.BUY
    assert closing_side(75) is Side.SELL
    assert short_legs(position(1, leg(1, 501, 75), leg(2, 502, -75), leg(3, 503, -1))) == (1, 2)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(1, 60)), unique=True, max_size=40))
def test_correlation_ids_fit_the_wire_and_differ(keys):
    ids = [correlation_id_of(f"{e}-1-abc", row, number) for e, row, number in keys]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,25}", one) for one in ids)


def test_ids_are_the_same_after_any_restart_and_new_for_a_new_generation():
    held = position(7, leg(1, 501, -75))
    assert exit_id_of(held, 1) == exit_id_of(position(7, leg(1, 501, -75)), 1)
    assert len({exit_id_of(held, 1), exit_id_of(held, 2), exit_id_of(position(7, leg(2, 501, -75)), 1)}) == 3
    assert exit_id_of(held, 1).startswith("7-1-")


def test_a_short_quarantine_is_refused():
    assert DeskSettings(absence_quarantine_s=5.0).absence_quarantine_s == 5.0
    with pytest.raises(ValueError, match="at least 5 s"):
        DeskSettings(absence_quarantine_s=4.9)


def test_times_are_whole_nanoseconds():
    assert (MS, S) == (10**6, 10**9)
