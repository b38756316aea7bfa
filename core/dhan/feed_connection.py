"""One market-feed connection as a state machine: when to connect again, how long to wait, whom to tell.

Pure: the caller brings the monotonic time and the random fraction, opens and closes the socket, and obeys `Retry`.
Life is data: a connection lives while valid prices arrive. Pongs, market-status and disconnect packets never count.
It never gives up. The back-off starts over only after `useful_ns` of data, not after a handshake: a server that
accepts and drops would be hammered otherwise, and hammering earns an account-wide block (dhan_v2_protocol 2.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from core.dhan.disconnect_policy import REASONS, AccountGate, Remedy, remedy_of_code, remedy_of_http
from core.model.errors import BugError
from core.model.session_time import NS_PER_MS, NS_PER_S


class FeedState(Enum):
    DISCONNECTED = auto()
    CONNECTING = auto()
    SUBSCRIBING = auto()
    LIVE = auto()
    STALE = auto()
    BACKING_OFF = auto()
    REFUSED = auto()


class Trigger(Enum):
    CONNECT = auto()
    OPENED = auto()
    DATA = auto()
    SILENCE = auto()
    CLOSED = auto()
    REFUSAL = auto()


TRANSITIONS: Final[Mapping[tuple[FeedState, Trigger], FeedState]] = {
    (FeedState.DISCONNECTED, Trigger.CONNECT): FeedState.CONNECTING,
    (FeedState.BACKING_OFF, Trigger.CONNECT): FeedState.CONNECTING,
    (FeedState.REFUSED, Trigger.CONNECT): FeedState.CONNECTING,
    (FeedState.CONNECTING, Trigger.OPENED): FeedState.SUBSCRIBING,
    (FeedState.CONNECTING, Trigger.CLOSED): FeedState.BACKING_OFF,
    (FeedState.CONNECTING, Trigger.REFUSAL): FeedState.REFUSED,
    (FeedState.SUBSCRIBING, Trigger.DATA): FeedState.LIVE,
    # 101 and then nothing: an invalid token looks like this.
    (FeedState.SUBSCRIBING, Trigger.SILENCE): FeedState.STALE,
    (FeedState.SUBSCRIBING, Trigger.CLOSED): FeedState.BACKING_OFF,
    (FeedState.SUBSCRIBING, Trigger.REFUSAL): FeedState.REFUSED,
    (FeedState.LIVE, Trigger.DATA): FeedState.LIVE,
    (FeedState.LIVE, Trigger.SILENCE): FeedState.STALE,
    (FeedState.LIVE, Trigger.CLOSED): FeedState.BACKING_OFF,
    (FeedState.LIVE, Trigger.REFUSAL): FeedState.REFUSED,
    (FeedState.STALE, Trigger.DATA): FeedState.LIVE,
    (FeedState.STALE, Trigger.SILENCE): FeedState.STALE,
    (FeedState.STALE, Trigger.CLOSED): FeedState.BACKING_OFF,
    (FeedState.STALE, Trigger.REFUSAL): FeedState.REFUSED,
    # The code-50 packet comes first, then the socket closes; a second code may follow in the same message.
    (FeedState.REFUSED, Trigger.CLOSED): FeedState.REFUSED,
    (FeedState.REFUSED, Trigger.REFUSAL): FeedState.REFUSED,
    # Packets that were already in the receive buffer when the socket was given up.
    (FeedState.REFUSED, Trigger.DATA): FeedState.REFUSED,
    (FeedState.BACKING_OFF, Trigger.DATA): FeedState.BACKING_OFF,
    # Both the reader and the closer report the same end.
    (FeedState.BACKING_OFF, Trigger.CLOSED): FeedState.BACKING_OFF,
    # A code that was still in the receive buffer explains the loss after all.
    (FeedState.BACKING_OFF, Trigger.REFUSAL): FeedState.REFUSED,
}


def next_state(state: FeedState, trigger: Trigger) -> FeedState:
    """The state after `trigger`. Raises BugError for a pair that cannot happen."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise BugError(f"feed connection: {trigger.name} cannot happen in {state.name}") from None


