"""The broker's positions over REST (dhan_v2_protocol 5.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from core.dhan.json_fields import Fields, array_elements, fields_of, holding, optional_paise, units
from core.model.position import BrokerPosition

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS_PER_STEP: Final = 50
"""About half a millisecond of work: what the event loop may be held up between two ticks."""


def parse_positions(body: bytes) -> tuple[BrokerPosition, ...]:
    """GET /positions. Positions in products this program never trades are left out.

    Raises:
        DecodeError: one row cannot be read. The whole report fails then: never flat by mistake.
    """
    found: list[BrokerPosition] = []
    for step in positions_in_steps(body):
        found.extend(step)
    return tuple(found)


def positions_in_steps(body: bytes) -> Iterator[list[BrokerPosition]]:
    """The same in portions of at most `ROWS_PER_STEP` rows. Only all of them together are a report."""
    step: list[BrokerPosition] = []
    for at, row in enumerate(array_elements(body), start=1):
        position = _position(fields_of(row, "positions"), f"positions row {at - 1}")
        if position is not None:
            step.append(position)
        if at % ROWS_PER_STEP == 0:
            yield step
            step = []
    yield step


def _position(row: Fields, what: str) -> BrokerPosition | None:
    held = holding(row, what)
    if held is None:
        return None
    return BrokerPosition(
        holding=held,
        net=units(row, "netQty", what),
        buy_average=optional_paise(row, "buyAvg", what) or 0,
        sell_average=optional_paise(row, "sellAvg", what) or 0,
    )
