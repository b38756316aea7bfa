"""A piece of the compressed day with a storm on the feed (`python -m tests.campaigns.feed_day` plays all six hours)."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from core.model.session_time import ist_datetime
from tests.campaigns.feed_day import run_campaign, table
from tests.campaigns.feed_day_judge import exits_of
from tests.campaigns.feed_day_market import DAY, make_day
from tests.campaigns.feed_day_truth import Price, may_fire, must_fire, reach_of
from tests.replay.recorded import Leg, Level, Plan

needs_recordings = pytest.mark.skipif(
    not DAY.rows.is_file(), reason=f"NOT TESTED: the recorded market days are not here ({DAY.rows.parent})"
)
SEED = 1


@needs_recordings
@pytest.mark.slow
@pytest.mark.replay
async def test_a_storm_on_the_feed_costs_no_exit_and_invents_none(tmp_path: Path) -> None:
    now = ist_datetime(time.time_ns())
    if (now + timedelta(minutes=3)).date() != now.date():
        pytest.skip("NOT TESTED: the Indian day ends during the run, and with it the days to expiry and the square-off")
    day = make_day(SEED, 60.0, now.date(), from_s=0, until_s=26 * 60, tail_s=8)
    found = await run_campaign(day, tmp_path, SEED, least_reconnects=4)
    shown = table(found)
    assert not found.verdict.broken, shown
    assert len(exits_of(day, found.storm)) >= 6, shown
    assert found.storm.storm is not None
    assert found.storm.storm.counts.total() >= 12, shown


def _line(*prices: int) -> list[Price]:
    return [Price(price, price - 5, price + 5) for price in prices]


def _short(stop: str) -> Plan:
    leg = Leg(row_id=1, security_id=7, right="CE", strike=2_000_000, units=-75, lot=75, entry=10_000)
    return Plan(
        1,
        "Call Ratio",
        "stop price",
        DAY.day + timedelta(30),
        (leg,),
        (Level("stop_loss", "primary", "price", Decimal(stop)),),
    )


def test_what_must_fire_waits_until_no_late_price_could_excuse_it() -> None:
    plan = _short("750")  # ₹10 a unit
    prices = {7: _line(10_000, 10_000, 11_000, 11_000, 11_000, 11_000, 11_000)}
    assert must_fire(plan, DAY.day, reach_of(plan, prices, 0.0)) == 2
    assert must_fire(plan, DAY.day, reach_of(plan, prices, 1.0)) == 6
    assert may_fire(plan, DAY.day, reach_of(plan, prices, 1.0))["stop_loss"] == [False, False, *[True] * 5]


def test_what_was_touched_for_a_moment_may_fire_while_it_is_in_the_window_and_not_later() -> None:
    plan = _short("750")
    prices = {7: _line(10_000, 11_000, 10_000, 10_000, 10_000)}
    assert must_fire(plan, DAY.day, reach_of(plan, prices, 0.5)) is None
    assert may_fire(plan, DAY.day, reach_of(plan, prices, 0.5))["stop_loss"] == [False, True, True, True, False]
