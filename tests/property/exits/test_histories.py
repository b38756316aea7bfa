"""The engine decides like the oracle: which position, when, by which rule, at what P&L, whatever happens to it."""

import pytest
from hypothesis import Phase, event, given, settings

from core.model.journal_records import ExitStarted
from tests.oracle.day import Day
from tests.property.exits.histories import histories, histories_of_shares
from tests.replay.book_run import by_position
from tests.replay.conversion import levels_of, position_of
from tests.replay.engine_day import EngineDay

HISTORIES = 2_000
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)


def assert_decided_alike(history):
    engine = EngineDay([(position_of(each), levels_of(each.levels)) for each in history.positions])
    decided = by_position(engine.run(history.happenings))
    expected = by_position(Day(history.positions).run(history.happenings))
    assert decided == expected
    for decisions in expected.values():
        for decision in decisions:
            event(f"{decision.rule} {decision.action if decision.closes else 'told'}")
    return engine


@pytest.mark.no_cover
@pytest.mark.timeout(900)
@settings(max_examples=HISTORIES, phases=PHASES)
@given(histories())
def test_the_engine_decides_like_the_oracle(history):
    assert_decided_alike(history)


@pytest.mark.no_cover
@pytest.mark.timeout(900)
@settings(max_examples=HISTORIES // 4, phases=PHASES)
@given(histories_of_shares())
def test_the_engine_decides_like_the_oracle_while_a_share_waits_for_its_fills(history):
    engine = assert_decided_alike(history)
    ids = [record.exit_id for record in engine.journal if isinstance(record, ExitStarted)]
    if len(ids) > len(set(ids)):
        event("a share became an exit of the whole")
