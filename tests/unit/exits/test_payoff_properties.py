"""The payoff against slow calculations that share no code with it: a grid of every paisa, and martingales of two prices."""

from datetime import timedelta
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exits.payoff import payoff_of
from core.model.instrument import Right
from core.pricing.black import black_price
from tests.unit.exits.builders import EXPIRY, leg, position

TOP = 40
"""Strikes (paise here, so that the grid can hold every price) are below it."""
DAYS = (0, 7, 35)

# (kind, units, strike, entry, days after the first expiry)
kinds = st.sampled_from(["call", "put", "stock"])
SHARE = 99
"""All stock of a position is of one share."""
units = st.integers(-3, 3).filter(bool)
contracts = st.tuples(kinds, units, st.integers(1, TOP), st.integers(0, 12))
one_day = st.lists(contracts.map(lambda terms: (*terms, 0)), max_size=5)
several_days = st.lists(
    st.tuples(kinds, units, st.integers(1, TOP), st.integers(0, 12), st.sampled_from(DAYS)), min_size=2, max_size=5
)


def payoff(contracts):
    return payoff_of(position(*(built(number, *terms) for number, terms in enumerate(contracts))))


def built(number, kind, units, strike, entry, days):
    right = {"call": Right.CALL, "put": Right.PUT, "stock": None}[kind]
    return leg(
        number if right else SHARE,
        units,
        entry / 100,
        strike=strike / 100 if right else None,
        right=right,
        expiry=EXPIRY + timedelta(days) if right else None,
    )


def ends_with(kind, strike, price):
    return {"call": max(price - strike, 0), "put": max(strike - price, 0), "stock": price}[kind]


def pnl(contracts, price):
    return sum(units * (ends_with(kind, strike, price) - entry) for kind, units, strike, entry, _ in contracts)


@given(one_day)
def test_of_one_day_against_every_paisa(contracts):
    found = payoff(contracts)
    grid = [pnl(contracts, price) for price in range(TOP + 1)]
    beyond = pnl(contracts, TOP + 1) - grid[-1]
    assert found.max_profit == (None if beyond > 0 else max(*grid, 0))
    assert found.max_loss == (None if beyond < 0 else -min(*grid, 0))
    assert (found.is_profit_unlimited, found.is_loss_unlimited, found.note) == (beyond > 0, beyond < 0, "")
    zeros = {
        round(price + Fraction(now, now - after))
        for price, (now, after) in enumerate(pairwise(grid))
        if now * after < 0
    }
    zeros |= {
        price
        for price, now in enumerate(grid)
        if now == 0 and not (price > 0 and grid[price - 1] == 0 and pnl(contracts, price + 1) == 0)
    }
    if grid[-1] * beyond < 0:
        zeros.add(round(TOP - Fraction(grid[-1], beyond)))
    assert found.breakevens == tuple(sorted(zeros))


@given(one_day, st.integers(2, 5))
def test_more_of_the_same_scales_and_keeps_the_breakevens(contracts, times):
    one = payoff(contracts)
    many = payoff([(kind, units * times, *rest) for kind, units, *rest in contracts])
    assert many.breakevens == one.breakevens
    assert many.max_profit == (None if one.max_profit is None else one.max_profit * times)
    assert many.max_loss == (None if one.max_loss is None else one.max_loss * times)


@given(several_days)
def test_the_other_side_of_the_trade_has_the_mirrored_payoff(contracts):
    mine, other = payoff(contracts), payoff([(kind, -units, *rest) for kind, units, *rest in contracts])
    assert (mine.max_profit, mine.max_loss) == (other.max_loss, other.max_profit)
    assert (mine.is_profit_unlimited, mine.breakevens) == (other.is_loss_unlimited, other.breakevens)


def least_at(later, price, days):
    """The least that later options are worth at a price: the underlying goes on to one of two prices, in each day's turn."""
    if not days:
        return 0
    bends = sorted({0, price, *(strike for _, _, strike, _, _ in later)})
    ends = {bend: least_at(later, bend, days[1:]) + paid_on(later, bend, days[0]) for bend in bends}
    far = bends[-1] + 1
    rise = sum(units for kind, units, _, _, day in later if kind == "call" and day in days)
    least = ends[price]
    for low in (bend for bend in bends if bend <= price):
        # The other price may be as far as it likes: then the line leaves `low` with the last slope.
        least = min(least, ends[low] + rise * (price - low))
        for high in (bend for bend in bends if price < bend < far):
            share = Fraction(price - low, high - low)
            least = min(least, (1 - share) * ends[low] + share * ends[high])
    return least


def paid_on(later, price, day):
    return sum(units * ends_with(kind, strike, price) for kind, units, strike, _, when in later if when == day)


@given(several_days)
def test_of_several_days_against_martingales_of_two_prices(contracts):
    days = sorted({day for kind, *_, day in contracts if kind != "stock"})
    if len(days) < 2:
        return
    later = [terms for terms in contracts if terms[0] != "stock" and terms[4] != days[0]]
    now = [terms for terms in contracts if terms not in later]
    paid = sum(units * entry for _, units, _, entry, _ in later)
    found = payoff(contracts)
    rise = sum(units for kind, units, *_ in contracts if kind != "put")
    prices = {0, *(strike for _, _, strike, _, _ in contracts)}
    least = min(pnl(now, price) + least_at(later, price, days[1:]) - paid for price in prices)
    held = min(pnl(contracts, price) for price in prices)
    covered = all(
        sum(units for kind, units, _, _, day in later if kind == right and day >= since) >= 0
        for right in ("call", "put")
        for since in days[1:]
    )
    assert found.is_loss_unlimited == (rise < 0)
    if rise < 0 or not (covered or least == held):
        assert found.max_loss is None
    else:
        assert found.max_loss == -(min(least, 0) // 1)


@given(several_days, st.tuples(st.floats(0.01, 1.5), st.floats(0.01, 1.5)))
def test_no_volatility_breaks_what_is_proven(contracts, widths):
    """Black's prices without interest stay within the bounds, if uncertainty grows with time as it must."""
    found = payoff(contracts)
    days = sorted({day for kind, *_, day in contracts if kind != "stock"})
    deviations = dict(zip(days, (0, widths[0], widths[0] + widths[1]), strict=False))
    for price in range(1, 3 * TOP):
        total = 0.0
        for kind, units, strike, entry, day in contracts:
            worth = ends_with(kind, strike, price)
            if kind != "stock":
                worth = black_price(Right.CALL if kind == "call" else Right.PUT, price, strike, deviations[day])
            total += units * (worth - entry)
        assert found.max_loss is None or total >= -found.max_loss - 1e-9
        assert found.max_profit is None or total <= found.max_profit + 1e-9


def test_the_bound_of_a_calendar_is_reached_where_volatility_dies():
    far = EXPIRY + timedelta(35)
    legs = leg(1, -75, 4, strike=100, right=Right.CALL), leg(2, 75, 7, strike=100, right=Right.CALL, expiry=far)
    worth = black_price(Right.CALL, 20_000, 10_000, 0.01) - 700 - (20_000 - 10_000) + 400
    assert payoff_of(position(*legs)).max_loss == pytest.approx(-75 * worth)
