"""Max profit, max loss and breakevens of legs that end on one day, by hand."""

from dataclasses import replace
from datetime import date

import pytest

from core.exits.payoff import Payoff, payoff_of
from core.exits.payoff_line import PayoffLine, known_legs, line_of
from core.model.instrument import InstrumentKey, Right, Segment
from tests.unit.exits.builders import call, leg, position, put, stock

LOT = 7_500
"""Paise of one lot for each rupee of a unit."""
ANY = None


def future(security_id, units, entry, **terms):
    return leg(security_id, units, entry, **terms)


# Legs; max profit and max loss in rupees of a unit (None: unlimited); breakevens in rupees.
STRATEGIES = {
    "Long Call": ((call(1, 75, 100, 5),), None, 5, [105]),
    "Long Put": ((put(1, 75, 100, 5),), 95, 5, [95]),
    "Short Call": ((call(1, -75, 100, 5),), 5, None, [105]),
    "Short Put": ((put(1, -75, 100, 5),), 5, 95, [95]),
    "Bull Call Spread": ((call(1, 75, 100, 5), call(2, -75, 110, 2)), 7, 3, [103]),
    "Bear Call Spread": ((call(1, -75, 100, 5), call(2, 75, 110, 2)), 3, 7, [103]),
    "Bull Put Spread": ((put(1, -75, 100, 5), put(2, 75, 90, 2)), 3, 7, [97]),
    "Bear Put Spread": ((put(1, 75, 100, 5), put(2, -75, 90, 2)), 7, 3, [97]),
    "Iron Condor": (
        (put(1, 75, 80, 1), put(2, -75, 90, 4), call(3, -75, 110, 4), call(4, 75, 120, 1)),
        6,
        4,
        [84, 116],
    ),
    "Iron Butterfly": (
        (put(1, 75, 90, 2), put(2, -75, 100, 6), call(3, -75, 100, 6), call(4, 75, 110, 2)),
        8,
        2,
        [92, 108],
    ),
    "Butterfly": ((call(1, 75, 90, 12), call(2, -150, 100, 6), call(3, 75, 110, 2)), 8, 2, [92, 108]),
    "Long Straddle": ((call(1, 75, 100, 5), put(2, 75, 100, 5)), None, 10, [90, 110]),
    "Short Straddle": ((call(1, -75, 100, 5), put(2, -75, 100, 5)), 10, None, [90, 110]),
    "Long Strangle": ((put(1, 75, 90, 2), call(2, 75, 110, 2)), None, 4, [86, 114]),
    "Short Strangle": ((put(1, -75, 90, 2), call(2, -75, 110, 2)), 4, None, [86, 114]),
    "Cash-Secured Put": ((put(1, -75, 90, 3),), 3, 87, [87]),
    "Covered Call": ((stock(1, 75, 100), call(2, -75, 110, 4)), 14, 96, [96]),
    "Call Ratio": ((call(1, 75, 100, 5), call(2, -150, 110, 2)), 9, None, [101, 119]),
    "Put Ratio": ((put(1, 75, 100, 5), put(2, -150, 90, 2)), 9, 81, [81, 99]),
    "Jade Lizard": ((put(1, -75, 90, 6), call(2, -75, 110, 6), call(3, 75, 120, 1)), 11, 79, [79]),
    "Broken Wing Butterfly": ((call(1, 75, 90, 12), call(2, -150, 100, 6), call(3, 75, 115, 1)), 9, 6, [91, 109]),
    "Long Future": ((future(1, 75, 100),), None, 100, [100]),
    "Short Future": ((future(1, -75, 100),), 100, None, [100]),
    "Future with a put": ((future(1, 75, 100), put(2, 75, 95, 2)), None, 7, [102]),
    "Short future with a call": ((future(1, -75, 100), call(2, 75, 105, 2)), 98, 7, [98]),
    "Future and stock": ((future(1, 75, 100), stock(2, -75, 98)), 0, 2, []),
    "Collared future": ((future(1, 75, 100), put(2, 75, 95, 2), call(3, -75, 105, 2)), 5, 5, [100]),
    # Bought for more than it can ever be worth: it makes nothing at all.
    "Overpaid": ((call(1, 75, 100, 12), call(2, -75, 110, 1)), 0, 11, []),
    "No legs": ((), 0, 0, [0]),
}


