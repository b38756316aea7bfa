"""Price snapshots over REST (dhan_v2_protocol 5.11)."""

from __future__ import annotations

import json
import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final, NoReturn

from core.dhan.json_fields import Fields, count, fields_of, optional_paise, optional_text, rows_of
from core.model.errors import BugError, DecodeError
from core.model.instrument import InstrumentKey, Segment
from core.model.market import Quote, QuoteSource
from core.model.money import MAX_PRICE_PAISE
from core.model.session_time import IST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.model.money import Paise

MAX_QUOTE_INSTRUMENTS: Final = 1000
ROWS_PER_STEP: Final = 20
"""About half a millisecond of work: what the event loop may be held up between two ticks."""
_FIRST_REAL_YEAR: Final = 2000
_SHOWN_BODY: Final = 12
_BLANKS: Final = re.compile(r"[ \t\n\r]*")


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
    found: list[Quote] = []
    for step in quotes_in_steps(body, received_ns):
        found.extend(step)
    return tuple(found)


def quotes_in_steps(body: bytes, received_ns: int) -> Iterator[list[Quote]]:
    """The same, parsed in portions of `ROWS_PER_STEP` instruments. Only all of them together are an answer.

    Raises DecodeError also where the answer reports a failure: its error is for `errors.error_of_read` to name.
    """
    try:
        yield from _steps(_Text(body.decode()), received_ns)
    except (ValueError, RecursionError, InvalidOperation):
        raise DecodeError(f"expected quotes, received {len(body)} bytes starting {body[:_SHOWN_BODY]!r}") from None


def _steps(text: _Text, received_ns: int) -> Iterator[list[Quote]]:
    step: list[Quote] = []
    rows, has_data = 0, False
    for name in text.members():
        if name == "status":
            _refuse_failure(text.value())
        elif name != "data":
            text.value()
        else:
            has_data = True
            for segment_name in text.members():
                segment = Segment.__members__.get(segment_name)
                if segment is None or not text.is_object():
                    text.value()
                    continue
                for security_id in text.members():
                    rows += 1
                    quote = _quote(segment, security_id, text.value(), received_ns)
                    if quote is not None:
                        step.append(quote)
                    if rows % ROWS_PER_STEP == 0:
                        yield step
                        step = []
    text.end()
    if not has_data:
        raise ValueError("data")
    yield step


def _refuse_failure(status: object) -> None:
    if status is not None and not (isinstance(status, str) and status.upper() == "SUCCESS"):
        raise ValueError(status)


class _Text:
    """A place in a JSON text. `members` stops behind each name: take its value before going on. Raises ValueError."""

    def __init__(self, content: str) -> None:
        self._content = content
        self._at = 0
        self._skip_blanks()

    def members(self) -> Iterator[str]:
        self._take("{")
        if self._has("}"):
            return
        while True:
            name = self.value()
            if not isinstance(name, str):
                raise ValueError(name)  # noqa: TRY004  every flaw of the text is one error to the caller
            self._take(":")
            yield name
            if self._has("}"):
                return
            self._take(",")

    def value(self) -> object:
        value: object
        value, self._at = _DECODER.raw_decode(self._content, self._at)
        self._skip_blanks()
        return value

    def is_object(self) -> bool:
        return self._content[self._at : self._at + 1] == "{"

    def end(self) -> None:
        if self._at < len(self._content):
            raise ValueError(self._at)

    def _has(self, sign: str) -> bool:
        is_there = self._content[self._at : self._at + 1] == sign
        if is_there:
            self._at += 1
            self._skip_blanks()
        return is_there

    def _take(self, sign: str) -> None:
        if not self._has(sign):
            raise ValueError(sign)

    def _skip_blanks(self) -> None:
        self._at = _BLANKS.match(self._content, self._at).end()  # type: ignore[union-attr]  # the pattern matches anywhere


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)


_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)


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
