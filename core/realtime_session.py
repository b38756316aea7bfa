"""One use of the official realtime client: one socket, one channel, thrown away at the first doubt.

Everything the client does or suffers becomes a fact in an Inbox; nothing here decides and nothing raises. Its own reconnect is
off: it loses subscriptions (supabase_and_redis 1.3). Its private members are touched in this file only (realtime 2.34.1).
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus, urlsplit

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.types import RealtimePostgresChangesListenEvent
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.name_gate import NameGate, NameNotFoundError
from core.realtime_changes import LEASE_TABLE, WATCHED
from core.realtime_watch import Beat

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from core.stores.supabase_access import SupabaseAccess

TOPIC: Final = "options-exit-monitor"
CLOSE_S: Final = 1.0
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Opened:
    pass


@dataclass(frozen=True, slots=True)
class Subscribed:
    pass


@dataclass(frozen=True, slots=True)
class SystemOk:
    """The server delivers changes from now on; said again after its change worker was restarted."""


@dataclass(frozen=True, slots=True)
class ChangeSeen:
    payload: object


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """`error` may quote the URL, and the URL holds the key: show it through `safe_reason` only."""

    what: str
    error: BaseException | None = field(default=None, repr=False)


SessionFact = Opened | Subscribed | SystemOk | ChangeSeen | SessionEnded


@dataclass(slots=True)
class Inbox:
    """Facts of one session in the order in which they came. Putting never blocks and never fails."""

    facts: deque[SessionFact | Beat] = field(default_factory=deque)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, fact: SessionFact | Beat) -> None:
        self.facts.append(fact)
        self._woken.set()

    async def wait(self, at_most_s: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._woken.wait()
        self._woken.clear()


def safe_reason(ended: SessionEnded, access: SupabaseAccess) -> str:
    """Why a session ended, for a log: no key, no URL.

    An error of the network is named by its class: the text of some of them quotes the URL. The client's own errors are plain
    Exceptions that hold the server's words.
    """
    error = ended.error
    if error is None:
        return ended.what
    if isinstance(error, InvalidStatus):
        return f"{ended.what}: HTTP {error.response.status_code}"
    if isinstance(error, ConnectionClosed):
        code = error.rcvd.code if error.rcvd is not None else "none"
        return f"{ended.what}: connection closed (code {code})"
    if isinstance(error, NameNotFoundError):
        return f"{ended.what}: {error}"
    if type(error) is Exception:
        return f"{ended.what}: {_server_words(str(error), access)}"
    return f"{ended.what}: {type(error).__name__}"


def _server_words(text: str, access: SupabaseAccess) -> str:
    words = text
    with suppress(ValueError):
        answer = json.loads(text)
        if isinstance(answer, dict):
            words = str(answer.get("message") or answer.get("reason") or text)
    for secret in (access.key, access.role_token):
        if secret:
            for form in (secret, quote_plus(secret), quote(secret, safe="")):
                words = words.replace(form, "***")
    return "".join(letter if letter.isprintable() else " " for letter in words)[:_SHOWN]


class RealtimeSession:
    """Call `start` once, then `close` once. `has_canary`: the channel listens to the lease table as well.

    The lease table is bound only where it exists: one binding that the server does not know ends the whole subscription.
    """

    def __init__(
        self, access: SupabaseAccess, inbox: Inbox, gate: NameGate, *, has_canary: bool, patience_s: float
    ) -> None:
        self._access = access
        self._inbox = inbox
        self._gate = gate
        self._tables = [access.tables.of(table) for table in WATCHED] + [LEASE_TABLE] * has_canary
        # Longer than our own deadlines, which must be the ones to speak.
        self._timeout_s = int(patience_s) + 2
        self._client: AsyncRealtimeClient | None = None
        self._channel: AsyncRealtimeChannel | None = None
        self._opening: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._opening = asyncio.create_task(self._open(), name="realtime-open")
        self._opening.add_done_callback(self._on_opening_done)

    async def _open(self) -> None:
        url = self._access.url.rstrip("/") + "/realtime/v1"
        client = AsyncRealtimeClient(url, token=self._access.key, auto_reconnect=False, timeout=self._timeout_s)
        self._client = client
        if self._access.role_token is not None:
            # Before the join: the join message carries it, and the key still opens the gateway.
            await client.set_auth(self._access.role_token)
        self._channel = channel = client.channel(TOPIC)
        for table in self._tables:
            channel.on_postgres_changes(
                RealtimePostgresChangesListenEvent.All,
                callback=self._on_change,
                table=table,
                schema=self._access.tables.schema,
            )
        channel.on_system(self._on_system)
        await self._gate.known(urlsplit(url).hostname or "")
        await client.connect()
        for task, name in ((client._listen_task, "listening"), (client._heartbeat_task, "the heartbeat")):  # noqa: SLF001
            if task is not None:
                task.add_done_callback(partial(self._on_part_done, name))
        self._inbox.put(Opened())
        await channel.subscribe(self._on_state)

    def _on_opening_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._inbox.put(SessionEnded("no connection", error))

    def _on_part_done(self, name: str, task: asyncio.Task[None]) -> None:
        """The client tells nobody when one of its tasks dies (faults 1 and 5)."""
        error = None if task.cancelled() else task.exception()
        self._inbox.put(SessionEnded(f"{name} ended", error))

    def _on_state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state is RealtimeSubscribeStates.SUBSCRIBED:
            self._inbox.put(Subscribed())
        else:
            self._inbox.put(SessionEnded(f"channel {state.value}", error))

    def _on_system(self, message: Any) -> None:
        extension, status = getattr(message, "extension", None), getattr(message, "status", None)
        if (extension, status) == ("postgres_changes", "ok"):
            self._inbox.put(SystemOk())

    def _on_change(self, payload: object) -> None:
        self._inbox.put(ChangeSeen(payload))

    async def close(self) -> None:
        """Drop socket and tasks at once: a polite close waits 10 s for a frozen server. Takes at most a few CLOSE_S."""
        # Twice: what the opening task was about to make when it was cancelled is there in the second round.
        for _ in range(2):
            await self._drop()

    async def _drop(self) -> None:
        tasks = self._tasks()
        for task in tasks:
            task.add_done_callback(_retrieve)
            task.cancel()
        client = self._client
        socket: ClientConnection | None = None if client is None else client._ws_connection  # noqa: SLF001
        if socket is not None:
            socket.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
        if client is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                if socket is not None:
                    await socket.wait_closed()
                await client.close()

    def _tasks(self) -> set[asyncio.Task[Any]]:
        found: list[asyncio.Task[Any] | None] = [self._opening]
        if self._client is not None:
            found += [self._client._listen_task, self._client._heartbeat_task]  # noqa: SLF001
        if self._channel is not None:
            pushes = [self._channel.join_push, *self._channel.messages_waiting_for_ack.values()]
            found += [push.timeout_task for push in pushes]
            found += [self._channel.rejoin_timer.timer, *self._channel._background_tasks]  # noqa: SLF001
        return {task for task in found if task is not None and not task.done()}


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Take note of a task's error, so that it is not reported as forgotten."""
    if not task.cancelled():
        task.exception()
