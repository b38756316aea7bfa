"""The engine decides like the oracle: which position, when, by which rule, at what P&L, whatever happens to it."""

from collections import defaultdict

from hypothesis import event, given, settings

from tests.oracle.day import Day
from tests.property.exits.histories import histories
from tests.replay.conversion import levels_of, position_of
from tests.replay.engine_day import EngineDay


def by_position(decisions):
    """Each position's own decisions, in order. What one event does to several positions has no order."""
    found = defaultdict(list)
    for decision in decisions:
        found[decision.strategy_id].append(decision)
    return found


@settings(max_examples=2_000)
@given(histories())
def test_the_engine_decides_like_the_oracle(history):
    engine = EngineDay([(position_of(each), levels_of(each.levels)) for each in history.positions])
    decided = by_position(engine.run(history.happenings))
    expected = by_position(Day(history.positions).run(history.happenings))
    for strategy_id in decided.keys() | expected.keys():
        assert decided[strategy_id] == expected[strategy_id]
    for decisions in expected.values():
        for decision in decisions:
            event(f"{decision.rule} {decision.action if decision.closes else 'told'}")
