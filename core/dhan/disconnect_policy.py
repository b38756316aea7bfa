"""What each refusal of the market feed calls for (dhan_v2_protocol 2.3, 2.10), and what it means for the other connections.

805 and 429 are the account's, not the connection's. After 805 the oldest socket is the victim: coming back at once only
evicts the next one, ours or another program's. Hence a minute and more (2.10: "stop, wait >= 60 s"), not the 5 s that the
fault catalogue (F18) begins with: the server says that it may block the account, and REST carries on meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.model.session_time import NS_PER_MS, NS_PER_S

CONNECT_DISTANCE_NS: Final = 150 * NS_PER_MS
BLOCK_JITTER: Final = 0.2
"""Up to this share more: two programs that were blocked together must not come back together."""

REASONS: Final = {
    800: "internal server error",
    804: "too many instruments",
    805: "too many connections or requests",
    806: "data APIs not subscribed",
    807: "access token expired",
    808: "client id or token invalid",
    809: "access token invalid",
    810: "client id invalid",
    811: "invalid expiry date",
    812: "invalid date format",
    813: "invalid security id",
    814: "invalid request",
}


@dataclass(frozen=True, slots=True)
class Remedy:
    """How to go on. The wait doubles from `least_s` to `most_s` with each refusal in a row, under the usual back-off.

    `is_refusal` False: an ordinary loss of the connection, back-off and jitter only. `is_account_wide`: every connection of
    the account keeps the wait before it connects; those that are open stay open.
    """

    is_refusal: bool = True
    is_account_wide: bool = False
    least_s: int = 0
    most_s: int = 0
    needs_token: bool = False
    use_rest: bool = False
    advice: str = ""

    def delay_ns(self, refusals: int) -> int:
        return min(self.least_s << min(refusals, 16), self.most_s) * NS_PER_S


_LOST: Final = Remedy(is_refusal=False)
_TOKEN: Final = Remedy(least_s=1, most_s=30, needs_token=True, use_rest=True)
_OURS: Final = Remedy(
    least_s=5, most_s=30, use_rest=True, advice="The request was wrong: a bug of this program or ids that do not exist."
)
_BLOCKED: Final = Remedy(
    is_account_wide=True,
    least_s=60,
    most_s=300,
    use_rest=True,
    advice="Too many connection attempts: the account is blocked for minutes.",
)

_REMEDY_OF_CODE: Final = {
    800: _LOST,
    804: _OURS,
    805: Remedy(
        is_account_wide=True,
        least_s=60,
        most_s=300,
        use_rest=True,
        advice="Another program holds sockets of this account: stop it. Dhan may block the account.",
    ),
    806: Remedy(least_s=30, most_s=30, use_rest=True, advice="The account has no data plan: subscribe to it at Dhan."),
    807: _TOKEN,
    808: _TOKEN,
    809: _TOKEN,
    810: _TOKEN,
    811: _OURS,
    812: _OURS,
    813: _OURS,
    814: _OURS,
}
_REMEDY_OF_HTTP: Final = {
    400: _TOKEN,
    401: _TOKEN,
    403: _TOKEN,
    404: Remedy(least_s=5, most_s=30, use_rest=True, advice="The feed's address is wrong: check DHAN_FEED_URL."),
    429: _BLOCKED,
}


def remedy_of_code(code: int) -> Remedy:
    """For the reason of a disconnect packet; an undocumented one is an ordinary loss."""
    return _REMEDY_OF_CODE.get(code, _LOST)


def remedy_of_http(status: int) -> Remedy:
    """For an HTTP status other than 101; 5xx and the undocumented are an ordinary loss."""
    return _REMEDY_OF_HTTP.get(status, _LOST)


class AccountGate:
    """When the next connection of this account may be made: attempts keep a distance, and what blocks one blocks all.

    A mute feed is probed with one connection at a time, and as soon as one delivers the others follow.

    One for all connections of the account. Times are monotonic nanoseconds.
    """

    def __init__(self, distance_ns: int = CONNECT_DISTANCE_NS) -> None:
        self._blocked_until_ns: int | None = None
        self._distance_ns = distance_ns
        self._free_from_ns: int | None = None
        self._refusals = 0
        self._refused_ns = 0
        self._delivering = 0
        self._barren = 0
        self._probe_ns = 0
        self.revived_ns: int | None = None
        """When, after a time in which no connection brought anything, one did. Whoever still backs off may try at once."""

    def delivers(self, now: int) -> None:
        """A connection has brought its first price."""
        if self._barren and not self._delivering:
            self.revived_ns = now
            self._free_from_ns = now
        self._delivering += 1
        self._barren = 0

    def lost(self) -> None:
        """A connection that had brought prices has ended."""
        self._delivering -= 1

    def brought_nothing(self, now: int, first_ns: int, most_ns: int) -> None:
        """A connection was made, brought nothing and has ended: the feed is mute, or the token is dead.

        While no other delivers, the account tries ever more rarely, with one connection for all: each trying for itself would be
        five times as many attempts, and attempts earn a block.
        """
        if not self._delivering:
            self._probe_ns = min(first_ns << min(self._barren, 16), most_ns)
            self._free_from_ns = max(self._free_from_ns or now, now + self._probe_ns)
            self._barren += 1

    def blocked_until(self, now: int) -> int | None:
        """Until when nobody may connect; None when there is no block."""
        return self._blocked_until_ns if self._left(self._blocked_until_ns, now) else None

    def turn(self, now: int) -> int:
        """Take the turn to connect and return 0, or return how long to wait before asking again."""
        wait_ns = max(self._left(self._blocked_until_ns, now), self._left(self._free_from_ns, now))
        if not wait_ns:
            # While the feed is mute, the others wait for what comes of this attempt.
            probe_ns = self._probe_ns if self._barren and not self._delivering else 0
            self._free_from_ns = now + max(self._distance_ns, probe_ns)
        return wait_ns

    def refused(self, remedy: Remedy, now: int, at_least_ns: int, random_fraction: float) -> int:
        """Block the account after a refusal that is account-wide; returns for how long, jitter included."""
        if self._left(self._blocked_until_ns, now):
            # Of an attempt begun before the block, or one more socket of the same affair: no reason to double.
            delay_ns = max(remedy.delay_ns(0), at_least_ns)
        else:
            delay_ns = max(remedy.delay_ns(self._refusals), at_least_ns)
            self._refusals += 1
        until_ns = now + int(delay_ns * (1 + BLOCK_JITTER * random_fraction))
        self._blocked_until_ns = max(until_ns, self._blocked_until_ns or until_ns)
        self._refused_ns = now
        return self._blocked_until_ns - now

    def recovered(self, opened_ns: int) -> None:
        """A connection opened at this time has brought useful data. One from before the last refusal proves nothing."""
        if opened_ns > self._refused_ns:
            self._refusals = 0

    @staticmethod
    def _left(until_ns: int | None, now: int) -> int:
        return 0 if until_ns is None else max(until_ns - now, 0)
