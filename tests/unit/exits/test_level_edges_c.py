"""Edges of typed overrides, planned Greeks, trailing levels, modelled payoffs and what a second look at a limit brings."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from core.exits.override_text import parse_override
from core.exits.payoff_modelled import modelled_payoff
from core.exits.planned_greeks import planned_entry
from core.exits.stored_basis import basis_of
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels
from core.model.instrument import Right
from core.model.journal_records import DayCounted, LimitReset, LimitTripped
from core.model.memory import PositionMemory
from core.model.override import AskedUnderlying
from core.model.profile import Asked, Base, Profile
from core.model.signals import Mode
from core.model.special_levels import LimitKind, LockStep, Scope, ScopeKey, ScopeLimit
from core.model.trade_rows import PlannedLeg
from core.pricing.black import black_scholes
from tests.unit.exits.builders import EXPIRY, key, position
from tests.unit.exits.builders import call as plain_call
from tests.unit.exits.judge_rig import INDEX, MS, JudgeRig, below, call
from tests.unit.exits.level_builders import names, read
from tests.unit.exits.scope_rig import DAY_S, ENTRY, S, held, rig_with

FAR = EXPIRY + timedelta(28)
LIMIT = 1_000
PORTFOLIO = ScopeKey(Scope.PORTFOLIO)
PORTFOLIO_LOSS = ScopeLimit(Scope.PORTFOLIO, max_loss=LIMIT)


def rupees(amount):
    return Asked(amount * 100, Base.POSITION)


# What an operator types


def test_steps_of_a_lock_may_be_typed_in_any_order():
    steps = ((rupees(6_000), rupees(4_000)), (rupees(3_000), rupees(1_500)))
    assert parse_override("lock=6000@4000, 3000@1500").locks == steps


def test_a_floor_of_0_may_come_first():
    assert parse_override("lock=0@3000").locks == ((rupees(3_000), rupees(0)),)


def test_cost_and_lock_add_up_in_either_order():
    cost, lock = (rupees(2_000), rupees(0)), (rupees(6_000), rupees(4_000))
    assert parse_override("cost_at=2000; lock=6000@4000").locks == (cost, lock)
    assert parse_override("lock=6000@4000; cost_at=2000").locks == (lock, cost)


def test_days_have_a_least_and_a_most():
    assert (parse_override("dte=3650").dte, parse_override("theta=0").theta) == (3_650, 0)
    with pytest.raises(ValueError, match="expected whole days, 0 to 3650; received '3651'"):
        parse_override("theta=3651")


def test_profits_of_shares_rise_within_one_unit():
    steps = ((Action.CLOSE_25, rupees(1_000)), (Action.CLOSE_50, Asked(30)))
    assert parse_override("scale=25%:1000, 50%:30%").scale == steps
    with pytest.raises(ValueError, match="rise from step to step"):
        parse_override("scale=25%:1000, 50%:1000")


@pytest.mark.parametrize("minutes", [1, 375])
def test_a_candle_may_have_one_minute_or_the_whole_session(minutes):
    level = AskedUnderlying(24_000_00, False, minutes)
    assert parse_override(f"underlying_below=24000/{minutes}m").underlying == (level,)


@pytest.mark.parametrize("minutes", [0, 376])
def test_no_candle_is_shorter_or_longer(minutes):
    with pytest.raises(ValueError, match="expected a candle of 1 to 375 minutes"):
        parse_override(f"underlying_below=24000/{minutes}m")


# Planned Greeks


TWO_CALLS = position(plain_call(1, 75, 24_000, 100), plain_call(2, -150, 24_100, 60))


def planned(*figures, **more):
    """The entry by plans of the two calls, each with (gamma, vega, volatility)."""
    plans = [
        PlannedLeg(1, "CE", strike * 100, None, *each) for strike, each in zip((24_000, 24_100), figures, strict=True)
    ]
    return planned_entry(TWO_CALLS, plans)


def test_one_leg_without_a_gamma_or_a_volatility_leaves_the_position_without():
    found = planned((0.001, 5, 0.2), (None, 5, None))
    assert (found.gamma, found.volatility) == (None, None)


def test_legs_weigh_by_vega_where_each_has_one_and_else_by_units():
    by_vega = planned((0.001, 6, 0.1), (0.001, 1, 0.4)).volatility
    assert by_vega.value == pytest.approx((75 * 6 * 0.1 + 150 * 0.4) / (75 * 6 + 150))
    by_units = planned((0.001, 6, 0.1), (0.001, None, 0.4)).volatility
    assert by_units.value == pytest.approx((75 * 0.1 + 150 * 0.4) / 225)
    assert by_units.note.endswith("by units: not every leg has a vega")


def test_the_plan_of_the_legs_own_expiry_comes_before_one_without():
    one = position(plain_call(1, 75, 24_000, 100))
    dated = PlannedLeg(1, "CE", 24_000_00, EXPIRY.isoformat(), gamma=0.001)
    undated = PlannedLeg(1, "CE", 24_000_00, gamma=0.002)
    assert planned_entry(one, [dated, undated]).gamma.value == pytest.approx(0.075)


# Levels that follow the profit


def test_a_profile_trails_by_its_own_distance():
    trailing = read(profile=Profile("own", trailing_arm_percent=20, trailing_distance_percent=6)).trailing
    assert (trailing.arm, trailing.distance) == (105_00, 31_50)


def test_a_distance_that_rounds_to_nothing_is_none():
    profile = Profile("own", trailing_arm_percent=20, trailing_distance_percent=0.0001)
    assert read(profile=profile).trailing is None


@pytest.mark.parametrize("third", [(40, 20), (60, 8)], ids=["no higher trigger", "no higher floor"])
def test_a_step_is_compared_with_the_one_before_and_not_with_the_first(third):
    levels = read(profile=Profile("own", lock=((20, 4), (40, 10), third)))
    assert levels.lock.steps == (LockStep(105_00, 21_00), LockStep(210_00, 52_50))
    assert names(levels.notes, "expected a higher floor than the step before")


def test_a_lock_at_no_profit_is_named():
    levels = read(profile=Profile("own", lock=((0, 0),)))
    assert levels.lock is None
    assert names(levels.notes, "not used: it is 0, or a share of an amount that is not known")


def test_a_position_without_legs_has_amounts_of_0():
    assert basis_of(position(), ()).rescale(1_000) == 0


# The modelled payoff


def test_the_grid_reaches_an_index():
    """Breakevens of a calendar at 26,000, each where Black-Scholes says so."""
    calendar = position(plain_call(1, -75, 26_000, 300), plain_call(2, 75, 26_000, 600, expiry=FAR))
    found = modelled_payoff(calendar, 26_000_00, {key(2): 0.15})
    assert len(found.breakevens) == 2
    for price in found.breakevens:
        worth = black_scholes(Right.CALL, price, 26_000_00, 28 / 365, 0.15).price
        assert worth - max(price - 26_000_00, 0) == pytest.approx(300_00, abs=100)


def test_a_rate_below_0_makes_the_strike_dearer_far_out():
    """A later call sold against one that ends, in a wild market: what the strike costs more is gained far beyond the grid."""
    legs = plain_call(1, 75, 100, 2), plain_call(2, -75, 100, 4, expiry=FAR)
    found = modelled_payoff(position(*legs), 10_000, {key(2): 4.0}, rate=-0.5)
    owed = 10_000 * 2.718281828459045 ** (0.5 * 28 / 365)
    assert found.max_profit == round(75 * (owed - 10_000 + 200))


# The underlying


def test_a_position_that_is_opened_anew_without_levels_is_watched_no_more():
    rig = JudgeRig()
    rig.open(call(1), underlying=(below(24_000),))
    guard = rig.engine.guards[1]
    assert len(rig.watch.sightings_of(1, rig.now)) == 1
    guard.levels = ExitLevels()
    rig.watch.opened(guard, rig.memory())
    assert rig.watch.sightings_of(1, rig.now) == ()
    assert rig.watch.spot_of(1, rig.now).why == "its underlying is not watched"


def test_a_breach_that_has_ended_begins_anew_while_another_stands():
    rig = JudgeRig(mode=Mode.LIVE)
    rig.engine.desk.stopping = True  # what fires is let be
    rig.open(call(1), underlying=(below(24_000), below(23_600)))
    rig.walk(24_300, 24_300)
    ((sight, _),) = rig.cache.slot_of(INDEX).holders
    rig.walk(23_500, 23_900, 23_500, every=0.2)
    assert sight.breaches[23_600_00, False].since_ns == rig.now
    assert sight.breaches[24_000_00, False].since_ns == rig.now - 400 * MS


# Limits over positions


def test_a_loss_while_the_session_is_not_open_fires_nothing():
    """Not even of a position whose exit is under way, which has no guard that could object."""
    rig = rig_with(PORTFOLIO_LOSS)
    rig.put(held(1, (501, 1)))
    rig.exit(1)
    rig.beat()
    rig.session_open = False
    rig.beat()
    rig.tick(501, ENTRY - 3 * LIMIT)
    rig.tick(501, ENTRY - 3 * LIMIT)
    assert rig.state(LimitKind.MAX_LOSS).open_pnl == -3 * LIMIT
    assert rig.state(LimitKind.MAX_LOSS).latched_ns is None


def test_sums_that_wait_for_a_price_ask_for_no_time():
    rig = rig_with(PORTFOLIO_LOSS, ScopeLimit(Scope.UNDERLYING, max_loss=LIMIT))
    rig.put(held(1, (501, 1)), held(2, (502, 1)))
    rig.doubt(502)
    rig.tick(501, ENTRY - 2 * LIMIT)
    assert len(rig.limits._outside) == 2
    assert rig.limits.next_deadline_ns is None


def test_until_the_next_session_the_last_one_is_the_day():
    rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
    rig.put(held(1, (501, 1)))
    ended = rig.utc
    rig.session_open = False
    rig.beat()
    rig.now += round(0.6 * DAY_S * S)
    rig.beat()
    rig.limits._day.keep(DayCounted("x", 9, "NIFTY", -300, ended))
    assert rig.limits._ledger.brought(PORTFOLIO) == -300


def test_a_reset_of_a_scope_without_positions_forgives_nothing():
    rig = rig_with(PORTFOLIO_LOSS)
    rig.beat()
    rig.limits._ledger.take(
        LimitTripped(*PORTFOLIO, LimitKind.MAX_LOSS, -LIMIT, -LIMIT, rig.utc), rig.limits._ledger.day
    )
    rig.limits.reset()
    rig.beat()
    (reset,) = [each for each in rig.journal if isinstance(each, LimitReset)]
    assert reset.forgiven == 0


def test_a_share_that_is_over_before_anybody_looked_leaves_the_base_of_the_day():
    """Its rows were not edited: the rest counts from what was remembered."""
    rig = rig_with(ScopeLimit(Scope.PORTFOLIO, daily_loss=LIMIT))
    rig.put(held(1, (501, 2)))
    rig.limits.gone(1)
    share = SimpleNamespace(
        strategy_id=1, realised_pnl=0, action=Action.CLOSE_50, legs=[SimpleNamespace(row_id=10)], symbol="NIFTY"
    )
    rig.limits.finished(share)
    memory = PositionMemory(day=rig.limits._ledger.day, day_base=7)
    rig.tell(ev.PositionOpened(held(1, (501, 1)), ExitLevels(), rig.now, memory))
    rig.beat()
    assert rig.state(LimitKind.DAILY_LOSS).day_pnl == -7
