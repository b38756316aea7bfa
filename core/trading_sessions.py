"""The trading sessions ahead, as plain times, for whoever plans by them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from core.dhan.token_facts import TradingSession
from core.market_calendar import MarketCalendar
from core.model.session_time import IST, NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.market_calendar import SessionCalendar

_DAYS_AHEAD: Final = 10


def sessions_of(calendar: SessionCalendar) -> Callable[[int], tuple[TradingSession, ...]]:
    """UTC seconds → the derivative sessions of the next ten days that are not over, in order.

    Days of unknown hours are left out; () outside the table, and for a market that is always open.
    """

    def sessions(utc_s: int) -> tuple[TradingSession, ...]:
        if not isinstance(calendar, MarketCalendar):
            return ()
        today = ist_datetime(utc_s * NS_PER_S).date()
        found: list[TradingSession] = []
        for day in (today + timedelta(days=ahead) for ahead in range(_DAYS_AHEAD)):
            for window in calendar.windows(day) or ():
                start, end = (int(datetime.combine(day, at, IST).timestamp()) for at in window)
                if end > utc_s:
                    found.append(TradingSession(start, end))
        return tuple(found)

    return sessions
