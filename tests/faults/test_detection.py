"""The detection campaign in small, with the whole monitor and real sockets (`python -m tests.campaigns.detection` is the whole)."""

from __future__ import annotations

import asyncio

import pytest

from tests.campaigns import detection_calm, detection_trials
from tests.campaigns.detection import broken, run_calm, run_trials, table
from tests.campaigns.detection_trials import Found

pytestmark = pytest.mark.slow
TRIALS = {"mute": 6, "stale_leg": 8, "half_open": 6, "stops": 12}


@pytest.fixture(scope="module")
def found() -> Found:
    """Everything at once: it is waiting, mostly."""
    return asyncio.run(run_trials(TRIALS, seed=1, per_cell=3))


def check(found: Found, kind: str, *names: str) -> None:
    part = Found()
    part.late.update({name: found.late[name] for name in names})
    part.wrong = found.wrong
    assert broken(part) == [], table(found)
    assert sum(map(len, part.late.values())) == TRIALS[kind]


def test_f02_a_connected_and_mute_feed_is_left_within_3_s(found: Found) -> None:
    check(found, "mute", detection_trials.MUTE)


def test_f03_one_stale_leg_is_found_within_5_s(found: Found) -> None:
    check(found, "stale_leg", detection_trials.FAST, detection_trials.SLOW)


def test_f01_a_half_open_line_is_given_up_within_10_s(found: Found) -> None:
    check(found, "half_open", detection_trials.HALF_GONE)


def test_f01_f02_f03_a_stop_crossed_while_the_feed_is_down_fires_from_rest_within_5_s(found: Found) -> None:
    check(found, "stops", detection_trials.STOP_ONE, detection_trials.STOP_CONDOR)


async def test_f26_nothing_is_cried_where_nothing_is_wrong_and_an_alarm_would_be_seen() -> None:
    found = await run_calm([*detection_calm.scenes(9.0), *detection_calm.controls()], seed=1)
    assert found.wrong == []
