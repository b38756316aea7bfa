"""Tries the way to a Supabase project and its change stream, for check_supabase.py: says what happened and judges nothing."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from core.model.errors import StoreError, TransportError
from core.name_gate import NameGate
from core.realtime_changes import LEASE_TABLE, WATCHED, BeatEcho, LeaseKey, read_change
from core.realtime_session import ChangeSeen, Inbox, Opened, RealtimeSession, SessionEnded, SystemOk, safe_reason
from core.stores.supabase_checks import Stage
from core.tls import verified_tls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from core.clock import Clock
    from core.stores.supabase_access import SupabaseAccess
    from core.stores.supabase_rest import SupabaseRest

CONFIRM_S: Final = 12.0
"""A hosted project confirms a change subscription after 1 to 3 s."""
ECHO_S: Final = 5.0
LEASE_TTL_S: Final = 15
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Broken:
    stage: Stage
    words: str


async def contact(url: str, timeout_s: float) -> Broken | None:
    """Name, connection and certificate, one after the other; None when all are well."""
    parts = urlsplit(url)
    is_private = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if is_private else 80)
    stage = Stage.NAME
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().getaddrinfo(host, port)
            stage = Stage.CONNECT
            _, writer = await asyncio.open_connection(host, port, ssl=verified_tls() if is_private else None)
    except ssl.SSLCertVerificationError as error:
        return Broken(Stage.TLS, error.verify_message or error.reason or "refused")
    except ssl.SSLError as error:
        return Broken(Stage.PLAIN, error.reason or "refused")
    except TimeoutError:
        return Broken(stage, f"nothing within {timeout_s:g} s")
    except OSError as error:
        return Broken(stage, f"{host}:{port}: {error.strerror or type(error).__name__}")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return None


@dataclass(frozen=True, slots=True)
class Beaten:
    """`ahead_s`: this machine's clock minus the database's, give or take `unsure_s`."""

    took_ms: float
    ahead_s: float
    unsure_s: float


class LeaseProbe:
    """A lease of its own name, so that the lease of a running monitor is not touched. It leaves one row in monitor_lease."""

    def __init__(self, rest: SupabaseRest, clock: Clock) -> None:
        self.key = LeaseKey("check_supabase", f"check {uuid.uuid4().hex[:12]}")
        self._rest = rest
        self._clock = clock
        self._number = 0

    async def beat(self) -> Beaten:
        """Raises StoreError (RefusedRequest when the server refuses) or TransportError."""
        self._number += 1
        sent_ns, sent_utc_ns = self._clock.monotonic_ns(), self._clock.utc_ns()
        rows = await self._rest.call(
            "beat_monitor_lease",
            {
                "p_name": self.key.name,
                "p_holder": self.key.holder,
                "p_beat": self._number,
                "p_build": "check_supabase",
                "p_ttl_s": LEASE_TTL_S,
            },
        )
        took_s = (self._clock.monotonic_ns() - sent_ns) / 1e9
        database_s = _expiry_s(rows) - LEASE_TTL_S
        return Beaten(took_s * 1_000, sent_utc_ns / 1e9 + took_s / 2 - database_s, took_s / 2)

    async def release(self) -> None:
        with suppress(StoreError, TransportError):
            await self._rest.call("release_monitor_lease", {"p_name": self.key.name, "p_holder": self.key.holder})


def _expiry_s(rows: object) -> float:
    try:
        if isinstance(rows, list) and isinstance(rows[0], dict):
            return datetime.fromisoformat(str(rows[0]["expires_at"])).timestamp()
    except (KeyError, IndexError, ValueError):
        pass
    raise StoreError("beat_monitor_lease: expected one row with expires_at; apply the migrations again")


@dataclass(frozen=True, slots=True)
class Told:
    """Whether the changes of one table are told. `reason`: why not, "" when they are. `is_open`: the socket was opened."""

    table: str
    is_open: bool
    reason: str
    echo_ms: float | None = None


class _TableSession(RealtimeSession):
    """The monitor's own kind of session, for one table: the server names only the first table that it refuses."""

    def __init__(self, access: SupabaseAccess, inbox: Inbox, gate: NameGate, table: str) -> None:
        super().__init__(access, inbox, gate, has_canary=False, patience_s=CONFIRM_S)
        self._tables = [access.tables.of(table) if table in WATCHED else table]


async def told(access: SupabaseAccess, tables: Sequence[str], lease: LeaseProbe | None, clock: Clock) -> list[Told]:
    """Subscribe to each of these tables by itself; with `lease` to ours too, as the last one, and wait for an echo."""
    tries = [_table_told(access, table, None, clock) for table in tables]
    if lease is not None:
        tries.append(_table_told(access, LEASE_TABLE, lease, clock))
    return list(await asyncio.gather(*tries))


async def _table_told(access: SupabaseAccess, table: str, lease: LeaseProbe | None, clock: Clock) -> Told:
    inbox = Inbox()
    session = _TableSession(access, inbox, NameGate(clock), table)
    try:
        session.start()
        is_open, reason = await _confirmation(access, inbox)
        echo_ms = await _echo(access, inbox, lease, clock) if lease is not None and not reason else None
    finally:
        await session.close()
    return Told(table, is_open, reason, echo_ms)


async def _confirmation(access: SupabaseAccess, inbox: Inbox) -> tuple[bool, str]:
    """Whether the socket was opened, and why the subscription was not confirmed ("" when it was)."""
    is_open = False
    with suppress(TimeoutError):
        async with asyncio.timeout(CONFIRM_S):
            while True:
                await inbox.wait(None)
                while inbox.facts:
                    fact = inbox.facts.popleft()
                    is_open |= isinstance(fact, Opened)
                    if isinstance(fact, SystemOk):
                        return is_open, ""
                    if isinstance(fact, SessionEnded):
                        return is_open, safe_reason(fact, access)
    return is_open, f"no confirmation within {CONFIRM_S:g} s"


async def _echo(access: SupabaseAccess, inbox: Inbox, lease: LeaseProbe, clock: Clock) -> float | None:
    """Milliseconds from the answer of a beat to its echo; None when none came in time."""
    try:
        await lease.beat()
    except (StoreError, TransportError):
        return None
    answered_ns = clock.monotonic_ns()
    with suppress(TimeoutError):
        async with asyncio.timeout(ECHO_S):
            while True:
                while inbox.facts:
                    fact = inbox.facts.popleft()
                    seen = read_change(fact.payload, access.tables) if isinstance(fact, ChangeSeen) else None
                    if isinstance(seen, BeatEcho) and seen.lease == lease.key:
                        return (clock.monotonic_ns() - answered_ns) / _NS_PER_MS
                await inbox.wait(None)
    return None
