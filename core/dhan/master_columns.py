"""The two layouts of Dhan's scrip master, and where their columns are in one file: found by header name (dhan_v2_protocol 7)."""

from __future__ import annotations

from typing import Final, NamedTuple

from core.model.errors import DecodeError

NONE_WORDS: Final = frozenset({"", "NA", "XX", "0001-01-01", "0001-01-01 00:00:00"})


class Columns(NamedTuple):
    """The header names of one kind of file; "" where that kind has no such column."""

    exchange: str
    segment: str
    security_id: str
    symbol: str
    instrument: str
    underlying: str
    lot: str
    tick: str
    expiry: str
    strike: str
    right: str
    series: str = ""
    upper_limit: str = ""
    lower_limit: str = ""
    freeze: str = ""


DETAILED: Final = Columns(
    "EXCH_ID",
    "SEGMENT",
    "SECURITY_ID",
    "SYMBOL_NAME",
    "INSTRUMENT",
    "UNDERLYING_SYMBOL",
    "LOT_SIZE",
    "TICK_SIZE",
    "SM_EXPIRY_DATE",
    "STRIKE_PRICE",
    "OPTION_TYPE",
    "SERIES",
    "SM_UPPER_LIMIT",
    "SM_LOWER_LIMIT",
    "SM_FREEZE_QTY",
)
COMPACT: Final = Columns(
    "SEM_EXM_EXCH_ID",
    "SEM_SEGMENT",
    "SEM_SMST_SECURITY_ID",
    "SEM_TRADING_SYMBOL",
    "SEM_INSTRUMENT_NAME",
    "",
    "SEM_LOT_UNITS",
    "SEM_TICK_SIZE",
    "SEM_EXPIRY_DATE",
    "SEM_STRIKE_PRICE",
    "SEM_OPTION_TYPE",
    "SEM_SERIES",
)


class Places(NamedTuple):
    """Where the columns are in a row; None for one that the file may lack and does."""

    exchange: int
    segment: int
    security_id: int
    symbol: int
    instrument: int
    underlying: int | None
    lot: int
    tick: int
    expiry: int
    strike: int
    right: int
    series: int | None
    upper_limit: int | None
    lower_limit: int | None
    freeze: int | None


_OPTIONAL: Final = frozenset({"", "SERIES", "SEM_SERIES", "SM_UPPER_LIMIT", "SM_LOWER_LIMIT", "SM_FREEZE_QTY"})
USUAL_STARTS: Final = tuple(f"{','.join(columns[:3])}," for columns in (DETAILED, COMPACT))
"""Every file so far begins its rows with exchange, segment and id: what is looked for is then found without taking rows apart."""


def places_of(header: list[str]) -> Places:
    """Raises DecodeError naming the columns that the header lacks."""
    found = {name.strip(): place for place, name in enumerate(header) if name.strip()}
    columns = DETAILED if DETAILED.security_id in found else COMPACT
    missing = [name for name in columns if name not in found and name not in _OPTIONAL]
    if missing:
        raise DecodeError(f"instrument master: expected the columns {', '.join(missing)}, the header lacks them")
    return Places(
        exchange=found[columns.exchange],
        segment=found[columns.segment],
        security_id=found[columns.security_id],
        symbol=found[columns.symbol],
        instrument=found[columns.instrument],
        underlying=found.get(columns.underlying),
        lot=found[columns.lot],
        tick=found[columns.tick],
        expiry=found[columns.expiry],
        strike=found[columns.strike],
        right=found[columns.right],
        series=found.get(columns.series),
        upper_limit=found.get(columns.upper_limit),
        lower_limit=found.get(columns.lower_limit),
        freeze=found.get(columns.freeze),
    )
