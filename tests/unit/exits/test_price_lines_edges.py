"""The lines of the price rules in whole paise, and which P&L is the next that a rule must know of."""

import pytest

from core.exits import price_lines as lines
from core.exits.rules import PRICE_RULES, RuleFacts
from core.exits.time_rules import TIME_RULES
from core.model.exit_levels import Action, AmountLevel, DaysLevel, ExitLevels, LevelSource, Rule, TrailingLevel
from core.model.special_levels import LockLevel, LockStep, ScalingLevel

ROW = LevelSource.LEVEL_ROW
LOCK = LockLevel((LockStep(100, 0), LockStep(200, 133)), ROW)


def facts(peak=None, days=None, **levels) -> RuleFacts:
    return RuleFacts(ExitLevels(**levels), peak=peak, days=days)


def amount(paise):
    return AmountLevel(paise, ROW)


def trail(arm, distance, percent=None):
    return TrailingLevel(arm, distance, ROW, percent_of_peak=percent)


@pytest.mark.parametrize(
    ("line", "known", "expected"),
    [
        (lines.stop_hard_line, facts(stop=amount(333)), -500),
        (lines.trailing_hard_line, facts(1_000, trailing=trail(500, 333)), 500),
        (lines.premium_hard_line, facts(1_000, premium_trailing=amount(333)), 500),
        (lines.premium_hard_line, facts(premium_trailing=amount(333)), -500),
        (lines.lock_hard_line, facts(200, lock=LOCK), 99),
        (lines.losing_time_hard_line, facts(days=1, stop=amount(333), losing_time=DaysLevel(7, ROW)), -250),
    ],
    ids=["stop", "trailing", "premium", "premium without a peak", "lock", "losing time"],
)
def test_the_hard_line_is_one_and_a_half_times_as_far_away_in_whole_paise(line, known, expected):
    found = line(known, 1.5)
    assert found == expected
    assert isinstance(found, int)


def test_a_trail_that_has_not_armed_has_no_lines():
    for known in (facts(499, trailing=trail(500, 100)), facts(trailing=trail(500, 100)), facts(1_000)):
        assert lines.trailing_line(known) is None
        assert lines.trailing_hard_line(known, 1.5) is None
    assert lines.trailing_line(facts(500, trailing=trail(500, 100))) == 400


@pytest.mark.parametrize(("peak", "expected"), [(0, None), (1, 1), (100, 50)])
def test_a_share_of_the_peak_needs_a_peak_of_a_paisa(peak, expected):
    assert lines.trailing_line(facts(peak, trailing=trail(0, 0, percent=50.0))) == expected


def test_a_premium_trail_starts_at_its_distance():
    assert lines.premium_line(facts(premium_trailing=amount(300))) == -300
    assert lines.premium_line(facts(50, premium_trailing=amount(300))) == -250


def scale(*levels):
    return tuple(ScalingLevel(paise, action, ROW) for paise, action in levels)


def test_of_the_scaling_levels_that_are_reached_the_largest_share_counts_and_of_equal_ones_the_lower():
    known = facts(scaling=scale((100, Action.CLOSE_25), (200, Action.CLOSE_50), (300, Action.CLOSE_50)))
    assert lines.scaling_meant(known, 100) == (100, Action.CLOSE_25)
    assert lines.scaling_meant(known, 250) == (200, Action.CLOSE_50)
    assert lines.scaling_meant(known, 300) == (200, Action.CLOSE_50)
    assert lines.scaling_line(known) == 100


@pytest.mark.parametrize("remembered", [None, -1, 99, 100, 250])
def test_a_remembered_peak_is_kept_whether_a_level_needs_it_now_or_not(remembered):
    assert lines.start_peak(ExitLevels(lock=LOCK), remembered) == remembered
    assert lines.start_peak(ExitLevels(), remembered) == remembered


@pytest.mark.parametrize(("remembered", "start"), [(None, 0), (-5, 0), (7, 7)])
def test_a_trail_from_entry_starts_at_the_pnl_of_the_entry(remembered, start):
    assert lines.start_peak(ExitLevels(premium_trailing=amount(300)), remembered) == start
    assert lines.start_peak(ExitLevels(trailing=trail(0, 100)), remembered) == start


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (facts(), None),
        (facts(lock=LOCK), 100),
        (facts(100, lock=LOCK), 200),
        (facts(199, lock=LOCK), 200),
        (facts(200, lock=LOCK), None),
        (facts(150, lock=LOCK, trailing=trail(1_000, 100)), 200),
        (facts(500, lock=LOCK, trailing=trail(1_000, 100)), 1_000),
        (facts(1_000, lock=LOCK, trailing=trail(1_000, 100)), 1_001),
        (facts(premium_trailing=amount(300)), 1),
        (facts(0, premium_trailing=amount(300)), 1),
        (facts(5, premium_trailing=amount(300)), 6),
    ],
)
def test_the_next_peak_that_a_rule_must_know_of(known, expected):
    assert lines.next_peak(known) == expected


def test_a_rule_that_is_not_in_force_has_nothing_to_add():
    assert lines.trailing_detail(facts(500)) == ""
    assert lines.trailing_detail(facts(trailing=trail(0, 100))) == ""
    assert lines.trailing_detail(facts(500, trailing=trail(0, 100))) == " (peak ₹5.00 − ₹1.00)"
    assert lines.premium_detail(facts(premium_trailing=amount(100))) == " (peak ₹0.00 − ₹1.00)"
    assert lines.theta_detail(facts(days=3)) == ""
    assert lines.theta_detail(facts(theta=DaysLevel(5, ROW))) == ""
    assert lines.theta_detail(facts(days=1, theta=DaysLevel(5, ROW))) == " with 1 day to expiry ≤ 5"
    assert lines.losing_time_detail(facts(days=3)) == ""
    assert lines.losing_time_detail(facts(losing_time=DaysLevel(5, ROW))) == ""
    assert lines.losing_time_detail(facts(days=2, losing_time=DaysLevel(5, ROW))).endswith("2 days to expiry < 5")


def test_every_rule_is_in_one_table_once():
    rules = [rule.rule for rule in (*PRICE_RULES, *TIME_RULES)]
    assert len(rules) == len(set(rules))
    others = {
        Rule.STRATEGY_LIMIT, Rule.UNDERLYING_LIMIT, Rule.ACCOUNT_LIMIT, Rule.PORTFOLIO_LIMIT, Rule.UNDERLYING_LEVEL,
        Rule.GREEKS, Rule.OWN_RULE, Rule.OPERATOR, Rule.CLOSED_OUTSIDE,
    }  # fmt: skip
    assert set(rules) == set(Rule) - others
