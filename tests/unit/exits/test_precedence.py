from itertools import permutations

from core.exits.precedence import pick
from core.model.exit_levels import Action, Rule, Urgency
from core.model.signals import Signal


def signal(rule, action):
    return Signal(1, rule, action, Urgency.HIGH, None, None, None, "", 0)


def test_nothing_fired_is_nothing():
    assert pick([]) is None


def test_the_action_comes_first_then_the_rule():
    ranked = [
        signal(Rule.STOP_LOSS, Action.CLOSE_IMMEDIATELY),
        signal(Rule.DTE_EXIT, Action.CLOSE_IMMEDIATELY),
        signal(Rule.TRAILING_STOP, Action.CLOSE_POSITION),
        signal(Rule.SQUARE_OFF, Action.CLOSE_POSITION),
        signal(Rule.PROFIT_TARGET, Action.CLOSE_POSITION),
        signal(Rule.STOP_LOSS, Action.CLOSE_75),
        signal(Rule.STOP_LOSS, Action.ADJUST),
    ]
    for one, other in permutations(ranked, 2):
        assert pick([one, other]) is min(one, other, key=ranked.index)
