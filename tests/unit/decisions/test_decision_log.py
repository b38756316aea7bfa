"""Which comparisons are recorded: all decisions, a bounded number of changes, samples at a steady pace."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from core.decision_log import CHANGE_EVERY_NS, MOST_CHANGES_PER_BEAT, MOST_PER_BEAT, DecisionLog, decision_log
from core.decision_record import Kind
from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.model import events as ev
from core.model.exit_levels import Action, ExitLevels, Rule
from core.model.session_time import NS_PER_MS, NS_PER_S
from core.model.signals import Mode
from core.model.special_levels import LockLevel, LockStep
from core.options import parse
from core.position_cache_manager import PositionCacheManager
from core.settings import load_settings
from tests.fakes.manual_clock import ManualClock
from tests.unit.exits.builders import ROW, amount, leg, position, quote, trailing

LEVELS = ExitLevels(stop=amount(3_000), target=amount(9_000))


class Box:
    """Takes what a writer would."""

    def __init__(self):
        self.entries = []
        self.said = []

    def put(self, entry):
        (self.said if isinstance(entry, dict) else self.entries).append(entry)
        return True

    def start(self):
        pass

    def close(self):
        self.said.append("closed")

    def of(self, strategy_id):
        return [entry for entry in self.entries if entry.sighting.position.strategy_id == strategy_id]


class Rig:
    """An engine whose decisions are recorded. Strategy n holds 75 units of instrument n, bought at ₹100."""

    def __init__(self, count=1, levels=LEVELS, sample_s=5.0, mode=Mode.SIMULATION, *, is_priced=True):
        self.clock = ManualClock()
        self.box = Box()
        self.engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), mode)
        self.log = DecisionLog(self.box, sample_s, self.clock)
        self.engine.room.on_decision = self.log.note
        for number in range(1, count + 1):
            opened = ev.PositionOpened(position(leg(number, 75, 100), strategy_id=number), levels, self.clock.monotonic)
            self.engine.handle(opened)
        self.time()
        if is_priced:
            self.engine.on_quote(quote(1, 100, at=self.clock.monotonic))

    def time(self, seconds=0.0):
        self.clock.pass_seconds(seconds)
        now = self.clock
        self.engine.handle(ev.FeedStateChanged(is_live=True, at_ns=now.monotonic))
        self.engine.handle(ev.TimePassed(now.monotonic, now.utc, session_open=True, is_trading_day=True))

    def tick(self, number, last, after=2.0, **terms):
        """A quote `after` seconds later; the time is told in between, as a loop does."""
        while after > 0.5:
            self.time(0.5)
            after -= 0.5
        self.clock.pass_seconds(after)
        self.engine.on_quote(quote(number, last, at=self.clock.monotonic, **terms))

    def beats(self, count):
        for _ in range(count):
            self.clock.pass_seconds(1)
            self.log.beat(self.engine.guards)

    @property
    def kinds(self):
        return [entry.kind for entry in self.box.entries]


def test_a_calm_tick_records_nothing():
    rig = Rig()
    for last in (100, 101, 99, 103):
        rig.tick(1, last)
    assert rig.box.entries == []


def test_what_fires_is_recorded_with_the_quote_that_was_judged():
    rig = Rig()
    rig.tick(1, 100)
    rig.tick(1, 59)
    (entry,) = rig.box.entries
    assert entry.kind is Kind.FIRED
    assert entry.sighting.signal.rule is Rule.STOP_LOSS
    assert entry.sighting.legs[0].quote.last == 59_00
    assert entry.utc_ns == rig.clock.utc
    assert 1 not in rig.engine.guards, "it was taken down before the exit took the position over"


def test_a_breach_that_begins_and_one_that_ends_are_recorded():
    rig = Rig()
    rig.tick(1, 100)
    rig.tick(1, 59, book=False)
    rig.tick(1, 100, after=0.5)
    began, ended = rig.box.entries
    assert (began.kind, ended.kind) == (Kind.CHANGED, Kind.CHANGED)
    assert [breach.rule for breach in began.sighting.breaches] == [Rule.STOP_LOSS]
    assert ended.sighting.breaches == ()


def test_a_breach_that_comes_and_goes_is_recorded_a_few_times_a_second_and_the_rest_is_counted():
    rig = Rig()
    rig.tick(1, 100)
    for _ in range(50):
        rig.tick(1, 59, after=0.01, book=False)
        rig.tick(1, 100, after=0.01)
    assert 3 <= len(rig.box.entries) <= 5
    rig.beats(1)
    changed = [entry for entry in rig.box.entries if entry.kind is Kind.CHANGED]
    assert sum(entry.skipped for entry in changed) + len(changed) == 100 + 1, "the beat tells of what was left out"


def test_changes_of_many_positions_are_bounded_and_none_is_forgotten():
    rig = Rig(count=3 * MOST_CHANGES_PER_BEAT)
    for number in rig.engine.guards:
        rig.tick(number, 100, after=0)
    for number in rig.engine.guards:
        rig.tick(number, 59, after=0, book=False)
    assert len(rig.box.entries) == MOST_CHANGES_PER_BEAT
    rig.beats(2 * MOST_CHANGES_PER_BEAT // MOST_PER_BEAT)
    assert {entry.sighting.position.strategy_id for entry in rig.box.entries} == set(rig.engine.guards)


def test_a_trail_that_arms_and_a_floor_that_is_locked_are_recorded():
    lock = LockLevel((LockStep(200_000, 0), LockStep(400_000, 100_000)), ROW)
    rig = Rig(levels=ExitLevels(stop=amount(9_000), trailing=trailing(1_000, 5_000), lock=lock))
    for last in (100, 110, 114, 118, 125, 130, 155):
        rig.tick(1, last)
    assert [(entry.sighting.pnl, entry.kind) for entry in rig.box.entries] == [
        (105_000, Kind.CHANGED),
        (225_000, Kind.CHANGED),
        (412_500, Kind.CHANGED),
    ]


def test_what_an_alert_only_run_decides_is_recorded_once():
    rig = Rig(mode=Mode.ALERT)
    rig.tick(1, 100)
    rig.tick(1, 59)
    rig.time(1)
    rig.tick(1, 58)
    assert rig.kinds == [Kind.FIRED]


def test_a_level_that_is_only_told_is_recorded_too():
    rig = Rig(levels=ExitLevels(target=amount(1_000), target_action=Action.ADJUST))
    rig.tick(1, 100)
    rig.tick(1, 114)
    assert rig.kinds == [Kind.FIRED]


def test_an_operators_exit_is_recorded():
    rig = Rig()
    rig.tick(1, 100)
    rig.engine.handle(ev.OperatorExitRequested(1, rig.clock.monotonic))
    assert rig.box.entries[0].sighting.signal.rule is Rule.OPERATOR


@pytest.mark.parametrize("count", [1, 3, 7, 40])
def test_each_position_is_sampled_once_in_the_interval(count):
    rig = Rig(count)
    rig.beats(30)
    assert set(rig.kinds) == {Kind.SAMPLE}
    for number in rig.engine.guards:
        times = [entry.utc_ns for entry in rig.box.of(number)]
        assert len(times) == 6
        assert {b - a for a, b in pairwise(times)} == {5 * NS_PER_S}
    assert [said["a_sample_every_s"] for said in rig.box.said] == [5.0]


def test_the_first_round_begins_with_the_first_price():
    rig = Rig(2, is_priced=False)
    rig.beats(2)
    assert rig.box.entries == []
    rig.tick(2, 100, after=0.2)
    rig.beats(1)
    assert len(rig.box.entries) == 1


def test_what_never_has_a_price_is_recorded_all_the_same():
    rig = Rig(2, is_priced=False)
    rig.beats(8)
    assert [entry.sighting.pnl for entry in rig.box.entries] == [None, None]


def test_a_large_book_is_gone_through_more_slowly_and_the_file_says_so():
    rig = Rig(1_000)
    rig.beats(25)
    assert len(rig.box.entries) == 25 * MOST_PER_BEAT
    assert len({entry.sighting.position.strategy_id for entry in rig.box.entries}) == 1_000
    (said,) = rig.box.said
    assert (said["kind"], said["positions"], said["a_sample_every_s"]) == ("pace", 1_000, 25.0)


def test_positions_that_go_and_come_are_sampled_as_they_are():
    rig = Rig(10)
    rig.beats(1)
    for number in range(1, 9):
        rig.engine.handle(ev.PositionGone(number, rig.clock.monotonic))
    opened = ev.PositionOpened(position(leg(77, 75, 100), strategy_id=77), LEVELS, rig.clock.monotonic)
    rig.engine.handle(opened)
    rig.beats(10)
    assert {entry.sighting.position.strategy_id for entry in rig.box.entries[2:]} == {9, 10, 77}


def test_a_skipped_change_of_a_position_that_has_gone_is_dropped():
    rig = Rig()
    rig.tick(1, 100)
    for _ in range(2):
        rig.tick(1, 59, after=0, book=False)
        rig.tick(1, 100, after=0)
    assert rig.log._skipped
    rig.engine.handle(ev.PositionGone(1, rig.clock.monotonic))
    rig.beats(1)
    assert not rig.log._skipped
    assert CHANGE_EVERY_NS == 250 * NS_PER_MS


async def test_the_end_of_a_run_is_a_sample_of_everything():
    rig = Rig(3)
    await rig.log.finish(rig.engine.guards)
    assert len(rig.box.entries) == 3
    assert rig.box.said == ["closed"]


def test_nothing_is_recorded_for_a_plan_or_without_days(tmp_path):
    def made(argv, **values):
        settings = load_settings({"STATE_DIR": str(tmp_path), **values}, None)
        return decision_log(parse(argv), settings, ManualClock(), Rig().engine)

    assert made(["--plan"]) is None
    assert made([], DECISION_LOG_DAYS="0") is None
    for argv in ([], ["--alert-only"], ["--once"], ["--execute"]):
        assert made(argv) is not None
    assert list(tmp_path.iterdir()) == [], "nothing is opened before the start"


def test_the_words_of_a_hook_that_nobody_uses_cost_nothing():
    engine = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.SIMULATION)
    engine.room.on_decision(SimpleNamespace(), None, 0)
