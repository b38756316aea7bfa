"""A live monitor over a Supabase project: something is broken, rows are written, and the time until its book is right is told."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from core import supabase_realtime
from core.clock import SystemClock
from core.monitor import Monitor
from core.options import parse
from core.realtime_watch import SessionState
from core.settings import load_settings
from core.stores.supabase_store import SupabaseStore
from tests.integration.processes import eventually
from tests.integration.supabase_scene import (
    LOT,
    Project,
    contracts,
    monitor_on,
    quote_all,
    seconds_until_equal,
    supabase_environment,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from core.model.instrument import Instrument
    from core.paper.exchange import LocalExchange
    from core.supabase_realtime import SupabaseRealtime
    from tests.gateway.server import SupabaseGateway

PROMISE_S = 5.0
"""After any fault the book equals the database within this time."""
SILENT_GAP_S = 35.0
"""The same after a gap that nothing shows: the periodic re-read is its only cure."""
NO_ECHO = "a written beat did not come back within 2 s"
PUSHED_S = 2.0
"""Sooner than any poll (3 s): what is seen within this time was pushed."""


# The official client reads ConnectionClosed.code, which its websockets deprecates; as an error it would be another fault.
allow_deprecated_code = pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")


@dataclass(slots=True)
class Scene:
    """`words`: what the listener told the store, in order: "confirmed", or the reason of a doubt."""

    gateway: SupabaseGateway
    project: Project
    exchange: LocalExchange
    monitor: Monitor
    options: list[Instrument]
    tell: Callable[[str], None]
    words: list[str] = field(default_factory=list)
    _open: deque[tuple[int, int]] = field(default_factory=deque)
    _next_id: int = 1

    @property
    def listener(self) -> SupabaseRealtime:
        listener = self.monitor.parts.trades.listener
        assert listener is not None
        return listener

    @property
    def store(self) -> SupabaseStore:
        store = self.monitor.parts.store
        assert isinstance(store, SupabaseStore)
        return store

    @property
    def alerts(self) -> list[tuple[str, str]]:
        """Severity and subject of each, oldest first."""
        return [(alert.severity.value, alert.subject) for alert in self.monitor.parts.runner.alerts]

    def is_live(self) -> bool:
        return self.listener.state is SessionState.LIVE and self.store.health().state.value == "live"

    async def add(self) -> int:
        """A new strategy with its stop and one leg; its number."""
        number, self._next_id = self._next_id, self._next_id + 1
        await self.project.insert_strategy(number, 3_000 + number)
        leg = await self.project.insert_leg(number, self.options[number % len(self.options)])
        self._open.append((number, leg))
        return number

    async def write(self) -> float:
        """A new strategy, another stop for an old one, a closed row. When the first of it was begun."""
        began = time.monotonic()
        closed, edited = self._open.popleft(), self._open[0]
        await self.add()
        await self.set_stop(edited[0])
        await self.project.sql.execute("UPDATE trades SET order_status = 'closed' WHERE new_id = $1", closed[1])
        return began

    async def set_stop(self, number: int) -> None:
        """₹1 more. The other programs write one row at a time, as here."""
        await self.project.sql.execute(
            "UPDATE strategy_exit_levels SET trigger_value = trigger_value + 1"
            " WHERE strategy_id = $1 AND exit_type = 'stop_loss'",
            number,
        )

    async def right(self, name: str, began: float, within_s: float = PROMISE_S) -> float:
        """Wait until the book equals the database; print and return the seconds since `began`."""
        await seconds_until_equal(self.monitor, self.project, began + within_s - time.monotonic())
        took_s = time.monotonic() - began
        self.tell(f"{name}: equal after {took_s:.1f} s")
        return took_s

    async def live_again(self, within_s: float = 10.0) -> None:
        """Wait for a session that is believed, and see it push."""
        await eventually(self.is_live, within_s)
        began = await self.write()
        await seconds_until_equal(self.monitor, self.project, began + PUSHED_S - time.monotonic())

    async def settled(self) -> None:
        """Wait until nothing has been asked of REST, but for beats, for 0.3 s: what was due to be read has been read."""
        while True:
            reads = self._reads()
            await asyncio.sleep(0.3)
            if self._reads() == reads:
                return

    def _reads(self) -> int:
        return sum("/rpc/" not in request.path for request in self.gateway.requests)

    async def proved(self) -> None:
        """Wait for the next echo of the canary: the longest time until the one after it."""
        echoes = self.listener.status.echoes
        await eventually(lambda: self.listener.status.echoes > echoes, 5.0)


def listen_in(scene: Scene) -> None:
    """Note what the store is told from here on."""
    confirmed, doubted = scene.store.confirmed, scene.store.doubted

    def on_confirmed() -> None:
        scene.words.append("confirmed")
        confirmed()

    def on_doubted(reason: str) -> None:
        scene.words.append(reason)
        doubted(reason)

    scene.store.confirmed, scene.store.doubted = on_confirmed, on_doubted  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a scene is put up."""

    gateway: SupabaseGateway
    database: str
    exchange: LocalExchange
    folder: Path
    tell: Callable[[str], None]

    @asynccontextmanager
    async def scene(self, *, migrated: bool = True, **settings: str) -> AsyncIterator[Scene]:
        """Three strategies are guarded; the monitor only watches."""
        options = contracts(40)
        quote_all(self.exchange, options)
        hold_all(self.exchange, options)
        project = Project(self.database)
        await project.open(migrated=migrated)
        starting = monitor_on if migrated else polling_monitor_on
        try:
            async with starting(self.gateway, self.exchange, self.folder, "--alert-only", **settings) as monitor:
                scene = Scene(self.gateway, project, self.exchange, monitor, options, self.tell)
                for _ in range(3):
                    await scene.add()
                await seconds_until_equal(monitor, project, PROMISE_S)
                listen_in(scene)
                yield scene
        finally:
            await project.close()


