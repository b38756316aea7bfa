"""What a closed row says, and what a row says of who closed it: the same for every store. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.exit_records import compared, exit_time
from core.model.errors import StoreError
from core.model.money import rupees
from core.stores.base import RowOutcome
from core.stores.rows import TRADES

if TYPE_CHECKING:
    from core.model.signals import ExitRecord, LegExecution
    from core.stores.columns import Row

OPEN: Final = "open"
CLOSED: Final = "closed"
JUDGED_BY: Final = ("order_status", "exit_order_id", "exit_reason")
"""The columns of a row that `outcome_of` looks at."""

RISK_EVENT_KEY: Final = "execution_id"


def closing_values(record: ExitRecord, leg: LegExecution) -> dict[str, object]:
    """The columns of a trades row once its exit is finished: price in rupees as decimal text, time in ISO with the IST offset.

    Null where nothing was ordered, or where the price is not known.
    """
    return {
        "order_status": CLOSED,
        "exit_order_id": ",".join(leg.order_ids) or None,
        "exit_price": None if leg.average_price is None else str(rupees(leg.average_price)),
        "exit_time": exit_time(record),
        "exit_reason": record.reason,
    }


def risk_event_values(record: ExitRecord) -> dict[str, object]:
    """A row of risk_events, its key first. Amounts in rupees, day rules in days."""
    return {
        RISK_EVENT_KEY: record.exit_id,
        "strategy_id": record.strategy_id,
        "event_type": record.rule.value,
        "threshold_value": compared(record.rule, record.threshold),
        "current_value": compared(record.rule, record.observed),
        "action_taken": record.action.value,
        "exit_order_ids": ",".join(order_id for leg in record.legs for order_id in leg.order_ids),
        "triggered_at": exit_time(record),
        "notes": record.reason,
    }


def outcome_of(found: Row | None, record: ExitRecord, leg: LegExecution) -> RowOutcome:
    """What became of a row that our conditional update did not change. `found`: the row now, None when there is none.

    Raises StoreError when the row is still open: then the update was not lost to anybody, it was denied in silence.
    """
    if found is None:
        return RowOutcome.GONE
    if _said(found.get("order_status")) == OPEN:
        raise StoreError(
            f"Row {leg.row_id} of {TRADES} is open, and the update that closes it changed nothing. "
            "Allow this key to update it: in Supabase, GRANT UPDATE and a row-level security policy for UPDATE."
        )
    ours = closing_values(record, leg)
    is_ours = all(_said(found.get(column)) == _said(ours[column]) for column in JUDGED_BY)
    return RowOutcome.OURS if is_ours else RowOutcome.OTHERS


def _said(value: object) -> str:
    """Some tables keep order ids as numbers, or pad their texts."""
    return "" if value is None else str(value).strip()
