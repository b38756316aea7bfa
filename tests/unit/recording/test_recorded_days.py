"""The two recorded market days through the replay: every exit as the slow calculation has it, and the holes named."""

import json
from datetime import datetime

import pytest

from core.model.session_time import IST
from data_scripts import replay_session
from tests.replay.book import make_book
from tests.replay.oracle import expected_exits
from tests.replay.test_recordings import RECORDINGS, SEED, SQUARE_OFF, needs_recordings, write_master, write_rows


def replay(capsys, monkeypatch, folder, recording, book, *options):
    master, database = folder / "master.csv", folder / "trades.db"
    write_master(recording, book, master)
    write_rows(database, book.plans, recording.day)
    monkeypatch.setattr(replay_session, "ENV_FILE", folder / "no.env")
    monkeypatch.setenv("SQUARE_OFF_INTRADAY", f"{SQUARE_OFF:%H:%M}")
    arguments = [str(recording.rows), "--trades-db", str(database), "--instruments", str(master), "--json", *options]
    assert replay_session.main(arguments) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def in_rupees(rule, value):
    return value if value is None or rule == "dte_exit" else value / 100


@pytest.mark.no_cover
@needs_recordings
@pytest.mark.replay
@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_every_exit_of_a_recorded_day_is_the_one_a_slow_calculation_has(recording, tmp_path, capsys, monkeypatch):
    book = make_book(recording, SEED)
    # Silence is not in the calculation.
    found = replay(capsys, monkeypatch, tmp_path, recording, book, "--stale-after", "86400")
    start_ms = book.rows[0].at_ms
    expected = expected_exits(book.plans, book.rows, SQUARE_OFF, start_ms)
    assert {
        seen["strategy_id"]: (seen["rule"], seen["threshold"], seen["observed"], seen["time"])
        for seen in found["exits"]
    } == {
        sid: (
            exit_.rule,
            in_rupees(exit_.rule, exit_.threshold),
            in_rupees(exit_.rule, exit_.observed),
            datetime.fromtimestamp(exit_.at_ms / 1_000, IST).isoformat(timespec="milliseconds"),
        )
        for sid, exit_ in expected.items()
        if exit_ is not None
    }
    assert len(found["exits"]) >= 20
    assert all(seen["finished"] is not None for seen in found["exits"])
    assert len(found["positions"]) == len(book.plans)


@needs_recordings
@pytest.mark.replay
def test_the_hole_of_eighteen_minutes_is_survived_and_its_positions_are_named(tmp_path, capsys, monkeypatch):
    recording = RECORDINGS[0]
    book = make_book(recording, SEED)
    few = [plan for plan in book.plans if plan.strategy_id % 4 == 0]
    ids = ",".join(str(plan.strategy_id) for plan in few)
    found = replay(capsys, monkeypatch, tmp_path, recording, book, "--positions", ids)
    closed = {seen["strategy_id"]: seen["time"][11:19] for seen in found["exits"]}
    open_then = {plan.strategy_id for plan in few if closed.get(plan.strategy_id, "99") > "10:20"}
    stale = {
        position["strategy_id"]
        for position in found["positions"]
        for gap in position["unprotected"]
        if "10:17" <= gap["from"][11:16] <= "10:20"
        and gap["to"][11:16] == "10:34"
        and gap["reason"] == "no fresh price"
    }
    assert stale == open_then
    assert len(stale) >= 5
    assert not [seen for seen in found["exits"] if "10:20" < seen["time"][11:16] < "10:34"]
    assert [seen for seen in found["exits"] if seen["time"][11:16] > "10:34"]