@pytest.fixture
def setting(
    gateway: SupabaseGateway,
    database: str,
    exchange: LocalExchange,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Setting:
    def tell(text: str) -> None:
        with capsys.disabled():
            print(f"\n  [supabase] {text}", end="")  # noqa: T201  the figures of issue 3

    return Setting(gateway, database, exchange, tmp_path, tell)


@pytest.fixture
async def scene(setting: Setting) -> AsyncIterator[Scene]:
    async with setting.scene() as scene:
        yield scene


def hold_all(exchange: LocalExchange, options: list[Instrument]) -> None:
    """More than any row says: nothing looks closed by somebody else."""
    for option in options:
        exchange.seed_position("NSE_FNO", option.key.security_id, -1_000 * LOT, 100_00)


@asynccontextmanager
async def polling_monitor_on(
    gateway: SupabaseGateway, exchange: LocalExchange, folder: Path, *options: str, **settings: str
) -> AsyncIterator[Monitor]:
    """A monitor that never calls its changes live, because nothing proves them."""
    loaded = load_settings(supabase_environment(exchange.ready_line(), folder, gateway) | settings, None)
    monitor = Monitor(parse(list(options)), loaded, lambda _: None, SystemClock())
    task = asyncio.create_task(monitor.run())
    try:
        await eventually(lambda: task.done() or monitor.parts.store.health().state.value == "polling")
        yield monitor
    finally:
        monitor.stop()
        await task


class Heard:
    """The payloads of changes as the official client handed them on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.changes: list[Mapping[str, object]] = []
        self._read = supabase_realtime.read_change
        monkeypatch.setattr(supabase_realtime, "read_change", self._note)

    def _note(self, payload: object, names: object) -> object:
        assert isinstance(payload, dict)
        self.changes.append(payload["data"])
        return self._read(payload, names)  # type: ignore[arg-type]

    def of(self, table: str, kind: str) -> list[Mapping[str, object]]:
        return [change for change in self.changes if (change["table"], change["type"]) == (table, kind)]
