import json
from datetime import time

import pytest

from core.exit_records import FILE_NAME, line_of
from core.model.errors import ConfigurationError
from core.model.exit_levels import Rule
from core.model.session_time import NS_PER_S
from core.model.signals import Latency
from core.why import explain
from tests.unit.dashboard.views import UTC_NS, record


@pytest.fixture
def log_dir(tmp_path):
    """The same strategy exits at 17:36:40 and an hour later, another one in between. IST of the views' moment."""
    first = record(exit_id="A", reason="first")
    later = record(exit_id="B", reason="second", finished_at_ns=UTC_NS + 3_600 * NS_PER_S)
    other = record(7, exit_id="C", rule=Rule.DTE_EXIT, threshold=7, observed=6, realised_pnl=None, latency=Latency())
    clock = record(8, exit_id="D", rule=Rule.SQUARE_OFF, threshold=None, observed=None, legs=())
    lines = [json.dumps(line_of(each)) for each in (first, other, later, clock)]
    (tmp_path / FILE_NAME).write_text("\n".join([*lines, '{"strategy_id": 3359, "timest', ""]), encoding="utf-8")
    return tmp_path


def test_the_newest_exit_is_explained_with_what_was_compared(log_dir):
    text = explain(log_dir, log_dir, 3359, None, as_json=False)
    assert "second" in text
    assert "P&L ₹-12,200.00 with the level ₹-12,112.50" in text
    assert "tick received → decided:" in text
    assert "0.2 ms" in text
    assert "SELL" in text
    assert "₹28.30" in text
    assert "choose with --at" in text


def test_a_time_picks_the_exit_nearest_to_it(log_dir):
    first_at = line_of(record())["timestamp"][11:19]
    assert "first" in explain(log_dir, log_dir, 3359, time.fromisoformat(first_at), as_json=False)


def test_days_are_days_and_an_unknown_sum_is_unknown(log_dir):
    text = explain(log_dir, log_dir, 7, None, as_json=False)
    assert "6 days to expiry with the limit of 7 days" in text
    assert "Realised P&L:   unknown" in text
    assert " ms" not in text


def test_a_clock_rule_compared_no_number(log_dir):
    assert "no number" in explain(log_dir, log_dir, 8, None, as_json=False)


def test_the_json_is_the_recorded_line_with_what_was_compared_beside_it(log_dir):
    line = json.loads((log_dir / FILE_NAME).read_text(encoding="utf-8").splitlines()[1])
    assert json.loads(explain(log_dir, log_dir, 7, None, as_json=True)) == line | {
        "asked": None,
        "compared": None,
        "compared_apart_s": None,
        "around": [],
        "exits": [line["timestamp"]],
        "newest": None,
        "problems": [
            f"{log_dir / FILE_NAME}: 1 damaged line is left out (line 5); look at it there, the other lines are used"
        ],
    }


@pytest.mark.parametrize(
    ("rule", "threshold", "observed", "said"),
    [
        (Rule.LONGEST_HOLDING, 45, 46, "held for 46 days with the limit of 45 days"),
        (Rule.GREEKS, 8_000, 8_123, "0.8123 with the threshold 0.8"),
        (Rule.UNDERLYING_LEVEL, 2_600_000, 2_600_100, "the underlying's price ₹26,001.00 with the level ₹26,000.00"),
        (Rule.ACCOUNT_LIMIT, -100_000, -100_100, "P&L ₹-1,001.00 with the level ₹-1,000.00"),
        (Rule.OWN_RULE, None, None, "an own rule"),
    ],
)
def test_what_was_compared_reads_in_the_unit_of_its_rule(tmp_path, rule, threshold, observed, said):
    line = json.dumps(line_of(record(rule=rule, threshold=threshold, observed=observed)))
    (tmp_path / FILE_NAME).write_text(f"{line}\n", encoding="utf-8")
    text = explain(tmp_path, tmp_path, 3359, None, as_json=False)
    assert said in text
    assert "DECISION_LOG_DAYS" in text, "its comparisons are not there, and that is said"


@pytest.mark.parametrize("strategy_id", [1, 99])
def test_a_strategy_without_an_exit_is_named(log_dir, strategy_id):
    with pytest.raises(ConfigurationError, match=f"no exit of strategy {strategy_id}"):
        explain(log_dir, log_dir, strategy_id, None, as_json=False)


def test_without_a_file_the_same_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="no exit of strategy 1"):
        explain(tmp_path, tmp_path, 1, None, as_json=False)
