"""What is said when positions and orders cannot be read: not every half second, and aloud when it lasts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.model.commands import Alert, Severity
from core.model.session_time import NS_PER_S

LONG_NS: Final = 30 * NS_PER_S
LOG_AGAIN_NS: Final = 30 * NS_PER_S
_WHAT: Final = {"ReadPositions": "positions", "ReadOrderBook": "the order book", "ReadTradeBook": "the trade book"}


@dataclass(slots=True)
class _Episode:
    since_ns: int
    logged_ns: int | None = None
    is_told: bool = False


class BrokerTrouble:
    """One episode per kind of question. `now` is monotonic nanoseconds."""

    def __init__(self) -> None:
        self._episodes: dict[str, _Episode] = {}

    def failed(self, question: str, text: str, now: int, *, is_open: bool) -> tuple[bool, Alert | None]:
        """Whether this failure is worth a line in the log, and a page when nothing was answered for half a minute."""
        episode = self._episodes.setdefault(question, _Episode(now))
        is_logged = episode.logged_ns is None or now - episode.logged_ns >= LOG_AGAIN_NS
        if is_logged:
            episode.logged_ns = now
        what = _WHAT.get(question)
        if what is None or episode.is_told or not is_open or now - episode.since_ns < LONG_NS:
            return is_logged, None
        episode.is_told = True
        why = f"for {(now - episode.since_ns) / NS_PER_S:.0f} s: {text}. An exit that falls due now may wait for it; look at Dhan"
        return is_logged, Alert(Severity.PAGE, f"{what} cannot be read", why)

    def answered(self, question: str, now: int) -> Alert | None:
        episode = self._episodes.pop(question, None)
        if episode is None or not episode.is_told:
            return None
        away_s = (now - episode.since_ns) / NS_PER_S
        return Alert(Severity.INFO, f"{_WHAT[question]} can be read again", f"after {away_s:.0f} s")
