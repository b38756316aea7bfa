"""What makes a downloaded master unbelievable, one doubt each; and what must not."""

from dataclasses import replace
from datetime import date

import pytest

from core.dhan.master_sanity import MasterFigures, count_rows, doubts, is_all_expired, measure
from core.model.errors import DecodeError
from core.model.instrument import Segment
from core.paper.instruments import generate, master_csv
from tests.unit.dhan.test_instrument_master import (
    BSE_CALL_ROW,
    CALL_ROW,
    COMPACT,
    COMPACT_CALL_ROW,
    DETAILED,
    INDEX_ROW,
    SHARE_ROW,
    file_of,
)

TODAY = date(2026, 11, 20)
GOOD = MasterFigures(
    rows=250_000,
    looked_at=20_000,
    bad=0,
    nifty="NIFTY",
    segments=frozenset(Segment),
    derivatives=15_000,
    expired=300,
    is_cut=False,
)


def whole_list(*special):
    """Forty thousand rows of the NSE and what else is given."""
    options = (CALL_ROW.replace("61234", str(number)) for number in range(100_000, 130_000))
    shares = (SHARE_ROW.replace("2885", str(number)) for number in range(10_000))
    return file_of(DETAILED, *shares, *options, *special)


def test_a_whole_list_is_believed():
    figures = measure(whole_list(INDEX_ROW), TODAY)
    assert doubts(figures, None) == doubts(figures, 80_000) == ()
    assert (figures.rows, figures.nifty, figures.bad) == (40_001, "NIFTY", 0)
    assert 10_000 < figures.looked_at < 20_100, "a large file is read in part"
    assert 7_500 < figures.derivatives < 15_100


@pytest.mark.parametrize(
    ("change", "last_rows", "word"),
    [
        ({"is_cut": True}, None, "cut off"),
        ({"bad": 201}, None, "201 of 20000 rows cannot be read"),
        ({"nifty": "GOLD"}, None, "expected NIFTY"),
        ({"nifty": None}, None, "without index 13"),
        ({}, 500_001, "the last good copy has 500001"),
        ({"expired": 15_000}, None, "every contract in it has expired"),
    ],
)
def test_each_doubt_is_named(change, last_rows, word):
    (doubt,) = doubts(replace(GOOD, **change), last_rows)
    assert word in doubt


@pytest.mark.parametrize(
    ("change", "last_rows"),
    [
        ({"bad": 200}, None),
        ({"nifty": "Nifty 50"}, None),
        ({"nifty": None, "rows": 9_999}, None),
        ({"nifty": None, "segments": frozenset({Segment.NSE_FNO})}, None),
        ({"looked_at": 3, "bad": 5, "rows": 3}, None),
        ({}, 500_000),
        ({"expired": 14_999}, None),
        ({"derivatives": 0, "expired": 0}, None),
    ],
)
def test_what_is_no_reason_to_doubt(change, last_rows):
    assert doubts(replace(GOOD, **change), last_rows) == ()


def test_doubts_add_up():
    assert len(doubts(replace(GOOD, is_cut=True, nifty="X", bad=9_000), 10**6)) == 4


@pytest.mark.parametrize(
    "text",
    [
        file_of(DETAILED, CALL_ROW),
        file_of(COMPACT, COMPACT_CALL_ROW),
        file_of(DETAILED, BSE_CALL_ROW),
        file_of(DETAILED, CALL_ROW).rstrip("\n"),
        file_of(DETAILED, CALL_ROW, "NSE,D,oops"),
        master_csv(generate(TODAY, 25)).decode(),
    ],
    ids=["one row", "compact", "BSE", "no last line end", "a slip of the pen", "the local exchange"],
)
def test_small_files_of_ones_own_pass(text):
    assert doubts(measure(text, TODAY), None) == ()


def test_wrong_ids_are_seen_in_a_file_of_any_size():
    text = file_of(DETAILED, CALL_ROW, INDEX_ROW.replace("NIFTY", "BANKNIFTY"))
    assert "BANKNIFTY" in doubts(measure(text, TODAY), None)[0]


def test_an_index_is_found_wherever_it_stands_in_a_large_file():
    rows = whole_list(INDEX_ROW, INDEX_ROW.replace(",13,", ",25,")).splitlines()
    for place in (1, 2, 17_000):
        moved = [*rows[:place], rows[-2], *rows[place:-2], rows[-1]]
        assert measure("\n".join(moved) + "\n", TODAY).nifty == "NIFTY"
    assert measure(whole_list(), TODAY).nifty is None


def test_the_share_of_bad_rows_of_a_large_file_is_seen():
    rows = whole_list(INDEX_ROW).splitlines()
    spoilt = [row.replace(",65.0,", ",sixty,") if number % 40 == 7 else row for number, row in enumerate(rows)]
    figures = measure("\n".join(spoilt) + "\n", TODAY)
    assert 0.01 < figures.bad / figures.looked_at < 0.03
    assert any("cannot be read" in doubt for doubt in doubts(figures, None))


@pytest.mark.parametrize("rows", [2, 3])
def test_every_cut_of_the_last_row_is_seen(rows):
    text = file_of(DETAILED, *[CALL_ROW] * rows)
    last = text.rstrip("\n").rfind("\n") + 1
    for end in range(last + 1, len(text) - 1):
        assert measure(text[:end], TODAY).is_cut, text[last:end]
    assert not measure(text, TODAY).is_cut
    assert not measure(text[:-1], TODAY).is_cut


def test_an_old_file_is_one_whose_every_contract_is_over():
    old = CALL_ROW.replace("2026-11-24", "2026-11-19")
    assert is_all_expired(measure(file_of(DETAILED, old, INDEX_ROW), TODAY))
    assert not is_all_expired(measure(file_of(DETAILED, old, CALL_ROW), TODAY))
    assert not is_all_expired(measure(file_of(DETAILED, CALL_ROW.replace("2026-11-24", "2026-11-20")), TODAY))
    assert not is_all_expired(measure(file_of(DETAILED, SHARE_ROW), TODAY))


@pytest.mark.parametrize("text", ["", "<html>", "a,b\n", DETAILED, DETAILED + "\n"])
def test_what_has_no_rows_is_no_master(text):
    with pytest.raises(DecodeError):
        measure(text, TODAY)


@pytest.mark.parametrize(("text", "rows"), [("", 0), ("h", 0), ("h\n", 0), ("h\na", 1), ("h\na\n", 1), ("h\na\nb", 2)])
def test_rows_are_counted_without_the_header(text, rows):
    assert count_rows(text) == rows


def test_a_file_in_another_order_is_read_whole():
    """Only the usual order lets lines be picked without taking them apart."""
    rows = [row.split(",") for row in whole_list(INDEX_ROW).splitlines()]
    moved = "\n".join(",".join([*row[1:32], row[0]]) for row in rows) + "\n"
    figures = measure(moved, TODAY)
    assert (figures.looked_at, figures.nifty) == (40_001, "NIFTY")
