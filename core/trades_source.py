"""Where the trades come from: which store, who listens for its changes, and the lease that keeps a second monitor away."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from core.model.commands import Alert, Severity
from core.model.errors import AlreadyRunningError, StoreError, TransportError
from core.model.session_time import IST
from core.model.signals import Mode
from core.options import VERSION
from core.realtime_changes import LeaseKey
from core.realtime_watch import Beat, WatchLimits
from core.state_dir import holder_of
from core.stores.open_store import supabase_access
from core.stores.sqlite_store import SqliteStore
from core.supabase_lease import LeaseAbsent, LeaseHeld, LeaseMine, LeaseSettings, SupabaseLease

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from core.clock import Clock
    from core.options import Options
    from core.settings import Settings
    from core.stores.base import TradeStore
    from core.supabase_realtime import SupabaseRealtime

_log = logging.getLogger(__name__)


class TradesSource:
    """A store alone, or a Supabase project with its listener and its lease."""

    def __init__(
        self, store: TradeStore, listener: SupabaseRealtime | None = None, lease: SupabaseLease | None = None
    ) -> None:
        self.store = store
        self.listener = listener
        self._lease = lease
        self._mode = Mode.ALERT
        self.unfinished: Callable[[], str] = lambda: ""
        """The exits under way, in words: who loses the lease in the middle of one must say so."""

    async def take_lease(self, mode: Mode) -> Alert | None:
        """Claim the account for this monitor; what a person should know of it.

        Raises AlreadyRunningError when another live monitor has it.
        """
        self._mode = mode
        if self._lease is None:
            return None
        try:
            state = await self._lease.take()
        except (StoreError, TransportError) as error:
            text = f"going on without it, tried again all the time: {error}"
            severity = Severity.PAGE if mode is Mode.LIVE else Severity.WARNING
            return Alert(severity, "the lease could not be taken", text)
        if isinstance(state, LeaseAbsent):
            self._lease = None
            text = "data_scripts/supabase_migrations is not applied: no canary, no lease; the rows are re-read all the time"
            return Alert(Severity.WARNING, "Supabase without the monitor's tables", text)
        if isinstance(state, LeaseHeld):
            self._refuse(state.holder, f" until {_indian(state.until)}")
        if self.listener is not None:
            self.listener.set_canary(self._lease.key)
        return None

    def may_order(self) -> bool:
        """Whether an order may leave now. After a sleep, not before the lease has been asked for again."""
        return self._mode is not Mode.LIVE or self._lease is None or not self._lease.is_overslept

    def tasks(self) -> tuple[tuple[Coroutine[None, None, None], str], ...]:
        """What has to run beside the store, with names; each ends only by being cancelled, or by losing the lease."""
        found: list[tuple[Coroutine[None, None, None], str]] = []
        if self.listener is not None:
            found.append((self.listener.run(), "trades realtime"))
        if self._lease is not None:
            found.append((self._lease.run(self._on_beat, self._on_lost), "trades lease"))
        return tuple(found)

    async def release(self) -> None:
        """Let the next start have it at once. Only what was taken is given back."""
        if self._lease is not None and isinstance(self._lease.state, LeaseMine):
            await self._lease.release()

    def _on_beat(self, beat: Beat) -> None:
        if self.listener is not None and self._lease is not None:
            # Again with every beat: the lease may have been unreachable when the listener began.
            self.listener.set_canary(self._lease.key)
            self.listener.beat_answered(beat)

    def _on_lost(self, holder: str) -> None:
        self._refuse(holder, "")

    def _refuse(self, holder: str, until: str) -> None:
        if self._mode is not Mode.LIVE:
            _log.warning("expected a lease of our own, it is held by %s", holder)
            return
        raise AlreadyRunningError(
            f"Another monitor ({holder}) exits on this account; it holds the lease{until}. "
            f"Stop it there, or run this one with --alert-only.{self.unfinished()}"
        )


def _indian(moment: str) -> str:
    """The database's own text as an Indian clock time; as it came where it is none."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{at.astimezone(IST):%H:%M:%S}" if at.tzinfo is not None else moment


def trades_source(settings: Settings, options: Options, clock: Clock) -> TradesSource:
    """The store that the settings name. A plan neither listens nor claims nor writes; one run for cron does not listen."""
    if settings.supabase_url is None:
        return TradesSource(SqliteStore(settings.trades_db, settings.store_poll_ms))
    # The client costs half a second at start, which a SQLite file does not need.
    from core.stores.supabase_store import SupabaseStore  # noqa: PLC0415
    from core.supabase_realtime import RealtimeSettings, SupabaseRealtime  # noqa: PLC0415

    access = supabase_access(settings)
    store = SupabaseStore(
        access,
        clock,
        timeout_s=settings.supabase_timeout_s,
        reread_s=settings.supabase_reread_s,
        poll_s=settings.supabase_poll_s,
        saved=settings.state_dir / "last_rows.json",
        keeps=not options.plan,
    )
    if options.plan:
        return TradesSource(store)
    every_s = settings.supabase_canary_s
    limits = WatchLimits(unheard_s=max(6.0, 3 * every_s + 1.5))
    holder = holder_of(settings.state_dir)
    # Only a live monitor claims the account; what merely watches has a row of its own, for its canary.
    name = f"{settings.dhan_client_id}:{options.mode.value}" + ("" if options.mode is Mode.LIVE else f":{holder}")
    # As patient as a read: whoever can read the rows must be able to see that they are somebody else's to close.
    patience_s = settings.supabase_timeout_s + 2.0
    ttl_s = max(15, int(6 * every_s), int(3 * patience_s))
    lease_settings = LeaseSettings(ttl_s=ttl_s, every_s=every_s, beat_timeout_s=patience_s)
    lease = SupabaseLease(store.rpc, LeaseKey(name, holder), f"monitor {VERSION}", clock, settings=lease_settings)
    if options.prints_once:
        return TradesSource(store, None, lease)
    listener = SupabaseRealtime(access, store, clock, settings=RealtimeSettings(limits=limits))
    return TradesSource(store, listener, lease)
