"""`--why ID --at`: which day is meant, and what is said when records cannot be read."""

import gzip
import json
import os
from datetime import datetime, time, timedelta

import pytest

from core.decision_file import FOLDER
from core.exit_records import FILE_NAME, line_of
from core.model.errors import ConfigurationError
from core.model.session_time import IST, NS_PER_S
from core.why import explain
from tests.unit.dashboard.views import record
from tests.unit.decisions.test_why_compared import NOON, Day

DAY_S = 86_400


def ist(*parts):
    return datetime(*parts, tzinfo=IST)


@pytest.fixture
def day(tmp_path):
    """2026-11-20 from noon for a minute, the day after from 13:00 for a minute; an exit on the first day at 12:00:30."""
    made = Day(tmp_path)
    made.samples(0, 60)
    made.samples(DAY_S + 3_600, DAY_S + 3_660)
    write_exits(tmp_path, 30)
    yield made
    made.file.drop()


def write_exits(folder, *at_s):
    lines = [line_of(record(1, exit_id=f"E{at}", finished_at_ns=NOON + at * NS_PER_S)) for at in at_s]
    (folder / FILE_NAME).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def why(folder, at=None, strategy_id=1):
    return explain(folder, folder, strategy_id, at, as_json=False)


def document(folder, at=None):
    return json.loads(explain(folder, folder, 1, at, as_json=True))


def test_a_day_that_is_given_is_the_day_that_is_shown(tmp_path, day):
    for asked, compared, has_exit in (
        (ist(2026, 11, 20, 12, 0, 30), "2026-11-20 12:00:30", True),
        (ist(2026, 11, 20, 13, 0, 30), "2026-11-20 12:00:55", False),
        (ist(2026, 11, 21, 12, 0, 30), "2026-11-21 13:00:00", False),
        (ist(2026, 11, 21, 13, 0, 30), "2026-11-21 13:00:30", False),
    ):
        text = why(tmp_path, asked)
        assert f"what was compared at {compared}.000 IST" in text
        assert f"Recorded around it, on {compared[:10]}:" in text
        assert ("Closed:         2026-11-20 12:00:30" in text) is has_exit
        assert "No day was given" not in text
        assert document(tmp_path, asked)["asked"] == asked.isoformat()


def test_without_a_day_the_newest_that_had_begun_by_then_is_meant_and_said(tmp_path, day):
    """An exit of one day is not shown with a comparison of another."""
    text = why(tmp_path, time(12, 0, 30))
    assert text.startswith("No day was given: 2026-11-20 is the newest with records at or before 12:00:30.")
    assert "Closed:         2026-11-20 12:00:30" in text
    assert "what was compared at 2026-11-20 12:00:30.000" in text
    assert why(tmp_path, time(13, 0, 30)).startswith("No day was given: 2026-11-21 is the newest")
    early = why(tmp_path, time(9, 0))
    assert early.startswith("No day was given, and none has records at or before 09:00:00: 2026-11-21 is the newest.")
    assert "what was compared at 2026-11-21 13:00:00.000 IST, 4 h 0 min after 09:00:00" in early


def test_the_day_of_an_exit_counts_where_its_comparisons_are_gone(tmp_path):
    write_exits(tmp_path, 30, DAY_S + 30)
    assert "Closed:         2026-11-21 12:00:30" in why(tmp_path, time(14, 0))
    assert "Closed:         2026-11-20 12:00:30" in why(tmp_path, ist(2026, 11, 20, 15))


def test_midnight_does_not_part_an_exit_from_the_moment_that_was_asked_for(tmp_path):
    write_exits(tmp_path, 12 * 3_600 - 10)
    assert "Closed:         2026-11-20 23:59:50" in why(tmp_path, ist(2026, 11, 21, 0, 0, 5))


def test_a_day_without_records_names_the_days_that_have_some(tmp_path, day):
    with pytest.raises(ConfigurationError, match="Nothing is recorded of strategy 1 on 2026-11-19") as raised:
        why(tmp_path, ist(2026, 11, 19, 12))
    assert "2026-11-20, 2026-11-21" in raised.value.remedy


def exits_become(make):
    def spoil(folder):
        (folder / FILE_NAME).unlink()
        make(folder / FILE_NAME)
        return folder / FILE_NAME

    return spoil


def newest_file_becomes(make):
    def spoil(folder):
        path = max((folder / FOLDER).iterdir())
        make(path)
        return path

    return spoil


def as_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()


def cut_in_half(path):
    """As a disk that is full leaves it: packed in one piece, the rest is missing."""
    content = gzip.compress(
        b'{"strategy_id": 1, "time": "2026-11-21T13:00:00+05:30", "legs": []}\n' * 9 + os.urandom(900).hex().encode()
    )
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (exits_become(as_folder), "cannot be read (Is a directory)"),
        (
            exits_become(lambda path: path.write_bytes(b"\x00\xff\n{}\n\x80\n")),
            "2 damaged lines are left out (line 1, 3)",
        ),
        (newest_file_becomes(as_folder), "cannot be read (Is a directory)"),
        (newest_file_becomes(lambda path: path.write_bytes(b"\x00\xffno gzip")), "is damaged before byte"),
        (newest_file_becomes(cut_in_half), "ends within a line"),
        (newest_file_becomes(lambda path: path.write_bytes(gzip.compress(b"\xff\n[1]\n"))), "2 damaged lines"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_is_used(tmp_path, day, spoil, said):
    day.file.drop()
    path = spoil(tmp_path)
    text = why(tmp_path)
    assert "Closed:         2026-11-20 12:00:30" in text or "compared at 2026-11-21 13:00:55.000" in text
    [told] = [line for line in text.splitlines() if "NOT ALL READ" in line]
    assert str(path) in told
    assert said in told
    assert said in document(tmp_path)["problems"][0]
    with pytest.raises(ConfigurationError) as raised:
        why(tmp_path, strategy_id=99)
    assert said in raised.value.problem, "its records may be the ones that cannot be read"
    assert str(path) in raised.value.problem
    assert raised.value.remedy.startswith("Mend that first")


@pytest.mark.parametrize("name", [FILE_NAME, FOLDER])
def test_a_file_or_folder_of_another_user_is_named(tmp_path, day, name, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(
        *("core.why.read_lines", lambda _, __: refuse(0))
        if name == FILE_NAME
        else ("core.decision_search.segments", refuse)
    )
    text = why(tmp_path)
    assert f"{tmp_path / name} cannot be read (Permission denied)" in text


def test_records_without_damage_say_nothing_of_it(tmp_path, day):
    assert "NOT ALL READ" not in why(tmp_path)
    assert document(tmp_path)["problems"] == []
    assert timedelta(seconds=document(tmp_path, time(12, 0, 32))["compared_apart_s"]) == timedelta(seconds=-2)
