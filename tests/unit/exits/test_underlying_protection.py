"""Who is told that a level of the underlying, or of the Greeks, cannot fire; and the index that froze on 2026-08-18."""

from __future__ import annotations

import asyncio
import csv
import gzip
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.exits.guard_settings import GuardSettings
from core.model.commands import Severity
from core.model.exit_levels import Action
from core.model.instrument import InstrumentKey, Segment
from core.once import OnceRun
from core.protection_watch import ProtectionWatch
from tests.unit.exits import builders
from tests.unit.exits.judge_rig import INDEX, JudgeRig, above, below, call, put

RECORDING = Path(__file__).parents[3].parent / "shared/data/replay/nse_2026-08-18_expiry_day.csv.gz"
FROZEN_DAY = date(2026, 8, 18)


class PagingRig(JudgeRig):
    """Looked after once a second, as by the price watch."""

    def __init__(self, **terms):
        super().__init__(**terms)
        self.pages = []
        self.protection = ProtectionWatch(lambda: self.engine.guards, self.pages.extend, self.now)

    def pass_seconds(self, seconds):
        for _ in range(seconds):
            self.wait(1)
            list(self.protection.look(self.now, is_open=self.session_open))

    @property
    def said(self):
        return [(alert.severity, alert.subject, alert.text) for alert in self.pages]


def test_a_position_whose_underlying_has_no_price_is_paged_like_one_without_prices():
    rig = PagingRig()
    rig.open(call(1), underlying=(below(24_000),))
    rig.pass_seconds(4)
    assert rig.said == [], "in the first seconds everybody waits"
    rig.pass_seconds(2)
    text = "no price for the underlying NIFTY for 5 s"
    assert rig.said == [(Severity.PAGE, "Iron Condor (1) is unprotected", text)]
    rig.walk(24_100, 24_101)
    rig.pass_seconds(6)
    back = "its prices are believed, and what its levels need is known"
    assert rig.said[1:] == [(Severity.INFO, "Iron Condor (1) is protected again", back)]


def test_what_its_legs_lack_comes_first():
    rig = PagingRig()
    rig.open(call(1), price=None, underlying=(below(24_000),))
    rig.pass_seconds(8)
    assert [text for _, _, text in rig.said] == ["no price for NSE_FNO:1 for 5 s"]


def test_many_are_one_page():
    rig = PagingRig()
    for number in range(1, 6):
        rig.open(call(number), strategy_id=number, underlying=(below(24_000),))
    rig.pass_seconds(6)
    ((_, subject, text),) = rig.said
    assert subject == "5 positions are unprotected"
    assert text == "no price for the underlying NIFTY for 5 s; strategies 1, 2, 3, 4, 5"


def test_an_index_that_stands_still_is_paged_within_a_second():
    rig = PagingRig()
    rig.open(call(1), underlying=(below(24_000),))
    rig.walk(24_100, 24_101)
    rig.pass_seconds(121)
    rig.leg(1, 101)
    rig.pass_seconds(2)
    assert [text for _, _, text in rig.said] == [
        "the underlying NIFTY has stood still for 122 s while its options move"
    ]


def once(rig) -> bool:
    clock = SimpleNamespace(monotonic_ns=lambda: rig.now)
    parts = SimpleNamespace(engine=rig.engine, clock=clock)
    return OnceRun(parts, asyncio.Event()).name_unjudged()  # type: ignore[arg-type]


def test_a_run_from_cron_that_could_not_look_at_the_underlying_is_no_clean_end(caplog):
    rig = JudgeRig()
    rig.open(call(1), underlying=(below(24_000),))
    rig.wait(6)
    assert once(rig)
    assert "strategy 1 could not be judged: no price for the underlying NIFTY for 6 s" in caplog.text
    rig.walk(24_100, 24_101)
    assert not once(rig)


# The day on which the index froze


@pytest.fixture(scope="module")
def rows():
    """(second, key, last price in rupees) of the index and of a straddle from 15:10 on."""
    if not RECORDING.exists():
        pytest.skip(f"{RECORDING} is absent: the recording of the frozen index was not replayed")
    found = []
    with gzip.open(RECORDING, "rt", encoding="utf-8", newline="") as file:
        for raw in csv.DictReader(file):
            key = InstrumentKey(Segment(raw["exchange_segment"]), int(raw["security_id"]))
            if key == INDEX or key.security_id in {400025, 400026}:
                found.append((int(raw["ts_ms"]) // 1_000, key, float(raw["ltp"])))
    start = found[0][0] // 86_400 * 86_400 + (15 * 60 + 10) * 60 - 19_800
    return [row for row in found if row[0] >= start]


def replayed(rows, levels, until, **settings):
    rig = JudgeRig(at="15:09:59", day=FROZEN_DAY, settings=GuardSettings(**settings))
    start_s = (rig.now + rig.ahead) // 1_000_000_000
    legs = [
        replace(one(security_id), instrument=replace(one(security_id).instrument, expiry=FROZEN_DAY))
        for one, security_id in ((call, 400025), (put, 400026))
    ]
    rig.open(*legs, price=None, underlying=levels)
    told = []
    for second, key, price in rows:
        if second - start_s >= until:
            break
        rig.wait(second - start_s - (rig.now - 1_000_000_000_000) / 1e9)
        rig.index(price, key=key) if key == INDEX else rig.leg(key.security_id, price)
        if 1 in rig.engine.guards:
            told.append((second - start_s, rig.blind_spot()))
    return rig, told


LEVELS = (
    below(24_170, minutes=5),
    below(24_160),
    below(24_159, Action.ADJUST),
    above(24_250, minutes=3),
)


def test_the_frozen_index_fires_nothing_and_is_told(rows):
    """From 15:16 to 15:29 the index says 24,166.35; its options say that it falls by more than twenty points."""
    rig, told = replayed(rows, LEVELS, until=20 * 60)
    assert rig.signals == []
    first = next(second for second, why in told if why is not None)
    assert first == 9 * 60 + 1, "15:19:00: a leg moved at 15:18:00, 120 s after the index"
    assert all(why is not None for second, why in told if second > first)
    assert told[-1][1] == "the underlying NIFTY has stood still for 780 s while its options move"


def test_without_that_look_it_would_have_fired(rows):
    rig, told = replayed(rows, LEVELS, until=20 * 60, underlying_still_s=86_400)
    assert [(signal.level, signal.observed) for signal in rig.signals] == [("below, close of 5 min", 2_416_635)]
    assert all(why is None for _, why in told)


def test_when_the_index_moves_again_its_levels_fire_again(rows):
    rig, _ = replayed(rows, LEVELS, until=21 * 60)
    rig.wait(1.25)
    assert [(signal.level, signal.observed) for signal in rig.signals] == [("below", 2_415_490)]
    assert (rig.signals[0].decided_ns + rig.ahead) // 1_000_000_000 == rows[0][0] + 20 * 60 + 1


def test_what_is_opened_while_it_stands_still_waits(rows):
    rig, _ = replayed(rows, LEVELS, until=12 * 60)
    rig.open(call(7), strategy_id=7, underlying=(below(24_170),))
    rig.wait(3)
    assert rig.signals == []
    assert rig.blind_spot(7) is not None
    assert builders.key(7) in rig.cache.keys()  # noqa: SIM118  a method, not a dict
