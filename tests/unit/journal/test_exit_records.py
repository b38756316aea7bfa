"""exit_executions.json: one line per exit, whole, once, in rupees and Indian time."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.exit_records import ExitRecords, compared, line_of, read_lines
from core.model.errors import TransportError
from core.model.exit_levels import Action, Rule
from core.model.orders import Side
from core.model.signals import ExitRecord, Latency, LegExecution, Mode
from core.record_troubles import RecordTroubles
from tests.unit.journal.records import exit_records

KEYS = [
    "timestamp", "strategy_id", "symbol", "strategy_name", "action", "reason", "rule", "threshold", "observed", "legs",
    "realised_pnl", "latency_ms", "mode",
]  # fmt: skip


def record(exit_id="e1", rule=Rule.STOP_LOSS, threshold=-3_000_00, observed=-3_052_50):
    leg = LegExecution(7, 49081, "NIFTY-CE", Side.BUY, 65, 65, 163_05, ("112", "113"))
    return ExitRecord(
        exit_id, 42, "NIFTY", "Iron Condor", Action.CLOSE_IMMEDIATELY, "stop ₹-3,000.00", rule, threshold, observed,
        (leg,), -3_052_50, Latency(0.05, 0.31, 0.4, 12.5), Mode.LIVE, 1_795_158_000_123_000_000,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "exit_executions.json"


async def appended(path, *records):
    writer = ExitRecords(path)
    try:
        for each in records:
            await writer.append(each)
    finally:
        await writer.close()


async def test_a_line_has_the_keys_of_the_contract_in_rupees_and_indian_time(path):
    await appended(path, record())
    (line,) = path.read_text(encoding="utf-8").splitlines()
    fields = json.loads(line)
    assert list(fields) == [*KEYS, "exit_id"]
    assert fields["timestamp"] == "2026-11-20T12:30:00.123+05:30"
    assert (fields["action"], fields["rule"], fields["mode"]) == ("CLOSE_IMMEDIATELY", "stop_loss", "LIVE")
    assert (fields["threshold"], fields["observed"], fields["realised_pnl"]) == (-3000.0, -3052.5, -3052.5)
    assert fields["legs"] == [
        {
            "security_id": 49081,
            "side": "BUY",
            "ordered": 65,
            "filled": 65,
            "average_price": 163.05,
            "order_ids": ["112", "113"],
        }
    ]
    assert fields["latency_ms"] == {
        "tick_to_decision": 0.05,
        "decision_to_durable": 0.31,
        "durable_to_sent": 0.4,
        "sent_to_filled": 12.5,
    }


def test_day_rules_show_days_and_unknown_stays_null():
    fields = line_of(record(rule=Rule.DTE_EXIT, threshold=7, observed=6))
    assert (fields["threshold"], fields["observed"]) == (7, 6)
    assert line_of(record(rule=Rule.SQUARE_OFF, threshold=None, observed=None))["threshold"] is None


@pytest.mark.parametrize("rule", list(Rule))
def test_thresholds_read_in_the_unit_of_their_rule(rule):
    days = {Rule.DTE_EXIT, Rule.LONGEST_HOLDING}
    none = {Rule.SQUARE_OFF, Rule.OWN_RULE, Rule.OPERATOR, Rule.CLOSED_OUTSIDE}
    expected = 4_250 if rule in days else None if rule in none else 0.425 if rule is Rule.GREEKS else 42.5
    assert compared(rule, 4_250) == expected
    assert compared(rule, None) is None


async def test_an_exit_is_written_once_also_after_a_restart(path):
    await appended(path, record(), record(), record("e2"))
    await appended(path, record(), record("e3"))
    assert [line["exit_id"] for line in read_lines(path)] == ["e1", "e2", "e3"]


async def test_a_torn_last_line_stays_alone(path):
    await appended(path, record())
    torn = path.read_bytes()[:-40]
    path.write_bytes(torn)
    await appended(path, record("e2"))
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == torn
    assert [line["exit_id"] for line in read_lines(path)] == ["e2"]


@given(record=exit_records, cut=st.integers(0, 200))
def test_any_tear_leaves_the_next_line_whole(record, cut, tmp_path_factory):
    import asyncio  # noqa: PLC0415

    path = tmp_path_factory.mktemp("records") / "x.json"
    asyncio.run(appended(path, record))
    path.write_bytes(path.read_bytes()[: -cut or None])
    asyncio.run(appended(path, globals()["record"]("unlikely-id")))
    assert read_lines(path)[-1]["exit_id"] == "unlikely-id"


async def test_a_disk_that_refuses_is_reported_and_may_be_tried_again(path):
    path.mkdir(parents=True)
    writer = ExitRecords(path)
    with pytest.raises(TransportError, match="could not be written"):
        await writer.append(record())
    path.rmdir()
    await writer.append(record())
    await writer.close()
    assert len(read_lines(path)) == 1


def test_no_file_holds_no_lines(path):
    assert read_lines(path) == []


def test_lines_that_are_no_objects_are_left_out(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('1\n[]\n{"exit_id": "e"}\n{"half\n')
    troubles = RecordTroubles()
    assert read_lines(path, troubles) == [{"exit_id": "e"}]
    assert troubles.texts() == (
        f"{path}: 3 damaged lines are left out (line 1, 2, 4); look at it there, the other lines are used",
    )


async def test_damaged_lines_are_named_in_the_log_once(path, caplog):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"exit_id": "e"}\n\xff\xfe\n')
    await appended(path, record(), record("e2"))
    assert [each.message for each in caplog.records] == [
        f"{path}: 1 damaged line is left out (line 2); look at it there, the other lines are used"
    ]
    assert [line["exit_id"] for line in read_lines(path)] == ["e", "e1", "e2"]


async def test_a_name_may_hold_any_separator_of_lines(path):
    await appended(path, replace(record(), strategy_name="one\u2028two\x85three"))
    [line] = read_lines(path)
    assert line["strategy_name"] == "one\u2028two\x85three"


async def test_a_latency_that_is_no_number_is_refused(path):
    bad = record()
    bad = type(bad)(*(getattr(bad, name) if name != "latency" else Latency(math.nan) for name in bad.__slots__))
    with pytest.raises(ValueError, match="JSON"):
        await appended(path, bad)
    assert not path.exists()
