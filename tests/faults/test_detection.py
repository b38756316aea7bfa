"""The detection campaign in small, with the whole monitor and real sockets (`python -m tests.campaigns.detection` is the whole)."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import pytest

from tests.campaigns import detection_calm, detection_trials
from tests.campaigns.detection import broken, run_calm, run_trials, table
from tests.campaigns.detection_trials import Found

pytestmark = pytest.mark.slow
TRIALS = {"mute": 6, "stale_leg": 8, "half_open": 6, "stops": 12}


AWAY_AT_MOST_S = 1.0


class Trials(NamedTuple):
    """`away_s`: the longest time for which the process of the monitors was not asked back by the machine."""

    found: Found
    away_s: float


async def _longest_away(over: asyncio.Event) -> float:
    worst_s, before = 0.0, time.perf_counter()
    while not over.is_set():
        await asyncio.sleep(0.01)
        now = time.perf_counter()
        worst_s, before = max(worst_s, now - before - 0.01), now
    return worst_s


async def _run() -> Trials:
    over = asyncio.Event()
    away = asyncio.create_task(_longest_away(over))
    found = await run_trials(TRIALS, seed=1, per_cell=3)
    over.set()
    return Trials(found, min(await away, AWAY_AT_MOST_S))


@pytest.fixture(scope="module")
def trials() -> Trials:
    """Everything at once: it is waiting, mostly."""
    return asyncio.run(_run())


def check(trials: Trials, kind: str, *names: str) -> None:
    found = trials.found
    part = Found()
    part.late.update({name: found.late[name] for name in names})
    part.wrong = found.wrong
    assert broken(part, trials.away_s) == [], f"{table(found)}\naway for {trials.away_s:.2f} s"
    assert sum(map(len, part.late.values())) == TRIALS[kind]


def test_f02_a_connected_and_mute_feed_is_left_within_3_s(trials: Trials) -> None:
    check(trials, "mute", detection_trials.MUTE)


def test_f03_one_stale_leg_is_found_within_5_s(trials: Trials) -> None:
    check(trials, "stale_leg", detection_trials.FAST, detection_trials.SLOW)


def test_f01_a_half_open_line_is_given_up_within_10_s(trials: Trials) -> None:
    check(trials, "half_open", detection_trials.HALF_GONE)


def test_f01_f02_f03_a_stop_crossed_while_the_feed_is_down_fires_from_rest_within_5_s(trials: Trials) -> None:
    check(trials, "stops", detection_trials.STOP_ONE, detection_trials.STOP_CONDOR)


async def test_f26_nothing_is_cried_where_nothing_is_wrong_and_an_alarm_would_be_seen() -> None:
    found = await run_calm([*detection_calm.scenes(9.0), *detection_calm.controls()], seed=1)
    assert found.wrong == []
