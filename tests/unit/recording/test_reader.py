"""Which files are recordings, in which order they are played, and what is said of the others."""

import pytest

from core.model.errors import ConfigurationError
from core.recording.facts import LineState
from core.recording.file_format import BLOCK_HEAD_SIZE, MAGIC, stored_size
from core.recording.reader import NothingRecordedError, is_recording, open_part, open_parts, with_header
from tests.unit.recording.scene import S, fact, header, utc_ns, write_part

BASE = 10**15
OFFSET = utc_ns("10:00:00") - BASE


def part(folder, number, run="aaaa", after_s=0, base=BASE):
    at = base + after_s * S
    return write_part(
        folder / f"{run}-{number}.feedrec", header(number, run), [fact(at, LineState(1, is_up=True))], offset_ns=OFFSET
    )


def test_files_come_in_the_order_of_their_time_however_they_are_named(tmp_path):
    paths = [part(tmp_path, 2, after_s=60), part(tmp_path, 1, "bbbb", after_s=90), part(tmp_path, 1)]
    found = open_parts(paths)
    assert [(each.header.run, each.header.part) for each in found] == [("aaaa", 1), ("aaaa", 2), ("bbbb", 1)]
    assert [sum(block.count for block in each.blocks()) for each in found] == [3, 3, 3]
    assert [each.damage for each in found] == ["", "", ""]


def test_a_file_is_named_once(tmp_path):
    path = part(tmp_path, 1)
    with pytest.raises(ConfigurationError, match="the same part"):
        open_parts([path, path])


def test_files_from_before_and_after_a_start_of_the_machine_are_not_one_recording(tmp_path):
    later = write_part(
        tmp_path / "b", header(1, "bbbb"), [fact(5 * S, LineState(1, is_up=True))], offset_ns=utc_ns("11:00:00") - 5 * S
    )
    with pytest.raises(ConfigurationError, match="started anew"):
        open_parts([part(tmp_path, 1), later])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "nothing is recorded in it yet"),
        (MAGIC[:3], "nothing is recorded in it yet"),
        (MAGIC[:3] + b"x", "no recording"),
        (b"ts_ms,exchange_segment", "no recording"),
        (b"EXITREC9" + bytes(40), "another version"),
        (MAGIC, "nothing is recorded in it yet"),
        (MAGIC + bytes(80), "no readable header"),
    ],
)
def test_what_is_no_recording_of_ours_is_refused(tmp_path, content, text):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=text):
        open_part(path)


def test_a_recording_is_known_by_its_beginning(tmp_path):
    other = tmp_path / "y"
    other.write_bytes(b"ts_ms,")
    assert is_recording(part(tmp_path, 1))
    assert not is_recording(other)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        is_recording(tmp_path / "absent")


def test_a_header_that_is_another_fact_is_no_header(tmp_path):
    path = tmp_path / "x"
    write_part(path, LineState(1, is_up=True), [fact(BASE, LineState(1, is_up=True))], offset_ns=OFFSET)
    with pytest.raises(ConfigurationError, match="does not begin with the header"):
        open_part(path)


@pytest.mark.parametrize("size", [0, 5, len(MAGIC), len(MAGIC) + 20, -1])
def test_a_file_that_was_only_begun_is_known_as_such_and_keeps_no_other_from_being_read(tmp_path, size):
    whole, begun = part(tmp_path, 1), tmp_path / "begun.feedrec"
    header_size = open_header(whole)
    begun.write_bytes(whole.read_bytes()[: header_size + size if size < 0 else size])
    assert is_recording(begun)
    with pytest.raises(NothingRecordedError, match=r"begun\.feedrec: nothing is recorded in it yet"):
        open_part(begun)
    paths, [empty] = with_header([begun, whole])
    assert paths == (whole,)
    assert "begun.feedrec" in empty.problem


def open_header(path):
    """Bytes of the file up to the end of its header."""
    head = path.read_bytes()[len(MAGIC) :][:BLOCK_HEAD_SIZE]
    return len(MAGIC) + BLOCK_HEAD_SIZE + stored_size(head)
