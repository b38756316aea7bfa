"""Nobody waits for the disk; what it could not take is counted, and told where it is missing."""

import threading
import time

import pytest

from core.model import events as ev
from core.model.commands import Severity
from core.recording.facts import Gap, LineState, RecordingEnded, RecordingHeader, decode_fact
from core.recording.file_format import Kind
from core.recording.part_writer import PartLimits, PartWriter, open_part
from core.recording.reader import open_part as read_part
from core.recording.recorder import ENTRY_BYTES, Recorder
from tests.fakes.manual_clock import ManualClock
from tests.unit.recording.scene import header, utc_ns

MESSAGE = bytes(range(162))
PLENTY = 1 << 40


class Rig:
    """A recorder and its writer, worked by the test instead of by the thread."""

    def __init__(self, folder, limits=None, opener=open_part, most=1 << 20):
        self.clock = ManualClock(utc=utc_ns("10:00:00"))
        self.free = PLENTY
        self.said = []
        self.recorder = Recorder(self.clock, most)
        self.writer = PartWriter(
            folder, self.recorder, header(source="monitor"), self.clock, limits, opener=opener, free=lambda _: self.free
        )

    def frames(self, count, message=MESSAGE):
        for _ in range(count):
            self.clock.monotonic += 1_000
            self.recorder.frame(1, self.clock.monotonic, message)

    def work(self, seconds=0.0):
        self.clock.pass_seconds(seconds)
        self.writer.work()

    def end(self):
        self.writer.work(is_last=True)

    def look(self):
        self.recorder.look(self.said.append)
        return [alert.subject for alert in self.said]


def contents(path):
    part = read_part(path)
    found = [
        decode_fact(record.body) if record.kind in {Kind.FACT, Kind.STATE} else record.body
        for block in part.blocks()
        for record in block.records()
    ]
    return found, part.damage


