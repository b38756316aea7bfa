"""The side of the book that closes a leg, and the one that flatters it, for a single unit too."""

import pytest

from core.exits.profit_and_loss import best_side_price, executable_price
from tests.unit.exits.builders import quote, stock


@pytest.mark.parametrize(("units", "closes_at", "flatters_at"), [(1, 9_990, 10_010), (-1, 10_010, 9_990)])
def test_one_unit_is_closed_at_the_other_side_and_flattered_by_its_own(units, closes_at, flatters_at):
    leg, seen = stock(1, units, 90), quote(1, 100, bid=99.9, ask=100.1)
    assert executable_price(leg, seen) == closes_at
    assert best_side_price(leg, seen) == flatters_at
    assert executable_price(leg, None) is None
    assert best_side_price(leg, None) is None
