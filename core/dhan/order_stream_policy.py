"""The order-update connection as facts and dates: when it may be believed, how long to wait, whom to tell (dhan_v2_protocol 4).

Pure: the caller brings the monotonic time and the random fraction. Nothing acknowledges a login, and silence proves nothing,
so a connection counts only once it has outlived the reset that a bad token gets, or has brought a frame. It is never given up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from core.model.session_time import NS_PER_S

_TOO_MANY_REQUESTS: Final = 429
_REFUSALS: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class OrderStreamLimits:
    """Seconds, but for `refusals`.

    - A connection that ends within `settle_s` of the login without a frame was refused: the reset of a bad token comes after
      about 10 ms. `refusals` such ends in a row with one token have the token checked, again after `doubt_every_s` at most.
    - The back-off doubles from `first_delay_s` to `cap_s`, at least `refused_delay_s` after a refusal, and starts over
      after a report or a connection that stood for `stood_s` (a market without orders sends none). 429 waits `blocked_s`.
    - The books are read again `reconcile_s` after the last time while connected, every `away_reconcile_s` while not.
    - Away for `alarm_s` of market hours: a person is told.
    """

    settle_s: float = 2.0
    refusals: int = 2
    doubt_every_s: float = 60.0
    first_delay_s: float = 0.5
    cap_s: float = 30.0
    floor_s: float = 0.05
    refused_delay_s: float = 5.0
    blocked_s: float = 120.0
    stood_s: float = 30.0
    reconcile_s: float = 30.0
    away_reconcile_s: float = 5.0
    alarm_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Pause:
    """What follows the end of a connection. `doubts_token`: somebody should check the token that was used.

    `is_block`: a new token does not shorten it.
    """

    delay_ns: int
    reason: str
    was_refused: bool = False
    doubts_token: bool = False
    is_block: bool = False


class Presence(Enum):
    """What a person is told."""

    AWAY = auto()
    BACK = auto()


class OrderStreamPolicy:
    """Tell it every connect, frame and end, and once a second the time. Times are monotonic ns."""

    def __init__(self, fraction: Callable[[], float], limits: OrderStreamLimits | None = None) -> None:
        self._fraction = fraction
        self._limits = limits or OrderStreamLimits()
        self._attempts = 0
        self._refusals = 0
        self._doubted_ns: int | None = None
        self._login_ns: int | None = None
        self._had_frame = False
        self._reconciled_ns: int | None = None
        self._away_since_ns: int | None = None
        self._is_told = False

    def logged_in(self, now: int) -> None:
        """The login has been sent, and the books are read at the same time."""
        self._login_ns, self._had_frame = now, False
        self._reconciled_ns = now

    def frame(self) -> None:
        """Any frame after the login shows that it was taken."""
        self._had_frame = True
        self._refusals = 0

    def report(self) -> None:
        """Useful data: the back-off starts over."""
        self.frame()
        self._attempts = 0

    def reconciled(self, now: int) -> None:
        self._reconciled_ns = now

    def token_changed(self) -> None:
        """What the old token was refused says nothing about the new one."""
        self._refusals = 0
        self._attempts = 0
        self._doubted_ns = None
        # The end of a connection that we replace ourselves is no refusal.
        self._login_ns = None

    def stands(self, now: int) -> bool:
        """Whether there is a connection that a bad token would not have had."""
        return self._login_ns is not None and (self._had_frame or self._age_s(now) >= self._limits.settle_s)

    def ended(self, now: int, reason: str) -> Pause:
        """A connection, or the attempt at one, is over."""
        was_refused = self._login_ns is not None and not self.stands(now)
        if self.stands(now):
            self._refusals = 0
            if self._age_s(now) >= self._limits.stood_s:
                self._attempts = 0
        self._login_ns = None
        if not was_refused:
            return self._pause(0.0, reason)
        return self._refused(now, "dropped right after the login")

    def refused_http(self, now: int, status: int) -> Pause:
        """The upgrade was answered with something else than 101."""
        self._login_ns = None
        if status in _REFUSALS:
            return self._refused(now, f"refused with HTTP {status}")
        reason = f"refused with HTTP {status}"
        if status == _TOO_MANY_REQUESTS:
            return replace(self._pause(self._limits.blocked_s, reason), is_block=True)
        return self._pause(0.0, reason)

    def look(self, now: int, *, is_open: bool) -> Presence | None:
        """What a person should hear. `is_open`: the market may be open; idle sockets are reset at night, which is no news."""
        if self.stands(now):
            self._away_since_ns = None
            if self._is_told:
                self._is_told = False
                return Presence.BACK
            return None
        if not is_open:
            self._away_since_ns = None
            return None
        if self._away_since_ns is None:
            self._away_since_ns = now
        if self._is_told or now - self._away_since_ns < self._limits.alarm_s * NS_PER_S:
            return None
        self._is_told = True
        return Presence.AWAY

    def is_reconcile_due(self, now: int) -> bool:
        """Whether the books should be read although nothing calls for it: a mute stream looks like a quiet one."""
        every_s = self._limits.reconcile_s if self.stands(now) else self._limits.away_reconcile_s
        return self._reconciled_ns is None or now - self._reconciled_ns >= every_s * NS_PER_S

    def _age_s(self, now: int) -> float:
        return 0.0 if self._login_ns is None else (now - self._login_ns) / NS_PER_S

    def _refused(self, now: int, reason: str) -> Pause:
        self._refusals += 1
        limits = self._limits
        if self._refusals < limits.refusals:
            # A single one happens on a bad network too.
            return replace(self._pause(0.0, reason), was_refused=True)
        doubts = self._doubted_ns is None or now - self._doubted_ns >= limits.doubt_every_s * NS_PER_S
        if doubts:
            self._doubted_ns = now
        pause = self._pause(limits.refused_delay_s, f"{reason}, {self._refusals} times in a row")
        return replace(pause, was_refused=True, doubts_token=doubts)

    def _pause(self, least_s: float, reason: str) -> Pause:
        # 2 ** 30 is past every cap; the exponent is bounded so that a long outage cannot overflow.
        bound_s = min(self._limits.cap_s, self._limits.first_delay_s * 2.0 ** min(self._attempts, 30))
        self._attempts += 1
        return Pause(round(max(self._limits.floor_s, least_s, bound_s * self._fraction()) * NS_PER_S), reason)
