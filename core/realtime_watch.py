"""The life of one realtime session, and whether its changes can be believed. Pure: every `now` is monotonic nanoseconds.

Rules
1. LIVE only after the change subscription itself was confirmed (`system ok`): a joined channel delivers nothing yet.
2. LIVE is being proved: each beat of the lease that was written after the confirmation must come back in `echo_s`, else DEAD.
   A beat that is missing when a later one is back was lost in a gap: Confirmed once more, so that all is read again.
3. UNPROVEN delivers too, but nothing shows that it goes on: no canary, or no beat could be written for `unheard_s`.
   An echo of ours makes it LIVE again: it proves what a confirmation only promises.
4. A pair that is not in the table is a session that is not understood: DEAD. A dead session is thrown away, never mended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from core.model.session_time import NS_PER_S
from core.realtime_changes import BeatEcho, LeaseKey

NO_CANARY: Final = "no canary: changes arrive at once, but nothing proves it"


class SessionState(StrEnum):
    CONNECTING = "connecting"
    JOINING = "joining"
    JOINED = "joined"
    LIVE = "live"
    UNPROVEN = "unproven"
    DEAD = "dead"


class Trigger(StrEnum):
    OPENED = "the socket opened"
    SUBSCRIBED = "the channel was joined"
    CONFIRMED = "the change subscription was confirmed"
    ECHOED = "our beat came back"
    PROOF_LOST = "the proof is missing"
    ENDED = "the session ended"


_S, _T = SessionState, Trigger

TRANSITIONS: Final[Mapping[tuple[SessionState, Trigger], SessionState]] = {
    (_S.CONNECTING, _T.OPENED): _S.JOINING,
    (_S.JOINING, _T.SUBSCRIBED): _S.JOINED,
    (_S.JOINED, _T.CONFIRMED): _S.LIVE,
    # Changes begin before the server says so; what was written just before is lost (fault 7).
    (_S.JOINED, _T.ECHOED): _S.JOINED,
    # The server's change worker was restarted: a gap, and delivery from here on.
    (_S.LIVE, _T.CONFIRMED): _S.LIVE,
    (_S.UNPROVEN, _T.CONFIRMED): _S.LIVE,
    (_S.LIVE, _T.ECHOED): _S.LIVE,
    (_S.UNPROVEN, _T.ECHOED): _S.LIVE,
    (_S.LIVE, _T.PROOF_LOST): _S.UNPROVEN,
    **{(state, _T.ENDED): _S.DEAD for state in _S},
    # Facts that were on their way when the session was given up.
    **{(_S.DEAD, trigger): _S.DEAD for trigger in _T},
}

DELIVERING: Final = frozenset({SessionState.LIVE, SessionState.UNPROVEN})


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """Seconds. `settle_s`: from the join to the confirmation, 1 to 3 on a hosted project. `echo_s`: from a beat's answer."""

    connect_s: float = 5.0
    join_s: float = 5.0
    settle_s: float = 8.0
    echo_s: float = 2.0
    unheard_s: float = 6.0


