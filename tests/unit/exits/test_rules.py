from core.exits.rules import PRICE_RULES, TIME_RULES, RuleFacts
from core.model.exit_levels import ExitLevels, Rule

NONE = RuleFacts(ExitLevels())


def test_a_rule_without_its_level_is_not_in_force():
    for rule in PRICE_RULES:
        assert rule.line(NONE) is None
        assert rule.hard_line(NONE, 1.5) is None
        assert rule.detail(NONE) == ""
    assert [rule.check(NONE) for rule in TIME_RULES] == [None, None]


def test_every_rule_of_this_issue_is_in_one_table_once():
    rules = [rule.rule for rule in (*PRICE_RULES, *TIME_RULES)]
    assert len(rules) == len(set(rules))
    assert set(rules) == {
        Rule.STOP_LOSS,
        Rule.TRAILING_STOP,
        Rule.THETA_EXIT,
        Rule.PROFIT_TARGET,
        Rule.DTE_EXIT,
        Rule.SQUARE_OFF,
    }