def test_what_is_recorded_is_in_the_file_in_its_order(tmp_path):
    rig = Rig(tmp_path)
    told = ev.TimePassed(rig.clock.monotonic, rig.clock.utc, session_open=True, is_trading_day=None)
    rig.frames(2)
    rig.recorder.fact(rig.clock.monotonic, LineState(2, is_up=True))
    rig.recorder.time(told)
    rig.frames(1, b"last")
    rig.end()
    [path] = rig.writer.paths
    found, damage = contents(path)
    assert not damage
    assert isinstance(found[0], RecordingHeader)
    assert found[1:4] == [MESSAGE, MESSAGE, LineState(2, is_up=True)]
    assert found[5:] == [b"last", RecordingEnded(goes_on=False)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700 or path.parent == tmp_path
    assert (rig.recorder.counts.frames, rig.recorder.counts.dropped) == (3, 0)


def test_nothing_recorded_makes_no_file(tmp_path):
    rig = Rig(tmp_path / "rec")
    rig.work(5)
    rig.end()
    assert not (tmp_path / "rec").exists()


def test_a_file_that_is_there_is_never_written_over(tmp_path):
    path = tmp_path / "x.feedrec"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        open_part(path)
    assert path.read_bytes() == b"old"


def test_a_block_is_written_after_a_second_and_when_it_is_full(tmp_path):
    rig = Rig(tmp_path, PartLimits(block_bytes=1_000))
    rig.frames(1)
    rig.work()
    written = rig.recorder.counts.bytes_written
    rig.work(0.9)
    assert rig.recorder.counts.bytes_written == written
    rig.work(0.2)
    assert rig.recorder.counts.bytes_written > written
    written = rig.recorder.counts.bytes_written
    rig.frames(7)
    rig.work()
    assert rig.recorder.counts.bytes_written > written, "1,134 bytes are more than a block"
    rig.end()


def test_files_end_at_their_size_and_at_the_full_hour_and_go_on_in_the_next(tmp_path):
    rig = Rig(tmp_path, PartLimits(block_bytes=100, part_bytes=1_500))
    rig.recorder.state = lambda: (LineState(9, is_up=True),)
    for _ in range(30):
        rig.frames(1)
        rig.work()
        rig.look()
    by_size = len(rig.writer.paths)
    assert by_size >= 3
    rig.clock.pass_seconds(3_600)
    rig.frames(1)
    rig.work()
    rig.end()
    assert len(rig.writer.paths) == by_size + 1
    frames = 0
    for number, path in enumerate(rig.writer.paths, start=1):
        found, damage = contents(path)
        assert not damage
        assert (found[0].part, found[0].run) == (number, "aaaa")
        assert found[-1] == RecordingEnded(goes_on=number <= by_size)
        frames += found.count(MESSAGE)
        states = found.count(LineState(9, is_up=True))
        assert states == (1 if 1 < number <= by_size else 0), (
            "what holds by then is told once, and not in the first file"
        )
    assert frames == 31


def test_every_cut_of_a_file_is_read_up_to_the_last_whole_block(tmp_path):
    rig = Rig(tmp_path, PartLimits(block_bytes=300))
    for _ in range(6):
        rig.frames(2)
        rig.work()
    rig.end()
    [path] = rig.writer.paths
    whole = path.read_bytes()
    expected, _ = contents(path)
    cut = tmp_path / "cut.feedrec"
    seen = set()
    for size in range(len(whole) - 1, 250, -7):
        cut.write_bytes(whole[:size])
        found, damage = contents(cut)
        assert "cut off" in damage
        assert found == expected[: len(found)]
        seen.add(len(found))
    assert seen == {1, 3, 5, 7, 9, 11, 13}
    cut.write_bytes(whole[:900] + b"?" + whole[901:])
    found, damage = contents(cut)
    assert "damaged at byte" in damage
    assert found == expected[: len(found)]


class Disk:
    """Blocks or fails as the test says; what is written reaches the real file."""

    def __init__(self):
        self.is_free = threading.Event()
        self.is_free.set()
        self.error = None
        self.most = 1 << 30

    def open(self, path):
        return self if self.error else SlowFile(self, open_part(path))


class SlowFile:
    def __init__(self, disk, file):
        self._disk, self._file = disk, file

    def write(self, data):
        self._disk.is_free.wait(10)
        if self._disk.error is not None:
            raise self._disk.error
        return self._file.write(bytes(data)[: self._disk.most])

    def close(self):
        self._file.close()


def test_a_slow_disk_costs_frames_and_never_time_and_the_gap_is_in_the_recording(tmp_path):
    disk = Disk()
    rig = Rig(tmp_path, PartLimits(block_bytes=1_000), disk.open, most=20 * (162 + ENTRY_BYTES))
    rig.writer.start()
    rig.frames(5)
    deadline = time.monotonic() + 5
    while not rig.writer.paths and time.monotonic() < deadline:
        time.sleep(0.001)
    disk.is_free.clear()
    begun = time.perf_counter()
    rig.frames(1_000)
    took_s = time.perf_counter() - begun
    counts = rig.recorder.counts
    waiting = len(rig.recorder.queue.waiting)
    disk.is_free.set()
    assert took_s < 0.5, "a thousand appends, and no wait for the disk"
    assert waiting <= 20
    assert counts.gaps == 1
    lost = counts.dropped
    assert lost >= 900
    while rig.recorder.queue.waiting and time.monotonic() < deadline + 5:
        time.sleep(0.001)
    rig.frames(3)
    rig.writer.stop()
    found, damage = contents(rig.writer.paths[0])
    assert not damage
    assert found.count(MESSAGE) == 1_008 - lost
    [gap] = [each for each in found if isinstance(each, Gap)]
    assert (gap.frames, gap.facts) == (lost, 0)
    assert found[found.index(gap) + 1 :] == [MESSAGE] * 3 + [RecordingEnded(goes_on=False)]
    assert rig.look() == ["a gap in the recording"]


def test_facts_are_kept_when_frames_are_not_and_even_they_have_a_bound(tmp_path):
    rig = Rig(tmp_path, most=10 * ENTRY_BYTES)
    rig.frames(100, b"")
    assert len(rig.recorder.queue.waiting) == 10
    for _ in range(100):
        rig.recorder.fact(rig.clock.monotonic, LineState(1, is_up=False))
    kept = len(rig.recorder.queue.waiting)
    assert 20 <= kept <= 21
    rig.end()
    rig.frames(1)
    rig.end()
    found, _ = contents(rig.writer.paths[0])
    assert found.count(LineState(1, is_up=False)) == kept - 10
    found, _ = contents(rig.writer.paths[1])
    [gap] = [each for each in found if isinstance(each, Gap)]
    assert (gap.frames, gap.facts) == (90, 100 - (kept - 10))


def test_a_failing_disk_loses_nothing_that_still_fits_and_is_told_once(tmp_path):
    disk = Disk()
    rig = Rig(tmp_path, PartLimits(block_bytes=100, retry_s=10), disk.open)
    rig.frames(3)
    rig.work()
    disk.error = OSError(28, "No space left on device")
    rig.frames(4)
    rig.work()
    rig.work(1)
    assert rig.look() == rig.look() == ["the feed is not being recorded"]
    assert "No space left on device" in rig.said[0].text
    assert rig.said[0].severity is Severity.WARNING
    disk.error = None
    rig.work(5)
    assert len(rig.writer.paths) == 1, "not before the retry is due"
    rig.work(6)
    rig.frames(1)
    rig.end()
    assert rig.look()[1:] == ["the feed is being recorded again"]
    kept = [contents(path) for path in rig.writer.paths]
    assert sum(found.count(MESSAGE) for found, _ in kept) == 8
    assert "cut off" in kept[0][1]
    assert not kept[1][1]


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_all_of_them(tmp_path):
    disk = Disk()
    disk.most = 37
    rig = Rig(tmp_path, opener=disk.open)
    rig.frames(20)
    rig.end()
    found, damage = contents(rig.writer.paths[0])
    assert (found.count(MESSAGE), damage) == (20, "")


def test_a_disk_that_is_nearly_full_is_left_to_the_journal(tmp_path):
    rig = Rig(tmp_path / "rec", PartLimits(least_free_bytes=1 << 30, retry_s=10))
    rig.free = (1 << 30) - 1
    rig.frames(2)
    rig.work()
    assert rig.look() == ["the feed is not being recorded"]
    assert "1024 MiB are free" in rig.said[0].text
    assert not rig.writer.paths
    rig.free = PLENTY
    rig.work(11)
    rig.end()
    assert contents(rig.writer.paths[0])[0].count(MESSAGE) == 2


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    rig = Rig(tmp_path / "file" / "rec")
    rig.frames(1)
    rig.work()
    assert rig.look() == ["the feed is not being recorded"]


def test_a_bug_in_the_thread_ends_the_recording_and_nothing_else(tmp_path, monkeypatch):
    rig = Rig(tmp_path)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    rig.recorder.fact(1, object())
    rig.writer.start()
    rig.writer.stop()
    rig.frames(1)
    assert rig.look() == ["the feed is not being recorded"]
    assert "a bug" in rig.said[0].text


def test_a_thread_of_its_own_writes_behind_the_loop(tmp_path):
    rig = Rig(tmp_path)
    rig.writer.start()
    rig.frames(100)
    rig.writer.stop()
    assert contents(rig.writer.paths[0])[0].count(MESSAGE) == 100
