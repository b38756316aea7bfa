"""The levels of every position of the generated books, from the same rows and settings, by the monitor and by the oracle.

Nothing is played, so that also levels which no day meets are compared, of 200 books for each day (BOOKS=n: n of them).
"""

import os
from collections import Counter
from dataclasses import replace

import pytest

from tests.oracle.books import make_book
from tests.oracle.recorded import EXPIRY_DAY, FOLDER, NORMAL_DAY
from tests.oracle.rows import positions_of
from tests.replay.book_run import recorded_day
from tests.replay.conversion import nine_digits, plain_of
from tests.replay.real_book import read_book

BOOKS = int(os.environ.get("BOOKS", "200"))
POSITIONS = 8
LEAST_OF_EACH = 3
pytestmark = [
    pytest.mark.replay,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"NOT TESTED: the recorded market days are not here ({FOLDER})"),
]


def rounded(levels):
    return replace(levels, greeks=tuple(replace(each, reference=nine_digits(each.reference)) for each in levels.greeks))


@pytest.mark.parametrize("recording", [NORMAL_DAY, EXPIRY_DAY], ids=lambda recording: recording.name)
def test_the_monitor_reads_the_levels_that_the_oracle_reads(recording):
    market, seen = recorded_day(recording).market, Counter()
    for seed in range(BOOKS):
        book = make_book(market, seed, POSITIONS)
        expected = {
            each.strategy_id: rounded(each.levels) for each in positions_of(book.tables, book.contracts, book.settings)
        }
        read = {position.strategy_id: plain_of(levels) for position, levels in read_book(book, recording.day)}
        assert read == expected, f"book {seed}"
        seen.update(name for levels in read.values() for name in levels.__slots__ if getattr(levels, name))
    assert all(seen[name] >= LEAST_OF_EACH for name in next(iter(read.values())).__slots__), seen