@dataclass(frozen=True, slots=True)
class FeedPolicy:
    """Times in nanoseconds. Silence counts only while the market is open.

    A silent connection is given up after `reconnect_after_ns` when it carries a canary, whose silence means something,
    and after `quiet_reconnect_after_ns` when its instruments may simply be quiet. While the canary's own market is closed
    and quiet instruments are left, silence is the usual thing: `idle_reconnect_after_ns` then, REST drives meanwhile.
    """

    stale_after_ns: int = 2_500 * NS_PER_MS
    reconnect_after_ns: int = 3 * NS_PER_S
    quiet_reconnect_after_ns: int = 10 * NS_PER_S
    idle_reconnect_after_ns: int = 300 * NS_PER_S
    useful_ns: int = 30 * NS_PER_S
    first_delay_ns: int = 500 * NS_PER_MS
    least_delay_ns: int = 100 * NS_PER_MS
    most_delay_ns: int = 30 * NS_PER_S
    most_unreached_ns: int = 8 * NS_PER_S
    dead_token_after_drops: int = 3
    longest_retry_after_ns: int = 600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Retry:
    """What to do next: close the socket if it is open, wait `delay_ns`, connect again.

    `needs_token`: get a new access token first. `check_token`: ask /profile whether the token still works, because
    the server drops us without saying why. `use_rest`: take prices over REST meanwhile. `alert`: text for the
    operator, "" for none.
    """

    delay_ns: int
    reason: str
    needs_token: bool = False
    check_token: bool = False
    use_rest: bool = False
    alert: str = ""


class Silence(Enum):
    """FINE, STALE (prices are too old to act on), or DEAD (give the socket up and connect again)."""

    FINE = auto()
    STALE = auto()
    DEAD = auto()


