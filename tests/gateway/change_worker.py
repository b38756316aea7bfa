"""The realtime server's change worker: reads the slot, asks who may see a change, and hands it to the channels.

A subscription takes effect between two reads. What was committed before that read is lost for it, as in the real server.
"""

import asyncio
import contextlib
import json
from typing import Any, Final

import asyncpg

from tests.gateway.bindings import Binding
from tests.gateway.channels import Channel, PhoenixSocket, channels_of
from tests.gateway.faults import GatewayFaults
from tests.gateway.wal import Change, WalSlot
from tests.gateway.wal_rows import RoleViews

_DATABASE_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The last: a server that dies in the middle of a query leaves its client in the middle of one."""
_RECONNECT_PAUSE_S: Final = 0.1
_CONNECT_TIMEOUT_S: Final = 5.0
_CONFIRMED: Final = "Subscribed to PostgreSQL"


class ChangeWorker:
    """One worker of a gateway. `sockets` is the set of those open now."""

    def __init__(self, dsn: str, faults: GatewayFaults, sockets: set[PhoenixSocket]) -> None:
        self._dsn = dsn
        self._faults = faults
        self._sockets = sockets
        self._connection: asyncpg.Connection | None = None
        self._slot: WalSlot | None = None
        self._due: dict[Channel, float] = {}
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._connect()
        self._task = asyncio.create_task(self._run(), name="gateway change worker")

    async def stop(self) -> None:
        """Stop, and raise what the worker died of if it did."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._due.clear()
        self._disconnect()

    def subscribe(self, channel: Channel, after_s: float) -> None:
        """Let `channel` take effect after that time. A second call replaces the first."""
        self._due[channel] = asyncio.get_running_loop().time() + after_s
        self._wake.set()

    async def drop_slot(self) -> None:
        """From here on committed changes are lost without a word."""
        async with self._lock:
            if self._slot is not None:
                await self._slot.drop()

    async def create_slot(self) -> None:
        async with self._lock:
            if self._slot is not None:
                await self._slot.create()

    async def restart(self, gap_s: float) -> None:
        """The worker dies and is back after `gap_s`: each channel gets a new `system ok`."""
        await self.drop_slot()
        for channel in channels_of(self._sockets):
            channel.is_live = False
        await asyncio.sleep(gap_s)
        await self.create_slot()
        self._subscribe_all()

    async def _run(self) -> None:
        while True:
            try:
                async with self._lock:
                    await self._connect()
                    pause_s = await self._turn()
            except _DATABASE_ERRORS:
                self._disconnect()
                self._subscribe_all()
                await asyncio.sleep(_RECONNECT_PAUSE_S)
            else:
                await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        """Wait for the next read, but not past the moment a subscription is due."""
        loop = asyncio.get_running_loop()
        end = loop.time() + pause_s
        while (left_s := min([end, *self._due.values()]) - loop.time()) > 0:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left_s)

    async def _connect(self) -> None:
        if self._connection is None:
            settings = {"timezone": "UTC", "application_name": "realtime_rls"}
            self._connection = await asyncpg.connect(self._dsn, timeout=_CONNECT_TIMEOUT_S, server_settings=settings)
            self._slot = WalSlot(self._connection)
            await self._slot.create()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = self._slot = None

    def _subscribe_all(self) -> None:
        for channel in channels_of(self._sockets):
            if channel.bindings:
                channel.is_live = False
                self.subscribe(channel, 0.0)

    async def _turn(self) -> float:
        """Read and deliver, then let the due subscriptions take effect. Return the pause until the next read, in seconds."""
        assert self._connection is not None
        assert self._slot is not None
        now = asyncio.get_running_loop().time()
        due = [channel for channel, at in self._due.items() if at <= now]
        views = RoleViews(self._connection, self._faults.max_record_bytes)
        changes = await self._slot.read()
        sent = 0
        for change in reversed(changes) if self._faults.reverse_events else changes:
            sent += await self._deliver(change, views)
        for channel in due:
            self._due.pop(channel, None)
            await self._confirm(channel, views)
        if sent:
            return 0.0
        return self._faults.poll_s if changes else self._faults.idle_poll_s

    async def _deliver(self, change: Change, views: RoleViews) -> int:
        """Return to how many channels the change went."""
        if self._faults.mute_changes:
            return 0
        if self._faults.skip_changes > 0:
            self._faults.skip_changes -= 1
            return 0
        sent = 0
        seen: dict[str, str | None] = {}
        for channel in channels_of(self._sockets):
            ids = [binding.id for binding in channel.bindings if binding.matches(change)]
            if not ids or not channel.is_live:
                continue
            who = json.dumps(channel.claims, sort_keys=True)
            if who not in seen:
                seen[who] = await views.view(change, channel.claims)
            if (data := seen[who]) is not None:
                self._send(channel, ids, data)
                sent += 1
        return sent

    def _send(self, channel: Channel, ids: list[int], data: str) -> None:
        for _ in range(2 if self._faults.repeat_events else 1):
            if self._faults.delay_events_s > 0:
                loop = asyncio.get_running_loop()
                loop.call_later(self._faults.delay_events_s, channel.push_change, ids, data)
            else:
                channel.push_change(ids, data)

    async def _confirm(self, channel: Channel, views: RoleViews) -> None:
        if channel.is_closed:
            return
        if self._faults.changes_error is not None:
            channel.is_live = False
            channel.push_system("postgres_changes", "error", self._faults.changes_error)
            self.subscribe(channel, self._faults.changes_retry_s)
            return
        for binding in channel.bindings:
            if refusal := await _refusal(binding, channel.next_claims, views):
                # The real server does not try again: parameters do not become right.
                channel.is_live = False
                channel.push_system("postgres_changes", "error", refusal)
                return
        channel.claims = channel.next_claims
        channel.is_live = True
        channel.push_system("postgres_changes", "ok", _CONFIRMED)


async def _refusal(binding: Binding, claims: dict[str, Any], views: RoleViews) -> str | None:
    """Return why the server cannot subscribe, in its words. None when it can."""
    if binding.problem is not None:
        return binding.problem
    start = "Unable to subscribe to changes with given parameters."
    end = f"connect parameters: [{binding.described}]"
    if not await views.is_published(binding.schema, binding.table):
        return f"{start} Please check Realtime is enabled for the given {end}"
    if not await views.is_role(claims["role"]):
        return f"{start} An exception happened so please check your {end}. Exception: role does not exist"
    if binding.column is not None:
        facts = await views.facts(binding.schema, binding.table, claims["role"])
        if binding.column not in {column.name for column in facts.readable}:
            return f"{start} An exception happened so please check your {end}. Exception: invalid column for filter"
    return None
