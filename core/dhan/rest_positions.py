"""The broker's positions over REST (dhan_v2_protocol 5.9)."""

from __future__ import annotations

from core.dhan.json_fields import Fields, fields_of, holding, loads, optional_paise, units
from core.model.errors import DecodeError
from core.model.position import BrokerPosition


def parse_positions(body: bytes) -> tuple[BrokerPosition, ...]:
    """GET /positions. Positions in products this program never trades are left out.

    Raises:
        DecodeError: one row cannot be read. The whole report fails then: never flat by mistake.
    """
    rows = loads(body)
    if not isinstance(rows, list):
        raise DecodeError(f"positions: expected an array, received {type(rows).__name__}")
    positions = (_position(fields_of(row, "positions"), f"positions row {at}") for at, row in enumerate(rows))
    return tuple(position for position in positions if position is not None)


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
