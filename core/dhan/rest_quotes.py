"""Price snapshots over REST (dhan_v2_protocol 5.11)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Final

from core.dhan.json_fields import Fields, count, fields_of, loads, optional_paise, optional_text, rows_of
from core.model.errors import BugError, DecodeError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.model.money import MAX_PRICE_PAISE
from core.model.session_time import IST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model.money import Paise

MAX_QUOTE_INSTRUMENTS: Final = 1000
_FIRST_REAL_YEAR: Final = 2000


def quotes_body(keys: Sequence[InstrumentKey]) -> bytes:
    """The body of POST /marketfeed/quote; security ids are integers here.

    Raises:
        BugError: more than 1,000 keys, or none.
    """
    if not 1 <= len(keys) <= MAX_QUOTE_INSTRUMENTS:
        raise BugError(f"expected 1 to {MAX_QUOTE_INSTRUMENTS} instruments, received {len(keys)}")
    wanted: dict[str, list[int]] = {}
    for key in keys:
        wanted.setdefault(key.segment.value, []).append(key.security_id)
    return json.dumps(wanted, separators=(",", ":")).encode()


def parse_quotes(body: bytes, received_ns: int) -> tuple[Quote, ...]:
    """The quotes of an answer of POST /marketfeed/quote, without a book also of /ltp and /ohlc.

    An instrument that is missing, unreadable or without a positive last price is left out: it has no price, and the
    caller sees that by its key. `received_ns` is monotonic.

    Raises:
        DecodeError: the answer as a whole has another shape.
    """
    answer = fields_of(loads(body), "quotes")
    data = fields_of(answer.get("data"), "quotes: data")
    quotes: list[Quote] = []
    for name, listed in data.items():
        segment = Segment.__members__.get(name)
        if segment is None or not isinstance(listed, dict):
            continue
        for security_id, row in listed.items():
            quote = _quote(segment, security_id, row, received_ns)
            if quote is not None:
                quotes.append(quote)
    return tuple(quotes)


def _quote(segment: Segment, security_id: str, row: object, received_ns: int) -> Quote | None:
    if not (security_id.isascii() and security_id.isdecimal()):
        return None
    try:
        fields = fields_of(row, "quotes")
        last = _price(fields, "last_price")
        bid, bid_size = _best(fields, "buy")
        ask, ask_size = _best(fields, "sell")
    except DecodeError:
        return None
    if last is None:
        return None
    time = _utc_seconds(optional_text(fields, "last_trade_time"))
    key = InstrumentKey(segment, int(security_id))
    return Quote(key, last, bid, ask, bid_size, ask_size, time, received_ns, QuoteSource.REST)


def _best(fields: Fields, side: str) -> tuple[Paise | None, int]:
    if fields.get("depth") is None:
        return None, 0
    levels = rows_of(fields_of(fields["depth"], "depth").get(side), "depth")
    if not levels:
        return None, 0
    best = fields_of(levels[0], "depth")
    price, size = _price(best, "price"), count(best, "quantity", "depth")
    return (price, size) if price is not None and size else (None, 0)


def _price(fields: Fields, name: str) -> Paise | None:
    price = optional_paise(fields, name, "quotes")
    return price if price is not None and price <= MAX_PRICE_PAISE else None


def _utc_seconds(ist: str) -> int | None:
    try:
        time = datetime.strptime(ist, "%d/%m/%Y %H:%M:%S").replace(tzinfo=IST)
    except ValueError:
        return None
    return int(time.timestamp()) if time.year >= _FIRST_REAL_YEAR else None