class FeedConnection:
    """Every `now` is monotonic nanoseconds. `random_fraction` returns a number in [0, 1).

    `since_ns`: when the present state began, None before the first. Set `carries_canary` when that changes, and
    `canary_trades`: whether the canary's own market is open. `gate` is shared by the connections of one account.
    """

    def __init__(
        self, random_fraction: Callable[[], float], policy: FeedPolicy | None = None, gate: AccountGate | None = None
    ) -> None:
        self.carries_canary = False
        self.canary_trades = True
        self.state = FeedState.DISCONNECTED
        self.since_ns: int | None = None
        self.policy = policy or FeedPolicy()
        self._gate = gate or AccountGate()
        self._random_fraction = random_fraction
        self._failures = 0
        self._refusals = 0
        self._drops_without_data = 0
        self._opened_ns = 0
        self._last_data_ns: int | None = None
        self._is_counted = False
        self._has_heard_canary = False
        self._useful_since_ns: int | None = None
        self._market_open_since_ns: int | None = None
        self._retry: Retry | None = None

    @property
    def is_live(self) -> bool:
        return self.state is FeedState.LIVE

    @property
    def has_heard_canary(self) -> bool:
        """On this connection."""
        return self._has_heard_canary

    @property
    def failures(self) -> int:
        """Connections lost since the last 30 s of useful data."""
        return self._failures

    def connecting(self, now: int) -> None:
        """The socket is about to be opened. Raises BugError when one is open."""
        self._fire(Trigger.CONNECT, now)
        self._last_data_ns = None
        self._has_heard_canary = False
        self._useful_since_ns = None
        self._retry = None

    def opened(self, now: int) -> None:
        """The handshake is done and the subscriptions are being sent."""
        self._fire(Trigger.OPENED, now)
        self._opened_ns = now

    def data_received(self, now: int) -> None:
        """A valid price packet arrived. Pongs, market-status and disconnect packets are not data."""
        was_live = self.state is FeedState.LIVE
        if was_live and not self._failures and not self._refusals:
            self._last_data_ns = now
            return
        self._fire(Trigger.DATA, now)
        if self.state is not FeedState.LIVE:
            return
        if not self._is_counted:
            self._is_counted = True
            self._gate.delivers(now)
        self._last_data_ns = now
        self._drops_without_data = 0
        if not was_live or self._useful_since_ns is None:
            self._useful_since_ns = now
        elif now - self._useful_since_ns >= self.policy.useful_ns:
            self._failures = self._refusals = 0
            self._gate.recovered(self._opened_ns)

    def canary_heard(self) -> None:
        """The canary itself gave a price. Cheap; call `data_received` as well."""
        self._has_heard_canary = True

    def market(self, now: int, *, is_open: bool) -> None:
        """The session opened or closed. Silence is measured from the opening at the earliest."""
        if not is_open:
            self._market_open_since_ns = None
        elif self._market_open_since_ns is None:
            self._market_open_since_ns = now

    def silent_ns(self, now: int) -> int:
        """How long no data came although it should; 0 while the market is closed or no socket is open."""
        if self._market_open_since_ns is None or self.state not in _OPEN_STATES:
            return 0
        last = self._opened_ns if self._last_data_ns is None else self._last_data_ns
        return max(now - max(last, self._market_open_since_ns), 0)

    def is_silent(self, now: int) -> bool:
        return self.silent_ns(now) >= self.policy.stale_after_ns

    def check_silence(self, now: int) -> Silence:
        """Take note of a silence. After DEAD, abort the socket (no graceful close) and call `closed`."""
        if not self.is_silent(now):
            return Silence.FINE
        self._fire(Trigger.SILENCE, now)
        return Silence.DEAD if self.silent_ns(now) >= self._give_up_after_ns else Silence.STALE

    @property
    def _give_up_after_ns(self) -> int:
        if self.carries_canary and not self.canary_trades and self._last_data_ns is not None:
            return self.policy.idle_reconnect_after_ns
        # A canary that stays mute while others tick was not subscribed after all: its silence proves nothing.
        is_telling = (
            self.carries_canary and self.canary_trades and (self._has_heard_canary or self._last_data_ns is None)
        )
        return self.policy.reconnect_after_ns if is_telling else self.policy.quiet_reconnect_after_ns

    def closed(self, now: int, reason: str, alert: str = "") -> Retry:
        """The connection ended, or could not be made, without a code that says why. `alert`: what a person must know of it.

        After a refusal, or when told twice, the answer is the one already given.
        """
        was_open = self.state in _OPEN_STATES
        self._fire(Trigger.CLOSED, now)
        self._tell_gate(now, was_open=was_open)
        if self._retry is not None:
            return self._retry
        if self._last_data_ns is None:
            self._drops_without_data += 1
        check_token = self._drops_without_data >= self.policy.dead_token_after_drops
        delay_ns = self._backed_off(was_open=was_open)
        self._retry = Retry(delay_ns, reason, check_token=check_token, alert=alert)
        return self._retry

    def refused_http(self, status: int, now: int, retry_after_s: int = 0) -> Retry:
        """The server answered the upgrade with this HTTP status instead of 101. `retry_after_s`: its header, 0 for none.

        A longer wait than `longest_retry_after_ns` is not believed: a session has only so many hours.
        """
        at_least_ns = min(retry_after_s * NS_PER_S, self.policy.longest_retry_after_ns)
        return self._refuse(remedy_of_http(status), f"HTTP {status} instead of a WebSocket", now, at_least_ns)

    def disconnect_code(self, code: int, now: int) -> Retry:
        """A disconnect packet arrived (code 50) with this reason. Close the socket; `closed` then repeats the answer."""
        return self._refuse(remedy_of_code(code), f"disconnect {code}: {REASONS.get(code, 'not documented')}", now)

    def _refuse(self, remedy: Remedy, reason: str, now: int, at_least_ns: int = 0) -> Retry:
        was_refused = self.state is FeedState.REFUSED
        self._fire(Trigger.REFUSAL if remedy.is_refusal else Trigger.CLOSED, now)
        if self._retry is not None and (was_refused or not remedy.is_refusal):
            return self._retry
        if remedy.is_account_wide:
            wait_ns = self._gate.refused(remedy, now, at_least_ns, self._random_fraction())
        else:
            wait_ns = max(remedy.delay_ns(self._refusals), at_least_ns)
        delay_ns = max(self._backed_off(), wait_ns)
        if remedy.is_refusal:
            self._refusals += 1
        self._retry = Retry(
            delay_ns,
            reason,
            needs_token=remedy.needs_token,
            use_rest=remedy.use_rest,
            alert=f"{reason}. {remedy.advice}" if remedy.advice else "",
        )
        return self._retry

    def _tell_gate(self, now: int, *, was_open: bool) -> None:
        if self._is_counted:
            self._is_counted = False
            self._gate.lost()
        elif was_open and self._market_open_since_ns is not None:
            most_ns = min(self.policy.most_delay_ns, self.policy.most_unreached_ns)
            self._gate.brought_nothing(now, self.policy.first_delay_ns, most_ns)

    def _backed_off(self, *, was_open: bool = True) -> int:
        """Full jitter: anywhere between the least delay and the doubled ceiling.

        A server that was not even reached is tried again sooner: that costs it nothing, and its return is to be noticed.
        """
        ceiling = self.policy.first_delay_ns << min(self._failures, 16)
        ceiling = min(ceiling, self.policy.most_delay_ns)
        if not was_open:
            ceiling = min(ceiling, self.policy.most_unreached_ns)
        self._failures += 1
        return max(int(ceiling * self._random_fraction()), self.policy.least_delay_ns)

    def _fire(self, trigger: Trigger, now: int) -> None:
        state = next_state(self.state, trigger)
        if state is not self.state:
            self.state = state
            self.since_ns = now


_OPEN_STATES: Final = frozenset({FeedState.SUBSCRIBING, FeedState.LIVE, FeedState.STALE})
