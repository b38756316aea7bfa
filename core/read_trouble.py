"""Whom to tell when the trades cannot be read: the log of a blink, a person of what lasts."""

from __future__ import annotations

from typing import Final

from core.model.commands import Alert, Severity
from core.model.errors import TransportError
from core.model.session_time import NS_PER_S

LASTS_NS: Final = 15 * NS_PER_S
"""A lost packet is over by then; a store that is away for longer hides new positions."""


class ReadTrouble:
    """One warning when it begins, one page when it lasts or when waiting will not mend it, one line when it is over."""

    def __init__(self) -> None:
        self._since_ns: int | None = None
        self._told: Severity | None = None

    def failed(self, error: Exception, at_ns: int) -> Alert | None:
        """A read failed. None when what there is to say has been said."""
        if self._since_ns is None:
            self._since_ns = at_ns
        lasts = at_ns - self._since_ns >= LASTS_NS
        text = f"the positions stay as last read: {error}"
        is_grave = lasts or not isinstance(error, TransportError)
        return self._tell(Severity.PAGE if is_grave else Severity.WARNING, "trades not readable", text)

    def succeeded(self, stale: str, at_ns: int) -> Alert | None:
        """A read came to an end. `stale`: why its rows are of an earlier time, "" when they are of now."""
        if stale:
            if self._since_ns is None:
                self._since_ns = at_ns
            return self._tell(Severity.PAGE, "trades of an earlier time", f"guarding what was open then: {stale}")
        told, self._told, self._since_ns = self._told, None, None
        if told is None:
            return None
        return Alert(Severity.INFO, "trades readable again", "the positions are those of the rows now")

    def _tell(self, severity: Severity, subject: str, text: str) -> Alert | None:
        if self._told in {severity, Severity.PAGE}:
            return None
        self._told = severity
        return Alert(severity, subject, text)
