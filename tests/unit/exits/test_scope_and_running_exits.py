"""Limits over positions of which an exit is under way: a share, or a whole one that is not urgent."""

import pytest

from core.exits.safe_to_trade import Hindrance
from core.exits.scope_belief import Member, hindrance_of
from core.model import events as ev
from core.model.exit_levels import Action, AmountLevel, ExitLevels, LevelSource, Rule, Urgency
from core.model.special_levels import LimitKind, Scope, ScopeLimit
from core.position_cache_manager import PositionCacheManager
from tests.unit.exits.builders import S, key, leg, position, quote
from tests.unit.exits.scope_rig import ENTRY, held, rig_with

LIMIT = 20_000
LOSS, DAILY = LimitKind.MAX_LOSS, LimitKind.DAILY_LOSS
LIMITS = ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT, daily_loss=LIMIT)
LONG, OTHER = held(1, (501, 300)), held(2, (502, 1))
TARGET = AmountLevel(3_000, LevelSource.LEVEL_ROW)
HALF = ExitLevels(target=TARGET, target_action=Action.CLOSE_50)
WHOLE = ExitLevels(target=TARGET)


def under_way(levels):
    """The target's order is on its way, and not filled."""
    rig = rig_with(LIMITS)
    rig.put(OTHER)
    rig.put(LONG, levels=levels)
    rig.positions({501: 300, 502: 1})
    rig.tick(501, ENTRY + 10)
    [intent] = rig.submitted()
    rig.accept(intent)
    return rig, intent


def fall(rig):
    rig.wait(0.5)
    rig.positions({501: 300, 502: 1})
    rig.tick(501, ENTRY - 67)
    rig.wait(0.3)
    rig.positions({501: 300, 502: 1})


def test_a_limit_closes_the_whole_of_which_a_share_is_being_closed():
    rig, half = under_way(HALF)
    assert half.quantity == 150
    fall(rig)
    assert rig.running(1).signal.rule is Rule.PORTFOLIO_LIMIT
    assert sum(attempt.leaves for attempt in rig.running(1).attempts) == 300
    assert rig.running(2).signal.rule is Rule.PORTFOLIO_LIMIT


def test_a_limit_makes_a_whole_exit_urgent():
    rig, _ = under_way(WHOLE)
    assert rig.running(1).signal.urgency is Urgency.NORMAL
    fall(rig)
    signal = rig.running(1).signal
    assert (signal.rule, signal.urgency) == (Rule.PROFIT_TARGET, Urgency.HIGH)


@pytest.mark.parametrize("levels", [HALF, WHOLE])
def test_the_sum_goes_on_at_the_marks(levels):
    rig, _ = under_way(levels)
    rig.wait(0.5)
    rig.tick(501, ENTRY + 20)
    rig.beat()
    assert (rig.state(LOSS).open_pnl, rig.state(DAILY).day_pnl) == (6_000, 6_000)


def test_after_a_restart_the_sum_is_known_again_when_the_position_is_guarded_beside_its_share():
    rig, _ = under_way(HALF)
    after = rig.reborn()
    after.beat()
    assert after.state(LOSS).open_pnl is None
    for each, levels in ((OTHER, ExitLevels()), (LONG, HALF)):
        after.tell(ev.PositionOpened(each, levels, after.now, after.remembered(each)))
    after.tick(502, ENTRY)
    after.tick(501, ENTRY + 10)
    after.beat(2)
    assert (after.state(LOSS).open_pnl, after.state(DAILY).day_pnl) == (3_000, 3_000)
    fall(after)
    assert after.running(1).signal.rule is Rule.PORTFOLIO_LIMIT


def test_after_a_restart_nothing_is_known_of_a_whole_exit_before_it_is_over():
    """As of every exit that an earlier run began, whatever guard goes beside it."""
    rig, _ = under_way(WHOLE)
    after = rig.reborn()
    for each, levels in ((OTHER, ExitLevels()), (LONG, WHOLE)):
        after.tell(ev.PositionOpened(each, levels, after.now, after.remembered(each)))
        after.tick(each.legs[0].instrument.key.security_id, ENTRY)
    after.beat(2)
    assert after.engine.room.escorts.keys() == {1}
    assert after.state(LOSS).open_pnl is None


def test_the_day_goes_on_when_the_share_is_over():
    rig, half = under_way(HALF)
    rig.tick(501, ENTRY + 20)
    rig.fill(half)
    rig.wait(4)
    rig.positions({501: 150, 502: 1})
    rig.tick(501, ENTRY + 10)
    rig.beat(2)
    realised = 150 * (half.price - ENTRY)
    assert rig.engine.guards[1].booked.pnl == realised + 1_500
    assert rig.state(DAILY).day_pnl == realised + 1_500


@pytest.mark.parametrize("realised", [0, None])
def test_a_leaving_position_of_which_a_share_has_no_price_is_not_known(realised):
    cache, of = PositionCacheManager(), position(leg(1, 75, 100))
    member = Member(cache.put(of, realised), None, ())
    cache.apply(quote(1, 100, at=1))
    found = hindrance_of(member, S)
    assert found == (None if realised == 0 else (Hindrance.NO_REALISED, key(1), None))
