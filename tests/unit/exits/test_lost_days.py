"""Rows that were edited, or went, while no monitor ran: what the day brought on them is not known, and that is paged."""

import pytest

from core.model.journal_records import DayCounted
from core.model.special_levels import LimitKind, Scope, ScopeLimit
from tests.unit.exits.scope_rig import ENTRY, S, held, rig_with

LIMIT = 1_000
OLD, OTHER = held(1, (501, 1)), held(2, (502, 1))
SCOPES = (Scope.PORTFOLIO, Scope.UNDERLYING)


@pytest.fixture
def rig():
    made = rig_with(*(ScopeLimit(scope, daily_loss=LIMIT) for scope in SCOPES))
    made.put(OLD, OTHER)
    made.tick(501, ENTRY - 700)
    return made


def day_pnl(rig, scope=Scope.PORTFOLIO):
    return rig.state(LimitKind.DAILY_LOSS, scope, "NIFTY" if scope is Scope.UNDERLYING else "").day_pnl


def counted(rig):
    return [each.strategy_id for each in rig.journal if isinstance(each, DayCounted)]


def restarted(rig, *held_now):
    """Without `held_now` of the rows of the first strategy; the shell tells what it found changed."""
    after = rig.reborn()
    memory, seen = rig.memories[1], rig.utc
    after.put(*held_now, OTHER)
    after.limits.lose_day(1, memory, seen)
    after.beat(2)
    return after


@pytest.mark.parametrize("held_now", [(), (held(1, (501, 2)),)], ids=["gone", "edited"])
def test_the_day_of_its_scopes_is_not_known_and_paged_until_a_reset(rig, held_now):
    after = restarted(rig, *held_now)
    assert [day_pnl(after, scope) for scope in SCOPES] == [None, None]
    assert after.subjects() == ["daily loss not known"]
    assert "what strategy 1 brought is not known" in after.alerts[0].text
    after.tick(502, ENTRY - LIMIT)
    assert after.fired() == {}
    after.limits.reset()
    after.tick(502, ENTRY - 2 * LIMIT)
    after.wait(0.2)
    assert 2 in after.fired()


def test_it_is_written_down_and_counted_once(rig):
    after = restarted(rig)
    again = after.reborn()
    again.put(OTHER)
    again.limits.lose_day(1, rig.memories[1], rig.utc)
    again.beat(2)
    assert counted(again) == [1]
    assert day_pnl(again) is None


def test_an_end_that_was_counted_has_lost_nothing_though_its_memory_came_late_to_the_disk(rig):
    rig.positions({501: 1, 502: 1})
    rig.take()
    rig.exit(1)
    rig.fill_all()
    assert counted(rig) == [1]
    ended = rig.limits._ledger.over_ns[1]
    for seen, is_lost in ((ended + 5 * S, False), (ended + 5 * S + 1, True)):
        after = rig.reborn()
        after.put(OTHER)
        after.limits.lose_day(1, rig.memories[1], seen)
        assert (day_pnl(after) is None) is is_lost


def test_an_exit_that_an_earlier_run_began_is_counted_when_it_is_over(rig):
    rig.positions({501: 1, 502: 1})
    rig.exit(1)
    assert counted(restarted(rig)) == []


def test_a_day_that_is_over_is_no_loss(rig):
    memory = rig.memories[1]
    after = rig.reborn(86_400)
    after.put(OTHER)
    after.limits.lose_day(1, memory, rig.utc)
    after.beat(2)
    assert (counted(after), day_pnl(after)) == ([], 0)
