"""What a change message means: payload shapes recorded from the real server's SQL, and everything that may be missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.realtime_changes import ANYTHING, BeatEcho, LeaseKey, read_change
from core.stores.change_sink import RowChange
from core.stores.supabase_access import TableNames

NAMES = TableNames()
RENAMED = TableNames(schema="desk", trades="t1", strategies="s1", risks="r1", levels="l1")


def payload(table="trades", schema="public", **data):
    return {"ids": [1], "data": {"schema": schema, "table": table, "type": "UPDATE", "errors": None, **data}}


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        (payload(record={"new_id": 7, "strategy_id": 3}), RowChange("trades", 7, 3)),
        # Text and float ids: PostgREST and JavaScript writers produce them.
        (payload(record={"new_id": "7", "strategy_id": 3.0}), RowChange("trades", 7, 3)),
        # A table without new_id is keyed by id; with both, id is just another column.
        (payload(record={"id": 8, "strategy_id": 3}), RowChange("trades", 8, 3)),
        (payload(record={"new_id": 7, "id": 99, "strategy_id": 3}), RowChange("trades", 7, 3)),
        # DELETE: no record, the key only.
        (payload(old_record={"new_id": 7}), RowChange("trades", 7, None)),
        # REPLICA IDENTITY FULL.
        (payload(record=None, old_record={"new_id": 7, "strategy_id": 3}), RowChange("trades", 7, 3)),
        # TOAST or 413: columns are absent, the key is in the old record.
        (payload(record={"price": 1.5}, old_record={"new_id": 7}), RowChange("trades", 7, None)),
        (
            payload(record={"new_id": 7}, old_record={}, errors=["Error 413: Payload Too Large"]),
            RowChange("trades", 7, None),
        ),
        (payload(record={}, old_record={}), RowChange("trades", None, None)),
        # The row belongs to nothing now: neither the old strategy nor the row may be named, or it would look as if it were gone.
        (
            payload(record={"new_id": 7, "strategy_id": None}, old_record={"new_id": 7, "strategy_id": 3}),
            RowChange("trades", None, None),
        ),
        (payload(record={"new_id": 7, "strategy_id": "x"}, old_record={"new_id": 7}), RowChange("trades", None, None)),
        (payload(record={"new_id": "6f1c-uuid", "strategy_id": True}), RowChange("trades", None, None)),
        (payload(record={"new_id": 2**70, "strategy_id": 1.5}), RowChange("trades", None, None)),
        (payload("strategies", record={"id": 3}), RowChange("strategies", 3, 3)),
        (payload("strategies", old_record={"id": 3}), RowChange("strategies", 3, 3)),
        (
            payload("strategy_risk_management", record={"id": 5, "strategy_id": 3}),
            RowChange("strategy_risk_management", 5, 3),
        ),
        (
            payload("strategy_risk_management", old_record={"strategy_id": 3}),
            RowChange("strategy_risk_management", None, 3),
        ),
        (payload("strategy_exit_levels", old_record={"id": 5}), RowChange("strategy_exit_levels", 5, None)),
        (payload("somebody_elses", record={"id": 1}), None),
        (payload(schema="archive", record={"new_id": 1}), None),
        # No table: anything may have changed.
        ({}, ANYTHING),
        (None, ANYTHING),
        ("text", ANYTHING),
        ({"data": None}, ANYTHING),
        ({"data": {"schema": "public"}}, ANYTHING),
        ({"data": {"table": "trades"}}, ANYTHING),
        (payload(record=[1], old_record="x"), RowChange("trades", None, None)),
    ],
)
def test_a_message_names_where_to_look(message, meaning):
    assert read_change(message, NAMES) == meaning


@pytest.mark.parametrize(
    ("table", "ours"),
    [("t1", "trades"), ("s1", "strategies"), ("r1", "strategy_risk_management"), ("l1", "strategy_exit_levels")],
)
def test_tables_of_other_names_are_mapped_back(table, ours):
    found = read_change(payload(table, "desk", record={"id": 4, "strategy_id": 4}), RENAMED)
    assert found == RowChange(ours, 4, 4)
    assert read_change(payload(table, record={"id": 4}), RENAMED) is None


def test_the_lease_row_is_an_echo():
    row = {"name": "exit-monitor", "holder": "me", "beat": 12, "epoch": 1}
    assert read_change(payload("monitor_lease", record=row), NAMES) == BeatEcho(LeaseKey("exit-monitor", "me"), 12)


@pytest.mark.parametrize(
    "row", [{}, {"name": "a", "holder": "b"}, {"name": "a", "holder": 5, "beat": 1}, {"holder": "b", "beat": 1}]
)
def test_an_unreadable_lease_row_is_nothing(row):
    assert read_change(payload("monitor_lease", record=row), NAMES) is None


def test_the_old_lease_row_is_no_echo():
    old = {"name": "exit-monitor", "holder": "me", "beat": 12}
    assert read_change(payload("monitor_lease", old_record=old), NAMES) is None


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["new_id", "id", "strategy_id", "name", "holder", "beat"]), inner, max_size=4)
    ),
    max_leaves=8,
)
_table = st.sampled_from(["trades", "strategies", "strategy_risk_management", "strategy_exit_levels", "monitor_lease"])


@given(table=_table | _json, schema=st.just("public") | _json, record=_json, old=_json)
def test_no_message_is_an_error(table, schema, record, old):
    found = read_change({"data": {"schema": schema, "table": table, "record": record, "old_record": old}}, NAMES)
    assert found is None or isinstance(found, RowChange | BeatEcho)


@given(message=_json)
def test_no_garbage_is_an_error(message):
    assert read_change(message, NAMES) in (None, ANYTHING)
