"""Prices as they stand in Redis: one hash, a field for each instrument, compact JSON with its time. Pure, in both directions.

For other programs to read: field `NSE_FNO:61234`, prices in paise, sizes in units, `received_ms` in UTC milliseconds. The name of
the hash and `v` in each value carry the version of this layout. Whoever reads judges the age; Redis only drops the whole hash
a minute after the last write.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeGuard

from core.model.market import Quote, QuoteSource
from core.model.session_time import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.model.instrument import InstrumentKey

VERSION: Final = 1
HASH: Final = f"dhan:prices:{VERSION}".encode()
LIFE_MS: Final = 60_000

NS_PER_MS: Final = 1_000_000
_SOURCES: Final = (QuoteSource.FEED.value, QuoteSource.REST.value)
"""A price that came from a cache is never written to one: its age would begin anew with each turn."""
_FUTURE_NS: Final = 2 * NS_PER_S
_MOST: Final = 1 << 53
"""Larger integers are not exact in every program that reads JSON, and no price or size is near it."""
_LONGEST: Final = 400
"""Bytes. Ours have at most about 250; json is not given what is much longer."""


@dataclass(slots=True)
class WarmCounts:
    """What became of the instruments asked for at the start. `foreign`: of another layout."""

    taken: int = 0
    missing: int = 0
    malformed: int = 0
    foreign: int = 0
    future: int = 0
    old: int = 0


def to_field(key: InstrumentKey) -> bytes:
    return f"{key.segment.value}:{key.security_id}".encode()


def to_value(quote: Quote, utc_offset_ns: int, writer: str) -> bytes:
    """`utc_offset_ns`: what turns the monotonic clock into UTC now. `writer` tells runs apart: no account, no host."""
    _, last, bid, ask, bid_size, ask_size, time, received_ns, source = quote
    return (
        f'{{"v":{VERSION},"last":{last},"bid":{"null" if bid is None else bid},"ask":{"null" if ask is None else ask}'
        f',"bid_size":{bid_size},"ask_size":{ask_size},"exchange_time":{"null" if time is None else time}'
        f',"received_ms":{(received_ns + utc_offset_ns) // NS_PER_MS},"source":"{source.value}","writer":"{writer}"}}'
    ).encode()


def from_value(
    key: InstrumentKey, raw: object, utc_offset_ns: int, now_ns: int, max_age_ns: int, counts: WarmCounts
) -> Quote | None:
    """The quote in a value somebody wrote, with source CACHE; None, counted, when it cannot be used. `now_ns` is monotonic."""
    if raw is None:
        counts.missing += 1
        return None
    found = _object_of(raw)
    if found is None:
        counts.malformed += 1
        return None
    if not _is_whole(found.get("v")) or found["v"] != VERSION:
        counts.foreign += 1
        return None
    quote = _quote_of(key, found, utc_offset_ns)
    if quote is None:
        counts.malformed += 1
        return None
    age_ns = now_ns - quote.received_ns
    if age_ns < -_FUTURE_NS:
        counts.future += 1
        return None
    if age_ns > max_age_ns:
        counts.old += 1
        return None
    counts.taken += 1
    # Two clocks that differ by less than two seconds: received now, at the latest.
    return quote if age_ns >= 0 else quote._replace(received_ns=now_ns)


def hset_pair(field: bytes, value: bytes) -> bytes:
    """One field and its value, in Redis's wire format."""
    return b"$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(field), field, len(value), value)


def hset(pairs: Sequence[bytes]) -> bytes:
    """One command that stores all the pairs, and one that lets the hash live on. Two replies: how many fields are new, and 1."""
    head = b"*%d\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n" % (2 + 2 * len(pairs), len(HASH), HASH)
    return b"".join((head, *pairs, _KEEP))


def hmget(fields: Sequence[bytes]) -> bytes:
    """One command, one reply: a list with a value or None for each field."""
    return _command(b"HMGET", HASH, *fields)


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


PING: Final = _command(b"PING")
_KEEP: Final = _command(b"PEXPIRE", HASH, b"%d" % LIFE_MS)


def _object_of(raw: object) -> dict[str, object] | None:
    if not isinstance(raw, bytes) or len(raw) > _LONGEST:
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _quote_of(key: InstrumentKey, found: dict[str, object], utc_offset_ns: int) -> Quote | None:
    last, received_ms = found.get("last"), found.get("received_ms")
    bid_size, ask_size = found.get("bid_size"), found.get("ask_size")
    # What may be null must be there all the same.
    bid, ask, time = found.get("bid", ""), found.get("ask", ""), found.get("exchange_time", "")
    if found.get("source") not in _SOURCES:
        return None
    if not (_is_price(last) and _is_whole(received_ms) and _is_whole(bid_size) and _is_whole(ask_size)):
        return None
    if not (_is_price_or_null(bid) and _is_price_or_null(ask) and _is_whole_or_null(time)):
        return None
    received_ns = received_ms * NS_PER_MS - utc_offset_ns
    return Quote(key, last, bid, ask, bid_size, ask_size, time, received_ns, QuoteSource.CACHE)


def _is_whole(value: object) -> TypeGuard[int]:
    """An integer from 0 on; True and False are none."""
    return type(value) is int and 0 <= value < _MOST


def _is_price(value: object) -> TypeGuard[int]:
    return _is_whole(value) and value != 0


def _is_price_or_null(value: object) -> TypeGuard[int | None]:
    return value is None or _is_price(value)


def _is_whole_or_null(value: object) -> TypeGuard[int | None]:
    return value is None or _is_whole(value)
