"""`--why` over the recorded comparisons: around an exit, of a position that never exited, and at any moment."""

import json
from datetime import time, timedelta

import pytest

from core.decision_file import FOLDER, DecisionFile
from core.decision_record import Kind, line_of
from core.decision_search import DecisionSearch
from core.exit_records import FILE_NAME
from core.exit_records import line_of as exit_line
from core.exits.explain_sighting import see
from core.model.errors import ConfigurationError
from core.model.exit_levels import ExitLevels, Rule
from core.model.session_time import NS_PER_S, ist_datetime
from core.why import explain
from tests.unit.dashboard.views import record
from tests.unit.exits.builders import Desk, amount, days, leg

NOON = 1_795_156_200_000_000_000  # 2026-11-20 12:00 IST
LEVELS = ExitLevels(stop=amount(3_000), dte=days(2))


class Day:
    """Writes what a monitor would: samples of two strategies every five seconds, over files of an hour."""

    def __init__(self, state_dir):
        self.folder = state_dir / FOLDER
        self.file = DecisionFile(self.folder, 5)
        self.desk = Desk(leg(1, 75, 100), levels=LEVELS)
        self.desk.tick(1, 95)

    def write(self, at_s, kind=Kind.SAMPLE, signal=None, last=95, strategy_id=1):
        """`at_s` seconds after noon of the first day."""
        utc_ns = NOON + int(at_s * NS_PER_S)
        self.file.begin_if_due(utc_ns)
        if last != 95:
            signal = self.desk.tick(1, last) if signal is None else signal
        sighting = see(self.desk.guard, self.desk.at, signal)
        line = line_of(sighting, kind, utc_ns, 0).replace(b'"strategy_id": 1,', b'"strategy_id": %d,' % strategy_id)
        self.file.write([line])

    def samples(self, start_s, end_s, every_s=5, strategy_id=1):
        for at_s in range(start_s, end_s, every_s):
            self.write(at_s, strategy_id=strategy_id)


@pytest.fixture
def day(tmp_path):
    made = Day(tmp_path)
    yield made
    made.file.drop()


def at_s(found):
    return round((found.at - ist_datetime(NOON)).total_seconds())


def why(tmp_path, strategy_id=1, at=None):
    return explain(tmp_path, tmp_path, strategy_id, at, as_json=False)


def document(tmp_path, strategy_id=1, at=None):
    return json.loads(explain(tmp_path, tmp_path, strategy_id, at, as_json=True))


def test_a_position_that_never_exited_shows_the_last_comparison_and_why_nothing_fired(tmp_path, day):
    day.samples(0, 30)
    text = why(tmp_path)
    assert "what was compared at 2026-11-20 12:00:25.000 IST, the last that was recorded" in text
    assert "Outcome:        No exit conditions triggered" in text
    assert "nothing: ₹2,625.00 away" in text
    assert "nothing: DTE is 34, 32 to go" in text
    assert (
        "| +75     | NIFTY-1      | 2026-12-24 | ₹100.00 | ₹95.00 | ₹95.00 | ₹94.95 | ₹95.05 | feed   | 0 ms  |" in text
    )
    assert "clean" in text
    content = document(tmp_path)
    assert (content["strategy_id"], content["compared"]["pnl"], content["exits"]) == (1, -375.0, [])
    assert content["compared"]["rules"][0]["distance"] == 2625.0


@pytest.mark.parametrize(
    ("asked", "found_s", "said"),
    [
        (time(12, 0, 0), 0, ""),
        (time(12, 0, 12), 10, ", 2 s before 12:00:12"),
        (time(12, 0, 13), 15, ", 2 s after 12:00:13"),
        (time(11, 0, 0), 0, ", 60 min after 11:00:00"),
        (time(12, 59, 58), 3_600, ", 2 s after 12:59:58"),
        (time(15, 0), 7_195, ", 60 min before 15:00:00"),
        (time(23, 0), 7_195, ", 9 h 0 min before 23:00:00"),
    ],
)
def test_a_time_picks_the_comparison_nearest_to_it_and_says_how_far_away(tmp_path, day, asked, found_s, said):
    day.samples(0, 60)
    day.samples(3_540, 7_200)
    text = why(tmp_path, at=asked)
    found = ist_datetime(NOON + found_s * NS_PER_S)
    assert f"what was compared at {found:%Y-%m-%d %H:%M:%S}.000 IST{said}\n" in text
    assert document(tmp_path, at=asked)["compared"]["time"][:19] == f"{found:%Y-%m-%dT%H:%M:%S}"


