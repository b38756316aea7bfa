"""What is written into a closed row, and what a row that was closed before says of who did it."""

from dataclasses import replace

import pytest

from core.model.errors import StoreError
from core.model.exit_levels import Action, Rule
from core.model.orders import Side
from core.model.signals import ExitRecord, Latency, LegExecution, Mode
from core.stores.base import RowOutcome
from core.stores.row_closing import closing_values, outcome_of, risk_event_values

LEG = LegExecution(7, 49081, "NIFTY 24000 CE", Side.BUY, 65, 65, 12_305, ("A1", "A2"))
RECORD = ExitRecord(
    "X-42-1", 42, "NIFTY", "Condor", Action.CLOSE_POSITION, "stop loss at -3000", Rule.STOP_LOSS, -300_000, -310_050,
    (LEG, replace(LEG, row_id=8, order_ids=("B1",))), -310_050, Latency(), Mode.LIVE, 1_795_158_000_123_000_000,
)  # fmt: skip
CLOSED_BY_US = {"order_status": "closed", "exit_order_id": "A1,A2", "exit_reason": "stop loss at -3000"}


def test_a_closed_row_says_order_ids_price_time_and_reason():
    assert closing_values(RECORD, LEG) == {
        "order_status": "closed",
        "exit_order_id": "A1,A2",
        "exit_price": "123.05",
        "exit_time": "2026-11-20T12:30:00.123+05:30",
        "exit_reason": "stop loss at -3000",
    }


def test_what_is_not_known_is_null():
    values = closing_values(RECORD, replace(LEG, order_ids=(), average_price=None))
    assert values["exit_order_id"] is None
    assert values["exit_price"] is None


def test_a_risk_event():
    assert risk_event_values(RECORD) == {
        "execution_id": "X-42-1",
        "strategy_id": 42,
        "event_type": "stop_loss",
        "threshold_value": -3000.0,
        "current_value": -3100.5,
        "action_taken": "CLOSE_POSITION",
        "exit_order_ids": "A1,A2,B1",
        "triggered_at": "2026-11-20T12:30:00.123+05:30",
        "notes": "stop loss at -3000",
    }


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({}, RowOutcome.OURS),
        ({"exit_order_id": " A1,A2 ", "order_status": "closed  "}, RowOutcome.OURS),
        ({"exit_order_id": "A1"}, RowOutcome.OTHERS),
        ({"exit_order_id": None}, RowOutcome.OTHERS),
        ({"exit_reason": "by hand"}, RowOutcome.OTHERS),
        ({"order_status": "cancelled"}, RowOutcome.OTHERS),
        ({"order_status": None}, RowOutcome.OTHERS),
    ],
)
def test_who_closed_a_row(changed, outcome):
    assert outcome_of(CLOSED_BY_US | changed, RECORD, LEG) is outcome


def test_a_row_closed_without_orders_is_ours_by_its_reason():
    leg = replace(LEG, order_ids=())
    assert outcome_of(CLOSED_BY_US | {"exit_order_id": None}, RECORD, leg) is RowOutcome.OURS


def test_an_order_id_kept_as_a_number_is_the_same():
    leg = replace(LEG, order_ids=("112",))
    assert outcome_of(CLOSED_BY_US | {"exit_order_id": 112}, RECORD, leg) is RowOutcome.OURS


def test_a_row_that_is_no_more():
    assert outcome_of(None, RECORD, LEG) is RowOutcome.GONE


def test_a_row_that_is_still_open_was_denied_in_silence():
    with pytest.raises(StoreError, match=r"Row 7 of trades is open.*Allow this key"):
        outcome_of(CLOSED_BY_US | {"order_status": "open"}, RECORD, LEG)
