"""When the markets are open: an own dated table, because no rule of weekdays and hours is right for every day.

Three answers: True, False, and None where the table does not know. None is never turned into open or closed here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Final, Protocol

from core.model.errors import ConfigurationError
from core.model.instrument import Segment
from core.model.session_time import ist_datetime

TABLE: Final = Path(__file__).with_name("nse_calendar.csv")

_OPEN: Final = time(9, 15)
_LATE_CLOSE_SINCE: Final = date(2026, 8, 3)
"""NSE/FAOP/74467: derivatives trade until 15:40, and the shares behind them close by auction from 15:15."""
CLOSE: Final = time(15, 40)
"""The end of a usual session of derivatives, as it is since then."""
SHARES_CLOSE: Final = time(15, 15)
"""From when on a share may be in its closing auction."""
_DERIVATIVES: Final = frozenset({Segment.NSE_FNO, Segment.BSE_FNO})
_CASH: Final = frozenset({Segment.NSE_EQ, Segment.BSE_EQ, Segment.IDX_I})
_SATURDAY: Final = 5
_WARN_DAYS: Final = 14

Window = tuple[time, time]


class SessionCalendar(Protocol):
    """`utc_ns`: UTC nanoseconds. Days are Indian days."""

    def session_open(self, utc_ns: int, segment: Segment = Segment.NSE_FNO) -> bool | None: ...

    def is_trading_day(self, day: date) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class AlwaysOpen:
    """MARKET_HOURS=always: for tests and simulation."""

    def session_open(self, utc_ns: int, segment: Segment = Segment.NSE_FNO) -> bool | None:  # noqa: ARG002
        return True

    def is_trading_day(self, day: date) -> bool | None:  # noqa: ARG002
        return True


@dataclass(frozen=True, slots=True)
class MarketCalendar:
    """`special`: the windows of days with their own hours. `unknown`: days whose hours nobody has confirmed.

    `source` is the file, for messages.
    """

    first: date
    last: date
    closed: frozenset[date]
    special: Mapping[date, tuple[Window, ...]]
    unknown: frozenset[date]
    source: Path = TABLE

    def gap(self, today: date) -> str:
        """What a person has to mend in the table, to be said at start; "" when today and the next two weeks are known."""
        mend = f"put the year's days into {self.source}, or name a file with them in MARKET_CALENDAR"
        if not self.first <= today <= self.last:
            covered = f"it covers {self.first} to {self.last}"
            return f"the market calendar does not know {today} ({covered}): no rule fires and no order is sent; {mend}"
        if today in self.unknown:
            return f"nobody has confirmed the trading hours of {today}: no rule fires and no order is sent; {mend}"
        if (self.last - today).days < _WARN_DAYS:
            return f"the market calendar ends on {self.last}; {mend}"
        coming = [day for day in sorted(self.unknown) if 0 < (day - today).days <= _WARN_DAYS]
        return f"nobody has confirmed the trading hours of {coming[0]}; {mend}" if coming else ""

    def is_trading_day(self, day: date) -> bool | None:
        """Whether derivatives trade on that day at all; None outside the table and on days of unknown hours."""
        windows = self._derivative_windows(day)
        return None if windows is None else bool(windows)

    def session_open(self, utc_ns: int, segment: Segment = Segment.NSE_FNO) -> bool | None:
        """Whether continuous trading is on at that instant: opening second included, closing second not.

        None for MCX and currency (the table has no hours for them), and for shares in the closing-auction minutes, which
        differ from share to share.
        """
        moment = ist_datetime(utc_ns)
        windows = self.windows(moment.date(), segment)
        if windows is None:
            return None
        now = moment.time()
        if segment in _CASH and _in_auction(moment.date(), now) and windows:
            return None
        return any(opening <= now < closing for opening, closing in windows)

    def windows(self, day: date, segment: Segment = Segment.NSE_FNO) -> tuple[Window, ...] | None:
        """The hours of a day (IST); () when it is closed, None when that is not known."""
        if segment not in _DERIVATIVES | _CASH:
            return None
        windows = self._derivative_windows(day)
        if segment in _CASH and windows and day not in self.special:
            return ((_OPEN, time(15, 30)),)
        return windows

    def _derivative_windows(self, day: date) -> tuple[Window, ...] | None:
        if day in self.unknown or not self.first <= day <= self.last:
            return None
        if day in self.special:
            return self.special[day]
        if day in self.closed or day.weekday() >= _SATURDAY:
            return ()
        return ((_OPEN, CLOSE if day >= _LATE_CLOSE_SINCE else time(15, 30)),)


def _in_auction(day: date, now: time) -> bool:
    return day >= _LATE_CLOSE_SINCE and SHARES_CLOSE <= now < time(15, 35)


def load_calendar(path: Path = TABLE) -> MarketCalendar:
    """Read the dated table. Raises ConfigurationError naming the line that makes no sense."""
    try:
        # Spreadsheets begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(
            f"{path} cannot be read ({reason}).", "Restore it, or correct MARKET_CALENDAR."
        ) from None
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return _calendar_of(csv.DictReader(lines), path)


def _calendar_of(rows: Iterable[Mapping[str, str]], path: Path) -> MarketCalendar:
    limits: dict[str, date] = {}
    days: dict[str, set[date]] = {"closed": set(), "unknown": set()}
    special: dict[date, tuple[Window, ...]] = {}
    for row in rows:
        try:
            day, kind = date.fromisoformat(row["date"]), row["kind"]
            if kind in {"first", "last"}:
                limits[kind] = day
            elif kind == "special":
                special[day] = _with_window(special.get(day, ()), row)
            else:
                days[kind].add(day)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{path}: {dict(row)} is no calendar row ({error}).", "Correct or remove the line."
            ) from None
    if limits.keys() != {"first", "last"} or limits["first"] > limits["last"]:
        raise ConfigurationError(f"{path} does not say which dates it covers.", "Add a first and a last row.")
    closed, unknown = days["closed"], days["unknown"]
    if twice := sorted(closed & unknown | closed & special.keys() | unknown & special.keys()):
        raise ConfigurationError(f"{path} lists {twice[0]} in two kinds.", "Keep the one that is right.")
    return MarketCalendar(limits["first"], limits["last"], frozenset(closed), special, frozenset(unknown), path)


def _with_window(windows: tuple[Window, ...], row: Mapping[str, str]) -> tuple[Window, ...]:
    window = _window(row)
    if any(opening < window[1] and window[0] < closing for opening, closing in windows):
        raise ValueError("it overlaps another window of the day")
    return (*windows, window)


def _window(row: Mapping[str, str]) -> Window:
    opening, closing = time.fromisoformat(row["open"]), time.fromisoformat(row["close"])
    if opening >= closing:
        raise ValueError("it closes before it opens")
    return opening, closing
