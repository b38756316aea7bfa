"""What time it is for the exchange: the wall clock, except that tests may put another in its place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from core.model.session_time import NS_PER_S, ist_datetime

if TYPE_CHECKING:
    from datetime import datetime


class WallClock:
    def utc_ns(self) -> int:
        return time.time_ns()

    def utc_s(self) -> int:
        return self.utc_ns() // NS_PER_S

    def ist_now(self) -> datetime:
        return ist_datetime(self.utc_ns())

    def ist_text(self) -> str:
        """As Dhan writes times: "2026-11-20 10:15:31", IST."""
        return f"{self.ist_now():%Y-%m-%d %H:%M:%S}"
