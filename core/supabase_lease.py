"""Renews our row of `monitor_lease`: a lease that shows a second monitor, and the canary of the change stream in one.

Every beat is one call of `beat_monitor_lease`, judged by the database's clock alone. The rows are ours by migration; without
it there is no lease and no canary, and the monitor goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.model.errors import StoreError, TransportError
from core.model.session_time import NS_PER_S
from core.realtime_changes import LeaseKey
from core.realtime_watch import Beat
from core.stores.columns import required_integer, shown
from core.stores.supabase_errors import Meaning, RefusedRequest

if TYPE_CHECKING:
    from core.clock import Clock

logger = logging.getLogger(__name__)

Rpc = Callable[[str, dict[str, object]], Awaitable[Sequence[Mapping[str, object]]]]
"""Calls a function of the database: its name and arguments → its rows. Raises StoreError or TransportError."""

RELEASE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class LeaseMine:
    """`expires_at` is the database's own text. `epoch` grows whenever the holder changes."""

    epoch: int
    expires_at: str


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """Another monitor has the lease `until` this time of the database, if it does not renew it."""

    holder: str
    until: str


@dataclass(frozen=True, slots=True)
class LeaseAbsent:
    """The database has no such function: the migration was not applied."""


LeaseState = LeaseMine | LeaseHeld | LeaseAbsent


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Seconds. A beat that takes longer than `beat_timeout_s` counts as failed; it may have taken effect."""

    ttl_s: int = 15
    every_s: float = 1.5
    beat_timeout_s: float = 3.0


class SupabaseLease:
    """`key.holder` must be of this process alone. `build` is shown to whoever finds the lease taken."""

    def __init__(
        self, rpc: Rpc, key: LeaseKey, build: str, clock: Clock, *, settings: LeaseSettings | None = None
    ) -> None:
        self._rpc = rpc
        self._build = build
        self._now = clock.monotonic_ns
        self._utc = clock.utc_ns
        self._tried_ns: tuple[int, int] | None = None
        self._settings = settings or LeaseSettings()
        self._beat = 0
        self.key = key
        self.failures = 0
        """Beats in a row that brought no answer."""
        self.state: LeaseState | None = None
        """As last answered; None before the first answer."""

    @property
    def is_overslept(self) -> bool:
        """No beat was even tried for as long as a lease lives: the process or the machine slept, and another may have it.

        Both clocks: the monotonic one stands still while a machine is suspended, the other one may be set back.
        """
        if self._tried_ns is None:
            return False
        tried_ns, tried_utc_ns = self._tried_ns
        return max(self._now() - tried_ns, self._utc() - tried_utc_ns) >= self._settings.ttl_s * NS_PER_S

    async def take(self) -> LeaseState:
        """Ask for the lease once. Raises TransportError when the database is not reached, StoreError when it denies the call."""
        state, _ = await self._call()
        return state

    async def run(self, on_beat: Callable[[Beat], None], on_lost: Callable[[str], None]) -> None:
        """Beat for ever; ends only by being cancelled, or with what a callback raises.

        `on_beat` after every beat that renewed the lease. `on_lost` with the other holder, once, when the lease turns out to be
        somebody else's; the beats go on and take it back when it is free again. A beat that fails is repeated at its next turn.
        """
        while True:
            began_ns = self._now()
            await self._one_beat(on_beat, on_lost)
            await asyncio.sleep(max(0.0, self._settings.every_s - (self._now() - began_ns) / NS_PER_S))

    async def release(self) -> None:
        """Let the lease expire now, so that the next start need not wait. Best effort, never longer than RELEASE_S."""
        arguments: dict[str, object] = {"p_name": self.key.name, "p_holder": self.key.holder}
        with suppress(StoreError, TransportError, TimeoutError):
            async with asyncio.timeout(RELEASE_S):
                await self._rpc("release_monitor_lease", arguments)

    async def _one_beat(self, on_beat: Callable[[Beat], None], on_lost: Callable[[str], None]) -> None:
        before = self.state
        try:
            state, beat = await self._call()
        except (StoreError, TransportError) as error:
            self.failures += 1
            if self.failures == 1:
                logger.warning("lease: a beat failed and is repeated: %s", error)
            return
        if self.failures:
            logger.info("lease: the database answers again after %d failed beats", self.failures)
        self.failures = 0
        if isinstance(state, LeaseMine):
            on_beat(beat)
        elif isinstance(state, LeaseHeld) and not isinstance(before, LeaseHeld):
            on_lost(state.holder)

    async def _call(self) -> tuple[LeaseState, Beat]:
        self._beat += 1
        sent_ns, sent_utc_ns = self._now(), self._utc()
        arguments: dict[str, object] = {
            "p_name": self.key.name,
            "p_holder": self.key.holder,
            "p_beat": self._beat,
            "p_build": self._build,
            "p_ttl_s": self._settings.ttl_s,
        }
        try:
            async with asyncio.timeout(self._settings.beat_timeout_s):
                rows = await self._rpc("beat_monitor_lease", arguments)
            self.state = _state_of(rows)
        except TimeoutError as error:
            raise TransportError(f"beat_monitor_lease: no answer within {self._settings.beat_timeout_s:g} s") from error
        except RefusedRequest as error:
            if error.meaning is not Meaning.NO_FUNCTION:
                raise
            self.state = LeaseAbsent()
        finally:
            self._tried_ns = (sent_ns, sent_utc_ns)
        return self.state, Beat(self._beat, sent_ns, self._now())


def _state_of(rows: Sequence[Mapping[str, object]]) -> LeaseMine | LeaseHeld:
    """Raises StoreError for an answer that is not of our function."""
    row = rows[0] if len(rows) == 1 else {}
    is_mine, holder, expires_at = row.get("is_mine"), row.get("holder"), row.get("expires_at")
    if not isinstance(is_mine, bool) or not isinstance(holder, str) or not isinstance(expires_at, str):
        raise StoreError(
            "beat_monitor_lease: expected one row with holder, epoch, expires_at and is_mine, "
            f"received {shown(list(rows))}; apply the migrations in data_scripts/supabase_migrations again"
        )
    if not is_mine:
        return LeaseHeld(holder, expires_at)
    try:
        return LeaseMine(required_integer(row, "epoch"), expires_at)
    except ValueError as error:
        raise StoreError(f"beat_monitor_lease: {error}; apply the migrations again") from None
