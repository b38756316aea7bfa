"""data_scripts/replay_session.py over price rows: what it prints, and what it says of wrong input."""

import gzip
import json

import pytest

from core.recording.facts import LineState
from core.recording.replay_result import Curve
from core.recording.replay_text import sparkline
from data_scripts import replay_session
from tests.unit.recording.scene import (
    LOT,
    S,
    fact,
    header,
    utc_ns,
    write_master,
    write_part,
    write_prices,
    write_trades,
)

CLOSE_ALL = "Close entire position"
RISE_AND_FALL = [
    ("10:00:00", 24_000, 100.0), ("10:01:00", 24_000, 110.0), ("10:02:00", 24_000, 130.0), ("10:03:00", 24_000, 125.0),
    ("10:04:00", 24_000, 119.0), ("10:05:00", 24_000, 105.0), ("10:06:00", 24_000, 95.0),
]  # fmt: skip


class Day:
    """A recorded day in a folder: price rows, instrument master, trades."""

    def __init__(self, folder, rows=RISE_AND_FALL, held=None, levels=None):
        self.folder = folder
        self.prices = write_prices(folder / "nse_2026-11-20_day.csv", rows)
        self.master = write_master(folder / "nse_2026-11-20_instruments.csv", [24_000, 24_100])
        held = held or {7: (24_000, 2 * LOT, 100.0)}
        levels = levels or {7: {"stop_loss": (3_000, CLOSE_ALL), "time_exit": (1, CLOSE_ALL)}}
        self.trades = write_trades(folder / "trades.db", held, levels)

    def written(self, name, text):
        (self.folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(self.folder / name)


@pytest.fixture
def day(tmp_path):
    return Day(tmp_path)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Exit code, stdout, stderr; with the default settings whatever the machine has in its .env."""
    monkeypatch.setattr(replay_session, "ENV_FILE", tmp_path / "no.env")

    def replay(*arguments):
        capsys.readouterr()
        code = replay_session.main([str(each) for each in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return replay


def test_what_a_tighter_trail_would_have_made_is_what_a_hand_calculation_has(run, day):
    levels = day.written("levels.toml", "[all]\ntrailing = { arm = 0, distance = 1500 }\n")
    code, out, err = run(day.prices, "--trades-db", day.trades, "--levels", levels, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    # 150 units at 100. In force: nothing fires, and the position stands at 95: −750.
    assert found["exits"] == []
    assert found["result"] == -750.0
    # Peak at 130: +4,500. The trail fires at or below +3,000, which is 120: on 119 (+2,850), sold a tick lower, at 118.95.
    [seen] = found["other_levels"]["exits"]
    assert (seen["rule"], seen["threshold"], seen["observed"], seen["time"]) == (
        "trailing_stop", 3_000.0, 2_850.0, "2026-11-20T10:04:00.000+05:30",
    )  # fmt: skip
    [fill] = seen["fills"]
    assert (fill["side"], fill["units"], fill["price"]) == ("SELL", 150, 118.95)
    made = 150 * 18.95
    assert found["other_levels"]["result"] == pytest.approx(made)
    assert found["other_levels"]["difference"] == pytest.approx(made + 750)
    assert found["other_levels"]["differences"] == [
        {
            "strategy_id": 7,
            "strategy_name": "Long Call",
            "in_force": -750.0,
            "other_levels": made,
            "difference": made + 750,
        }
    ]


def test_the_sum_of_the_differences_is_of_all_positions(run, tmp_path):
    rows = [each for at, one, price in RISE_AND_FALL for each in ((at, one, price), (at, 24_100, 200 - price))]
    held = {7: (24_000, 2 * LOT, 100.0), 8: (24_100, LOT, 100.0)}
    none = {"stop_loss": (4_000, CLOSE_ALL), "time_exit": (1, CLOSE_ALL)}
    day = Day(tmp_path, rows, held, {7: none, 8: none})
    levels = day.written("levels.toml", "[all]\nstop = 1800\n[7]\nstop = 30000\n")
    code, out, _ = run(day.prices, "--trades-db", day.trades, "--levels", levels, "--json")
    found = json.loads(out)["other_levels"]
    # 8 falls to 70 (−2,250, at 10:02) and is sold at 69.95; held to the end it stands at 105 (+375). 7 is left as it is.
    sold = 75 * (69.95 - 100)
    assert code == 0
    assert [each["difference"] for each in found["differences"]] == [0.0, pytest.approx(sold - 375)]
    assert found["difference"] == pytest.approx(sold - 375)


def test_a_person_reads_exits_curves_differences_and_unprotected_minutes(run, tmp_path):
    rows = [*RISE_AND_FALL[:3], ("10:20:00", 24_000, 80.0), ("10:21:00", 24_000, 79.0)]
    day = Day(tmp_path, rows, levels={7: {"stop_loss": (1_000, CLOSE_ALL), "time_exit": (1, CLOSE_ALL)}})
    levels = day.written("levels.toml", '[7]\nstop = "off"\n')
    code, out, _ = run(day.prices, "--trades-db", day.trades, "--levels", levels)
    assert code == 0
    assert "nse_2026-11-20_day.csv: 2026-11-20 10:00:00 to 10:21:00 IST, 5 quotes" in out
    exits, curves, silent, other = out.split("\n\n")[1:5]
    assert "10:20:00" in exits
    assert "stop_loss → CLOSE_IMMEDIATELY" in exits
    assert "₹-2,000.00" in exits, "a stop of 1,000 a lot, of two lots"
    assert "₹-3,007.50" in exits, "150 × (79.95 − 100)"
    assert "sampled every 60 s. Sum of the results: ₹-3,007.50" in curves
    assert "₹4,500.00" in curves
    [line] = [line for line in silent.splitlines() if "no fresh price" in line]
    assert "10:05:01" in line
    assert "1: Long Call #7" in line
    assert "Difference in sum: ₹-142.50" in other, "150 × (79 − 79.95)"
    assert "10:20:00 stop_loss" in other


def test_limits_of_age_are_as_asked_for(run, day):
    _, out, _ = run(day.prices, "--trades-db", day.trades, "--stale-after", "30", "--json")
    gaps = json.loads(out)["positions"][0]["unprotected"]
    assert [gap["from"][11:19] for gap in gaps] == [f"10:0{minute}:31" for minute in range(6)]
    _, out, _ = run(day.prices, "--trades-db", day.trades, "--json")
    assert json.loads(out)["positions"][0]["unprotected"] == []


def test_only_the_named_positions_are_played(run, tmp_path):
    held = {7: (24_000, LOT, 100.0), 8: (24_000, LOT, 100.0)}
    day = Day(tmp_path, held=held)
    _, out, _ = run(day.prices, "--trades-db", day.trades, "--positions", "8", "--json")
    assert [each["strategy_id"] for each in json.loads(out)["positions"]] == [8]
    code, out, _ = run(day.prices, "--trades-db", day.trades, "--positions", "8,9,10", "--json")
    found = json.loads(out)
    assert (code, [each["strategy_id"] for each in found["positions"]]) == (0, [8])
    assert "There is no open position of strategy 9, 10" in found["notes"]


def test_the_curve_is_sampled_as_asked_for(run, day):
    for every_s, count in ((60, 7), (180, 3)):
        _, out, _ = run(day.prices, "--trades-db", day.trades, "--curve", every_s, "--json")
        points = json.loads(out)["positions"][0]["curve"]["points"]
        assert len(points) == count + 1, "and once at the end"
    assert [pnl for _, pnl in points] == [None, 4_500.0, 750.0, -750.0] or points[0][1] is None


def test_a_row_that_cannot_be_read_is_noted_and_the_others_are_played(run, tmp_path):
    day = Day(tmp_path, held={7: (24_000, LOT, 100.0), 8: (99_999, LOT, 100.0)})
    code, out, _ = run(day.prices, "--trades-db", day.trades)
    assert code == 0
    assert "security_id NSE_FNO:99999 is not in today's instrument master; it is set aside" in out


def test_nothing_is_written_into_the_trades(run, day):
    before = day.trades.read_bytes()
    assert run(day.prices, "--trades-db", day.trades)[0] == 0
    assert day.trades.read_bytes() == before
    assert {path.name for path in day.folder.iterdir()} == {day.prices.name, day.master.name, "trades.db"}


def test_a_recording_may_be_played_with_other_rows(run, day):
    path = write_part(
        day.folder / "a.feedrec", header(), [fact(S, LineState(1, is_up=True))], offset_ns=utc_ns("10:00:00") - S
    )
    code, out, _ = run(path, "--trades-db", day.trades, "--instruments", day.master, "--json")
    assert code == 0
    assert [each["strategy_id"] for each in json.loads(out)["positions"]] == [7]


def test_a_file_that_was_only_begun_is_named_and_the_others_are_played(run, day):
    path = write_part(
        day.folder / "a.feedrec", header(), [fact(S, LineState(1, is_up=True))], offset_ns=utc_ns("10:00:00") - S
    )
    begun = day.folder / "b.feedrec"
    begun.write_bytes(path.read_bytes()[:20])
    code, out, _ = run(path, begun, "--trades-db", day.trades, "--instruments", day.master, "--json")
    assert code == 0
    assert any("b.feedrec: nothing is recorded in it yet" in note for note in json.loads(out)["notes"])
    code, _, err = run(begun)
    assert code == 2
    assert "nothing is recorded in it yet" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["absent.csv"], "cannot be read"),
        (["{prices}"], "holds prices and no positions"),
        (["{prices}", "--trades-db", "absent.db"], "There is no file"),
        (["{prices}", "--trades-db", "{prices}"], "cannot be used"),
        (["{prices}", "--trades-db", "{trades}", "--instruments", "absent.csv"], "cannot be read"),
        (["{prices}", "--trades-db", "{trades}", "--instruments", "{prices}"], "instrument master"),
        (["{prices}", "--trades-db", "{trades}", "--positions", "9,8"], "no open position of strategy 8, 9"),
        (["{folder}"], "is a directory: expected files.\nName the recordings in it: "),
        (["{empty}"], "expected the column ts_ms, received an empty file."),
        (["{foreign}"], "expected the column ts_ms, received the columns date,close."),
        (["{foreign}", "--trades-db", "{trades}"], "ts_ms,exchange_segment,security_id,ltp,bid,ask"),
        (["{bytes}"], "expected text in UTF-8, received other bytes."),
        (["{packed}"], "expected a whole gzip file, received a damaged one"),
        (["{bare}"], "a line of columns and no price"),
        (["{prices}", "{recording}"], "_day.csv is no recording"),
        (["{prices}", "--trades-db", "{trades}", "--levels", "absent.toml"], "cannot be read"),
        (["{prices}", "--trades-db", "{trades}", "--levels", "{unknown}"], "names strategy 99"),
        (["{prices}", "--trades-db", "{trades}", "--levels", "{wrong}"], "all.stop"),
        (["{master}", "--trades-db", "{trades}"], "neither a recording nor price rows"),
        (["{prices}", "{prices}", "--trades-db", "{trades}"], "at a time"),
        (["{recording}"], "no position to replay"),
        (["{recording}", "--trades-db", "{trades}"], "--instruments"),
        (["{prices}", "--curve", "0"], "seconds above 0"),
        (["{prices}", "--curve", "x"], "seconds above 0"),
        (["{prices}", "--positions", "x"], "strategy ids"),
        (["{prices}", "--nonsense"], "--help"),
        (["{other}"], "another version"),
    ],
)
def test_wrong_input_is_named_with_its_remedy_and_ends_with_2(run, day, arguments, text):
    (day.folder / "other.feedrec").write_bytes(b"EXITREC9" + bytes(50))
    names = {
        "{prices}": day.prices,
        "{trades}": day.trades,
        "{master}": day.master,
        "{unknown}": day.written("unknown.toml", "[99]\nstop = 1\n"),
        "{wrong}": day.written("wrong.toml", "[all]\nstop = true\n"),
        "{other}": day.folder / "other.feedrec",
        "{folder}": day.folder,
        "{empty}": day.written("empty.csv", ""),
        "{foreign}": day.written("foreign.csv", "date,close\n2026-11-20,1\n"),
        "{bytes}": day.written("photo.jpg", b"\xff\xd8\xff\x00"),
        "{packed}": day.written("cut.csv.gz", gzip.compress(b"ts_ms,exchange_segment,security_id,ltp\n")[:15]),
        "{bare}": day.written("bare.csv", "ts_ms,exchange_segment,security_id,ltp\n"),
        "{recording}": write_part(
            day.folder / "r.feedrec", header(), [fact(S, LineState(1, is_up=True))], offset_ns=utc_ns("10:00:00") - S
        ),
    }
    code, out, err = run(*(names.get(each, each) for each in arguments))
    assert (code, out) == (2, "")
    assert text in err
    assert len(err.strip().splitlines()) == 2, "what is wrong, and what to do"


def test_a_master_that_is_not_beside_the_rows_is_asked_for(run, day):
    day.master.unlink()
    code, _, err = run(day.prices, "--trades-db", day.trades)
    assert code == 2
    assert "There is no nse_2026-11-20_instruments.csv beside" in err


def test_rows_of_another_day_than_the_master_are_named(run, day):
    write_master(day.master, [55_555])
    code, _, err = run(day.prices, "--trades-db", day.trades)
    assert code == 2
    assert "no open position" in err or "There is no position" in err or "has no price" in err


def test_a_fact_of_a_newer_build_is_no_guess(run, day):
    record = fact(S, LineState(1, is_up=True))._replace(body=b'{"@":"Unheard"}')
    path = write_part(day.folder / "a.feedrec", header(), [record], offset_ns=0)
    code, _, err = run(path)
    assert code == 2
    assert "this build does not know" in err


@pytest.mark.parametrize(
    ("pnls", "expected"),
    [([], ""), ([None], ""), ([5, 5], "▁▁"), ([0, 7, None, 14], "▁▄ █"), (list(range(100)), "▁▁▂▃▄▅▆█")],
)
def test_a_curve_is_drawn_from_its_lowest_to_its_highest(pnls, expected):
    width = len(expected) if len(pnls) > 40 else 40
    assert sparkline(Curve(points=[(at, pnl) for at, pnl in enumerate(pnls)]), width) == expected
