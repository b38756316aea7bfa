"""The mark: the last price, held inside a believable book."""

import pytest

from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, mark_of


@pytest.mark.parametrize(
    ("last", "bid", "ask", "mark"),
    [
        (100, 95, 105, 100),
        (80_300, 95, 105, 105),  # a freak print above the book
        (1, 95, 105, 95),  # and below it
        (95, 95, 105, 95),
        (105, 95, 105, 105),
        (300, None, 105, 300),  # one-sided: nothing to hold it in
        (300, 95, None, 300),
        (300, None, None, 300),
        (300, 105, 95, 300),  # a crossed book is no book
    ],
)
def test_the_mark_is_the_last_price_clamped_into_a_two_sided_book(last, bid, ask, mark):
    assert mark_of(last, bid, ask) == mark


@pytest.mark.parametrize(("bid", "ask", "expected"), [(1, 2, True), (None, 2, False), (1, None, False)])
def test_two_sided_needs_both_sides(bid, ask, expected):
    key = InstrumentKey(Segment.NSE_FNO, 1)
    assert Quote(key, 1, bid, ask, 1, 1, None, 0).is_two_sided is expected


def test_the_same_id_in_two_segments_is_two_instruments():
    equity, option = InstrumentKey(Segment.NSE_EQ, 13), InstrumentKey(Segment.NSE_FNO, 13)
    assert equity != option
    assert {equity: 1, option: 2}[InstrumentKey(Segment("NSE_FNO"), 13)] == 2
    assert str(option) == "NSE_FNO:13"
