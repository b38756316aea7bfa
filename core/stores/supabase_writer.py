"""Writes a finished exit into the tables: each trades row by an update that only one can win, the risk event once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.model.errors import TransportError
from core.stores.base import RowOutcome
from core.stores.row_closing import JUDGED_BY, OPEN, RISK_EVENT_KEY, closing_values, outcome_of, risk_event_values
from core.stores.rows import TRADES
from core.stores.supabase_errors import Meaning, RefusedRequest

if TYPE_CHECKING:
    from core.model.signals import ExitRecord, LegExecution
    from core.stores.supabase_rest import SupabaseRest

RISK_EVENTS: Final = "risk_events"


async def close_row(rest: SupabaseRest, key: str, record: ExitRecord, leg: LegExecution) -> RowOutcome:
    """Close the leg's row if it is open, else say what became of it. `key`: the column that names a row.

    Raises StoreError when the update is denied, TransportError when it is not known whether it took effect.
    """
    this = (key, "eq", str(leg.row_id))
    changed = await rest.update(TRADES, closing_values(record, leg), [this, ("order_status", "eq", OPEN)], key)
    if changed:
        if [str(row.get(key)) for row in changed] == [str(leg.row_id)]:
            return RowOutcome.CLOSED
        raise TransportError(
            f"Row {leg.row_id} of {TRADES}: expected to hear of this row and no other after its update, received an answer that "
            "names another; it is looked at again."
        )
    rows = await rest.select(TRADES, ",".join(JUDGED_BY), [this], limit=1)
    return outcome_of(rows[0] if rows else None, record, leg)


async def append_risk_event(rest: SupabaseRest, record: ExitRecord) -> None:
    """Append to risk_events, once per exit, in the columns that it has; nothing where there is no such table."""
    values, is_unique = risk_event_values(record), True
    # Without the key column nothing could be appended only once.
    while RISK_EVENT_KEY in values:
        try:
            if is_unique or not await _is_there(rest, record):
                await rest.insert_once(RISK_EVENTS, values, RISK_EVENT_KEY if is_unique else None)
            return
        except RefusedRequest as error:
            absent = error.refusal.column
            if error.meaning is Meaning.NO_TABLE:
                return
            if error.meaning is Meaning.NO_COLUMN and absent is not None and absent in values:
                del values[absent]
            elif error.meaning is Meaning.NO_CONSTRAINT and is_unique:
                is_unique = False
            else:
                raise


async def _is_there(rest: SupabaseRest, record: ExitRecord) -> bool:
    this = (RISK_EVENT_KEY, "eq", record.exit_id)
    return bool(await rest.select(RISK_EVENTS, RISK_EVENT_KEY, [this], limit=1))
