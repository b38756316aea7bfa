"""What is taken down of a running monitor, and what a later file begins with. Nothing decides differently for it."""

from dataclasses import replace

import pytest

from core.exits.desk_settings import DeskSettings
from core.exits.engine import Engine
from core.exits.guard_settings import GuardSettings
from core.feed_settings import FeedSettings
from core.model import events as ev
from core.model.exit_levels import ExitLevels, TrailingLevel
from core.model.journal_records import ExitFinished, ExitStarted, LimitTripped
from core.model.signals import Mode
from core.model.special_levels import LimitKind, Scope
from core.position_cache_manager import PositionCacheManager
from core.recording import facts as rec
from core.recording.file_format import Kind
from core.recording.live import FeedRecording, MonitorRecording, monitor_recording
from core.recording.replay_account import ReplayAccount
from core.settings import load_settings
from tests.fakes.manual_clock import ManualClock
from tests.unit.recording.scene import SOURCE, S, key, position, quote, stop_at, utc_ns

LONG = position(7, (501, 150, 100_00))
TRAILED = ExitLevels(trailing=TrailingLevel(0, 90_000_00, SOURCE))


class Live:
    """A recorded engine, told by the test; a paper account fills at once."""

    def __init__(self, folder, mode=Mode.SIMULATION):
        self.clock = ManualClock(utc=utc_ns("11:00:00"))
        self.recording = MonitorRecording(folder, "0", self.clock, is_always_open=True)
        self.engine = self.recording.engine(PositionCacheManager(), GuardSettings(), DeskSettings(), mode)
        self.account = ReplayAccount(self.engine.desk.quote_of, lambda corr: self.engine.desk.attempts[corr].running)
        self.tell(ev.FeedStateChanged(is_live=True, at_ns=self.clock.monotonic))

    @property
    def queue(self):
        return self.recording.recorder.queue.waiting

    def facts(self, *kinds):
        return [content for kind, _, _, content in self.queue if kind is Kind.FACT and isinstance(content, kinds)]

    def tell(self, event):
        self.carry_out(self.engine.handle(event))

    def carry_out(self, commands):
        while commands:
            answers = self.account.answers(commands, self.clock.monotonic)
            commands = [command for event in answers for command in self.engine.handle(event)]

    def open(self, held=LONG, levels=TRAILED):
        self.account.hold(held)
        self.tell(ev.PositionOpened(held, levels, self.clock.monotonic))
        self.wait()

    def wait(self, seconds=0.2):
        self.clock.pass_seconds(seconds)
        self.tell(ev.TimePassed(self.clock.monotonic, self.clock.utc, session_open=True, is_trading_day=True))

    def price(self, last):
        self.clock.pass_seconds(0.1)
        self.carry_out(self.engine.on_quote(quote(501, last, self.clock.monotonic)))
        self.wait()


def test_events_are_kept_in_their_order_and_what_answers_an_exit_is_not(tmp_path):
    live = Live(tmp_path)
    live.open(levels=stop_at(1_500_00))
    live.price(100_00)
    live.price(80_00)
    live.tell(ev.QuoteArrived(quote(501, 79_00, live.clock.monotonic)))
    live.tell(ev.PositionGone(7, live.clock.monotonic))
    live.wait()
    kinds = [type(content).__name__ for kind, _, _, content in live.queue if kind is Kind.FACT]
    assert kinds == ["FeedStateChanged", "PositionOpened", "ExitStarted", "ExitFinished", "PositionGone"]
    times = [content for kind, _, _, content in live.queue if kind is Kind.TIME]
    assert len(times) == 4
    assert all(isinstance(content, ev.TimePassed) for content in times)


def test_alert_mode_keeps_its_record_as_the_decision(tmp_path):
    live = Live(tmp_path, Mode.ALERT)
    live.open(levels=stop_at(1_500_00))
    live.price(100_00)
    live.price(80_00)
    [finished] = live.facts(ExitStarted, ExitFinished)
    assert (finished.record.strategy_id, finished.record.mode) == (7, Mode.ALERT)


def test_the_engine_decides_as_one_that_is_not_listened_to(tmp_path):
    live = Live(tmp_path)
    plain = Engine(PositionCacheManager(), GuardSettings(), DeskSettings(), Mode.SIMULATION)
    at = live.clock.monotonic
    told = [
        ev.FeedStateChanged(is_live=True, at_ns=at),
        ev.PositionOpened(LONG, stop_at(1_500_00), at),
        ev.TimePassed(at, live.clock.utc, session_open=True, is_trading_day=True),
        ev.QuoteArrived(quote(501, 100_00, at + 1)),
        ev.QuoteArrived(quote(501, 80_00, at + 2)),
    ]
    assert [live.engine.handle(event) for event in told] == [plain.handle(event) for event in told]


