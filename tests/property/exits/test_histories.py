"""The engine decides like the oracle: which position, when, by which rule, at what P&L, whatever happens to it."""

import pytest
from hypothesis import Phase, event, given, settings

from tests.oracle.day import Day
from tests.property.exits.histories import histories
from tests.replay.book_run import by_position
from tests.replay.conversion import levels_of, position_of
from tests.replay.engine_day import EngineDay

HISTORIES = 2_000


@pytest.mark.timeout(900)
@settings(max_examples=HISTORIES, phases=(Phase.explicit, Phase.generate, Phase.shrink))
@given(histories())
def test_the_engine_decides_like_the_oracle(history):
    engine = EngineDay([(position_of(each), levels_of(each.levels)) for each in history.positions])
    decided = by_position(engine.run(history.happenings))
    expected = by_position(Day(history.positions).run(history.happenings))
    assert decided == expected
    for decisions in expected.values():
        for decision in decisions:
            event(f"{decision.rule} {decision.action if decision.closes else 'told'}")
