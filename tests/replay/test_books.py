"""Generated books through both recorded days: every exit as the oracle has it, which, when, why, at what P&L.

Fifty of them each time; BOOKS=200 (`make books`) plays two hundred. A book has eight positions, and every second one limits.
Some positions have an override, a named set, levels of the chart or planned Greeks. The same rows are read twice, by the
monitor and by the oracle, and the same quotes are judged twice. Orders fill at once, at the bid or the ask: the subject is the
decision. Silence is not judged, for a snapshot a minute would look like it.
"""

import os
from collections import Counter

import pytest

from tests.oracle.recorded import EXPIRY_DAY, FOLDER, NORMAL_DAY
from tests.replay.book_run import run_book

BOOKS = int(os.environ.get("BOOKS", "50"))
POSITIONS = 8
AT_A_TIME = 25
RULES_THAT_FIRE = {
    "stop_loss", "trailing_stop", "premium_trailing", "lock_profit", "underlying_level", "square_off", "dte_exit",
    "theta_exit", "longest_holding", "profit_target", "scaling_target", "adjustment",
}  # fmt: skip
RARER = {
    "greeks", "losing_time_stop", "strategy_limit", "underlying_limit", "account_limit", "portfolio_limit",
}  # fmt: skip
"""Asked for in a part of the books, or mostly overtaken by others."""
both_days = pytest.mark.parametrize("recording", [NORMAL_DAY, EXPIRY_DAY], ids=lambda recording: recording.name)
pytestmark = [
    pytest.mark.no_cover,
    pytest.mark.replay,
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"NOT TESTED: the recorded market days are not here ({FOLDER})"),
]


@both_days
@pytest.mark.parametrize("first", range(0, BOOKS, AT_A_TIME))
def test_every_exit_of_a_book_is_the_one_the_oracle_has(recording, first):
    fired = Counter()
    for seed in range(first, first + AT_A_TIME):
        run = run_book(recording, seed, POSITIONS)
        assert run.differences == {}, f"book {seed}"
        fired.update(decision.rule for decisions in run.expected.values() for decision in decisions)
    assert set(fired) - RARER == RULES_THAT_FIRE
    assert len(RARER & set(fired)) >= 3


@pytest.mark.parametrize(
    ("recording", "seed"),
    [(EXPIRY_DAY, 81), (NORMAL_DAY, 15), (NORMAL_DAY, 18), (NORMAL_DAY, 68), (NORMAL_DAY, 90), (EXPIRY_DAY, 122)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_book_that_once_found_something_is_played_each_time(recording, seed):
    """A warning that let other breaches begin anew, limits looked at too late, a share that was taken for an edit of its rows."""
    assert run_book(recording, seed, POSITIONS, is_plain=True).differences == {}
