"""The example of an own rule, and what is promised of every one of them."""

from datetime import datetime

import pytest

from core.model.exit_levels import Action, ExitLevels, Urgency
from core.model.own_rule import PositionFacts
from core.model.session_time import IST
from strategies.own_rules import OWN_RULES, NoGainsOvernight
from tests.unit.exits.builders import leg, position

HELD = position(leg(1, 75, 100))


def facts(percent, hour, minute, second=0):
    pnl = 0 if percent is None else round(percent * 7_500)
    now = datetime(2026, 11, 20, hour, minute, second, tzinfo=IST)
    return PositionFacts(HELD, ExitLevels(), pnl, percent, None, (10_000,), 34, now)


@pytest.mark.parametrize(
    ("percent", "clock", "closes"),
    [
        (20, (15, 10), True),
        (19.99, (15, 10), False),
        (20, (15, 9, 59), False),
        (-50, (15, 20), False),
        (None, (15, 20), False),
        (80, (15, 29, 59), True),
    ],
)
def test_gains_are_taken_home_late_in_the_day(percent, clock, closes):
    wish = NoGainsOvernight().judge(facts(percent, *clock))
    assert (wish is not None) is closes
    if wish is not None:
        assert (wish.action, wish.urgency) == (Action.CLOSE_POSITION, Urgency.MEDIUM)


def test_the_reason_is_one_line_with_both_numbers():
    wish = NoGainsOvernight().judge(facts(25, 15, 12))
    assert wish.reason == "P&L ₹1,875.00 is 25.0 % of the premium after 15:10 IST"


def test_every_own_rule_is_found_by_its_name():
    assert {name: rule.name for name, rule in OWN_RULES.items()} == {name: name for name in OWN_RULES}
    assert "no_gains_overnight" in OWN_RULES