@pytest.mark.parametrize(("legs", "profit", "loss", "breakevens"), STRATEGIES.values(), ids=STRATEGIES)
def test_a_strategy(legs, profit, loss, breakevens):
    assert payoff_of(position(*legs)) == Payoff(
        None if profit is None else profit * LOT,
        None if loss is None else loss * LOT,
        breakevens=tuple(price * 100 for price in breakevens),
        is_profit_unlimited=profit is None,
        is_loss_unlimited=loss is None,
    )


@pytest.mark.parametrize(
    ("legs", "zeros"),
    [
        # One paid nothing for it: at 0 up to the strike, and beyond it no longer.
        ((call(1, 75, 100, 0),), (0, 10_000)),
        ((put(1, 75, 100, 0),), (10_000,)),
        # At 0 between the strikes, a bend inside the stretch included.
        ((put(1, 75, 90, 0), call(2, 75, 110, 0), stock(3, 1, 5), stock(3, -1, 5)), (9_000, 11_000)),
        ((put(1, 75, 90, 0), call(2, 75, 110, 0), call(3, 75, 100, 1), call(4, -75, 100, 1)), (9_000, 11_000)),
        # Touched and not crossed.
        ((call(1, 75, 100, 5), put(2, 75, 100, -5)), (10_000,)),
        ((call(1, 75, 100, 1), call(2, -75, 100, 1)), (0,)),
        # A third of a paisa is rounded to the paisa.
        ((call(1, 75, 100, 5), call(2, 150, 101, 1)), (10_300,)),
        ((call(1, 1, 100, 0.01), call(2, 2, 100.01, 0.01)), (10_002,)),
        ((call(1, 3, 100, 0.01), call(2, -1, 100, 0.01)), (10_001,)),
        ((call(1, 3, 100, 0), call(2, 1, 200, 0.04)), (10_001,)),
    ],
)
def test_breakevens_are_where_nothing_is_made_or_lost(legs, zeros):
    assert payoff_of(position(*legs)).breakevens == zeros


@pytest.mark.parametrize(
    ("legs", "why"),
    [
        ((call(1, 75, 100, None),), "no entry price for NSE_FNO:1"),
        ((leg(1, 75, 5, right=Right.CALL),), "no strike for NSE_FNO:1"),
        (
            (future(1, 75, 100), future(2, -75, 101, expiry=date(2027, 1, 28))),
            "futures expire on different days, and the gap between their prices is open",
        ),
    ],
)
def test_an_unknown_payoff_says_why(legs, why):
    found = payoff_of(position(*legs))
    assert found == Payoff(None, None, f"max profit and loss unknown: {why}")
    assert (found.is_profit_unlimited, found.is_loss_unlimited) == (False, False)


NIFTY, BANK, SHARE = (
    InstrumentKey(Segment.IDX_I, 13),
    InstrumentKey(Segment.IDX_I, 25),
    InstrumentKey(Segment.NSE_EQ, 7),
)


def on(leg, behind=None, name="NIFTY"):
    return replace(leg, instrument=replace(leg.instrument, underlying_key=behind, underlying=name))


def shares(leg, key=SHARE, name="NIFTY"):
    return replace(leg, instrument=replace(leg.instrument, key=key, underlying=name))


CALL, PUT, STOCK = call(1, 75, 100, 5), put(2, -75, 100, 5), stock(3, 75, 100)