def test_a_later_file_begins_with_what_is_held_and_remembered_by_then(tmp_path):
    live = Live(tmp_path)
    gone = replace(LONG, strategy_id=8)
    live.open()
    live.open(gone)
    for last in (100_00, 115_00, 110_00):
        live.price(last)
    live.tell(ev.PositionGone(8, live.clock.monotonic))
    tap = live.recording.taps.of_line(1)
    tap.wants(live.clock.monotonic, (key(501), key(502)), ())
    tap.wants(live.clock.monotonic, (), (key(502),))
    before = len(live.queue)
    live.recording.recorder.put_state()
    state = list(live.queue)[before:]
    assert {kind for kind, _, _, _ in state} == {Kind.STATE}
    wants, feed, opened = (content for _, _, _, content in state)
    assert wants == rec.LineWants(1, (key(501),))
    assert feed == ev.FeedStateChanged(is_live=True, at_ns=live.clock.monotonic)
    assert (opened.position, opened.levels) == (LONG, TRAILED)
    assert opened.memory.peak == 150 * 15_00


def test_what_was_closed_and_what_is_known_of_limits_is_told_to_a_later_file(tmp_path):
    other = Live(tmp_path)
    other.open(levels=stop_at(1_500_00))
    other.price(100_00)
    other.price(80_00)
    started, finished = other.facts(ExitStarted, ExitFinished)
    tripped = LimitTripped(Scope.PORTFOLIO, "", next(iter(LimitKind)), -5, -6, 7)
    halted = replace(started, exit_id="unfinished")
    live = Live(tmp_path)
    live.recording.start([started, finished, halted, tripped])
    live.recording.writer._is_ending.set()
    live.recording.writer._thread.join()
    live.open(replace(LONG, strategy_id=9), stop_at(1_500_00))
    live.price(100_00)
    live.price(70_00)
    kept = [content for content in live.engine.state() if isinstance(content, rec.ClosedBefore | LimitTripped)]
    assert kept[0] == rec.ClosedBefore(started, finished)
    assert [each.started.signal.observed for each in kept[:-1]] == [-3_000_00, -4_500_00]
    assert kept[-1] is tripped


def test_packets_that_are_kept_out_and_prices_over_rest_are_noted(tmp_path):
    live = Live(tmp_path)
    cache, taken = live.recording.price_cache, []
    cache.watch([key(501)])
    cache.hold_back(key(501), 1_000, 5 * S)
    cache.release(key(501))
    one = quote(501, 100_00, 9)
    live.recording.rest_quotes(taken.append)(one)
    assert live.facts(rec.FeedHeldBack) == [rec.FeedHeldBack(key(501), 1_000, 5 * S), rec.FeedHeldBack(key(501), 0, 0)]
    assert (live.facts(rec.QuoteTaken), taken) == ([rec.QuoteTaken(one)], [one])


def test_connections_are_numbered_and_heard(tmp_path):
    clock = ManualClock()
    recording = FeedRecording(tmp_path, "record_feed", "0", clock, is_always_open=True)
    settings = FeedSettings(taps=recording.taps)
    first, second = settings.of_line(1).tap, settings.of_line(2).tap
    second.frame(5, b"frame")
    first.connection(6, is_up=False, reason="gone")
    assert recording.taps.of_line(1) is first
    assert [(kind, line, at) for kind, line, at, _ in recording.recorder.queue.waiting] == [
        (Kind.FRAME, 2, 5),
        (Kind.FACT, 0, 6),
    ]
    assert recording.recorder.queue.waiting[1][3] == rec.LineState(1, is_up=False, reason="gone")
    assert FeedSettings().of_line(1).tap is None


@pytest.mark.parametrize(("value", "is_on"), [("", False), ("rec", True)])
def test_an_empty_record_dir_is_off(tmp_path, value, is_on):
    settings = load_settings({"RECORD_DIR": str(tmp_path / value) if value else ""}, None)
    recording = monitor_recording(settings, "0", ManualClock())
    assert (recording is not None) is is_on


async def test_stopping_what_never_began_is_nothing(tmp_path):
    recording = FeedRecording(tmp_path / "rec", "record_feed", "0", ManualClock(), is_always_open=True)
    await recording.stop()
    recording.start()
    recording.recorder.frame(1, 1, b"x")
    await recording.stop()
    await recording.stop()
    assert len(list((tmp_path / "rec").iterdir())) == 1
