"""Listens to the trade tables of a Supabase project for ever, and tells a store where to look and whether to believe silence.

What the store hears
- `changed`: a row changed, also before a confirmation: a hint is a hint.
- `confirmed`: the change subscription is confirmed and a canary proves it. Again after each further confirmation.
- `doubted`: a session ended; or there is delivery but no proof of it ("no canary", also once for each further confirmation):
  then the store goes on polling and changes only make it faster.
When a session fails before it was ever confirmed, for the same reason as the one before, the store is not told again.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, assert_never

from core.backoff import Backoff
from core.model.session_time import NS_PER_S
from core.name_gate import NameGate
from core.realtime_changes import ANYTHING, LEASE_TABLE, BeatEcho, LeaseKey, read_change
from core.realtime_session import (
    ChangeSeen,
    Inbox,
    Opened,
    RealtimeSession,
    SessionEnded,
    SessionFact,
    Subscribed,
    SystemOk,
    safe_reason,
)
from core.realtime_watch import Beat, Confirmed, News, SessionState, SessionWatch, WatchLimits
from core.stores.change_sink import RowChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.clock import Clock
    from core.stores.change_sink import ChangeSink
    from core.stores.supabase_access import SupabaseAccess

logger = logging.getLogger(__name__)

FACTS_PER_TURN: Final = 100
"""Ticks share the loop: after so many facts the loop gets its turn."""
LOG_AGAIN_NS: Final = 60 * NS_PER_S
"""A project that is away for an hour must not fill the log with one line every second."""
DEAF_NS: Final = 300 * NS_PER_S
"""How long sessions do without a lease table that the server would not subscribe to: it may be published meanwhile."""
_GRACE_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class RealtimeSettings:
    """Seconds. After `steady_s` of delivery the back-off starts over: a server that confirms and drops must not be hammered."""

    limits: WatchLimits = field(default_factory=WatchLimits)
    backoff_first_s: float = 0.2
    backoff_cap_s: float = 3.0
    steady_s: float = 10.0


@dataclass(slots=True)
class RealtimeStatus:
    """Counts since the start. `last_end`: why the latest session ended, "" before the first end."""

    sessions: int = 0
    confirmations: int = 0
    changes: int = 0
    echoes: int = 0
    ignored: int = 0
    last_end: str = ""


class SupabaseRealtime:
    """Run `run` as a task; it ends only by being cancelled. Nothing that the sink or the server does ends it."""

    def __init__(
        self, access: SupabaseAccess, sink: ChangeSink, clock: Clock, *, settings: RealtimeSettings | None = None
    ) -> None:
        self._access = access
        self._sink = sink
        self._now = clock.monotonic_ns
        self._gate = NameGate(clock)
        self._settings = settings or RealtimeSettings()
        self._backoff = Backoff(self._settings.backoff_first_s, self._settings.backoff_cap_s)
        self._canary: LeaseKey | None = None
        self._is_lease_bound = False
        self._deaf_until_ns = 0
        self._inbox = Inbox()
        self._watch: SessionWatch | None = None
        self.status = RealtimeStatus()

    @property
    def state(self) -> SessionState:
        """DEAD between two sessions."""
        return SessionState.DEAD if self._watch is None else self._watch.state

    def set_canary(self, canary: LeaseKey | None) -> None:
        """From now on the beats of this lease prove the sessions; None: nothing does. May be called at any time and again."""
        is_new = canary != self._canary
        if is_new:
            self._canary = canary
            self._deaf_until_ns = 0
        watch = self._watch
        if watch is None:
            return
        if canary is not None and not self._is_lease_bound:
            if self._now() >= self._deaf_until_ns:
                # Nothing has failed: the next session need not wait.
                self._backoff.succeeded()
                self._inbox.put(SessionEnded("the canary was switched on"))
        elif is_new:
            self._hear(watch, watch.change_canary(canary, self._now()))

    def beat_answered(self, beat: Beat) -> None:
        """The database has taken this beat of the canary: its echo is due. Never raises."""
        self._inbox.put(beat)

    async def run(self) -> None:
        last_reason = ""
        logged_ns = 0
        while True:
            watch = await self._one_session(last_reason)
            delay_s = self._backoff.next_delay_s()
            is_news = watch.reason != last_reason or self._now() - logged_ns >= LOG_AGAIN_NS
            if is_news:
                logged_ns = self._now()
            logger.log(
                logging.INFO if is_news else logging.DEBUG,
                "realtime: %s; next session in %.1f s",
                watch.reason,
                delay_s,
            )
            last_reason = watch.reason
            await asyncio.sleep(delay_s)

    async def _one_session(self, last_reason: str) -> SessionWatch:
        settings = self._settings
        canary = None if self._now() < self._deaf_until_ns else self._canary
        watch = SessionWatch(self._now(), settings.limits, canary)
        self._watch, self._inbox, self._is_lease_bound = watch, Inbox(), canary is not None
        session = RealtimeSession(
            self._access,
            self._inbox,
            self._gate,
            has_canary=self._is_lease_bound,
            patience_s=max(settings.limits.connect_s, settings.limits.join_s),
        )
        self.status.sessions += 1
        try:
            session.start()
            while not watch.is_dead:
                await self._turn(watch, self._inbox, last_reason)
        finally:
            self._watch = None
            await session.close()
        self._note_end(watch)
        return watch

    async def _turn(self, watch: SessionWatch, inbox: Inbox, last_reason: str) -> None:
        self._drain(watch, inbox, last_reason)
        if watch.is_dead:
            return
        due_ns = watch.deadline_ns()
        if inbox.facts:
            await asyncio.sleep(0)
        elif due_ns is None or (left_ns := due_ns - self._now()) > 0:
            await inbox.wait(None if due_ns is None else left_ns / NS_PER_S)
        else:
            # When the loop was held up, what is missed may lie in the socket: let it be read first.
            await asyncio.sleep(_GRACE_S)
            self._drain(watch, inbox, last_reason)
            self._hear(watch, watch.check(self._now()), last_reason)

    def _drain(self, watch: SessionWatch, inbox: Inbox, last_reason: str) -> None:
        for _ in range(min(len(inbox.facts), FACTS_PER_TURN)):
            if not watch.is_dead:
                self._hear(watch, self._take(inbox.facts.popleft(), watch), last_reason)

    def _take(self, fact: SessionFact | Beat, watch: SessionWatch) -> News | None:
        now = self._now()
        match fact:
            case Opened():
                return watch.opened(now)
            case Subscribed():
                return watch.subscribed(now)
            case SystemOk():
                self.status.confirmations += 1
                return watch.confirmed(now)
            case ChangeSeen(payload):
                return self._take_change(payload, watch, now)
            case Beat():
                watch.beat_answered(fact)
                return None
            case SessionEnded():
                return watch.ended(safe_reason(fact, self._access), now)
            case _ as unreachable:
                assert_never(unreachable)

    def _take_change(self, payload: object, watch: SessionWatch, now: int) -> News | None:
        found = read_change(payload, self._access.tables)
        match found:
            case None:
                self.status.ignored += 1
                return None
            case BeatEcho():
                self.status.echoes += 1
                return watch.echoed(found, now)
            case RowChange():
                if found is ANYTHING:
                    logger.warning("realtime: a change could not be read; all rows are read again")
                self.status.changes += 1
                if self._tell(lambda: self._sink.changed(found)):
                    return None
                return watch.ended("the store could not take a change", now)
            case _ as unreachable:
                assert_never(unreachable)

    def _hear(self, watch: SessionWatch, news: News | None, last_reason: str = "") -> None:
        """Pass the news on. A sink that fails has missed it: the session is given up, so that it is confirmed anew."""
        if news is None:
            return
        if isinstance(news, Confirmed):
            if not self._tell(self._sink.confirmed):
                self._hear(watch, watch.ended("the store could not take a confirmation", self._now()))
            return
        is_known = watch.is_dead and watch.confirmed_ns is None and news.reason == last_reason
        if not is_known:
            self._tell(lambda: self._sink.doubted(news.reason))

    def _tell(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except Exception:  # The listener outlives whatever listens to it.
            logger.exception("realtime: the store failed while it was told of a change")
            return False
        return True

    def _note_end(self, watch: SessionWatch) -> None:
        self.status.last_end = watch.reason
        if watch.confirmed_ns is None:
            # A lease table that is not published would end every subscription; the trades matter more than the proof.
            if self._is_lease_bound and LEASE_TABLE in watch.reason:
                self._deaf_until_ns = self._now() + DEAF_NS
        elif self._now() - watch.confirmed_ns >= self._settings.steady_s * NS_PER_S:
            self._backoff.succeeded()