@dataclass(frozen=True, slots=True)
class Beat:
    """A beat that the database has answered: the row was written between the two times (monotonic nanoseconds)."""

    number: int
    sent_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Delivery is confirmed and being proved from now on; before, something may have been lost."""


@dataclass(frozen=True, slots=True)
class Doubted:
    reason: str


News = Confirmed | Doubted
"""What the store must hear. Each one makes it read everything again."""


class SessionWatch:
    """`canary` is the lease whose echoes prove the session, None for none. Methods return the news that the fact makes."""

    def __init__(self, now: int, limits: WatchLimits, canary: LeaseKey | None) -> None:
        self.state = SessionState.CONNECTING
        self.reason = ""
        """Why it is DEAD."""
        self.confirmed_ns: int | None = None
        """The latest confirmation."""
        self._limits = limits
        self._canary = canary
        self._since_ns = now
        self._heard_ns = now
        self._echoed_beat = -1
        self._awaited: deque[tuple[int, int]] = deque()

    @property
    def is_dead(self) -> bool:
        return self.state is SessionState.DEAD

    def opened(self, now: int) -> News | None:
        return self._fire(Trigger.OPENED, now)

    def subscribed(self, now: int) -> News | None:
        return self._fire(Trigger.SUBSCRIBED, now)

    def confirmed(self, now: int) -> News | None:
        """`system ok` of postgres_changes. Beats that were under way may have fallen into the gap before it."""
        news = self._fire(Trigger.CONFIRMED, now)
        if self.is_dead:
            return news
        if self.confirmed_ns is None:
            self._heard_ns = now
        self.confirmed_ns = now
        self._awaited.clear()
        return Confirmed() if self._canary is not None else self._lose_proof(NO_CANARY, now)

    def beat_answered(self, beat: Beat) -> None:
        """From now on the echo is due, if this session must have seen the beat written and has not heard of it yet."""
        is_expected = (
            self._canary is not None
            and self.state in DELIVERING
            and self.confirmed_ns is not None
            and beat.sent_ns >= self.confirmed_ns
            # The change stream may be faster than the answer.
            and beat.number > self._echoed_beat
        )
        if is_expected:
            self._awaited.append((beat.number, beat.answered_ns + _ns(self._limits.echo_s)))

    def echoed(self, echo: BeatEcho, now: int) -> News | None:
        if echo.lease != self._canary or echo.beat <= self._echoed_beat:
            return None
        self._echoed_beat = echo.beat
        self._heard_ns = now
        has_gap = False
        while self._awaited and self._awaited[0][0] <= echo.beat:
            # Changes come in the order of their commits: an older beat that is still awaited was lost, and what else?
            has_gap |= self._awaited.popleft()[0] < echo.beat
        if self._awaited:
            # An old beat came late: the newer one must still show that delivery goes on.
            return None
        has_gap |= self.state is SessionState.UNPROVEN
        news = self._fire(Trigger.ECHOED, now)
        return Confirmed() if has_gap else news

    def change_canary(self, canary: LeaseKey | None, now: int) -> News | None:
        """The channel already listens to the lease; only whose beats are awaited changes, or that any are."""
        self._canary = canary
        self._echoed_beat = -1
        self._awaited.clear()
        if canary is None and self.state is SessionState.LIVE:
            return self._lose_proof(NO_CANARY, now)
        return None

    def ended(self, reason: str, now: int) -> News | None:
        return self._die(reason, now)

    def deadline_ns(self) -> int | None:
        """When `check` must be called at the latest; None while nothing is due."""
        due = self._due()
        return None if due is None else due[0]

    def check(self, now: int) -> News | None:
        due = self._due()
        if due is None or now < due[0]:
            return None
        _, reason, is_deadly = due
        return self._die(reason, now) if is_deadly else self._lose_proof(reason, now)

    def _due(self) -> tuple[int, str, bool] | None:
        """When, why, and whether it is the end."""
        limits, since = self._limits, self._since_ns
        if self.state is SessionState.CONNECTING:
            return since + _ns(limits.connect_s), f"no connection within {limits.connect_s:g} s", True
        if self.state is SessionState.JOINING:
            return since + _ns(limits.join_s), f"the channel was not joined within {limits.join_s:g} s", True
        if self.state is SessionState.JOINED:
            reason = f"the change subscription was not confirmed within {limits.settle_s:g} s"
            return since + _ns(limits.settle_s), reason, True
        if self.state in DELIVERING and self._awaited:
            return self._awaited[0][1], f"a written beat did not come back within {limits.echo_s:g} s", True
        if self.state is SessionState.LIVE:
            reason = f"no beat was written and seen for {limits.unheard_s:g} s"
            return self._heard_ns + _ns(limits.unheard_s), reason, False
        return None

    def _lose_proof(self, reason: str, now: int) -> News:
        self._fire(Trigger.PROOF_LOST, now)
        return Doubted(reason)

    def _die(self, reason: str, now: int) -> News | None:
        if self.is_dead:
            return None
        self._fire(Trigger.ENDED, now)
        self.reason = reason
        self._awaited.clear()
        return Doubted(reason)

    def _fire(self, trigger: Trigger, now: int) -> News | None:
        state = TRANSITIONS.get((self.state, trigger))
        if state is None:
            return self._die(f"{trigger} while {self.state}", now)
        if state is not self.state:
            self.state = state
            self._since_ns = now
        return None


def _ns(seconds: float) -> int:
    return int(seconds * NS_PER_S)
