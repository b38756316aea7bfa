"""How long an option still lives. The close of its last day is the caller's: the exchange has moved it before."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from core.model.session_time import IST
from core.pricing.black import DAYS_PER_YEAR

NS_PER_YEAR: Final = DAYS_PER_YEAR * 86_400 * 1_000_000_000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def expiry_moment_ns(expiry: date, closes_at: time) -> int:
    """UTC nanoseconds of `closes_at` (IST) on the expiry day."""
    return (datetime.combine(expiry, closes_at, tzinfo=IST) - _EPOCH) // _MICROSECOND * 1_000


def years_to_expiry(now_ns: int, expiry_ns: int) -> float:
    """Calendar time in years of 365 days, between UTC nanoseconds. 0 at expiry and after."""
    return max(expiry_ns - now_ns, 0) / NS_PER_YEAR
