"""A store that writes down what it is told, and a listener on short deadlines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from core.clock import SystemClock
from core.realtime_changes import LeaseKey
from core.realtime_watch import Beat, WatchLimits
from core.stores.change_sink import RowChange
from core.stores.supabase_access import SupabaseAccess
from core.supabase_realtime import RealtimeSettings, SupabaseRealtime

KEY = "sb_secret_K3y+of/the=gateway"
ROLE_TOKEN = "role.t0ken.signed"
ME = LeaseKey("exit-monitor", "me")
QUICK = RealtimeSettings(
    limits=WatchLimits(connect_s=0.4, join_s=0.4, settle_s=0.4, echo_s=0.3, unheard_s=0.6),
    backoff_first_s=0.01,
    backoff_cap_s=0.02,
)


@dataclass
class NotedSink:
    """`words`: "confirmed", a RowChange, or ("doubted", reason), in the order in which they came."""

    words: list[object] = field(default_factory=list)

    def changed(self, change: RowChange) -> None:
        self.words.append(change)

    def confirmed(self) -> None:
        self.words.append("confirmed")

    def doubted(self, reason: str) -> None:
        self.words.append(("doubted", reason))

    @property
    def reasons(self) -> list[str]:
        return [word[1] for word in self.words if isinstance(word, tuple)]

    @property
    def changes(self) -> list[RowChange]:
        return [word for word in self.words if isinstance(word, RowChange)]

    @property
    def confirmations(self) -> int:
        return self.words.count("confirmed")


def listener(url, sink, settings=QUICK, *, canary=ME, role_token=None, tables=None):
    more = {} if tables is None else {"tables": tables}
    access = SupabaseAccess(url, KEY, role_token, **more)
    made = SupabaseRealtime(access, sink, SystemClock(), settings=settings)
    made.set_canary(canary)
    return made


@contextlib.asynccontextmanager
async def running(coroutine) -> AsyncIterator[asyncio.Task]:
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def answered(number: int) -> Beat:
    now = SystemClock().monotonic_ns()
    return Beat(number, now, now)
