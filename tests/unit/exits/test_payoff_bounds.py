"""Legs of several expiries: what is proven at the first expiry, and what is honestly unknown."""

from datetime import date

import pytest

from core.exits.payoff import FIRST_EXPIRY, payoff_of
from tests.unit.exits.builders import EXPIRY, call, leg, position, put, stock

LOT = 7_500
FAR = date(2027, 1, 28)
FARTHER = date(2027, 2, 25)
UNKNOWN = "unknown"


def far_call(security_id, units, strike, entry, expiry=FAR):
    return call(security_id, units, strike, entry, expiry=expiry)


def far_put(security_id, units, strike, entry, expiry=FAR):
    return put(security_id, units, strike, entry, expiry=expiry)


# Legs; max profit and max loss in rupees of a unit (None: unlimited).
POSITIONS = {
    "call calendar": ((call(1, -75, 100, 4), far_call(2, 75, 100, 7)), UNKNOWN, 3),
    "put calendar": ((put(1, -75, 100, 4), far_put(2, 75, 100, 7)), UNKNOWN, 3),
    # The later strike is 10 worse: that much more can be lost.
    "diagonal": ((call(1, -75, 100, 4), far_call(2, 75, 110, 3)), UNKNOWN, 9),
    "poor man's covered call": ((far_call(1, 75, 90, 12), call(2, -75, 105, 3)), UNKNOWN, 9),
    "double calendar": (
        (put(1, -75, 90, 2), far_put(2, 75, 90, 4), call(3, -75, 110, 2), far_call(4, 75, 110, 5)),
        UNKNOWN,
        5,
    ),
    "calendar with too many sold": ((call(1, -150, 100, 4), far_call(2, 75, 100, 7)), UNKNOWN, None),
    "calendar with more bought": ((call(1, -75, 100, 4), far_call(2, 150, 100, 7)), None, 10),
    # What lives on is sold: it can be worth anything, and at most what it was sold for is made.
    "short call calendar": ((call(1, 75, 100, 4), far_call(2, -75, 100, 7)), 3, UNKNOWN),
    "short put calendar": ((put(1, 75, 100, 4), far_put(2, -75, 100, 7)), 3, UNKNOWN),
    "short calendar with more bought": ((call(1, 150, 100, 4), far_call(2, -75, 100, 7)), None, UNKNOWN),
    # A sold spread that lives on is worth its width at most.
    "later credit spread": ((put(1, 75, 100, 1), far_put(2, -75, 100, 9), far_put(3, 75, 90, 4)), 94, 6),
    "bought later spread": ((call(1, -75, 120, 1), far_call(2, 75, 100, 5), far_call(3, -75, 110, 2)), 8, None),
    "later spread alone, over two days": (
        (far_call(1, 75, 100, 5), far_call(2, -75, 110, 2, FARTHER), far_call(3, 75, 110, 2, FARTHER)),
        None,
        5,
    ),
    # The cover ends before what it covers.
    "cover that ends first": ((put(1, -75, 80, 1), far_put(2, 75, 90, 3), far_put(3, -75, 90, 5, FARTHER)), 3, UNKNOWN),
    "cover that lives longer": (
        (put(1, -75, 80, 1), far_put(2, -75, 90, 3), far_put(3, 150, 90, 5, FARTHER)),
        UNKNOWN,
        6,
    ),
    # Stock at 0 is the worst, and no option has time value there. With a put the worst is where the call has most of it.
    "two covered calls": ((stock(1, 150, 100), call(2, -75, 110, 4), far_call(3, -75, 115, 6)), 35, 190),
    "collar with a later call": ((stock(1, 75, 100), put(2, 75, 95, 2), far_call(3, -75, 110, 3)), 11, UNKNOWN),
    "later future under a call": ((leg(1, 75, 100, expiry=FAR), call(2, -75, 110, 4)), 14, 96),
    # Two puts under one share: worst at their strike, where the later spread may already be worth its width.
    "more puts than stock": (
        (
            stock(1, 75, 100),
            put(2, 150, 95, 2),
            call(3, -75, 110, 3),
            far_put(4, -75, 100, 8),
            far_put(5, 75, 90, 4),
        ),
        83,
        12,
    ),
    # Calls are no cover for puts, nor the other way round.
    "puts uncovered": ((put(1, 75, 90, 2), far_put(2, -75, 90, 4), far_call(3, 150, 110, 1)), None, UNKNOWN),
    "risk reversal": ((put(1, -75, 90, 4), far_call(2, 75, 110, 4)), None, 90),
    "both bought": ((put(1, 75, 90, 4), far_put(2, 75, 100, 8)), 178, 12),
}


@pytest.mark.parametrize(("legs", "profit", "loss"), POSITIONS.values(), ids=POSITIONS)
def test_legs_of_several_expiries(legs, profit, loss):
    payoff = payoff_of(position(*legs))
    unknown = [name for name, amount in (("profit", profit), ("loss", loss)) if amount is UNKNOWN]
    assert (payoff.max_profit, payoff.max_loss) == tuple(
        None if amount in {None, UNKNOWN} else amount * LOT for amount in (profit, loss)
    )
    assert (payoff.is_profit_unlimited, payoff.is_loss_unlimited) == (profit is None, loss is None)
    assert (payoff.breakevens, payoff.assumption) == (None, FIRST_EXPIRY)
    wanted = f"max {' and '.join(unknown)} unknown without a model: the legs expire on different days"
    assert payoff.note == (wanted if unknown else "")


def test_the_order_of_the_legs_is_nothing():
    legs = POSITIONS["double calendar"][0]
    assert payoff_of(position(*legs)) == payoff_of(position(*reversed(legs)))
    assert {leg.instrument.expiry for leg in legs} == {EXPIRY, FAR}


@pytest.mark.parametrize(
    ("legs", "wanted"),
    [
        # A lot of one: each bound still counts the least unit.
        ((call(1, -1, 100, 4), far_call(2, 1, 100, 7)), (None, 300, False, False)),
        ((call(1, 1, 100, 4), far_call(2, -1, 100, 7)), (300, None, False, False)),
        ((call(1, -1, 100, 4), far_call(2, 2, 100, 7)), (None, 1_000, True, False)),
        ((call(1, -2, 100, 4), far_call(2, 1, 100, 7)), (None, None, False, True)),
        ((call(1, 2, 100, 4), far_call(2, -1, 100, 7)), (None, None, True, False)),
        # Opened for a credit: nothing can be lost, not even a paisa.
        ((call(1, -1, 100, 7), far_call(2, 1, 100, 4)), (None, 0, False, False)),
        ((call(1, -1, 100, 7), far_call(2, 1, 100, 6.99)), (None, 0, False, False)),
    ],
)
def test_single_units(legs, wanted):
    payoff = payoff_of(position(*legs))
    found = payoff.max_profit, payoff.max_loss, payoff.is_profit_unlimited, payoff.is_loss_unlimited
    assert found == wanted
    assert ("profit unknown" in payoff.note, "loss unknown" in payoff.note) == (
        wanted[0] is None and not wanted[2],
        wanted[1] is None and not wanted[3],
    )


def test_a_part_of_a_paisa_is_rounded_against_us():
    """A sold spread of 3 paise over strikes 1 to 4, worth up to ¾ of the underlying, under a call at 3: 2¼ paise can be lost."""
    legs = call(1, 1, 0.03, 0), far_call(2, -1, 0.01, 0), far_call(3, 1, 0.04, 0)
    assert payoff_of(position(*legs)).max_loss == 3