def test_the_nearest_comparison_may_be_in_another_file(tmp_path, day):
    """Of a strategy that was there for a minute only, whichever file the time that was asked for lies in."""
    day.samples(0, 5 * 3_600, every_s=600)
    day.samples(5 * 3_600, 5 * 3_600 + 60, strategy_id=2)
    day.samples(6 * 3_600, 8 * 3_600, every_s=600)
    for hour in (12, 14, 16, 17, 18, 19):
        assert at_s(DecisionSearch(day.folder, 2).near(ist_datetime(NOON).replace(hour=hour))[0]) == 5 * 3_600
    assert DecisionSearch(day.folder, 3).near(ist_datetime(NOON)) == []
    assert DecisionSearch(day.folder, 1).near(ist_datetime(NOON) - timedelta(days=3)) == []


def test_the_last_day_with_records_of_the_strategy_is_meant(tmp_path, day):
    day.samples(0, 60)
    day.samples(86_400, 86_460, strategy_id=2)
    assert "2026-11-20 12:00:30" in why(tmp_path, at=time(12, 0, 30))
    assert "2026-11-21 12:00:30" in why(tmp_path, 2, at=time(12, 0, 30))
    assert at_s(DecisionSearch(day.folder, 1).newest()) == 55


def test_an_exit_is_shown_with_what_was_compared_when_it_was_decided(tmp_path, day):
    day.samples(0, 60)
    day.write(61, Kind.FIRED, last=59)
    day.desk.tick(1, 95)
    day.samples(66, 90)
    line = exit_line(record(1, rule=Rule.STOP_LOSS, finished_at_ns=NOON + 62 * NS_PER_S))
    (tmp_path / FILE_NAME).write_text(json.dumps(line) + "\n", encoding="utf-8")
    for at in (None, time(12, 1, 1)):
        text = why(tmp_path, at=at)
        assert "Closed:         2026-11-20 12:01:02 IST" in text
        assert "what was compared at 2026-11-20 12:01:01.000 IST" in text
        assert "| fired" in text
        assert "→ 12:01:01.000  fired" in text
        assert "12:00:55.000  sample" in text
        assert "Last compared at 2026-11-20 12:01:26" in text
    content = document(tmp_path)
    assert {"rule", "threshold", "legs", "latency_ms"} <= content.keys(), "the keys of the record stay"
    assert content["compared"]["fired"]["rule"] == "stop_loss"
    assert [each["kind"] for each in content["around"]][-4:] == ["sample"] * 4
    assert "Closed:" not in why(tmp_path, at=time(12, 5)), "that exit was not then"
    assert "Other exits of this strategy (choose with --at and the time in quotes): 2026-11-20 12:01:02" in why(
        tmp_path, at=time(12, 5)
    )


@pytest.mark.parametrize("wrong", [{"rule": Rule.TRAILING_STOP}, {"finished_at_ns": NOON + 1_000 * NS_PER_S}])
def test_no_other_decision_is_taken_for_that_of_an_exit(tmp_path, day, wrong):
    day.write(61, Kind.FIRED, last=59)
    line = exit_line(record(1, **({"rule": Rule.STOP_LOSS, "finished_at_ns": NOON + 62 * NS_PER_S} | wrong)))
    (tmp_path / FILE_NAME).write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert "is not recorded (any more): DECISION_LOG_DAYS" in why(tmp_path)


def test_an_exit_without_records_is_explained_as_before(tmp_path):
    line = exit_line(record(1, finished_at_ns=NOON))
    (tmp_path / FILE_NAME).write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert "Closed:" in why(tmp_path, at=time(20, 0))


def test_what_could_not_be_judged_is_said(tmp_path, day):
    day.desk.clock(feed_live=False)
    day.desk.clock(after=20 * NS_PER_S)
    day.desk.guard.blind_spots.append(lambda _: "the underlying stands still")
    day.write(0)
    text = why(tmp_path)
    assert "Not judged:     no fresh price for NSE_FNO:1 for 20 s" in text
    assert "Cannot see:     the underlying stands still" in text
    assert "| 20 s  |" in text


def test_damaged_lines_are_left_out(tmp_path, day):
    day.samples(0, 10)
    day.file.write([b'{"strategy_id": 1, "time": 5}', b'{"strategy_id": 1, "ti', b'{"strategy_id": 1, ]', b"\xff\xfe"])
    assert "12:00:05" in why(tmp_path)


@pytest.mark.parametrize("strategy_id", [11, 0, 2])
def test_an_unknown_strategy_is_named_with_what_to_do(tmp_path, day, strategy_id):
    day.samples(0, 10)
    with pytest.raises(ConfigurationError, match=f"no exit of strategy {strategy_id} in") as raised:
        why(tmp_path, strategy_id)
    assert "nothing that was compared for it" in raised.value.problem
    assert "--plan" in raised.value.remedy


def test_a_file_that_is_removed_meanwhile_is_no_error(tmp_path, day, monkeypatch):
    day.samples(0, 10)

    def gone(path, _):
        raise FileNotFoundError(path)

    monkeypatch.setattr("core.decision_search.read_lines", gone)
    with pytest.raises(ConfigurationError):
        why(tmp_path)
