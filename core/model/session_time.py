"""Indian time: India keeps no daylight saving, so the offset is a constant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

IST: Final = timezone(timedelta(hours=5, minutes=30), "IST")
IST_OFFSET_S: Final = 19_800
NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000


def ist_datetime(utc_ns: int) -> datetime:
    return datetime.fromtimestamp(utc_ns / NS_PER_S, tz=UTC).astimezone(IST)