@pytest.mark.parametrize(
    ("legs", "several"),
    [
        ((on(CALL, NIFTY), on(PUT, BANK)), "IDX_I:13, IDX_I:25"),
        ((on(CALL, NIFTY), on(PUT, BANK, "BANKNIFTY")), "BANKNIFTY, NIFTY"),
        ((CALL, on(PUT, name="BANKNIFTY")), "BANKNIFTY, NIFTY"),
        ((on(CALL, NIFTY), on(PUT, None, "BANKNIFTY")), "BANKNIFTY, NIFTY"),
        ((on(CALL, NIFTY), on(call(4, 75, 100, 5)), on(PUT, BANK)), "IDX_I:13, IDX_I:25"),
        ((shares(STOCK), on(CALL, BANK)), "IDX_I:25, NSE_EQ:7"),
        ((shares(STOCK), shares(stock(4, -75, 90), InstrumentKey(Segment.NSE_EQ, 8), "OTHER")), "NIFTY, OTHER"),
        ((on(future(1, 75, 100), NIFTY), on(future(2, -75, 100), BANK)), "IDX_I:13, IDX_I:25"),
        # One price: by the key, by the name where the master has none, of shares, their futures and options.
        ((on(CALL, NIFTY), on(PUT, NIFTY)), None),
        ((on(CALL, NIFTY), on(PUT)), None),
        ((on(CALL, NIFTY), on(PUT, NIFTY, "NIFTY 50")), None),
        ((shares(STOCK), on(CALL, SHARE)), None),
        ((shares(STOCK), on(future(4, -75, 100))), None),
        ((STOCK, CALL, PUT), None),
    ],
)
def test_legs_of_several_underlyings_have_no_payoff_that_is_known(legs, several):
    found = payoff_of(position(*legs))
    if several is None:
        assert found.is_known
        assert found.note == ""
    else:
        assert found == Payoff(
            None, None, f"max profit and loss unknown: its legs have different underlyings: {several}"
        )
        assert not found.is_known


def test_nothing_is_known_only_where_neither_bound_is():
    assert not Payoff(None, None).is_known
    assert Payoff(0, None).is_known
    assert Payoff(None, 0).is_known
    assert Payoff(None, None, is_profit_unlimited=True).is_known
    assert Payoff(None, None, is_loss_unlimited=True).is_known


def test_what_a_leg_has_made_when_it_ends():
    bought, sold, shares = known_legs((call(1, 75, 100, 5), put(2, -75, 100, 5), stock(3, -75, 100)))
    assert [bought.pnl(price) for price in (9_000, 10_000, 11_000)] == [-37_500, -37_500, 37_500]
    assert [sold.pnl(price) for price in (9_000, 10_000, 11_000)] == [-37_500, 37_500, 37_500]
    assert shares.pnl(9_000) == 75_000


def test_a_line_between_and_beyond_its_points():
    line = line_of(known_legs((call(1, 3, 100, 0), put(2, 2, 50, 0))))
    assert [line.at(price) for price in (0, 2_500, 5_000, 7_500, 10_000, 10_001)] == [10_000, 5_000, 0, 0, 0, 3]
    assert line.plus(line) == PayoffLine(((0, 20_000), (5_000, 0), (10_000, 0)), 6)


@pytest.mark.parametrize(
    ("points", "slope", "envelope"),
    [
        # What bends down is cut off by the chord over it.
        (((0, 0), (10, 5), (20, 0)), 1, ((0, 0), (20, 0))),
        (((0, 0), (10, 5), (20, 20)), 2, ((0, 0), (10, 5), (20, 20))),
        (((0, 10), (10, 8), (20, 2), (30, 1)), 0, ((0, 10), (20, 2), (30, 1))),
        # Three points are cut off one after the other.
        (((0, 0), (10, 9), (20, 17), (30, 24), (40, 0)), 0, ((0, 0),)),
        # A rise that ends is no help: the line stays at what it rose from.
        (((0, 0), (10, 0), (20, 10)), 0, ((0, 0),)),
        (((0, 5), (10, 0), (20, 10)), 0, ((0, 5), (10, 0))),
        # Where the bend is none, the point is left out.
        (((0, 0), (10, 10), (20, 20)), 1, ((0, 0),)),
        (((0, 3),), -2, ((0, 3),)),
    ],
)
def test_the_envelope_is_the_highest_convex_line_below(points, slope, envelope):
    assert PayoffLine(points, slope).lower_envelope() == PayoffLine(envelope, slope)


def test_the_lowest_of_a_line():
    assert PayoffLine(((0, 5), (10, -3), (20, 4)), 0).lowest() == -3
    assert PayoffLine(((0, 5),), -1).lowest() is None


def test_the_least_crossing_counts():
    """One unit, one paisa of premium: the P&L falls from 1 to −1 within two paise."""
    assert line_of(known_legs((put(1, 1, 0.02, 0.01),))).zeros() == (1,)
    assert PayoffLine(((0, 1), (3, 0), (6, -1)), 0).zeros() == (3,)
    assert PayoffLine(((0, 1), (7, -1)), 0).zeros() == (4,)
    assert PayoffLine(((0, -7),), 2).zeros() == (4,)
    assert PayoffLine(((0, -1),), 1).zeros() == (1,)
