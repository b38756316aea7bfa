"""When a person is told that the price feed is away although nothing is unprotected: REST carries on, slowly. Pure."""

from __future__ import annotations

from typing import Final

from core.model.commands import Alert, Severity
from core.model.session_time import NS_PER_S

AWAY_NS: Final = 5 * NS_PER_S
BACK_NS: Final = 10 * NS_PER_S
"""A feed that comes and goes is told as one episode."""


class FeedNews:
    """Ask `look` about once a second. `now` is monotonic nanoseconds."""

    def __init__(self) -> None:
        self._dead_since_ns: int | None = None
        self._whole_since_ns: int | None = None
        self._is_told = False

    def look(self, now: int, live: int, needed: int, reason: str, *, is_open: bool) -> Alert | None:
        """`live` of the `needed` connections deliver prices. `reason`: what ended the last one, "" when nothing did."""
        if not is_open or not needed:
            self._dead_since_ns = self._whole_since_ns = None
            return None
        if live < needed:
            self._whole_since_ns = None
            if self._dead_since_ns is None:
                self._dead_since_ns = now
            if self._is_told or now - self._dead_since_ns < AWAY_NS:
                return None
            self._is_told = True
            why = f" ({reason})" if reason else ""
            text = f"{live} of {needed} connections deliver{why}; REST prices drive what they leave out, one request a second"
            return Alert(Severity.WARNING, "the price feed is silent", text)
        self._dead_since_ns = None
        if self._whole_since_ns is None:
            self._whole_since_ns = now
        if not self._is_told or now - self._whole_since_ns < BACK_NS:
            return None
        self._is_told = False
        return Alert(Severity.INFO, "the price feed is back", f"{live} of {needed} connections deliver")
